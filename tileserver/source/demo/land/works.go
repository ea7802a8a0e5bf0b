package land

import (
	"math"

	"github.com/tilescout/tilescout/tileserver/source/demo/draw"
)

// tankCell draws a tank farm and, where room is left, a plant.
func (w *World) tankCell(q [4]vec, f frame) {
	r := w.rng
	w.poly(onGround, q[:], pick(r, w.pal.lawn, w.pal.bare), -1)
	f = f.turned()
	share := between(r, .62, 1)
	if f.hx*2*share < 210 {
		share = 1
	}
	x := -f.hx + 2*f.hx*share
	farm := f.sub(-f.hx+3, -f.hy+3, x-5, f.hy-3)
	w.tankFarm(farm)
	w.label("storage tanks", farm.all())
	if share < .92 {
		rest := f.sub(x+5, -f.hy+3, f.hx-3, f.hy-3)
		w.factories(rest)
		w.label("industrial area", rest.all())
	}
	w.scatter(q, 40, 2, nil)
}

// tankFarm draws tanks in bunds of some sizes with service roads and pipes.
func (w *World) tankFarm(f frame) {
	r := w.rng
	ground := pick(r, w.pal.lawn, w.pal.bare, w.pal.yard, w.pal.yard)
	w.poly(onLot, f.all(), ground, -1)
	tint := pick(r, rgb{226, 226, 222}, rgb{220, 220, 216}, rgb{206, 206, 202}, rgb{230, 228, 220})
	y := -f.hy
	for y < f.hy-24 {
		rad := min(pick(r, between(r, 19, 25), between(r, 12, 16), between(r, 8, 11)), (f.hy-y-8)/2)
		if rad < 6 {
			break
		}
		cellSize := 2*rad + between(r, 9, 16)
		n := int(2 * f.hx / cellSize)
		pad := (2*f.hx - float64(n)*cellSize) / 2
		floor := &draw.Mat{C: pick(r, rgb{140, 134, 122}, rgb{120, 116, 108}, w.pal.soil, w.pal.grass), D: rgb{110, 104, 94}, Size: 24, Bias: -.2, Sharp: 1.2, Grain: .07, Mid: .08}
		bund := &draw.Mat{C: rgb{178, 172, 160}, Grain: .05}
		group := 1 + r.IntN(3)
		for i := range n {
			x0 := -f.hx + pad + float64(i)*cellSize
			b := f.sub(x0+1.5, y+1.5, x0+cellSize-1.5, y+cellSize-1.5)
			if i%group == 0 {
				wide := min(float64(group), float64(n-i)) * cellSize
				g := f.sub(x0+1.5, y+1.5, x0+wide-1.5, y+cellSize-1.5)
				w.poly(onLot, g.all(), floor, -1)
				p := g.all()
				w.poly(onMark, ribbon(append(p, p[0], p[1]), 1.1), bund, 1.2)
			}
			if r.IntN(11) == 0 {
				continue
			}
			w.tank(frame{b.o, f.x, f.y, 0, 0}, rad*between(r, .9, 1), tint)
		}
		y += cellSize
		w.poly(onRoad, f.rect(-f.hx, y-.2, f.hx, y+5.5), w.pal.street, -1)
		for k := range 4 { // pipes along the road
			o := y + 6.2 + float64(k)*.9
			w.poly(onMark, f.rect(-f.hx, o, f.hx, o+.5), w.pal.steel, .8)
		}
		y += 10
	}
}

// tank draws one tank: wall, roof (cone or floating), stair, vents.
func (w *World) tank(f frame, rad float64, tint rgb) {
	r := w.rng
	n := 40
	col := vary(r, tint, .05)
	if r.IntN(9) == 0 {
		col = vary(r, pick(r, rgb{150, 120, 98}, rgb{150, 152, 150}, rgb{170, 160, 146}), .06)
	}
	hgt := between(r, 9, 15)
	if rad < 10 {
		hgt = between(r, 8, 18)
	}
	w.poly(onRoof, oval(f, rad, rad, 2, n), &draw.Mat{C: col.Mul(.9), Grain: .03}, hgt)
	if r.IntN(4) == 0 { // floating roof: sunk, so that the wall's shadow falls on it
		inner := vary(r, pick(r, rgb{176, 176, 172}, rgb{140, 136, 130}, rgb{196, 194, 188}), .06)
		w.poly(onTop, oval(f, rad*.95, rad*.95, 2, n), &draw.Mat{C: inner, D: inner.Mul(.85), Size: 12, Sharp: 1, Grain: .04, Mid: .05}, hgt-between(r, 2, 6))
		w.poly(onTop, ribbon([]vec{f.at(rad*.9, 0), f.at(0, rad*.2)}, 1), w.pal.steel, hgt-1)
		return
	}
	// A cone in facets: the side to the sun is brighter.
	sx, sy := w.light.Sun()
	rim := oval(f, rad*.97, rad*.97, 2, 20)
	for i := range rim {
		k := (i + 1) % len(rim)
		x, y := w.dir(lerp(rim[i], rim[k], .5).sub(f.o).unit())
		c := col.Mul(1 + .07*(x*sx+y*sy))
		w.poly(onTop, []vec{rim[i], rim[k], f.o}, &draw.Mat{C: c, Grain: .03, Mid: .02}, hgt+.6)
	}
	w.brick(onTop, f.o, f.x, 1.6, 1.6, rgb{150, 150, 148}, hgt+1.6)
	a := between(r, 0, 6.2)
	d := f.x.mul(math.Cos(a)).add(f.y.mul(math.Sin(a)))
	w.poly(onTop, ribbon([]vec{f.o.add(d.mul(rad * .3)), f.o.add(d.mul(rad * 1.04))}, .7), &draw.Mat{C: col.Mul(.8)}, hgt+.9)
}

// interchange draws two motorways that cross on a viaduct, with loops and ramps.
func (w *World) interchange(q [4]vec, f frame) {
	r := w.rng
	in := inset(q, 8)
	w.poly(onGround, in[:], w.pal.lawn, -1)
	w.label("viaduct", in[:])
	a, b := lerp(q[0], q[3], .5), lerp(q[1], q[2], .5)
	c, d := lerp(q[0], q[1], .5), lerp(q[3], q[2], .5)
	o := f.o
	x, y := b.sub(a).unit(), d.sub(c).unit()
	g := frame{o, x, y, 0, 0}
	half := min(f.hx, f.hy) - 6
	loop := min(half*.44, 62)
	clear := 15.0
	bend := func(p ...vec) []vec { // a smooth line through control points
		var out []vec
		for i := range len(p) - 1 {
			p0, p1, p2, p3 := p[max(i-1, 0)], p[i], p[i+1], p[min(i+2, len(p)-1)]
			for k := range 10 {
				t := float64(k) / 10
				m := p1.mul(2).add(p2.sub(p0).mul(t)).add(p0.mul(2).sub(p1.mul(5)).add(p2.mul(4)).sub(p3).mul(t * t)).add(p1.mul(3).sub(p0).sub(p2.mul(3)).add(p3).mul(t * t * t))
				out = append(out, m.mul(.5))
			}
		}
		return append(out, p[len(p)-1])
	}
	ramp := roadKind{width: 8, lanes: 1, traffic: 46, walk: 1.4}
	for _, s := range [...][2]float64{{1, 1}, {-1, 1}, {-1, -1}, {1, -1}} {
		var p []vec
		for k := range 25 { // loop: three quarters of a circle in the quadrant
			t := math.Pi * (1 + float64(k)/24*1.5)
			p = append(p, g.at(s[0]*(clear+loop+loop*math.Cos(t-math.Pi/2+math.Pi)), s[1]*(clear+loop+loop*math.Sin(t-math.Pi/2+math.Pi))))
		}
		w.road(p, ramp)
		w.road(bend(g.at(s[0]*half*1.06, s[1]*10), g.at(s[0]*half*.8, s[1]*16), g.at(s[0]*half*.52, s[1]*half*.52), g.at(s[0]*16, s[1]*half*.8), g.at(s[0]*10, s[1]*half*1.06)), ramp)
		w.woods(oval(frame{g.at(s[0]*(clear+loop), s[1]*(clear+loop)), x, y, 0, 0}, loop*.74, loop*.74, 2, 16), 7, 3.2, between(r, 0, .5), .8)
	}
	big := roadKind{width: 27, lanes: 6, traffic: 34, median: true}
	w.road([]vec{a, o, b}, big)
	big.over = true
	deck := []vec{c, lerp(c, o, .5), o, lerp(o, d, .5), d}
	w.poly(onLot, ribbon(deck, 34), w.pal.lawn, -1)
	w.poly(onBridge, ribbon([]vec{g.at(0, -40), g.at(0, 40)}, 31), w.pal.yard, 7)
	// The embankment is low towards its ends; only the middle is a deck.
	w.road([]vec{c, g.at(0, -38)}, roadKind{width: 27, lanes: 6, traffic: 34, median: true})
	w.road([]vec{g.at(0, 38), d}, roadKind{width: 27, lanes: 6, traffic: 34, median: true})
	w.road([]vec{g.at(0, -40), o, g.at(0, 40)}, big)
}
