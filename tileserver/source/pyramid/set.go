package pyramid

import (
	"math"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout/geo"
)

// Set is a tile matrix set in a CRS that we can project.
type Set struct {
	ID       string
	CRS      geo.CRS
	Matrices []Matrix
}

// Matrix is one scale of a set.
type Matrix struct {
	ID                    string
	Resolution            float64 // units of the CRS per pixel
	X, Y                  float64 // of the upper left corner, x eastwards first
	TileWidth, TileHeight int     // pixels
	MinCol, MaxCol        int64   // tiles that exist, both ends included
	MinRow, MaxRow        int64
}

// Valid tells whether numbers are such that no computation with them overflows or loses its sense.
func (m Matrix) Valid() bool {
	const far = 1e9 // units of any CRS; the earth is 4e7 m round
	finite := m.Resolution > 1e-9 && m.Resolution < far && math.Abs(m.X) < far && math.Abs(m.Y) < far
	return finite && m.TileWidth >= 16 && m.TileHeight >= 16 && m.TileWidth <= 4096 && m.TileHeight <= 4096 &&
		m.MinCol >= 0 && m.MinRow >= 0 && m.MaxCol >= m.MinCol && m.MaxRow >= m.MinRow && m.MaxCol < 1<<32 && m.MaxRow < 1<<32
}

func (m Matrix) holds(col, row int64) bool {
	return col >= m.MinCol && col <= m.MaxCol && row >= m.MinRow && row <= m.MaxRow
}

// direct is a zoom of web maps that a matrix holds tile by tile: column and row are those of web maps less an offset.
type direct struct {
	matrix   int
	col, row int64
}

// direct returns the zooms that the set holds as web maps want them.
func (s Set) direct() map[maptile.Zoom]direct {
	found := map[maptile.Zoom]direct{}
	if s.CRS.EPSG != 3857 {
		return found
	}
	for i, m := range s.Matrices {
		if z, d, ok := m.direct(); ok {
			d.matrix = i
			if old, there := found[z]; !there || m.TileWidth == 256 && s.Matrices[old.matrix].TileWidth != 256 {
				found[z] = d
			}
		}
	}
	return found
}

// direct compares with the grid of web maps. Documents round their numbers: a scale within a ten-thousandth is meant to
// be the zoom's own, and a corner within a metre of the world's is the world's.
func (m Matrix) direct() (maptile.Zoom, direct, bool) {
	if m.TileWidth != m.TileHeight || m.TileWidth != 256 && m.TileWidth != 512 {
		return 0, direct{}, false
	}
	exact := math.Log2(2 * geo.Half / (m.Resolution * float64(m.TileWidth)))
	z := math.Round(exact)
	if z < 0 || z > float64(geo.MaxZoom) || math.Abs(math.Exp2(exact-z)-1) > 1e-4 {
		return 0, direct{}, false
	}
	side := math.Ldexp(2*geo.Half, -int(z))
	col, row := (m.X+geo.Half)/side, (geo.Half-m.Y)/side
	corner := math.Abs(m.X+geo.Half) < 1 && math.Abs(m.Y-geo.Half) < 1
	half := 0.5 / float64(m.TileWidth) // of a pixel
	if !corner && (math.Abs(col-math.Round(col)) > half || math.Abs(row-math.Round(row)) > half) {
		return 0, direct{}, false
	}
	return maptile.Zoom(z), direct{col: int64(math.Round(col)), row: int64(math.Round(row))}, true
}

// finest returns the smallest resolution.
func (s Set) finest() float64 {
	fine := math.Inf(1)
	for _, m := range s.Matrices {
		fine = min(fine, m.Resolution)
	}
	return fine
}

// bounds returns where the set has tiles, in degrees; nil where that cannot be said.
func (s Set) bounds() []orb.Bound {
	var all orb.Bound
	for i, m := range s.Matrices {
		w, h := m.Resolution*float64(m.TileWidth), m.Resolution*float64(m.TileHeight)
		x0, x1 := m.X+w*float64(m.MinCol), m.X+w*float64(m.MaxCol+1)
		y0, y1 := m.Y-h*float64(m.MaxRow+1), m.Y-h*float64(m.MinRow)
		if s.CRS.EPSG == 3857 {
			x0, x1, y0, y1 = max(x0, -geo.Half), min(x1, geo.Half), max(y0, -geo.Half), min(y1, geo.Half)
		}
		b, ok := Degrees(s.CRS, x0, y0, x1, y1)
		if !ok || b.IsEmpty() {
			return nil
		}
		if i == 0 {
			all = b
		} else {
			all = all.Union(b)
		}
	}
	return []orb.Bound{all}
}

// Rank orders sets by how well they suit web maps: more is better.
func (s Set) Rank() int {
	rank := min(len(s.Matrices), 99)
	switch n := len(s.direct()); {
	case n > 0 && 2*n >= len(s.Matrices):
		rank = 300 + min(n, 99)
	case s.CRS.EPSG == 3857:
		rank += 200
	case s.CRS.Geographic:
		rank += 100
	}
	return rank
}

// Covers tells whether the set has tiles where bounds are; true where nothing is known of either.
func (s Set) Covers(bounds []orb.Bound) bool {
	own := s.bounds()
	if len(own) == 0 {
		return false
	}
	if len(bounds) == 0 {
		return true
	}
	for _, b := range bounds {
		for _, o := range own {
			if o.Intersects(b) {
				return true
			}
		}
	}
	return false
}
