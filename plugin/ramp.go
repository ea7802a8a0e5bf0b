package plugin

import (
	"image/color"
	"math"
)

// stop is a colour of the ramp at a score, with its own opacity.
type stop struct {
	at         float64
	r, g, b, a float64
}

// stops is one hue path from transparent amber to deep magenta: it rises evenly in darkness, so it reads
// in grey too, and holds neither the green nor the blue of land and water. The mapping is fixed: panning
// never recolours. web/src/ramp.ts draws the legend from the same numbers.
var stops = []stop{
	{.00, 255, 209, 102, 0},
	{.30, 255, 196, 77, .42},
	{.50, 250, 140, 50, .60},
	{.70, 226, 62, 87, .72},
	{.85, 180, 20, 110, .80},
	{1.0, 110, 0, 95, .86},
}

// ramp maps a score in steps of 1/255 to its colour.
var ramp = func() (out [256]color.NRGBA) {
	for i := range out {
		out[i] = rampAt(float64(i) / 255)
	}
	return out
}()

func rampAt(v float64) color.NRGBA {
	k := 1
	for k < len(stops)-1 && v > stops[k].at {
		k++
	}
	a, b := stops[k-1], stops[k]
	t := min(1, max(0, (v-a.at)/(b.at-a.at)))
	mix := func(x, y float64) float64 { return x + t*(y-x) }
	return color.NRGBA{
		uint8(math.Round(mix(a.r, b.r))), uint8(math.Round(mix(a.g, b.g))),
		uint8(math.Round(mix(a.b, b.b))), uint8(math.Round(255 * mix(a.a, b.a))),
	}
}

// palette is the ramp as one overlay wants it: cut off below the threshold, in one colour if asked,
// thinned by opacity. No entry is opaque, so a tile always has an alpha channel.
type palette [256]color.NRGBA

func newPalette(threshold, opacity float64, single color.NRGBA) *palette {
	var p palette
	for i := range p {
		c := ramp[i]
		if single.A != 0 {
			c = color.NRGBA{single.R, single.G, single.B, c.A}
		}
		if float64(i)/255 < threshold {
			c = color.NRGBA{}
		}
		c.A = uint8(math.Round(min(254, float64(c.A)*opacity)))
		p[i] = c
	}
	return &p
}
