package pmtiles

import (
	"math/bits"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout/tileserver/source"
)

// A tile's id counts the tiles of all lesser zooms, then those before it on the Hilbert curve of its own (spec v3 §4.1).

// firstID is the id of the first tile of zoom z, up to source.MaxZoom + 1.
func firstID(z maptile.Zoom) uint64 { return (1<<(2*uint(z)) - 1) / 3 }

// lastID is the greatest id that any tile has.
var lastID = firstID(source.MaxZoom+1) - 1

// zoomOf is the zoom of the tile with an id up to lastID.
func zoomOf(id uint64) maptile.Zoom { return maptile.Zoom((bits.Len64(3*id+1) - 1) / 2) }

// tileID is the id of a tile that is in the grid.
func tileID(t maptile.Tile) uint64 {
	x, y, d := t.X, t.Y, uint64(0)
	for s := uint32(1) << t.Z >> 1; s > 0; s >>= 1 {
		// Each quadrant holds a smaller curve: two of them turned, so that ends meet.
		var quadrant uint64
		right, down := x&s != 0, y&s != 0
		switch {
		case right && down:
			quadrant = 2
		case right:
			quadrant = 3
		case down:
			quadrant = 1
		}
		d = d<<2 | quadrant
		if !down {
			if right {
				x, y = s-1-x&(s-1), s-1-y&(s-1)
			}
			x, y = y, x
		}
	}
	return firstID(t.Z) + d
}

// tileOf is the tile with an id up to lastID.
func tileOf(id uint64) maptile.Tile {
	z := zoomOf(id)
	d := id - firstID(z)
	x, y := uint32(0), uint32(0)
	for s := uint32(1); s < 1<<z; s <<= 1 {
		quadrant := d & 3
		right, down := quadrant >= 2, quadrant == 1 || quadrant == 2
		if !down {
			if right {
				x, y = s-1-x, s-1-y
			}
			x, y = y, x
		}
		if right {
			x += s
		}
		if down {
			y += s
		}
		d >>= 2
	}
	return maptile.New(x, y, z)
}
