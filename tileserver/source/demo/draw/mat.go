package draw

// RGB is a colour as displayed, 0…255 a channel.
type RGB [3]float32

// Mul scales the brightness.
func (c RGB) Mul(k float32) RGB { return RGB{c[0] * k, c[1] * k, c[2] * k} }

// Mix goes from c (0) to d (1).
func (c RGB) Mix(d RGB, t float32) RGB {
	return RGB{c[0] + t*(d[0]-c[0]), c[1] + t*(d[1]-c[1]), c[2] + t*(d[2]-c[2])}
}

// Mat is a surface: a colour with blotches of another, brightness noise and stripes.
type Mat struct {
	C, D   RGB     // colour and blotch colour
	Size   float32 // metres of a blotch; 0 means none
	Bias   float32 // -1 (no blotches) … 1 (all)
	Sharp  float32 // edge of the blotches; 1 soft, 6 hard
	Grain  float32 // brightness noise of a pixel
	Mid    float32 // brightness noise of some 8 m
	Large  float32 // brightness noise of some 80 m
	SX, SY float32 // stripe wave vector, turns per metre
	SA     float32 // brightness of the stripes
	Hard   bool    // square stripes (mowing, tiles) instead of a sine (furrows, ribs)
}

// At is the surface's colour at a place in metres and pixels.
func (m *Mat) At(n *Noise, x, y float32, px, py int) RGB {
	c := m.C
	if m.Size > 0 {
		k := 48 / m.Size
		t := 0.5 + m.Bias + m.Sharp*n.At(x*k+y*k*0.13, y*k-x*k*0.13)
		c = c.Mix(m.D, min(max(t, 0), 1))
	}
	v := float32(1)
	if m.Grain != 0 {
		v += m.Grain * n.Grain(px, py)
	}
	if m.Mid != 0 {
		v += m.Mid * n.At(x*3.1+y*0.7, y*3.1-x*0.7)
	}
	if m.Large != 0 {
		v += m.Large * n.At(x*0.37-y*0.2+77, y*0.37+x*0.2+31)
	}
	if m.SA != 0 {
		v += m.SA * stripe(x*m.SX+y*m.SY, m.Hard)
	}
	return c.Mul(v)
}

// stripe is a wave of period one in -1…1: a parabola pair close to a sine, or a square.
func stripe(t float32, hard bool) float32 {
	t -= float32(int32(t))
	if t < 0 {
		t++
	}
	if hard {
		if t < 0.5 {
			return 1
		}
		return -1
	}
	if t < 0.5 {
		return 16 * t * (0.5 - t)
	}
	t -= 0.5
	return -16 * t * (0.5 - t)
}
