package land

import (
	"math"

	"github.com/tilescout/tilescout/tileserver/source/demo/draw"
)

// woods fills a ring with crowns.
func (w *World) woods(p []vec, step, radius, share, cluster float64) {
	r := w.rng
	cols := make([]rgb, 0, 5)
	for range 5 {
		cols = append(cols, w.crown())
	}
	w.add(onTree, &draw.Woods{P: w.ring(p), Step: float32(step), R: float32(radius), Hgt: float32(radius * between(r, 2.2, 3.2)),
		Share: float32(share), Cluster: float32(cluster), Cols: cols, Salt: r.Uint32()})
}

// ragged roughens a ring's edges inwards.
func (w *World) ragged(q []vec, amp float64) []vec {
	r := w.rng
	mid := vec{}
	for _, p := range q {
		mid = mid.add(p.mul(1 / float64(len(q))))
	}
	var out []vec
	for i, a := range q {
		b := q[(i+1)%len(q)]
		n := max(2, int(b.sub(a).len()/14))
		for k := range n {
			p := lerp(a, b, float64(k)/float64(n))
			d := mid.sub(p).unit()
			out = append(out, p.add(d.mul(between(r, 0, amp))))
		}
	}
	return out
}

// forest draws a closed wood, sometimes with a track or a clearing.
func (w *World) forest(q [4]vec) {
	r := w.rng
	w.poly(onGround, q[:], w.pal.meadow, -1)
	p := w.ragged(q[:], 14)
	floor := w.pal.crowns[0].Mul(.62)
	w.poly(onGround, p, &draw.Mat{C: floor, D: w.pal.soil.Mul(.6), Size: 20, Bias: -.35, Sharp: 1, Grain: .1, Mid: .15}, -1)
	step := between(r, 4.6, 6.6)
	w.woods(p, step, step*between(r, .62, .72), between(r, .93, 1), between(r, 0, .12))
	w.label("forest", p)
	if r.IntN(3) == 0 { // a forest track shows as a gap
		a, b := at(q, 0, between(r, .2, .8)), at(q, 1, between(r, .2, .8))
		var line []vec
		ph := between(r, 0, 6)
		for k := range 25 {
			t := float64(k) / 24
			line = append(line, lerp(a, b, t).add(b.sub(a).unit().perp().mul(24*math.Sin(t*7+ph)*math.Sin(t*math.Pi))))
		}
		w.poly(onBridge, ribbon(line, 6), w.pal.bare, 0)
	}
}

// farm divides a quadrilateral into fields, or into the circles of pivot irrigation.
func (w *World) farm(q [4]vec) {
	r := w.rng
	w.poly(onGround, q[:], w.pal.meadow, -1)
	w.label("farmland", q[:])
	crop := func() rgb {
		return vary(r, pick(r, w.pal.grass, w.pal.grass.Mul(.8), w.pal.soil, w.pal.soil.Mul(.8), w.pal.dry, rgb{170, 156, 108},
			rgb{96, 124, 66}, rgb{120, 132, 78}, rgb{146, 126, 98}, rgb{76, 92, 60}), .1)
	}
	field := func(dir vec) *draw.Mat {
		x, y := w.dir(dir.unit())
		per := float32(between(r, 2.6, 9))
		c := crop()
		return &draw.Mat{C: c, D: c.Mix(w.pal.soil, .5).Mul(.95), Size: float32(between(r, 30, 90)), Bias: -.3, Sharp: .9, Grain: .06, Mid: .06, Large: .06,
			SX: x / per, SY: y / per, SA: float32(between(r, .01, .07))}
	}
	if r.IntN(4) == 0 {
		f := fit(q).turned()
		rad := min(f.hy*.97, 190)
		in := inset(q, 2)
		w.poly(onGround, in[:], field(f.y), -1)
		for x := -f.hx + rad; x <= f.hx-rad+1; x += 2.05 * rad {
			o := frame{f.at(x, 0), f.x, f.y, 0, 0}
			whole := oval(o, rad, rad, 2, 60)
			w.poly(onGround, whole, field(f.x), -1)
			a, b := r.IntN(60), 8+r.IntN(30)
			part := []vec{o.o}
			for k := range b {
				part = append(part, whole[(a+k)%60])
			}
			w.poly(onGround, part, field(f.y), -1)
			for i := range 3 {
				k := 1 - float64(i)*.3
				ring := oval(o, rad*k, rad*k, 2, 60)
				w.poly(onLot, ribbon(append(ring, ring[0]), 1), &draw.Mat{C: w.pal.soil, Grain: .1}, -1)
			}
			s, c := math.Sincos(between(r, 0, 6))
			w.poly(onLot, ribbon([]vec{o.o, o.at(rad*c, rad*s)}, 2.4), w.pal.bare, -1)
		}
		return
	}
	var cut func(p [4]vec, depth int)
	cut = func(p [4]vec, depth int) {
		a, b := p[1].sub(p[0]).len(), p[3].sub(p[0]).len()
		if depth == 0 || min(a, b) < 52 || (depth < 3 && r.IntN(5) == 0) {
			in := inset(p, 1.6)
			dir := p[1].sub(p[0])
			if r.IntN(4) > 0 == (a > b) {
				dir = p[3].sub(p[0])
			}
			w.poly(onGround, in[:], field(dir), -1)
			switch r.IntN(9) {
			case 0:
				w.woods([]vec{p[0], p[1], lerp(p[1], p[2], .06), lerp(p[0], p[3], .06)}, 6, 3, .8, .3) // hedge
			case 1:
				w.woodsRow(in, w.crown())
			}
			return
		}
		t := between(r, .35, .65)
		if a > b {
			m, n := lerp(p[0], p[1], t), lerp(p[3], p[2], t)
			cut([4]vec{p[0], m, n, p[3]}, depth-1)
			cut([4]vec{m, p[1], p[2], n}, depth-1)
			return
		}
		m, n := lerp(p[0], p[3], t), lerp(p[1], p[2], t)
		cut([4]vec{p[0], p[1], n, m}, depth-1)
		cut([4]vec{m, n, p[2], p[3]}, depth-1)
	}
	cut(q, 4)
	// Farm track and yard.
	w.road([]vec{at(q, .5, 0), at(q, .48, .5), at(q, .5, 1)}, roadKind{width: 4.4, lanes: 1, surface: w.pal.bare})
	f := frame{at(q, .5+.06*pick(r, -1.0, 1.0), between(r, .3, .7)), q[1].sub(q[0]).unit(), q[1].sub(q[0]).unit().perp(), 20, 24}
	w.poly(onLot, f.all(), w.pal.bare, -1)
	w.house(f.sub(-14, -18, -2, -9), 5, roofs[0][0])
	w.house(f.sub(0, -6, 14, 18), 6, pick(r, rgb{120, 70, 60}, rgb{140, 140, 138}))
	for range 9 {
		w.tree(f.at(between(r, -1.2, 1.2)*f.hx, between(r, -1.2, 1.2)*f.hy), between(r, 2, 4), w.crown())
	}
}

// woodsRow plants an orchard.
func (w *World) woodsRow(q [4]vec, col rgb) {
	w.add(onTree, &draw.Woods{P: w.ring(q[:]), Step: 6, R: 2.1, Hgt: 3.4, Share: .96, Cols: []rgb{col}, Salt: w.rng.Uint32(), Row: true})
}

// desert draws bare sand with dunes.
func (w *World) desert(q [4]vec) {
	r := w.rng
	p := w.ragged(q[:], 8)
	c := w.pal.sand.Mix(pick(r, rgb{206, 150, 100}, rgb{198, 176, 132}, rgb{190, 140, 100}), .55)
	m := &draw.Mat{C: c, D: c.Mul(.9), Size: 120, Sharp: 1.2, Grain: .035, Mid: .03, Large: .05}
	a := between(r, 0, 3.1)
	w.add(onGround, &draw.Dunes{P: w.ring(p), M: m, DX: float32(math.Cos(a)), DY: float32(math.Sin(a)),
		Size: float32(between(r, 26, 60)), Rise: float32(between(r, 2.2, 5))})
	w.label("desert", p)
	if r.IntN(2) == 0 {
		w.woods(p, 26, 1.3, .12, .5)
	}
}

// meadow is open grass with a few bushes.
func (w *World) meadow(q [4]vec) {
	r := w.rng
	m := *w.pal.meadow
	m.C = vary(r, m.C.Mix(w.pal.dry, float32(r.Float64())*.5), .08)
	m.Size = float32(between(r, 60, 140))
	m.Mid = .06
	w.poly(onGround, q[:], &m, -1)
	w.label("meadow", q[:])
	if r.IntN(2) == 0 {
		w.woods(q[:], 22, 2.4, .03, .25)
	}
	if r.IntN(2) == 0 {
		w.road([]vec{at(q, 0, between(r, .2, .8)), at(q, .5, between(r, .4, .6)), at(q, 1, between(r, .2, .8))}, roadKind{width: 3, lanes: 1, surface: w.pal.bare})
	}
}

// park draws lawns, paths, groups of trees and a pond.
func (w *World) park(q [4]vec, f frame) {
	r := w.rng
	w.poly(onGround, q[:], w.pal.lawn, -1)
	w.label("park", q[:])
	pond := frame{at(q, between(r, .35, .65), between(r, .35, .65)), f.x, f.y, 0, 0}
	a, b, c := between(r, 0, 6), between(r, 0, 6), between(r, 60, 100)
	blob := func(grow float64) []vec {
		var p []vec
		for i := range 48 {
			t := 2 * math.Pi * float64(i) / 48
			d := c*(1+.24*math.Sin(2*t+a)+.14*math.Sin(3*t+b)+.06*math.Sin(7*t)) + grow
			p = append(p, pond.at(d*math.Cos(t), d*.72*math.Sin(t)))
		}
		return p
	}
	w.poly(onLot, blob(4), w.pal.bare, -1)
	green := w.pal.river.Mix(rgb{54, 76, 56}, .6)
	w.poly(onLot, blob(0), &draw.Mat{C: green, D: green.Mul(.84), Size: 50, Sharp: 1, Grain: .05, Mid: .05}, -1)
	w.label("pond", blob(0))
	path := roadKind{width: 3.2, lanes: 1, surface: w.pal.pave}
	p := blob(16)
	w.road(append(p, p[0]), path)
	for k := range 4 {
		w.road([]vec{q[k], lerp(q[k], p[k*12], .5).add(vec{between(r, -20, 20), between(r, -20, 20)}), nearest(p, q[k])}, path)
	}
	// Trees stand clear of the pond: groups by noise outside its ring.
	for k := range 4 {
		edge := []vec{q[k], q[(k+1)%4], lerp(q[(k+1)%4], pond.o, .42), lerp(q[k], pond.o, .42)}
		w.woods(edge, 8.5, between(r, 3.2, 4.6), between(r, .2, .5), .7)
	}
}

func nearest(p []vec, to vec) vec {
	best := p[0]
	for _, q := range p {
		if q.sub(to).len() < best.sub(to).len() {
			best = q
		}
	}
	return best
}
