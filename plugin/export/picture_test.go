package export_test

import (
	"bytes"
	"context"
	"errors"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo/geotiff"
	"github.com/tilescout/tilescout/plugin/export"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"

	tiff "github.com/tilescout/tilescout/tileserver/source/geotiff"
)

// TestPictureIsTheTiles reads the file back as a layer: at its own zoom each tile has the pixels that were put in.
func TestPictureIsTheTiles(t *testing.T) {
	for name, c := range map[string]struct {
		bounds       []orb.Bound
		side         int
		tiles, empty int
		same, absent maptile.Tile
	}{
		"world":       {world, 256, 12, 4, maptile.New(3, 1, 2), maptile.New(0, 0, 2)},
		"large tiles": {world, 512, 12, 4, maptile.New(2, 3, 2), maptile.New(0, 0, 2)},
		// two columns, one on each side of 180°
		"across 180°": {[]orb.Bound{{Min: orb.Point{170, -80}, Max: orb.Point{180, -10}}, {Min: orb.Point{-180, -80}, Max: orb.Point{-170, -10}}}, 256, 4, 0,
			maptile.New(0, 2, 2), maptile.New(1, 2, 2)},
	} {
		t.Run(name, func(t *testing.T) {
			paint := func(ctx context.Context, tile maptile.Tile) (tilescout.Picture, error) {
				p, err := paint(ctx, tile)
				if err == nil {
					p.Data = sourcetest.Paint(tile, c.side)
				}
				return p, err
			}
			info := info
			info.TileSize = c.side
			path := filepath.Join(t.TempDir(), "w.tif")
			report, err := export.Picture(t.Context(), path, info, paint, export.Options{Bounds: c.bounds, Most: 2})
			if err != nil {
				t.Fatal(err)
			}
			if report.Tiles != c.tiles || report.Empty != c.empty || report.Bytes == 0 {
				t.Errorf("report %+v, want %d tiles, %d empty", report, c.tiles, c.empty)
			}
			if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
				t.Errorf("beside the file: %v", left)
			}
			src, err := tiff.OpenWith(t.Context(), path, tilescout.LayerInfo{ID: "back"}, tiff.Options{PNG: true, File: geotiff.Options{}})
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			got, err := src.TileSized(t.Context(), c.same, c.side)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got.Data, sourcetest.Paint(c.same, c.side))
			if _, err := src.Tile(t.Context(), c.absent); !errors.Is(err, tilescout.ErrNotFound) {
				t.Errorf("where nothing is: %v, want ErrNotFound", err)
			}
		})
	}
}

// same compares two PNG by their pixels.
func same(t *testing.T, a, b []byte) {
	t.Helper()
	x, err := png.Decode(bytes.NewReader(a))
	if err != nil {
		t.Fatal(err)
	}
	y, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if x.Bounds() != y.Bounds() {
		t.Fatalf("%v pixels, want %v", x.Bounds(), y.Bounds())
	}
	for j := range x.Bounds().Dy() {
		for i := range x.Bounds().Dx() {
			r, g, b, a := x.At(i, j).RGBA()
			r2, g2, b2, a2 := y.At(i, j).RGBA()
			if r != r2 || g != g2 || b != b2 || a != a2 {
				t.Fatalf("pixel %d, %d = %v, want %v", i, j, x.At(i, j), y.At(i, j))
			}
		}
	}
}

func TestPictureInGDAL(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.tif")
	info := info
	info.Attribution = `<a href="https://example.org">nobody</a>`
	if _, err := export.Picture(t.Context(), path, info, paint, export.Options{Bounds: world, Most: 3}); err != nil {
		t.Fatal(err)
	}
	got := run(t, "/usr/bin/python3", "osgeo", `
import sys
from osgeo import gdal
gdal.UseExceptions()
print(gdal.Info(sys.argv[1]))`, path)
	for _, want := range []string{"Size is 2048, 2048", `ID["EPSG",3857]`, "LAYOUT=COG", "Overviews: 1024x1024, 512x512", "TIFFTAG_COPYRIGHT=nobody",
		"TIFFTAG_IMAGEDESCRIPTION=World", "Upper Left  (-20037508.343,20037508.343)", "Lower Right (20037508.343,-20037508.343)"} {
		if !strings.Contains(got, want) {
			t.Errorf("gdalinfo lacks %q:\n%s", want, got)
		}
	}
}

func TestPictureLeavesNothingBehind(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		tile func(context.Context, maptile.Tile) (tilescout.Picture, error)
		o    export.Options
		want error
	}{
		"zoom":      {t.Context(), paint, export.Options{Bounds: world, Most: 25}, tilescout.ErrBadInput},
		"too many":  {t.Context(), paint, export.Options{Bounds: world, Most: 20}, tilescout.ErrBadInput},
		"no bounds": {t.Context(), paint, export.Options{Most: 2}, tilescout.ErrBadInput},
		"cancelled": {cancelled, paint, export.Options{Bounds: world, Most: 2}, context.Canceled},
		"nothing": {t.Context(), func(context.Context, maptile.Tile) (tilescout.Picture, error) {
			return tilescout.Picture{}, tilescout.ErrNotFound
		}, export.Options{Bounds: world, Most: 1}, tilescout.ErrBadInput},
		"a failure": {t.Context(), func(context.Context, maptile.Tile) (tilescout.Picture, error) {
			return tilescout.Picture{}, tilescout.ErrUpstream
		}, export.Options{Bounds: world, Most: 1}, tilescout.ErrUpstream},
		"no picture": {t.Context(), func(context.Context, maptile.Tile) (tilescout.Picture, error) {
			return tilescout.Picture{Data: []byte("<html>")}, nil
		}, export.Options{Bounds: world, Most: 1}, source.ErrNotPicture},
	} {
		dir := t.TempDir()
		if _, err := export.Picture(c.ctx, filepath.Join(dir, "w.tif"), info, c.tile, c.o); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: left %v behind", name, left)
		}
	}
}
