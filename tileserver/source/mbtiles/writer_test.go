package mbtiles_test

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/mbtiles"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

// written makes a file of the tiles of zooms 0 to 3, of which all but one are equal.
func written(t *testing.T, info tilescout.LayerInfo) (path string, sea, land []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "written #1.mbtiles")
	w, err := mbtiles.NewWriter(t.Context(), path, mbtiles.WriterOptions{Overlay: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	sea, land = sourcetest.Paint(maptile.New(0, 0, 0), 256), sourcetest.Paint(maptile.New(1, 0, 0), 256)
	for z := range maptile.Zoom(4) {
		for x := range uint32(1) << z {
			for y := range uint32(1) << z {
				data := sea
				if x == 5 {
					data = land
				}
				if err := w.Put(maptile.New(x, y, z), data); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := w.Put(maptile.New(0, 0, 0), sea); !errors.Is(err, tilescout.ErrBadInput) {
		t.Errorf("Put a second time: %v, want ErrBadInput", err)
	}
	if err := w.Finish(info); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path, sea, land
}

var europe = tilescout.LayerInfo{ID: "europe", Title: "Europe", Attribution: "© nobody", Description: "drawn",
	Bound: orb.Bound{Min: orb.Point{-10, 35}, Max: orb.Point{30, 70}}}

func TestWriter(t *testing.T) {
	path, sea, land := written(t, europe)
	src := open(t, path)
	info := src.Info()
	if info.Title != europe.Title || info.Attribution != europe.Attribution || info.Description != europe.Description || info.Bound != europe.Bound ||
		info.MinZoom != 0 || info.MaxZoom != 3 || info.MediaType != tilescout.PNG {
		t.Errorf("Info() = %+v, want what was written", info)
	}
	for at, want := range map[maptile.Tile][]byte{maptile.New(0, 0, 0): sea, maptile.New(5, 7, 3): land, maptile.New(7, 5, 3): sea} {
		if pic, err := src.Tile(t.Context(), at); err != nil || !bytes.Equal(pic.Data, want) {
			t.Errorf("Tile(%v) = %d bytes, %v, want %d", at, len(pic.Data), err, len(want))
		}
	}
	if entries, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); err != nil || len(entries) != 1 {
		t.Errorf("beside the file lie %q, %v", entries, err)
	}
}

func TestWriterGDAL(t *testing.T) {
	if _, err := exec.LookPath("gdalinfo"); err != nil {
		t.Skip("no gdalinfo")
	}
	path, _, _ := written(t, europe)
	out, err := exec.Command("gdalinfo", path).CombinedOutput()
	for _, want := range []string{"Driver: MBTiles", `ID["EPSG",3857]`, "description=drawn", "ColorInterp=Alpha", "maxzoom=3"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Fatalf("gdalinfo: %v, want %q in\n%s", err, want, out)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	w, err := mbtiles.NewWriter(t.Context(), filepath.Join(t.TempDir(), "a.mbtiles"), mbtiles.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Finish(tilescout.LayerInfo{Bound: source.World}); !errors.Is(err, tilescout.ErrNotFound) {
		t.Errorf("Finish without tiles: %v, want ErrNotFound", err)
	}
	if err := w.Put(maptile.New(1, 0, 0), []byte("x")); !errors.Is(err, tilescout.ErrOutOfRange) {
		t.Errorf("Put off the grid: %v, want ErrOutOfRange", err)
	}
	if err := w.Put(maptile.New(0, 0, 0), nil); !errors.Is(err, tilescout.ErrBadInput) {
		t.Errorf("Put of nothing: %v, want ErrBadInput", err)
	}
	if _, err := mbtiles.NewWriter(t.Context(), filepath.Join(t.TempDir(), "none", "a.mbtiles"), mbtiles.WriterOptions{}); err == nil {
		t.Error("NewWriter in a folder that is not there: no error")
	}
}
