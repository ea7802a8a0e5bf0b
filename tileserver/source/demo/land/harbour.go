package land

import (
	"math"
	"slices"

	"github.com/tilescout/tilescout/tileserver/source/demo/draw"
)

// shoreZones gives the stretches of the coast their use and draws them.
func (w *World) shoreZones() {
	p, r := &w.plan, w.rng
	var seen []*cell
	for _, c := range p.cells {
		if c.i < 0 && c.seen > .3 {
			seen = append(seen, c)
		}
	}
	slices.SortFunc(seen, func(a, b *cell) int { return a.j - b.j })
	// A pattern from one end to the other: port, marina and beaches must be there.
	kinds := []string{"port", "marina", "port", "beach", "beach", "port", "beach", "beach", "marina", "beach"}
	if len(seen) < 4 {
		kinds = []string{"port", "beach", "marina"}
	}
	if r.IntN(2) == 0 {
		slices.Reverse(seen)
	}
	for k, c := range seen {
		c.use = kinds[k%len(kinds)]
	}
	for _, c := range p.cells {
		if c.i < 0 && c.use == "" {
			c.use = "cliff"
		}
	}
	p.beach = newCurve(-p.rv-200, p.rv+200, func(v float64) float64 {
		// Metres to the nearest stretch that is no beach, on either side.
		in := math.MaxFloat64
		for _, c := range p.cells {
			if c.i < 0 && c.use != "beach" {
				in = min(in, max(c.q[0].v-v, v-c.q[3].v))
			}
		}
		best := min(max(in/50+.35, 0), 1)
		// No sand in the river's mouth.
		k := (math.Abs(v-p.river.value(p.coast.value(v))) - p.half.value(p.coast.value(v)) - 20) / 60
		return best * min(max(k, 0), 1)
	})
	for _, c := range p.cells {
		if c.i >= 0 || c.seen == 0 {
			continue
		}
		keep := w.rng
		w.rng = c.rng
		switch c.use {
		case "port":
			w.port(c)
		case "marina":
			w.marina(c)
		case "beach":
			w.beach(c)
		default:
			w.woods([]vec{at(c.q, .2, .05), at(c.q, .9, .05), at(c.q, .9, .95), at(c.q, .2, .95)}, 9, 3, .25, .8)
		}
		w.rng = keep
	}
	w.shipping()
}

// ship draws a vessel: container, tanker or bulk carrier.
func (w *World) ship(at, bow vec, long float64, wake bool) {
	r := w.rng
	n := bow.unit()
	f := frame{at, n, n.perp(), 0, 0}
	l, b := long/2, long*.072
	hull := pick(r, rgb{120, 54, 46}, rgb{50, 62, 84}, rgb{70, 72, 74}, rgb{84, 96, 90}, rgb{44, 48, 52})
	if wake {
		foam := &draw.Mat{C: w.pal.sea.Mix(w.pal.foam, .34), D: rgb{200, 212, 212}, Size: 7, Bias: -.3, Sharp: 2.6, Grain: .08}
		for _, s := range [...]float64{-1, 1} {
			w.poly(onLot, []vec{f.at(l, 0), f.at(l*.4, s*b*1.5), f.at(-l*1.15, s*b*3), f.at(-l*1.15, s*b*2.7), f.at(l*.3, s*b)}, foam, -1)
		}
		w.poly(onLot, []vec{f.at(-l*.9, b*.8), f.at(-l*2.6, b*.3), f.at(-l*2.6, -b*.3), f.at(-l*.9, -b*.8)}, foam, -1)
	}
	out := []vec{f.at(l, 0), f.at(l*.93, b*.5), f.at(l*.8, b*.9), f.at(l*.6, b), f.at(-l*.92, b), f.at(-l, b*.7), f.at(-l, -b*.7), f.at(-l*.92, -b), f.at(l*.6, -b), f.at(l*.8, -b*.9), f.at(l*.93, -b*.5)}
	w.poly(onFloor, out, &draw.Mat{C: hull, Grain: .05}, 7)
	deck := pick(r, rgb{132, 72, 58}, rgb{96, 104, 100}, rgb{124, 124, 120})
	in := make([]vec, len(out))
	for i, p := range out {
		in[i] = f.o.add(f.x.mul(p.sub(f.o).dot(f.x) * .975)).add(f.y.mul(p.sub(f.o).dot(f.y) * .86))
	}
	w.poly(onFloor, in, &draw.Mat{C: deck, Grain: .05, Mid: .06}, 7)
	switch r.IntN(3) {
	case 0: // containers
		w.stacksOn(f.sub(-l*.68, -b*.86, l*.72, b*.86), 10)
	case 1: // tanker: pipes and manifolds
		w.poly(onRoof, f.rect(-l*.66, -b*.12, l*.8, b*.12), w.pal.steel, 8.5)
		for x := -l * .6; x < l*.76; x += 16 {
			w.brick(onRoof, f.at(x, 0), f.y, b*1.5, 1, rgb{150, 140, 130}, 8)
		}
	default: // hatches
		for x := -l * .58; x < l*.74; x += l * .22 {
			w.brick(onRoof, f.at(x+l*.08, 0), f.x, l*.17, b*1.3, vary(r, rgb{150, 132, 110}, .2), 9)
		}
	}
	w.brick(onRoof, f.at(-l*.8, 0), f.y, b*1.8, l*.16, rgb{226, 226, 224}, 22)
	w.brick(onTop, f.at(-l*.88, 0), f.x, b*.5, b*.4, pick(r, rgb{60, 70, 110}, rgb{160, 60, 50}, rgb{60, 62, 64}), 26)
}

// stacksOn is a load of containers, closer and higher than in a yard.
func (w *World) stacksOn(f frame, base float64) {
	r := w.rng
	cols := []rgb{{158, 66, 54}, {58, 88, 140}, {70, 116, 90}, {196, 150, 70}, {176, 178, 178}, {130, 78, 56}, {206, 206, 200}}
	for x := -f.hx + 6.5; x+6 < f.hx; x += 13.4 {
		for y := -f.hy + 1.3; y < f.hy-1; y += 2.55 {
			w.brick(onRoof, f.at(x, y), f.x, 12.4, 2.45, vary(r, cols[r.IntN(len(cols))], .14), base+2.6*float64(1+r.IntN(3)))
		}
	}
}

// boat is a yacht or motor boat.
func (w *World) boat(l layer, at, bow vec, long float64) {
	r := w.rng
	n := bow.unit()
	f := frame{at, n, n.perp(), 0, 0}
	h, b := long/2, long*.15
	col := vary(r, pick(r, rgb{232, 232, 230}, rgb{226, 226, 222}, rgb{214, 216, 216}, rgb{60, 76, 110}), .04)
	w.poly(l, []vec{f.at(h, 0), f.at(h*.5, b*.8), f.at(-h*.3, b), f.at(-h, b*.8), f.at(-h, -b*.8), f.at(-h*.3, -b), f.at(h*.5, -b*.8)}, &draw.Mat{C: col, Grain: .04}, 1.6)
	w.brick(onTop, f.at(-h*.2, 0), n, long*.32, b*1.1, pick(r, rgb{150, 140, 124}, rgb{70, 90, 130}, rgb{190, 190, 186}, rgb{120, 124, 128}), 2.4)
}

// port draws a terminal: reclaimed land with a basin, quays, cranes, stacks, sheds and ships.
func (w *World) port(c *cell) {
	r := w.rng
	land := [4]vec{at(c.q, 0, 0), at(c.q, 1, 0), at(c.q, 1, 1), at(c.q, 0, 1)}
	y := c.q[3].sub(c.q[0]).unit()
	x := y.perp()
	if x.u > 0 {
		x = x.mul(-1) // towards the sea
	}
	f := frame{lerp(c.q[0], c.q[3], .5), x, y, 0, 0}
	half := c.q[3].sub(c.q[0]).len()/2 - 14
	in := inset(land, 13)
	w.poly(onGround, []vec{in[0].sub(x.mul(-30)), in[1], in[2], in[3].sub(x.mul(-30))}, w.pal.yard, -1)
	// Piers reach into the sea with basins between them.
	out := between(r, 190, 250)
	n := 2
	w.label("harbor", f.rect(-30, -half, out+14, half))
	wide := between(r, 78, 104)
	quay := &draw.Mat{C: vary(r, rgb{166, 162, 152}, .06), D: rgb{134, 128, 118}, Size: 26, Sharp: 1.2, Grain: .05, Mid: .06}
	gap := (2*half - float64(n)*wide) / float64(n)
	w.poly(onGround, f.rect(-90, -half, 26, half), quay, 1)
	w.add(onGround, &sea{w, w.ring(f.rect(20, -half-6, out+40, half+6))})
	for k := range n {
		y0 := -half + gap/2 + float64(k)*(wide+gap)
		end := out * between(r, .82, 1)
		pier := f.sub(0, y0, end, y0+wide)
		w.poly(onGround, pier.all(), quay, 1)
		p := f.rect(-2, y0, end, y0+wide)
		w.poly(onLot, ribbon(append(p, p[0], p[1]), 2.2), &draw.Mat{C: rgb{196, 190, 178}, Grain: .05}, 1.6)
		box := r.IntN(3) > 0
		w.poly(onRoad, pier.sub(-pier.hx, pier.hy-15, pier.hx, pier.hy-5).all(), w.pal.street, 1)
		if box {
			w.stacks(pier.sub(-pier.hx+6, -pier.hy+20, pier.hx-8, pier.hy-24), 0)
			for _, s := range [...]float64{-1, 1} {
				for x := -pier.hx + between(r, 16, 40); x < pier.hx-14; x += between(r, 46, 80) {
					w.crane(pier.at(x, s*(pier.hy-10)), pier.y.mul(s))
				}
			}
		} else {
			w.split(pier.sub(-pier.hx+10, -pier.hy+16, pier.hx-14, pier.hy-20), 80, 14, func(b frame) { w.hall(b, between(r, 7, 11)) })
		}
		for _, s := range [...]float64{-1, 1} {
			long := min(between(r, 120, 200), end-16)
			if r.IntN(4) > 0 {
				w.ship(pier.at(-pier.hx+long/2+between(r, 6, max(7, end-long)), s*(pier.hy+long*.072+3)), f.x.mul(pick(r, -1.0, 1.0)), long, false)
			}
		}
		for k := range 6 { // tugs and small craft in the basin's head
			w.boat(onFloor, f.at(33, y0+wide+6+float64(k)*9), f.x, between(r, 10, 22))
		}
	}
	// The yard behind: sheds, stacks, a rail bundle.
	back := fit([4]vec{in[0].add(x.mul(-40)), in[1], in[2], in[3].add(x.mul(-40))})
	w.split(back, 105, 14, func(b frame) {
		switch r.IntN(4) {
		case 0:
			w.stacks(b, .4)
		case 1:
			w.parking(b, .5)
		default:
			b.hx *= .9
			b.hy *= .82
			w.hall(b, between(r, 8, 12))
		}
	})
	w.breakwater([]vec{f.at(-10, -half-4), f.at(out*.6, -half-16), f.at(out+90, -half+20), f.at(out+108, half*.2)})
}

// crane is a ship-to-shore gantry; over points across the water.
func (w *World) crane(at, over vec) {
	r := w.rng
	n := over.unit()
	col := pick(r, rgb{70, 110, 150}, rgb{190, 190, 186}, rgb{176, 84, 60}, rgb{196, 156, 70})
	side := n.perp()
	// Girders hang in the air: as walls down to the ground they would throw one large shadow.
	for _, s := range [...]float64{-1, 1} {
		w.brick(onRoof, at.add(side.mul(s*8)), n, 24, 1.4, col, 5)
		w.brick(onTop, at.add(side.mul(s*2.4)).add(n.mul(9)), n, 62, 1.5, col, -1)
		for _, e := range [...]float64{-11, 11} {
			w.brick(onTop, at.add(side.mul(s*8)).add(n.mul(e)), n, 1.6, 1.6, col.Mul(.8), 22)
		}
	}
	for _, s := range [...]float64{-11, 0, 11} {
		w.brick(onTop, at.add(n.mul(s)), side, 17, 1.4, col.Mul(.9), -1)
	}
	w.brick(onTop, at.sub(n.mul(8)), n, 9, 6, rgb{206, 206, 202}, 16)
}

// breakwater is a dam of stones with a road on its crown.
func (w *World) breakwater(p []vec) {
	w.poly(onGround, ribbon(p, 22), &draw.Mat{C: rgb{112, 108, 100}, D: rgb{150, 144, 134}, Size: 4, Sharp: 2, Grain: .16, Mid: .2}, 2)
	w.poly(onLot, ribbon(p, 8), w.pal.yard, 3.4)
	end := p[len(p)-1]
	f := frame{end, vec{1, 0}, vec{0, 1}, 0, 0}
	w.poly(onLot, oval(f, 11, 11, 2, 16), w.pal.yard, 3.4)
	w.brick(onRoof, end, f.x, 4, 4, rgb{230, 226, 220}, 14)
}

// marina draws a basin behind breakwaters with pontoons full of boats.
func (w *World) marina(c *cell) {
	r := w.rng
	y := c.q[3].sub(c.q[0]).unit()
	x := y.perp()
	if x.u > 0 {
		x = x.mul(-1)
	}
	f := frame{lerp(c.q[0], c.q[3], .5), x, y, 0, 0}
	half := c.q[3].sub(c.q[0]).len()/2 - 16
	out := between(r, 170, 215)
	w.label("harbor", f.rect(-12, -half-8, out-4, half+8))
	w.poly(onGround, f.rect(-60, -half, 12, half), w.pal.pave, 1)
	w.add(onGround, &sea{w, w.ring(f.rect(10, -half, out+10, half))})
	deck := &draw.Mat{C: rgb{176, 168, 154}, Grain: .05}
	for yy := -half + 26; yy < half-16; yy += between(r, 42, 50) {
		end := out * between(r, .72, .92)
		w.poly(onLot, f.rect(4, yy-1.5, end, yy+1.5), deck, .6)
		long := between(r, 9, 15)
		for xx := 26.0; xx < end; xx += long*.3 + 1.9 {
			for _, s := range [...]float64{-1, 1} {
				if r.Float64() < .86 {
					w.boat(onFloor, f.at(xx, yy+s*(2.6+long/2)), f.y.mul(s*pick(r, 1.0, 1.0, -1.0)), long*between(r, .85, 1.1))
				}
			}
			if r.IntN(3) == 0 {
				w.poly(onLot, f.rect(xx+long*.15, yy-long*.8, xx+long*.15+.8, yy+long*.8), deck, .5)
			}
		}
	}
	w.breakwater([]vec{f.at(-4, -half-6), f.at(out*.7, -half-8), f.at(out+16, -half+24), f.at(out+22, half*.45)})
	w.breakwater([]vec{f.at(-4, half+8), f.at(out*.6, half+8), f.at(out+12, half-12)})
	// Promenade, car park and club houses on land.
	in := inset(c.q, 14)
	back := fit([4]vec{in[0].sub(x.mul(58)), in[1], in[2], in[3].sub(x.mul(58))})
	w.poly(onGround, []vec{in[0].sub(x.mul(20)), in[1], in[2], in[3].sub(x.mul(20))}, w.pal.lawn, -1)
	w.split(back, 110, 12, func(b frame) {
		if r.IntN(2) == 0 {
			w.parking(b, .7)
			return
		}
		w.split(b, 44, 9, func(t frame) { w.tower(t, between(r, 8, 20)) })
	})
	w.scatter(in, 60, 3, nil)
}

// beach draws what stands on the sand and behind it: umbrellas, a promenade, hotels or dunes.
func (w *World) beach(c *cell) {
	p, r := &w.plan, w.rng
	var front, back []vec
	for k := range 15 {
		v := c.q[0].v + (c.q[3].v-c.q[0].v)*float64(k)/14
		u := p.coast.value(v)
		front = append(front, vec{u - 34, v})
		back = append([]vec{{u + 80, v}}, back...)
	}
	w.label("beach", append(front, back...))
	busy := pick(r, 0.0, .4, 1.0)
	for v := c.q[0].v + 20; v < c.q[3].v-20; v += 5 {
		for k := range 5 {
			if b := p.beach.value(v); b > .8 && r.Float64() < .5*busy {
				at := vec{p.coast.value(v) + 22 + float64(k)*6 + between(r, -2, 2), v + between(r, -2, 2)}
				f := frame{at, vec{1, 0}, vec{0, 1}, 0, 0}
				w.poly(onFloor, oval(f, 1.4, 1.4, 2, 8), &draw.Mat{C: vary(r, pick(r, rgb{60, 90, 150}, rgb{220, 220, 214}, rgb{180, 70, 60}, rgb{210, 180, 90}, rgb{90, 150, 140}), .1)}, 2.2)
			}
		}
	}
	inner := inset(c.q, 14)
	strip := [4]vec{at(c.q, .44, .03), inner[1], inner[2], at(c.q, .44, .97)}
	switch r.IntN(3) {
	case 0:
		w.woods(strip[:], 12, 3, .22, .7)
	case 1:
		f := fit(strip)
		w.poly(onGround, strip[:], w.pal.lawn, -1)
		w.split(f, 64, 14, func(b frame) {
			b.hx *= .7
			b.hy *= .8
			w.tower(b, between(r, 12, 30))
		})
		w.scatter(strip, 90, 4, nil)
	default:
		w.poly(onGround, strip[:], w.pal.meadow, -1)
		w.woods(strip[:], 14, 2.4, .15, .6)
	}
}

// shipping puts ships on the open sea and boats on the river.
func (w *World) shipping() {
	p, r := &w.plan, w.rng
	for range 5 {
		v := between(r, -.9, .9) * p.rv
		u := p.coast.value(v) - between(r, 420, 700)
		w.ship(vec{u, v}, vec{between(r, -.4, .4), pick(r, -1.0, 1.0)}, between(r, 90, 190), r.IntN(3) > 0)
	}
	for range 14 {
		v := between(r, -.95, .95) * p.rv
		u := p.coast.value(v) - between(r, 300, 560)
		d := vec{between(r, -1, 1), between(r, -1, 1)}.unit()
		w.boat(onFloor, vec{u, v}, d, between(r, 8, 14))
		w.poly(onLot, []vec{vec{u, v}, vec{u, v}.sub(d.mul(46)).add(d.perp().mul(5)), vec{u, v}.sub(d.mul(46)).sub(d.perp().mul(5))},
			&draw.Mat{C: w.pal.sea.Mix(w.pal.foam, .5), D: w.pal.sea, Size: 6, Sharp: 1.5}, -1)
	}
	for u := p.coast.value(0) + 200; u < p.ru; u += between(r, 150, 420) {
		v := p.river.value(u) + between(r, -.5, .5)*p.half.value(u)
		d := vec{1, (p.river.value(u+10) - p.river.value(u-10)) / 20}.mul(pick(r, -1.0, 1.0))
		if r.IntN(3) == 0 {
			w.ship(vec{u, v}, d, between(r, 46, 80), true)
		} else {
			w.boat(onFloor, vec{u, v}, d, between(r, 8, 16))
		}
	}
}
