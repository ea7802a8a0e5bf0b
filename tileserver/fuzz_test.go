package tileserver_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/tilescout/tilescout/tileserver"
)

// fuzzed is a server in a process that has no network: two layers, a key, a proxy that is trusted.
func fuzzed(f *testing.F) *tileserver.Server {
	s, err := tileserver.New(tileserver.Options{
		Layers: two(), TrustedProxies: []string{"192.0.2.0/24"}, Requests: tileserver.RequestLimits{Rate: tileserver.Rate{PerSecond: -1}},
		Keys:   []tileserver.Key{{ID: "admin", Digest: tileserver.Digest("0123456789abcdef"), Scopes: []tileserver.Scope{tileserver.ScopeAdmin}}},
		Reload: func(context.Context) error { return nil },
	})
	if err != nil {
		f.Fatal(err)
	}
	return s
}

// FuzzRequest sends whatever http.ReadRequest takes: every answer is one that the contract has, well formed, and none
// holds what only we may say.
func FuzzRequest(f *testing.F) {
	for _, line := range []string{
		"/", "/layers", "/tiles/city.json", "/tiles/city/10/524/338.jpg", "/tiles/city/10/524/338@2x.webp?rev=1", "/tiles/city/99/-1/1e3.png",
		"/wmts?SERVICE=WMTS&REQUEST=GetCapabilities", "/wmts?service=wmts&request=GetTile&version=1.0.0&layer=city&style=&format=image/png&tilematrixset=WebMercatorQuad&tilematrix=10&tilerow=338&tilecol=524",
		"/wmts?SERVICE=WMTS&REQUEST=GetFeatureInfo&LAYER=city&TILEMATRIX=3&TILEROW=2&TILECOL=4&I=1&J=300&INFOFORMAT=text/html",
		"/wmts/1.0.0/WMTSCapabilities.xml", "/wmts/1.0.0/city/default/WebMercatorQuad/10/338/524.png", "/wmts/1.0.0/city/default/WebMercatorQuad/10/338/524/3/4.json",
		"/qgis/city.qlr?q=stadium&q=%ff", "/readyz", "/metrics?key=0123456789abcdef", "/admin/reload", "/..%2f..%2fetc/passwd", "/tiles/city/3/4/2.jpg?%zz",
	} {
		f.Add([]byte("GET " + line + " HTTP/1.1\r\nHost: maps.example\r\n\r\n"))
	}
	f.Add([]byte("OPTIONS /layers HTTP/1.1\r\nHost: [::1]:80\r\nOrigin: null\r\nAccess-Control-Request-Method: GET\r\n\r\n"))
	f.Add([]byte("GET /tiles/city.json HTTP/1.1\r\nHost: a\r\nForwarded: for=\"[::1]:4\";proto=https;host=\"<x>\", for=1.2.3.4\r\nX-Forwarded-Prefix: //evil\r\n\r\n"))
	f.Add([]byte("GET /layers HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4,,192.0.2.9\r\nX-Forwarded-Port: 99999\r\nX-Forwarded-Host: h:1:2\r\nX-API-Key: x\r\nX-Request-Id: 12345678\r\n\r\n"))
	f.Add([]byte("POST /admin/reload HTTP/1.0\r\nAuthorization: Bearer 0123456789abcdef\r\nContent-Length: 1\r\n\r\nx"))
	f.Add([]byte("GET /tiles/city/10/524/338.jpg HTTP/1.1\r\nHost: a\r\nIf-None-Match: W/\"x\", *\r\nIf-Modified-Since: Mon\r\nRange: bytes=9-\r\nAccept-Encoding: gzip;q=2\r\n\r\n"))
	s := fuzzed(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return // Go's own server answers these
		}
		r.RemoteAddr = "192.0.2.1:9"
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code >= 500 && w.Code != http.StatusNotImplemented {
			t.Fatalf("status %d: %.300s", w.Code, w.Body)
		}
		h := w.Header()
		for name, values := range h {
			if strings.ContainsAny(strings.Join(values, ""), "\r\n\x00") {
				t.Errorf("header %s = %q", name, values)
			}
		}
		if h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("without nosniff: %v", h)
		}
		mediaType, _, _ := strings.Cut(h.Get("Content-Type"), ";")
		switch {
		case r.Method == http.MethodHead || w.Body.Len() == 0:
		case strings.HasSuffix(mediaType, "json"):
			if !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s that is none: %.300s", mediaType, w.Body)
			}
		case strings.HasSuffix(mediaType, "xml"):
			for d := xml.NewDecoder(w.Body); ; {
				if _, err := d.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatalf("%s that is none: %v", mediaType, err)
				}
			}
		}
	})
}

// FuzzAddress: whatever proxies and clients say of themselves, the URLs in answers are whole and of http.
func FuzzAddress(f *testing.F) {
	f.Add("maps.example", "for=1.2.3.4;proto=https;host=a.example", "", "", "", "", "")
	f.Add("maps.example:80", "", "1.2.3.4, 192.0.2.7", "https", "b.example", "8443", "/scout")
	f.Add("[::1", `for="_x";;;=,`, ",", "javascript", "a/b?c", "x", "/../..")
	a, err := tileserver.NewAddress("", "", []string{"192.0.2.0/24"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, host, forwarded, clients, scheme, name, port, prefix string) {
		r := httptest.NewRequest(http.MethodGet, "/layers", nil)
		r.RemoteAddr, r.Host = "192.0.2.1:9", host
		for header, value := range map[string]string{"Forwarded": forwarded, "X-Forwarded-For": clients, "X-Forwarded-Proto": scheme,
			"X-Forwarded-Host": name, "X-Forwarded-Port": port, "X-Forwarded-Prefix": prefix} {
			if value != "" {
				r.Header.Set(header, value)
			}
		}
		got := a.URL(r, "/layers")
		u, err := url.Parse(got)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
			!strings.HasSuffix(u.Path, "/layers") || strings.Contains(u.Path, "..") || strings.ContainsAny(got, "<>\"' \\") {
			t.Errorf("URL = %q, %v", got, err)
		}
	})
}
