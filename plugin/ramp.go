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

// stops is one hue path from transparent amber to deep magenta, in even steps of OKLab: it darkens all the way, for
// colour-blind eyes and in grey too, and holds neither the green nor the blue of land and water. The mapping is fixed: panning
// never recolours. web/src/ramp.ts draws the legend from the same numbers.
var stops = []stop{
	{.000, 255, 214, 102, 0},
	{.125, 255, 182, 66, .14},
	{.250, 253, 150, 59, .28},
	{.375, 248, 119, 70, .40},
	{.500, 237, 88, 85, .48},
	{.625, 220, 58, 101, .54},
	{.750, 197, 32, 118, .58},
	{.875, 166, 10, 123, .62},
	{1.00, 132, 0, 120, .66},
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
