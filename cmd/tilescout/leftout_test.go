package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

// forest is a GeoTIFF with an overview: of forestFar little of it is needed, of forestNear more.
const (
	forestFar  = "/14/8624/5298.png"
	forestNear = "/16/34498/21192.png"
)

func forest(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(sourcetest.Shared(t, "geo", "cog", "dop_forest_25832_deflate.tif"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func revisionOf(t *testing.T, url, layer string) string {
	var doc struct{ Tiles []string }
	getJSON(t, url+"/tiles/"+layer+".json", &doc)
	if len(doc.Tiles) != 1 {
		t.Fatalf("TileJSON of %s has the URLs %v", layer, doc.Tiles)
	}
	return doc.Tiles[0]
}

// TestLeftOut: a file of a folder that cannot be read is said and counted, at the start or where a tile needs it, and the
// others are served.
func TestLeftOut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ortho")
	data := forest(t)
	for name, content := range map[string][]byte{"good.tif": data, "cut.tif": data[:2000], "page.tif": []byte("<html>not a TIFF")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if later := time.Now().Add(time.Hour); os.Chtimes(filepath.Join(dir, "cut.tif"), later, later) != nil { // on top
		t.Fatal("cannot change the time of a file")
	}
	s := start(t, append(withoutModel(t), "serve", dir)...)
	if code := getJSON(t, s.url+"/tiles/ortho"+forestNear, nil); code != 200 {
		t.Errorf("a tile of the good file = %d", code)
	}
	for line, want := range map[string]string{
		`tilescout_layer_files{layer="ortho",state="used"}`: "2", `tilescout_layer_files{layer="ortho",state="left out"}`: "1",
		`tilescout_layer_file_failures_total{layer="ortho"}`:               "1",
		`tilescout_input_rejected_total{error="ErrNotTIFF",format="tiff"}`: "1",
		`tilescout_decode_memory_limit_bytes`:                              metric(t, s.url, "tilescout_decode_memory_limit_bytes"),
	} {
		if got := metric(t, s.url, line); got != want || got == "" {
			t.Errorf("%s %q, want %q", line, got, want)
		}
	}
	s.stop()
	if log := s.log.String(); !strings.Contains(log, "layer ortho: left out: ") || !strings.Contains(log, "page.tif: geotiff: not a TIFF file") {
		t.Errorf("the log does not say what was left out, and why:\n%s", log)
	}
}

// TestReplacedFile: a file behind a URL that is replaced is opened anew by itself, as another version of the layer.
func TestReplacedFile(t *testing.T) {
	data := forest(t)
	var version atomic.Pointer[string]
	first, second := `"v1"`, `"v2"`
	version.Store(&first)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", *version.Load())
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	defer origin.Close()
	file := write(t, "tilescout.yaml", "layers:\n  - {id: forest, source: \""+origin.URL+"/forest.tif\"}\n")
	s := start(t, append(withoutModel(t), "serve", "--config", file)...)
	if code := getJSON(t, s.url+"/tiles/forest"+forestFar, nil); code != 200 {
		t.Fatalf("a tile = %d", code)
	}
	before := revisionOf(t, s.url, "forest")
	version.Store(&second)
	if code := getJSON(t, s.url+"/tiles/forest"+forestNear, nil); code != 502 {
		t.Errorf("a tile of a file that was replaced = %d, want 502", code)
	}
	soon(t, "the new file", func() bool { return getJSON(t, s.url+"/tiles/forest"+forestNear, nil) == 200 })
	if after := revisionOf(t, s.url, "forest"); after == before {
		t.Errorf("tiles of the new file have the old address %s", after)
	}
	s.stop()
	if !strings.Contains(s.log.String(), "opened anew") {
		t.Errorf("the log does not say so:\n%s", s.log)
	}
}
