package land

import (
	"math"

	"github.com/tilescout/tilescout/tileserver/source/demo/draw"
)

// airport draws runway, taxiways, apron, terminal, aircraft and hangars in f (x along the runway) and keeps
// the outline of the whole field as truth.
func (w *World) airport(outline []vec, f frame) {
	r := w.rng
	grass := &draw.Mat{C: w.pal.grass.Mix(w.pal.dry, float32(between(r, .2, .7))), D: w.pal.dry, Size: 80, Sharp: 1.2, Grain: .06, Mid: .07, Large: .1}
	w.poly(onGround, outline, grass, -1)
	if r.IntN(2) == 0 {
		f.y = f.y.mul(-1)
	}
	runway := &draw.Mat{C: pick(r, rgb{118, 116, 114}, rgb{136, 134, 130}, rgb{100, 100, 102}), D: rgb{92, 92, 92}, Size: 60, Sharp: 1.2, Grain: .05, Mid: .07}
	taxi := &draw.Mat{C: pick(r, rgb{140, 138, 134}, rgb{158, 154, 146}, rgb{122, 122, 122}), D: rgb{120, 118, 114}, Size: 40, Sharp: 1, Grain: .05, Mid: .05}
	apron := &draw.Mat{C: pick(r, rgb{172, 168, 160}, rgb{160, 158, 152}, rgb{186, 180, 168}), D: rgb{140, 136, 130}, Size: 30, Sharp: 1, Grain: .04, Mid: .05, SA: 0}
	hy := f.hy
	ry := hy - 46 // the runway's middle line
	long := f.hx - 20
	const half = 22.5
	edge := f.rect(-long, ry-half-7, long, ry+half+7)
	w.poly(onLot, edge, taxi, -1)
	w.poly(onRoad, f.rect(-long+6, ry-half, long-6, ry+half), runway, -1)
	w.label("runway", edge)
	white := rgb{214, 214, 208}
	line := &draw.Mat{C: white, Grain: .1}
	for _, s := range [...]float64{-1, 1} {
		w.poly(onMark, f.rect(-long+8, ry+s*(half-2)-.5, long-8, ry+s*(half-2)+.5), line, -1)
		for k := range 12 { // threshold
			y := ry + (float64(k)-5.5)*3.2
			w.brick(onMark, f.at(s*(long-36), y), f.x, 30, 1.7, white, -1)
		}
		for k, n := range [...]int{3, 0, 2, 2, 1, 1} { // touchdown zone and aiming point
			x := s * (long - 120 - float64(k)*75)
			for _, t := range [...]float64{-1, 1} {
				if k == 1 {
					w.brick(onMark, f.at(x-s*30, ry+t*10), f.x, 48, 7, white, -1)
				}
				for i := range n {
					w.brick(onMark, f.at(x, ry+t*(8+float64(i)*3.2)), f.x, 22, 1.7, white, -1)
				}
			}
		}
		// Rubber marks.
		w.poly(onMark, f.rect(s*(long-170)-110, ry-7, s*(long-170)+110, ry+7), &draw.Mat{C: runway.C.Mul(.72), D: runway.C, Size: 18, Bias: .1, Sharp: 1, Grain: .05, SX: 0, SY: .4, SA: .03}, -1)
		// Runway number: two blocks of strokes.
		for i := range 2 {
			c := f.at(s*(long-66), ry+(float64(i)-.5)*9)
			w.brick(onMark, c, f.x, 10, 1.4, white, -1)
			w.brick(onMark, c.add(f.x.mul(5)), f.y, 5, 1.3, white, -1)
			w.brick(onMark, c.sub(f.x.mul(5)), f.y, 5, 1.3, white, -1)
		}
	}
	for x := -long + 90; x < long-90; x += 50 {
		w.brick(onMark, f.at(x, ry), f.x, 30, .9, white, -1)
	}
	// Parallel taxiway and its links.
	ty := ry - 82
	yellow := &draw.Mat{C: rgb{196, 176, 84}, Grain: .05}
	band := func(p []vec, width float64) {
		w.poly(onLot, ribbon(p, width+8), &draw.Mat{C: taxi.C.Mul(.86), Grain: .05, Mid: .06}, -1)
		w.poly(onRoad, ribbon(p, width), taxi, -1)
		w.poly(onMark, ribbon(p, .6), yellow, -1)
	}
	band([]vec{f.at(-long+10, ty), f.at(long-10, ty)}, 21)
	links := 5 + r.IntN(2)
	for k := range links {
		x := -long + 24 + (2*long-48)*float64(k)/float64(links-1)
		skew := 0.0
		if k > 0 && k < links-1 {
			skew = between(r, -70, 70)
		}
		band([]vec{f.at(x, ty), f.at(x+skew, ry-half+4)}, 20)
	}
	// Apron with the terminal at the far side.
	aw := min(long*between(r, .42, .6), 470)
	ax := between(r, -.25, .25) * long
	ay := ty - 27 // near edge of the apron
	depth := min(between(r, 105, 135), hy+ay-70)
	band([]vec{f.at(ax-aw*.6, ty), f.at(ax-aw*.6, ay-20)}, 20)
	band([]vec{f.at(ax+aw*.6, ty), f.at(ax+aw*.6, ay-20)}, 20)
	gx, gy := w.dir(f.x)
	apron.SX, apron.SY, apron.SA = gx/7.5, gy/7.5, .012
	w.poly(onLot, f.rect(ax-aw, ay-depth, ax+aw, ay), apron, -1)
	for k := range 3 {
		w.poly(onMark, f.rect(ax-aw, ay-18-float64(k)*1.2, ax+aw, ay-17.6-float64(k)*1.2), yellow, -1)
	}
	back := ay - depth
	roof := w.roofMat(f.y, rgb{214, 214, 212}, rgb{196, 198, 200}, rgb{170, 174, 178}, rgb{226, 226, 222})
	tw := aw * between(r, .5, .66)
	w.poly(onRoof, f.rect(ax-tw, back-30, ax+tw, back+8), roof, 16)
	w.poly(onTop, f.rect(ax-tw*.5, back-26, ax+tw*.5, back-2), &draw.Mat{C: rgb{186, 196, 202}, Grain: .03, SX: gx / 6, SY: gy / 6, SA: .06}, 19)
	w.brick(onTop, f.at(ax+tw*.8, back-20), f.x, 9, 9, rgb{196, 190, 180}, 44) // control tower
	plane := func(at, nose vec, size float64) { w.aircraft(at, nose, size) }
	piers := 1 + r.IntN(3)
	if depth < 90 {
		piers = 0
	}
	for k := range piers {
		x := ax - tw*.7 + 1.4*tw*(float64(k)+.5)/float64(piers)
		reach := depth * .56
		w.poly(onRoof, f.rect(x-7, back, x+7, back+reach), roof, 12)
		for y := back + 26; y < back+reach+4; y += 40 {
			for _, s := range [...]float64{-1, 1} {
				if r.IntN(5) > 0 {
					plane(f.at(x+s*33, y), f.x.mul(-s), between(r, .85, 1.15))
					w.brick(onRoof, f.at(x+s*12, y+6), f.x, 14, 2.6, rgb{190, 190, 188}, 5)
				}
			}
		}
	}
	for x := ax - aw + 24; x < ax+aw-20; x += 44 { // open stands by the taxi lane
		if r.IntN(5) > 1 {
			plane(f.at(x, ay-38), f.y.mul(pick(r, -1.0, -1.0, 1.0)), between(r, .7, 1.05))
		}
	}
	plane(f.at(between(r, -.8, .8)*long, ty), f.x, 1)
	plane(f.at(between(r, -.5, .5)*long, ry), f.x.mul(-1), 1.1)
	for range 40 { // carts and buses
		w.brick(onFloor, f.at(ax+between(r, -1, 1)*aw, back+between(r, 10, depth)), pick(r, f.x, f.y), between(r, 3, 9), 2.4, pick(r, rgb{226, 226, 222}, rgb{196, 160, 60}, rgb{90, 110, 150}), 2.4)
	}
	// Hangars and small aircraft beside the apron, car parks before the terminal.
	x0, x1 := ax-aw, ax+aw
	for _, s := range [...]float64{-1, 1} {
		n := 0
		for x := ax + s*(aw+14); math.Abs(x+s*52) < f.hx-6 && n < 6; x += s * 58 {
			h := f.sub(min(x, x+s*50), back-24, max(x, x+s*50), back+22)
			w.hall(h, 14)
			w.poly(onLot, f.rect(h.o.sub(f.o).dot(f.x)-27, back+22, h.o.sub(f.o).dot(f.x)+27, ay), apron, -1)
			for range 2 {
				plane(f.at(h.o.sub(f.o).dot(f.x)+between(r, -14, 14), back+between(r, 40, max(41, depth-16))), f.y.mul(pick(r, -1.0, 1.0)), between(r, .35, .6))
			}
			n++
			x0, x1 = min(x0, x+s*54), max(x1, x+s*54)
		}
	}
	lot := f.sub(ax-tw, -hy+6, ax+tw, back-42)
	if lot.hy > 14 {
		w.parking(lot, between(r, .5, .9))
	}
	w.poly(onRoad, f.rect(ax-tw, back-40, ax+tw, back-31), w.pal.road, -1)
	// The field without its open grass: the runway's strip and the apron with all that stands by it.
	bottom := back - 32
	if lot.hy > 14 {
		bottom = -hy
	}
	w.label("airport", []vec{f.at(-long-6, ry+half+8), f.at(long+6, ry+half+8), f.at(long+6, ty-13), f.at(x1, ty-13),
		f.at(x1, back-28), f.at(ax+tw, back-28), f.at(ax+tw, bottom), f.at(ax-tw, bottom), f.at(ax-tw, back-28), f.at(x0, back-28), f.at(x0, ty-13), f.at(-long-6, ty-13)})
}

// aircraft draws an airliner; size 1 is 36 m long.
func (w *World) aircraft(at, nose vec, size float64) {
	r := w.rng
	n := nose.unit()
	f := frame{at, n, n.perp(), 0, 0}
	k := size * 18
	col := vary(r, pick(r, rgb{232, 232, 230}, rgb{226, 226, 226}, rgb{206, 210, 212}), .03)
	body := &draw.Mat{C: col, Grain: .03}
	wing := &draw.Mat{C: col.Mul(.9), Grain: .03}
	for _, s := range [...]float64{-1, 1} {
		w.poly(onRoof, []vec{f.at(.22*k, s*.08*k), f.at(-.22*k, s*.95*k), f.at(-.36*k, s*.95*k), f.at(-.16*k, s*.08*k)}, wing, 3.6)
		w.poly(onRoof, []vec{f.at(-.72*k, s*.05*k), f.at(-.92*k, s*.38*k), f.at(-1.0*k, s*.38*k), f.at(-.92*k, s*.05*k)}, wing, 5)
		w.brick(onRoof, f.at(.1*k, s*.36*k), n, .26*k, .1*k, rgb{196, 198, 200}, 3)
	}
	p := []vec{f.at(k, 0), f.at(.94*k, .06*k), f.at(.8*k, .1*k), f.at(-.6*k, .1*k), f.at(-.98*k, .02*k), f.at(-.98*k, -.02*k), f.at(-.6*k, -.1*k), f.at(.8*k, -.1*k), f.at(.94*k, -.06*k)}
	w.poly(onTop, p, body, 5)
	tail := pick(r, rgb{60, 84, 140}, rgb{160, 50, 46}, rgb{214, 214, 210}, rgb{70, 120, 110}, rgb{196, 130, 50})
	w.brick(onTop, f.at(-.86*k, 0), n, .26*k, .045*k, tail, 9)
}
