package geotiff

import (
	"image"
	"math"
)

// mapping gives, for the centres of a rectangle of the picture, positions in pixels of the grid.
type mapping struct {
	rect      image.Rectangle
	separable bool
	xs, ys    []float64 // of separable mappings: by column, by row

	step   int       // of others: nodes every step pixels
	nx, ny int       // nodes
	nodes  []float64 // col, row of the level at each node
}

// mapping measures a rectangle of the picture. Between a north-up file in degrees or Web Mercator and the
// picture, columns depend on columns and rows on rows only, and all positions are exact. Else positions are
// exact at nodes and linear between; the nodes are set closer until the error is far below GDAL's ⅛ pixel.
func (v *view) mapping(rect image.Rectangle) *mapping {
	m := &mapping{rect: rect}
	crs, t := v.f.info.CRS, v.f.info.Transform
	if (crs.Geographic || crs.EPSG == 3857) && t[2] == 0 && t[4] == 0 {
		m.separable = true
		m.xs, m.ys = make([]float64, rect.Dx()), make([]float64, rect.Dy())
		for i := range m.xs {
			col, _ := v.source(float64(rect.Min.X+i)+0.5, float64(rect.Min.Y)+0.5)
			m.xs[i] = col * v.toGrid[0]
		}
		for j := range m.ys {
			_, row := v.source(float64(rect.Min.X)+0.5, float64(rect.Min.Y+j)+0.5)
			m.ys[j] = row * v.toGrid[1]
		}
		return m
	}
	tolerance := 1.0 / 64 // pixels of the level
	if v.resampling == Nearest {
		tolerance = 1.0 / 16384 // an error shows as another pixel, not as a slightly other mix
	}
	for m.step = 32; ; m.step /= 2 {
		m.nx, m.ny = (rect.Dx()-1+m.step-1)/m.step+1, (rect.Dy()-1+m.step-1)/m.step+1
		m.nodes = make([]float64, 0, 2*m.nx*m.ny)
		for j := range m.ny {
			for i := range m.nx {
				col, row := v.exact(rect, float64(i*m.step), float64(j*m.step))
				m.nodes = append(m.nodes, col, row)
			}
		}
		if m.step == 1 || m.worst(v) <= tolerance {
			return m
		}
	}
}

// exact is the exact position in the level of the centre of a pixel counted from the rectangle's corner.
func (v *view) exact(rect image.Rectangle, i, j float64) (col, row float64) {
	col, row = v.source(float64(rect.Min.X)+i+0.5, float64(rect.Min.Y)+j+0.5)
	return col * v.toGrid[0], row * v.toGrid[1]
}

// worst is the largest error in the middles of the cells between nodes.
func (m *mapping) worst(v *view) float64 {
	worst := 0.0
	for j := range max(1, m.ny-1) {
		for i := range max(1, m.nx-1) {
			fi, fj := float64(i*m.step), float64(j*m.step)
			if m.nx > 1 {
				fi += float64(m.step) / 2
			}
			if m.ny > 1 {
				fj += float64(m.step) / 2
			}
			col, row := v.exact(m.rect, fi, fj)
			c, r := m.at(fi, fj)
			e := math.Hypot(col-c, row-r)
			if math.IsNaN(e) {
				if math.IsNaN(col) && math.IsNaN(c) {
					continue // nowhere near the file
				}
				return math.Inf(1)
			}
			// Where the source is far outside the file, nobody sees the error.
			if far := 2 * math.Max(float64(v.grid.width), float64(v.grid.height)); math.Abs(col) < 2*far && math.Abs(row) < 2*far {
				worst = math.Max(worst, e)
			}
		}
	}
	return worst
}

// at interpolates between the nodes.
func (m *mapping) at(fi, fj float64) (col, row float64) {
	i, j := min(int(fi)/m.step, max(0, m.nx-2)), min(int(fj)/m.step, max(0, m.ny-2))
	s, t := fi/float64(m.step)-float64(i), fj/float64(m.step)-float64(j)
	a := 2 * (j*m.nx + i)
	b, c, d := a, a, a
	if m.nx > 1 {
		b = a + 2
	}
	if m.ny > 1 {
		c = a + 2*m.nx
		d = c
		if m.nx > 1 {
			d = c + 2
		}
	}
	n := m.nodes
	mix := func(k int) float64 {
		return (n[a+k]*(1-s)+n[b+k]*s)*(1-t) + (n[c+k]*(1-s)+n[d+k]*s)*t
	}
	return mix(0), mix(1)
}

// row writes the positions of row j of the rectangle.
func (m *mapping) row(j int, xs, ys []float64) {
	if m.separable {
		copy(xs, m.xs)
		for i := range ys {
			ys[i] = m.ys[j]
		}
		return
	}
	if m.nx == 1 {
		xs[0], ys[0] = m.at(0, float64(j))
		return
	}
	for i := 0; i < len(xs); i += m.step {
		c0, r0 := m.at(float64(i), float64(j))
		c1, r1 := m.at(float64(min(i+m.step, (m.nx-1)*m.step)), float64(j))
		n := min(m.step, len(xs)-i)
		for k := range n {
			t := float64(k) / float64(m.step)
			xs[i+k], ys[i+k] = c0+(c1-c0)*t, r0+(r1-r0)*t
		}
	}
}

// need is the part of the level that the kernel touches.
func (m *mapping) need(v *view) image.Rectangle {
	minX, minY, maxX, maxY := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	add := func(x, y float64) {
		// NaN compares false and is left out.
		if x < minX {
			minX = x
		}
		if x > maxX {
			maxX = x
		}
		if y < minY {
			minY = y
		}
		if y > maxY {
			maxY = y
		}
	}
	if m.separable {
		add(m.xs[0], m.ys[0])
		add(m.xs[len(m.xs)-1], m.ys[len(m.ys)-1])
	} else {
		for k := 0; k < len(m.nodes); k += 2 {
			add(m.nodes[k], m.nodes[k+1])
		}
	}
	rx, ry := v.fx+1, v.fy+1
	w, h := float64(v.grid.width), float64(v.grid.height)
	if !(minX-rx < w && maxX+rx > 0 && minY-ry < h && maxY+ry > 0) {
		return image.Rectangle{}
	}
	clamp := func(x, hi float64) int { return int(math.Max(0, math.Min(hi, x))) }
	return image.Rect(clamp(math.Floor(minX-rx), w), clamp(math.Floor(minY-ry), h), clamp(math.Ceil(maxX+rx), w), clamp(math.Ceil(maxY+ry), h))
}

// aligned says whether each pixel of the picture is one of the level, so that no resampling is needed.
func (m *mapping) aligned(v *view) bool {
	if !m.separable || v.grid.kx != 1 || v.grid.ky != 1 || v.fx != 1 || v.fy != 1 {
		return false
	}
	const slack = 1e-3 // pixels: far less than a step of 8 bits
	on := func(p []float64) bool {
		first := math.Floor(p[0])
		for i, x := range p {
			if math.Abs(x-0.5-first-float64(i)) > slack {
				return false
			}
		}
		return true
	}
	return on(m.xs) && (on(m.ys) || m.southUp(slack))
}

// southUp is aligned for rows that run northwards.
func (m *mapping) southUp(slack float64) bool {
	first := math.Floor(m.ys[0])
	for j, y := range m.ys {
		if math.Abs(y-0.5-first+float64(j)) > slack {
			return false
		}
	}
	return true
}
