package geo

import (
	"iter"
	"math"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"
)

// CoverCount returns how many tiles of zoom z Cover yields.
func CoverCount(b orb.Bound, z maptile.Zoom) int {
	r, ok := tileRect(b, z)
	if !ok {
		return 0
	}
	return int(uint64(r.x1-r.x0+1) * uint64(r.y1-r.y0+1))
}

// Cover yields the tiles of zoom z that the bound touches with more than its edge, row by row from the
// north-west. The bound is clamped to the grid: the world is 4^z tiles, a box beyond MaxLat none. A bound
// exactly one tile big is that tile; a point or a line is the tiles that hold it. A bound whose west is east
// of its east is empty: split it first with BBox.Bounds.
func Cover(b orb.Bound, z maptile.Zoom) iter.Seq[maptile.Tile] {
	return func(yield func(maptile.Tile) bool) {
		r, ok := tileRect(b, z)
		if !ok {
			return
		}
		for y := r.y0; ; y++ {
			for x := r.x0; ; x++ {
				if !yield(maptile.New(x, y, z)) {
					return
				}
				if x == r.x1 {
					break
				}
			}
			if y == r.y1 {
				return
			}
		}
	}
}

// tileRect is the block of tiles that a bound covers; false if it is empty, not a number or off the grid.
func tileRect(b orb.Bound, z maptile.Zoom) (rect, bool) {
	w, s, e, n := b.Min[0], b.Min[1], b.Max[0], b.Max[1]
	// Written so that a NaN fails too.
	if !(w <= e && s <= n && w <= 180 && e >= -180 && s <= MaxLat && n >= -MaxLat) || z > MaxZoom {
		return rect{}, false
	}
	fx0, fy0 := fraction(max(w, -180), n, z)
	fx1, fy1 := fraction(min(e, 180), s, z)
	side := math.Ldexp(1, int(z))
	// A millionth of a cell at zoom 30, less above: more than the rounding of degrees → cells → degrees.
	eps := 1e-9 + side*1e-15
	x0, x1 := cells(fx0, fx1, side, eps)
	y0, y1 := cells(fy0, fy1, side, eps)
	return rect{x0, y0, x1, y1}, true
}

// cells returns the first and last cell of the interval [from, to], leaving out a cell that it only touches.
func cells(from, to, side, eps float64) (first, last uint32) {
	a := math.Floor(from + eps)
	b := math.Ceil(to-eps) - 1
	a = max(0, min(side-1, a))
	b = max(a, min(side-1, b))
	return uint32(a), uint32(b)
}
