package encoder

import (
	"fmt"
	"math"
	"sync"
)

// preprocessing is the way from a decoded picture to the image tower's input.
type preprocessing struct {
	Size   int    // pixels a side
	Resize string // squash: the whole picture, whatever its sides; else shortest side to Size, then the centre
	Filter string // bicubic, bilinear or box, each with antialiasing
	Edge   int    // pixels of the shortest side before the crop; 0 is Size
}

// ID names the way. Embeddings made in different ways are not comparable, so it is part of an embedding's identity:
// change it when the pixels that reach the model change.
func (p preprocessing) ID() string {
	size := fmt.Sprint(p.Size)
	if p.Edge > p.Size {
		size = fmt.Sprintf("%d-%d", p.Edge, p.Size)
	}
	return fmt.Sprintf("%s-%s-%s-rgb8-v1", p.Resize, p.Filter, size)
}

// window is the part of the resized picture that reaches the model: the picture is resized to width × height, of which
// Size × Size pixels from (left, top) are kept.
func (p preprocessing) window(w, h int) (width, height, left, top int) {
	if p.Resize == "squash" {
		return p.Size, p.Size, 0, 0
	}
	// The long side is truncated. The crop's offset is floored, as transformers does it, or rounded half to even, as
	// torchvision does for open_clip.
	edge := max(p.Edge, p.Size)
	if w <= h {
		width, height = edge, edge*h/w
	} else {
		width, height = edge*w/h, edge
	}
	half := func(n int) int {
		if p.Resize == "shortest-crop-round" && n%4 == 3 {
			n++
		}
		return n / 2
	}
	return width, height, half(width - p.Size), half(height - p.Size)
}

// filter is an interpolation kernel and the radius beyond which it is 0, in pixels of the result when scaling down.
type filter struct {
	support float64
	at      func(t float64) float64
}

// filterOf returns the filter of a name, as Pillow defines it (libImaging/Resample.c), or nil.
func filterOf(name string) *filter {
	switch name {
	case "bicubic":
		const a = -0.5
		return &filter{2, func(t float64) float64 {
			t = math.Abs(t)
			if t < 1 {
				return ((a+2)*t-(a+3))*t*t + 1
			}
			if t < 2 {
				return (((t-5)*t+8)*t - 4) * a
			}
			return 0
		}}
	case "bilinear":
		return &filter{1, func(t float64) float64 { return max(0, 1-math.Abs(t)) }}
	case "box":
		return &filter{0.5, func(t float64) float64 {
			if t > -0.5 && t <= 0.5 {
				return 1
			}
			return 0
		}}
	}
	return nil
}

// precision is the number of fraction bits of a coefficient: 32 less 8 for the pixel and 2 for overshoot.
const precision = 32 - 8 - 2

// kernel holds the coefficients of one axis of a resize, in fixed point.
type kernel struct {
	first []int32 // per output pixel: the first input pixel
	coef  []int32 // taps per output pixel, the missing ones 0
	wide  []int32 // coef with each value four times, once for each channel
	taps  int     // even, so that two pixels can be taken at a time
}

// kernelKey names a kernel: outputs [from, from+n) of a resize from in to out pixels.
type kernelKey struct {
	filter           string
	in, out, from, n int
}

// newKernel computes coefficients as Pillow does (precompute_coeffs, normalize_coeffs_8bpc).
func newKernel(k kernelKey) *kernel {
	f := filterOf(k.filter)
	scale := float64(k.in) / float64(k.out)
	filterScale := max(scale, 1)
	support := f.support * filterScale
	bounds := func(i int) (center float64, lo, hi int) {
		center = (float64(k.from+i) + 0.5) * scale
		return center, max(0, int(center-support+0.5)), min(k.in, int(center+support+0.5))
	}
	taps := 1
	for i := range k.n {
		_, lo, hi := bounds(i)
		taps = max(taps, hi-lo)
	}
	taps += taps & 1
	res := &kernel{first: make([]int32, k.n), coef: make([]int32, k.n*taps), wide: make([]int32, 4*k.n*taps), taps: taps}
	weights := make([]float64, taps)
	for i := range k.n {
		center, lo, hi := bounds(i)
		var sum float64
		for j := range hi - lo {
			w := f.at((float64(j+lo) - center + 0.5) * (1 / filterScale))
			weights[j] = w
			sum += w
		}
		// A window at the right edge begins earlier, with zeros, so that the taps lie inside the picture.
		shift := min(lo, max(0, lo+taps-k.in))
		res.first[i] = int32(lo - shift)
		for j := range hi - lo {
			w := weights[j]
			if sum != 0 {
				w /= sum
			}
			c := int32(w*(1<<precision) + math.Copysign(0.5, w))
			at := i*taps + shift + j
			res.coef[at] = c
			for channel := range 4 {
				res.wide[4*at+channel] = c
			}
		}
	}
	return res
}

// resizer resizes pictures for one encoder. It keeps the kernels of the sizes it has seen.
type resizer struct {
	preprocessing
	mu      sync.Mutex
	kernels map[kernelKey]*kernel // guarded by mu
}

func newResizer(p preprocessing) *resizer {
	return &resizer{preprocessing: p, kernels: map[kernelKey]*kernel{}}
}

// maxKernels bounds the kernels kept: a layer has tiles of one or two sizes, uploads may have any.
const maxKernels = 64

func (r *resizer) kernel(k kernelKey) *kernel {
	r.mu.Lock()
	defer r.mu.Unlock()
	res := r.kernels[k]
	if res == nil {
		if len(r.kernels) >= maxKernels {
			clear(r.kernels)
		}
		res = newKernel(k)
		r.kernels[k] = res
	}
	return res
}

// verticalFirst says which pass Pillow makes first; each is rounded to 8 bits, so the order shows. Versions before 13
// always made the horizontal one first. The rule was found by trying 1,465 sizes on Pillow 13.0.0; no square tile meets it.
func verticalFirst(w, h, width, height int) bool {
	return height < h && h-height > 2*(w-width)
}

// resize writes the model's input, Size × Size × 3 bytes RGB, into out. The result is byte for byte that of Pillow 13.
// Only the rows and columns that are kept are made.
func (r *resizer) resize(out []byte, p *pixels, s *scratch) {
	size := r.Size
	width, height, left, top := r.window(p.w, p.h)
	var across, down *kernel // nil where that side keeps its size
	if width != p.w || left != 0 {
		across = r.kernel(kernelKey{r.Filter, p.w, width, left, size})
	}
	if height != p.h || top != 0 {
		down = r.kernel(kernelKey{r.Filter, p.h, height, top, size})
	}
	pix, w, h := p.pix, p.w, p.h
	if down != nil && verticalFirst(p.w, p.h, width, height) {
		pix, h, down = passDown(s.wide(4*w*size+slack), pix, down, w, h), size, nil
	}
	if across != nil {
		first, last := 0, h
		if down != nil {
			first, last = int(down.first[0]), min(h, int(down.first[size-1])+down.taps)
		}
		dst := s.narrow(4*size*h + slack)
		for y := first; y < last; y++ {
			horizontal(dst[4*y*size:], pix[4*y*w:], across)
		}
		pix, w = dst, size
	}
	if down != nil {
		pix = passDown(s.wide(4*w*size+slack), pix, down, w, h)
	}
	packRGB(out[:3*size*size], pix)
}

// passDown makes the rows of a kernel from h rows of w pixels.
func passDown(dst, pix []byte, k *kernel, w, h int) []byte {
	for y, first := range k.first {
		coef := k.coef[y*k.taps:][:min(k.taps, h-int(first))]
		vertical(dst[4*y*w:], pix[4*int(first)*w:], coef, 4*w, 4*w)
	}
	return dst
}

// packRGB drops every fourth byte.
func packRGB(dst, src []byte) {
	for len(dst) >= 3 {
		s := src[:4:4]
		dst[0], dst[1], dst[2] = s[0], s[1], s[2]
		dst, src = dst[3:], src[4:]
	}
}

// Pixels decodes a picture and makes the image tower's input of it, size × size × 3 bytes RGB, as a manifest says.
// Encoder.Images does it faster for many. Errors are those of Images for one picture.
func Pixels(m ImageManifest, picture []byte) ([]byte, error) {
	s := &scratch{}
	if err := s.decode(picture); err != nil {
		return nil, err
	}
	r := newResizer(m.preprocessing())
	out := make([]byte, m.Size*m.Size*3+slack)
	r.resize(out, &s.pixels, s)
	return out[: m.Size*m.Size*3 : m.Size*m.Size*3], nil
}

func (m ImageManifest) preprocessing() preprocessing {
	return preprocessing{Size: m.Size, Resize: m.Resize, Filter: m.Filter, Edge: m.Edge}
}
