package plugin

import (
	"image"
	"image/color"
	"math"

	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout/plugin/search"
)

// Style is how an overlay shows scores.
type Style string

// The styles of an overlay.
const (
	Heat    Style = "heat"    // a smooth field
	Grid    Style = "grid"    // the index tiles themselves
	Outline Style = "outline" // the borders of what matches, for print
)

// maxCells bounds the cells along a side of an overlay tile: below that, cells are pooled by maximum, so a
// single match stays visible from far above.
const maxCells = 64

// field is the scores beneath and around one overlay tile on a square grid of cells with a border one cell
// wide: what is needed to draw without seams.
type field struct {
	n      int     // cells along the tile's side
	offset float64 // of the tile's north-western corner in the cell that holds it, 0…1 (overzoom)
	offY   float64
	span   float64 // cells along the tile's side, a fraction when the tile is inside one cell
	value  []float32
	known  []bool
}

func (f *field) at(x, y int) int { return (y+1)*(f.n+2) + x + 1 }

// newField reads the scores for overlay tile t. looked says of an index tile without score whether there is
// nothing to look at.
func newField(s *search.Scores, t maptile.Tile, looked func(maptile.Tile) bool) *field {
	if t.Z >= s.Zoom {
		return overzoomed(s, t, looked)
	}
	depth := uint(s.Zoom - t.Z)
	pool := uint(0) // halvings from index tiles to cells
	for depth-pool > 6 {
		pool++
	}
	n := 1 << (depth - pool)
	f := &field{n: n, span: float64(n), value: make([]float32, (n+2)*(n+2)), known: make([]bool, (n+2)*(n+2))}
	x0, y0 := t.X<<(depth-pool), t.Y<<(depth-pool)
	for tile, p := range s.Under(t) {
		i := f.at(int(tile.X>>pool-x0), int(tile.Y>>pool-y0))
		f.value[i] = max(f.value[i], p)
		f.known[i] = true
	}
	z := s.Zoom - maptile.Zoom(pool)
	for y := -1; y <= n; y++ {
		for x := -1; x <= n; x++ {
			i := f.at(x, y)
			inside := x >= 0 && y >= 0 && x < n && y < n
			switch {
			case inside && (f.known[i] || pool > 0 || looked == nil):
			case inside:
				f.known[i] = looked(shifted(x0, y0, x, y, z))
			case pool > 0: // the border of pooled cells is too small to see: repeat the edge
				j := f.at(min(max(x, 0), n-1), min(max(y, 0), n-1))
				f.value[i], f.known[i] = f.value[j], f.known[j]
			default:
				f.value[i], f.known[i] = s.At(shifted(x0, y0, x, y, z))
			}
		}
	}
	return f
}

// shifted is the cell at (x, y) from (x0, y0), columns wrapped at 180°. Rows off the grid give a tile that
// does not exist, which has no score.
func shifted(x0, y0 uint32, x, y int, z maptile.Zoom) maptile.Tile {
	side := int64(1) << z
	return maptile.New(uint32((int64(x0)+int64(x)+side)%side), uint32(int64(y0)+int64(y)), z)
}

// overzoomed is the field of a tile inside one index tile: that tile and its eight neighbours.
func overzoomed(s *search.Scores, t maptile.Tile, looked func(maptile.Tile) bool) *field {
	depth := uint(t.Z - s.Zoom)
	f := &field{n: 1, value: make([]float32, 9), known: make([]bool, 9)}
	part := float64(uint64(1) << depth)
	f.span = 1 / part
	f.offset = float64(t.X&(1<<depth-1)) / part
	f.offY = float64(t.Y&(1<<depth-1)) / part
	for y := -1; y <= 1; y++ {
		for x := -1; x <= 1; x++ {
			i := f.at(x, y)
			cell := shifted(t.X>>depth, t.Y>>depth, x, y, s.Zoom)
			f.value[i], f.known[i] = s.At(cell)
			if !f.known[i] && looked != nil {
				f.known[i] = looked(cell)
			}
		}
	}
	return f
}

// drawing is what an overlay tile is drawn with.
type drawing struct {
	size    int
	style   Style
	palette *palette
	cut     float64 // scores below are not shown
	line    color.NRGBA
	veil    bool
}

func (d drawing) draw(f *field) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, d.size, d.size))
	switch d.style {
	case Grid:
		d.grid(img, f)
	case Outline:
		d.outline(img, f)
	default:
		d.heat(img, f)
	}
	if d.veil {
		d.hatch(img, f)
	}
	return img
}

// heat interpolates between the centres of the cells, with an eased weight so that a single tile reads as
// a round spot and not as a diamond.
func (d drawing) heat(img *image.NRGBA, f *field) {
	step := f.span / float64(d.size)
	type weight struct {
		lo int
		t  float32
	}
	weights := func(offset float64) []weight {
		out := make([]weight, d.size)
		for i := range out {
			c := offset + (float64(i)+.5)*step - .5
			lo := math.Floor(c)
			t := c - lo
			out[i] = weight{int(lo), float32(t * t * (3 - 2*t))}
		}
		return out
	}
	xs, ys := weights(f.offset), weights(f.offY)
	for py, wy := range ys {
		row := img.Pix[py*img.Stride:]
		top, bottom := f.at(0, wy.lo), f.at(0, wy.lo+1)
		for px, wx := range xs {
			a := f.value[top+wx.lo]
			b := f.value[top+wx.lo+1]
			c := f.value[bottom+wx.lo]
			e := f.value[bottom+wx.lo+1]
			a += (b - a) * wx.t
			c += (e - c) * wx.t
			v := a + (c-a)*wy.t
			col := d.palette[uint8(v*255+.5)]
			if col.A == 0 {
				continue
			}
			o := row[px*4 : px*4+4 : px*4+4]
			o[0], o[1], o[2], o[3] = col.R, col.G, col.B, col.A
		}
	}
}

// cellRect is the pixels of a cell; for a tile inside one cell it reaches beyond the tile.
func (d drawing) cellRect(f *field, x, y int) image.Rectangle {
	scale := float64(d.size) / f.span
	px := func(c, offset float64) int { return int(math.Round((c - offset) * scale)) }
	return image.Rect(
		px(float64(x), f.offset), px(float64(y), f.offY),
		px(float64(x+1), f.offset), px(float64(y+1), f.offY))
}

func fill(img *image.NRGBA, r image.Rectangle, c color.NRGBA) {
	r = r.Intersect(img.Rect)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		row := img.Pix[y*img.Stride+r.Min.X*4 : y*img.Stride+r.Max.X*4]
		for i := 0; i < len(row); i += 4 {
			row[i], row[i+1], row[i+2], row[i+3] = c.R, c.G, c.B, c.A
		}
	}
}

func (d drawing) grid(img *image.NRGBA, f *field) {
	for y := range f.n {
		for x := range f.n {
			v := f.value[f.at(x, y)]
			c := d.palette[uint8(v*255+.5)]
			if c.A == 0 {
				continue
			}
			r := d.cellRect(f, x, y)
			fill(img, r, c)
			if r.Dx() >= 16 {
				edge := c
				edge.A = uint8(min(254, int(c.A)+60))
				frame(img, r, 1, edge)
			}
		}
	}
}

func frame(img *image.NRGBA, r image.Rectangle, w int, c color.NRGBA) {
	fill(img, image.Rect(r.Min.X, r.Min.Y, r.Max.X, r.Min.Y+w), c)
	fill(img, image.Rect(r.Min.X, r.Max.Y-w, r.Max.X, r.Max.Y), c)
	fill(img, image.Rect(r.Min.X, r.Min.Y, r.Min.X+w, r.Max.Y), c)
	fill(img, image.Rect(r.Max.X-w, r.Min.Y, r.Max.X, r.Max.Y), c)
}

// outline draws the border between what matches and what does not, white inside and out of a dark line, so
// that it shows on any ground and in print.
func (d drawing) outline(img *image.NRGBA, f *field) {
	halo := color.NRGBA{255, 255, 255, uint8(float64(d.line.A) * .8)}
	thick := max(2, d.size/96)
	for pass, c := range []color.NRGBA{halo, d.line} {
		w := thick * 2
		if pass == 1 {
			w = thick
		}
		for y := range f.n {
			for x := range f.n {
				if float64(f.value[f.at(x, y)]) < d.cut || f.value[f.at(x, y)] == 0 {
					continue
				}
				r := d.cellRect(f, x, y)
				if r.Dx() < 3*w { // too small for a border of its own
					fill(img, r, c)
					continue
				}
				open := func(dx, dy int) bool { return float64(f.value[f.at(x+dx, y+dy)]) < d.cut }
				if open(0, -1) {
					fill(img, image.Rect(r.Min.X, r.Min.Y, r.Max.X, r.Min.Y+w), c)
				}
				if open(0, 1) {
					fill(img, image.Rect(r.Min.X, r.Max.Y-w, r.Max.X, r.Max.Y), c)
				}
				if open(-1, 0) {
					fill(img, image.Rect(r.Min.X, r.Min.Y, r.Min.X+w, r.Max.Y), c)
				}
				if open(1, 0) {
					fill(img, image.Rect(r.Max.X-w, r.Min.Y, r.Max.X, r.Max.Y), c)
				}
			}
		}
	}
}

// hatch lays a light veil over cells that nobody has looked at yet.
func (d drawing) hatch(img *image.NRGBA, f *field) {
	for y := range f.n {
		for x := range f.n {
			if f.known[f.at(x, y)] {
				continue
			}
			r := d.cellRect(f, x, y).Intersect(img.Rect)
			for py := r.Min.Y; py < r.Max.Y; py++ {
				for px := r.Min.X; px < r.Max.X; px++ {
					a := uint8(26)
					if (px+py)%16 < 2 { // 16 divides the tile's side: lines go on in the next tile
						a = 72
					}
					i := img.PixOffset(px, py)
					if img.Pix[i+3] < a {
						img.Pix[i], img.Pix[i+1], img.Pix[i+2], img.Pix[i+3] = 255, 255, 255, a
					}
				}
			}
		}
	}
}
