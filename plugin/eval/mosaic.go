package eval

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"math"
	"math/rand/v2"

	"github.com/paulmach/orb/maptile"
	"golang.org/x/image/draw"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/geo"
)

// Where mosaics lie: a place where a pixel of this zoom is about 1.5 m, as search layers are.
const (
	mosaicZoom = maptile.Zoom(16)
	mosaicX    = 33000 // both even: the parent's four tiles are the mosaic's own
	mosaicY    = 22000
	mosaicSeed = 5
	// maxMosaic bounds the scenes of a mosaic: they are held decoded.
	maxMosaic = 2500
)

// mosaic is scenes laid on a tile grid, one per tile, in an order drawn with a fixed seed; shift moves them by a part of
// a tile to the east and south, so that at one half every scene is cut into four. It is a source of tiles of mosaicZoom
// and of the zoom above.
type mosaic struct {
	id     string
	side   int // scenes in a row
	shift  float64
	truth  []int // label of each scene, in the order of the grid
	scenes []int // indices into the set
	images []*image.RGBA
}

// newMosaics decodes the scenes once and lays them out aligned and shifted by half a tile.
func newMosaics(ctx context.Context, s *Set, j joined) (aligned, shifted *mosaic, err error) {
	order := rand.New(rand.NewPCG(mosaicSeed, mosaicSeed)).Perm(len(j.scenes))
	order = order[:min(maxMosaic, len(order))]
	m := &mosaic{id: "aligned", side: int(math.Ceil(math.Sqrt(float64(len(order)))))}
	for _, k := range order {
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		pic, err := s.Picture(j.scenes[k])
		if err != nil {
			return nil, nil, err
		}
		decoded, err := encoder.Decode(pic.Data)
		if err != nil {
			return nil, nil, pictureError(s.Scenes[j.scenes[k]].Where+", "+s.Scenes[j.scenes[k]].File, err)
		}
		if decoded.Rect.Dx() > tileSide || decoded.Rect.Dy() > tileSide {
			decoded = scaled(decoded, tileSide, tileSide) // the mosaic shows no more, and memory is bounded
		}
		m.truth, m.scenes, m.images = append(m.truth, j.truth[k]), append(m.scenes, j.scenes[k]), append(m.images, decoded)
	}
	half := *m
	half.id, half.shift = "shifted", .5
	return m, &half, nil
}

// extent is the number of tiles along a side.
func (m *mosaic) extent() int {
	if m.shift > 0 {
		return m.side + 1
	}
	return m.side
}

// Info implements search.Tiles.
func (m *mosaic) Info() tilescout.LayerInfo {
	n := uint32(m.extent() - 1)
	bound := geo.Bound(maptile.New(mosaicX, mosaicY, mosaicZoom)).Union(geo.Bound(maptile.New(mosaicX+n, mosaicY+n, mosaicZoom)))
	// A hair inside, so that rounding does not touch the neighbours.
	pad := (bound.Max[0] - bound.Min[0]) * 1e-9
	bound.Min[0], bound.Min[1], bound.Max[0], bound.Max[1] = bound.Min[0]+pad, bound.Min[1]+pad, bound.Max[0]-pad, bound.Max[1]-pad
	return tilescout.LayerInfo{
		ID: m.id, Title: m.id, Bound: bound, MinZoom: mosaicZoom - 1, MaxZoom: mosaicZoom, TileSize: tileSide,
		MediaType: tilescout.JPEG, Version: fmt.Sprintf("%s-%d", m.id, len(m.images)),
	}
}

// Tile implements search.Tiles: the tile is drawn from the scenes that it touches.
func (m *mosaic) Tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	if err := ctx.Err(); err != nil {
		return tilescout.Picture{}, err
	}
	scale := 1
	x, y := int(t.X)-mosaicX, int(t.Y)-mosaicY
	switch t.Z {
	case mosaicZoom:
	case mosaicZoom - 1:
		scale = 2
		x, y = 2*(int(t.X)-mosaicX/2), 2*(int(t.Y)-mosaicY/2)
	default:
		return tilescout.Picture{}, fmt.Errorf("mosaic: tile %v: %w", t, tilescout.ErrOutOfRange)
	}
	out := image.NewRGBA(image.Rect(0, 0, tileSide, tileSide))
	for i := 3; i < len(out.Pix); i += 4 {
		out.Pix[i] = 255 // black where no scene lies
	}
	offset, side, drawn := int(m.shift*tileSide), tileSide/scale, 0
	for row := y - 1; row <= y+scale-1; row++ {
		for column := x - 1; column <= x+scale-1; column++ {
			i := row*m.side + column
			if row < 0 || column < 0 || column >= m.side || i >= len(m.images) {
				continue
			}
			left, top := ((column-x)*tileSide+offset)/scale, ((row-y)*tileSide+offset)/scale
			r := image.Rect(left, top, left+side, top+side)
			if !r.Overlaps(out.Rect) {
				continue
			}
			draw.CatmullRom.Scale(out, r, m.images[i], m.images[i].Rect, draw.Src, nil)
			drawn++
		}
	}
	if drawn == 0 {
		return tilescout.Picture{}, fmt.Errorf("mosaic: tile %v: %w", t, tilescout.ErrNotFound)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, out, &jpeg.Options{Quality: 90}); err != nil {
		return tilescout.Picture{}, fmt.Errorf("mosaic: encode tile: %w", err)
	}
	return tilescout.Picture{Data: b.Bytes(), MediaType: tilescout.JPEG}, nil
}

// tiles are those that show a scene: one, or with a shift the four that hold a quarter each.
func (m *mosaic) tiles(scene int) []maptile.Tile {
	x, y := uint32(mosaicX+scene%m.side), uint32(mosaicY+scene/m.side)
	if m.shift == 0 {
		return []maptile.Tile{maptile.New(x, y, mosaicZoom)}
	}
	return []maptile.Tile{
		maptile.New(x, y, mosaicZoom), maptile.New(x+1, y, mosaicZoom), maptile.New(x, y+1, mosaicZoom), maptile.New(x+1, y+1, mosaicZoom),
	}
}
