package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/upstream"
)

// TestPublic walks both ends of every prefix that is no public internet, its neighbours, and IPv4 inside IPv6.
func TestPublic(t *testing.T) {
	for _, prefix := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
		"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		"::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16",
		"fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
	} {
		p := netip.MustParsePrefix(prefix)
		for _, ip := range []netip.Addr{p.Addr(), p.Addr().Next(), last(p)} {
			if ok, what, _ := upstream.Public(ip); ok || what == "" {
				t.Errorf("%s of %s is taken for public", ip, prefix)
			}
			if !ip.Is4() {
				continue
			}
			v4 := ip.As4()
			for name, wrapped := range map[string]netip.Addr{
				"IPv4-mapped": netip.AddrFrom16(ip.As16()),
				"NAT64":       inside("64:ff9b::", 12, v4),
				"6to4":        inside("2002::", 2, v4),
				"SIIT":        inside("::ffff:0:0:0", 12, v4),
				"with a zone": netip.AddrFrom16(ip.As16()).WithZone("eth0"),
			} {
				if ok, _, _ := upstream.Public(wrapped); ok {
					t.Errorf("%s (%s of %s) is taken for public", wrapped, name, ip)
				}
			}
		}
	}
	for _, ip := range []string{
		"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0",
		"172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
		"2606:4700::1111", "2001:200::1", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::808:808",
	} {
		if ok, what, _ := upstream.Public(netip.MustParseAddr(ip)); !ok {
			t.Errorf("%s is taken for %s", ip, what)
		}
	}
	if ok, _, _ := upstream.Public(netip.Addr{}); ok {
		t.Error("no address is taken for public")
	}
}

func last(p netip.Prefix) netip.Addr {
	b := p.Addr().As16()
	offset := 0
	if p.Addr().Is4() {
		offset = 96
	}
	for i := offset + p.Bits(); i < 128; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a := netip.AddrFrom16(b)
	if offset > 0 {
		return a.Unmap()
	}
	return a
}

func inside(prefix string, at int, v4 [4]byte) netip.Addr {
	b := netip.MustParseAddr(prefix).As16()
	copy(b[at:], v4[:])
	return netip.AddrFrom16(b)
}

// names is a DNS server on loopback that answers A and AAAA from a function, so that a name can change its mind.
func names(t *testing.T, answer func(name string) netip.Addr) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) == 0 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.Authoritative, m.Additionals = true, true, nil
			header := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET}
			switch ip := answer(strings.TrimSuffix(q.Name.String(), ".")); {
			case !ip.IsValid():
				m.RCode = dnsmessage.RCodeNameError
			case q.Type == dnsmessage.TypeA && ip.Is4():
				m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: ip.As4()}}}
			case q.Type == dnsmessage.TypeAAAA && ip.Is6():
				m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AAAAResource{AAAA: ip.As16()}}}
			}
			if out, err := m.Pack(); err == nil {
				conn.WriteTo(out, from)
			}
		}
	})
	t.Cleanup(func() {
		conn.Close()
		wg.Wait()
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// secret is a server that nobody may reach unless the operator named it.
type secret struct {
	*httptest.Server
	port    string
	reached atomic.Int64
}

func private(t *testing.T) *secret {
	t.Helper()
	s := &secret{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.reached.Add(1)
		fmt.Fprint(w, `{"secret": true}`)
	}))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	s.port = u.Port()
	return s
}

func client(t *testing.T, change func(*source.Spec), o upstream.Options, hosts ...string) *upstream.Client {
	t.Helper()
	spec := source.Spec{ID: "test", Source: "http://x"}
	if change != nil {
		change(&spec)
	}
	o.Backoff = time.Millisecond
	c, err := upstream.NewClient(spec, hosts, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if len(spec.AllowPorts) == 0 {
		upstream.AllowAllPorts(c) // what a test server has shows only later
	}
	return c
}

// TestPorts: a host that the operator named is so at the port that was written, and at those that were allowed besides.
// The other services of that machine, and of whom else listens there, get neither requests nor our headers.
func TestPorts(t *testing.T) {
	var heard atomic.Value
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		heard.Store("heard " + r.Header.Get("X-Key"))
		fmt.Fprint(w, "{}")
	}))
	defer other.Close()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) }))
	defer front.Close()
	_, text, _ := strings.Cut(strings.TrimPrefix(other.URL, "http://"), ":")
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, ask string
		ports     []int
		want      string // "" is let through
	}{
		{"redirect", front.URL, []int{1}, "port " + text + " is not the one in source"},
		{"redirect, allowed", front.URL, []int{1, port}, ""},
		{"named by a document", other.URL, []int{1}, "port " + text + " is not the one in source"},
		{"by name", strings.Replace(other.URL, "127.0.0.1", "localhost", 1), []int{1}, "localhost is"},
	} {
		t.Run(c.name, func(t *testing.T) {
			heard.Store("")
			spec := func(s *source.Spec) { s.AllowPorts, s.Headers = c.ports, map[string]string{"X-Key": "secret"} }
			cl := client(t, spec, upstream.Options{}, strings.TrimPrefix(front.URL, "http://"), strings.Replace(strings.TrimPrefix(front.URL, "http://"), "127.0.0.1", "localhost", 1))
			_, err := cl.Document(t.Context(), c.ask)
			if c.want == "" {
				if err != nil || heard.Load() != "heard " { // redirected: without the header, whose host:port is another
					t.Errorf("%v, the server has %q", err, heard.Load())
				}
				return
			}
			if !errors.Is(err, upstream.ErrPrivateAddress) || !strings.Contains(err.Error(), c.want) || heard.Load() != "" {
				t.Errorf("%v, the server has %q, want ErrPrivateAddress with %q", err, heard.Load(), c.want)
			}
		})
	}
}

// TestPrivateHosts is who may be asked on this machine: what the operator wrote, literally or with leave.
func TestPrivateHosts(t *testing.T) {
	s := private(t)
	resolver := names(t, func(name string) netip.Addr {
		switch name {
		case "tiles.example", "mapproxy":
			return netip.MustParseAddr("127.0.0.1")
		case "metadata.example":
			return netip.MustParseAddr("169.254.169.254")
		case "six.example":
			return netip.MustParseAddr("::ffff:127.0.0.1")
		}
		return netip.Addr{}
	})
	leave := func(s *source.Spec) { s.AllowPrivate = true }
	for _, c := range []struct {
		name     string
		operator string // what he wrote
		ask      string
		change   func(*source.Spec)
		want     string // in the error; "" reaches
	}{
		{"the very address", "127.0.0.1", "127.0.0.1", nil, ""},
		{"localhost", "localhost", "localhost", nil, ""},
		{"localhost in capitals", "LOCALHOST.", "localhost", nil, ""},
		{"mapped address as written", "[::ffff:127.0.0.1]", "[::ffff:127.0.0.1]", nil, ""},
		{"another address", "tiles.example", "127.0.0.1", nil, "127.0.0.1 is at 127.0.0.1 (this machine)"},
		{"another loopback address", "127.0.0.1", "127.0.0.2", nil, "this machine"},
		{"localhost for an address", "127.0.0.1", "localhost", nil, "this machine"},
		{"a name that points here", "tiles.example", "tiles.example", nil, "set allowPrivate: true"},
		{"with leave", "mapproxy", "mapproxy", leave, ""},
		{"leave is for the operator's host only", "mapproxy", "tiles.example", leave, "not an address of the public internet"},
		{"metadata, whatever the leave", "metadata.example", "metadata.example", leave, "link-local, where cloud metadata is"},
		{"IPv4 in IPv6", "tiles.example", "six.example", nil, "this machine"},
		{"mapped", "tiles.example", "[::ffff:7f00:1]", nil, "this machine"},
		{"unspecified", "tiles.example", "0.0.0.0", nil, "this network"},
		{"unspecified, though written", "0.0.0.0", "0.0.0.0", nil, "this network"},
		{"unspecified IPv6", "tiles.example", "[::]", nil, "IPv4 address in an IPv6 one"},
		{"IPv6 loopback", "tiles.example", "[::1]", nil, "this machine"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := s.reached.Load()
			cl := client(t, c.change, upstream.Options{Resolver: resolver}, c.operator)
			_, err := cl.Document(t.Context(), "http://"+c.ask+":"+s.port+"/x?key=SECRET")
			reached := s.reached.Load() - before
			if c.want == "" {
				if err != nil || reached != 1 {
					t.Errorf("%v, reached %d times, want once", err, reached)
				}
				return
			}
			if reached != 0 || !errors.Is(err, upstream.ErrPrivateAddress) || !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, reached %d times, want ErrPrivateAddress with %q", err, reached, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), "\n")) {
				t.Errorf("error shows the key or has two lines: %q", err)
			}
		})
	}
	for _, form := range []string{"127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1.", "①②⑦.0.0.1"} {
		before := s.reached.Load()
		if _, err := client(t, nil, upstream.Options{Resolver: resolver}, "tiles.example").Document(t.Context(), "http://"+form+":"+s.port+"/"); err == nil || s.reached.Load() != before {
			t.Errorf("%s: %v, reached %d times", form, err, s.reached.Load()-before)
		}
	}
}

// TestRebinding: a name that was public when it was looked at and is private when it is connected to.
func TestRebinding(t *testing.T) {
	s := private(t)
	var asked atomic.Int64
	resolver := names(t, func(string) netip.Addr {
		if asked.Add(1) <= 2 { // A and AAAA
			return netip.MustParseAddr("192.0.2.1")
		}
		return netip.MustParseAddr("127.0.0.1")
	})
	if ips, err := resolver.LookupNetIP(t.Context(), "ip4", "rebind.example"); err != nil || len(ips) != 1 {
		t.Fatalf("lookup: %v, %v", ips, err)
	}
	asked.Store(2)
	c := client(t, nil, upstream.Options{Resolver: resolver}, "rebind.example")
	if _, err := c.Document(t.Context(), "http://rebind.example:"+s.port+"/"); !errors.Is(err, upstream.ErrPrivateAddress) || s.reached.Load() != 0 {
		t.Errorf("%v, reached %d times", err, s.reached.Load())
	}
}

// TestRedirects: where an upstream sends us counts as little as what a document says.
func TestRedirects(t *testing.T) {
	s := private(t)
	resolver := names(t, func(string) netip.Addr { return netip.MustParseAddr("127.0.0.1") })
	for _, c := range []struct{ to, want string }{
		{"http://127.0.0.2:" + s.port, "127.0.0.2 is at 127.0.0.2"},
		{"http://localhost:" + s.port, "localhost is this machine"},
		{"http://other.example:" + s.port, "other.example is at 127.0.0.1"},
		{"http://169.254.169.254/latest/meta-data", "cloud metadata"},
		{"http://[::1]:" + s.port, "this machine"},
		{"http://u:p@127.0.0.1:" + s.port, "password"},
		{"file:///etc/passwd", "from http to file"},
		{"gopher://127.0.0.1:" + s.port, "from http to gopher"},
		{"//127.0.0.3:" + s.port, "this machine"},
	} {
		front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, c.to, http.StatusFound) }))
		_, err := client(t, nil, upstream.Options{Resolver: resolver}, "127.0.0.1").Document(t.Context(), front.URL)
		if err == nil || s.reached.Load() != 0 || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("redirect to %s: %v, reached %d times, want %q", c.to, err, s.reached.Load(), c.want)
		}
		front.Close()
	}
}

func TestNoDowngrade(t *testing.T) {
	s := private(t)
	front := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, s.URL, http.StatusFound) }))
	defer front.Close()
	err := upstream.CheckRedirect(client(t, nil, upstream.Options{}, "127.0.0.1"), s.URL, front.URL)
	if err == nil || !strings.Contains(err.Error(), "from https to http") {
		t.Errorf("from https to http: %v", err)
	}
	if err := upstream.CheckRedirect(client(t, nil, upstream.Options{}, "127.0.0.1"), front.URL, s.URL); err != nil {
		t.Errorf("from http to https: %v", err)
	}
}

// TestProxyIsForTheOperatorsHosts: a proxy would connect where the guard does not see it.
func TestProxyIsForTheOperatorsHosts(t *testing.T) {
	var through []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		through = append(through, r.URL.Host)
		if r.URL.Host == "tiles.example" {
			http.Redirect(w, r, "http://inner.example/", http.StatusFound)
		}
	}))
	defer proxy.Close()
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	resolver := names(t, func(string) netip.Addr { return netip.MustParseAddr("10.0.0.1") })
	c := client(t, nil, upstream.Options{Proxy: http.ProxyURL(at), Resolver: resolver}, "tiles.example")
	if _, err := c.Document(t.Context(), "http://tiles.example/"); !errors.Is(err, upstream.ErrPrivateAddress) {
		t.Errorf("%v, want ErrPrivateAddress for what the redirect names", err)
	}
	if len(through) != 1 || through[0] != "tiles.example" {
		t.Errorf("through the proxy went %v", through)
	}
}

func TestCheckURL(t *testing.T) {
	c := client(t, nil, upstream.Options{}, "tiles.example", "127.0.0.1")
	for text, ok := range map[string]bool{
		"https://other.example/x": true, "http://127.0.0.1:99/x": true, "http://8.8.8.8/": true,
		"ftp://tiles.example/": false, "http:///x": false, "http://a:b@tiles.example/": false, "http://127.0.0.2/": false, "http://localhost/": false,
		"http://x.localhost/": false, "http://10.1.1.1/": false, "http://[fd00::1]/": false, "http://[::ffff:10.0.0.1]/": false, "javascript:alert(1)": false, "/relative": false,
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.CheckURL(u); (err == nil) != ok || err != nil && !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("CheckURL(%s) = %v, want success %v", text, err, ok)
		}
	}
}

func TestRedactURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://h/x?map=a&api_key=S&TOKEN=S":  "https://h/x?map=a&api_key=***&TOKEN=***",
		"https://u:S@h/x?y=1#S":                "https://***@h/x?y=1",
		"https://S@h":                          "https://***@h",
		"https://u:S@h@i/x":                    "https://***@i/x",
		"https://h/{z}/{x}/{y}?key=S":          "https://h/{z}/{x}/{y}?key=***",
		"https://h/x#access_token=S":           "https://h/x",
		"https://h/x?X-Amz-Signature=S&a=b%20": "https://h/x?X-Amz-Signature=***&a=b%20",
		":S\x7f":                               "***",
	} {
		if got := upstream.RedactURL(in); got != want {
			t.Errorf("RedactURL(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzRedactURL(f *testing.F) {
	f.Add("https://u:SECRET@h/x?key=SECRET#SECRET")
	f.Add("http://[::1]:80/?a=b&token=SECRET;x")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := url.Parse(text)
		got := upstream.RedactURL(text)
		if err != nil || u.User == nil {
			return
		}
		if password, ok := u.User.Password(); ok && len(password) > 8 && strings.Contains(got, ":"+password+"@") {
			t.Errorf("RedactURL(%q) = %q", text, got)
		}
	})
}
