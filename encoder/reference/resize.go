package reference

import (
	"fmt"
	"image"
	"math"

	"github.com/tilescout/tilescout"
)

// Resize is the way from an opaque picture to a tower's input, computed value by value as Pillow 13 does it.
type Resize struct {
	Size   int    // pixels a side of the result
	Edge   int    // pixels of the shortest side before the crop; 0 is Size
	Mode   string // squash, shortest-crop (or shortest), shortest-crop-round
	Filter string // bicubic, bilinear or box
}

// Pixels returns Size × Size × 3 bytes RGB. Alpha is not looked at.
func (r Resize) Pixels(m image.Image) ([]byte, error) {
	b := m.Bounds()
	w, h := b.Dx(), b.Dy()
	kernel, support := filter(r.Filter)
	if kernel == nil || w < 1 || h < 1 {
		return nil, fmt.Errorf("reference: resize of %d × %d with %q: %w", w, h, r.Filter, tilescout.ErrBadInput)
	}
	edge := max(r.Edge, r.Size)
	width, height := edge, edge
	switch {
	case r.Mode == "squash":
		width, height = r.Size, r.Size
	case w < h:
		height = int(float64(edge*h) / float64(w))
	default:
		width = int(float64(edge*w) / float64(h))
	}
	pix := make([]byte, 0, 3*w*h)
	for y := range h {
		for x := range w {
			r, g, b, _ := m.At(b.Min.X+x, b.Min.Y+y).RGBA()
			pix = append(pix, byte(r>>8), byte(g>>8), byte(b>>8))
		}
	}
	across := func() {
		if width != w {
			pix = resizeRows(pix, w, h, width, kernel, support)
			w = width
		}
	}
	down := func() {
		if height != h {
			pix = transpose(resizeRows(transpose(pix, w, h), h, w, height, kernel, support), height, w)
			h = height
		}
	}
	if height < h && h-height > 2*(w-width) { // the order since Pillow 13; rounding between the passes shows it
		down()
		across()
	} else {
		across()
		down()
	}
	middle := func(n int) int {
		half := float64(n-r.Size) / 2
		if r.Mode == "shortest-crop-round" {
			return int(math.RoundToEven(half))
		}
		return int(math.Floor(half))
	}
	left, top := middle(w), middle(h)
	out := make([]byte, 0, 3*r.Size*r.Size)
	for y := range r.Size {
		at := 3 * ((top+y)*w + left)
		out = append(out, pix[at:at+3*r.Size]...)
	}
	return out, nil
}

// resizeRows makes rows of w pixels out pixels long. Weights have 22 bits behind the point.
func resizeRows(pix []byte, w, h, out int, kernel func(float64) float64, support float64) []byte {
	scale := float64(w) / float64(out)
	stretch := math.Max(scale, 1)
	res := make([]byte, 3*out*h)
	for x := range out {
		center := (float64(x) + .5) * scale
		lo := max(0, int(center-support*stretch+.5))
		hi := min(w, int(center+support*stretch+.5))
		weights := make([]float64, hi-lo)
		var sum float64
		for i := range weights {
			weights[i] = kernel((float64(i+lo) - center + .5) * (1 / stretch))
			sum += weights[i]
		}
		fixed := make([]int64, len(weights))
		for i, v := range weights {
			fixed[i] = int64(v/sum*(1<<22) + math.Copysign(.5, v/sum))
		}
		for y := range h {
			for c := range 3 {
				acc := int64(1 << 21)
				for i, v := range fixed {
					acc += int64(pix[3*(y*w+lo+i)+c]) * v
				}
				res[3*(y*out+x)+c] = byte(min(max(acc>>22, 0), 255))
			}
		}
	}
	return res
}

func transpose(pix []byte, w, h int) []byte {
	out := make([]byte, len(pix))
	for y := range h {
		for x := range w {
			copy(out[3*(x*h+y):3*(x*h+y)+3], pix[3*(y*w+x):])
		}
	}
	return out
}

// filter returns the kernel of a name and its radius.
func filter(name string) (func(float64) float64, float64) {
	switch name {
	case "bicubic":
		return func(t float64) float64 {
			const a = -.5
			if t = math.Abs(t); t < 1 {
				return ((a+2)*t-(a+3))*t*t + 1
			}
			if t < 2 {
				return (((t-5)*t+8)*t - 4) * a
			}
			return 0
		}, 2
	case "bilinear":
		return func(t float64) float64 { return math.Max(0, 1-math.Abs(t)) }, 1
	case "box":
		return func(t float64) float64 {
			if t > -.5 && t <= .5 {
				return 1
			}
			return 0
		}, .5
	}
	return nil, 0
}
