package draw

// Dunes is a polygon of wind-blown sand: ridges across a direction, told by light rather than by colour.
type Dunes struct {
	P      []Pt
	M      *Mat
	DX, DY float32 // wind
	Size   float32 // metres between ridges
	Rise   float32 // contrast of the ridges, about their height in metres
}

// Bounds of the polygon.
func (s *Dunes) Bounds() Box { return bounds(s.P) }

// Paint fills it; the slope along the wind gives the shade.
func (s *Dunes) Paint(c *Canvas) {
	k := 24 / s.Size
	ridge := func(x, y float32) float32 {
		u, v := (x*s.DX+y*s.DY)*k, (y*s.DX-x*s.DY)*k
		u += 9 * c.Noise.At(u*.4+7, v*.4)
		n := c.Noise.At(u*1.3, v*.42)
		if n < 0 {
			n = -n
		}
		return 1 - 2.2*n + .25*c.Noise.At(u*6, v*3.4)
	}
	c.Cover([][]Pt{s.P}, func(y, x int, cov []float32) {
		py := c.Y0 + y
		fy := (float32(py) + .5) * c.GSD
		for i, a := range cov {
			if a == 0 {
				continue
			}
			px := c.X0 + x + i
			fx := (float32(px) + .5) * c.GSD
			slope := (ridge(fx+1.2, fy+1.6) - ridge(fx-1.2, fy-1.6)) * s.Rise * .34
			col := s.M.At(c.Noise, fx, fy, px, py).Mul(1 - min(max(slope, -.28), .34))
			o := y*c.W + x + i
			c.Pix[o] = c.Pix[o].Mix(col, a)
		}
	})
}
