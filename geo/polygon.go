package geo

import (
	"slices"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"
)

// vertex is a crossing of grid lines; x and y reach 2^z.
type vertex struct{ x, y uint64 }

// Headings in the order in which one turns left, with row numbers growing southwards.
const (
	east = iota
	north
	west
	south
)

func (v vertex) step(heading int) vertex {
	switch heading {
	case east:
		v.x++
	case north:
		v.y--
	case west:
		v.x--
	default:
		v.y++
	}
	return v
}

// Polygons returns the outlines of the union of the tiles, one polygon for each set of tiles joined by edges,
// as RFC 7946 wants them: outer rings counter-clockwise, holes clockwise, closed, cut at the 180° meridian.
// Tiles that meet in a corner only are polygons of their own; rings may touch in points, never cross.
// All tiles have one zoom; those of another zoom than the first are left out.
func Polygons(tiles []maptile.Tile) orb.MultiPolygon {
	cells := oneZoom(tiles)
	if len(cells) == 0 {
		return nil
	}
	z := cells[0].Z
	part, parts := label(cells, []step{{1, 0}, {-1, 0}, {0, 1}, {0, -1}}, false)

	// Edges run with the tile on their left; an edge between two tiles of the set would be run both ways
	// and is left out: what stays are the outlines.
	leaving := make(map[vertex][4]bool)
	has := func(x, y int64) bool {
		side := int64(1) << z
		if x < 0 || y < 0 || x >= side || y >= side {
			return false
		}
		_, ok := part[maptile.New(uint32(x), uint32(y), z)]
		return ok
	}
	add := func(v vertex, heading int) {
		h := leaving[v]
		h[heading] = true
		leaving[v] = h
	}
	for _, t := range cells {
		x, y := int64(t.X), int64(t.Y)
		ux, uy := uint64(t.X), uint64(t.Y)
		if !has(x, y+1) {
			add(vertex{ux, uy + 1}, east)
		}
		if !has(x+1, y) {
			add(vertex{ux + 1, uy + 1}, north)
		}
		if !has(x, y-1) {
			add(vertex{ux + 1, uy}, west)
		}
		if !has(x-1, y) {
			add(vertex{ux, uy}, south)
		}
	}

	out := make(orb.MultiPolygon, parts)
	holes := make([][]orb.Ring, parts)
	for _, t := range cells {
		// Each outline has a northern edge (outer) or, seen from its tile, a southern one (hole).
		for _, start := range []struct {
			v vertex
			h int
		}{{vertex{uint64(t.X) + 1, uint64(t.Y)}, west}, {vertex{uint64(t.X), uint64(t.Y) + 1}, east}} {
			if !leaving[start.v][start.h] {
				continue
			}
			for _, loop := range split(trace(leaving, start.v, start.h)) {
				ring, area := ringOf(loop, z)
				if area > 0 {
					out[part[t]] = orb.Polygon{ring}
				} else {
					holes[part[t]] = append(holes[part[t]], ring)
				}
			}
		}
	}
	for i := range out {
		out[i] = append(out[i], holes[i]...)
	}
	return out
}

// trace follows an outline from v until it is back, turning left where it can, so that it stays on its tile
// where two tiles meet in a corner, and takes the edges out of the map.
func trace(leaving map[vertex][4]bool, v vertex, heading int) []vertex {
	var loop []vertex
	for {
		h := leaving[v]
		h[heading] = false
		if h == [4]bool{} {
			delete(leaving, v)
		} else {
			leaving[v] = h
		}
		loop = append(loop, v)
		v = v.step(heading)
		h, ok := leaving[v]
		if !ok {
			return loop
		}
		switch left, right := (heading+1)%4, (heading+3)%4; {
		case h[left]:
			heading = left
		case h[heading]:
		case h[right]:
			heading = right
		default:
			return loop
		}
	}
}

// split cuts a closed walk that passes a vertex twice into walks that do not.
func split(walk []vertex) [][]vertex {
	var out [][]vertex
	var stack []vertex
	at := make(map[vertex]int)
	for _, v := range walk {
		if i, seen := at[v]; seen {
			out = append(out, slices.Clone(stack[i:]))
			for _, u := range stack[i:] {
				delete(at, u)
			}
			stack = stack[:i]
		}
		at[v] = len(stack)
		stack = append(stack, v)
	}
	return append(out, stack)
}

// ringOf drops the vertices on straight runs and returns the closed ring in degrees with twice its area in
// cells, positive if counter-clockwise as seen on the map.
func ringOf(loop []vertex, z maptile.Zoom) (orb.Ring, int64) {
	ring := make(orb.Ring, 0, 8)
	var area int64
	n := len(loop)
	for i, v := range loop {
		prev, next := loop[(i+n-1)%n], loop[(i+1)%n]
		area -= int64(v.x)*int64(next.y) - int64(next.x)*int64(v.y) // y runs southwards: the sign turns
		if (prev.x == v.x && v.x == next.x) || (prev.y == v.y && v.y == next.y) {
			continue
		}
		ring = append(ring, orb.Point{lonOf(v.x, z), latOf(v.y, z)})
	}
	return append(ring, ring[0]), area
}

// Components returns the tiles as groups connected by edges or corners; columns wrap round the earth. Groups
// and the tiles in them keep the order of the input; a tile given twice is there once. All tiles have one
// zoom; those of another zoom than the first are left out.
func Components(tiles []maptile.Tile) [][]maptile.Tile {
	cells := oneZoom(tiles)
	part, parts := label(cells, []step{{1, 0}, {-1, 0}, {0, 1}, {0, -1}, {1, 1}, {1, -1}, {-1, 1}, {-1, -1}}, true)
	out := make([][]maptile.Tile, parts)
	for _, t := range cells {
		out[part[t]] = append(out[part[t]], t)
	}
	return out
}

type step struct{ x, y int64 }

// label numbers the connected groups of tiles in the order in which they first appear.
func label(tiles []maptile.Tile, steps []step, wrap bool) (part map[maptile.Tile]int, parts int) {
	const none = -1
	part = make(map[maptile.Tile]int, len(tiles))
	for _, t := range tiles {
		part[t] = none
	}
	var queue []maptile.Tile
	for _, first := range tiles {
		if part[first] != none {
			continue
		}
		part[first] = parts
		queue = append(queue[:0], first)
		for len(queue) > 0 {
			t := queue[len(queue)-1]
			queue = queue[:len(queue)-1]
			side := int64(1) << t.Z
			for _, s := range steps {
				x, y := int64(t.X)+s.x, int64(t.Y)+s.y
				if wrap {
					x = (x + side) % side
				}
				if x < 0 || y < 0 || x >= side || y >= side {
					continue
				}
				n := maptile.New(uint32(x), uint32(y), t.Z)
				if p, ok := part[n]; ok && p == none {
					part[n] = parts
					queue = append(queue, n)
				}
			}
		}
		parts++
	}
	return part, parts
}

// oneZoom returns the valid tiles that have the first one's zoom, each once, in order.
func oneZoom(tiles []maptile.Tile) []maptile.Tile {
	seen := make(map[maptile.Tile]struct{}, len(tiles))
	out := make([]maptile.Tile, 0, len(tiles))
	for _, t := range tiles {
		if t.Z != tiles[0].Z || t.Z > MaxZoom || !t.Valid() {
			continue
		}
		if _, dup := seen[t]; !dup {
			seen[t] = struct{}{}
			out = append(out, t)
		}
	}
	return out
}
