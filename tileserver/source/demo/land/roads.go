package land

import (
	"github.com/tilescout/tilescout/tileserver/source/demo/draw"
)

// ribbon is the outline of a line of some width, mitred at its bends.
func ribbon(p []vec, width float64) []vec {
	n := len(p)
	left, right := make([]vec, n), make([]vec, n)
	for i := range p {
		a, b := p[max(i-1, 0)], p[min(i+1, n-1)]
		nn := b.sub(a).unit().perp().mul(width / 2)
		left[i], right[n-1-i] = p[i].add(nn), p[i].sub(nn)
	}
	return append(left, right...)
}

// along walks a line: the place and direction at every step metres from start on.
func along(p []vec, start, step float64, do func(at, dir vec)) {
	next := start
	done := 0.0
	for i := range len(p) - 1 {
		d := p[i+1].sub(p[i])
		l := d.len()
		u := d.unit()
		for next <= done+l {
			do(p[i].add(u.mul(next-done)), u)
			next += step
		}
		done += l
	}
}

func length(p []vec) float64 {
	s := 0.0
	for i := range len(p) - 1 {
		s += p[i+1].sub(p[i]).len()
	}
	return s
}

var carPaint = []rgb{{222, 222, 220}, {228, 228, 226}, {40, 42, 46}, {62, 64, 68}, {128, 130, 132}, {168, 170, 172},
	{150, 40, 36}, {44, 66, 116}, {86, 100, 110}, {190, 186, 170}, {30, 34, 44}, {52, 80, 66}, {196, 150, 60}}

// car draws a car on a lane, sometimes a lorry.
func (w *World) car(l layer, at, dir vec) {
	if w.rng.IntN(14) == 0 {
		h := 3.6
		if l == onDeck {
			h = 11.6
		}
		w.brick(l, at, dir, between(w.rng, 6, 11), 2.5, vary(w.rng, pick(w.rng, rgb{222, 222, 218}, rgb{196, 196, 192}, rgb{80, 100, 140}), .1), h)
		return
	}
	w.parked(l, at, dir)
}

// parked draws a car.
func (w *World) parked(l layer, at, dir vec) {
	r := w.rng
	col := vary(r, carPaint[r.IntN(len(carPaint))], .1)
	d := dir.unit()
	long, wide := between(r, 4, 4.9), 1.95
	h := 1.6
	if l == onDeck {
		h = 9.6
	}
	w.brick(l, at, d, long, wide, col, h)
	w.brick(l, at.add(d.mul(long*.17)), d, .9, 1.6, rgb{38, 44, 52}, h) // windscreen
	w.brick(l, at.sub(d.mul(long*.36)), d, .6, 1.5, rgb{46, 50, 58}, h)
}

// roadKind is how a road looks.
type roadKind struct {
	width   float64
	lanes   int
	walk    float64 // pavement on each side, metres
	traffic float64 // metres between cars of a lane
	median  bool
	surface *draw.Mat
	over    bool // on a deck
}

// road draws a road: pavement, surface, marks, cars.
func (w *World) road(p []vec, k roadKind) {
	if len(p) < 2 {
		return
	}
	surface, mark, cars := onRoad, onMark, onFloor
	hgt := -1.0
	if k.over {
		surface, mark, cars = onBridge, onDeck, onDeck
		hgt = 8
	}
	if k.walk > 0 {
		w.poly(onLot, ribbon(p, k.width+2*k.walk), w.pal.pave, hgt)
	}
	m := k.surface
	if m == nil {
		m = w.pal.road
	}
	w.poly(surface, ribbon(p, k.width), m, hgt)
	lane := k.width / float64(k.lanes)
	white := rgb{206, 206, 198}
	r := w.rng
	for i := range k.lanes + 1 {
		if k.lanes < 2 {
			break
		}
		off := -k.width/2 + lane*float64(i)
		edge := i == 0 || i == k.lanes
		middle := 2*i == k.lanes
		if edge && k.walk > 0 {
			continue
		}
		line := shift(p, off*.96)
		switch {
		case middle && k.median:
			w.poly(mark, ribbon(line, 1.8), w.pal.lawn, hgt)
		case middle || edge:
			m := &draw.Mat{C: white, Grain: .1}
			w.poly(mark, ribbon(line, .32), m, hgt)
		default:
			along(line, r.Float64()*6, 11, func(at, dir vec) { w.brick(mark, at, dir, 4, .34, white, hgt) })
		}
	}
	if k.traffic <= 0 {
		return
	}
	for i := range k.lanes {
		line := shift(p, -k.width/2+lane*(float64(i)+.5))
		total := length(line)
		for s := between(r, 0, k.traffic); s < total; s += between(r, .3, 1.7) * k.traffic {
			along(line, s, 1e9, func(at, dir vec) {
				if i*2 < k.lanes {
					dir = dir.mul(-1)
				}
				w.car(cars, at, dir)
			})
		}
	}
}

// shift moves a line sideways.
func shift(p []vec, by float64) []vec {
	out := make([]vec, len(p))
	for i := range p {
		a, b := p[max(i-1, 0)], p[min(i+1, len(p)-1)]
		out[i] = p[i].add(b.sub(a).unit().perp().mul(by))
	}
	return out
}

// way is what runs along an edge of the grid.
type way int

const (
	noWay way = iota
	lane
	arterial
)

func rural(use string) bool {
	return use == "forest" || use == "farm" || use == "meadow" || use == "desert" || use == "sparse"
}

// ways decides for every edge what runs along it: between town cells an arterial, between fields and woods a lane
// or nothing. Keys are {0 along u | 1 along v, i, j}.
func (w *World) ways() {
	p, r := &w.plan, w.rng
	p.ways = map[[3]int]way{}
	use := map[[2]int]string{}
	for _, c := range p.cells {
		use[[2]int{c.i, c.j}] = c.use
	}
	open := func(i, j int) bool { u, ok := use[[2]int{i, j}]; return !ok || u == "" || rural(u) }
	for i, col := range p.nodes {
		for j := range col {
			for axis := range 2 {
				k := [3]int{axis, i, j}
				p.ways[k] = arterial
				a, b := [2]int{i, j - 1}, [2]int{i, j} // cells on both sides
				if axis == 1 {
					a = [2]int{i - 1, j}
				}
				bank := axis == 0 && (j == p.bank || j == p.bank+1)
				if open(a[0], a[1]) && open(b[0], b[1]) {
					p.ways[k] = pick(r, lane, noWay, noWay)
					if bank || i == 0 {
						p.ways[k] = lane
					}
				}
			}
		}
	}
	for k := range p.shut {
		p.ways[k] = noWay
	}
}

// verges are the distances that a cell keeps from its edges.
func (w *World) verges(c *cell) [4]float64 {
	keep := map[way]float64{noWay: 0, lane: 6, arterial: 15}
	if c.use == "forest" {
		keep[noWay] = -6
	}
	p := &w.plan
	return [4]float64{keep[p.ways[[3]int{0, c.i, c.j}]], keep[p.ways[[3]int{1, c.i + 1, c.j}]],
		keep[p.ways[[3]int{0, c.i, c.j + 1}]], keep[p.ways[[3]int{1, c.i, c.j}]]}
}

// roads draws what runs along the grid's lines, each stretch of one kind in one piece.
func (w *World) roads() {
	p, r := &w.plan, w.rng
	stretch := func(line []vec, kind way) {
		if len(line) < 2 || kind == noWay {
			return
		}
		if kind == lane {
			w.road(line, roadKind{width: between(r, 5, 6.5), lanes: 2, traffic: 190, surface: w.pal.street})
			return
		}
		w.road(line, roadKind{width: pick(r, 12.5, 14, 16), lanes: 4, walk: 3, traffic: 70})
		for _, side := range [...]float64{-1, 1} { // street trees
			share := between(r, .1, .6)
			along(shift(line, side*10.5), r.Float64()*10, 15, func(at, dir vec) {
				if r.Float64() < share {
					w.tree(at, between(r, 1.8, 3.4), w.crown())
				}
			})
		}
	}
	walk := func(nodes []vec, kind func(k int) way) {
		line := nodes[:1:1]
		last := noWay
		for k := range len(nodes) - 1 {
			if now := kind(k); now != last {
				stretch(line, last)
				line, last = []vec{nodes[k]}, now
			}
			line = append(line, nodes[k+1])
		}
		stretch(line, last)
	}
	for i, col := range p.nodes {
		walk(col, func(j int) way {
			if j == p.bank {
				return noWay
			}
			return p.ways[[3]int{1, i, j}]
		})
	}
	for j := range p.nodes[0] {
		var line []vec
		for i := range p.nodes {
			line = append(line, p.nodes[i][j])
		}
		walk(line, func(i int) way { return p.ways[[3]int{0, i, j}] })
	}
}

func (w *World) crown() rgb {
	r := w.rng
	return vary(r, w.pal.crowns[r.IntN(len(w.pal.crowns))], .14)
}

// bridges carries the grid's v-lines over the river.
func (w *World) bridges() {
	p, r := &w.plan, w.rng
	skip := 0
	for i, col := range p.nodes {
		a, b := col[p.bank], col[p.bank+1]
		in := w.pt(lerp(a, b, .5))
		if in.X < 0 || in.Y < 0 || in.X > float32(w.Width)*GSD || in.Y > float32(w.Height)*GSD {
			continue
		}
		if i > 0 && skip == 0 && r.IntN(7) == 0 && len(p.nodes) > 7 {
			skip++
			continue
		}
		w.bridge(a, b, r.IntN(4))
	}
}

// bridge draws a deck from a to b with its rails, piers' shadow and, by kind, twin decks or trusses.
func (w *World) bridge(a, b vec, kind int) {
	r := w.rng
	d := b.sub(a).unit()
	n := d.perp()
	a2, b2 := a.sub(d.mul(14)), b.add(d.mul(14))
	deck := &draw.Mat{C: pick(r, rgb{158, 156, 150}, rgb{140, 140, 138}, rgb{176, 172, 162}), Grain: .05, Mid: .06}
	width := between(r, 17, 24)
	offs := []float64{0}
	if kind == 1 {
		offs = []float64{-10.5, 10.5}
		width = 15
	}
	for _, o := range offs {
		line := []vec{a2.add(n.mul(o)), lerp(a2, b2, .5).add(n.mul(o)), b2.add(n.mul(o))}
		w.poly(onBridge, ribbon(line, width), deck, 8)
		k := roadKind{width: width - 4.4, lanes: 4, traffic: 46, over: true}
		if kind == 1 {
			k.lanes = 2
			k.width = 10.5
		}
		if r.IntN(2) == 0 {
			k.surface = w.pal.street
		}
		w.road(line, k)
		for _, s := range [...]float64{-1, 1} {
			w.poly(onDeck, ribbon(shift(line, s*(width/2-.5)), .9), &draw.Mat{C: rgb{196, 194, 188}}, 9.2)
		}
		if kind == 2 { // truss: side girders with cross beams
			steel := &draw.Mat{C: pick(r, rgb{120, 86, 70}, rgb{96, 116, 104}, rgb{150, 152, 152}), Grain: .05}
			for _, s := range [...]float64{-1, 1} {
				w.poly(onDeck, ribbon(shift(line, s*(width/2-.8)), 1.5), steel, 15)
			}
			along(line, 18, 9, func(at, dir vec) {
				w.poly(onDeck, ribbon([]vec{at.add(n.mul(-width/2 + .8)), at.add(n.mul(width/2 - .8))}, .8), steel, 15)
			})
		}
		if kind == 3 { // pylons of a cable-stayed bridge
			for _, t := range [...]float64{.28, .72} {
				m := lerp(a2, b2, t)
				for _, s := range [...]float64{-1, 1} {
					w.brick(onDeck, m.add(n.mul(s*(width/2+.6))), d, 4, 3, rgb{206, 204, 198}, 38)
				}
			}
		}
	}
	// Piers stand in the water.
	for t := .22; t < .8; t += .18 {
		at := lerp(a, b, t)
		w.poly(onRoof, ribbon([]vec{at.add(n.mul(-width/2 - 3)), at.add(n.mul(width/2 + 3))}, 5), w.pal.yard, 2)
	}
	half := width/2 + 4
	if kind == 1 {
		half += 10.5
	}
	w.label("bridge", []vec{a2.add(n.mul(half)), b2.add(n.mul(half)), b2.sub(n.mul(half)), a2.sub(n.mul(half))})
}

// labelWaters keeps the river and the open sea as truth.
func (w *World) labelWaters() {
	p := &w.plan
	var up, down []vec
	for u := p.coast.value(p.river.value(0)); u < p.ru+100; u += 24 {
		v, h := p.river.value(u), p.half.value(u)
		up = append(up, vec{u, v - h})
		down = append([]vec{{u, v + h}}, down...)
	}
	w.label("river", append(up, down...))
	sea := []vec{{-p.ru - 900, p.rv + 100}, {-p.ru - 900, -p.rv - 100}}
	for v := -p.rv - 100; v < p.rv+100; v += 40 {
		sea = append(sea, vec{p.coast.value(v) - 30, v})
	}
	w.label("sea", sea)
}
