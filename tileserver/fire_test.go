package tileserver_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/problem"
	"github.com/tilescout/tilescout/internal/reject"
	"github.com/tilescout/tilescout/tileserver"
)

// raw sends bytes as they are and returns what comes back until the server closes or d has passed.
func raw(t *testing.T, base, text string, d time.Duration) string {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(d))
	if _, err := io.WriteString(c, text); err != nil {
		return "write: " + err.Error()
	}
	got, _ := io.ReadAll(c) // a reset is an answer too
	return string(got)
}

// TestRequestLimits sends what no client sends, over real sockets.
func TestRequestLimits(t *testing.T) {
	_, base := start(t, tileserver.Options{
		Layers:   []tileserver.Layer{{Tiles: city()}},
		Requests: tileserver.RequestLimits{HeaderTimeout: 200 * time.Millisecond, BodyTimeout: 400 * time.Millisecond},
	})
	end := "Host: x\r\nConnection: close\r\n\r\n"
	for name, c := range map[string]struct{ request, want string }{
		"long URL":       {"GET /tiles/city.json?a=" + strings.Repeat("x", 9000) + " HTTP/1.1\r\n" + end, "HTTP/1.1 414"},
		"parameters":     {"GET /tiles/city.json?" + strings.Repeat("a=1&", 40) + " HTTP/1.1\r\n" + end, "HTTP/1.1 400"},
		"headers":        {"GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 40000) + "\r\n" + end, "HTTP/1.1 431"},
		"no HTTP":        {"hello\r\n\r\n", "HTTP/1.1 400"},
		"two lengths":    {"POST /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n" + end, "HTTP/1.1 400"},
		"DELETE":         {"DELETE /tiles/city.json HTTP/1.1\r\n" + end, "HTTP/1.1 405"},
		"TRACE":          {"TRACE /layers HTTP/1.1\r\n" + end, "HTTP/1.1 405"},
		"made-up method": {"FROB /layers HTTP/1.1\r\n" + end, "HTTP/1.1 405"},
		"traversal":      {"GET /tiles/..%2f..%2fetc%2fpasswd/0/0/0.png HTTP/1.1\r\n" + end, "HTTP/1.1 301"},
		"dots":           {"GET /../../etc/passwd HTTP/1.1\r\n" + end, "HTTP/1.1 301"},
		"dot segment":    {"GET /tiles/%2e%2e/0/0/0.png HTTP/1.1\r\n" + end, "HTTP/1.1 301"},
		"zero byte":      {"GET /tiles/city%00/0/0/0.png HTTP/1.1\r\n" + end, "HTTP/1.1 404"},
		"absolute":       {"GET http://169.254.169.254/latest HTTP/1.1\r\n" + end, "HTTP/1.1 404"},
		"CONNECT":        {"CONNECT 127.0.0.1:22 HTTP/1.1\r\n" + end, "HTTP/1.1 405"},
		"slow headers":   {"GET / HTTP/1.1\r\nHost: x\r\n", ""},
		"slow body":      {"POST /layers HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nConnection: close\r\n\r\nabc", "HTTP/1.1 405"},
	} {
		got := raw(t, base, c.request, 10*time.Second)
		if !strings.HasPrefix(got, c.want) || (c.want == "" && strings.HasPrefix(got, "HTTP/1.1 2")) {
			t.Errorf("%s: %.120q, want %s", name, got, c.want)
		}
		if c.want == "HTTP/1.1 405" && !strings.Contains(got, "\r\nAllow: GET, HEAD, OPTIONS") {
			t.Errorf("%s: no Allow: %.300q", name, got)
		}
		if where := header(got, "Location"); where != "" && (!strings.HasPrefix(where, "/") || strings.HasPrefix(where, "//")) {
			t.Errorf("%s: sends the client to %s", name, where)
		}
		if strings.Contains(got, "root:") {
			t.Errorf("%s: serves a file of the machine", name)
		}
	}
}

// TestSlowloris: half a request on many connections keeps nobody else from an answer, and each is closed in time.
func TestSlowloris(t *testing.T) {
	_, base := start(t, tileserver.Options{
		Layers: []tileserver.Layer{{Tiles: city()}}, MaxConnections: 300,
		Requests: tileserver.RequestLimits{HeaderTimeout: 500 * time.Millisecond},
	})
	var open []net.Conn
	for range 200 {
		c, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET /layers HTTP/1.1\r\nX-Slow: "); err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	if r := ask(t, "GET", base+"/tiles/city/5/16/10.jpg"); r.StatusCode != 200 {
		t.Errorf("a tile meanwhile: status %d", r.StatusCode)
	}
	for i, c := range open {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Fatalf("connection %d is still open: %v", i, err)
		}
	}
}

// TestRateLimit: a client over its budget gets 429 and when to come back, another one does not notice.
func TestRateLimit(t *testing.T) {
	_, base := start(t, tileserver.Options{
		Layers: []tileserver.Layer{{Tiles: city()}}, TrustedProxies: []string{"127.0.0.1"},
		Requests: tileserver.RequestLimits{Rate: tileserver.Rate{PerSecond: 1, Burst: 10}},
	})
	get := func(path, client string) reply { return ask(t, "GET", base+path, "X-Forwarded-For", client) }
	statuses := map[int]int{}
	var last reply
	for range 12 {
		last = get("/tiles/city.json", "203.0.113.9")
		statuses[last.StatusCode]++
	}
	if statuses[200] < 10 || statuses[429] == 0 {
		t.Fatalf("statuses %v, want 10 × 200, then 429", statuses)
	}
	wait, err := strconv.Atoi(last.Header.Get("Retry-After"))
	if err != nil || wait < 1 || last.Header.Get("RateLimit") == "" || last.Header.Get("RateLimit-Policy") != `"client";q=10;w=10` ||
		last.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("429 with %v", last.Header)
	}
	if r := get("/tiles/city.json", "203.0.113.10"); r.StatusCode != 200 {
		t.Errorf("another client: status %d", r.StatusCode)
	}
	if r := ask(t, "GET", base+"/healthz", "X-Forwarded-For", "203.0.113.9"); r.StatusCode != 200 {
		t.Errorf("/healthz: status %d", r.StatusCode)
	}
	// A tile that has to be made costs five, a copy at hand one.
	made := map[int]int{}
	for x := range 4 {
		made[get(fmt.Sprintf("/tiles/city/5/%d/10.jpg", 14+x), "2001:db8:1:2::"+strconv.Itoa(x)).StatusCode]++ // one /64
	}
	if made[200] != 2 || made[429] != 2 {
		t.Errorf("four tiles with a budget of ten: %v, want two and two", made)
	}
	// This machine is not limited unless asked for.
	for range 30 {
		if r := ask(t, "GET", base+"/tiles/city.json"); r.StatusCode != 200 {
			t.Fatalf("on loopback: status %d", r.StatusCode)
		}
	}
}

// TestHostileAttribution: what a file or an upstream calls itself runs nowhere.
func TestHostileAttribution(t *testing.T) {
	hostile := city()
	hostile.info.Title = `<img src=x onerror=alert(1)>"]]>`
	hostile.info.Attribution = `<script>alert(1)</script>© <a href="javascript:alert(1)">a</a> <a href='https://b.example/?x="y' onclick=alert(1)>b & c</a><img src=x onerror=alert(1)>`
	_, base := start(t, tileserver.Options{Layers: []tileserver.Layer{{Tiles: hostile}}})
	var doc struct{ Attribution string }
	if err := json.Unmarshal(ask(t, "GET", base+"/tiles/city.json").body, &doc); err != nil {
		t.Fatal(err)
	}
	if want := `© a <a href="https://b.example/?x=&#34;y" rel="noopener nofollow">b &amp; c</a>`; doc.Attribution != want {
		t.Errorf("attribution %q, want %q", doc.Attribution, want)
	}
	for _, path := range []string{"/wmts", "/qgis/city.qlr", "/layers", "/wmts/1.0.0/city/default/WebMercatorQuad/5/10/16/1/1.html"} {
		r := ask(t, "GET", base+path)
		for _, bad := range []string{"<script", "<img", "javascript:", `onerror=alert(1)>"`} {
			if bytes.Contains(bytes.ToLower(r.body), []byte(bad)) {
				t.Errorf("%s (%d) holds %s", path, r.StatusCode, bad)
			}
		}
		if path != "/" && !strings.Contains(r.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: CSP %q", path, r.Header.Get("Content-Security-Policy"))
		}
	}
}

// TestConnectionCap: past the cap connections wait in the kernel, they are not refused and take none of ours.
func TestConnectionCap(t *testing.T) {
	_, base := start(t, tileserver.Options{Layers: []tileserver.Layer{{Tiles: city()}}, MaxConnections: 2})
	var held []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	done := make(chan int, 1)
	go func() { done <- ask(t, "GET", base+"/healthz").StatusCode }()
	select {
	case <-done:
		t.Error("a third connection was served")
	case <-time.After(100 * time.Millisecond):
	}
	held[0].Close()
	if status := <-done; status != 200 {
		t.Errorf("after one has left: %d", status)
	}
}

// header returns one header of a raw answer.
func header(answer, name string) string {
	for line := range strings.SplitSeq(answer, "\r\n") {
		if value, ok := strings.CutPrefix(line, name+": "); ok {
			return value
		}
	}
	return ""
}

// TestRefusedInputIsCounted: a tile that its source refuses, and an upload that a route refuses, count once each.
func TestRefusedInputIsCounted(t *testing.T) {
	kind := reject.New("tiff", "ErrBlockSize", "a block does not decode to its size")
	broken := city()
	broken.make = func(maptile.Tile) (tilescout.Picture, error) {
		return tilescout.Picture{}, fmt.Errorf("block 7: %w", kind)
	}
	_, base := start(t, tileserver.Options{
		Layers: []tileserver.Layer{{Tiles: broken}},
		Register: []func(*mux.Router){func(r *mux.Router) {
			r.Handle("/upload", problem.Handler(func(http.ResponseWriter, *http.Request) error { return kind })).Methods("POST").Name("upload")
		}},
	})
	if r := ask(t, "GET", base+"/tiles/city/5/16/10.jpg"); r.StatusCode != 502 {
		t.Errorf("a tile of a broken file: %d, want 502", r.StatusCode)
	}
	if r := ask(t, "POST", base+"/upload"); r.StatusCode != 400 {
		t.Errorf("an upload: %d, want 400", r.StatusCode)
	}
	if want := `tilescout_input_rejected_total{error="ErrBlockSize",format="tiff"} 2`; !bytes.Contains(ask(t, "GET", base+"/metrics").body, []byte(want)) {
		t.Errorf("no %s", want)
	}
}
