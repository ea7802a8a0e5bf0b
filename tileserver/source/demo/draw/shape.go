package draw

import "math"

// Poly is a filled polygon of one or more rings.
type Poly struct {
	P   []Pt
	M   *Mat
	Hgt float32 // height of its top in metres; below 0 leaves the height under it
}

// Bounds of the ring.
func (s *Poly) Bounds() Box { return bounds(s.P) }

// Paint fills it.
func (s *Poly) Paint(c *Canvas) { c.Blend([][]Pt{s.P}, s.M, s.Hgt) }

func bounds(p []Pt) Box {
	b := Box{math.MaxFloat32, math.MaxFloat32, -math.MaxFloat32, -math.MaxFloat32}
	for _, q := range p {
		b.X0, b.X1 = min(b.X0, q.X), max(b.X1, q.X)
		b.Y0, b.Y1 = min(b.Y0, q.Y), max(b.Y1, q.Y)
	}
	return b
}

// Brick is a small plain rectangle: a car, a container, a road mark.
type Brick struct {
	C      Pt      // centre
	Ax, Ay float32 // half the length, as a vector
	Half   float32 // half the width
	Col    RGB
	Hgt    float32
}

func (s *Brick) ring() [4]Pt {
	l := float32(math.Hypot(float64(s.Ax), float64(s.Ay)))
	nx, ny := -s.Ay/l*s.Half, s.Ax/l*s.Half
	return [4]Pt{{s.C.X - s.Ax - nx, s.C.Y - s.Ay - ny}, {s.C.X + s.Ax - nx, s.C.Y + s.Ay - ny},
		{s.C.X + s.Ax + nx, s.C.Y + s.Ay + ny}, {s.C.X - s.Ax + nx, s.C.Y - s.Ay + ny}}
}

// Bounds of the rectangle.
func (s *Brick) Bounds() Box { r := s.ring(); return bounds(r[:]) }

// Paint fills it.
func (s *Brick) Paint(c *Canvas) {
	r := s.ring()
	m := Mat{C: s.Col, Grain: 0.06}
	c.Blend([][]Pt{r[:]}, &m, s.Hgt)
}

// Tree is one crown.
type Tree struct {
	C      Pt
	R, Hgt float32 // crown radius and height, metres
	Col    RGB
	Salt   uint32
}

// Bounds of the crown.
func (s *Tree) Bounds() Box { return Box{s.C.X - s.R, s.C.Y - s.R, s.C.X + s.R, s.C.Y + s.R} }

// Paint puts a ragged dome on the canvas; the light pass gives it its bright and dark side.
func (s *Tree) Paint(c *Canvas) { c.crown(s.C.X, s.C.Y, s.R, s.Hgt, s.Col, s.Salt) }

func (c *Canvas) crown(x, y, r, h float32, col RGB, salt uint32) {
	inv := 1 / c.GSD
	cx, cy, pr := x*inv-float32(c.X0), y*inv-float32(c.Y0), r*inv
	x0, x1 := max(0, floor(cx-pr)), min(c.W, floor(cx+pr)+1)
	y0, y1 := max(0, floor(cy-pr)), min(c.H, floor(cy+pr)+1)
	if x0 >= x1 || y0 >= y1 {
		return
	}
	ir2 := 1 / (pr * pr)
	sx, sy := float32(salt&511), float32(salt>>9&511)
	for j := y0; j < y1; j++ {
		dy := float32(j) + 0.5 - cy
		for i := x0; i < x1; i++ {
			dx := float32(i) + 0.5 - cx
			// The noise makes the rim and the dome lumpy.
			lump := c.Noise.At(sx+dx*7, sy+dy*7)
			d2 := (dx*dx+dy*dy)*ir2 + lump*0.45
			if d2 >= 1 {
				continue
			}
			k := min((1-d2)*3, 1)
			top := h * (0.45 + 0.55*(1-d2)) * (1 + 0.22*lump)
			o := j*c.W + i
			if top <= c.Hgt[o] {
				continue
			}
			c.Pix[o] = c.Pix[o].Mix(col.Mul(0.86+0.3*(1-d2)-0.25*lump), k)
			if k > 0.4 {
				c.Hgt[o] = top
			}
		}
	}
}

// Woods is a polygon full of crowns on a jittered grid; the crowns follow from the place alone, so that any
// block paints its own part.
type Woods struct {
	P       []Pt
	Step    float32 // metres between crowns
	R       float32 // mean crown radius
	Hgt     float32 // mean height
	Share   float32 // 0…1 of the grid places that bear a tree
	Cluster float32 // 0 even … 1 in groups
	Cols    []RGB   // crown colours, the first the most frequent
	Salt    uint32
	Row     bool // orchard: no jitter
}

// Bounds of the polygon, grown by a crown.
func (s *Woods) Bounds() Box {
	b := bounds(s.P)
	return Box{b.X0 - 2*s.R, b.Y0 - 2*s.R, b.X1 + 2*s.R, b.Y1 + 2*s.R}
}

// Paint stamps the crowns that reach the canvas.
func (s *Woods) Paint(c *Canvas) {
	cb, sb := c.Bounds(), bounds(s.P)
	pad := 2*s.R + s.Step
	x0, x1 := max(cb.X0-pad, sb.X0), min(cb.X1+pad, sb.X1)
	y0, y1 := max(cb.Y0-pad, sb.Y0), min(cb.Y1+pad, sb.Y1)
	for j := int32(y0 / s.Step); float32(j)*s.Step < y1; j++ {
		for i := int32(x0 / s.Step); float32(i)*s.Step < x1; i++ {
			h := Hash(i, j, s.Salt)
			h2 := hash32(h)
			h3 := hash32(h2)
			jx, jy := unit(h), unit(h2)
			if s.Row {
				jx, jy = 0.5, 0.5
			}
			x, y := (float32(i)+jx)*s.Step, (float32(j)+jy)*s.Step
			if !Inside(s.P, Pt{x, y}) {
				continue
			}
			share := s.Share
			if s.Cluster > 0 {
				share += s.Cluster * 1.6 * c.Noise.At(x*0.9+float32(s.Salt&255), y*0.9)
			}
			if unit(hash32(h3)) > share {
				continue
			}
			k := unit(h3)
			col := s.Cols[0]
			if n := len(s.Cols); n > 1 {
				col = col.Mix(s.Cols[int(h3>>3)%n], unit(hash32(h3+7)))
			}
			size := 0.6 + 0.8*k
			c.crown(x, y, s.R*size, s.Hgt*(0.55+0.75*k), col.Mul(0.82+0.36*unit(hash32(h3+1))), h2)
		}
	}
}

// Inside says whether a point lies in a ring.
func Inside(p []Pt, q Pt) bool {
	in := false
	for i, j := 0, len(p)-1; i < len(p); j, i = i, i+1 {
		if (p[i].Y > q.Y) != (p[j].Y > q.Y) && q.X < (p[j].X-p[i].X)*(q.Y-p[i].Y)/(p[j].Y-p[i].Y)+p[i].X {
			in = !in
		}
	}
	return in
}
