package upstream

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/budget"
	"github.com/tilescout/tilescout/internal/reject"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/diskcache"
)

// Options of a source; the zero value works, without a disk cache. Sources of one program share Hosts and Cache.
type Options struct {
	ProgramVersion string                           // in the User-Agent; "" means dev
	LookupEnv      func(name string) (string, bool) // for ${NAME}; nil means that no variable is set
	Hosts          *Hosts                           // nil means limits of its own
	Cache          *diskcache.Cache                 // nil keeps nothing
	// Proxy is asked for the hosts that the operator wrote, nil connects directly. Where a request ends that goes
	// through a proxy only the proxy knows, so what a redirect or a document names never goes there.
	Proxy func(*http.Request) (*url.URL, error)

	Limits    source.Limits  // on each picture
	Documents DocumentLimits // on each capabilities document or TileJSON

	Memory *budget.Budget // of pictures being decoded, where a tile is drawn from others; nil has no bound

	Resolver *net.Resolver // nil means the system's

	// DialControl looks at the resolved address of every connection that the guard against private networks lets pass,
	// redirects included, before it is made; an error forbids it. nil allows all.
	DialControl func(network, address string, c syscall.RawConn) error

	DialTimeout   time.Duration // 0 means 3 s
	TLSTimeout    time.Duration // 0 means 5 s
	HeaderTimeout time.Duration // from the request to the first byte of the answer; 0 means 10 s
	TotalTimeout  time.Duration // of one tile, with waiting and retries; 0 means 20 s
	QueueTimeout  time.Duration // waiting for a free request; 0 means 10 s
	Backoff       time.Duration // before the first retry, twice as long before the second; 0 means 250 ms
	MissingTTL    time.Duration // a tile that is not there is not asked for again for so long; 0 means 60 s
	FailureTTL    time.Duration // the same for a tile that failed; 0 means 5 s
	StaleAfter    time.Duration // a tile that is kept but expired is shown when the upstream has not answered by then; 0 means 2 s
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
		{&o.MissingTTL, time.Minute}, {&o.StaleAfter, 2 * time.Second}, {&o.FailureTTL, 5 * time.Second}, {&o.BlockTime, 10 * time.Minute},
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

// Client asks one upstream, and what that names, on behalf of one layer. Every connection passes the guard: addresses
// outside of the public internet are asked only where the operator wrote them. Safe for concurrent use.
type Client struct {
	o     Options
	own   http.Header // of the config, for the hosts that the operator wrote
	guard *guard
	http  *http.Client

	mu      sync.Mutex // guards secrets
	secrets []string   // values that no message may hold
}

// Hide keeps values out of every message that quotes what an upstream wrote: servers echo keys.
func (c *Client) Hide(values ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range values {
		if len(v) >= 4 { // shorter ones would mask half of every message
			c.secrets = append(c.secrets, v, url.QueryEscape(v))
		}
	}
}

// Shown returns an address as people may see it.
func (c *Client) Shown(address string) string { return RedactURL(c.mask(address)) }

// clean returns what an upstream wrote as one short line without secrets.
func (c *Client) clean(text string) string { return oneLine(c.mask(text), 200) }

func (c *Client) mask(text string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.secrets {
		text = strings.ReplaceAll(text, s, Mask)
	}
	return text
}

// NewClient returns a client for the layer of spec. hosts are the host names, with or without port, that the operator
// wrote in its source: they alone, at that port and those of spec.AllowPorts, may be private addresses, and they alone are
// sent the headers of spec. Headers that
// cannot be sent are ErrBadInput; errors quote none of their values.
func NewClient(spec source.Spec, hosts []string, o Options) (*Client, error) {
	o.setDefaults()
	own, err := ownHeaders(spec, o.LookupEnv)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w: %w", spec.ID, err, tilescout.ErrBadInput)
	}
	c := &Client{o: o, own: own}
	for _, values := range own {
		c.Hide(values...)
	}
	c.guard = newGuard(spec, hosts, o)
	c.http = &http.Client{Transport: c.guard.transport(o), CheckRedirect: c.checkRedirect}
	return c, nil
}

// Dial reads the source of spec as ParseAddress does and returns a client for its host. It sends nothing.
func Dial(spec source.Spec, o Options, settings ...string) (Address, *Client, error) {
	a, err := ParseAddress(spec, o.LookupEnv, settings...)
	if err != nil {
		return Address{}, nil, err
	}
	c, err := NewClient(spec, []string{a.URL.Host}, o)
	if err != nil {
		return Address{}, nil, err
	}
	c.Hide(a.Secrets...)
	return a, c, nil
}

// Header returns what a layer's own requests say: the headers of its config, variables filled in, and who we are.
func Header(spec source.Spec, o Options) (http.Header, error) {
	o.setDefaults()
	h, err := ownHeaders(spec, o.LookupEnv)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, tilescout.ErrBadInput)
	}
	if h.Get("User-Agent") == "" {
		h.Set("User-Agent", userAgent(o.ProgramVersion))
	}
	return h, nil
}

// Transport returns a guarded transport: it connects to addresses outside of the public internet only where they are
// hosts, as NewClient has them. It is for readers that make requests of their own.
func Transport(spec source.Spec, hosts []string, o Options) *http.Transport {
	o.setDefaults()
	return newGuard(spec, hosts, o).transport(o)
}

func newGuard(spec source.Spec, hosts []string, o Options) *guard {
	g := &guard{operator: map[string]map[string]bool{}, allowPrivate: spec.AllowPrivate, also: o.DialControl}
	for _, h := range hosts {
		g.name(h, spec.AllowPorts)
	}
	return g
}

func (g *guard) transport(o Options) *http.Transport {
	return &http.Transport{
		Proxy:                  g.proxy(o.Proxy),
		DialContext:            g.dial(o),
		TLSHandshakeTimeout:    o.TLSTimeout,
		ResponseHeaderTimeout:  o.HeaderTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
		MaxIdleConnsPerHost:    hostRequests,
		IdleConnTimeout:        time.Minute,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // pictures do not shrink, and Go's own inflating has no cap
	}
}

// CheckURL refuses an address that a document names and that must not be asked: another scheme than http and https, a
// password in it, a host that is an address outside of the public internet. ErrBadInput.
func (c *Client) CheckURL(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("scheme %.20q is neither http nor https: %w", u.Scheme, ErrAddress)
	case u.Hostname() == "":
		return fmt.Errorf("no host: %w", ErrAddress)
	case u.User != nil:
		return fmt.Errorf("it holds a password: %w", ErrAddress)
	}
	return c.guard.checkHost(u.Host)
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// header returns the header of a request to host.
func (c *Client) header(host, accept string) http.Header {
	h := http.Header{}
	if c.guard.isOperator(host) {
		h = c.own.Clone()
	} else if agent := c.own.Get("User-Agent"); agent != "" {
		h.Set("User-Agent", agent)
	}
	if h.Get("User-Agent") == "" {
		h.Set("User-Agent", userAgent(c.o.ProgramVersion))
	}
	if h.Get("Accept") == "" {
		h.Set("Accept", accept)
	}
	return h
}

// proxyHosts are the proxies that have been used; connections to them are the operator's will.
type proxyHosts struct {
	mu    sync.Mutex // guards names
	names map[string]bool
}

func (p *proxyHosts) has(host string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.names[hostKey(host)]
}

func (p *proxyHosts) add(host string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.names == nil {
		p.names = map[string]bool{}
	}
	p.names[hostKey(host)] = true
}

// proxy asks for a proxy for the operator's own hosts only.
func (g *guard) proxy(ask func(*http.Request) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	if ask == nil {
		return nil
	}
	return func(r *http.Request) (*url.URL, error) {
		if !g.isOperator(r.URL.Host) {
			return nil, nil
		}
		u, err := ask(r)
		if u != nil && err == nil {
			g.proxies.add(u.Host)
		}
		return u, err
	}
}

var errRedirect = errors.New("redirect refused")

// checkRedirect lets an upstream move within its scheme or to https, and sees that what we say to it alone (headers of
// the config, the address with its key as Referer) is not said to another host.
func (c *Client) checkRedirect(next *http.Request, via []*http.Request) error {
	first := via[0]
	last := via[len(via)-1].URL.Scheme
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("%w: more than %d in a row", errRedirect, maxRedirects)
	case next.URL.Scheme != last && next.URL.Scheme != "https":
		return fmt.Errorf("%w: from %s to %.20s", errRedirect, last, next.URL.Scheme)
	}
	if err := c.CheckURL(next.URL); err != nil {
		return fmt.Errorf("%w: %w", errRedirect, err)
	}
	if referer := first.Header.Get("Referer"); referer != "" {
		next.Header.Set("Referer", referer)
	} else {
		next.Header.Del("Referer")
	}
	if next.URL.Host != first.URL.Host {
		for name := range c.own {
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
	if forbidden, ok := reject.Of(err); ok && (forbidden == ErrPrivateAddress || forbidden == ErrAddress) {
		err = guardError(err)
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Sprintf("no answer in time (connection %v, first byte %v, all %v)", o.DialTimeout, o.HeaderTimeout, o.TotalTimeout)
	}
	return oneLine(err.Error(), 200)
}

// oneLine makes text fit for a message: no control characters, at most so many bytes.
func oneLine(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "?")
}

// guardError drops what the dialer wrote before what the guard wrote: it repeats the address.
func guardError(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}

// Memory is what decoding takes its bytes from.
func (c *Client) Memory() *budget.Budget { return c.o.Memory }

// Limits are those on each picture.
func (c *Client) Limits() source.Limits { return c.o.Limits }
