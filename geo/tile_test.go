package geo_test

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
)

func TestParseTile(t *testing.T) {
	big := strings.Repeat("9", 5000)
	for _, c := range []struct {
		z, x, y string
		want    maptile.Tile
		err     error
	}{
		{"0", "0", "0", maptile.New(0, 0, 0), nil},
		{"14", "8389", "5420", maptile.New(8389, 5420, 14), nil},
		{"30", "1073741823", "1073741823", maptile.New(1<<30-1, 1<<30-1, 30), nil},
		{"0", "1", "0", maptile.Tile{}, tilescout.ErrOutOfRange},
		{"3", "0", "8", maptile.Tile{}, tilescout.ErrOutOfRange},
		{"31", "0", "0", maptile.Tile{}, tilescout.ErrOutOfRange},
		{"999", "0", "0", maptile.Tile{}, tilescout.ErrOutOfRange},
		{"1", "4294967296", "0", maptile.Tile{}, tilescout.ErrOutOfRange},
		{"1", "18446744073709551616", "0", maptile.Tile{}, tilescout.ErrOutOfRange},
		{big, big, big, maptile.Tile{}, tilescout.ErrOutOfRange},
		{"", "0", "0", maptile.Tile{}, tilescout.ErrBadInput},
		{"1", "-1", "0", maptile.Tile{}, tilescout.ErrBadInput},
		{"1", "+1", "0", maptile.Tile{}, tilescout.ErrBadInput},
		{"1", "01", "0", maptile.Tile{}, tilescout.ErrBadInput},
		{"1", "1.0", "0", maptile.Tile{}, tilescout.ErrBadInput},
		{"1", "0x1", "0", maptile.Tile{}, tilescout.ErrBadInput},
		{"1", "1_0", "0", maptile.Tile{}, tilescout.ErrBadInput},
		{"1", "١", "0", maptile.Tile{}, tilescout.ErrBadInput}, // a digit, but not ours
	} {
		got, err := geo.ParseTile(c.z, c.x, c.y)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("ParseTile(%.20s, %.20s, %.20s) = %v, %v, want %v, %v", c.z, c.x, c.y, got, err, c.want, c.err)
		}
		if err != nil && len(err.Error()) > 200 {
			t.Errorf("ParseTile(%.20s…): error of %d characters", c.z, len(err.Error()))
		}
	}
}

func FuzzTilePath(f *testing.F) {
	f.Add("0", "0", "0")
	f.Add("30", "1073741823", "0")
	f.Add("31", "-1", "99999999999999999999")
	f.Fuzz(func(t *testing.T, z, x, y string) {
		tile, err := geo.ParseTile(z, x, y)
		if err != nil {
			if !errors.Is(err, tilescout.ErrBadInput) && !errors.Is(err, tilescout.ErrOutOfRange) {
				t.Fatalf("ParseTile(%q, %q, %q): error without a kind: %v", z, x, y, err)
			}
			return
		}
		if tile.Z > geo.MaxZoom || !tile.Valid() {
			t.Fatalf("ParseTile(%q, %q, %q) = %v is no tile", z, x, y, tile)
		}
		if strconv.Itoa(int(tile.Z)) != z || strconv.Itoa(int(tile.X)) != x || strconv.Itoa(int(tile.Y)) != y {
			t.Fatalf("ParseTile(%q, %q, %q) = %v has a second name", z, x, y, tile)
		}
	})
}

func TestBound(t *testing.T) {
	for _, c := range []struct {
		tile maptile.Tile
		want orb.Bound
	}{
		{maptile.New(0, 0, 0), orb.Bound{Min: orb.Point{-180, -geo.MaxLat}, Max: orb.Point{180, geo.MaxLat}}},
		{maptile.New(1, 2, 2), orb.Bound{Min: orb.Point{-90, -66.51326044311186}, Max: orb.Point{0, 0}}},
		{maptile.New(1<<30-1, 1<<30-1, 30), orb.Bound{
			Min: orb.Point{180 - 360.0/(1<<30), -geo.MaxLat}, Max: orb.Point{180, -85.05112875090518}}},
	} {
		got := geo.Bound(c.tile)
		for i := range 2 {
			if math.Abs(got.Min[i]-c.want.Min[i]) > 1e-12 || math.Abs(got.Max[i]-c.want.Max[i]) > 1e-9 {
				t.Errorf("Bound(%v) = %v, want %v", c.tile, got, c.want)
			}
		}
	}
	a, b := geo.Bound(maptile.New(5, 6, 11)), geo.Bound(maptile.New(6, 7, 11))
	if a.Max[0] != b.Min[0] || a.Min[1] != b.Max[1] {
		t.Errorf("neighbours %v and %v do not share their corner", a, b)
	}
}

func TestGroundResolution(t *testing.T) {
	for _, c := range []struct {
		lat  float64
		z    maptile.Zoom
		size int
		want float64
	}{
		{0, 0, 256, 156543.03392804097},
		{0, 0, 512, 78271.51696402048},
		{60, 18, 256, 0.298582141647617},
		{0, 30, 256, 0.000145792061},
	} {
		if got := geo.GroundResolution(c.lat, c.z, c.size); math.Abs(got-c.want) > 1e-6*c.want {
			t.Errorf("GroundResolution(%v, %d, %d) = %v, want %v", c.lat, c.z, c.size, got, c.want)
		}
	}
	for _, lat := range []float64{-85, 0, 51.9, 85} {
		for _, z := range []maptile.Zoom{0, 17, 30} {
			if got := geo.ZoomFor(lat, geo.GroundResolution(lat, z, 256)); math.Abs(got-float64(z)) > 1e-9 {
				t.Errorf("ZoomFor(%v, GroundResolution(…%d)) = %v", lat, z, got)
			}
		}
	}
}

func TestParseBBox(t *testing.T) {
	for _, c := range []struct {
		in     string
		want   geo.BBox
		bounds int
		ok     bool
	}{
		{"4.3,51.8,4.4,51.9", geo.BBox{West: 4.3, South: 51.8, East: 4.4, North: 51.9}, 1, true},
		{" 4.3, 51.8 ,4.4,51.9", geo.BBox{West: 4.3, South: 51.8, East: 4.4, North: 51.9}, 1, true},
		{"177,-19,-178,-16", geo.BBox{West: 177, South: -19, East: -178, North: -16}, 2, true},
		{"180,0,-180,1", geo.BBox{West: 180, South: 0, East: -180, North: 1}, 1, true},
		{"-180,-90,180,90", geo.BBox{West: -180, South: -90, East: 180, North: 90}, 1, true},
		{"0,0,0,0", geo.BBox{}, 1, true},
		{"1e1,0,2e1,1", geo.BBox{West: 10, South: 0, East: 20, North: 1}, 1, true},
		{"", geo.BBox{}, 0, false},
		{"1,2,3", geo.BBox{}, 0, false},
		{"1,2,3,4,5", geo.BBox{}, 0, false},
		{"1,5,3,4", geo.BBox{}, 0, false},
		{"-181,0,1,1", geo.BBox{}, 0, false},
		{"0,0,1,91", geo.BBox{}, 0, false},
		{"nan,0,1,1", geo.BBox{}, 0, false},
		{"0,0,inf,1", geo.BBox{}, 0, false},
		{"0x1p1,0,3,1", geo.BBox{}, 0, false},
		{"a,b,c,d", geo.BBox{}, 0, false},
		{strings.Repeat("1", 10000), geo.BBox{}, 0, false},
	} {
		got, err := geo.ParseBBox(c.in)
		if got != c.want || (err == nil) != c.ok || (err != nil && !errors.Is(err, tilescout.ErrBadInput)) {
			t.Errorf("ParseBBox(%.30q) = %v, %v, want %v, ok %v", c.in, got, err, c.want, c.ok)
		}
		if c.ok && len(got.Bounds()) != c.bounds {
			t.Errorf("ParseBBox(%q).Bounds() = %v, want %d of them", c.in, got.Bounds(), c.bounds)
		}
	}
	got := geo.BBox{West: 177, South: -19, East: -178, North: -16}.Bounds()
	if got[0] != (orb.Bound{Min: orb.Point{177, -19}, Max: orb.Point{180, -16}}) ||
		got[1] != (orb.Bound{Min: orb.Point{-180, -19}, Max: orb.Point{-178, -16}}) {
		t.Errorf("across 180°: Bounds() = %v", got)
	}
}

func FuzzBBox(f *testing.F) {
	for _, s := range []string{"1,2,3,4", "177,-19,-178,-16", "nan,0,1,1", ",,,", "1e308,0,1,1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := geo.ParseBBox(s)
		if err != nil {
			if !errors.Is(err, tilescout.ErrBadInput) {
				t.Fatalf("ParseBBox(%q): error without a kind: %v", s, err)
			}
			return
		}
		for _, o := range b.Bounds() {
			if !(o.Min[0] >= -180 && o.Min[0] <= o.Max[0] && o.Max[0] <= 180 && o.Min[1] >= -90 && o.Min[1] <= o.Max[1] && o.Max[1] <= 90) {
				t.Fatalf("ParseBBox(%q).Bounds() has %v", s, o)
			}
			if n := geo.CoverCount(o, 6); n < 0 || n > 4096 {
				t.Fatalf("CoverCount(%v, 6) = %d", o, n)
			}
		}
	})
}

func TestWebMercatorQuad(t *testing.T) {
	s := geo.WebMercatorQuad()
	for _, c := range []struct {
		z           maptile.Zoom
		size        int
		denominator float64
		width       uint64
	}{
		{0, 256, 559082264.0287178, 1},
		{18, 256, 2132.729583849784, 1 << 18}, // OGC 07-057r7, annex E.4
		{0, 512, 559082264.0287178 / 2, 1},
		{30, 256, 559082264.0287178 / (1 << 30), 1 << 30},
	} {
		m := s.Matrix(c.z, c.size)
		if math.Abs(m.ScaleDenominator/c.denominator-1) > 1e-12 || m.Width != c.width || m.Height != c.width || m.TileWidth != c.size {
			t.Errorf("Matrix(%d, %d) = %+v, want denominator %v, width %d", c.z, c.size, m, c.denominator, c.width)
		}
	}
	if m := s.Matrix(0, 256); math.Abs(m.TopLeft[1]-20037508.3427892) > 1e-6 || math.Abs(m.CellSize-156543.033928041) > 1e-8 {
		t.Errorf("Matrix(0, 256) = %+v", m)
	}
}
