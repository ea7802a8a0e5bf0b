package mbtiles_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/reject"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/mbtiles"
	"github.com/tilescout/tilescout/tileserver/source/mbtiles/hostile"
)

// served are the files that open and serve their tile, or are honestly without it; all others are refused for a reason
// that has a name.
var served = []string{
	"tile-null", "tile-empty", "row-negative", "column-huge", "metadata-format-lies", "metadata-no-numbers", "metadata-100000-rows",
	"metadata-script", "trigger-on-read", "index-on-expression", "partial-index", "header-write-version-9",
	"header-freelist-huge", "header-wal", "header-pages-0", "header-encoding-9", "schema-content-start", "view-like-of-megabytes", "zoom-real",
}

func TestHostileFiles(t *testing.T) {
	dir := t.TempDir()
	paths, err := hostile.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(paths)
	if len(paths) < 40 || len(paths) != len(slices.Collect(hostile.Names())) {
		t.Errorf("%d files, want at least 40, as many as Names", len(paths))
	}
	kinds := map[string]int{}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".mbtiles")
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			src, err := mbtiles.Open(t.Context(), source.Spec{ID: "test", Source: path}, mbtiles.Options{Connections: 1})
			if err == nil {
				defer src.Close()
				_, err = src.Tile(t.Context(), maptile.New(0, 0, src.Info().MinZoom))
			}
			t.Logf("%v after %v", err, time.Since(start))
			if slices.Contains(served, name) {
				if err != nil && !errors.Is(err, tilescout.ErrNotFound) {
					t.Errorf("error %v, want none", err)
				}
				return
			}
			kind, ok := reject.Of(err)
			if !ok || !errors.Is(err, tilescout.ErrBadInput) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want one line with a named reason", err)
				return
			}
			kinds[kind.Format+"."+kind.Name]++
		})
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(paths) {
		t.Errorf("%d files in the folder after reading %d: %v", len(entries), len(paths), err)
	}
	for _, name := range []string{"mbtiles.ErrNotDatabase", "mbtiles.ErrTruncated", "mbtiles.ErrDamaged", "mbtiles.ErrSchema", "mbtiles.ErrEmpty",
		"mbtiles.ErrVectorTiles", "mbtiles.ErrSlow", "mbtiles.ErrTileType", "mbtiles.ErrTileSize", "mbtiles.ErrTilePacking"} {
		if kinds[name] == 0 {
			t.Errorf("no file was refused as %s: %v", name, slices.Sorted(maps.Keys(kinds)))
		}
	}
}
