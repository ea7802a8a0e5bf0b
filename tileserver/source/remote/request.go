package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
)

// maxTries is one request and two retries.
const maxTries = 3

// maxWait is the longest that a server's Retry-After is heeded within one read.
const maxWait = 5 * time.Second

// retry is a failure after which the same request may work.
type retry struct {
	err   error
	after time.Duration // the server named that time
}

func (r *retry) Error() string { return r.err.Error() }
func (r *retry) Unwrap() error { return r.err }

// wait is half to one and a half of backoff, so that readers that failed together do not come back together.
func (r *retry) wait(backoff time.Duration) time.Duration {
	return max(backoff/2+rand.N(backoff+1), min(r.after, maxWait))
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// request asks once for the blocks first to last. The first request of a file, whose size is not known yet, learns
// length and version from the answer; all others are held against them.
func (f *File) request(ctx context.Context, first, last int64) ([]byte, error) {
	opening := f.size < 0
	from, to := first*blockSize, (last+1)*blockSize-1
	if !opening {
		to = min(to, f.size-1)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url, nil)
	if err != nil {
		return nil, fmt.Errorf("the address does not give a request: %w", tilescout.ErrBadInput)
	}
	req.Header = f.o.Header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", f.o.UserAgent)
	}
	req.Header.Set("Accept-Encoding", "identity") // a range of a compressed file is a range of something else
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to))
	if !opening {
		// RFC 9110 §13.1.5: a date is as good as a strong validator only if it is some seconds old; servers know.
		if v := f.etag; v != "" {
			req.Header.Set("If-Range", v)
		} else if f.modified != "" {
			req.Header.Set("If-Range", f.modified)
		}
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, f.transport(ctx, err)
	}
	defer resp.Body.Close()
	if err := f.status(resp, opening); err != nil {
		return nil, err
	}
	start, end, size, err := contentRange(resp.Header.Get("Content-Range"))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", err, tilescout.ErrUpstream)
	case strings.HasPrefix(strings.ToLower(resp.Header.Get("Content-Type")), "multipart/"):
		return nil, fmt.Errorf("the server answers one range with several: %w", tilescout.ErrUpstream)
	}
	if e := resp.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, fmt.Errorf("the server compresses ranges (%s), so they cannot be put together: %w", short(e), tilescout.ErrUpstream)
	}
	etag := resp.Header.Get("ETag")
	if strings.HasPrefix(etag, "W/") || len(etag) < 2 || etag[0] != '"' || etag[len(etag)-1] != '"' || len(etag) > 1024 {
		etag = "" // weak or none: it does not promise equal bytes
	}
	modified := resp.Header.Get("Last-Modified")
	switch {
	case opening:
		to = min(to, size-1)
	case size != f.size, f.etag != "" && etag != "" && etag != f.etag, f.etag == "" && f.modified != "" && modified != "" && modified != f.modified:
		return nil, ErrChanged
	}
	if start != from || end != to {
		return nil, fmt.Errorf("bytes %d to %d were asked for, %d to %d came: %w", from, to, start, end, tilescout.ErrUpstream)
	}
	data := make([]byte, to-from+1)
	if n, err := io.ReadFull(resp.Body, data); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &retry{err: fmt.Errorf("the answer breaks off after %d of %d bytes: %w", n, len(data), tilescout.ErrUpstream)}
	}
	var extra [1]byte
	if n, _ := io.ReadFull(resp.Body, extra[:]); n > 0 {
		return nil, fmt.Errorf("the answer is longer than the %d bytes that it announces: %w", len(data), tilescout.ErrUpstream)
	}
	if opening {
		f.size, f.etag, f.modified = size, etag, modified
		f.key = f.url + " " + f.Version()
	}
	return data, nil
}

// transport is what is said of a request that got no answer.
func (f *File) transport(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var wrapped *url.Error // quotes the address, which may hold a key
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	text := short(err.Error())
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		text = "no answer in time"
	}
	for _, kind := range []error{tilescout.ErrForbidden, tilescout.ErrBadInput} {
		if errors.Is(err, kind) { // a guard in the transport
			return fmt.Errorf("%s: %w", strings.TrimSuffix(text, ": "+kind.Error()), kind)
		}
	}
	if errors.Is(err, errRedirect) {
		return fmt.Errorf("%s: %w", text, tilescout.ErrUpstream)
	}
	return &retry{err: fmt.Errorf("%s: %w", text, tilescout.ErrUpstream)}
}

// status makes an error of every answer that is not a part of the file.
func (f *File) status(resp *http.Response, opening bool) error {
	kind := tilescout.ErrUpstream
	switch code := resp.StatusCode; {
	case code == http.StatusPartialContent:
		return nil
	case code == http.StatusOK && !opening:
		// With If-Range this says that the version is another one.
		if f.etag != "" || f.modified != "" {
			return ErrChanged
		}
		return fmt.Errorf("the server no longer answers ranges: %w", kind)
	case code == http.StatusOK:
		head, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
		if strings.HasPrefix(strings.TrimSpace(strings.ToLower(string(head))), "<") {
			return fmt.Errorf("the server answers %s, not a file: %w", source.Describe(bytes.TrimSpace(head)), tilescout.ErrBadInput)
		}
		return fmt.Errorf("the server does not support range requests; download the file, or put it on a server that does: %w", tilescout.ErrBadInput)
	case code == http.StatusRequestedRangeNotSatisfiable && opening:
		return fmt.Errorf("the file is empty: %w", tilescout.ErrBadInput)
	case code == http.StatusRequestedRangeNotSatisfiable, code == http.StatusPreconditionFailed:
		return ErrChanged
	case (code == http.StatusNotFound || code == http.StatusGone) && opening:
		return fmt.Errorf("no such file, the server answers %d: %w", code, tilescout.ErrBadInput)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return fmt.Errorf("the server answers %d; does it need a header with a key?: %w", code, kind)
	case code == http.StatusTooManyRequests, code >= 500, code == http.StatusRequestTimeout:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return &retry{err: fmt.Errorf("the server answers %d: %w", code, kind), after: time.Duration(min(max(seconds, 0), 3600)) * time.Second}
	default:
		return fmt.Errorf("the server answers %d: %w", code, kind)
	}
}

// contentRange reads "bytes 0-99/1234" (RFC 9110 §14.4) of a known length.
func contentRange(s string) (start, end, size int64, err error) {
	bad := func() (int64, int64, int64, error) {
		return 0, 0, 0, fmt.Errorf("Content-Range %s does not tell part and length", strconv.Quote(short(s)))
	}
	unit, rest, ok := strings.Cut(strings.TrimSpace(s), " ")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return bad()
	}
	part, total, ok := strings.Cut(rest, "/")
	from, to, ok2 := strings.Cut(part, "-")
	if !ok || !ok2 {
		return bad()
	}
	var n [3]int64
	for i, text := range []string{from, to, total} {
		if text == "" || strings.Trim(text, "0123456789") != "" {
			return bad()
		}
		if n[i], err = strconv.ParseInt(text, 10, 64); err != nil {
			return bad()
		}
	}
	if n[0] > n[1] || n[1] >= n[2] {
		return bad()
	}
	return n[0], n[1], n[2], nil
}

var errRedirect = errors.New("redirect refused")

// checkRedirect lets the server move the file within its scheme or to https, and keeps our headers from other hosts.
func (f *File) checkRedirect(next *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("%w: more than %d in a row", errRedirect, maxRedirects)
	case next.URL.Scheme != via[len(via)-1].URL.Scheme && next.URL.Scheme != "https":
		return fmt.Errorf("%w: from %s to %s", errRedirect, via[len(via)-1].URL.Scheme, short(next.URL.Scheme))
	case next.URL.User != nil:
		return fmt.Errorf("%w: it holds a password", errRedirect)
	}
	next.Header.Del("Referer") // the address may hold a key
	if next.URL.Host != via[0].URL.Host {
		for name := range f.o.Header {
			if http.CanonicalHeaderKey(name) != "User-Agent" {
				next.Header.Del(name)
			}
		}
	}
	return nil
}

// short is a text of a stranger on one short line.
func short(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s)
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}
