package geo

import (
	"slices"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"
)

// Morton returns the tile's Morton code at its zoom: the bits of x in the even, of y in the odd places.
// A tile's descendants d zooms below are the codes from Morton(t)<<2d up to, not including, (Morton(t)+1)<<2d.
func Morton(t maptile.Tile) uint64 { return spread(t.X) | spread(t.Y)<<1 }

// FromMorton returns the tile at zoom z that has the code.
func FromMorton(code uint64, z maptile.Zoom) maptile.Tile {
	return maptile.New(squeeze(code), squeeze(code>>1), z)
}

// spread puts bit i of v at place 2i.
func spread(v uint32) uint64 {
	x := uint64(v)
	x = (x | x<<16) & 0x0000FFFF0000FFFF
	x = (x | x<<8) & 0x00FF00FF00FF00FF
	x = (x | x<<4) & 0x0F0F0F0F0F0F0F0F
	x = (x | x<<2) & 0x3333333333333333
	return (x | x<<1) & 0x5555555555555555
}

// squeeze is the inverse of spread; odd places are ignored.
func squeeze(x uint64) uint32 {
	x &= 0x5555555555555555
	x = (x | x>>1) & 0x3333333333333333
	x = (x | x>>2) & 0x0F0F0F0F0F0F0F0F
	x = (x | x>>4) & 0x00FF00FF00FF00FF
	x = (x | x>>8) & 0x0000FFFF0000FFFF
	return uint32(x | x>>16)
}

// Range is the half-open interval [From, To) of Morton codes at one zoom.
type Range struct{ From, To uint64 }

// Ranges returns intervals of Morton codes that cover the bounds at zoom z, sorted and disjoint, at most max of
// them (max < 1 counts as 1). The cover is exact while that fits; past it the narrowest gaps are closed, so
// that codes outside the bounds are covered too and whoever scans must still look at the tile.
func Ranges(bounds []orb.Bound, z maptile.Zoom, max int) []Range {
	if max < 1 {
		max = 1
	}
	var rects []rect
	for _, b := range bounds {
		if r, ok := tileRect(b, z); ok {
			rects = append(rects, r)
		}
	}
	if len(rects) == 0 {
		return nil
	}
	// Walk down the quadtree. A finer level only narrows the cover, so it may stop at any level; 4·max
	// intervals are enough material for the gaps to be chosen from.
	var done []Range
	partial := []maptile.Tile{{}}
	for level := maptile.Zoom(0); len(partial) > 0; level++ {
		var next []maptile.Tile
		for _, t := range partial {
			inside, outside := true, true
			for _, r := range rects {
				c := r.at(t, z)
				inside, outside = c == cellInside, outside && c == cellOutside
				if inside {
					break
				}
			}
			switch shift := 2 * (z - level); {
			case inside:
				done = append(done, Range{Morton(t) << shift, (Morton(t) + 1) << shift})
			case !outside:
				next = append(next, t)
			}
		}
		if level == z {
			break
		}
		if len(next) > 4*max+16 {
			for _, t := range next {
				shift := 2 * (z - level)
				done = append(done, Range{Morton(t) << shift, (Morton(t) + 1) << shift})
			}
			break
		}
		partial = partial[:0]
		for _, t := range next {
			for i := range uint32(4) {
				partial = append(partial, maptile.New(t.X<<1|i&1, t.Y<<1|i>>1, t.Z+1))
			}
		}
	}
	return narrow(done, max)
}

// narrow sorts and joins the ranges and then closes the smallest gaps until at most max are left.
func narrow(in []Range, max int) []Range {
	slices.SortFunc(in, func(a, b Range) int {
		if a.From < b.From {
			return -1
		}
		return 1
	})
	out := in[:0]
	for _, r := range in {
		if n := len(out); n > 0 && r.From <= out[n-1].To {
			if r.To > out[n-1].To {
				out[n-1].To = r.To
			}
			continue
		}
		out = append(out, r)
	}
	if len(out) <= max {
		return out
	}
	gaps := make([]uint64, 0, len(out)-1)
	for i := 1; i < len(out); i++ {
		gaps = append(gaps, out[i].From-out[i-1].To)
	}
	slices.Sort(gaps)
	limit := gaps[len(out)-max-1] // this many gaps, the smallest, are closed
	extra := 0                    // of the gaps as wide as the limit, how many may stay open
	for _, g := range gaps[len(out)-max:] {
		if g == limit {
			extra++
		}
	}
	kept := out[:1]
	for _, r := range out[1:] {
		last := &kept[len(kept)-1]
		gap := r.From - last.To
		switch {
		case gap > limit:
			kept = append(kept, r)
		case gap == limit && extra > 0:
			extra--
			kept = append(kept, r)
		default:
			last.To = r.To
		}
	}
	return kept
}

// rect is a block of tiles at one zoom, edges included.
type rect struct{ x0, y0, x1, y1 uint32 }

type cell int

const (
	cellOutside cell = iota
	cellPartial
	cellInside
)

// at says how the descendants at zoom z of tile t lie to the block.
func (r rect) at(t maptile.Tile, z maptile.Zoom) cell {
	s := z - t.Z
	x0, y0 := uint64(t.X)<<s, uint64(t.Y)<<s
	x1, y1 := x0+1<<s-1, y0+1<<s-1
	switch {
	case x0 > uint64(r.x1) || x1 < uint64(r.x0) || y0 > uint64(r.y1) || y1 < uint64(r.y0):
		return cellOutside
	case x0 >= uint64(r.x0) && x1 <= uint64(r.x1) && y0 >= uint64(r.y0) && y1 <= uint64(r.y1):
		return cellInside
	}
	return cellPartial
}
