package upstream

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/reject"
)

// DocumentLimits bound a capabilities document or TileJSON. The zero value of a field means its default.
type DocumentLimits struct {
	Bytes    int // default 10 MiB
	Depth    int // of XML elements in one another; default 64
	Elements int // of XML; default 400,000
	Layers   int // default 10,000
}

func (l DocumentLimits) withDefaults() DocumentLimits {
	l.Bytes, l.Depth = cmp.Or(max(l.Bytes, 0), 10<<20), cmp.Or(max(l.Depth, 0), 64)
	l.Elements, l.Layers = cmp.Or(max(l.Elements, 0), 400_000), cmp.Or(max(l.Layers, 0), 10_000)
	return l
}

// Check refuses data that is too long: ErrDocumentTooLarge.
func (l DocumentLimits) Check(data []byte) error {
	if most := l.withDefaults().Bytes; len(data) > most {
		return fmt.Errorf("%d bytes, the limit is %d: %w", len(data), most, ErrDocumentTooLarge)
	}
	return nil
}

// ErrDocumentTooLarge: the document is longer than its limit.
var ErrDocumentTooLarge = reject.New("capabilities", "ErrDocumentTooLarge", "the document is too long")

const probeBytes = 512

const acceptDocuments = "application/xml,text/xml,application/json;q=0.9,*/*;q=0.5"

// Document is what an address answered.
type Document struct {
	Data []byte
	URL  *url.URL // where it came from, after redirects
	File bool     // it is a file to be read by ranges: Data is only its first bytes

	Limits DocumentLimits // to read it within
}

// Document fetches a document of at most Options.Documents.Bytes. ErrBadInput: the address must not be asked, is not there,
// or answers more than that. ErrUpstream: the server failed, refused or was too slow; it is asked twice again.
func (c *Client) Document(ctx context.Context, address string) (Document, error) {
	return c.Probe(ctx, address, nil)
}

// Probe is Document for an address of which nobody knows what is behind it. Where isFile says of the first bytes that
// they begin a file to be read by ranges, no more of it is fetched.
func (c *Client) Probe(ctx context.Context, address string, isFile func(head []byte) bool) (Document, error) {
	u, err := url.Parse(address)
	if err != nil {
		return Document{}, fmt.Errorf("not a URL: %w", ErrAddress) // its own error would quote it, keys and all
	}
	if err := c.CheckURL(u); err != nil {
		return Document{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.TotalTimeout)
	defer cancel()
	backoff := c.o.Backoff
	for try := 1; ; try++ {
		d, retry, err := c.document(ctx, u, isFile)
		if err == nil || !retry || try == maxTries || sleep(ctx, backoff) != nil {
			return d, err
		}
		backoff *= 2
	}
}

func (c *Client) document(ctx context.Context, u *url.URL, isFile func([]byte) bool) (d Document, retry bool, err error) {
	shown, limits := RedactURL(u.String()), c.o.Documents.withDefaults()
	fail := func(retry bool, kind error, format string, args ...any) (Document, bool, error) {
		return Document{}, retry, fmt.Errorf("GET %s: "+format+": %w", append(append([]any{shown}, args...), kind)...)
	}
	// A document is worth a slot, not the breaker: it is asked for once, by somebody who waits for the reason.
	h := c.o.Hosts.get(strings.ToLower(u.Host), 0)
	leave, err := h.enter(ctx, c.o.QueueTimeout)
	if err != nil {
		return Document{}, false, err
	}
	defer leave()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fail(false, ErrAddress, "no request")
	}
	req.Header = c.header(u.Host, acceptDocuments)
	h.asked.Add(1)
	resp, err := c.http.Do(req)
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return Document{}, false, ctx.Err()
		}
		if kind, ok := reject.Of(err); ok {
			return fail(false, kind, "%s", strings.TrimSuffix(plain(err, c.o), ": "+kind.Text))
		}
		return fail(!errors.Is(err, errRedirect), tilescout.ErrUpstream, "%s", plain(err, c.o))
	}
	defer func(body io.Closer) { body.Close() }(resp.Body)
	switch code := resp.StatusCode; {
	case code == http.StatusOK:
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return fail(false, tilescout.ErrUpstream, "the server refuses us with %d; does it want a key, in headers or in the URL?", code)
	case code == http.StatusNotFound, code == http.StatusGone:
		return fail(false, tilescout.ErrBadInput, "the server has no such document (%d)", code)
	case code >= 500, code == http.StatusTooManyRequests:
		return fail(retryAfter(resp.Header, time.Now()) <= c.o.Backoff, tilescout.ErrUpstream, "the server answered %d", code)
	default:
		return fail(false, tilescout.ErrUpstream, "the server answered %d", code)
	}
	if isFile != nil && resp.Header.Get("Content-Encoding") == "" {
		body := bufio.NewReaderSize(resp.Body, probeBytes)
		head, _ := body.Peek(probeBytes) // what is short or breaks off is seen below
		if isFile(head) {
			return Document{Data: head, URL: resp.Request.URL, File: true}, false, nil
		}
		resp.Body = io.NopCloser(body) // closed by the deferred call, which has the old one
	}
	data, err := readBody(resp, int64(limits.Bytes))
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return Document{}, false, ctx.Err()
	case errors.Is(err, errTooLarge):
		return fail(false, ErrDocumentTooLarge, "%v", err)
	case err != nil:
		return fail(true, tilescout.ErrUpstream, "the answer breaks off: %s", plain(err, c.o))
	}
	return Document{Data: data, URL: resp.Request.URL, Limits: limits}, false, nil
}

var (
	exceptionElement = regexp.MustCompile(`(?is)<(?:[a-z0-9_.-]+:)?(?:ServiceException|ExceptionText)\b[^>]*>(.*?)</`)
	markup           = regexp.MustCompile(`<!\[CDATA\[|\]\]>|<[^>]*>`)
)

// ExceptionText returns what a WMS or WMTS exception report says, "" where data is none.
func ExceptionText(data []byte) string {
	m := exceptionElement.FindSubmatch(data[:min(len(data), 16<<10)])
	if m == nil {
		return ""
	}
	return oneLine(html.UnescapeString(markup.ReplaceAllString(string(m[1]), " ")), 200)
}
