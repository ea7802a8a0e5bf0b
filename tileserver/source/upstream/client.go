package xyz

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/diskcache"
)

// Options of a source; the zero value works, without a disk cache. Sources of one program share Hosts and Cache.
type Options struct {
	ProgramVersion string                                // in the User-Agent; "" means dev
	LookupEnv      func(name string) (string, bool)      // for ${NAME}; nil means that no variable is set
	Hosts          *Hosts                                // nil means limits of its own
	Cache          *diskcache.Cache                      // nil keeps nothing
	Proxy          func(*http.Request) (*url.URL, error) // nil connects directly
	Limits         source.Limits                         // on each picture

	// DialControl looks at the resolved address of every connection, redirects included, before it is made; an error
	// forbids it. It is the place of the guard against requests to private networks; nil allows all.
	DialControl func(network, address string, c syscall.RawConn) error

	DialTimeout   time.Duration // 0 means 3 s
	TLSTimeout    time.Duration // 0 means 5 s
	HeaderTimeout time.Duration // from the request to the first byte of the answer; 0 means 10 s
	TotalTimeout  time.Duration // of one tile, with waiting and retries; 0 means 20 s
	QueueTimeout  time.Duration // waiting for a free request; 0 means 10 s
	Backoff       time.Duration // before the first retry, twice as long before the second; 0 means 250 ms
	MissingTTL    time.Duration // a tile that is not there is not asked for again for so long; 0 means 60 s
	FailureTTL    time.Duration // the same for a tile that failed; 0 means 5 s
	BlockTime     time.Duration // nothing is asked for so long after the upstream refused us; 0 means 10 min
}

func (o *Options) setDefaults() {
	o.ProgramVersion = cmp.Or(o.ProgramVersion, "dev")
	if o.Hosts == nil {
		o.Hosts = NewHosts()
	}
	for _, d := range []struct {
		option *time.Duration
		value  time.Duration
	}{
		{&o.DialTimeout, 3 * time.Second}, {&o.TLSTimeout, 5 * time.Second}, {&o.HeaderTimeout, 10 * time.Second},
		{&o.TotalTimeout, 20 * time.Second}, {&o.QueueTimeout, 10 * time.Second}, {&o.Backoff, 250 * time.Millisecond},
		{&o.MissingTTL, time.Minute}, {&o.FailureTTL, 5 * time.Second}, {&o.BlockTime, 10 * time.Minute},
	} {
		*d.option = cmp.Or(*d.option, d.value)
	}
}

const (
	maxRedirects      = 3
	maxResponseHeader = 64 << 10 // bytes
)

// userAgent names the program and where its makers are found: public tile services block nameless clients and the
// defaults of libraries.
func userAgent(version string) string {
	return "Tilescout/" + version + " (+https://github.com/tilescout/tilescout)"
}

// newClient returns a client for one upstream.
func newClient(o Options, own http.Header) *http.Client {
	dialer := &net.Dialer{Timeout: o.DialTimeout, Control: o.DialControl}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  o.Proxy,
			DialContext:            dialer.DialContext,
			TLSHandshakeTimeout:    o.TLSTimeout,
			ResponseHeaderTimeout:  o.HeaderTimeout,
			MaxResponseHeaderBytes: maxResponseHeader,
			MaxIdleConnsPerHost:    hostRequests,
			IdleConnTimeout:        time.Minute,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true, // pictures do not shrink, and Go's own inflating has no cap
		},
		CheckRedirect: func(next *http.Request, via []*http.Request) error { return checkRedirect(next, via, own) },
	}
}

var errRedirect = errors.New("redirect refused")

// checkRedirect lets an upstream move within its scheme or to https, and sees that what we say to it alone (headers of
// the config, the address with its key as Referer) is not said to another host.
func checkRedirect(next *http.Request, via []*http.Request, own http.Header) error {
	first := via[0]
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("%w: more than %d in a row", errRedirect, maxRedirects)
	case next.URL.Scheme != via[len(via)-1].URL.Scheme && next.URL.Scheme != "https":
		return fmt.Errorf("%w: from %s to %s", errRedirect, via[len(via)-1].URL.Scheme, next.URL.Scheme)
	case next.URL.User != nil:
		return fmt.Errorf("%w: it holds a password", errRedirect)
	}
	if referer := first.Header.Get("Referer"); referer != "" {
		next.Header.Set("Referer", referer)
	} else {
		next.Header.Del("Referer")
	}
	if next.URL.Host != first.URL.Host {
		for name := range own {
			if name != "User-Agent" {
				next.Header.Del(name)
			}
		}
	}
	return nil
}

// ourHeaders are set by this package; the config may not.
var ourHeaders = []string{"Accept-Encoding", "Connection", "Content-Length", "Host", "If-Modified-Since", "If-None-Match", "Range", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// ownHeaders returns the headers of spec with their variables filled in. Errors quote no value.
func ownHeaders(spec source.Spec, lookup func(string) (string, bool)) (http.Header, error) {
	own := http.Header{}
	for name, text := range spec.Headers {
		value, err := Expand(text, lookup)
		if err != nil {
			return nil, fmt.Errorf("header %s: %w", name, err)
		}
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("header %q: its name or value holds characters that HTTP forbids", name)
		}
		key := http.CanonicalHeaderKey(name)
		for _, ours := range ourHeaders {
			if key == ours {
				return nil, fmt.Errorf("header %s is set by Tilescout", name)
			}
		}
		own.Set(key, value)
	}
	for name, value := range map[string]string{"User-Agent": spec.UserAgent, "Referer": spec.Referer} {
		if !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("%s holds characters that HTTP forbids", name)
		}
		if value != "" {
			own.Set(name, value)
		}
	}
	return own, nil
}

// plain returns the text of a network error without the URL, which may hold a key, on one short line.
func plain(err error, o Options) string {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Sprintf("no answer in time (connection %v, first byte %v, all %v)", o.DialTimeout, o.HeaderTimeout, o.TotalTimeout)
	}
	text := strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, err.Error())
	if len(text) > 200 {
		text = text[:200] + "…"
	}
	return strings.ToValidUTF8(text, "?")
}
