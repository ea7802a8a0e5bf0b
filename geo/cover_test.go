package geo_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout/geo"
)

func bound(w, s, e, n float64) orb.Bound {
	return orb.Bound{Min: orb.Point{w, s}, Max: orb.Point{e, n}}
}

func TestCover(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		name  string
		bound orb.Bound
		z     maptile.Zoom
		want  int
	}{
		{"world at 0", bound(-180, -90, 180, 90), 0, 1},
		{"world at 3", bound(-180, -90, 180, 90), 3, 64},
		{"beyond the world", bound(-1000, -1000, 1000, 1000), 2, 16},
		{"one tile", geo.Bound(maptile.New(1, 2, 2)), 2, 1},
		{"one tile, three zooms deeper", geo.Bound(maptile.New(1, 2, 2)), 5, 64},
		{"one tile at 30", geo.Bound(maptile.New(1<<30-1, 12345, 30)), 30, 1},
		{"point", bound(4, 52, 4, 52), 14, 1},
		{"point at the south-east corner", bound(180, -90, 180, -85), 9, 1},
		{"point on 180°", bound(180, 0, 180, 0), 4, 1},
		{"point at the origin", bound(0, 0, 0, 0), 1, 1},
		{"north pole", bound(-180, 86, 180, 90), 3, 0},
		{"west of east", bound(170, 0, -170, 1), 3, 0},
		{"not a number", bound(nan, 0, 1, 1), 3, 0},
		{"west of the world", bound(-400, 0, -300, 1), 3, 0},
		{"zoom 31", bound(0, 0, 1, 1), 31, 0},
		{"equator line", bound(-180, 0, 180, 0), 2, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := geo.CoverCount(c.bound, c.z); got != c.want {
				t.Errorf("CoverCount(%v, %d) = %d, want %d", c.bound, c.z, got, c.want)
			}
			n := 0
			var last maptile.Tile
			for tile := range geo.Cover(c.bound, c.z) {
				if !tile.Valid() || tile.Z != c.z {
					t.Fatalf("Cover yields %v", tile)
				}
				if n > 0 && (tile.Y < last.Y || tile.Y == last.Y && tile.X <= last.X) {
					t.Fatalf("Cover yields %v after %v: not row by row", tile, last)
				}
				last = tile
				n++
			}
			if n != c.want {
				t.Errorf("Cover(%v, %d) yields %d tiles, want %d", c.bound, c.z, n, c.want)
			}
		})
	}
	if got := geo.CoverCount(bound(-180, -90, 180, 90), 30); got != 1<<60 {
		t.Errorf("CoverCount(world, 30) = %d, want 2^60", got)
	}
	for range geo.Cover(bound(-180, -90, 180, 90), 30) {
		break // stops although there are 2^60
	}
}

func TestCoverOfEachTileIsItself(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		z := maptile.Zoom(r.IntN(31))
		tile := maptile.New(r.Uint32N(1<<z), r.Uint32N(1<<z), z)
		got := slices.Collect(geo.Cover(geo.Bound(tile), z))
		if len(got) != 1 || got[0] != tile {
			t.Fatalf("Cover(Bound(%v)) = %v", tile, got)
		}
	}
}

func FuzzMorton(f *testing.F) {
	f.Add(uint32(0), uint32(0), uint8(0))
	f.Add(uint32(1<<30-1), uint32(5), uint8(30))
	f.Fuzz(func(t *testing.T, x, y uint32, z8 uint8) {
		z := maptile.Zoom(z8 % 31)
		tile := maptile.New(x&(1<<z-1), y&(1<<z-1), z)
		code := geo.Morton(tile)
		if code != tile.Quadkey() {
			t.Fatalf("Morton(%v) = %#x, orb says %#x", tile, code, tile.Quadkey())
		}
		if code>>(2*z) != 0 {
			t.Fatalf("Morton(%v) = %#x has more than %d bits", tile, code, 2*z)
		}
		if got := geo.FromMorton(code, z); got != tile {
			t.Fatalf("FromMorton(Morton(%v)) = %v", tile, got)
		}
		if z > 0 && geo.Morton(tile.Parent()) != code>>2 {
			t.Fatalf("Morton(parent of %v) = %#x, want %#x", tile, geo.Morton(tile.Parent()), code>>2)
		}
	})
}

func TestRanges(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	bounds := func() []orb.Bound {
		w, s := r.Float64()*360-180, r.Float64()*170-85
		b := geo.BBox{West: w, South: s, East: w + r.Float64()*90, North: min(90, s+r.Float64()*40)}
		if b.East > 180 {
			b.East -= 360
		}
		return b.Bounds()
	}
	for i := range 300 {
		z := maptile.Zoom(r.IntN(8))
		bs := bounds()
		want := map[uint64]bool{}
		for _, b := range bs {
			for tile := range geo.Cover(b, z) {
				want[geo.Morton(tile)] = true
			}
		}
		for _, max := range []int{0, 1, 3, 16, 1 << 20} {
			got := geo.Ranges(bs, z, max)
			if len(got) > max && len(got) > 1 {
				t.Fatalf("%d: Ranges(%v, %d, %d) gives %d", i, bs, z, max, len(got))
			}
			covered := 0
			for j, g := range got {
				if g.From >= g.To || g.To > 1<<(2*z) || j > 0 && g.From <= got[j-1].To {
					t.Fatalf("%d: Ranges(%v, %d, %d) = %v: not sorted, apart and within the zoom", i, bs, z, max, got)
				}
				for c := g.From; c < g.To; c++ {
					if want[c] {
						covered++
					} else if max == 1<<20 {
						t.Fatalf("%d: Ranges(%v, %d) covers %v, outside", i, bs, z, geo.FromMorton(c, z))
					}
				}
			}
			if covered != len(want) {
				t.Fatalf("%d: Ranges(%v, %d, %d) covers %d of %d tiles", i, bs, z, max, covered, len(want))
			}
		}
	}
	if got := geo.Ranges([]orb.Bound{bound(-180, -90, 180, 90)}, 30, 10); len(got) != 1 || got[0] != (geo.Range{From: 0, To: 1 << 60}) {
		t.Errorf("Ranges(world, 30) = %v", got)
	}
	if got := geo.Ranges(nil, 5, 10); got != nil {
		t.Errorf("Ranges(nothing) = %v", got)
	}
	got := geo.Ranges([]orb.Bound{bound(4.1, 51.8, 4.7, 52.1)}, 20, 64)
	total := uint64(0)
	for _, g := range got {
		total += g.To - g.From
	}
	if exact := geo.CoverCount(bound(4.1, 51.8, 4.7, 52.1), 20); len(got) > 64 || total > uint64(exact)*3/2 {
		t.Errorf("64 ranges cover %d codes for %d tiles: too loose", total, exact)
	}
}

func BenchmarkRanges(b *testing.B) {
	bs := geo.BBox{West: 177, South: -19, East: -178, North: -16}.Bounds()
	for b.Loop() {
		geo.Ranges(bs, 18, 256)
	}
}
