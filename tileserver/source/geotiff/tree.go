package geotiff

import (
	"math"
	"slices"

	"github.com/paulmach/orb"

	"github.com/tilescout/tilescout/geo"
)

// fanout is the number of boxes under one of the next floor.
const fanout = 16

// tree finds the boxes that touch another among many: a packed R-tree (Kamel and Faloutsos 1993, here by Morton instead
// of Hilbert order). It does not change.
type tree struct {
	order  []int         // of the boxes, as they lie in the lowest floor
	floors [][]orb.Bound // the lowest first; the last has at most fanout boxes
}

// newTree takes boxes in EPSG:3857 metres. One that reaches over the world's edge is met on both sides.
func newTree(boxes []orb.Bound) tree {
	t := tree{order: make([]int, len(boxes))}
	codes := make([]uint64, len(boxes))
	grid := func(v float64) uint64 {
		return uint64(math.Max(0, math.Min(1<<20-1, (v/geo.Half+1)/2*(1<<20))))
	}
	for i, b := range boxes {
		c := b.Center()
		t.order[i] = i
		codes[i] = spread(grid(c[0])) | spread(grid(c[1]))<<1
	}
	slices.SortStableFunc(t.order, func(a, b int) int {
		switch {
		case codes[a] < codes[b]:
			return -1
		case codes[a] > codes[b]:
			return 1
		}
		return 0
	})
	floor := make([]orb.Bound, len(boxes))
	for k, i := range t.order {
		floor[k] = boxes[i]
	}
	t.floors = [][]orb.Bound{floor}
	for len(floor) > fanout {
		var next []orb.Bound
		for k := 0; k < len(floor); k += fanout {
			u := floor[k]
			for _, b := range floor[k+1 : min(k+fanout, len(floor))] {
				u = u.Union(b)
			}
			next = append(next, u)
		}
		t.floors, floor = append(t.floors, next), next
	}
	return t
}

// spread puts a zero between the 20 bits of v.
func spread(v uint64) (out uint64) {
	for i := range 20 {
		out |= v >> i & 1 << (2 * i)
	}
	return out
}

// hits returns the numbers of the boxes that share an area with b, in increasing order.
func (t tree) hits(b orb.Bound) []int {
	var out []int
	for turn := range 2 { // a box over the world's edge lies east of it
		shifted := orb.Bound{Min: orb.Point{b.Min[0] + float64(turn)*2*geo.Half, b.Min[1]}, Max: orb.Point{b.Max[0] + float64(turn)*2*geo.Half, b.Max[1]}}
		top := len(t.floors) - 1
		for k := range t.floors[top] {
			out = t.descend(top, k, shifted, out)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (t tree) descend(floor, k int, b orb.Bound, out []int) []int {
	o := t.floors[floor][k]
	if o.Min[0] >= b.Max[0] || o.Max[0] <= b.Min[0] || o.Min[1] >= b.Max[1] || o.Max[1] <= b.Min[1] {
		return out
	}
	if floor == 0 {
		return append(out, t.order[k])
	}
	for c := k * fanout; c < min((k+1)*fanout, len(t.floors[floor-1])); c++ {
		out = t.descend(floor-1, c, b, out)
	}
	return out
}
