package tileserver_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gorilla/mux"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver"
)

func TestPage(t *testing.T) {
	script := strings.Repeat("let a = 1;\n", 200)
	_, base := start(t, tileserver.Options{Web: fstest.MapFS{
		"index.html":                {Data: []byte("<!DOCTYPE html><title>map</title>")},
		"assets/main-5Q7XKJ2A.js":   {Data: []byte(script)},
		"assets/icon.svg":           {Data: []byte("<svg/>")},
		".hidden":                   {Data: []byte("x")},
		"assets/main-5Q7XKJ2A.json": {Data: []byte("{}")},
	}})
	for path, want := range map[string]struct{ mediaType, cache string }{
		"/":                        {"text/html; charset=utf-8", "no-cache"},
		"/index.html":              {"text/html; charset=utf-8", "no-cache"},
		"/assets/main-5Q7XKJ2A.js": {"text/javascript; charset=utf-8", "public, max-age=31536000, immutable"},
		"/assets/icon.svg":         {"image/svg+xml", "no-cache"},
	} {
		for _, coding := range []string{"identity", "gzip;q=0", "gzip, deflate, br"} {
			r := ask(t, "GET", base+path, "Accept-Encoding", coding)
			if r.StatusCode != 200 || r.Header.Get("Content-Type") != want.mediaType || r.Header.Get("Cache-Control") != want.cache {
				t.Errorf("%s: status %d, %q, %q", path, r.StatusCode, r.Header.Get("Content-Type"), r.Header.Get("Cache-Control"))
			}
			packed := strings.HasSuffix(path, ".js") && strings.HasPrefix(coding, "gzip,")
			if (r.Header.Get("Content-Encoding") == "gzip") != packed || r.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s for %q: Content-Encoding %q, Vary %q", path, coding, r.Header.Get("Content-Encoding"), r.Header.Get("Vary"))
			}
			for name, part := range map[string]string{"Content-Security-Policy": "default-src 'none'; script-src 'self'", "Cross-Origin-Resource-Policy": "same-origin",
				"Permissions-Policy": "geolocation=(self)", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "strict-origin"} {
				if !strings.Contains(r.Header.Get(name), part) {
					t.Errorf("%s: %s = %q, want %q in it", path, name, r.Header.Get(name), part)
				}
			}
			if not := ask(t, "GET", base+path, "Accept-Encoding", coding, "If-None-Match", r.Header.Get("ETag")); not.StatusCode != 304 {
				t.Errorf("%s: status %d for its own ETag", path, not.StatusCode)
			}
		}
	}
	for _, path := range []string{"/.hidden", "/assets/", "/assets/none.js", "/..%2fetc/passwd", "/assets/..%2f.hidden"} {
		if r := ask(t, "GET", base+path); r.StatusCode != 404 && r.StatusCode != 301 {
			t.Errorf("%s: status %d", path, r.StatusCode)
		}
	}
	_, bare := start(t, tileserver.Options{})
	if r := ask(t, "GET", bare+"/"); r.StatusCode != 200 || !strings.Contains(string(r.body), "make web build") {
		t.Errorf("without the web map: status %d: %.200s", r.StatusCode, r.body)
	}
	_, told := start(t, tileserver.Options{WebMissing: []byte("build me")})
	if r := ask(t, "GET", told+"/"); string(r.body) != "build me" {
		t.Errorf("with a page for it: %.200s", r.body)
	}
}

func TestServicePaths(t *testing.T) {
	ready := tileserver.Readiness{}
	_, base := start(t, tileserver.Options{Layers: two(), OpenAPI: []byte("openapi: 3.0.3\n"), Version: "1.2.3",
		Ready: func() tileserver.Readiness { return ready },
		State: func(layer string) any { return map[string]any{"state": "building", "embedded": 3} },
		Register: []func(*mux.Router){func(r *mux.Router) {
			r.HandleFunc("/search/{layer}", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "{}") }).Methods("GET", "POST")
			r.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic("a bug with /secret/path") })
		}},
	})
	if r := ask(t, "GET", base+"/healthz"); r.StatusCode != 200 || r.json(t)["status"] != "alive" {
		t.Errorf("healthz: %d %s", r.StatusCode, r.body)
	}
	for _, tc := range []struct {
		ready  tileserver.Readiness
		code   int
		status string
	}{
		{tileserver.Readiness{}, 200, "ready"},
		{tileserver.Readiness{Degraded: []string{"model"}}, 200, "degraded"},
		{tileserver.Readiness{Waiting: []string{"index"}, Degraded: []string{"model"}}, 503, "waiting"},
	} {
		ready = tc.ready
		if r := ask(t, "GET", base+"/readyz"); r.StatusCode != tc.code || r.json(t)["status"] != tc.status {
			t.Errorf("readyz with %+v: %d %s", tc.ready, r.StatusCode, r.body)
		}
	}
	if r := ask(t, "GET", base+"/openapi.yaml"); string(r.body) != "openapi: 3.0.3\n" {
		t.Errorf("openapi: %d %s", r.StatusCode, r.body)
	}
	layers := ask(t, "GET", base+"/layers").json(t)["layers"].([]any)
	first, second := layers[0].(map[string]any), layers[1].(map[string]any)
	if first["id"] != "city" || first["index"].(map[string]any)["state"] != "building" || first["links"].(map[string]any)["search"] != base+"/search/city" {
		t.Errorf("first layer = %v", first)
	}
	if second["over"] != "city" || second["index"].(map[string]any)["state"] != "unavailable" || second["links"].(map[string]any)["search"] != nil {
		t.Errorf("second layer = %v", second)
	}
	if r := ask(t, "OPTIONS", base+"/search/city", "Origin", "https://a.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization"); r.StatusCode != 204 ||
		!strings.Contains(r.Header.Get("Access-Control-Allow-Methods"), "POST") || !strings.Contains(r.Header.Get("Access-Control-Allow-Headers"), "Authorization") ||
		r.Header.Get("Access-Control-Max-Age") != "86400" || r.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("preflight: %d %v", r.StatusCode, r.Header)
	}
	if r := ask(t, "GET", base+"/panic"); r.StatusCode != 500 || strings.Contains(string(r.body), "secret") {
		t.Errorf("panic: %d %s", r.StatusCode, r.body)
	}
	ask(t, "GET", base+path("city", inside, ".png"))
	ask(t, "GET", base+path("city", inside, ".png"))
	metrics := string(ask(t, "GET", base+"/metrics").body)
	for _, line := range []string{
		`tilescout_http_requests_total{code="2xx",method="GET",route="/tiles/{layer}/{z}/{x}/{y}.{ext}"} 2`,
		`tilescout_http_requests_total{code="5xx",method="GET",route="/panic"} 1`,
		`tilescout_http_panics_total 1`, `tilescout_build_info{version="1.2.3"} 1`, `tilescout_cache_hits_total{cache="tile"} 1`,
		`tilescout_tile_source_duration_seconds_count{layer="city",origin="file"} 1`, `tilescout_admission_queue_depth{class="B"} 0`, "go_goroutines",
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("metrics lack %s", line)
		}
	}
}

func TestLogTellsNoSecrets(t *testing.T) {
	var mu sync.Mutex
	var out bytes.Buffer
	m := city()
	m.make = func(maptile.Tile) (tilescout.Picture, error) {
		return tilescout.Picture{}, fmt.Errorf(`get "https://host/1/2?key=SECRET": %w`, tilescout.ErrUpstream)
	}
	_, base := start(t, tileserver.Options{Layers: []tileserver.Layer{{Tiles: m}}, TrustedProxies: []string{"127.0.0.1"},
		Log: slog.New(slog.NewJSONHandler(writer(func(p []byte) (int, error) { mu.Lock(); defer mu.Unlock(); return out.Write(p) }), nil))})
	r := ask(t, "GET", base+path("city", inside, ".png?key=SECRET&q=private"), "X-Forwarded-For", "203.0.113.77", "X-Request-Id", "abcdef-12345")
	if r.StatusCode != 502 || r.Header.Get("X-Request-Id") != "abcdef-12345" {
		t.Errorf("status %d, request id %q", r.StatusCode, r.Header.Get("X-Request-Id"))
	}
	deadline := time.Now().Add(5 * time.Second)
	line := ""
	for line == "" && time.Now().Before(deadline) { // the line is written after the answer
		mu.Lock()
		line = out.String()
		mu.Unlock()
		time.Sleep(time.Millisecond)
	}
	for _, want := range []string{`"route":"/tiles/{layer}/{z}/{x}/{y}.{ext}"`, `"layer":"city"`, `"code":502`, `"client_prefix":"203.0.113.0/24"`, `"req_id":"abcdef-12345"`, `"level":"ERROR"`, "https://host/1/2?…"} {
		if !strings.Contains(line, want) {
			t.Errorf("log lacks %s: %s", want, line)
		}
	}
	for _, secret := range []string{"SECRET", "private", "203.0.113.77"} {
		if strings.Contains(line, secret) {
			t.Errorf("log tells %s: %s", secret, line)
		}
	}
	for _, id := range []string{"short", "with space in it", strings.Repeat("a", 65)} {
		if got := ask(t, "GET", base+"/healthz", "X-Request-Id", id).Header.Get("X-Request-Id"); got == id || len(got) != 16 {
			t.Errorf("request id %q became %q", id, got)
		}
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestServeDrains(t *testing.T) {
	began := make(chan struct{})
	s, err := tileserver.New(tileserver.Options{DrainDelay: 200 * time.Millisecond, Register: []func(*mux.Router){func(r *mux.Router) {
		r.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
			close(began)
			time.Sleep(500 * time.Millisecond)
			if r.Context().Err() != nil {
				t.Error("the request was cancelled by the shutdown")
			}
			_, _ = io.WriteString(w, "done")
		})
	}}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	slow := make(chan string, 1)
	go func() { slow <- string(ask(t, "GET", "http://"+l.Addr().String()+"/slow").body) }()
	<-began
	stop()
	draining := false
	for !draining {
		r := ask(t, "GET", "http://"+l.Addr().String()+"/readyz")
		draining = r.StatusCode == 503 && r.json(t)["status"] == "draining"
	}
	if got := <-slow; got != "done" {
		t.Errorf("the open request got %q", got)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve = %v", err)
	}
}

// definition is what QGIS looks for in a layer definition.
type definition struct {
	XMLName xml.Name `xml:"qlr"`
	Tree    []struct {
		ID       string `xml:"id,attr"`
		Provider string `xml:"providerKey,attr"`
		Source   string `xml:"source,attr"`
	} `xml:"layer-tree-group>layer-tree-layer"`
	Layers []struct {
		Type     string `xml:"type,attr"`
		ID       string `xml:"id"`
		Source   string `xml:"datasource"`
		Name     string `xml:"layername"`
		Provider string `xml:"provider"`
		CRS      string `xml:"srs>spatialrefsys>authid"`
	} `xml:"maplayers>maplayer"`
}

func TestQLR(t *testing.T) {
	var asked []string
	_, base := start(t, tileserver.Options{Layers: two(), PublicURL: "https://maps.example/s", Register: []func(*mux.Router){overlays(&asked)},
		Revision: func(string) string { return "r1" }})
	r := ask(t, "GET", base+"/qgis/city.qlr?q=tennis+court&q=a%26b+%2B+%C3%BC&not=sea")
	if r.Header.Get("Content-Type") != "application/x-qgis-layer-definition" || r.Header.Get("Content-Disposition") != `attachment; filename="city.qlr"` {
		t.Errorf("headers: %v", r.Header)
	}
	var got definition
	if err := xml.Unmarshal(r.body, &got); err != nil {
		t.Fatalf("%v\n%s", err, r.body)
	}
	want := []struct{ kind, provider, source, crs string }{
		{"vector", "ogr", "https://maps.example/s/search/city?not=sea&q=tennis%20court&q=a%20b%20%C3%BC&limit=1000", "EPSG:4326"},
		{"raster", "wms", "type=xyz&url=https://maps.example/s/overlay/city/%7Bz%7D/%7Bx%7D/%7By%7D.png?q%3Dtennis%20court%26q%3Da%20b%20%C3%BC%26not%3Dsea%26rev%3Dr1&zmax=16&zmin=0", "EPSG:3857"},
		{"raster", "wms", "type=xyz&url=https://maps.example/s/tiles/city/%7Bz%7D/%7Bx%7D/%7By%7D.jpg?rev%3D", "EPSG:3857"},
	}
	if len(got.Layers) != 3 || len(got.Tree) != 3 {
		t.Fatalf("%d layers, %d in the tree", len(got.Layers), len(got.Tree))
	}
	for i, l := range got.Layers {
		if l.Type != want[i].kind || l.Provider != want[i].provider || !strings.HasPrefix(l.Source, want[i].source) || l.CRS != want[i].crs {
			t.Errorf("layer %d = %+v, want %+v", i, l, want[i])
		}
		if tree := got.Tree[i]; tree.ID != l.ID || tree.Source != l.Source || tree.Provider != l.Provider {
			t.Errorf("the tree says %+v of %+v", tree, l)
		}
	}
	if name := got.Layers[2].Name; name != "City & harbour" {
		t.Errorf("name = %q", name)
	}
	var plain definition
	if err := xml.Unmarshal(ask(t, "GET", base+"/qgis/city.qlr").body, &plain); err != nil || len(plain.Layers) != 1 {
		t.Errorf("without a prompt: %v, %d layers", err, len(plain.Layers))
	}
}
