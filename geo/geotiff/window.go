package geotiff

import (
	"context"
	"fmt"
	"image"
)

// window is a rectangle of a grid as NRGBA.
type window struct {
	rect   image.Rectangle
	pix    []byte // nil if empty
	stride int
	opaque bool
	empty  bool // nothing but pixels that were never written
}

// window assembles a rectangle, which lies inside the grid, from blocks. A window inside one block is that
// block's memory: it must not be written to.
func (f *File) window(ctx context.Context, l *level, g grid, r image.Rectangle) (*window, error) {
	w := &window{rect: r, stride: 4 * r.Dx(), opaque: true, empty: true}
	if r.Empty() {
		return w, nil
	}
	// Positions of the first and last row and column in the level; a stride looks at the middle of its pixels.
	at := func(u, k, size int) int { return min(u*k+k/2, size-1) }
	i0, i1 := at(r.Min.X, g.kx, l.width)/l.blockW, at(r.Max.X-1, g.kx, l.width)/l.blockW
	j0, j1 := at(r.Min.Y, g.ky, l.height)/l.blockH, at(r.Max.Y-1, g.ky, l.height)/l.blockH
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
