package geotiff

import (
	"encoding/binary"
	"image"
	"math"
)

// bilinear resamples where rows and columns depend on each other.
func (v *view) bilinear(rect image.Rectangle, m *mapping, win *window) {
	xs, ys := make([]float64, rect.Dx()), make([]float64, rect.Dx())
	kx, ky := newPhases(v.fx), newPhases(v.fy)
	bx, by := make([]float32, 2*int(math.Ceil(v.fx))+2), make([]float32, 2*int(math.Ceil(v.fy))+2)
	for j := range rect.Dy() {
		m.row(j, xs, ys)
		dst := v.out.Pix[v.out.PixOffset(rect.Min.X, rect.Min.Y+j):]
		for i := range xs {
			p := dst[4*i : 4*i+4 : 4*i+4]
			if !mixOpaque(p, win, kx, ky, xs[i], ys[i]) {
				v.mix(p, win, xs[i], ys[i], bx[:0], by[:0])
			}
		}
	}
}

// mix is the general case: near borders of the file and next to transparent pixels.
func (v *view) mix(p []byte, win *window, x, y float64, bx, by []float32) {
	tx := tapsFor(x, v.fx, v.grid.width, win.rect.Min.X, bx)
	ty := tapsFor(y, v.fy, v.grid.height, win.rect.Min.Y, by)
	if tx.nearest < 0 || ty.nearest < 0 || win.pix[ty.nearest*win.stride+4*tx.nearest+3] == 0 {
		return
	}
	var r, g, b, a float32
	for k, wy := range ty.weights {
		row := win.pix[(ty.first+k)*win.stride+4*tx.first:]
		for l, wx := range tx.weights {
			q := row[4*l : 4*l+4 : 4*l+4]
			if q[3] == 0 {
				continue
			}
			wa := wx * wy * float32(q[3]) / 255
			r += wa * float32(q[0])
			g += wa * float32(q[1])
			b += wa * float32(q[2])
			a += wa
		}
	}
	if a > 0 {
		v.mixed(p, r, g, b, a)
	}
}

// phases are the weights of a kernel for positions between two pixels, in 256 steps.
type phases struct {
	taps    int      // pixels that the kernel touches
	before  int      // of them, how many lie before the pixel left of the position
	weights []uint64 // taps for each of 257 phases; each phase adds up to weightOne
}

const (
	phaseCount = 256
	weightBits = 11
	weightOne  = 1 << weightBits
)

// newPhases tabulates the triangle kernel of half width f.
func newPhases(f float64) phases {
	reach := int(math.Ceil(f))
	p := phases{taps: 2 * reach, before: reach - 1}
	p.weights = make([]uint64, (phaseCount+1)*p.taps)
	for phase := range phaseCount + 1 {
		w := p.weights[phase*p.taps : (phase+1)*p.taps]
		at := float64(phase) / phaseCount
		sum := 0.0
		for k := range w {
			sum += math.Max(0, 1-math.Abs(float64(k-p.before)-at)/f)
		}
		left, largest := int64(weightOne), 0
		for k := range w {
			w[k] = uint64(math.Max(0, 1-math.Abs(float64(k-p.before)-at)/f)/sum*weightOne + 0.5)
			left -= int64(w[k])
			if w[k] > w[largest] {
				largest = k
			}
		}
		w[largest] = uint64(int64(w[largest]) + left) // rounding must not brighten or darken
	}
	return p
}

// mixOpaque mixes the pixels round a position if all of them lie in the window and are opaque, else it returns
// false. Two samples share a word: a weight has 11 bits in each direction, a sample 8, and 30 fit into half of 64.
func mixOpaque(p []byte, win *window, kx, ky phases, x, y float64) bool {
	x, y = x-0.5, y-0.5
	fx, fy := math.Floor(x), math.Floor(y)
	// NaN and positions far outside fail the comparison, before any conversion to int.
	if !(math.Abs(fx) < math.MaxInt32 && math.Abs(fy) < math.MaxInt32) {
		return false
	}
	left, top := int(fx)-kx.before-win.rect.Min.X, int(fy)-ky.before-win.rect.Min.Y
	if left < 0 || top < 0 || left+kx.taps > win.rect.Dx() || top+ky.taps > win.rect.Dy() {
		return false
	}
	px, py := int((x-fx)*phaseCount+0.5)*kx.taps, int((y-fy)*phaseCount+0.5)*ky.taps
	wx, wy := kx.weights[px:px+kx.taps], ky.weights[py:py+ky.taps]
	var even, odd uint64 // red and blue, green and alpha
	const lanes = 0x000000FF000000FF
	for k, w := range wy {
		row := win.pix[(top+k)*win.stride+4*left:]
		row = row[:4*len(wx)]
		var e, o uint64
		for l, u := range wx {
			q := uint64(binary.LittleEndian.Uint32(row[4*l:]))
			e += u * ((q | q<<16) & lanes)
			q >>= 8
			o += u * ((q | q<<16) & lanes)
		}
		even += w * e
		odd += w * o
	}
	if odd>>32 != 255<<(2*weightBits) {
		return false
	}
	const half = 1<<(2*weightBits-1) | 1<<(2*weightBits-1+32)
	even, odd = even+half, odd+half
	p[0], p[1], p[2], p[3] = byte(even>>(2*weightBits)), byte(odd>>(2*weightBits)), byte(even>>(2*weightBits+32)), 255
	return true
}
