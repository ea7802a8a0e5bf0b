package geo_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"
	"github.com/paulmach/orb/planar"

	"github.com/tilescout/tilescout/geo"
)

// draw turns a drawing into the tiles that are marked # in it, at zoom 4 from column 3, row 5.
func draw(rows ...string) []maptile.Tile {
	var out []maptile.Tile
	for y, row := range rows {
		for x, c := range row {
			if c == '#' {
				out = append(out, maptile.New(uint32(3+x), uint32(5+y), 4))
			}
		}
	}
	return out
}

func TestPolygons(t *testing.T) {
	for _, c := range []struct {
		name  string
		tiles []maptile.Tile
		rings []int // rings of each polygon
		verts []int // vertices of each outer ring, closing one included
	}{
		{"none", nil, nil, nil},
		{"one", draw("#"), []int{1}, []int{5}},
		{"twice the same", append(draw("#"), draw("#")...), []int{1}, []int{5}},
		{"bar", draw("####"), []int{1}, []int{5}},
		{"L", draw("#..", "##."), []int{1}, []int{7}},
		{"corner", draw("#.", ".#"), []int{1, 1}, []int{5, 5}},
		{"ring", draw("###", "#.#", "###"), []int{2}, []int{5}},
		{"two holes that meet", draw("####", "#.##", "##.#", "####"), []int{3}, []int{5}},
		{"hole that meets the outside", draw("###", "#.#", "##."), []int{2}, []int{7}},
		{"island in a hole", draw("#####", "#...#", "#.#.#", "#...#", "#####"), []int{2, 1}, []int{5, 5}},
		{"world", allTiles(2), []int{1}, []int{5}},
		{"zoom 0", []maptile.Tile{{}}, []int{1}, []int{5}},
		{"across 180°", []maptile.Tile{maptile.New(0, 3, 3), maptile.New(7, 3, 3)}, []int{1, 1}, []int{5, 5}},
		{"last of zoom 30", []maptile.Tile{maptile.New(1<<30-1, 1<<30-1, 30)}, []int{1}, []int{5}},
		{"no tile", []maptile.Tile{maptile.New(9, 9, 1)}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := geo.Polygons(c.tiles)
			if len(got) != len(c.rings) {
				t.Fatalf("%d polygons, want %d: %v", len(got), len(c.rings), got)
			}
			for i, p := range got {
				if len(p) != c.rings[i] || len(p[0]) != c.verts[i] {
					t.Errorf("polygon %d has %d rings, outer of %d vertices; want %d, %d", i, len(p), len(p[0]), c.rings[i], c.verts[i])
				}
			}
			checkUnion(t, c.tiles, got)
		})
	}
}

func allTiles(z maptile.Zoom) []maptile.Tile {
	var out []maptile.Tile
	for tile := range geo.Cover(bound(-180, -90, 180, 90), z) {
		out = append(out, tile)
	}
	return out
}

// checkUnion holds the polygons against the tiles by area, winding, closure and the centre of every cell around.
func checkUnion(t *testing.T, tiles []maptile.Tile, polygons orb.MultiPolygon) {
	t.Helper()
	want := 0.0
	in := map[maptile.Tile]bool{}
	for _, tile := range tiles {
		if tile.Valid() && !in[tile] {
			b := geo.Bound(tile)
			want += (b.Max[0] - b.Min[0]) * (b.Max[1] - b.Min[1])
			in[tile] = true
		}
	}
	got := 0.0
	for _, p := range polygons {
		for i, r := range p {
			if r[0] != r[len(r)-1] {
				t.Errorf("ring is not closed: %v", r)
			}
			wantWinding := orb.CCW
			if i > 0 {
				wantWinding = orb.CW
			}
			if r.Orientation() != wantWinding {
				t.Errorf("ring %d has winding %v, want %v", i, r.Orientation(), wantWinding)
			}
			got += planar.Area(orb.Polygon{r}) * float64(wantWinding)
			seen := map[orb.Point]bool{}
			for _, pt := range r[1:] {
				if seen[pt] {
					t.Errorf("ring %d passes %v twice", i, pt)
				}
				seen[pt] = true
			}
		}
	}
	if math.Abs(got-want) > 1e-6*want+1e-18 {
		t.Errorf("area %v, want %v", got, want)
	}
	if len(tiles) == 0 || tiles[0].Z > 5 {
		return
	}
	for _, tile := range allTiles(tiles[0].Z) {
		if planar.MultiPolygonContains(polygons, geo.Bound(tile).Center()) != in[tile] {
			t.Errorf("centre of %v: inside is %v, want %v", tile, !in[tile], in[tile])
		}
	}
}

func TestPolygonsOfRandomTiles(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		density := r.Float64()
		var tiles []maptile.Tile
		for _, tile := range allTiles(3) {
			if r.Float64() < density {
				tiles = append(tiles, tile)
			}
		}
		checkUnion(t, tiles, geo.Polygons(tiles))
		if t.Failed() {
			t.Fatalf("tiles %v", tiles)
		}
	}
}

func TestComponents(t *testing.T) {
	for _, c := range []struct {
		name  string
		tiles []maptile.Tile
		want  []int
	}{
		{"none", nil, nil},
		{"corner joins", draw("#..", ".#.", "..#"), []int{3}},
		{"gap", draw("#.#"), []int{1, 1}},
		{"wraps", []maptile.Tile{maptile.New(0, 3, 3), maptile.New(7, 4, 3), maptile.New(3, 3, 3)}, []int{2, 1}},
		{"rows do not wrap", []maptile.Tile{maptile.New(0, 0, 3), maptile.New(0, 7, 3)}, []int{1, 1}},
		{"zoom 0", []maptile.Tile{{}, {}}, []int{1}},
		{"zoom 30", []maptile.Tile{maptile.New(0, 0, 30), maptile.New(1<<30-1, 0, 30)}, []int{2}},
	} {
		got := geo.Components(c.tiles)
		sizes := make([]string, len(got))
		ok := len(got) == len(c.want)
		for i := range got {
			sizes[i] = strings.Repeat("#", len(got[i]))
			ok = ok && len(got[i]) == c.want[i]
		}
		if !ok {
			t.Errorf("%s: Components = %v, want sizes %v", c.name, sizes, c.want)
		}
	}
}

func BenchmarkPolygons(b *testing.B) {
	r := rand.New(rand.NewPCG(7, 8))
	var tiles []maptile.Tile
	for _, tile := range allTiles(7) {
		if r.Float64() < 0.6 {
			tiles = append(tiles, tile)
		}
	}
	for b.Loop() {
		geo.Polygons(tiles)
	}
	b.ReportMetric(float64(b.N*len(tiles))/b.Elapsed().Seconds(), "tiles/s")
}
