package export_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/plugin/export"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/kinds"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

// paint answers a picture of its own for each tile, and nothing for the north-western quarter of the world.
func paint(_ context.Context, t maptile.Tile) (tilescout.Picture, error) {
	if t.Z == 2 && t.X < 2 && t.Y < 2 {
		return tilescout.Picture{}, tilescout.ErrNotFound
	}
	return tilescout.Picture{Data: sourcetest.Paint(t, 256), MediaType: tilescout.PNG}, nil
}

var (
	world = []orb.Bound{source.World}
	info  = tilescout.LayerInfo{ID: "world", Title: "World", Attribution: "nobody", Bound: source.World, TileSize: 256}
)

func TestArchiveReadsBack(t *testing.T) {
	for _, name := range []string{"w.mbtiles", "w.pmtiles"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), name)
			last := 0
			report, err := export.Archive(t.Context(), path, info, paint, export.Options{
				Bounds: world, Least: 0, Most: 2, Progress: func(done, total int) {
					last = done
					if total != 21 {
						t.Errorf("total %d, want 21", total)
					}
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if report.Tiles != 17 || report.Empty != 4 || report.Bytes == 0 || last != 21 {
				t.Errorf("report %+v after %d, want 17 tiles, 4 empty, 21 done", report, last)
			}
			src, err := kinds.Open(t.Context(), source.Spec{ID: "back", Source: path}, kinds.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			got := src.Info()
			if got.MinZoom != 0 || got.MaxZoom != 2 || got.Title != "World" {
				t.Errorf("Info = %+v, want World, zooms 0 to 2", got)
			}
			for _, tile := range []maptile.Tile{{Z: 0}, {X: 1, Y: 0, Z: 1}, {X: 3, Y: 1, Z: 2}} {
				pic, err := src.Tile(t.Context(), tile)
				if err != nil || string(pic.Data) != string(sourcetest.Paint(tile, 256)) {
					t.Errorf("tile %v: %d bytes, %v, want what was put in", tile, len(pic.Data), err)
				}
			}
			if _, err := src.Tile(t.Context(), maptile.New(0, 0, 2)); !errors.Is(err, tilescout.ErrNotFound) {
				t.Errorf("an empty tile: %v, want ErrNotFound", err)
			}
		})
	}
}

func TestArchiveLeavesNothingBehind(t *testing.T) {
	failing := func(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
		if t.Z == 2 && t.X == 3 {
			return tilescout.Picture{}, tilescout.ErrUpstream
		}
		return paint(ctx, t)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		file string
		tile func(context.Context, maptile.Tile) (tilescout.Picture, error)
		o    export.Options
		want error
	}{
		"ending":     {t.Context(), "w.zip", paint, export.Options{Bounds: world, Most: 1}, tilescout.ErrBadInput},
		"zooms":      {t.Context(), "w.mbtiles", paint, export.Options{Bounds: world, Least: 3, Most: 1}, tilescout.ErrBadInput},
		"too many":   {t.Context(), "w.pmtiles", paint, export.Options{Bounds: world, Most: 24}, tilescout.ErrBadInput},
		"a failure":  {t.Context(), "w.mbtiles", failing, export.Options{Bounds: world, Most: 2}, tilescout.ErrUpstream},
		"a failure2": {t.Context(), "w.pmtiles", failing, export.Options{Bounds: world, Most: 2}, tilescout.ErrUpstream},
		"cancelled":  {cancelled, "w.pmtiles", paint, export.Options{Bounds: world, Most: 2}, context.Canceled},
		"nothing": {t.Context(), "w.mbtiles", func(context.Context, maptile.Tile) (tilescout.Picture, error) {
			return tilescout.Picture{}, tilescout.ErrNotFound
		}, export.Options{Bounds: world, Most: 1}, tilescout.ErrBadInput},
	} {
		dir := t.TempDir()
		if _, err := export.Archive(c.ctx, filepath.Join(dir, c.file), info, c.tile, c.o); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: left %v behind", name, left)
		}
	}
}

func TestArchiveReplacesOnlyWhenTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.pmtiles")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := export.Archive(t.Context(), path, info, paint, export.Options{Bounds: world, Most: 0}); !errors.Is(err, tilescout.ErrBadInput) {
		t.Errorf("over a file: %v, want ErrBadInput", err)
	}
	if kept, _ := os.ReadFile(path); string(kept) != "precious" {
		t.Errorf("the file is %q now", kept)
	}
	if _, err := export.Archive(t.Context(), path, info, paint, export.Options{Bounds: world, Most: 0, Force: true}); err != nil {
		t.Errorf("with Force: %v", err)
	}
}
