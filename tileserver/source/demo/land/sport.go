package land

import (
	"math"

	"github.com/tilescout/tilescout/tileserver/source/demo/draw"
)

// oval is a superellipse ring: power 2 an ellipse, 4 a rounded rectangle.
func oval(f frame, rx, ry, power float64, n int) []vec {
	out := make([]vec, n)
	for i := range out {
		s, c := math.Sincos(2 * math.Pi * float64(i) / float64(n))
		x := math.Copysign(math.Pow(math.Abs(c), 2/power), c) * rx
		y := math.Copysign(math.Pow(math.Abs(s), 2/power), s) * ry
		out[i] = f.at(x, y)
	}
	return out
}

// stretch is a running-track shape: a rectangle with half circles at both ends.
func stretch(f frame, half, radius float64, n int) []vec {
	var out []vec
	for i := range n {
		s, c := math.Sincos(math.Pi*float64(i)/float64(n-1) - math.Pi/2)
		out = append(out, f.at(half+radius*c, radius*s))
	}
	for i := range n {
		s, c := math.Sincos(math.Pi*float64(i)/float64(n-1) + math.Pi/2)
		out = append(out, f.at(-half+radius*c, radius*s))
	}
	return out
}

// ringBand is the area between two rings with as many points, as strips painted one by one.
func (w *World) ringBand(l layer, outer, inner []vec, m func(i int) *draw.Mat, hgt func(i int) float64) {
	n := len(outer)
	for i := range n {
		k := (i + 1) % n
		w.poly(l, []vec{outer[i], outer[k], inner[k], inner[i]}, m(i), hgt(i))
	}
}

// pitch draws a football pitch of 2·hx × 2·hy with its lines.
func (w *World) pitch(f frame) {
	r := w.rng
	green := pick(r, rgb{70, 112, 58}, rgb{78, 120, 62}, rgb{60, 100, 60}, rgb{88, 122, 66}, rgb{52, 104, 70})
	x, y := w.dir(f.x)
	m := &draw.Mat{C: vary(r, green, .08), D: w.pal.dry, Size: 14, Bias: -.5, Sharp: .8, Grain: .05, Mid: .04,
		SX: x / 11, SY: y / 11, SA: float32(pick(r, .07, .05, .03, 0.0)), Hard: true}
	w.poly(onLot, f.rect(-f.hx-4, -f.hy-4, f.hx+4, f.hy+4), m, -1)
	line := &draw.Mat{C: rgb{222, 226, 218}, Grain: .08}
	stroke := func(p ...vec) { w.poly(onMark, ribbon(p, .45), line, -1) }
	stroke(f.at(-f.hx, -f.hy), f.at(f.hx, -f.hy))
	stroke(f.at(-f.hx, f.hy), f.at(f.hx, f.hy))
	stroke(f.at(-f.hx, -f.hy), f.at(-f.hx, f.hy))
	stroke(f.at(f.hx, -f.hy), f.at(f.hx, f.hy))
	stroke(f.at(0, -f.hy), f.at(0, f.hy))
	stroke(oval(frame{f.o, f.x, f.y, 1, 1}, 9.15, 9.15, 2, 25)...)
	for _, s := range [...]float64{-1, 1} {
		e := s * f.hx
		stroke(f.at(e, -20), f.at(e-s*16.5, -20), f.at(e-s*16.5, 20), f.at(e, 20))
		stroke(f.at(e, -9), f.at(e-s*5.5, -9), f.at(e-s*5.5, 9), f.at(e, 9))
		w.brick(onFloor, f.at(e+s, 0), f.y, 7.3, 1.6, rgb{230, 230, 228}, 2.4)
	}
}

// track draws a running track about a pitch; f is its middle and direction.
func (w *World) track(f frame) {
	r := w.rng
	red := pick(r, rgb{164, 88, 68}, rgb{150, 78, 62}, rgb{176, 104, 80}, rgb{140, 84, 76}, rgb{84, 110, 140})
	m := &draw.Mat{C: vary(r, red, .06), Grain: .05, Mid: .06}
	w.poly(onLot, stretch(f, 42, 48, 18), m, -1)
	line := &draw.Mat{C: rgb{212, 190, 178}, Grain: .05}
	for _, d := range [...]float64{47.4, 44, 41, 38.4} {
		p := stretch(f, 42, d, 18)
		w.poly(onLot, ribbon(append(p, p[0]), .35), line, -1)
	}
	w.poly(onLot, stretch(f, 42, 37.6, 18), w.pal.turf, -1)
	w.pitch(frame{f.o, f.x, f.y, 50, 32})
}

// stadium draws one arena about f's middle and returns its outline.
func (w *World) stadium(f frame) []vec {
	r := w.rng
	kind := r.IntN(4)
	f.hx, f.hy = 0, 0
	seats := []rgb{vary(r, pick(r, rgb{150, 150, 150}, rgb{92, 108, 140}, rgb{150, 84, 74}, rgb{120, 124, 128}, rgb{168, 160, 146}), .1), {186, 184, 178}}
	roof := pick(r, rgb{228, 228, 226}, rgb{214, 214, 210}, rgb{190, 194, 198}, rgb{206, 200, 190})
	n := 72
	var ox, oy, ix, iy, power float64
	switch kind {
	case 0: // athletics bowl with a track, open stands
		ox, oy, ix, iy, power = between(r, 118, 130), between(r, 86, 96), 92, 52, 2.5
	case 1: // rectangular football ground
		ox, oy, ix, iy, power = between(r, 92, 104), between(r, 74, 86), 57, 39, 9
	default: // bowl under a ring of roof
		ox, oy, ix, iy, power = between(r, 112, 128), between(r, 90, 104), 62, 44, 3
	}
	// Plaza around.
	w.poly(onLot, oval(f, ox+18, oy+18, power, n), w.pal.pave, -1)
	w.poly(onLot, oval(f, ix+3, iy+3, max(power, 3), n), w.pal.turf, -1)
	if kind == 0 {
		w.track(f)
	} else {
		w.pitch(frame{f.o, f.x, f.y, 52.5, 34})
	}
	// Tiers: rings that rise outwards, with aisles.
	tiers := 9
	var band [][]vec
	for k := range tiers + 1 {
		t := float64(k) / float64(tiers)
		p := power + (max(power, 3)-power)*(1-t)
		band = append(band, oval(f, ix+2+(ox-ix-2)*t, iy+2+(oy-iy-2)*t, p, n))
	}
	top := between(r, 15, 24)
	for k := range tiers {
		t := float64(k+1) / float64(tiers)
		w.ringBand(onRoof, band[k+1], band[k], func(i int) *draw.Mat {
			c := seats[0].Mul(float32(.88 + .1*float64(k%2) + .16*t))
			if i%6 == 0 || k == 4 {
				c = seats[1]
			}
			return &draw.Mat{C: c, Grain: .1, Mid: .05}
		}, func(int) float64 { return 2 + (top-2)*t })
	}
	// Roof: over one side, two, or all around.
	share := 1.0 // depth of the roof as a share of the stand
	covered := func(a float64) bool { return true }
	switch kind {
	case 0:
		share = .62
		side := between(r, .3, .5)
		covered = func(a float64) bool { return math.Sin(a) > side }
		if r.IntN(2) == 0 {
			covered = func(a float64) bool { return math.Abs(math.Sin(a)) > .62 }
		}
	case 1:
		share = .86
		covered = func(a float64) bool { return true }
		if r.IntN(2) == 0 {
			covered = func(a float64) bool { return math.Abs(math.Sin(a)) > .55 || math.Cos(a) > .8 }
		}
	default:
		share = between(r, .62, .92)
	}
	in := oval(f, ox-(ox-ix)*share, oy-(oy-iy)*share, (power+3)/2, n)
	edge := oval(f, ox+3, oy+3, power, n)
	m := [2]*draw.Mat{{C: roof, Grain: .03, Mid: .03}, {C: roof.Mul(.93), Grain: .03, Mid: .03}}
	for i := range n {
		if covered(2 * math.Pi * (float64(i) + .5) / float64(n)) {
			k := (i + 1) % n
			w.poly(onTop, []vec{edge[i], edge[k], in[k], in[i]}, m[i&1], top+5)
		}
	}
	// Flood lights.
	for _, s := range [...][2]float64{{-.76, -.76}, {.76, -.76}, {.76, .76}, {-.76, .76}} {
		if kind < 2 {
			w.brick(onTop, f.at(s[0]*(ox+14), s[1]*(oy+14)), f.x, 5, 1.6, rgb{210, 210, 206}, 34)
		}
	}
	return oval(f, ox+4, oy+4, power, 48)
}

// stadiumCell puts an arena, its car park and its trees in a cell.
func (w *World) stadiumCell(q [4]vec, f frame) {
	r := w.rng
	w.poly(onGround, q[:], w.pal.lawn, -1)
	f = f.turned()
	w.poly(onGround, f.rect(-f.hx, -f.hy, f.hx, f.hy), pick(r, w.pal.pave, w.pal.lawn, w.pal.yard), -1)
	side := pick(r, -1.0, 1.0)
	free := f.hx*2 - 262 // beside the arena
	place := frame{f.at(side*(f.hx-131), between(r, -.2, .2)*max(f.hy-112, 0)), f.x, f.y, 0, 0}
	if r.IntN(2) == 0 && f.hy > 136 {
		place.x, place.y = place.y, place.x.mul(-1)
	}
	w.label("stadium", w.stadium(place))
	if free > 40 {
		x0, x1 := -side*f.hx, -side*(f.hx-free)
		lot := f.sub(min(x0, x1)+6, -f.hy+6, max(x0, x1)-4, f.hy-6)
		w.parking(lot, between(r, .2, .9))
	}
	w.scatter(q, 60, 4, func(p vec) bool { d := p.sub(place.o); return d.len() > 152 })
}

// scatter plants single trees along the inside of a quadrilateral's edge.
func (w *World) scatter(q [4]vec, n int, off float64, ok func(vec) bool) {
	r := w.rng
	in := inset(q, off)
	for range n {
		k := r.IntN(4)
		p := lerp(in[k], in[(k+1)%4], r.Float64())
		if ok == nil || ok(p) {
			w.tree(p, between(r, 2, 4.4), w.crown())
		}
	}
}

// diamond draws one baseball field with home plate at `home`, its middle line along dir, and returns its fan.
func (w *World) diamond(home, dir vec, reach float64, dirt rgb) []vec {
	r := w.rng
	y := dir.unit()
	x := y.perp().mul(-1)
	f := frame{home, x, y, 0, 0}
	fan := func(radius, open float64, n int) []vec {
		out := []vec{f.at(0, -3)}
		for i := range n + 1 {
			s, c := math.Sincos((float64(i)/float64(n) - .5) * open)
			out = append(out, f.at(radius*s, radius*c))
		}
		return out
	}
	clay := &draw.Mat{C: dirt, D: dirt.Mul(.88), Size: 9, Sharp: 1, Grain: .05, Mid: .05}
	gx, gy := w.dir(f.x)
	green := vary(r, pick(r, rgb{80, 114, 62}, rgb{88, 112, 64}, rgb{72, 104, 60}), .06)
	grass := &draw.Mat{C: green, D: w.pal.dry, Size: 16, Bias: -.4, Sharp: .8, Grain: .06, Mid: .05,
		SX: gx / 12, SY: gy / 12, SA: float32(pick(r, .05, .03, 0)), Hard: true}
	w.poly(onLot, fan(reach+1, 1.72, 22), clay, -1) // warning track
	w.poly(onLot, fan(reach-4, 1.66, 22), grass, -1)
	// Skin of the infield: a disc about the pitcher's plate, cut by the foul lines.
	base := 27.4 / math.Sqrt2
	if reach < 75 {
		base = 18.3 / math.Sqrt2
	}
	skin := []vec{f.at(0, -7), f.at(-6, -5)}
	rad := base*2 + 3
	for i := range 19 {
		s, c := math.Sincos((float64(i)/18 - .5) * 2.02)
		skin = append(skin, f.at(rad*s*.98, base*.9+rad*c*.92))
	}
	skin = append(skin, f.at(6, -5))
	w.poly(onLot, skin, clay, -1)
	if reach >= 75 || r.IntN(2) == 0 { // grass inside the bases
		in := base - 2.6
		w.poly(onMark, []vec{f.at(0, base-in), f.at(in, base), f.at(0, base+in), f.at(-in, base)}, grass, -1)
		w.poly(onMark, oval(frame{f.at(0, base), x, y, 0, 0}, 2.8, 2.8, 2, 12), clay, -1)
		w.poly(onMark, oval(frame{f.at(0, 0), x, y, 0, 0}, 4, 4, 2, 14), clay, -1)
	}
	chalk := &draw.Mat{C: rgb{222, 220, 212}}
	for _, s := range [...]float64{-1, 1} {
		w.poly(onMark, ribbon([]vec{f.at(0, 0), f.at(s*reach*.7, reach*.7)}, .4), chalk, -1)
		w.brick(onFloor, f.at(s*base, base), f.x, 1, 1, rgb{235, 235, 230}, .2)
		// Dugout and stand.
		w.brick(onRoof, f.at(s*17, 2), f.at(s, .85).sub(f.o), 15, 3, pick(r, rgb{150, 150, 148}, rgb{90, 110, 92}, rgb{200, 200, 196}), 2.6)
		w.brick(onRoof, f.at(s*12, -9), f.at(s, 1).sub(f.o), 13, 5, rgb{176, 176, 174}, 3)
	}
	w.brick(onRoof, f.at(0, -14), f.x, 12, 6, rgb{168, 166, 160}, 3.2)
	return fan(reach+3, 1.8, 16)
}

// baseballCell draws a group of two to four fields, and something else if there is room.
func (w *World) baseballCell(q [4]vec, f frame) {
	r := w.rng
	w.poly(onGround, q[:], w.pal.turf, -1)
	dirt := vary(r, pick(r, rgb{186, 132, 92}, rgb{172, 116, 84}, rgb{196, 152, 112}, rgb{178, 104, 72}), .06)
	f = f.turned()
	clover := r.IntN(3) != 0 && f.hy > 140
	if clover {
		reach := min(f.hy-26, between(r, 92, 108), 118)
		o := frame{f.at(pick(r, -1.0, 1.0)*max(0, f.hx-reach-28), 0), f.x, f.y, 0, 0}
		w.poly(onLot, oval(o, 24, 24, 2, 24), w.pal.pave, -1)
		turn := between(r, 0, 1.5)
		n := 4
		for k := range n {
			s, c := math.Sincos(turn + float64(k)*2*math.Pi/float64(n))
			d := o.x.mul(c).add(o.y.mul(s))
			w.diamond(o.o.add(d.mul(20)), d, reach-22, dirt)
			// Paths between the fans.
			s, c = math.Sincos(turn + (float64(k)+.5)*2*math.Pi/float64(n))
			e := o.x.mul(c).add(o.y.mul(s))
			w.poly(onMark, ribbon([]vec{o.o, o.o.add(e.mul(reach))}, 4), w.pal.pave, -1)
		}
		w.brick(onRoof, o.o, o.x, 12, 12, rgb{186, 180, 170}, 5)
		w.label("baseball field", oval(o, reach+4, reach+4, 2, 40))
		rest := f.hx*2 - reach*2 - 40
		if rest > 46 {
			s := -1.0
			if o.o.sub(f.o).dot(f.x) < 0 {
				s = 1
			}
			a, b := s*f.hx, s*(f.hx-rest)
			lot := f.sub(min(a, b)+4, -f.hy+8, max(a, b)-4, f.hy-8)
			w.parking(lot, between(r, .1, .6))
		}
	} else {
		// Corners of the frame look inwards.
		reach := min(f.hy*1.05, between(r, 100, 122))
		corners := [...][2]float64{{-1, -1}, {1, 1}, {1, -1}, {-1, 1}}
		n := 2
		if f.hx > reach+14 && f.hy > reach*.9 {
			n = 2 + r.IntN(2)
		}
		for _, c := range corners[:n] {
			home := f.at(c[0]*(f.hx-24), c[1]*(f.hy-24))
			d := f.x.mul(-c[0]).add(f.y.mul(-c[1]))
			w.label("baseball field", w.diamond(home, d, min(reach, 104), dirt))
		}
	}
	w.scatter(q, 110, 5, nil)
	w.woodsEdge(q)
}

// woodsEdge plants a thin belt of trees on one edge.
func (w *World) woodsEdge(q [4]vec) {
	r := w.rng
	k := r.IntN(4)
	a, b := q[k], q[(k+1)%4]
	m := at(q, .5, .5)
	n := b.sub(a).unit().perp()
	if n.dot(m.sub(a)) < 0 {
		n = n.mul(-1)
	}
	p := []vec{a, b, b.add(n.mul(16)), a.add(n.mul(16))}
	w.woods(p, 5.4, 3.2, .85, 0)
}

// sportCell draws running tracks, pitches and courts in rows.
func (w *World) sportCell(q [4]vec, f frame) {
	r := w.rng
	w.poly(onGround, q[:], w.pal.lawn, -1)
	f = f.turned()
	y := -f.hy + 4
	for row := 0; y+70 < f.hy; row++ {
		x := -f.hx + 6
		deep := 76.0
		if (row == 0 || r.IntN(2) == 0) && y+106 < f.hy && x+190 < f.hx { // a track with its stand
			deep = 108
			o := frame{f.at(x+92, y+52), f.x, f.y, 0, 0}
			w.track(o)
			w.label("playground", f.sub(x, y, x+184, y+104).all())
			if r.IntN(3) > 0 {
				w.brick(onRoof, f.at(x+92, y-1), f.x, 100, 10, pick(r, rgb{214, 214, 210}, rgb{120, 130, 150}, rgb{150, 146, 140}), 8)
			}
			x += 192
		}
		for x+60 < f.hx {
			switch {
			case x+112 < f.hx && r.IntN(3) > 0:
				p := f.sub(x+4, y+deep/2-34, x+108, y+deep/2+34)
				w.pitch(frame{p.o, p.x, p.y, 49, 31})
				w.label("playground", p.all())
				x += 114
			case x+76 < f.hx && deep > 100:
				p := f.sub(x+3, y+2, x+71, y+104)
				w.pitch(frame{p.o, p.y, p.x, 48, 30})
				w.label("playground", p.all())
				x += 76
			default:
				c := f.sub(x+2, y+4, min(x+74, f.hx-4), y+40)
				w.courts(c)
				if deep > 80 {
					w.courts(f.sub(x+2, y+46, min(x+74, f.hx-4), y+82))
				}
				x += 80
			}
		}
		y += deep + 5
	}
	if rest := f.hy - y; rest > 18 {
		lot := f.sub(-f.hx+4, y+2, f.hx-4, f.hy-2)
		w.parking(lot, between(r, .2, .7))
	}
	w.scatter(q, 130, 4, nil)
}

// courts fills a frame with tennis or basketball courts.
func (w *World) courts(f frame) {
	r := w.rng
	outer := pick(r, rgb{76, 118, 92}, rgb{150, 92, 74}, rgb{96, 120, 100}, rgb{70, 100, 140})
	inner := pick(r, rgb{66, 100, 146}, rgb{86, 130, 96}, rgb{168, 104, 84}, rgb{74, 116, 150})
	w.poly(onLot, f.all(), &draw.Mat{C: vary(r, outer, .06), Grain: .05, Mid: .04}, -1)
	line := &draw.Mat{C: rgb{220, 222, 220}}
	for x := -f.hx + 9; x+9 <= f.hx+.1; x += 17.5 {
		c := frame{f.at(x, 0), f.y, f.x, 11.9, 5.5}
		w.poly(onMark, c.all(), &draw.Mat{C: inner, Grain: .05}, -1)
		p := c.all()
		w.poly(onMark, ribbon(append(p, p[0]), .35), line, -1)
		for _, s := range [...]float64{-6.4, 0, 6.4} {
			w.poly(onMark, ribbon([]vec{c.at(s, -5.5), c.at(s, 5.5)}, .3), line, -1)
		}
		w.brick(onFloor, c.o, c.y, 12, .3, rgb{60, 62, 60}, 1.2)
	}
	if area(w.ring(f.all())) > 900 {
		w.label("tennis court", f.all())
	}
}
