package geotiff

import (
	"context"
	"fmt"
	"image"
	"math"
)

// window is a rectangle of a grid as NRGBA.
type window struct {
	rect   image.Rectangle
	pix    []byte // nil if empty
	stride int
	opaque bool
	empty  bool // nothing but pixels that were never written
}

// blockOverhead stands for what a block costs besides its pixels: looking it up, reading, a decoder's start.
const blockOverhead = 16 << 10

// spend takes the cost of a window's blocks, those that were ever written, off what is left. A file without overviews
// would have to be decoded whole for one small picture, again and again.
func (f *File) spend(ctx context.Context, l *level, g grid, r image.Rectangle, left int64) (int64, error) {
	cost := 4*int64(l.blockW)*int64(l.blockH) + blockOverhead
	i0, i1, j0, j1 := l.span(g, r)
	skipX, skipY := max(1, g.kx/l.blockW), max(1, g.ky/l.blockH) // a stride longer than blocks leaves some out
	if int64((i1-i0)/skipX+1)*int64((j1-j0)/skipY+1) <= left/cost {
		return left - int64((i1-i0)/skipX+1)*int64((j1-j0)/skipY+1)*cost, nil
	}
	for j := j0; j <= j1; j += skipY {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		for i := i0; i <= i1; i += skipX {
			ok, err := l.written(ctx, i, j)
			if err != nil {
				return 0, fmt.Errorf("geotiff: %w", err)
			}
			if ok {
				left -= cost
			}
			if left < 0 {
				return 0, fmt.Errorf("geotiff: more than %d MiB; make overviews with gdaladdo FILE: %w", l.w.limits.Render>>20, ErrNoOverviews)
			}
		}
	}
	return left, nil
}

// at is the row or column of the level that row or column u of a grid with stride k looks at: the middle one.
func at(u, k, size int) int { return min(u*k+k/2, size-1) }

// span returns the first and last blocks, across and down, of a rectangle of the grid.
func (l *level) span(g grid, r image.Rectangle) (i0, i1, j0, j1 int) {
	return at(r.Min.X, g.kx, l.width) / l.blockW, at(r.Max.X-1, g.kx, l.width) / l.blockW,
		at(r.Min.Y, g.ky, l.height) / l.blockH, at(r.Max.Y-1, g.ky, l.height) / l.blockH
}

// window assembles a rectangle, which lies inside the grid, from blocks. A window inside one block is that
// block's memory: it must not be written to.
func (f *File) window(ctx context.Context, l *level, g grid, r image.Rectangle) (*window, error) {
	w := &window{rect: r, stride: 4 * r.Dx(), opaque: true, empty: true}
	if r.Empty() {
		return w, nil
	}
	i0, i1, j0, j1 := l.span(g, r)
	v := r.Min.Y
	for j := j0; j <= j1; j++ {
		vEnd := v
		for vEnd < r.Max.Y && at(vEnd, g.ky, l.height)/l.blockH == j {
			vEnd++
		}
		if vEnd == v {
			continue // the stride is longer than the block
		}
		u := r.Min.X
		for i := i0; i <= i1; i++ {
			uEnd := u
			for uEnd < r.Max.X && at(uEnd, g.kx, l.width)/l.blockW == i {
				uEnd++
			}
			if uEnd == u {
				continue
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if ok, err := l.written(ctx, i, j); err != nil {
				return nil, fmt.Errorf("geotiff: level %d, block %d,%d: %w", l.index, i, j, err)
			} else if !ok {
				w.opaque, u = false, uEnd
				continue
			}
			b, err := f.block(ctx, l, false, i, j)
			if err != nil {
				return nil, fmt.Errorf("geotiff: %w", err)
			}
			part := image.Rect(u, v, uEnd, vEnd)
			u = uEnd
			if b.pix == nil {
				w.opaque = false
				continue
			}
			w.empty = false
			w.opaque = w.opaque && b.opaque
			left, top := i*l.blockW, j*l.blockH
			if part == r && g.kx == 1 && g.ky == 1 {
				w.pix, w.stride = b.pix[4*((r.Min.Y-top)*b.w+r.Min.X-left):], 4*b.w
				return w, nil
			}
			if w.pix == nil {
				w.pix = make([]byte, w.stride*r.Dy())
			}
			for y := part.Min.Y; y < part.Max.Y; y++ {
				dst := w.pix[(y-r.Min.Y)*w.stride+4*(part.Min.X-r.Min.X):]
				src := b.pix[4*(at(y, g.ky, l.height)-top)*b.w:]
				if g.kx == 1 {
					copy(dst, src[4*(part.Min.X-left):][:4*part.Dx()])
					continue
				}
				for x := range part.Dx() {
					s := 4 * (at(part.Min.X+x, g.kx, l.width) - left)
					copy(dst[4*x:4*x+4], src[s:s+4])
				}
			}
		}
		v = vEnd
	}
	return w, nil
}

// Coarsest is the largest pixel, in EPSG:3857 metres, of which a picture of size a side can be drawn everywhere within
// Limits.Render; +Inf if the whole file can be drawn as one picture. A large file without overviews cannot.
func (f *File) Coarsest(size int) float64 {
	full, l := f.levels[0], f.levels[0]
	for _, o := range f.levels[1:] {
		if o.width <= l.width {
			l = o
		}
	}
	cost := 4*float64(l.blockW)*float64(l.blockH) + blockOverhead
	most := float64(l.w.limits.Render) / cost
	if float64(l.across)*float64(l.down) <= most {
		return math.Inf(1)
	}
	metres := f.info.MetersPerPixel * float64(full.width) / float64(l.width)
	n := 1.0 // pixels of the level under one of the picture
	blocks := func(n float64) float64 {
		side := float64(size) * n
		return math.Min(float64(l.across), side/float64(l.blockW)+2) * math.Min(float64(l.down), side/float64(l.blockH)+2)
	}
	for n < 1<<30 && blocks(2*n) <= most {
		n *= 2
	}
	return metres * n
}
