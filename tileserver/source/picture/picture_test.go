package picture_test

import (
	"errors"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/tileserver/source/picture"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

// write makes a PNG whose colour says where a pixel is.
func write(t *testing.T, w, h int) string {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetNRGBA(x, y, color.NRGBA{uint8(x / 4), uint8(y / 4), 90, 255})
		}
	}
	path := filepath.Join(t.TempDir(), "yard.png")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, m); err != nil {
		t.Fatal(err)
	}
	return path
}

const column = 1 << 16

func TestConformance(t *testing.T) {
	src, err := picture.Open(t.Context(), write(t, 600, 300), tilescout.LayerInfo{ID: "yard"}, picture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sourcetest.Run(t, src, maptile.New(column, column, 17), maptile.New(column+3, column, 17))
}

func TestPlace(t *testing.T) {
	src, err := picture.Open(t.Context(), write(t, 600, 300), tilescout.LayerInfo{ID: "yard"}, picture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	info := src.Info()
	if info.Title != "yard" || info.MinZoom != 15 || info.MaxZoom != 17 {
		t.Errorf("Info = %+v, want title yard, zooms 15 to 17 (600 pixels are one tile after two halvings)", info)
	}
	// The corner of a tile is where Place says.
	nw := geo.Bound(maptile.New(column+2, column+1, 17))
	p := picture.Place(512, 256)
	if math.Abs(p.Lon()-nw.Min.Lon()) > 1e-9 || math.Abs(p.Lat()-nw.Max.Lat()) > 1e-9 {
		t.Errorf("Place(512, 256) = %v, tile's corner %v", p, nw)
	}
	for tile, want := range map[maptile.Tile]image.Rectangle{
		maptile.New(column, column, 17):         image.Rect(0, 0, 256, 256),
		maptile.New(column+2, column+1, 17):     image.Rect(512, 256, 600, 300),
		maptile.New(column/2, column/2, 16):     image.Rect(0, 0, 512, 300),
		maptile.New(4*column+5, 4*column+2, 19): image.Rect(320, 128, 384, 192),
	} {
		if got := src.Pixels(tile); got != want {
			t.Errorf("Pixels(%v) = %v, want %v", tile, got, want)
		}
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	page := filepath.Join(dir, "page.png")
	if err := os.WriteFile(page, []byte("<!doctype html>"), 0o600); err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(dir, "cut.png")
	whole, err := os.ReadFile(write(t, 64, 64))
	if err == nil {
		err = os.WriteFile(cut, whole[:len(whole)/2], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path string
		o    picture.Options
		want error
	}{
		"no such file": {filepath.Join(dir, "none.png"), picture.Options{}, tilescout.ErrBadInput},
		"a page":       {page, picture.Options{}, tilescout.ErrBadInput},
		"truncated":    {cut, picture.Options{}, tilescout.ErrBadInput},
		"pixels":       {write(t, 64, 64), picture.Options{MaxPixels: 4000}, picture.ErrTooLarge},
		"bytes":        {write(t, 64, 64), picture.Options{MaxBytes: 10}, picture.ErrTooLarge},
	} {
		if src, err := picture.Open(t.Context(), c.path, tilescout.LayerInfo{ID: "x"}, c.o); src != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: Open = %v, %v, want %v", name, src, err, c.want)
		}
	}
}
