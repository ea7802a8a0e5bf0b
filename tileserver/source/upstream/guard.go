package upstream

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"github.com/tilescout/tilescout/internal/reject"
)

// Reasons to refuse an address.
var (
	// ErrPrivateAddress: a connection would go to an address that is not of the public internet, and the operator did
	// not name it.
	ErrPrivateAddress = reject.New("url", "ErrPrivateAddress", "not an address of the public internet")
	// ErrAddress: what stands for an address is none that we may ask.
	ErrAddress = reject.New("url", "ErrAddress", "not an address that may be asked")
)

// denied are the prefixes that are no place of the public internet: the special-purpose registries of IANA for IPv4 and
// IPv6 (RFC 6890 and successors) and multicast. IsGlobalUnicast lets most of them through. never marks those that no
// setting opens: nothing that serves tiles lives there, but cloud metadata and the machine's neighbours do.
var denied = []struct {
	prefix netip.Prefix
	what   string
	never  bool
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "this network", true},
	{netip.MustParsePrefix("10.0.0.0/8"), "a private network", false},
	{netip.MustParsePrefix("100.64.0.0/10"), "a carrier's or overlay network", false},
	{netip.MustParsePrefix("127.0.0.0/8"), "this machine", false},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local, where cloud metadata is", true},
	{netip.MustParsePrefix("172.16.0.0/12"), "a private network", false},
	{netip.MustParsePrefix("192.0.0.0/24"), "protocol assignments", true},
	{netip.MustParsePrefix("192.0.2.0/24"), "documentation", true},
	{netip.MustParsePrefix("192.88.99.0/24"), "a 6to4 relay", true},
	{netip.MustParsePrefix("192.168.0.0/16"), "a private network", false},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmarks", false},
	{netip.MustParsePrefix("198.51.100.0/24"), "documentation", true},
	{netip.MustParsePrefix("203.0.113.0/24"), "documentation", true},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast", true},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved", true},

	{netip.MustParsePrefix("::1/128"), "this machine", false},
	{netip.MustParsePrefix("::/96"), "an IPv4 address in an IPv6 one", true},
	{netip.MustParsePrefix("::ffff:0:0:0/96"), "an IPv4 address in an IPv6 one", true}, // SIIT, RFC 2765
	{netip.MustParsePrefix("64:ff9b:1::/48"), "a local translation to IPv4", true},
	{netip.MustParsePrefix("100::/64"), "discard", true},
	{netip.MustParsePrefix("2001::/23"), "protocol assignments", true}, // Teredo among them
	{netip.MustParsePrefix("2001:db8::/32"), "documentation", true},
	{netip.MustParsePrefix("2002::/16"), "6to4, an IPv4 address in an IPv6 one", true},
	{netip.MustParsePrefix("3fff::/20"), "documentation", true},
	{netip.MustParsePrefix("5f00::/16"), "segment routing", true},
	{netip.MustParsePrefix("fc00::/7"), "a private network", false},
	{netip.MustParsePrefix("fe80::/10"), "link-local", true},
	{netip.MustParsePrefix("fec0::/10"), "site-local", true},
	{netip.MustParsePrefix("ff00::/8"), "multicast", true},
}

// nat64 holds IPv4 addresses that networks without IPv4 reach through a translator (RFC 6052). The address inside
// counts; refusing them all would cut such networks off.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// Public tells whether an address is of the public internet; if not, what it is, and whether no setting opens it.
func Public(ip netip.Addr) (public bool, what string, never bool) {
	if !ip.IsValid() {
		return false, "no address", true
	}
	ip = ip.WithZone("").Unmap()
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	for _, d := range denied {
		if d.prefix.Contains(ip) {
			return false, d.what, d.never
		}
	}
	return true, "", false
}

// isLoopbackName tells the names that mean this machine (RFC 6761 §6.3).
func isLoopbackName(name string) bool {
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// hostKey is a host name as it is compared: lower case, without the dot at its end, without brackets and port.
func hostKey(host string) string {
	if inside, ok := strings.CutPrefix(host, "["); ok {
		inside, _, _ = strings.Cut(inside, "]")
		return strings.ToLower(inside)
	}
	if strings.Count(host, ":") == 1 {
		host, _, _ = strings.Cut(host, ":")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// guard decides which addresses one source may connect to.
type guard struct {
	operator     map[string]map[string]bool // host names that the operator wrote → ports there; nil: all of them
	allowPrivate bool                       // they may be in private networks though they are names
	proxies      proxyHosts
	also         func(network, address string, c syscall.RawConn) error // asked too
}

// isOperator tells whether the operator named this host, and the port that stands behind it: another service on the same
// machine is another's.
func (g *guard) isOperator(host string) bool {
	_, port, err := net.SplitHostPort(host)
	if err != nil || port == "" { // the scheme's own
		return g.allowsPort(host, "80") || g.allowsPort(host, "443")
	}
	return g.allowsPort(host, port)
}

func (g *guard) allowsPort(host, port string) bool {
	ports, named := g.operator[hostKey(host)]
	return named && (ports == nil || ports[port])
}

// name adds a host that the operator wrote, without a port meaning those of http and https, and further ports there.
func (g *guard) name(host string, further []int) {
	ports := map[string]bool{}
	if _, port, err := net.SplitHostPort(host); err == nil && port != "" {
		ports[port] = true
	} else {
		ports["80"], ports["443"] = true, true
	}
	for _, p := range further {
		ports[strconv.Itoa(p)] = true
	}
	for p := range g.operator[hostKey(host)] {
		ports[p] = true
	}
	g.operator[hostKey(host)] = ports
}

// check tells whether a connection to an address may be made that stands for the host name in a URL. It sees every
// address right before it is connected to, so what a name resolved to earlier plays no part.
func (g *guard) check(host string, address netip.AddrPort) error {
	if g.proxies.has(host) {
		return nil
	}
	public, what, never := Public(address.Addr())
	if public {
		return nil
	}
	ip := address.Addr().WithZone("").Unmap()
	_, named := g.operator[hostKey(host)]
	port := strconv.Itoa(int(address.Port()))
	operator := named && g.allowsPort(host, port)
	literal, err := netip.ParseAddr(hostKey(host))
	switch {
	case operator && err == nil && literal.WithZone("").Unmap() == ip && !ip.IsUnspecified() && !ip.IsMulticast():
		return nil // the operator wrote this very address
	case operator && isLoopbackName(hostKey(host)) && ip.IsLoopback():
		return nil
	case operator && g.allowPrivate && !never:
		return nil
	case named && !operator && !never:
		return fmt.Errorf("%s is at %s (%s), and port %s is not the one in source; allowPorts: [%s] opens it for this layer: %w", shownHost(host), ip, what, port, port, ErrPrivateAddress)
	case operator && !never:
		return fmt.Errorf("%s is at %s (%s); write that address itself, or set allowPrivate: true for this layer: %w", shownHost(host), ip, what, ErrPrivateAddress)
	}
	return fmt.Errorf("%s is at %s (%s): %w", shownHost(host), ip, what, ErrPrivateAddress)
}

// checkHost refuses early what check would refuse at the connection: addresses written as such, and names of this
// machine. What another name stands for shows only then.
func (g *guard) checkHost(host string) error {
	key := hostKey(host)
	if ip, err := netip.ParseAddr(key); err == nil {
		return g.check(host, netip.AddrPortFrom(ip, g.portOf(host)))
	}
	if isLoopbackName(key) && !g.isOperator(host) {
		return fmt.Errorf("%s is this machine: %w", shownHost(host), ErrPrivateAddress)
	}
	return nil
}

// portOf is the port behind a host, or the one of http or https that may be asked there.
func (g *guard) portOf(host string) uint16 {
	if _, port, err := net.SplitHostPort(host); err == nil && port != "" {
		n, _ := strconv.ParseUint(port, 10, 16) // 0 is no port of anybody
		return uint16(n)
	}
	if g.allowsPort(host, "443") {
		return 443
	}
	return 80
}

func shownHost(host string) string {
	host = hostKey(host)
	if len(host) > 100 {
		return host[:100] + "…"
	}
	return strings.ToValidUTF8(host, "?")
}

// dial returns a function for http.Transport that checks every address.
func (g *guard) dial(o Options) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("%w", ErrAddress)
		}
		d := net.Dialer{Timeout: o.DialTimeout, Resolver: o.Resolver}
		d.ControlContext = func(_ context.Context, network, resolved string, c syscall.RawConn) error {
			at, err := netip.ParseAddrPort(resolved)
			if err != nil {
				return fmt.Errorf("%s: %w", shownHost(host), ErrAddress)
			}
			if err := g.check(host, at); err != nil {
				return err
			}
			if g.also != nil {
				return g.also(network, resolved, c)
			}
			return nil
		}
		return d.DialContext(ctx, network, address)
	}
}
