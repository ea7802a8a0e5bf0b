package pmtiles

import (
	"bytes"
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/pmtiles/hostile"
)

// memory is an Object of bytes.
type memory struct{ *bytes.Reader }

func (m memory) ReadAtContext(_ context.Context, p []byte, off int64) (int, error) {
	return m.ReadAt(p, off)
}
func (m memory) Version() string     { return "" }
func (m memory) Modified() time.Time { return time.Time{} }
func (m memory) Close() error        { return nil }

func FuzzPMTilesHeader(f *testing.F) {
	good := hostile.Good().Build()
	f.Add(good[:headerSize], int64(len(good)))
	f.Add(good[:40], int64(40))
	f.Add([]byte("PMTiles\x02"), int64(8))
	f.Add([]byte("<html>"), int64(6))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		h, err := parseHeader(b, size)
		if err != nil {
			if !errors.Is(err, tilescout.ErrBadInput) {
				t.Fatalf("parseHeader: %v", err)
			}
			return
		}
		for _, s := range []section{h.root, h.metadata, h.leaves, h.tiles} {
			if s.length > 0 && (s.end() < s.offset || s.end() > uint64(size)) {
				t.Fatalf("section %+v of %d bytes passed", s, size)
			}
		}
		if b, ok := h.bound(); ok && (b.IsEmpty() || math.Abs(b.Min.X()) > 180 || math.Abs(b.Max.Y()) > 86) {
			t.Fatalf("bound %v", b)
		}
		if again, err := parseHeader(h.bytes(), size); err != nil || again != h {
			t.Fatalf("header %+v becomes %+v, %v", h, again, err)
		}
	})
}

func FuzzPMTilesDirectory(f *testing.F) {
	f.Add(hostile.Good().Root)
	f.Add(hostile.Directory(-1, hostile.Entry{Delta: 3, Run: 2, Length: 9, Offset: 4}, hostile.Entry{Delta: 7, Length: 3}))
	f.Add(hostile.Directory(1<<40, hostile.Entry{}))
	f.Add([]byte{0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		h := header{tiles: section{127, 1 << 20}, leaves: section{127, 1 << 16}}
		d, err := parseDirectory(b, &h)
		if err != nil {
			if !errors.Is(err, tilescout.ErrBadInput) {
				t.Fatalf("parseDirectory: %v", err)
			}
			return
		}
		if !sorted(d) || d[len(d)-1].id > lastID {
			t.Fatalf("directory %v is not in order", d)
		}
		for _, e := range d {
			if got, ok := d.find(e.id); !ok || got != e {
				t.Fatalf("find(%d) = %+v, %v", e.id, got, ok)
			}
			if x := tileOf(e.id); tileID(x) != e.id {
				t.Fatalf("tile %v of id %d has id %d", x, e.id, tileID(x))
			}
		}
		again, err := parseDirectory(appendDirectory(nil, d), &h)
		if err != nil || len(again) != len(d) {
			t.Fatalf("%v becomes %v, %v", d, again, err)
		}
	})
}

// FuzzPMTilesFile opens whole archives and reads their first tiles.
func FuzzPMTilesFile(f *testing.F) {
	f.Add(hostile.Good().Build())
	plain := hostile.Good()
	plain.Plain = true
	f.Add(plain.Build())
	f.Add(hostile.Archive{Plain: true, Tiles: hostile.Pixel, Root: hostile.Directory(-1, hostile.Entry{Length: 5}),
		Leaves: hostile.Directory(-1, hostile.Entry{Run: 1, Length: uint64(len(hostile.Pixel))})}.Build())
	f.Fuzz(func(t *testing.T, b []byte) {
		src, err := OpenObject(t.Context(), source.Spec{ID: "fuzz", Source: "fuzz.pmtiles"}, memory{bytes.NewReader(b)}, Options{})
		if err != nil {
			if !errors.Is(err, tilescout.ErrBadInput) {
				t.Fatalf("open: %v", err)
			}
			return
		}
		for _, x := range []maptile.Tile{{Z: src.info.MinZoom}, {Z: src.info.MaxZoom}} {
			_, err := src.Tile(t.Context(), x)
			if err != nil && !errors.Is(err, tilescout.ErrBadInput) && !errors.Is(err, tilescout.ErrNotFound) {
				t.Fatalf("tile %v: %v", x, err)
			}
		}
	})
}
