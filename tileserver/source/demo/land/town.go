package land

import (
	"math"

	"github.com/tilescout/tilescout/tileserver/source/demo/draw"
)

// parking draws a car park: rows of marked stalls, aisles along x, cars by occupancy.
func (w *World) parking(f frame, full float64) {
	r := w.rng
	w.poly(onLot, f.all(), pick(r, w.pal.street, w.pal.road, w.pal.yard), -1)
	if 4*f.hx*f.hy > 1200 {
		w.label("parking lot", f.all())
	}
	f = f.turned()
	const stall, depth, aisle = 2.6, 5.0, 6.4
	line := rgb{204, 204, 196}
	module := 2*depth + aisle
	rows := int((2*f.hy - 4) / module)
	if rows < 1 || f.hx < 8 {
		return
	}
	y0 := -float64(rows) * module / 2
	trees := r.IntN(2) == 0
	for k := range rows {
		for s, y := range [...]float64{y0 + float64(k)*module + depth/2, y0 + float64(k)*module + depth*1.5 + aisle} {
			// Groups of stalls with a gap for the cross aisle.
			x := -f.hx + 7
			for x < f.hx-8 {
				group := min(between(r, 40, 90), f.hx-7-x)
				n := int(group / stall)
				local := min(max(full+between(r, -.25, .25), .03), .97)
				for i := range n {
					c := x + stall*(float64(i)+.5)
					w.brick(onMark, f.at(c-stall/2, y), f.y, depth, .22, line, -1)
					if r.Float64() < local {
						d := f.y.mul(pick(r, 1.0, 1.0, -1.0))
						w.parked(onFloor, f.at(c+between(r, -.15, .15), y+between(r, -.4, .4)), d)
					}
				}
				if s == 1 && k+1 < rows {
					w.brick(onMark, f.at(x+group/2, y+depth/2), f.x, group, .22, line, -1)
				}
				if trees && k%2 == 1 && s == 0 {
					w.poly(onMark, f.rect(x-4, y-depth/2-depth, x-1, y+depth/2), w.pal.lawn, -1)
					w.tree(f.at(x-2.5, y-depth/2), between(r, 1.8, 3), w.crown())
				}
				x += group + between(r, 5, 7)
			}
		}
	}
	for x := -f.hx + 20; x < f.hx; x += 46 {
		for k := 0; k < rows; k += 2 {
			w.brick(onFloor, f.at(x, y0+float64(k)*module), f.x, .7, .7, rgb{190, 190, 186}, 9)
		}
	}
}

// roofMat is a flat or ribbed roof in some trade colour.
func (w *World) roofMat(along vec, cols ...rgb) *draw.Mat {
	r := w.rng
	x, y := w.dir(along)
	return &draw.Mat{C: vary(r, pick(r, cols...), .1), D: rgb{126, 120, 112}, Size: 10, Bias: -.62, Sharp: .9, Grain: .04, Mid: .06,
		SX: x / 3.1, SY: y / 3.1, SA: float32(pick(r, .05, .03, .08))}
}

var trades = []rgb{{206, 206, 202}, {176, 178, 178}, {72, 108, 164}, {84, 124, 176}, {150, 80, 70}, {146, 142, 134}, {112, 114, 116}, {190, 182, 166}, {98, 130, 128}, {222, 222, 220}}

// hall is a large low building with a ribbed or shed roof, sky lights and vents.
func (w *World) hall(f frame, hgt float64) {
	r := w.rng
	f = f.turned()
	m := w.roofMat(f.x, trades...)
	w.poly(onRoof, f.all(), m, hgt)
	switch r.IntN(4) {
	case 0: // gables side by side
		n := max(1, int(f.hy*2/between(r, 14, 26)))
		for k := range n {
			y0, y1 := -f.hy+2*f.hy*float64(k)/float64(n), -f.hy+2*f.hy*(float64(k)+.5)/float64(n)
			d := *m
			d.C = m.C.Mul(.84)
			w.poly(onRoof, f.rect(-f.hx, y0, f.hx, y1), &d, hgt+.4)
		}
	case 1: // sky lights
		for x := -f.hx + 8; x < f.hx-8; x += 12 {
			for y := -f.hy + 6; y < f.hy-5; y += 11 {
				w.brick(onTop, f.at(x, y), f.x, 5, 1.6, rgb{206, 214, 216}, hgt+.5)
			}
		}
	default:
		for range int(f.hx * f.hy / 220) {
			at := f.at(between(r, -.9, .9)*f.hx, between(r, -.9, .9)*f.hy)
			w.brick(onTop, at, f.x, between(r, 1.5, 5), between(r, 1.5, 3.5), vary(r, rgb{168, 170, 170}, .2), hgt+1.6)
		}
	}
	edge := f.all()
	w.poly(onTop, ribbon(append(edge, edge[0], edge[1]), .8), &draw.Mat{C: m.C.Mul(1.1)}, hgt+.6)
}

// split cuts a frame into blocks of about size metres with gaps between.
func (w *World) split(f frame, size, gap float64, do func(frame)) {
	r := w.rng
	if f.hx*2 > size*1.7 || f.hy*2 > size*1.7 {
		t := between(r, .36, .64)
		if f.hx > f.hy {
			c := -f.hx + 2*f.hx*t
			w.split(f.sub(-f.hx, -f.hy, c-gap/2, f.hy), size, gap, do)
			w.split(f.sub(c+gap/2, -f.hy, f.hx, f.hy), size, gap, do)
			return
		}
		c := -f.hy + 2*f.hy*t
		w.split(f.sub(-f.hx, -f.hy, f.hx, c-gap/2), size, gap, do)
		w.split(f.sub(-f.hx, c+gap/2, f.hx, f.hy), size, gap, do)
		return
	}
	do(f)
}

// industry draws halls, yards, lorries and stacks.
func (w *World) industry(q [4]vec, f frame) {
	w.poly(onGround, q[:], w.pal.bare, -1)
	w.label("industrial area", q[:])
	w.factories(f)
	w.scatter(q, 70, 3, nil)
}

func (w *World) factories(f frame) {
	r := w.rng
	w.poly(onGround, f.all(), w.pal.yard, -1)
	w.split(f, between(r, 80, 130), between(r, 12, 18), func(b frame) {
		switch r.IntN(8) {
		case 0: // storage yard
			w.poly(onLot, b.all(), w.pal.bare, -1)
			w.stacks(b, 1)
		case 1:
			if b.hx > 14 && b.hy > 14 {
				w.parking(b, between(r, .3, .9))
				return
			}
			fallthrough
		case 2: // sheds in a row
			b = b.turned()
			for x := -b.hx; x+18 < b.hx; x += 22 {
				w.hall(b.sub(x, -b.hy+2, x+18, b.hy-2), between(r, 5, 8))
			}
		default:
			k := between(r, .74, .95)
			h := b
			h.hx *= k
			h.hy *= between(r, .66, .92)
			w.hall(h, between(r, 7, 13))
			for range r.IntN(6) { // lorries at the doors
				w.brick(onFloor, b.at(between(r, -1, 1)*b.hx, pick(r, -1.0, 1.0)*(h.hy+5)), b.y, 12, 2.6, pick(r, rgb{226, 226, 224}, rgb{70, 96, 150}, rgb{160, 70, 60}), 3.6)
			}
			if r.IntN(7) == 0 {
				w.brick(onTop, b.at(b.hx*.7, b.hy*.7), b.x, 4, 4, rgb{186, 160, 150}, 34)
			}
		}
	})
}

// stacks fills a frame with containers or goods in rows.
func (w *World) stacks(f frame, loose float64) {
	r := w.rng
	f = f.turned()
	cols := []rgb{{158, 66, 54}, {58, 88, 140}, {70, 116, 90}, {196, 150, 70}, {176, 178, 178}, {130, 78, 56}, {86, 130, 160}, {206, 206, 200}, {110, 50, 50}}
	for y := -f.hy + 2; y+2 < f.hy; y += 2.8 {
		if k := math.Mod(y+f.hy, 22); k > 15 { // lane between the blocks
			continue
		}
		for x := -f.hx + 7; x+7 < f.hx; x += 13.2 {
			if r.Float64() < .14+.25*loose {
				continue
			}
			tier := 1 + r.IntN(4)
			w.brick(onRoof, f.at(x, y), f.x, 12.2, 2.44, vary(r, cols[r.IntN(len(cols))], .14), 2.6*float64(tier))
		}
	}
}

// commerce draws blocks of high buildings about streets and squares.
func (w *World) commerce(q [4]vec, f frame) {
	r := w.rng
	w.poly(onGround, q[:], w.pal.pave, -1)
	w.label("commercial area", q[:])
	w.split(f, between(r, 80, 104), 13, func(b frame) {
		w.poly(onLot, b.all(), pick(r, w.pal.pave, w.pal.yard, w.pal.lawn), -1)
		switch r.IntN(7) {
		case 0:
			if b.hx > 18 && b.hy > 18 {
				w.parking(b, .8)
			}
		case 1, 2: // slabs
			b = b.turned()
			for y := -b.hy + 10; y+9 < b.hy; y += between(r, 26, 36) {
				w.tower(b.sub(-b.hx+4, y-7, b.hx-4, y+7), between(r, 18, 34))
			}
		default:
			w.split(b, 40, 6, func(t frame) {
				if r.IntN(9) == 0 {
					for range 6 {
						w.tree(t.at(between(r, -1, 1)*t.hx, between(r, -1, 1)*t.hy), between(r, 2, 4), w.crown())
					}
					return
				}
				t.hx *= between(r, .8, .98)
				t.hy *= between(r, .8, .98)
				w.tower(t, pick(r, between(r, 9, 16), between(r, 14, 26), between(r, 24, 44)))
			})
		}
	})
	w.scatter(q, 90, 2, nil)
}

// tower is a flat-roofed building with parapet, set-backs and machines on the roof.
func (w *World) tower(f frame, hgt float64) {
	r := w.rng
	if f.hx < 4 || f.hy < 4 {
		return
	}
	c := vary(r, pick(r, rgb{150, 146, 140}, rgb{176, 170, 160}, rgb{120, 118, 116}, rgb{134, 128, 122}, rgb{198, 194, 186}, rgb{112, 120, 130}, rgb{156, 132, 116}), .1)
	m := &draw.Mat{C: c, D: c.Mul(.84), Size: 12, Sharp: 1.2, Grain: .05, Mid: .05}
	p := f.all()
	w.poly(onRoof, p, m, hgt)
	w.poly(onTop, ribbon(append(p, p[0], p[1]), 1), &draw.Mat{C: c.Mul(1.18)}, hgt+.8)
	if r.IntN(3) == 0 && f.hx > 9 && f.hy > 9 {
		k := between(r, .45, .7)
		in := frame{f.at(between(r, -.15, .15)*f.hx, between(r, -.15, .15)*f.hy), f.x, f.y, f.hx * k, f.hy * k}
		w.poly(onTop, in.all(), &draw.Mat{C: c.Mul(1.08), Grain: .05}, hgt+between(r, 4, 14))
	}
	for range 2 + int(f.hx*f.hy/60) {
		at := f.at(between(r, -.8, .8)*f.hx, between(r, -.8, .8)*f.hy)
		w.brick(onTop, at, f.x, between(r, 1.5, 6), between(r, 1.5, 4), vary(r, pick(r, rgb{180, 180, 178}, rgb{110, 112, 114}, rgb{206, 206, 204}), .1), hgt+2.2)
	}
}

// mallCell is a big store in its car park, or a bare park-and-ride.
func (w *World) mallCell(q [4]vec, f frame) {
	r := w.rng
	w.poly(onGround, q[:], w.pal.lawn, -1)
	f = f.turned()
	f.hx -= 3
	f.hy -= 3
	store := pick(r, 0.0, between(r, 60, 90), between(r, 70, 100))
	lot := f.sub(-f.hx, -f.hy, f.hx-store, f.hy)
	w.parking(lot, between(r, .45, .9))
	if store > 0 {
		b := f.sub(f.hx-store+8, -f.hy+4, f.hx-2, f.hy-4)
		w.split(b, 120, 5, func(b frame) { w.hall(b, between(r, 8, 12)) })
		w.label("commercial area", b.all())
	}
	w.scatter(q, 70, 3, nil)
}

// station draws a bundle of tracks with platforms and a hall.
func (w *World) station(q [4]vec, f frame) {
	r := w.rng
	w.poly(onGround, q[:], w.pal.pave, -1)
	f = f.turned()
	w.label("railway station", f.all())
	gravel := &draw.Mat{C: rgb{138, 126, 114}, D: rgb{114, 106, 98}, Size: 10, Sharp: 1, Grain: .09, Mid: .06}
	w.poly(onLot, f.rect(-f.hx, -f.hy*.62, f.hx, f.hy*.62), gravel, -1)
	steel := &draw.Mat{C: rgb{92, 84, 78}, Grain: .08}
	shine := &draw.Mat{C: rgb{164, 156, 148}}
	k := 0
	for y := -f.hy*.6 + 3; y < f.hy*.6; y += 5 {
		k++
		if k%4 == 0 { // platform under a roof
			w.poly(onFloor, f.rect(-f.hx*.75, y-3.2, f.hx*.75, y+3.2), w.pal.yard, 1)
			w.poly(onRoof, f.rect(-f.hx*.6, y-2.8, f.hx*.5, y+2.8), w.roofMat(f.y, rgb{200, 202, 202}, rgb{120, 130, 140}), 5)
			y += 3
			continue
		}
		w.poly(onMark, f.rect(-f.hx, y-1.3, f.hx, y+1.3), steel, -1)
		for _, s := range [...]float64{-.75, .75} {
			w.poly(onMark, f.rect(-f.hx, y+s-.15, f.hx, y+s+.15), shine, -1)
		}
		if r.IntN(3) == 0 { // a train
			col := pick(r, rgb{206, 208, 208}, rgb{80, 110, 150}, rgb{160, 80, 64}, rgb{96, 100, 104})
			x0 := between(r, -.8, .1) * f.hx
			for i := range 4 + r.IntN(8) {
				if x := x0 + float64(i)*25; x+12 < f.hx {
					w.brick(onFloor, f.at(x, y), f.x, 24, 2.9, col, 4)
				}
			}
		}
	}
	hall := f.sub(-f.hx*.5, f.hy*.66, f.hx*.5, f.hy*.96)
	w.hall(hall, 14)
	lot := f.sub(-f.hx*.9, -f.hy*.98, f.hx*.9, -f.hy*.66)
	w.parking(lot, .7)
}
