package kinds_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/kinds"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

func TestDetect(t *testing.T) {
	dir := t.TempDir()
	file := func(name, head string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(head), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		source string
		want   kinds.Kind
		text   string // of the error
	}{
		{"https://h.example/{z}/{x}/{y}.png", kinds.XYZ, ""},
		{"HTTP://h.example/{q}", kinds.XYZ, ""},
		{file("a.mbtiles", "SQLite format 3\x00"), kinds.MBTiles, ""},
		{"file://" + filepath.ToSlash(file("b", "SQLite format 3\x00")), kinds.MBTiles, ""},
		{file("a.tif", "II*\x00\x08\x00\x00\x00"), kinds.GeoTIFF, ""},
		{file("b.tif", "MM\x00*\x00\x00\x00\x08"), kinds.GeoTIFF, ""},
		{file("big.tif", "II+\x00\x08\x00\x00\x00"), kinds.GeoTIFF, ""},
		{file("wrong name.tif", "SQLite format 3\x00"), kinds.MBTiles, ""},
		{file("a.pmtiles", "PMTiles\x03"), kinds.PMTiles, ""},
		{"https://h.example/city.tif", kinds.URL, ""},
		{"https://h.example/${KEY}", kinds.URL, ""},
		{"s3://bucket/city.tif", "", `scheme "s3"`},
		{"wmts+https://h.example/wmts", kinds.WMTS, ""},
		{"WMS+http://h.example/wms", kinds.WMS, ""},
		{"wfs+https://h.example/wfs", "", "not known"},
		{filepath.Join(dir, "none.tif"), "", "no such file"},
		{dir, kinds.Mosaic, ""},
		{filepath.Join(dir, "*.tif"), kinds.Mosaic, ""},
		{filepath.Join(dir, "a.tif,b.tif"), kinds.Mosaic, ""},
		{os.DevNull, "", "not a regular file"},
		{file("empty.tif", ""), "", "is empty"},
		{file("page.tif", "<!doctype html><title>404</title>"), "", "an HTML page"},
		{file("photo.png", "\x89PNG\r\n\x1a\n"), "", "without a place"},
		{file("noise", "noise"), "", "known are"},
	} {
		got, err := kinds.Detect(c.source)
		if got != c.want {
			t.Errorf("Detect(%q) = %q, %v, want %q", c.source, got, err, c.want)
		}
		if (c.text == "") != (err == nil) || err != nil && (!errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), c.text)) {
			t.Errorf("Detect(%q): %v, want ErrBadInput with %q", c.source, err, c.text)
		}
	}
}

func TestOpenFailureIsNil(t *testing.T) {
	for _, text := range []string{"", "none.tif", "https://h.example/{z}/{x}", "https://h.example/{nope}"} {
		src, err := kinds.Open(t.Context(), source.Spec{ID: "t", Source: text}, kinds.Options{})
		if src != nil || !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("Open(%q) = %v, %v, want nil, ErrBadInput", text, src, err)
		}
	}
}

func TestOpenGeoTIFF(t *testing.T) {
	path := sourcetest.Shared(t, "geo", "cog", "dop_forest_25832_deflate.tif")
	src, err := kinds.Open(t.Context(), source.Spec{ID: "forest", Title: "Forest", Source: "file://" + filepath.ToSlash(path)}, kinds.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := src.Info(); got.ID != "forest" || got.Title != "Forest" {
		t.Errorf("Info() = %+v, want what the spec says", got)
	}
	defer src.Close()
	if _, err := src.Tile(t.Context(), maptile.New(0, 0, 16)); !errors.Is(err, tilescout.ErrNotFound) {
		t.Errorf("Tile beside the picture: %v, want ErrNotFound", err)
	}
}

func TestOpenURL(t *testing.T) {
	picture := sourcetest.Paint(maptile.Tile{}, 256)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/1/0/1" { // row counted from the south
			http.NotFound(w, r)
			return
		}
		w.Write(picture)
	}))
	defer server.Close()
	src, err := kinds.Open(t.Context(), source.Spec{ID: "tms", Source: server.URL + "/{z}/{x}/{y}", Scheme: "tms"}, kinds.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sourcetest.Run(t, src, maptile.New(0, 0, 1), maptile.New(0, 1, 1))
}

func TestOpenMBTiles(t *testing.T) {
	path := sourcetest.Shared(t, "geo", "mbtiles", "world_map_webp.mbtiles")
	src, err := kinds.Open(t.Context(), source.Spec{ID: "world", Source: path}, kinds.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if pic, err := src.Tile(t.Context(), maptile.New(0, 1, 1)); err != nil || pic.MediaType != tilescout.WebP {
		t.Errorf("Tile = %q, %v, want image/webp", pic.MediaType, err)
	}
}
