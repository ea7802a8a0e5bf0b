// Package sourcetest is the conformance suite of tile sources: every kind runs it, as testing/fstest does for files.
//
//	func TestConformance(t *testing.T) {
//		sourcetest.Run(t, open(t), maptile.New(1, 0, 1), maptile.New(0, 0, 1))
//	}
package sourcetest

import (
	"bytes"
	"context"
	"errors"
	"image"
	_ "image/jpeg" // decoders, to see that a picture is one
	_ "image/png"
	"math"
	"sync"
	"testing"

	"github.com/paulmach/orb/maptile"
	_ "golang.org/x/image/webp"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
)

// Run checks that src keeps the contract of source.Source, and closes it. present is a tile that has a picture, absent
// one within the grid and the zooms of src that has none.
func Run(t *testing.T, src source.Source, present, absent maptile.Tile) {
	t.Helper()
	info := src.Info()
	t.Run("Info", func(t *testing.T) { checkInfo(t, src, present, absent) })
	t.Run("Present", func(t *testing.T) { checkPicture(t, src, present) })
	t.Run("Absent", func(t *testing.T) {
		if pic, err := src.Tile(t.Context(), absent); !errors.Is(err, tilescout.ErrNotFound) {
			t.Errorf("Tile(%v) = %d bytes, %v, want ErrNotFound", absent, len(pic.Data), err)
		}
	})
	t.Run("OutOfRange", func(t *testing.T) {
		for _, tile := range outside(info) {
			if pic, err := src.Tile(t.Context(), tile); !errors.Is(err, tilescout.ErrOutOfRange) {
				t.Errorf("Tile(%v) = %d bytes, %v, want ErrOutOfRange (zooms %d to %d)", tile, len(pic.Data), err, info.MinZoom, info.MaxZoom)
			}
		}
	})
	t.Run("Cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := src.Tile(ctx, present); !errors.Is(err, context.Canceled) {
			t.Errorf("Tile with a cancelled context: %v, want context.Canceled", err)
		}
		checkPicture(t, src, present) // one caller's cancel leaves nothing behind
	})
	t.Run("Concurrent", func(t *testing.T) { checkConcurrent(t, src, present, absent) })
	if sized, ok := src.(source.Sized); ok {
		t.Run("Sized", func(t *testing.T) { checkSized(t, sized, present) })
	}
	t.Run("Close", func(t *testing.T) { checkClosed(t, src, present, absent) })
}

func checkInfo(t *testing.T, src source.Source, present, absent maptile.Tile) {
	info := src.Info()
	if again := src.Info(); again != info {
		t.Errorf("Info changed from %+v to %+v", info, again)
	}
	if info.ID == "" || info.Version == "" {
		t.Errorf("Info: id %q, version %q, want both", info.ID, info.Version)
	}
	if info.MinZoom > info.MaxZoom || info.MaxZoom > source.MaxZoom {
		t.Errorf("Info: zooms %d to %d", info.MinZoom, info.MaxZoom)
	}
	for _, tile := range []maptile.Tile{present, absent} {
		if !source.InGrid(tile, info.MinZoom, info.MaxZoom) {
			t.Errorf("tile %v of the test is not in zooms %d to %d", tile, info.MinZoom, info.MaxZoom)
		}
	}
	if info.TileSize != 256 && info.TileSize != 512 {
		t.Errorf("Info: tile size %d, want 256 or 512", info.TileSize)
	}
	b := info.Bound
	for _, v := range []float64{b.Min.X(), b.Min.Y(), b.Max.X(), b.Max.Y()} {
		if math.IsNaN(v) || math.Abs(v) > 180 {
			t.Errorf("Info: bound %v is not in degrees", b)
		}
	}
	if !b.Intersects(present.Bound()) {
		t.Errorf("Info: bound %v does not touch tile %v at %v", b, present, present.Bound())
	}
}

func checkPicture(t *testing.T, src source.Source, present maptile.Tile) {
	t.Helper()
	pic, err := src.Tile(t.Context(), present)
	if err != nil {
		t.Fatalf("Tile(%v): %v", present, err)
	}
	checkDecodes(t, pic)
	info := src.Info()
	if info.MediaType != "" && pic.MediaType != info.MediaType {
		t.Errorf("Tile(%v) is %s, Info says %s", present, pic.MediaType, info.MediaType)
	}
	again, err := src.Tile(t.Context(), present)
	if err != nil || !bytes.Equal(again.Data, pic.Data) || again.ETag != pic.ETag {
		t.Errorf("Tile(%v) again: %d bytes, ETag %q, %v; want %d bytes, %q", present, len(again.Data), again.ETag, err, len(pic.Data), pic.ETag)
	}
}

// checkDecodes tells that pic is a whole picture of the type it says, and returns its size in pixels.
func checkDecodes(t *testing.T, pic tilescout.Picture) image.Point {
	t.Helper()
	if sniffed := source.Sniff(pic.Data); sniffed == "" || sniffed != pic.MediaType {
		t.Errorf("picture says %q, its bytes say %q", pic.MediaType, sniffed)
	}
	if _, err := source.Check(pic.Data, source.Limits{}); err != nil {
		t.Errorf("picture: %v", err)
	}
	img, _, err := image.Decode(bytes.NewReader(pic.Data))
	if err != nil {
		t.Fatalf("picture does not decode: %v", err)
	}
	return img.Bounds().Size()
}

// outside lists tiles beside the grid and beyond the zooms; all stay valid for code that shifts by the zoom.
func outside(info tilescout.LayerInfo) []maptile.Tile {
	z := info.MaxZoom
	side := uint32(1) << z
	tiles := []maptile.Tile{
		{X: side, Y: 0, Z: z}, {X: 0, Y: side, Z: z}, {X: math.MaxUint32, Y: math.MaxUint32, Z: z},
		{Z: info.MaxZoom + 1}, {Z: 31}, {Z: 32}, {Z: 63}, {Z: 64}, {X: 1, Y: 1, Z: math.MaxUint8},
	}
	if info.MinZoom > 0 {
		tiles = append(tiles, maptile.Tile{Z: info.MinZoom - 1})
	}
	return tiles
}

func checkConcurrent(t *testing.T, src source.Source, present, absent maptile.Tile) {
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			switch i % 4 {
			case 0, 1:
				pic, err := src.Tile(t.Context(), present)
				if err != nil || len(pic.Data) == 0 {
					t.Errorf("Tile(%v) beside others: %d bytes, %v", present, len(pic.Data), err)
				}
			case 2:
				if _, err := src.Tile(t.Context(), absent); !errors.Is(err, tilescout.ErrNotFound) {
					t.Errorf("Tile(%v) beside others: %v, want ErrNotFound", absent, err)
				}
			case 3:
				ctx, cancel := context.WithCancel(t.Context())
				go cancel()
				if _, err := src.Tile(ctx, present); err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("Tile(%v) while being cancelled: %v, want nil or context.Canceled", present, err)
				}
			}
		})
	}
	wg.Wait()
}

func checkSized(t *testing.T, src source.Sized, present maptile.Tile) {
	for _, size := range []int{256, 512} {
		pic, err := src.TileSized(t.Context(), present, size)
		if err != nil {
			t.Errorf("TileSized(%v, %d): %v", present, size, err)
			continue
		}
		if got := checkDecodes(t, pic); got != image.Pt(size, size) {
			t.Errorf("TileSized(%v, %d) is %v pixels", present, size, got)
		}
	}
}

func checkClosed(t *testing.T, src source.Source, present, absent maptile.Tile) {
	before := src.Info()
	if err := src.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	for _, tile := range []maptile.Tile{present, absent} {
		if pic, err := src.Tile(t.Context(), tile); err == nil || errors.Is(err, tilescout.ErrNotFound) {
			t.Errorf("Tile(%v) after Close = %d bytes, %v, want another error", tile, len(pic.Data), err)
		}
	}
	if src.Info() != before {
		t.Errorf("Info after Close differs")
	}
	if err := src.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}
