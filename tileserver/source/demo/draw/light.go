package draw

import "math"

// Light is what the sun, the air and the camera do to the picture.
type Light struct {
	Shift  float32 // pixels that a shadow moves east per pixel north; -0.9…0.9
	Drop   float32 // metres that a shadow sinks per pixel north
	Shadow RGB     // factor of a shaded pixel, a channel
	Haze   RGB     // colour of the air
	Air    float32 // share of it
	Gain   RGB     // white balance
	Gamma  float32 // contrast about the middle: 1 leaves it
	Colour float32 // saturation: 1 leaves it
	Blur   float32 // weight of a neighbour pixel in the optics, 0…0.3
	Noise  float32 // sensor noise, grey levels
}

// NewLight sets the sun: azimuth in degrees clockwise from north (135…225), elevation in degrees.
func NewLight(azimuth, elevation float64, gsd float32) Light {
	rad := math.Pi / 180
	// A shadow points away from the sun: to the north, and east if the sun is west of south.
	shift := math.Tan((azimuth - 180) * rad)
	path := math.Sqrt(1+shift*shift) * float64(gsd)
	return Light{Shift: float32(shift), Drop: float32(path * math.Tan(elevation*rad))}
}

// Develop turns the inner w×h pixels at (mx, my) of the canvas into RGB bytes, three a pixel, in dst.
func (c *Canvas) Develop(l *Light, mx, my, w, h int, dst []byte, stride int) {
	n := c.W * c.H
	hz := make([]float32, c.W)   // shadow height coming in from the row below
	line := make([]float32, c.W) // the same for this row
	lit := c.Pix
	for y := c.H - 1; y >= 0; y-- {
		row := y * c.W
		if y < c.H-1 {
			below := c.Hgt[row+c.W : row+2*c.W]
			// Shadows move by whole pixels, counted from the picture's first row so that blocks agree: between
			// rows they would smear.
			step := l.column(c.Y0+y) - l.column(c.Y0+y+1)
			for x := range c.W {
				i := min(max(x-step, 0), c.W-1)
				line[x] = max(hz[i], below[i]) - l.Drop
			}
			copy(hz, line)
		} else {
			clear(hz)
		}
		for x := range c.W {
			o := row + x
			own := c.Hgt[o]
			col := lit[o]
			if s := (hz[x] - own) * 1.4; s > 0 {
				s = min(s, 1)
				col[0] *= 1 + s*(l.Shadow[0]-1)
				col[1] *= 1 + s*(l.Shadow[1]-1)
				col[2] *= 1 + s*(l.Shadow[2]-1)
			} else if y > 0 && o+c.W < n {
				// Relief: slopes that face the sun (south) are brighter.
				slope := (c.Hgt[o-c.W] - c.Hgt[o+c.W])
				if x > 0 && x < c.W-1 {
					slope += l.Shift * (c.Hgt[o+1] - c.Hgt[o-1])
				}
				if slope != 0 {
					slope *= 0.16 / c.GSD * 0.6
					col = col.Mul(1 + min(max(slope, -0.45), 0.3))
				}
			}
			lit[o] = col
		}
	}
	c.optics(l, mx, my, w, h, dst, stride)
}

// column is how far east a shadow has moved at a row.
func (l *Light) column(y int) int { return floor(0.5 - l.Shift*float32(y)) }

// optics blurs, mixes the air in, sets contrast and white balance, adds noise and rounds.
func (c *Canvas) optics(l *Light, mx, my, w, h int, dst []byte, stride int) {
	centre := 1 - 2*l.Blur
	keep := 1 - l.Air
	for y := range h {
		cy := y + my
		up, mid, down := max(cy-1, 0)*c.W, cy*c.W, min(cy+1, c.H-1)*c.W
		out := dst[y*stride : y*stride+3*w]
		for x := range w {
			cx := x + mx
			le, ri := max(cx-1, 0), min(cx+1, c.W-1)
			p := &c.Pix[mid+cx]
			n0, n1, n2, n3 := &c.Pix[up+cx], &c.Pix[down+cx], &c.Pix[mid+le], &c.Pix[mid+ri]
			noise := l.Noise * c.Noise.Grain(c.X0+cx+131, c.Y0+cy+57)
			tint := l.Noise * 0.5 * c.Noise.Grain(c.X0+cx+17, c.Y0+cy+211)
			var c3 RGB
			for k := range 3 {
				c3[k] = p[k]*centre + (n0[k]+n1[k]+n2[k]+n3[k])*(0.5*l.Blur)
			}
			grey := 0.3*c3[0] + 0.55*c3[1] + 0.15*c3[2]
			for k := range 3 {
				v := grey + (c3[k]-grey)*l.Colour
				v = v*keep*l.Gain[k] + l.Haze[k]*l.Air
				v = 112 + (v-112)*l.Gamma + noise
				if k == 1 {
					v -= tint
				} else {
					v += tint
				}
				out[3*x+k] = byte(min(max(v+0.5, 0), 255))
			}
		}
	}
}

// Sun is the unit direction towards the sun in the picture.
func (l *Light) Sun() (x, y float32) {
	n := float32(math.Hypot(float64(l.Shift), 1))
	return -l.Shift / n, 1 / n
}
