package pmtiles

import (
	"iter"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout/geo"
)

// Order yields the tiles of zoom z that any of the bounds touches, each once, by rising TileID. It needs no memory for them.
func Order(bounds []orb.Bound, z maptile.Zoom) iter.Seq[maptile.Tile] {
	type block struct{ x0, y0, x1, y1 uint32 }
	var blocks []block
	for _, b := range bounds {
		if nw, se, ok := geo.CoverCorners(b, z); ok {
			blocks = append(blocks, block{nw.X, nw.Y, se.X, se.Y})
		}
	}
	touches := func(first, last maptile.Tile) bool {
		for _, b := range blocks {
			if first.X <= b.x1 && last.X >= b.x0 && first.Y <= b.y1 && last.Y >= b.y0 {
				return true
			}
		}
		return false
	}
	return func(yield func(maptile.Tile) bool) {
		// A quarter of the curve covers a square: squares without any tile wanted are left out whole.
		var walk func(from uint64, level maptile.Zoom) bool
		walk = func(from uint64, level maptile.Zoom) bool {
			t := tileOf(from)
			side := uint32(1) << (z - level)
			corner := maptile.New(t.X&^(side-1), t.Y&^(side-1), z)
			if !touches(corner, maptile.New(corner.X+side-1, corner.Y+side-1, z)) {
				return true
			}
			if level == z {
				return yield(t)
			}
			quarter := uint64(1) << (2 * (z - level - 1))
			for i := range uint64(4) {
				if !walk(from+i*quarter, level+1) {
					return false
				}
			}
			return true
		}
		walk(firstID(z), 0)
	}
}
