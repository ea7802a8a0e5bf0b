// Package land lays out an invented stretch of sea coast with its town and paints any window of it. The
// layout follows from a seed: a coast, a river, a warped grid of arterial roads, and in each cell of the
// grid one use (stadium, forest, car park, …) drawn by rules. Every object's outline is kept as truth.
//
// Three frames are in use, all in metres: the plan (u across the coast, v along it, origin in the middle of the
// scene), the picture (draw.Pt: x east, y south of the upper left corner) and local frames in the plan.
package land

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/tilescout/tilescout/tileserver/source/demo/draw"
)

// GSD is the ground size of a pixel in metres.
const GSD = 0.6

// vec is a place or direction in the plan, metres.
type vec struct{ u, v float64 }

func (a vec) add(b vec) vec        { return vec{a.u + b.u, a.v + b.v} }
func (a vec) sub(b vec) vec        { return vec{a.u - b.u, a.v - b.v} }
func (a vec) mul(k float64) vec    { return vec{a.u * k, a.v * k} }
func (a vec) len() float64         { return math.Hypot(a.u, a.v) }
func (a vec) unit() vec            { return a.mul(1 / max(a.len(), 1e-9)) }
func (a vec) perp() vec            { return vec{-a.v, a.u} }
func (a vec) dot(b vec) float64    { return a.u*b.u + a.v*b.v }
func lerp(a, b vec, t float64) vec { return vec{a.u + t*(b.u-a.u), a.v + t*(b.v-a.v)} }

// Feature is one object or area of the truth: its class phrase and its outline in the picture.
type Feature struct {
	Class string
	Ring  []draw.Pt
}

// layer orders what is painted: lower ones first.
type layer uint8

const (
	onGround layer = iota // lots, fields, water
	onLot                 // courts, paths, small water
	onRoad                // road surfaces
	onMark                // marks on roads and lots
	onFloor               // cars, furniture
	onRoof                // buildings
	onTop                 // things on roofs
	onTree                // crowns
	onBridge              // decks
	onDeck                // marks and cars on decks
)

type item struct {
	layer layer
	solid bool // hides the ground under it
	shape draw.Shape
}

// World is a laid-out scene. It is read-only after New and may be painted by several goroutines.
type World struct {
	Width, Height int // pixels
	Features      []Feature

	rng   *rand.Rand // of the layout; unused after New
	noise *draw.Noise
	light draw.Light
	pal   palette
	plan  plan

	rot  [4]float64 // plan → picture: a 2×2 matrix (rotation, perhaps mirrored)
	mid  vec        // the plan's origin in the picture, metres
	list []item
	bins map[int32][]int32 // items by square of binSide metres
}

const binSide = 96

// New lays a scene of width×height pixels out.
func New(seed uint64, width, height int) *World {
	w := &World{Width: width, Height: height, noise: draw.NewNoise(seed), bins: map[int32][]int32{}}
	w.rng = rand.New(rand.NewPCG(seed, 0x7469_6c65))
	w.mid = vec{float64(width) * GSD / 2, float64(height) * GSD / 2}
	w.pal = newPalette(w.rng)
	w.light = newLight(w.rng)
	quarter := float64(w.rng.IntN(4)) * math.Pi / 2
	turn := quarter + (w.rng.Float64()-0.5)*0.5
	s, c := math.Sincos(turn)
	w.rot = [4]float64{c, -s, s, c}
	if w.rng.IntN(2) == 0 {
		w.rot[1], w.rot[3] = -w.rot[1], -w.rot[3]
	}
	w.layOut()
	w.index()
	return w
}

// pt takes a place of the plan to the picture. It is rounded to 1/64 m, so that the last bits of the platform's
// floating point decide nothing.
func (w *World) pt(p vec) draw.Pt {
	x := float64(w.rot[0]*p.u) + float64(w.rot[1]*p.v) + w.mid.u
	y := float64(w.rot[2]*p.u) + float64(w.rot[3]*p.v) + w.mid.v
	return draw.Pt{X: float32(math.Round(x*64) / 64), Y: float32(math.Round(y*64) / 64)}
}

// dir takes a direction of the plan to the picture.
func (w *World) dir(p vec) (x, y float32) {
	return float32(math.Round((float64(w.rot[0]*p.u)+float64(w.rot[1]*p.v))*64) / 64),
		float32(math.Round((float64(w.rot[2]*p.u)+float64(w.rot[3]*p.v))*64) / 64)
}

// inverse takes a place of the picture to the plan.
func (w *World) inverse(x, y float64) vec {
	x, y = x-w.mid.u, y-w.mid.v
	return vec{float64(w.rot[0]*x) + float64(w.rot[2]*y), float64(w.rot[1]*x) + float64(w.rot[3]*y)}
}

func (w *World) ring(p []vec) []draw.Pt {
	out := make([]draw.Pt, len(p))
	for i, q := range p {
		out[i] = w.pt(q)
	}
	return out
}

func (w *World) add(l layer, s draw.Shape) {
	if s.Bounds().Overlaps(draw.Box{X0: -60, Y0: -60, X1: float32(w.Width)*GSD + 60, Y1: float32(w.Height)*GSD + 60}) {
		p, ok := s.(*draw.Poly)
		w.list = append(w.list, item{l, ok && l == onGround && area(p.P) > 20_000, s})
	}
}

// poly adds a filled polygon; hgt below 0 leaves the height under it.
func (w *World) poly(l layer, p []vec, m *draw.Mat, hgt float64) {
	if len(p) >= 3 {
		w.add(l, &draw.Poly{P: w.ring(p), M: m, Hgt: float32(hgt)})
	}
}

// brick adds a rectangle of length and width in metres along dir.
func (w *World) brick(l layer, at, dir vec, length, width float64, col draw.RGB, hgt float64) {
	d := dir.unit().mul(length / 2)
	x, y := w.dir(d)
	if x == 0 && y == 0 {
		return
	}
	w.add(l, &draw.Brick{C: w.pt(at), Ax: x, Ay: y, Half: float32(width / 2), Col: col, Hgt: float32(hgt)})
}

func (w *World) tree(at vec, r float64, col draw.RGB) {
	w.add(onTree, &draw.Tree{C: w.pt(at), R: float32(r), Hgt: float32(r * 2.1), Col: col, Salt: w.rng.Uint32()})
}

// label keeps an outline as truth, cut to nothing if it lies outside the picture.
func (w *World) label(class string, p []vec) {
	w.Features = append(w.Features, Feature{class, w.ring(p)})
}

// index sorts the items by layer and puts them in bins.
func (w *World) index() {
	slices.SortStableFunc(w.list, func(a, b item) int { return int(a.layer) - int(b.layer) })
	for i, it := range w.list {
		b := it.shape.Bounds()
		for y := bin(b.Y0); y <= bin(b.Y1); y++ {
			for x := bin(b.X0); x <= bin(b.X1); x++ {
				w.bins[y<<12|x] = append(w.bins[y<<12|x], int32(i))
			}
		}
	}
	kept := w.Features[:0]
	frame := draw.Box{X1: float32(w.Width) * GSD, Y1: float32(w.Height) * GSD}
	for _, f := range w.Features {
		if f.Ring = clip(f.Ring, frame); len(f.Ring) >= 3 && area(f.Ring) > 50 {
			kept = append(kept, f)
		}
	}
	w.Features = kept
}

func bin(v float32) int32 { return min(max(int32((v+1024)/binSide), 0), 4000) }

// margins of a block: shadows come in from the south and the sides.
const (
	marginSide  = 72
	marginNorth = 4
	marginSouth = 84
	block       = 512
)

// Paint paints the window of width×height pixels at (x0, y0) into dst, three bytes RGB a pixel. It works in
// blocks on `workers` goroutines; each needs some 8 MB. The window may reach over the picture's edge.
func (w *World) Paint(ctx context.Context, x0, y0, width, height, workers int, dst []byte) error {
	type job struct{ x, y int }
	jobs := make(chan job)
	var wg sync.WaitGroup
	for range max(1, workers) {
		wg.Go(func() {
			c := draw.NewCanvas(block+2*marginSide, block+marginNorth+marginSouth, GSD, w.noise)
			for j := range jobs {
				bw, bh := min(block, width-j.x), min(block, height-j.y)
				w.paintBlock(c, x0+j.x, y0+j.y, bw, bh, dst[(j.y*width+j.x)*3:], width*3)
			}
		})
	}
	var err error
feed:
	for y := 0; y < height; y += block {
		for x := 0; x < width; x += block {
			select {
			case jobs <- job{x, y}:
			case <-ctx.Done():
				err = ctx.Err()
				break feed
			}
		}
	}
	close(jobs)
	wg.Wait()
	return err
}

// hidden is the height that marks a pixel whose ground nobody sees, until ground takes the marks away.
const hidden = -1

func (w *World) paintBlock(c *draw.Canvas, x0, y0, bw, bh int, dst []byte, stride int) {
	c.Reset(x0-marginSide, y0-marginNorth, bw+2*marginSide, bh+marginNorth+marginSouth)
	b := c.Bounds()
	var ids []int32
	for y := bin(b.Y0); y <= bin(b.Y1); y++ {
		for x := bin(b.X0); x <= bin(b.X1); x++ {
			ids = append(ids, w.bins[y<<12|x]...)
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	// What the large lots hide needs no painting: that saves a quarter of the time.
	for _, id := range ids {
		if it := w.list[id]; it.solid && it.shape.Bounds().Overlaps(b) {
			c.Cover([][]draw.Pt{it.shape.(*draw.Poly).P}, func(y, x int, cov []float32) {
				row := c.Hgt[y*c.W+x:]
				for i, k := range cov {
					if k == 1 {
						row[i] = hidden
					}
				}
			})
		}
	}
	w.ground(c)
	for _, id := range ids {
		if s := w.list[id].shape; s.Bounds().Overlaps(b) {
			s.Paint(c)
		}
	}
	c.Develop(&w.light, marginSide, marginNorth, bw, bh, dst, stride)
}

// clip cuts a ring to a box (Sutherland–Hodgman).
func clip(p []draw.Pt, b draw.Box) []draw.Pt {
	side := func(p []draw.Pt, dist func(draw.Pt) float32) []draw.Pt {
		var out []draw.Pt
		for i, q := range p {
			r := p[(i+1)%len(p)]
			dq, dr := dist(q), dist(r)
			if dq >= 0 {
				out = append(out, q)
			}
			if (dq >= 0) != (dr >= 0) {
				t := dq / (dq - dr)
				out = append(out, draw.Pt{X: q.X + t*(r.X-q.X), Y: q.Y + t*(r.Y-q.Y)})
			}
		}
		return out
	}
	p = side(p, func(q draw.Pt) float32 { return q.X - b.X0 })
	p = side(p, func(q draw.Pt) float32 { return b.X1 - q.X })
	p = side(p, func(q draw.Pt) float32 { return q.Y - b.Y0 })
	return side(p, func(q draw.Pt) float32 { return b.Y1 - q.Y })
}

func area(p []draw.Pt) float64 {
	s := 0.0
	for i, q := range p {
		r := p[(i+1)%len(p)]
		s += float64(q.X)*float64(r.Y) - float64(r.X)*float64(q.Y)
	}
	return math.Abs(s) / 2
}
