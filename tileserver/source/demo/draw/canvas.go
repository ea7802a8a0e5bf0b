package draw

import "math"

// Pt is a place in metres: x east, y south of the picture's upper left corner.
type Pt struct{ X, Y float32 }

// Box is an axis-parallel rectangle in metres.
type Box struct{ X0, Y0, X1, Y1 float32 }

// Overlaps says whether the two share a point.
func (b Box) Overlaps(o Box) bool { return b.X0 < o.X1 && o.X0 < b.X1 && b.Y0 < o.Y1 && o.Y0 < b.Y1 }

// Shape is anything that can be painted.
type Shape interface {
	Bounds() Box
	Paint(c *Canvas)
}

// Canvas is a block of the picture with its margin: colour and height a pixel.
type Canvas struct {
	X0, Y0 int     // upper left pixel in the picture
	W, H   int     // pixels
	GSD    float32 // metres a pixel
	Noise  *Noise
	Pix    []RGB     // W×H
	Hgt    []float32 // W×H, metres over the ground

	acc  []float32 // coverage differences of the shape being filled
	pts  []Pt      // the shape being filled, in pixels
	fill fillBox
}

type fillBox struct{ x0, y0, x1, y1 int }

// NewCanvas makes a canvas for blocks of at most w×h pixels.
func NewCanvas(w, h int, gsd float32, n *Noise) *Canvas {
	return &Canvas{W: w, H: h, GSD: gsd, Noise: n, Pix: make([]RGB, w*h), Hgt: make([]float32, w*h), acc: make([]float32, (w+3)*(h+1))}
}

// Reset moves the canvas; w×h must not exceed what it was made for.
func (c *Canvas) Reset(x0, y0, w, h int) {
	c.X0, c.Y0, c.W, c.H = x0, y0, w, h
	c.Pix, c.Hgt = c.Pix[:w*h], c.Hgt[:w*h]
	clear(c.Hgt)
}

// Bounds is the canvas in metres.
func (c *Canvas) Bounds() Box {
	return Box{float32(c.X0) * c.GSD, float32(c.Y0) * c.GSD, float32(c.X0+c.W) * c.GSD, float32(c.Y0+c.H) * c.GSD}
}

// Cover rasterises closed rings (non-zero winding, exact area coverage) and hands over every row of the
// result: the canvas row, its first column and the coverage 0…1 of each pixel.
func (c *Canvas) Cover(rings [][]Pt, row func(y, x int, cov []float32)) {
	inv := 1 / c.GSD
	minX, minY := float32(math.MaxFloat32), float32(math.MaxFloat32)
	maxX, maxY := -minX, -minY
	for _, ring := range rings {
		for _, p := range ring {
			minX, maxX = min(minX, p.X), max(maxX, p.X)
			minY, maxY = min(minY, p.Y), max(maxY, p.Y)
		}
	}
	ox, oy := float32(c.X0), float32(c.Y0)
	b := fillBox{max(0, floor(minX*inv-ox)), max(0, floor(minY*inv-oy)), min(c.W, floor(maxX*inv-ox)+1), min(c.H, floor(maxY*inv-oy)+1)}
	if b.x0 >= b.x1 || b.y0 >= b.y1 {
		return
	}
	c.fill = b
	w := b.x1 - b.x0 + 2
	acc := c.acc[:w*(b.y1-b.y0)]
	clear(acc)
	fx, fy := ox+float32(b.x0), oy+float32(b.y0)
	for _, ring := range rings {
		last := ring[len(ring)-1]
		px, py := last.X*inv-fx, last.Y*inv-fy
		for _, p := range ring {
			qx, qy := p.X*inv-fx, p.Y*inv-fy
			c.edge(acc, w, px, py, qx, qy)
			px, py = qx, qy
		}
	}
	for y := b.y0; y < b.y1; y++ {
		cov := acc[(y-b.y0)*w : (y-b.y0+1)*w]
		sum := float32(0)
		any := false
		for i, d := range cov {
			sum += d
			v := sum
			if v < 0 {
				v = -v
			}
			if v > 1 {
				v = 1
			} else if v < 1.0/256 {
				v = 0
			}
			cov[i] = v
			any = any || v > 0
		}
		if any {
			row(y, b.x0, cov[:b.x1-b.x0])
		}
	}
}

// edge adds the signed area left of one edge (the accumulation buffer method of font-rs).
func (c *Canvas) edge(acc []float32, w int, x0, y0, x1, y1 float32) {
	if y0 == y1 {
		return
	}
	dir := float32(1)
	if y0 > y1 {
		dir = -1
		x0, y0, x1, y1 = x1, y1, x0, y0
	}
	rows := c.fill.y1 - c.fill.y0
	if y1 <= 0 || y0 >= float32(rows) {
		return
	}
	dxdy := (x1 - x0) / (y1 - y0)
	x := x0
	if y0 < 0 {
		x -= y0 * dxdy
		y0 = 0
	}
	last := min(rows, floor(y1)+1)
	limit := w - 2
	for y := int(y0); y < last; y++ {
		top, bottom := max(float32(y), y0), min(float32(y+1), y1)
		dy := bottom - top
		if dy <= 0 {
			continue
		}
		next := x + dxdy*dy
		d := dy * dir
		a, b := x, next
		if a > b {
			a, b = b, a
		}
		x = next
		line := acc[y*w : (y+1)*w]
		if b <= 0 {
			line[0] += d
			continue
		}
		ai, bi := floor(a), floor(b)
		if ai >= limit {
			continue
		}
		if ai == bi { // one pixel wide
			f := 0.5*(a+b) - float32(ai)
			put(line, limit, ai, d-d*f)
			put(line, limit, ai+1, d*f)
			continue
		}
		s := d / (b - a)
		// The part in each column, then what is left for the column after.
		fa := a - float32(ai)
		first := 0.5 * s * (1 - fa) * (1 - fa)
		put(line, limit, ai, first)
		prev := first
		for i := ai + 1; i < bi; i++ {
			area := s * (float32(i) + 0.5 - a)
			put(line, limit, i, area-prev)
			prev = area
		}
		fb := b - float32(bi)
		area := d - 0.5*s*fb*fb
		put(line, limit, bi, area-prev)
		put(line, limit, bi+1, d-area)
	}
}

func put(line []float32, limit, i int, v float32) {
	if i < 0 {
		i = 0
	}
	if i <= limit {
		line[i] += v
	}
}

func floor(v float32) int {
	i := int(v)
	if float32(i) > v {
		i--
	}
	return i
}

// Blend paints rings with a material. height ≥ 0 becomes the height of the covered pixels, below 0 leaves it.
func (c *Canvas) Blend(rings [][]Pt, m *Mat, height float32) {
	c.Cover(rings, func(y, x int, cov []float32) {
		py := c.Y0 + y
		fy := (float32(py) + 0.5) * c.GSD
		row := c.Pix[y*c.W+x : y*c.W+x+len(cov)]
		hgt := c.Hgt[y*c.W+x : y*c.W+x+len(cov)]
		for i, k := range cov {
			if k == 0 {
				continue
			}
			px := c.X0 + x + i
			col := m.At(c.Noise, (float32(px)+0.5)*c.GSD, fy, px, py)
			if k < 1 {
				col = row[i].Mix(col, k)
			}
			row[i] = col
			if height >= 0 && k > 0.45 {
				hgt[i] = height
			}
		}
	})
}
