package land

import (
	"math"

	"github.com/tilescout/tilescout/tileserver/source/demo/draw"
)

var roofs = [][]rgb{
	{{154, 100, 80}, {168, 114, 90}, {142, 92, 74}, {178, 130, 104}},                   // tiles
	{{118, 116, 114}, {98, 96, 96}, {136, 130, 124}, {84, 84, 88}, {150, 146, 138}},    // shingles
	{{150, 140, 122}, {132, 120, 104}, {166, 154, 134}, {112, 102, 92}},                // sand
	{{200, 196, 188}, {176, 172, 164}, {146, 96, 80}, {110, 110, 112}, {188, 130, 98}}, // mixed
}

// house draws one house with a hipped or gabled roof about f's middle.
func (w *World) house(f frame, hgt float64, col rgb) {
	r := w.rng
	f = f.turned()
	ridge := f.hx
	if r.IntN(2) == 0 {
		ridge = max(f.hx-f.hy, f.hx*.15) // hipped
	}
	rise := f.hy * .7
	// Two long slopes, each in a lower and an upper strip, so that the light pass sees a slope.
	sx, sy := w.light.Sun()
	shade := func(n vec) float32 {
		x, y := w.dir(n)
		return 1 + .16*(x*sx+y*sy)
	}
	strip := func(a, b, c, d vec, n vec, h float64) {
		w.poly(onRoof, []vec{a, b, c, d}, &draw.Mat{C: col.Mul(shade(n)), Grain: .07, Mid: .04}, h)
	}
	for _, s := range [...]float64{-1, 1} {
		n := f.y.mul(s)
		strip(f.at(-f.hx, s*f.hy), f.at(f.hx, s*f.hy), f.at(ridge, 0), f.at(-ridge, 0), n, hgt+rise*.4)
		if ridge < f.hx {
			strip(f.at(s*f.hx, -f.hy), f.at(s*f.hx, f.hy), f.at(s*ridge, 0), f.at(s*ridge, 0), f.x.mul(s), hgt+rise*.4)
		}
	}
	w.poly(onTop, ribbon([]vec{f.at(-ridge, 0), f.at(ridge, 0)}, .8), &draw.Mat{C: col.Mul(1.12)}, hgt+rise)
	if r.IntN(3) == 0 {
		w.brick(onTop, f.at(between(r, -.5, .5)*f.hx, between(r, -.6, .6)*f.hy), f.x, 1.1, 1.1, rgb{120, 84, 70}, hgt+rise+1)
	}
}

// houses fills a quadrilateral with streets of houses in lots; the class gives the density.
func (w *World) houses(q [4]vec, class string) {
	r := w.rng
	dense := class == "dense residential area"
	ground := w.pal.lawn
	lotW, lotD, street := between(r, 19, 25), between(r, 26, 32), 7.0
	houseW, houseD := between(r, 12.5, 16), between(r, 10, 13)
	trees, pools := between(r, 2, 4.5), pick(r, .04, .12, .3)
	if dense {
		lotW, lotD, street = between(r, 10.5, 14), between(r, 15, 20), 6.5
		houseW, houseD = lotW-between(r, .4, 2.4), between(r, 9, 11.5)
		trees, pools = .35, .03
		if r.IntN(3) == 0 {
			ground = w.pal.bare
		}
		if r.IntN(3) == 0 {
			ground = w.pal.pave
		}
	}
	w.poly(onGround, q[:], ground, -1)
	w.label(class, q[:])
	set := roofs[r.IntN(len(roofs))]
	// Streets run along s or t.
	if r.IntN(2) == 0 {
		q = [4]vec{q[1], q[2], q[3], q[0]}
	}
	long := (q[1].sub(q[0]).len() + q[2].sub(q[3]).len()) / 2
	deep := (q[3].sub(q[0]).len() + q[2].sub(q[1]).len()) / 2
	pitch := 2*lotD + street
	n := max(1, int(math.Round(deep/pitch)))
	bend := 0.0
	if !dense || r.IntN(2) == 0 {
		bend = between(r, -.05, .05)
	}
	phase := between(r, 0, 6)
	// bent maps with a swing, so that the streets curve; the edges stay.
	bent := func(s, t float64) vec {
		return at(q, s, t+bend*math.Sin(s*5+phase)*math.Min(1, 5*t)*math.Min(1, 5*(1-t)))
	}
	line := func(t, s0, s1 float64) []vec {
		var p []vec
		for k := range 13 {
			p = append(p, bent(s0+(s1-s0)*float64(k)/12, t))
		}
		return p
	}
	kind := roadKind{width: street, lanes: 1, surface: w.pal.street, walk: 1.3}
	for k := range n {
		mid := (float64(k) + .5) / float64(n)
		w.road(line(mid, 0, 1), kind)
		for s := .03; s < .97; s += between(r, 7, 34) / long { // parked cars
			p, p2 := bent(s, mid), bent(s+.004, mid)
			d := p2.sub(p).unit()
			w.parked(onFloor, p.add(d.perp().mul(pick(r, -1.0, 1.0)*(street/2-1.3))), d)
		}
		for _, side := range [...]float64{-1, 1} {
			count := int(long / lotW)
			for i := range count {
				s := (float64(i) + .5) / float64(count)
				t := mid + side*(street/2+lotD/2+1)/deep
				if t < .005 || t > .995 {
					continue
				}
				c := bent(s, t)
				x := bent(s+.004, t).sub(c).unit()
				y := x.perp()
				if y.dot(bent(s, mid).sub(c)) < 0 {
					y = y.mul(-1)
				}
				w.lot(frame{c, x, y, lotW / 2, lotD / 2}, houseW, houseD, set, dense, trees, pools)
			}
		}
	}
	for _, s := range [...]float64{1. / 3, 2. / 3} { // cross streets
		if long > 200 {
			p := []vec{at(q, s, 0), at(q, s, .5), at(q, s, 1)}
			w.road(p, kind)
		}
	}
}

// lot draws one plot: house towards the street (+y), drive, garden.
func (w *World) lot(f frame, width, depth float64, set []rgb, dense bool, trees, pools float64) {
	r := w.rng
	if r.IntN(40) == 0 {
		return
	}
	col := vary(r, set[r.IntN(len(set))], .12)
	k := between(r, .86, 1.08)
	back := f.hy - depth/2 - between(r, 2.5, 5)
	if dense {
		back = f.hy - depth/2 - between(r, .6, 2.4)
		k = between(r, .94, 1.03)
	} else if r.IntN(3) > 0 { // fenced gardens differ in their green
		m := *w.pal.lawn
		m.C = vary(r, m.C.Mix(w.pal.dry, float32(r.Float64())*.6), .1)
		w.poly(onLot, f.rect(-f.hx+.4, -f.hy, f.hx-.4, back-depth/2), &m, -1)
	}
	h := frame{f.at(between(r, -.08, .08)*f.hx, back), f.x, f.y, width * k / 2, depth * k / 2}
	w.house(h, between(r, 3.4, 6), col)
	if !dense || r.IntN(4) == 0 {
		if r.IntN(3) == 0 { // wing
			w.house(frame{h.at(pick(r, -.5, .5)*h.hx, -h.hy), f.x, f.y, h.hx * .42, h.hy * .7}, 3.2, col)
		}
		x := pick(r, -1.0, 1.0) * (f.hx - 2.6)
		w.poly(onLot, f.rect(x-1.7, back, x+1.7, f.hy+1), w.pal.yard, -1)
		if r.IntN(2) == 0 {
			w.parked(onFloor, f.at(x, f.hy-3.4), f.y)
		}
	}
	if dense && r.IntN(3) == 0 { // yard buildings
		w.house(f.sub(-f.hx*.6, -f.hy+1, f.hx*.5, -f.hy+5), 2.6, vary(r, set[r.IntN(len(set))], .2))
	}
	if r.Float64() < pools {
		p := f.at(between(r, -.4, .4)*f.hx, -f.hy*.45)
		w.poly(onLot, oval(frame{p, f.x, f.y, 0, 0}, 5.4, 3.8, 4, 12), w.pal.pave, -1)
		w.poly(onMark, oval(frame{p, f.x, f.y, 0, 0}, 4.2, 2.5, 3, 12), w.pal.pool, -1)
	}
	for range int(trees + r.Float64()) {
		rad := between(r, 1.8, 4.6)
		if dense {
			rad = between(r, 1.5, 3)
		}
		w.tree(f.at(between(r, -1, 1)*f.hx, -f.hy+between(r, 0, .75)*f.hy), rad, w.crown())
	}
	if r.Float64() < trees/5 {
		w.tree(f.at(between(r, -1, 1)*f.hx, f.hy-1), between(r, 1.8, 3.6), w.crown())
	}
}

// estate draws a few large houses among lawns and trees.
func (w *World) estate(q [4]vec) {
	r := w.rng
	green := *w.pal.lawn
	green.C = vary(r, green.C.Mix(w.pal.grass, float32(r.Float64())), .08)
	green.Size = 50
	w.poly(onGround, q[:], &green, -1)
	w.label("sparse residential area", q[:])
	lane := func(a, b vec) []vec {
		var p []vec
		d := b.sub(a)
		amp := between(r, 10, 26)
		ph := between(r, 0, 6)
		for k := range 17 {
			t := float64(k) / 16
			p = append(p, a.add(d.mul(t)).add(d.unit().perp().mul(amp*math.Sin(t*5+ph)*math.Sin(t*math.Pi))))
		}
		return p
	}
	main := lane(at(q, 0, between(r, .4, .6)), at(q, 1, between(r, .4, .6)))
	w.road(main, roadKind{width: 5.6, lanes: 1, surface: w.pal.street})
	set := roofs[r.IntN(len(roofs))]
	for i := range 3 {
		for j := range 3 {
			c := at(q, (float64(i)+between(r, .3, .7))/3, (float64(j)+between(r, .3, .7))/3)
			near, where := math.MaxFloat64, c
			for _, p := range main {
				if d := p.sub(c).len(); d < near {
					near, where = d, p
				}
			}
			if near < 26 {
				c = c.add(c.sub(where).unit().mul(30))
			}
			y := where.sub(c).unit()
			f := frame{c, y.perp(), y, 22, 22}
			w.poly(onGround, oval(f, between(r, 24, 36), between(r, 24, 36), 2.6, 20), w.pal.lawn, -1)
			w.road([]vec{c.add(y.mul(6)), lerp(c, where, .5).add(y.perp().mul(between(r, -8, 8))), where}, roadKind{width: 3.6, lanes: 1, surface: w.pal.yard})
			col := vary(r, set[r.IntN(len(set))], .12)
			hx, hy := between(r, 10, 15), between(r, 7, 9.5)
			w.house(frame{c, f.x, f.y, hx, hy}, 5, col)
			w.house(frame{f.at(hx*.7, -hy), f.x, f.y, 5, 7}, 4, col)
			if r.IntN(2) == 0 {
				p := frame{f.at(-between(r, 2, 10), -hy-11), f.x, f.y, 0, 0}
				w.poly(onLot, oval(p, 8.5, 6, 5, 14), w.pal.pave, -1)
				w.poly(onMark, oval(p, 6, 3.6, 4, 14), w.pal.pool, -1)
			}
			w.parked(onFloor, f.at(between(r, -3, 3), hy+4), f.x)
			for range 16 {
				a, d := between(r, 0, 6.28), between(r, 19, 44)
				p := c.add(vec{math.Cos(a) * d, math.Sin(a) * d})
				if draw.Inside(w.ring(q[:]), w.pt(p)) {
					w.tree(p, between(r, 2, 5), w.crown())
				}
			}
		}
	}
	w.woods(q[:], 8, 3.9, between(r, .12, .36), .8)
}
