package mbtiles

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
)

// FuzzMBTilesRow feeds what may be stored as a tile through all that looks at it.
func FuzzMBTilesRow(f *testing.F) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write([]byte("\x89PNG\r\n\x1a\n"))
	z.Close()
	for _, seed := range [][]byte{nil, zipped.Bytes(), zipped.Bytes()[:12], []byte("\x1f\x8b"), []byte("\x1a\x02\x0a\x00"), []byte("\xff\xd8\xff\xe0\x00\x02\xff\xc0\x00\x0b\x08\x00\x10\x00\x10\x01\x01\x11\x00\xff\xda\x00\x02\xff\xd9")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, stored []byte) {
		data, err := inflate(stored, maxInflated)
		if err != nil {
			if !errors.Is(err, tilescout.ErrBadInput) {
				t.Fatalf("inflate: %v", err)
			}
			return
		}
		if len(data) > maxInflated {
			t.Fatalf("inflate grew %d bytes to %d", len(stored), len(data))
		}
		shape, err := shapeOf(stored, maxInflated, source.Limits{})
		if err != nil && !errors.Is(err, tilescout.ErrBadInput) {
			t.Fatalf("shapeOf: %v", err)
		}
		if err == nil && shape.MediaType != source.Sniff(data) {
			t.Fatalf("shapeOf = %+v of %q", shape, source.Sniff(data))
		}
	})
}

// FuzzMetadata feeds values of the metadata table.
func FuzzMetadata(f *testing.F) {
	for _, seed := range []string{"-180,-85,180,85", "1,2,3", "NaN,0,1,1", "-Inf,0,+Inf,1", "1e400,0,1,1", " 1 , 2 , 3 , 4 ", "0x1p-2,0,1,1", "7", "-1", "31", "+3", "٣"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		m := metadata{"bounds": value, "minzoom": value}
		if b, ok := m.bound(); ok {
			if b.IsEmpty() || b.Min.X() < -180 || b.Max.X() > 180 || !(b.Max.Y() < 86) || !(b.Min.Y() > -86) {
				t.Fatalf("bound(%q) = %v", value, b)
			}
		}
		if z, ok := m.zoom("minzoom"); ok && z > source.MaxZoom {
			t.Fatalf("zoom(%q) = %d", value, z)
		}
	})
}

// FuzzMBTilesFile changes bytes of a small database: whatever it becomes, it opens or is refused with a kind.
func FuzzMBTilesFile(f *testing.F) {
	whole, err := os.ReadFile(filepath.Join("testdata", "tiny.mbtiles"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint(16), []byte{0xff, 0xff})
	f.Add(uint(28), []byte{0x7f, 0xff, 0xff, 0xff})
	f.Add(uint(100), []byte{5})
	path := filepath.Join(f.TempDir(), "fuzz.mbtiles")
	f.Fuzz(func(t *testing.T, at uint, change []byte) {
		file := bytes.Clone(whole)
		copy(file[at%uint(len(file)):], change)
		if err := os.WriteFile(path, file, 0o644); err != nil {
			t.Fatal(err)
		}
		src, err := Open(context.Background(), source.Spec{ID: "fuzz", Source: path}, Options{Connections: 1})
		if err == nil {
			_, err = src.Tile(context.Background(), maptile.New(0, 0, 0))
			src.Close()
		}
		kinds := []error{tilescout.ErrBadInput, tilescout.ErrBusy, tilescout.ErrNotFound, tilescout.ErrOutOfRange}
		for _, kind := range kinds {
			if err == nil || errors.Is(err, kind) {
				return
			}
		}
		t.Fatalf("%d, %x: %v has no kind", at, change, err)
	})
}
