package tileserver_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/mux"

	"github.com/tilescout/tilescout/tileserver"
)

const (
	cityKey = "city-secret-7f3a"
	allKey  = "all-secret-91bc"
	bossKey = "boss-secret-55de"
)

// guarded serves two layers, city behind a key and port open to all, and one mounted search route.
func guarded(t *testing.T) (base string, log *bytes.Buffer) {
	log = &bytes.Buffer{}
	port := city()
	port.info.ID = "port"
	_, base = start(t, tileserver.Options{
		Layers: []tileserver.Layer{{Tiles: city()}, {Tiles: port}},
		Keys: []tileserver.Key{
			{ID: "gis", Digest: tileserver.Digest(cityKey), Layers: []string{"city"}, Origins: []string{"https://maps.example"}},
			{ID: "tiles", Digest: tileserver.Digest(allKey), Scopes: []tileserver.Scope{tileserver.ScopeTiles}, Layers: []string{"city"}},
			{ID: "boss", Digest: tileserver.Digest(bossKey), Scopes: []tileserver.Scope{tileserver.ScopeAdmin}},
		},
		Register: []func(*mux.Router){func(r *mux.Router) {
			r.HandleFunc("/search/{layer}", func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", "public, max-age=60")
				w.Write([]byte(tileserver.Carry(r).Encode()))
			}).Methods("GET").Name("search")
		}},
		Log: slog.New(slog.NewTextHandler(&locked{w: log}, nil)),
	})
	return base, log
}

type locked struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func TestKeys(t *testing.T) {
	base, log := guarded(t)
	for _, c := range []struct {
		path   string
		header []string
		status int
	}{
		{"/tiles/port/5/16/10.jpg", nil, 200},
		{"/tiles/city/5/16/10.jpg", nil, 401},
		{"/tiles/city/5/16/10.jpg?key=" + cityKey, nil, 200},
		{"/tiles/city/5/16/10.jpg", []string{"Authorization", "Bearer " + cityKey}, 200},
		{"/tiles/city/5/16/10.jpg", []string{"Authorization", "bearer  " + cityKey}, 200},
		{"/tiles/city/5/16/10.jpg", []string{"X-API-Key", cityKey}, 200},
		{"/tiles/city/5/16/10.jpg", []string{"X-API-Key", cityKey, "Origin", "https://maps.example"}, 200},
		{"/tiles/city/5/16/10.jpg", []string{"X-API-Key", cityKey, "Origin", "https://elsewhere.example"}, 403},
		{"/tiles/city/5/16/10.jpg?key=wrong", nil, 401},
		{"/tiles/port/5/16/10.jpg?key=wrong", nil, 401},
		{"/tiles/city/5/16/10.jpg?key=" + strings.Repeat("x", 600), nil, 401},
		{"/tiles/city/5/16/10.jpg?key=" + bossKey, nil, 403},
		{"/tiles/city.json", nil, 401},
		{"/qgis/city.qlr", nil, 401},
		{"/wmts/1.0.0/city/default/WebMercatorQuad/5/10/16.jpg", nil, 401},
		{"/wmts/1.0.0/city/default/WebMercatorQuad/5/10/16.jpg?key=" + cityKey, nil, 200},
		{"/wmts?SERVICE=WMTS&REQUEST=GetTile&VERSION=1.0.0&LAYER=city&STYLE=default&FORMAT=image/jpeg&TILEMATRIXSET=WebMercatorQuad&TILEMATRIX=5&TILEROW=10&TILECOL=16", nil, 401},
		{"/search/city", nil, 401},
		{"/search/city?key=" + allKey, nil, 403}, // tiles only
		{"/search/city?key=" + cityKey, nil, 200},
		{"/search/port", nil, 200},
		{"/metrics", nil, 401},
		{"/metrics?key=" + cityKey, nil, 403},
		{"/metrics", []string{"Authorization", "Bearer " + bossKey}, 200},
		{"/healthz", nil, 200},
	} {
		r := ask(t, "GET", base+c.path, c.header...)
		if r.StatusCode != c.status {
			t.Errorf("%s %v = %d, want %d: %.100s", c.path, c.header, r.StatusCode, c.status, r.body)
			continue
		}
		for _, secret := range []string{cityKey, allKey, bossKey} {
			if c.status != 200 && bytes.Contains(r.body, []byte(secret)) {
				t.Errorf("%s: the error tells the key: %s", c.path, r.body)
			}
		}
		if c.status == 401 && r.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: 401 without WWW-Authenticate", c.path)
		}
		if keyed := strings.Contains(c.path, "key=") || len(c.header) > 0; c.status == 200 && keyed && strings.Contains(r.Header.Get("Cache-Control"), "public") {
			t.Errorf("%s: Cache-Control %q for an answer that a key opened", c.path, r.Header.Get("Cache-Control"))
		}
	}
	for _, secret := range []string{cityKey, allKey, bossKey, "wrong"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds the key %s", secret)
		}
	}
	if !strings.Contains(log.String(), "code=401") {
		t.Error("the log holds no refused request, so nothing was checked")
	}
}

// TestKeyedDocuments: what a keyed URL answers names URLs that work, what a header answers holds no key.
func TestKeyedDocuments(t *testing.T) {
	base, _ := guarded(t)
	for _, path := range []string{"/tiles/city.json", "/wmts", "/wmts/1.0.0/WMTSCapabilities.xml", "/qgis/city.qlr", "/qgis/city.qlr?q=red", "/layers"} {
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		if r := ask(t, "GET", base+path+sep+"key="+cityKey); r.StatusCode != 200 || !bytes.Contains(r.body, []byte(cityKey)) || r.Header.Get("Cache-Control") != "private, max-age=60" {
			t.Errorf("%s with ?key=: status %d, Cache-Control %q, key in it %v", path, r.StatusCode, r.Header.Get("Cache-Control"), bytes.Contains(r.body, []byte(cityKey)))
		}
		if r := ask(t, "GET", base+path, "X-API-Key", cityKey); r.StatusCode != 200 || bytes.Contains(r.body, []byte(cityKey)) {
			t.Errorf("%s with a header: status %d, key in it %v", path, r.StatusCode, bytes.Contains(r.body, []byte(cityKey)))
		}
	}
	var doc struct{ Tiles []string }
	if err := json.Unmarshal(ask(t, "GET", base+"/tiles/city.json?key="+cityKey).body, &doc); err != nil {
		t.Fatal(err)
	}
	url := strings.NewReplacer("{z}", "5", "{x}", "16", "{y}", "10").Replace(doc.Tiles[0])
	if r := ask(t, "GET", url); r.StatusCode != 200 {
		t.Errorf("%s = %d", url, r.StatusCode)
	}
	var layers struct{ Layers []struct{ ID string } }
	if err := json.Unmarshal(ask(t, "GET", base+"/layers").body, &layers); err != nil {
		t.Fatal(err)
	}
	if len(layers.Layers) != 1 || layers.Layers[0].ID != "port" {
		t.Errorf("/layers without a key lists %v, want port only", layers.Layers)
	}
	if r := ask(t, "GET", base+"/wmts"); bytes.Contains(r.body, []byte("<ows:Identifier>city<")) {
		t.Error("capabilities without a key list city")
	}
	if r := ask(t, "GET", base+"/search/city?key="+cityKey); string(r.body) != "key="+cityKey {
		t.Errorf("Carry = %q", r.body)
	}
}

func TestNoKeysNoQuestions(t *testing.T) {
	_, base := start(t, tileserver.Options{Layers: []tileserver.Layer{{Tiles: city()}}})
	r := ask(t, "GET", base+"/tiles/city.json?key=whatever")
	if r.StatusCode != 200 || bytes.Contains(r.body, []byte("whatever")) {
		t.Errorf("status %d: %s", r.StatusCode, r.body)
	}
}

func TestNewRefusesKeys(t *testing.T) {
	layers := []tileserver.Layer{{Tiles: city()}}
	for name, keys := range map[string][]tileserver.Key{
		"no digest": {{ID: "a"}},
		"empty":     {{ID: "a", Digest: tileserver.Digest("")}},
		"no id":     {{Digest: tileserver.Digest("x")}},
		"twice":     {{ID: "a", Digest: tileserver.Digest("x")}, {ID: "b", Digest: tileserver.Digest("x")}},
	} {
		if _, err := tileserver.New(tileserver.Options{Layers: layers, Keys: keys}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestOrigins(t *testing.T) {
	_, base := start(t, tileserver.Options{Layers: []tileserver.Layer{{Tiles: city()}}, Origins: []string{"https://a.example"}})
	for origin, want := range map[string]string{"https://a.example": "https://a.example", "https://b.example": "", "": ""} {
		for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
			r := ask(t, method, base+"/tiles/city.json", "Origin", origin)
			if got := r.Header.Get("Access-Control-Allow-Origin"); got != want || !strings.Contains(strings.Join(r.Header.Values("Vary"), ","), "Origin") {
				t.Errorf("%s from %q: Allow-Origin %q, want %q; Vary %q", method, origin, got, want, r.Header.Values("Vary"))
			}
		}
	}
}
