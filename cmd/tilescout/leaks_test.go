package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// TestNothingLeaks (R6): where requests end, what pages run, which files are read, what the log tells.
func TestNothingLeaks(t *testing.T) {
	const keySecret, headerSecret, urlSecret = "sesame-sesame-sesame", "Bearer-of-the-upstream", "key-in-the-template"
	var inside atomic.Int64 // requests that reached what is private
	private := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { inside.Add(1) }))
	listener, err := net.Listen("tcp", "127.0.0.2:0") // not the address that the operator wrote
	if err != nil {
		t.Skipf("no second address on this machine: %v", err)
	}
	private.Listener.Close()
	private.Listener = listener
	private.Start()
	defer private.Close()
	// The upstream is on this machine because the operator wrote so; where it sends us, nobody wrote.
	var upstream *httptest.Server
	upstream = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		targets := map[string]string{
			"0": private.URL + "/latest/meta-data", "1": "http://169.254.169.254/latest/meta-data", "2": "http://[::ffff:127.0.0.1]:1/", "3": "file:///etc/passwd",
			"4": strings.Replace(upstream.URL, "127.0.0.1", "localhost", 1), "5": "gopher://127.0.0.1/", "6": "http://0.0.0.0:1/", "7": upstream.URL + "/8/7/7.png",
		}
		http.Redirect(w, r, targets[strings.Split(r.URL.Path, "/")[2]], http.StatusFound)
	}))
	defer upstream.Close()
	t.Setenv("SESAME", keySecret)
	t.Setenv("UPSTREAM_TOKEN", headerSecret)
	config := write(t, "tilescout.yaml", fmt.Sprintf(`logLevel: debug
keys: [{id: gis, env: SESAME, layers: [shut]}]
layers:
  - {id: shut, source: %q, maxZoom: 16}
  - id: up
    title: "<script>alert(1)</script><img src=x onerror=alert(1)>"
    attribution: "<script>alert(1)</script><a href='javascript:alert(1)'>x</a><a href='https://ok.example' onmouseover=alert(1)>ok</a>"
    source: %q
    headers: {Authorization: "${UPSTREAM_TOKEN}"}
    maxZoom: 8
`, smallMosaic(t), upstream.URL+"/{z}/{x}/{y}.png?key="+urlSecret))
	s := start(t, append(withoutModel(t), "serve", "--config", config)...)
	out := newTable(t, "tried", "times", "got through")
	get := func(path string, header ...string) (int, []byte) {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, body
	}

	through := 0
	for x := range 8 {
		if code, body := get(fmt.Sprintf("/tiles/up/8/%d/7.png", x)); code == 200 && !bytes.HasPrefix(body, []byte("\x89PNG")) || bytes.Contains(body, []byte("root:")) {
			through++
		}
	}
	through += int(inside.Load())
	out.row("redirect of an upstream into the private network", 8, through)
	if through > 0 {
		t.Errorf("%d redirects were followed into the private network", through)
	}

	documents := []string{"/tiles/up.json", "/layers", "/wmts", "/qgis/up.qlr", "/qgis/up.qlr?q=red", "/wmts?q=%3Cscript%3E",
		"/tiles/%3Cscript%3Ealert(1)%3C%2Fscript%3E.json", "/tiles/up/1/1/1.%3Cscript%3E", "/%3Cscript%3E", "/?q=%3Cscript%3E",
		"/search/up?q=%3Cscript%3Ealert(1)%3C/script%3E", "/overlay/up.json?q=%3Cscript%3E"}
	through = 0
	for _, path := range documents {
		_, body := get(path)
		for _, bad := range []string{"<script>alert", "<img src=x", "javascript:", "onmouseover"} {
			// In JSON, < may stand in a text: it is no page, and says so. Titles are texts, attributions are HTML.
			if bytes.Contains(body, []byte(bad)) && !(bad[0] == '<' && bytes.HasPrefix(body, []byte("{"))) {
				t.Errorf("%s holds %s: %.300s", path, bad, body)
				through++
			}
		}
	}
	for _, path := range documents {
		res, err := http.Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.Header.Get("X-Content-Type-Options") != "nosniff" || res.Header.Get("Content-Security-Policy") == "" {
			t.Errorf("%s: without nosniff or a policy", path)
			through++
		}
	}
	out.row("script in title, attribution, id, prompt", len(documents), through)

	tries := []string{"/tiles/../../../etc/passwd/0/0/0.png", "/tiles/..%2f..%2f..%2fetc%2fpasswd/0/0/0.png", "/tiles/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc%2fpasswd",
		"/assets/..%2f..%2f..%2fetc%2fpasswd", "/tiles/up/..%2f..%2f/0/0.png", "/qgis/..%2f..%2fetc%2fpasswd.qlr", "/search/..%2f..%2fetc?q=a", "/tiles/up%00/0/0/0.png",
		"/tiles/%5c..%5c..%5cetc/0/0/0.png", "/overlay/..%2f/0/0/0.png?q=a", "//etc/passwd", "/wmts?layer=../../etc/passwd&service=WMTS&request=GetTile&tilematrixset=WebMercatorQuad&tilematrix=0&tilerow=0&tilecol=0"}
	through = 0
	for _, path := range tries {
		if code, body := get(path); bytes.Contains(body, []byte("root:")) || code == 200 {
			t.Errorf("%s = %d: %.100s", path, code, body)
			through++
		}
	}
	out.row("traversal by path or id", len(tries), through)

	get("/tiles/shut.json?key=" + keySecret)
	get("/tiles/shut.json", "X-API-Key", keySecret)
	get("/tiles/shut.json", "Authorization", "Bearer "+keySecret)
	get("/tiles/shut/1/1/9999.png?key=" + keySecret)
	get("/tiles/shut/x/y/z.png?key=" + keySecret)
	get("/tiles/shut.json?key=" + keySecret + "x")
	get("/nowhere?token=" + keySecret)
	if code, _ := get("/tiles/shut.json?key=" + keySecret); code != 200 {
		t.Errorf("the key opens nothing: %d", code)
	}
	if code, _ := get("/tiles/shut.json"); code != 401 {
		t.Errorf("without the key: %d", code)
	}
	printed, _, _ := call(t, "config", "--config", config)
	s.stop()
	text := s.log.String()
	through = 0
	for _, secret := range []string{keySecret, headerSecret, urlSecret} {
		for _, form := range []string{secret, url.QueryEscape(secret)} {
			if strings.Contains(text, form) || strings.Contains(printed, form) {
				t.Errorf("the log or tilescout config tells %s", secret)
				through++
			}
		}
	}
	if !strings.Contains(text, `"route":"/tiles/{layer}.json"`) || !strings.Contains(text, `"code":401`) {
		t.Errorf("the log holds no requests, so nothing was looked at:\n%.2000s", text)
	}
	out.row("secrets in the log and in tilescout config", fmt.Sprintf("3 secrets, %d lines", strings.Count(text, "\n")), through)
}
