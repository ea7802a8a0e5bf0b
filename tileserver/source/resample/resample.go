// Package resample draws web map tiles from pictures in another coordinate reference system, as remote services that
// have no WebMercatorQuad grid give them.
//
//	view := resample.View{Tile: maptile.New(0, 0, 0), Size: 256, CRS: utm32}
//	need := view.Need(resolution)   // the rectangle of the CRS to ask for
//	img := view.Draw(raster)
package resample

import (
	"image"
	"math"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout/geo"
)

// Raster is a picture with a place: north up, its upper left corner at X, Y of a CRS.
type Raster struct {
	Image  *image.NRGBA
	X, Y   float64 // of the outer corner of pixel 0, 0; x eastwards
	DX, DY float64 // of one pixel, both positive
}

// View is a tile to be drawn from pictures in CRS.
type View struct {
	Tile maptile.Tile
	Size int // pixels a side
	CRS  geo.CRS
}

// Rect is a box in a CRS.
type Rect struct{ MinX, MinY, MaxX, MaxY float64 }

// Empty tells whether r has no area.
func (r Rect) Empty() bool { return !(r.MaxX > r.MinX && r.MaxY > r.MinY) }

// Intersect returns what r and s share.
func (r Rect) Intersect(s Rect) Rect {
	return Rect{max(r.MinX, s.MinX), max(r.MinY, s.MinY), min(r.MaxX, s.MaxX), min(r.MaxY, s.MaxY)}
}

// at returns the coordinates in the CRS of a position in the tile, in pixels; NaN where the projection has none.
func (v View) at(px, py float64) (x, y float64) {
	side := math.Ldexp(2*geo.Half, -int(v.Tile.Z))
	mx := -geo.Half + (float64(v.Tile.X)+px/float64(v.Size))*side
	my := geo.Half - (float64(v.Tile.Y)+py/float64(v.Size))*side
	if v.CRS.EPSG == 3857 {
		return mx, my
	}
	lon := mx / geo.EarthRadius * (180 / math.Pi)
	lat := math.Atan(math.Sinh(my/geo.EarthRadius)) * (180 / math.Pi)
	return v.CRS.Forward(lon, lat)
}

// Rect returns the box of the CRS that holds the tile; empty where the projection has no place for any of it.
func (v View) Rect() Rect {
	r := Rect{math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)}
	const steps = 20 // bent edges stay within a hundredth of a tile between them
	for i := 0; i <= steps; i++ {
		for j := 0; j <= steps; j++ {
			x, y := v.at(float64(v.Size*i)/steps, float64(v.Size*j)/steps)
			if math.IsNaN(x+y) || math.IsInf(x+y, 0) {
				continue
			}
			r.MinX, r.MaxX = min(r.MinX, x), max(r.MaxX, x)
			r.MinY, r.MaxY = min(r.MinY, y), max(r.MaxY, y)
		}
	}
	return r
}

// Resolution returns the units of the CRS under one pixel in the middle of the tile, the geometric mean of both
// directions; NaN where the projection has no place for it.
func (v View) Resolution() float64 {
	c := float64(v.Size) / 2
	x0, y0 := v.at(c-0.5, c)
	x1, y1 := v.at(c+0.5, c)
	x2, y2 := v.at(c, c-0.5)
	x3, y3 := v.at(c, c+0.5)
	return math.Sqrt(math.Abs((x1-x0)*(y3-y2) - (x3-x2)*(y1-y0)))
}

// Draw returns the tile, bilinear; where the raster has more pixels than the tile, all of them count. Transparent
// pixels take no part in a mixture, so that borders do not darken. What lies outside of the raster stays transparent.
func (v View) Draw(r Raster) *image.NRGBA {
	out := image.NewNRGBA(image.Rect(0, 0, v.Size, v.Size))
	w, h := r.Image.Rect.Dx(), r.Image.Rect.Dy()
	if w == 0 || h == 0 {
		return out
	}
	fx, fy := v.reduction(r)
	xs, ys := make([]float64, v.Size+1), make([]float64, v.Size+1)
	kx, ky := make([]float64, 0, 32), make([]float64, 0, 32)
	for py := range v.Size {
		v.row(py, xs, ys)
		for px := range v.Size {
			x, y := (xs[px]-r.X)/r.DX, (r.Y-ys[px])/r.DY
			if !(x >= 0 && y >= 0 && x <= float64(w) && y <= float64(h)) {
				continue
			}
			c, wx := kernel(kx, x, fx, w)
			d, wy := kernel(ky, y, fy, h)
			mix(out.Pix[py*out.Stride+4*px:][:4:4], r.Image, c, d, wx, wy)
		}
	}
	return out
}

// row fills in the coordinates of the pixels of one row. Every eighth is computed, those between lie on a line: over
// eight pixels no projection bends by a hundredth of one.
func (v View) row(py int, xs, ys []float64) {
	const step = 8
	y := float64(py) + 0.5
	for i := 0; i <= v.Size; i += step {
		xs[i], ys[i] = v.at(float64(i)+0.5, y)
	}
	for i := 0; i+step <= v.Size; i += step {
		for k := 1; k < step; k++ {
			f := float64(k) / step
			xs[i+k] = xs[i] + f*(xs[i+step]-xs[i])
			ys[i+k] = ys[i] + f*(ys[i+step]-ys[i])
		}
	}
}

// reduction is how many columns and rows of the raster lie under one pixel of the tile, at least 1.
func (v View) reduction(r Raster) (fx, fy float64) {
	c := float64(v.Size) / 2
	x0, y0 := v.at(c-0.5, c)
	x1, y1 := v.at(c+0.5, c)
	x2, y2 := v.at(c, c-0.5)
	x3, y3 := v.at(c, c+0.5)
	fx = max(math.Abs(x1-x0), math.Abs(x3-x2)) / r.DX
	fy = max(math.Abs(y1-y0), math.Abs(y3-y2)) / r.DY
	const most = 12 // more would be a wrong choice of pictures; the kernel stays small
	if !(fx > 1.05) {
		fx = 1
	}
	if !(fy > 1.05) {
		fy = 1
	}
	return min(fx, most), min(fy, most)
}

// kernel returns the first pixel and the weights of a triangle of half width f round x, within 0 to size.
func kernel(buf []float64, x, f float64, size int) (first int, weights []float64) {
	from, to := int(math.Floor(x-0.5-f))+1, int(math.Ceil(x-0.5+f))-1
	from, to = max(from, 0), min(to, size-1)
	if from > to {
		return min(max(int(x), 0), size-1), append(buf[:0], 1)
	}
	buf = buf[:0]
	for i := from; i <= to; i++ {
		buf = append(buf, 1-math.Abs(float64(i)+0.5-x)/f)
	}
	return from, buf
}

func mix(p []byte, img *image.NRGBA, c, d int, wx, wy []float64) {
	var r, g, b, a, sum float64
	for j, v := range wy {
		row := img.Pix[(d+j)*img.Stride+4*c:]
		for i, u := range wx {
			q := row[4*i : 4*i+4 : 4*i+4]
			w := u * v
			sum += w
			w *= float64(q[3])
			r += w * float64(q[0])
			g += w * float64(q[1])
			b += w * float64(q[2])
			a += w
		}
	}
	if a <= 0 || sum <= 0 {
		return
	}
	p[0], p[1], p[2] = byte(r/a+0.5), byte(g/a+0.5), byte(b/a+0.5)
	p[3] = byte(a/sum + 0.5)
}
