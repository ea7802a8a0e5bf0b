package eval

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	stddraw "image/draw"
	"image/jpeg"
	"math"
	"math/rand/v2"

	"golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/f64"
	"golang.org/x/image/math/fixed"

	"github.com/tilescout/tilescout/encoder"
)

// tileSide is the side of a map tile in pixels: pictures are brought to it before they are disturbed.
const tileSide = 256

// disturbance changes a tile as map tiles are changed. It may write to its argument; rng depends on the picture only.
type disturbance struct {
	name   string
	factor float64 // of ground resolution, for the curve; 0 if it has none
	apply  func(m *image.RGBA, rng *rand.Rand) *image.RGBA
	others int // further pictures it needs around this one
	around func(m *image.RGBA, others []*image.RGBA) *image.RGBA
}

// disturbances of map tiles, in the order of the table.
func disturbances() []disturbance {
	list := []disturbance{{name: "none, as 256 px tile", apply: func(m *image.RGBA, _ *rand.Rand) *image.RGBA { return m }}}
	for _, q := range []int{60, 40, 20} {
		list = append(list, disturbance{name: fmt.Sprintf("JPEG quality %d", q), apply: func(m *image.RGBA, _ *rand.Rand) *image.RGBA { return throughJPEG(m, q) }})
	}
	for _, c := range []struct {
		name    string
		r, g, b float64
	}{
		{"warm cast", 1.18, 1, .8}, {"cool cast", .82, 1, 1.2}, {"green cast", .88, 1.15, .88}, {"darker", .6, .6, .6}, {"brighter", 1.45, 1.45, 1.45},
	} {
		list = append(list, disturbance{name: c.name, apply: func(m *image.RGBA, _ *rand.Rand) *image.RGBA { return gain(m, c.r, c.g, c.b) }})
	}
	list = append(list,
		disturbance{name: "haze", apply: func(m *image.RGBA, _ *rand.Rand) *image.RGBA { return haze(m, .45) }},
		disturbance{name: "greyscale", apply: func(m *image.RGBA, _ *rand.Rand) *image.RGBA { return grey(m) }},
		disturbance{name: "blur", apply: func(m *image.RGBA, _ *rand.Rand) *image.RGBA { return coarse(coarse(m, 110), 110) }},
	)
	for _, side := range []int{128, 64} {
		list = append(list, disturbance{name: fmt.Sprintf("enlarged from %d px", side), apply: func(m *image.RGBA, _ *rand.Rand) *image.RGBA { return coarse(m, side) }})
	}
	list = append(list,
		disturbance{name: "nearer, 70 % of the scene", apply: func(m *image.RGBA, _ *rand.Rand) *image.RGBA { return crop(m, .7) }},
		disturbance{name: "nearer, 50 % of the scene", apply: func(m *image.RGBA, _ *rand.Rand) *image.RGBA { return crop(m, .5) }},
		disturbance{name: "four scenes in a tile", others: 3, around: func(m *image.RGBA, others []*image.RGBA) *image.RGBA { return four(m, others) }},
	)
	for _, p := range []float64{.1, .25, .5} {
		list = append(list,
			disturbance{name: fmt.Sprintf("%g %% transparent", 100*p), apply: func(m *image.RGBA, rng *rand.Rand) *image.RGBA { return hole(m, rng, p, color.NRGBA{}) }},
			disturbance{name: fmt.Sprintf("%g %% white", 100*p), apply: func(m *image.RGBA, rng *rand.Rand) *image.RGBA {
				return hole(m, rng, p, color.NRGBA{255, 255, 255, 255})
			}},
			disturbance{name: fmt.Sprintf("%g %% black", 100*p), apply: func(m *image.RGBA, rng *rand.Rand) *image.RGBA { return hole(m, rng, p, color.NRGBA{0, 0, 0, 255}) }},
		)
	}
	return append(list,
		disturbance{name: "map labels", apply: mapLabels},
		disturbance{name: "shifted by a quarter", others: 3, around: func(m *image.RGBA, others []*image.RGBA) *image.RGBA { return shifted(m, others) }},
		disturbance{name: "turned 90°", apply: func(m *image.RGBA, _ *rand.Rand) *image.RGBA { return orient(m, 1) }},
		disturbance{name: "turned 45°", apply: func(m *image.RGBA, _ *rand.Rand) *image.RGBA { return turned(m, math.Pi/4) }},
		disturbance{name: "mirrored", apply: func(m *image.RGBA, _ *rand.Rand) *image.RGBA { return orient(m, 4) }},
	)
}

// curveGSD are the disturbances of the curve over ground resolution, the undisturbed one first: coarser pixels of the
// same scene for factors above 1, nearer views below.
func curveGSD() []disturbance {
	var list []disturbance
	for _, f := range []float64{1, .5, .6, .7, .85, 1.25, 1.6, 2, 2.5, 3.2, 4, 6, 8} {
		d := disturbance{name: fmt.Sprintf("%g ×", f), factor: f}
		switch {
		case f < 1:
			d.apply = func(m *image.RGBA, _ *rand.Rand) *image.RGBA { return crop(m, f) }
		case f > 1:
			d.apply = func(m *image.RGBA, _ *rand.Rand) *image.RGBA {
				return coarse(m, int(math.Round(tileSide/2/f))) // scenes hold about half of a tile's detail
			}
		default:
			d.apply = func(m *image.RGBA, _ *rand.Rand) *image.RGBA { return m }
		}
		list = append(list, d)
	}
	return list
}

// scaled resizes with a filter that neither aliases nor rings much.
func scaled(m image.Image, w, h int) *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.CatmullRom.Scale(out, out.Rect, m, m.Bounds(), draw.Src, nil)
	return out
}

// coarse is the picture with the detail of one of side pixels.
func coarse(m *image.RGBA, side int) *image.RGBA {
	return scaled(scaled(m, side, side), m.Rect.Dx(), m.Rect.Dy())
}

func throughJPEG(m *image.RGBA, quality int) *image.RGBA {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: quality}); err != nil {
		return m // only sides beyond 65535 fail
	}
	back, err := encoder.Decode(b.Bytes())
	if err != nil {
		return m
	}
	return back
}

func each(m *image.RGBA, f func(p []uint8)) *image.RGBA {
	for i := 0; i+3 < len(m.Pix); i += 4 {
		f(m.Pix[i : i+4 : i+4])
	}
	return m
}

func clamp(v float64) uint8 { return uint8(min(255, max(0, math.Round(v)))) }

func gain(m *image.RGBA, r, g, b float64) *image.RGBA {
	return each(m, func(p []uint8) {
		p[0], p[1], p[2] = clamp(r*float64(p[0])), clamp(g*float64(p[1])), clamp(b*float64(p[2]))
	})
}

func haze(m *image.RGBA, a float64) *image.RGBA {
	return each(m, func(p []uint8) {
		for i, air := range []float64{205, 212, 220} {
			p[i] = clamp((1-a)*float64(p[i]) + a*air)
		}
	})
}

func grey(m *image.RGBA) *image.RGBA {
	return each(m, func(p []uint8) {
		v := clamp(.299*float64(p[0]) + .587*float64(p[1]) + .114*float64(p[2]))
		p[0], p[1], p[2] = v, v, v
	})
}

// crop keeps the middle of the picture, a share of each side, enlarged to the whole.
func crop(m *image.RGBA, share float64) *image.RGBA {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	dx, dy := int(float64(w)*(1-share)/2), int(float64(h)*(1-share)/2)
	return scaled(m.SubImage(image.Rect(dx, dy, w-dx, h-dy)), w, h)
}

// four lays the picture and three others in one tile, this one in the north-west: the view of the zoom above.
func four(m *image.RGBA, others []*image.RGBA) *image.RGBA {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	out := image.NewRGBA(m.Rect)
	for i, p := range append([]*image.RGBA{m}, others...) {
		x, y := i%2*w/2, i/2*h/2
		draw.CatmullRom.Scale(out, image.Rect(x, y, x+w/2, y+h/2), p, p.Rect, draw.Src, nil)
	}
	return out
}

// shifted moves the picture by a quarter of a tile to the east and south; the others fill the rest.
func shifted(m *image.RGBA, others []*image.RGBA) *image.RGBA {
	w, h := m.Rect.Dx()/4, m.Rect.Dy()/4
	out := image.NewRGBA(m.Rect)
	put := func(p *image.RGBA, x, y int) {
		stddraw.Draw(out, image.Rect(x, y, x+m.Rect.Dx(), y+m.Rect.Dy()), p, image.Point{}, stddraw.Src)
	}
	put(others[0], w-m.Rect.Dx(), h-m.Rect.Dy())
	put(others[1], w, h-m.Rect.Dy())
	put(others[2], w-m.Rect.Dx(), h)
	put(m, w, h)
	return out
}

// hole replaces a share of the picture at one of its edges, as the edge of an orthophoto does.
func hole(m *image.RGBA, rng *rand.Rand, share float64, c color.NRGBA) *image.RGBA {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	n := int(math.Round(share * float64(w)))
	r := [...]image.Rectangle{image.Rect(0, 0, n, h), image.Rect(w-n, 0, w, h), image.Rect(0, 0, w, n), image.Rect(0, h-n, w, h)}[rng.IntN(4)]
	stddraw.Draw(m, r, image.NewUniform(c), image.Point{}, stddraw.Src)
	return m
}

// turned rotates about the middle; what leaves the frame comes back mirrored from the edge, so that no corner is empty.
func turned(m *image.RGBA, angle float64) *image.RGBA {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	wide := image.NewRGBA(image.Rect(0, 0, 2*w, 2*h))
	mirror := func(v, n int) int {
		v = ((v-n/2)%(2*n) + 2*n) % (2 * n)
		if v >= n {
			v = 2*n - 1 - v
		}
		return v
	}
	for y := range 2 * h {
		for x := range 2 * w {
			copy(wide.Pix[wide.PixOffset(x, y):][:4], m.Pix[m.PixOffset(mirror(x, w), mirror(y, h)):][:4])
		}
	}
	sin, cos := math.Sincos(angle)
	cx, cy := float64(w), float64(h) // the middle of wide
	out := image.NewRGBA(m.Rect)
	draw.BiLinear.Transform(out, f64.Aff3{cos, -sin, float64(w)/2 - cos*cx + sin*cy, sin, cos, float64(h)/2 - sin*cx - cos*cy}, wide, wide.Rect, draw.Src, nil)
	return out
}

// streetNames are written over tiles as a map's labels are.
func streetNames() []string {
	return []string{"High Street", "B 471", "Station Road", "Mill Lane", "A 9", "Ring Road", "Hauptstr.", "Rue du Port", "Oak Avenue"}
}

// mapLabels draws two roads with casing and three names with halo over the picture, as hybrid maps do.
func mapLabels(m *image.RGBA, rng *rand.Rand) *image.RGBA {
	w, h := float64(m.Rect.Dx()), float64(m.Rect.Dy())
	for range 2 {
		x0, y0, x1, y1 := 0.0, rng.Float64()*h, w, rng.Float64()*h
		if rng.IntN(2) == 0 {
			x0, y0, x1, y1 = rng.Float64()*w, 0, rng.Float64()*w, h
		}
		line(m, x0, y0, x1, y1, 3.5, color.NRGBA{120, 110, 80, 255})
		line(m, x0, y0, x1, y1, 2.5, color.NRGBA{250, 230, 150, 255})
	}
	names := streetNames()
	for range 3 {
		text := names[rng.IntN(len(names))]
		x, y := rng.IntN(int(w)*2/3), 14+rng.IntN(int(h)-20)
		for dy := -1; dy <= 1; dy++ {
			for dx := -1; dx <= 1; dx++ {
				label(m, text, x+dx, y+dy, color.White)
			}
		}
		label(m, text, x, y, color.Black)
	}
	return m
}

func label(m *image.RGBA, text string, x, y int, c color.Color) {
	d := font.Drawer{Dst: m, Src: image.NewUniform(c), Face: basicfont.Face7x13, Dot: fixed.P(x, y)}
	d.DrawString(text)
}

// line draws a line of a half width in pixels, with soft edges.
func line(m *image.RGBA, x0, y0, x1, y1, half float64, c color.NRGBA) {
	dx, dy := x1-x0, y1-y0
	length := dx*dx + dy*dy
	if length == 0 {
		return
	}
	for y := range m.Rect.Dy() {
		for x := range m.Rect.Dx() {
			px, py := float64(x)-x0, float64(y)-y0
			t := min(1, max(0, (px*dx+py*dy)/length))
			if a := half + .5 - math.Hypot(px-t*dx, py-t*dy); a > 0 {
				a = min(1, a)
				p := m.Pix[m.PixOffset(x, y):][:4]
				for i, v := range []uint8{c.R, c.G, c.B} {
					p[i] = clamp(a*float64(v) + (1-a)*float64(p[i]))
				}
			}
		}
	}
}
