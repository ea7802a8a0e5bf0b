package geotiff

import (
	"context"
	"fmt"
	"image"
)

// Values returns samples of one band, counted from 1, of a window inside a level, row by row, as they are in the file:
// not stretched, and with nodata values in place. What was never written is the nodata value, else 0.
func (f *File) Values(ctx context.Context, levelIndex, band int, window image.Rectangle) ([]float64, error) {
	if levelIndex < 0 || levelIndex >= len(f.levels) {
		return nil, fmt.Errorf("geotiff: level %d of %d: %w", levelIndex, len(f.levels), ErrTagValue)
	}
	l := f.levels[levelIndex]
	if band < 1 || band > int(l.Samples) {
		return nil, fmt.Errorf("geotiff: band %d of %d: %w", band, l.Samples, ErrTagValue)
	}
	if need := int64(window.Dx()) * int64(window.Dy()) * 8; !window.In(image.Rect(0, 0, l.width, l.height)) || window.Empty() || !f.pool.fits(need) {
		return nil, fmt.Errorf("geotiff: window %v: %w", window, ErrBlockTooLarge)
	}
	release, err := f.reserve(ctx, l, window)
	if err != nil {
		return nil, err
	}
	defer release()
	out := make([]float64, window.Dx()*window.Dy())
	for j := window.Min.Y / l.blockH; j*l.blockH < window.Max.Y; j++ {
		for i := window.Min.X / l.blockW; i*l.blockW < window.Max.X; i++ {
			if err := f.blockValues(ctx, l, i, j, band-1, window, out); err != nil {
				return nil, fmt.Errorf("geotiff: level %d, block %d,%d: %w", levelIndex, i, j, err)
			}
		}
	}
	return out, nil
}

// blockValues copies one block's samples into out.
func (f *File) blockValues(ctx context.Context, l *level, i, j, s int, window image.Rectangle, out []float64) error {
	which := 0
	if l.planes > 1 {
		which, s = s, 0
	}
	r, err := f.samples(ctx, l, i, j, which)
	if err != nil {
		return err
	}
	left, top := i*l.blockW, j*l.blockH
	part := image.Rect(left, top, left+l.blockW, top+l.rows(j)).Intersect(window)
	spp, n := l.blockSamples(), l.blockW*l.rows(j)
	var pic plane
	if r != nil && r.img != nil {
		pic = planeOf(r, s, n, f.rangeOf(l))
	}
	for y := part.Min.Y; y < part.Max.Y; y++ {
		row := out[(y-window.Min.Y)*window.Dx():]
		for x := part.Min.X; x < part.Max.X; x++ {
			k := (y-top)*l.blockW + x - left
			switch {
			case r == nil && l.hasNoData:
				row[x-window.Min.X] = l.nodata
			case r == nil:
			case r.img != nil:
				row[x-window.Min.X] = float64(pic.pix[k*pic.step])
			default:
				row[x-window.Min.X] = l.kind.value(r.pix, k*spp+s)
			}
		}
	}
	return nil
}
