package pmtiles_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/reject"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/pmtiles"
	"github.com/tilescout/tilescout/tileserver/source/pmtiles/hostile"
)

// reasons are why archives are refused, by the beginnings of their names; "" for those that open and serve their tile.
// The longest beginning decides.
var reasons = map[string]*reject.Kind{
	"header-cut-at-": pmtiles.ErrSectionRange, "header-cut-at-000": pmtiles.ErrMagic, "header-cut-at-001": pmtiles.ErrMagic,
	"header-cut-at-006": pmtiles.ErrMagic, "header-cut-at-007": pmtiles.ErrMagic, "header-cut-at-008": pmtiles.ErrTruncated,
	"header-cut-at-009": pmtiles.ErrTruncated, "header-cut-at-126": pmtiles.ErrTruncated,
	"header-version-": pmtiles.ErrVersion, "header-root-": pmtiles.ErrSectionRange, "header-metadata-": pmtiles.ErrSectionRange,
	"header-leaves-": pmtiles.ErrSectionRange, "header-tiles-": pmtiles.ErrSectionRange, "header-root-length-0": pmtiles.ErrRootSize,
	"header-root-too-long": pmtiles.ErrRootSize, "header-internal-compression-": pmtiles.ErrCompression,
	"header-tile-compression-": pmtiles.ErrCompression, "header-tile-compression-0": nil, "header-tile-type-0": nil,
	"header-tile-type-1": pmtiles.ErrVectorTiles, "header-tile-type-6": pmtiles.ErrVectorTiles, "header-tile-type-": pmtiles.ErrTileType,
	"header-zooms-": pmtiles.ErrZoom, "header-counts-huge": nil, "header-bounds-reversed": nil, "header-sections-overlap": pmtiles.ErrEntryRange,

	"directory-empty": pmtiles.ErrRootSize, "directory-no-entries": pmtiles.ErrEmpty, "directory-count-cut": pmtiles.ErrDirectory,
	"directory-count-endless": pmtiles.ErrDirectory, "directory-count-": pmtiles.ErrDirectorySize, "directory-entries-cut": pmtiles.ErrDirectorySize,
	"directory-varint-": pmtiles.ErrDirectory, "directory-id-": pmtiles.ErrTileID, "directory-run-": pmtiles.ErrRunLength,
	"directory-length-": pmtiles.ErrEntryRange, "directory-offset-": pmtiles.ErrEntryRange, "directory-trailing-bytes": nil,
	"directory-5000-entries": nil,

	"packed-root-": pmtiles.ErrCompression, "packed-root-bomb-16-kB": pmtiles.ErrEmpty, "packed-root-bomb-over-16-MB": pmtiles.ErrDirectorySize,
	"packed-root-bomb-members": pmtiles.ErrEmpty, "packed-root-zstd-skippable-endless": pmtiles.ErrDirectory,
	"packed-metadata-": pmtiles.ErrMetadata, "packed-metadata-null": nil, "packed-metadata-wrong-types": nil,
	"packed-metadata-not-utf8": nil, "packed-metadata-script": nil,

	"leaf-points-to-itself": pmtiles.ErrLeafDepth, "leaf-two-in-a-ring": pmtiles.ErrLeafDepth, "leaf-depth-": nil,
	"leaf-depth-04": pmtiles.ErrLeafDepth, "leaf-depth-05": pmtiles.ErrLeafDepth, "leaf-depth-20": pmtiles.ErrLeafDepth,
	"leaf-beyond-section": pmtiles.ErrEntryRange, "leaf-offset-huge": pmtiles.ErrEntryRange, "leaf-no-section": pmtiles.ErrEntryRange,
	"leaf-not-a-directory": pmtiles.ErrDirectorySize, "leaf-empty-directory": pmtiles.ErrEmpty, "leaf-other-ids": nil,
	"leaf-ids-before-it": nil, "leaf-second-damaged": pmtiles.ErrDirectorySize, "leaf-bomb": pmtiles.ErrDirectorySize,

	"tile-html": source.ErrNotPicture, "tile-vector": pmtiles.ErrVectorTiles, "tile-cut-short": source.ErrPictureTruncated,
	"tile-zeros": source.ErrNotPicture, "tile-over-8-MB": pmtiles.ErrTileSize, "tile-gzip-bomb": pmtiles.ErrTileSize,
	"tile-gzip-cut": pmtiles.ErrCompression, "tile-gzip-unsaid": nil, "tile-gzip-said-and-not": nil,
	"tile-gzip-twice": source.ErrNotPicture, "tile-zstd-not": pmtiles.ErrCompression, "tile-png-": source.ErrPictureHeader,
}

func TestHostile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hostile.pmtiles")
	n := 0
	for name, data := range hostile.Files() {
		n++
		t.Run(name, func(t *testing.T) {
			beginning, want := "", (*reject.Kind)(nil)
			for b, kind := range reasons {
				if strings.HasPrefix(name, b) && len(b) > len(beginning) {
					beginning, want = b, kind
				}
			}
			if beginning == "" {
				t.Fatal("the test does not say what is to come of it")
			}
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := use(t.Context(), path)
			runtime.ReadMemStats(&after)
			if spent := after.TotalAlloc - before.TotalAlloc; spent > 128<<20 {
				t.Errorf("%d MiB were allocated", spent>>20)
			}
			if want == nil {
				if err != nil {
					t.Errorf("error %v, want none", err)
				}
				return
			}
			if got, ok := reject.Of(err); !ok || got != want || !errors.Is(err, tilescout.ErrBadInput) {
				t.Errorf("error %v, want %s", err, want.Name)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q has more than one line", err)
			}
		})
	}
	if n < 60 {
		t.Errorf("%d files, want at least 60", n)
	}
}

// use opens an archive and asks for all tiles of the first zooms; a tile that is not there is no error.
func use(ctx context.Context, path string) error {
	src, err := pmtiles.Open(ctx, source.Spec{ID: "hostile", Source: path}, pmtiles.Options{})
	if err != nil {
		return err
	}
	defer src.Close()
	for z := range maptile.Zoom(4) {
		for x := range uint32(1) << z {
			for y := range uint32(1) << z {
				_, err := src.Tile(ctx, maptile.New(x, y, z))
				if err != nil && !errors.Is(err, tilescout.ErrNotFound) && !errors.Is(err, tilescout.ErrOutOfRange) {
					return err
				}
			}
		}
	}
	return nil
}

// TestTruncated cuts a good archive at every length; none opens.
func TestTruncated(t *testing.T) {
	whole := hostile.Good().Build()
	path := filepath.Join(t.TempDir(), "cut.pmtiles")
	for n := range whole {
		if err := os.WriteFile(path, whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		if err := use(t.Context(), path); !errors.Is(err, tilescout.ErrBadInput) {
			t.Fatalf("cut at %d of %d bytes: %v, want ErrBadInput", n, len(whole), err)
		}
	}
	if err := os.WriteFile(path, whole, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := use(t.Context(), path); err != nil {
		t.Errorf("the whole file: %v", err)
	}
}

// TestCutWhileOpen: what somebody does to the file behind our back is an error of the tile.
func TestCutWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cut.pmtiles")
	if err := os.WriteFile(path, hostile.Good().Build(), 0o644); err != nil {
		t.Fatal(err)
	}
	src := open(t, path)
	if err := os.Truncate(path, 130); err != nil {
		t.Fatal(err)
	}
	if _, err := src.Tile(t.Context(), maptile.New(0, 0, 0)); !errors.Is(err, pmtiles.ErrTruncated) {
		t.Errorf("Tile: %v, want ErrTruncated", err)
	}
}

func TestNoFile(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "none.pmtiles"), t.TempDir(), os.DevNull} {
		_, err := pmtiles.Open(t.Context(), source.Spec{ID: "none", Source: path}, pmtiles.Options{})
		if !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("Open(%s): %v, want ErrBadInput", path, err)
		}
	}
}
