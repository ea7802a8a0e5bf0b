package tileserver

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/tilescout/tilescout"
)

// Address makes the absolute URLs of answers, the one way for all of them: the public URL if the operator gave
// one, else what trusted proxies forward, else the Host that was asked. Safe for concurrent use.
type Address struct {
	public   string // without trailing slash; "" if not given
	basePath string // "" or "/a/b"
	trusted  []netip.Prefix
}

var (
	hostPattern   = regexp.MustCompile(`^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?$`)
	prefixPattern = regexp.MustCompile(`^(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*){1,8}$`)
)

// NewAddress checks its settings. publicURL is where clients reach the server ("https://maps.example/scout"; "" to
// find out from each request). basePath is a path prefix that requests still carry when they arrive. trusted are
// addresses or networks of proxies whose Forwarded and X-Forwarded-* headers count. Errors are ErrBadInput.
func NewAddress(publicURL, basePath string, trusted []string) (*Address, error) {
	a := &Address{}
	if publicURL != "" {
		u, err := url.Parse(publicURL)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return nil, fmt.Errorf("public URL %q: want http(s)://host[/path] without query: %w", publicURL, tilescout.ErrBadInput)
		}
		// A comma in a capabilities URL breaks GDAL's connection strings (GIS reference §3).
		if strings.Contains(publicURL, ",") {
			return nil, fmt.Errorf("public URL %q: a comma breaks map clients: %w", publicURL, tilescout.ErrBadInput)
		}
		a.public = strings.TrimRight(u.String(), "/")
	}
	a.basePath = strings.TrimRight(basePath, "/")
	if a.basePath != "" && !prefixPattern.MatchString(a.basePath) {
		return nil, fmt.Errorf("base path %q: want /name[/name]: %w", basePath, tilescout.ErrBadInput)
	}
	for _, s := range trusted {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			ip, err := netip.ParseAddr(s)
			if err != nil {
				return nil, fmt.Errorf("trusted proxy %q: want an address or a network like 10.0.0.0/8: %w", s, tilescout.ErrBadInput)
			}
			p = netip.PrefixFrom(ip, ip.BitLen())
		}
		a.trusted = append(a.trusted, p.Masked())
	}
	return a, nil
}

// URL returns the absolute URL of path, which begins with a slash and may have a query, as the client of r reaches it.
func (a *Address) URL(r *http.Request, path string) string { return a.root(r) + path }

// root is URL without the path, and without a trailing slash.
func (a *Address) root(r *http.Request) string {
	if a.public != "" {
		return a.public
	}
	scheme, host, prefix := "http", r.Host, ""
	if r.TLS != nil {
		scheme = "https"
	}
	if a.fromTrusted(r) {
		f := a.forwarded(r)
		if f.scheme == "http" || f.scheme == "https" {
			scheme = f.scheme
		}
		if hostPattern.MatchString(f.host) {
			host = f.host
		}
		if prefixPattern.MatchString(f.prefix) {
			prefix = f.prefix
		}
	}
	if !hostPattern.MatchString(host) {
		// A strange Host must not be reflected into documents that caches keep.
		host = "localhost"
		if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
			host = local.String()
		}
	}
	if prefix == a.basePath { // the proxy says what it did not strip
		prefix = ""
	}
	return scheme + "://" + host + prefix + a.basePath
}

// hop is what one proxy says of the request it passed on.
type hop struct{ client, scheme, host, prefix string }

// forwarded returns what the outermost trusted proxy said. Only call it for a request that came from a trusted one.
func (a *Address) forwarded(r *http.Request) hop {
	if values := r.Header.Values("Forwarded"); len(values) > 0 {
		hops := parseForwarded(strings.Join(values, ","))
		for i := len(hops) - 1; i >= 0; i-- {
			if i == 0 || !a.isTrusted(hops[i].client) {
				return hops[i]
			}
		}
	}
	clients := list(r, "X-Forwarded-For")
	back := 1 // how many elements from the right the outermost trusted proxy stands
	for back < len(clients) && a.isTrusted(clients[len(clients)-back]) {
		back++
	}
	pick := func(name string) string {
		v := list(r, name)
		if len(v) == 0 {
			return ""
		}
		return v[max(0, len(v)-back)]
	}
	h := hop{client: pick("X-Forwarded-For"), scheme: strings.ToLower(pick("X-Forwarded-Proto")),
		host: pick("X-Forwarded-Host"), prefix: strings.TrimRight(pick("X-Forwarded-Prefix"), "/")}
	if port := pick("X-Forwarded-Port"); port != "" {
		host := h.host
		if host == "" {
			host = r.Host
		}
		name, _, err := net.SplitHostPort(host)
		standard := (h.scheme == "https" && port == "443") || (h.scheme != "https" && port == "80")
		if err != nil && !standard { // the host has no port of its own
			name, h.host = strings.Trim(host, "[]"), ""
			h.host = net.JoinHostPort(name, port)
		}
	}
	return h
}

// client returns the address that the request came from: the socket's, or the rightmost one that is not a trusted proxy.
func (a *Address) client(r *http.Request) netip.Addr {
	remote := socket(r)
	if !a.fromTrusted(r) {
		return remote
	}
	if ip, ok := parseAddr(a.forwarded(r).client); ok {
		return ip
	}
	return remote
}

func (a *Address) fromTrusted(r *http.Request) bool {
	return len(a.trusted) > 0 && a.holds(socket(r))
}

func (a *Address) isTrusted(client string) bool {
	ip, ok := parseAddr(client)
	return ok && a.holds(ip)
}

func (a *Address) holds(ip netip.Addr) bool {
	for _, p := range a.trusted {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

func socket(r *http.Request) netip.Addr {
	ip, _ := parseAddr(r.RemoteAddr)
	return ip
}

// parseAddr reads "1.2.3.4", "1.2.3.4:80", "[::1]:80" and "::1".
func parseAddr(s string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	ip, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return ip.Unmap().WithZone(""), err == nil
}

func list(r *http.Request, name string) []string {
	var out []string
	for _, v := range r.Header.Values(name) {
		for part := range strings.SplitSeq(v, ",") {
			out = append(out, strings.TrimSpace(part))
		}
	}
	return out
}

// parseForwarded reads the elements of RFC 7239, leftmost first. Unknown parameters are skipped.
func parseForwarded(s string) []hop {
	var hops []hop
	for element := range strings.SplitSeq(s, ",") {
		var h hop
		for pair := range strings.SplitSeq(element, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			value = strings.Trim(strings.TrimSpace(value), `"`)
			switch strings.ToLower(name) {
			case "for":
				h.client = value
			case "proto":
				h.scheme = strings.ToLower(value)
			case "host":
				h.host = value
			case "prefix": // not in the RFC, sent by some
				h.prefix = value
			}
		}
		hops = append(hops, h)
	}
	return hops
}
