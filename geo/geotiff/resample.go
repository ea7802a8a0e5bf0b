package geotiff

import (
	"image"
	"math"
)

// pixelAt is the index of the pixel that holds a position. Positions are computed, so one on an edge may come
// out a hair before it; gdalwarp adds the same to its own.
func pixelAt(x float64) int { return int(math.Floor(x + 1e-10)) }

// nearest copies the pixel under each centre.
func (v *view) nearest(rect image.Rectangle, m *mapping, win *window) {
	xs, ys := make([]float64, rect.Dx()), make([]float64, rect.Dx())
	w, h := float64(v.grid.width), float64(v.grid.height)
	for j := range rect.Dy() {
		m.row(j, xs, ys)
		dst := v.out.Pix[v.out.PixOffset(rect.Min.X, rect.Min.Y+j):]
		for i, x := range xs {
			y := ys[i]
			if !(x > -1e-10 && y > -1e-10 && x < w && y < h) {
				continue
			}
			sx, sy := min(pixelAt(x), v.grid.width-1)-win.rect.Min.X, min(pixelAt(y), v.grid.height-1)-win.rect.Min.Y
			s := win.pix[sy*win.stride+4*sx:]
			if s[3] != 0 {
				copy(dst[4*i:4*i+4], s[:4])
			}
		}
	}
}

// taps are the source pixels of one axis that a position mixes, and their weights.
type taps struct {
	first   int // index in the window
	weights []float32
	nearest int // index in the window of the pixel that holds the position; -1 outside of the level
}

// tapsFor returns the triangle kernel of half width f around x. Pixels outside of the level have no weight and
// the others are not scaled up here: bilinear does that where alpha asks for it.
func tapsFor(x, f float64, size, origin int, buf []float32) taps {
	t := taps{nearest: -1}
	if !(x > -1e-10 && x < float64(size)) {
		return t
	}
	t.nearest = min(pixelAt(x), size-1) - origin
	from, to := int(math.Floor(x-0.5-f))+1, int(math.Ceil(x-0.5+f))-1
	from, to = max(from, 0), min(to, size-1)
	sum := 0.0
	for i := from; i <= to; i++ {
		sum += 1 - math.Abs(float64(i)+0.5-x)/f
	}
	if from > to || !(sum > 0) {
		t.first, t.weights = t.nearest, append(buf, 1)
		return t
	}
	t.first = from - origin
	for i := from; i <= to; i++ {
		buf = append(buf, float32((1-math.Abs(float64(i)+0.5-x)/f)/sum))
	}
	t.weights = buf
	return t
}

// separable resamples columns, then rows.
func (v *view) separable(rect image.Rectangle, m *mapping, win *window) {
	cols := axis(m.xs, v.fx, v.grid.width, win.rect.Min.X)
	rows := axis(m.ys, v.fy, v.grid.height, win.rect.Min.Y)
	n := rect.Dx()
	// Rows of the window, resampled across, kept while rows of the picture still need them.
	depth := 0
	for _, r := range rows {
		depth = max(depth, len(r.weights))
	}
	ring := make([][]float32, depth+1)
	held := make([]int, depth+1)
	for k := range ring {
		ring[k], held[k] = make([]float32, 4*n), -1
	}
	acc := make([]float32, 4*n)
	for j, r := range rows {
		if r.nearest < 0 {
			continue
		}
		clear(acc)
		for k, wt := range r.weights {
			y := r.first + k
			slot := y % len(ring)
			if held[slot] != y {
				across(ring[slot], win.pix[y*win.stride:], cols, win.opaque)
				held[slot] = y
			}
			for i, s := range ring[slot] {
				acc[i] += wt * s
			}
		}
		v.store(rect.Min.X, rect.Min.Y+j, acc, cols, win.pix[r.nearest*win.stride:], win.opaque)
	}
}

func axis(xs []float64, f float64, size, origin int) []taps {
	out := make([]taps, len(xs))
	width := 2*int(math.Ceil(f)) + 2
	buf := make([]float32, len(xs)*width)
	for i, x := range xs {
		out[i] = tapsFor(x, f, size, origin, buf[i*width:i*width:(i+1)*width])
	}
	return out
}

// across resamples one row of the window. Colours come out multiplied by alpha, 0…1.
func across(dst []float32, src []byte, cols []taps, opaque bool) {
	for i := range cols {
		c := &cols[i]
		var r, g, b, a float32
		p := src[4*max(0, c.first):]
		if opaque {
			for k, wt := range c.weights {
				q := p[4*k : 4*k+4 : 4*k+4]
				r += wt * float32(q[0])
				g += wt * float32(q[1])
				b += wt * float32(q[2])
			}
			a = 1
		} else {
			for k, wt := range c.weights {
				q := p[4*k : 4*k+4 : 4*k+4]
				if q[3] == 0 {
					continue
				}
				wa := wt * float32(q[3]) / 255
				r += wa * float32(q[0])
				g += wa * float32(q[1])
				b += wa * float32(q[2])
				a += wa
			}
		}
		d := dst[4*i : 4*i+4 : 4*i+4]
		d[0], d[1], d[2], d[3] = r, g, b, a
	}
}

// store writes one row of mixed pixels where the source pixel under the centre is valid.
func (v *view) store(x, y int, acc []float32, cols []taps, under []byte, opaque bool) {
	dst := v.out.Pix[v.out.PixOffset(x, y):]
	for i := range cols {
		n := cols[i].nearest
		if n < 0 {
			continue
		}
		p, s := dst[4*i:4*i+4:4*i+4], acc[4*i:4*i+4:4*i+4]
		if opaque {
			p[0], p[1], p[2], p[3] = byte(s[0]+0.5), byte(s[1]+0.5), byte(s[2]+0.5), 255
			continue
		}
		if under[4*n+3] == 0 || s[3] <= 0 {
			continue
		}
		v.mixed(p, s[0], s[1], s[2], s[3])
	}
}

// mixed writes a pixel from colours multiplied by alpha and that alpha, 0…1. Masks and nodata values say
// valid or not, so what is not wholly invalid is opaque; an alpha band keeps its shades.
func (v *view) mixed(p []byte, r, g, b, a float32) {
	p[0], p[1], p[2], p[3] = byte(min(255, r/a+0.5)), byte(min(255, g/a+0.5)), byte(min(255, b/a+0.5)), 255
	if v.level.alpha >= 0 {
		p[3] = byte(max(1, min(255, a*255+0.5)))
	}
}
