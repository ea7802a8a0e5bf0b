package land

import (
	"math"

	"github.com/tilescout/tilescout/tileserver/source/demo/draw"
)

// curve is a function of one variable, sampled every curveStep metres.
type curve struct {
	from float64
	at   []float64
}

const curveStep = 4

func newCurve(from, to float64, f func(t float64) float64) curve {
	c := curve{from: from}
	for t := from; t <= to+curveStep; t += curveStep {
		c.at = append(c.at, math.Round(f(t)*64)/64)
	}
	return c
}

func (c *curve) value(t float64) float64 {
	k := (t - c.from) / curveStep
	i := int(k)
	if k <= 0 {
		return c.at[0]
	}
	if i >= len(c.at)-1 {
		return c.at[len(c.at)-1]
	}
	f := k - float64(i)
	return c.at[i] + f*(c.at[i+1]-c.at[i])
}

// ground paints what lies under everything: open land, sea with its shore, river with its banks.
func (w *World) ground(c *draw.Canvas) {
	p, n := &w.plan, w.noise
	land := draw.Mat{C: w.pal.grass, D: w.pal.dry, Size: 90, Bias: -.22, Sharp: 1.3, Grain: .09, Mid: .14, Large: .12}
	for y := range c.H {
		py := c.Y0 + y
		fy := (float32(py) + .5) * GSD
		for x := range c.W {
			if o := y*c.W + x; c.Hgt[o] == hidden {
				c.Hgt[o] = 0
				continue
			}
			px := c.X0 + x
			fx := (float32(px) + .5) * GSD
			q := w.inverse(float64(fx), float64(fy))
			sea := float32(q.u - p.coast.value(q.v)) // metres inland of the mean shore line
			river := float32(math.Abs(q.v-p.river.value(q.u)) - p.half.value(q.u))
			if river > 120 && sea > 320 {
				c.Pix[y*c.W+x] = land.At(n, fx, fy, px, py)
				continue
			}
			wob := n.At(fx*.45, fy*.45)
			d := sea + 9*wob
			r := river + 5*n.At(fx*1.1, fy*1.1)
			var col rgb
			switch {
			case d < 0 || r < 0:
				col = w.waterAt(n, fx, fy, px, py, d, r, float32(q.v), float32(p.beach.value(q.v)))
			default:
				col = land.At(n, fx, fy, px, py)
				col = w.shore(n, col, fx, fy, px, py, d, r, float32(p.beach.value(q.v)))
			}
			c.Pix[y*c.W+x] = col
		}
	}
}

// shore mixes beach sand, rock and river banks into the land; d and r are metres from the sea and the river.
func (w *World) shore(n *draw.Noise, col rgb, fx, fy float32, px, py int, d, r, beach float32) rgb {
	g := 1 + .05*n.Grain(px, py)
	if beach > .02 {
		width := 78 * beach
		if d < width+14 {
			v := g + .06*n.At(fx*2.2, fy*2.2) + .05*n.At(fx*.5, fy*.5)
			sand := w.pal.sand.Mul(v)
			if d < 16 { // wet sand
				sand = sand.Mix(w.pal.wet.Mul(v), min((16-d)/9, 1))
			}
			t := min(max((width-d)/10+1.6*n.At(fx*2.6, fy*2.6), 0), 1) * min(beach*3, 1)
			col = col.Mix(sand, t)
		}
	}
	if rock := 1 - beach*4; rock > 0 && d < 16 {
		t := min(max((14-d)/8+1.5*n.At(fx*4, fy*4), 0), 1) * rock
		v := g + .5*n.At(fx*11, fy*11)
		col = col.Mix(rgb{128, 122, 110}.Mul(v), t)
	}
	if r < 14 {
		t := min(max((12-r)/7+n.At(fx*3, fy*3), 0), 1)
		col = col.Mix(w.pal.mud.Mul(g+.2*n.At(fx*6, fy*6)), t*.85)
	}
	return col
}

// waterAt colours sea and river; d and r are negative by the distance from the shore.
func (w *World) waterAt(n *draw.Noise, fx, fy float32, px, py int, d, r, v, beach float32) rgb {
	var depth float32 // metres from the nearest shore
	deep := w.pal.sea
	shallow := w.pal.shallow
	share := float32(1)
	if d < 0 {
		depth = -d
		if r < 0 {
			depth = max(depth, -r)
		}
		// The river's water runs out into the sea.
		if r < 260 {
			share = min(max((r+120)/380+.5*n.At(fx*.3, fy*.3), 0), 1)
			share = max(share, min(-d/420, 1)) * min(-d/110, 1)
		}
	} else {
		depth = -r
		share = 0
	}
	deep = w.pal.river.Mix(deep, share)
	shallow = w.pal.river.Mix(w.pal.mud, .4).Mix(shallow, share)
	reach := 26 + 150*beach*share
	t := min(max(1-depth/reach+.35*n.At(fx*.7+19, fy*.7), 0), 1)
	col := deep.Mix(shallow, t*t*.9)
	// Swell: long crests a little oblique to the shore, and ripples.
	swell := n.At((fx*.9+fy*.2)*1.3, (fy*.9-fx*.2)*5.5)
	col = col.Mul(1 + (.035+.05*share)*swell + .07*n.Grain(px, py) + .06*n.At(fx*.22, fy*.22))
	if d < 0 && share > .5 {
		// Surf: broken lines of foam, more of them off a beach.
		amp := .3 + .7*beach
		for k, at := range [...]float32{3, 17, 36} {
			lines := -d - at + 8*n.At(fx*.8+float32(k)*40, fy*.8)
			wide := (5 - float32(k)) * amp
			if k > 0 {
				wide *= min(max(1.6*n.At(fx*.5+float32(k)*91, fy*.5)+.4, 0), 1) * beach
			}
			if f := 1 - max(lines, -lines*.35)/max(wide, .01); f > 0 {
				f = min(f*(1+1.8*n.At(fx*5, fy*5)), 1)
				if f > 0 {
					col = col.Mix(w.pal.foam, f*.85)
				}
			}
		}
	}
	return col
}

// sea is deep water inside a ring: a basin or a dredged channel, as the open sea looks.
type sea struct {
	w *World
	p []draw.Pt
}

// Bounds of the ring.
func (s *sea) Bounds() draw.Box { return (&draw.Poly{P: s.p}).Bounds() }

// Paint fills it with water.
func (s *sea) Paint(c *draw.Canvas) {
	c.Cover([][]draw.Pt{s.p}, func(y, x int, cov []float32) {
		py := c.Y0 + y
		fy := (float32(py) + .5) * c.GSD
		for i, a := range cov {
			px := c.X0 + x + i
			fx := (float32(px) + .5) * c.GSD
			q := s.w.inverse(float64(fx), float64(fy))
			d := min(float32(q.u-s.w.plan.coast.value(q.v)), -70)
			river := float32(math.Abs(q.v-s.w.plan.river.value(q.u)) - s.w.plan.half.value(q.u))
			o := y*c.W + x + i
			c.Pix[o] = c.Pix[o].Mix(s.w.waterAt(s.w.noise, fx, fy, px, py, d, river, 0, 0), a)
			if a > .5 {
				c.Hgt[o] = 0
			}
		}
	})
}
