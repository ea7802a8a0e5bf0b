package sourcetest

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
)

// Memory is a source that holds its tiles in memory; it works, so tests of other packages can serve from it.
type Memory struct {
	info   tilescout.LayerInfo
	tiles  map[maptile.Tile]tilescout.Picture
	closed atomic.Bool
}

var _ source.Source = (*Memory)(nil)

// NewMemory returns a source of the tiles given, by their encoded bytes. It takes zooms and bound from them.
func NewMemory(id string, tiles map[maptile.Tile][]byte) (*Memory, error) {
	m := &Memory{tiles: make(map[maptile.Tile]tilescout.Picture, len(tiles))}
	m.info = tilescout.LayerInfo{ID: id, Title: id, TileSize: 256, MinZoom: source.MaxZoom, Bound: orb.Bound{Min: orb.Point{180, 90}, Max: orb.Point{-180, -90}}}
	var sum uint64
	for t, data := range tiles {
		shape, err := source.Check(data, source.Limits{})
		if err != nil {
			return nil, fmt.Errorf("memory source %s, tile %v: %w", id, t, err)
		}
		m.tiles[t] = tilescout.Picture{Data: data, MediaType: shape.MediaType, ETag: source.ETag(data)}
		m.info.MinZoom, m.info.MaxZoom = min(m.info.MinZoom, t.Z), max(m.info.MaxZoom, t.Z)
		m.info.Bound = m.info.Bound.Union(t.Bound())
		m.info.TileSize = shape.Width
		sum += xxhash.Sum64String(fmt.Sprint(t, source.ETag(data))) // a sum: the order of a map plays no part
	}
	m.info.Version = fmt.Sprintf("%016x", sum)
	return m, nil
}

// Tile returns the tile given to NewMemory.
func (m *Memory) Tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	if err := ctx.Err(); err != nil {
		return tilescout.Picture{}, err
	}
	if m.closed.Load() {
		return tilescout.Picture{}, fmt.Errorf("memory: layer %s is closed: %w", m.info.ID, tilescout.ErrUnavailable)
	}
	if !source.InGrid(t, m.info.MinZoom, m.info.MaxZoom) {
		return tilescout.Picture{}, fmt.Errorf("memory: tile %v: %w", t, tilescout.ErrOutOfRange)
	}
	pic, ok := m.tiles[t]
	if !ok {
		return tilescout.Picture{}, fmt.Errorf("memory: tile %v: %w", t, tilescout.ErrNotFound)
	}
	return pic, nil
}

// Info describes the layer.
func (m *Memory) Info() tilescout.LayerInfo { return m.info }

// Close makes Tile fail.
func (m *Memory) Close() error { m.closed.Store(true); return nil }

// Paint returns a PNG of size × size pixels that differs from tile to tile, about 8 KiB at 256 pixels.
func Paint(t maptile.Tile, size int) []byte {
	random := rand.New(rand.NewPCG(uint64(t.Z), uint64(t.X)<<32|uint64(t.Y)))
	img := image.NewPaletted(image.Rect(0, 0, size, size), nil)
	for range 16 {
		v := random.Uint32()
		img.Palette = append(img.Palette, color.RGBA{R: uint8(v), G: uint8(v >> 8), B: uint8(v >> 16), A: 255})
	}
	for i := range img.Pix {
		img.Pix[i] = uint8(random.IntN(16)) & uint8(i>>4)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err) // writing to memory
	}
	return b.Bytes()
}
