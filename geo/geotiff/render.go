package geotiff

import (
	"context"
	"fmt"
	"image"
	"math"

	"github.com/paulmach/orb"

	"github.com/tilescout/tilescout/geo"
)

// Resampling is how pixels are made from those of the file.
type Resampling int

const (
	// Bilinear weighs the neighbours by distance; where the picture shrinks, all pixels under the new one, as
	// gdalwarp -r bilinear does.
	Bilinear Resampling = iota
	// Nearest takes the pixel under the centre of the new one.
	Nearest
)

const (
	maxOutput = 8192     // pixels a side of a rendered picture
	maxKernel = 32       // pixels of the grid
	maxWindow = 16 << 20 // source pixels that one piece of a picture may need
)

// Render draws the part of the file inside bound, EPSG:3857 metres, as width × height pixels. It takes the
// smallest overview that has the detail, reads only the blocks needed, and leaves transparent what the file
// does not cover. Only valid pixels are mixed, so that borders do not darken. The context is checked between
// blocks.
func (f *File) Render(ctx context.Context, bound orb.Bound, width, height int, r Resampling) (*image.NRGBA, error) {
	if f.geoErr != nil {
		return nil, f.geoErr
	}
	if width < 1 || height < 1 || width > maxOutput || height > maxOutput || !(bound.Max[0] > bound.Min[0] && bound.Max[1] > bound.Min[1]) {
		return nil, fmt.Errorf("geotiff: picture of %d × %d pixels for %v: %w", width, height, bound, ErrBlockTooLarge)
	}
	out := image.NewNRGBA(image.Rect(0, 0, width, height))
	// A file may reach over the 180° meridian, or count its longitudes from 0 to 360.
	for turn := -1; turn <= 1; turn++ {
		v := &view{
			f: f, out: out, resampling: r, left: f.levels[0].w.limits.Render, x0: bound.Min[0] + float64(turn)*2*geo.Half, y0: bound.Max[1],
			dx: (bound.Max[0] - bound.Min[0]) / float64(width), dy: (bound.Min[1] - bound.Max[1]) / float64(height),
		}
		rect := v.cover(f.info.Mercator)
		if rect.Empty() {
			continue
		}
		v.chooseLevel(rect)
		if err := v.draw(ctx, rect); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// view is one picture being drawn from one level.
type view struct {
	f              *File
	out            *image.NRGBA
	resampling     Resampling
	x0, y0, dx, dy float64 // EPSG:3857 of the picture's corner and of one pixel; dy is negative
	level          *level
	grid           grid
	left           int64      // bytes of blocks that may still be decoded
	toGrid         [2]float64 // pixels of the grid per pixel of the full resolution
	fx, fy         float64    // pixels of the grid under one of the picture, at least 1
}

// grid is a level of which, where the picture is far smaller and no overview is there, only every kx-th column
// and ky-th row is looked at.
type grid struct {
	kx, ky        int
	width, height int // of what is looked at
}

func newGrid(l *level, kx, ky int) grid {
	return grid{kx, ky, (l.width + kx - 1) / kx, (l.height + ky - 1) / ky}
}

// cover returns the pixels of the picture that can touch the file, with a margin for bent edges.
func (v *view) cover(b orb.Bound) image.Rectangle {
	mx, my := 2+0.01*(b.Max[0]-b.Min[0])/v.dx, 2-0.01*(b.Max[1]-b.Min[1])/v.dy
	w, h := float64(v.out.Rect.Dx()), float64(v.out.Rect.Dy())
	clamp := func(x, hi float64) int { return int(math.Max(0, math.Min(hi, x))) }
	left, right := (b.Min[0]-v.x0)/v.dx, (b.Max[0]-v.x0)/v.dx
	top, bottom := (b.Max[1]-v.y0)/v.dy, (b.Min[1]-v.y0)/v.dy
	if right <= 0 || left >= w || bottom <= 0 || top >= h {
		return image.Rectangle{}
	}
	return image.Rect(clamp(math.Floor(left-mx), w), clamp(math.Floor(top-my), h),
		clamp(math.Ceil(right+mx), w), clamp(math.Ceil(bottom+my), h))
}

// source returns the position in full-resolution pixels of a position in the picture.
func (v *view) source(px, py float64) (col, row float64) {
	x, y := v.x0+px*v.dx, v.y0+py*v.dy
	if v.f.info.CRS.EPSG != 3857 {
		lon := x / geo.EarthRadius * (180 / math.Pi)
		lat := math.Atan(math.Sinh(y/geo.EarthRadius)) * (180 / math.Pi)
		x, y = v.f.info.CRS.Forward(lon, lat)
	}
	x += v.f.turn
	return v.f.inv.Apply(x, y)
}

// chooseLevel takes the coarsest level that still has a pixel for each of the picture's, on average over the
// part that shows the file, as gdalwarp does.
func (v *view) chooseLevel(rect image.Rectangle) {
	x0, x1, y0, y1 := float64(rect.Min.X), float64(rect.Max.X), float64(rect.Min.Y), float64(rect.Max.Y)
	fx, fy := v.reduction(x0, x1, y0, y1)
	if math.IsNaN(fx + fy) { // the rectangle reaches beyond the projection
		const h = 0.5
		fx, fy = v.reduction((x0+x1)/2-h, (x0+x1)/2+h, (y0+y1)/2-h, (y0+y1)/2+h)
	}
	if math.IsNaN(fx + fy) {
		fx, fy = 1, 1
	}
	full := v.f.levels[0]
	v.level = full
	toLevel := [2]float64{1, 1}
	const slack = 1.02 // an overview that is two hundredths too coarse is the right one
	for _, l := range v.f.levels[1:] {
		sx, sy := float64(full.width)/float64(l.width), float64(full.height)/float64(l.height)
		if sx <= fx*slack && sy <= fy*slack && l.width <= v.level.width && l.height <= v.level.height {
			v.level, toLevel = l, [2]float64{1 / sx, 1 / sy}
		}
	}
	fx, fy = fx*toLevel[0], fy*toLevel[1]
	kx, ky := stride(fx, v.level.width), stride(fy, v.level.height)
	v.grid = newGrid(v.level, kx, ky)
	v.toGrid = [2]float64{toLevel[0] / float64(kx), toLevel[1] / float64(ky)}
	// Strides leave 16 at most, but where the whole level is less than a pixel. A wider kernel would mix the same pixels.
	v.fx, v.fy = min(maxKernel, kernelScale(fx/float64(kx))), min(maxKernel, kernelScale(fy/float64(ky)))
}

// stride is how many pixels to go ahead so that 8 to 16 of them are mixed into one of the picture.
func stride(f float64, size int) int {
	if !(f > 16) {
		return 1
	}
	return int(min(f/8, float64(size)))
}

// reduction is how many columns and rows of the full resolution lie under a pixel of the picture, measured
// along the middle lines of a rectangle.
func (v *view) reduction(x0, x1, y0, y1 float64) (fx, fy float64) {
	cx, cy := (x0+x1)/2, (y0+y1)/2
	ax, ay := v.source(x0, cy)
	bx, by := v.source(x1, cy)
	cx0, cy0 := v.source(cx, y0)
	cx1, cy1 := v.source(cx, y1)
	w, h := x1-x0, y1-y0
	return math.Hypot((bx-ax)/w, (cx1-cx0)/h), math.Hypot((by-ay)/w, (cy1-cy0)/h)
}

// kernelScale is the width of the resampling kernel for a reduction, as gdalwarpkernel.cpp chooses it: 1 up
// to 1/0.95, and whole numbers when close to one.
func kernelScale(f float64) float64 {
	if r := math.Round(f); math.Abs(f-r) < 0.05 && r >= 1 {
		return r
	}
	if f <= 1/0.95 {
		return 1
	}
	return f
}

// draw fills a rectangle of the picture, in pieces if it needs more of the source than may be held.
func (v *view) draw(ctx context.Context, rect image.Rectangle) (err error) {
	if rect.Empty() {
		return nil
	}
	m := v.mapping(rect)
	need := m.need(v)
	if need.Empty() {
		return nil
	}
	if int64(need.Dx())*int64(need.Dy()) > maxWindow {
		if rect.Dx() == 1 && rect.Dy() == 1 {
			return fmt.Errorf("geotiff: one pixel of the picture needs %v of the file: %w", need, ErrBlockTooLarge)
		}
		a, b := rect, rect
		if rect.Dx() >= rect.Dy() {
			a.Max.X = (rect.Min.X + rect.Max.X) / 2
			b.Min.X = a.Max.X
		} else {
			a.Max.Y = (rect.Min.Y + rect.Max.Y) / 2
			b.Min.Y = a.Max.Y
		}
		if err := v.draw(ctx, a); err != nil {
			return err
		}
		return v.draw(ctx, b)
	}
	if v.left, err = v.f.spend(ctx, v.level, v.grid, need, v.left); err != nil {
		return err
	}
	release, err := v.f.reserve(ctx, v.level, need)
	if err != nil {
		return err
	}
	defer release()
	win, err := v.f.window(ctx, v.level, v.grid, need)
	if err != nil || win.empty {
		return err
	}
	switch {
	case v.resampling == Nearest || m.aligned(v):
		v.nearest(rect, m, win)
	case m.separable:
		v.separable(rect, m, win)
	default:
		v.bilinear(rect, m, win)
	}
	return nil
}
