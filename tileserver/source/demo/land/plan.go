package land

import (
	"math"
	"math/rand/v2"
)

// plan is the skeleton of a scene.
type plan struct {
	coast  curve   // u of the shore line, by v
	beach  curve   // 0 rocks … 1 sand, by v
	river  curve   // v of the river's middle, by u
	half   curve   // half the river's width, by u
	nodes  [][]vec // crossings of the arterials, by column line and row line
	bank   int     // row line on the river's upper bank; bank+1 is the lower one
	cells  []*cell
	shut   map[[3]int]bool // edges inside the airport: {0 along u | 1 along v, i, j}
	ways   map[[3]int]way  // what runs along the edges
	ru, rv float64         // half the plan's extent
}

// cell is one mesh of the arterial grid, or a stretch of the coast (i = -1).
type cell struct {
	i, j int
	q    [4]vec // corners: (i,j), (i+1,j), (i+1,j+1), (i,j+1)
	use  string
	seen float64 // share of it inside the picture
	rng  *rand.Rand
}

func (c *cell) mid() vec { return lerp(lerp(c.q[0], c.q[2], .5), lerp(c.q[1], c.q[3], .5), .5) }

// at maps 0…1 × 0…1 into the quadrilateral.
func at(q [4]vec, s, t float64) vec { return lerp(lerp(q[0], q[1], s), lerp(q[3], q[2], s), t) }

// inset moves every edge of a quadrilateral inwards.
func inset(q [4]vec, by float64) [4]vec { return insetBy(q, [4]float64{by, by, by, by}) }

// insetBy moves edge k, from corner k to the next, inwards by its own distance.
func insetBy(q [4]vec, by [4]float64) [4]vec {
	var out [4]vec
	mid := lerp(lerp(q[0], q[2], .5), lerp(q[1], q[3], .5), .5)
	type line struct{ p, d vec }
	var edges [4]line
	for k := range q {
		a, b := q[k], q[(k+1)%4]
		d := b.sub(a).unit()
		n := d.perp()
		if n.dot(mid.sub(a)) < 0 {
			n = n.mul(-1)
		}
		edges[k] = line{a.add(n.mul(by[k])), d}
	}
	for k := range q {
		e, f := edges[(k+3)%4], edges[k]
		cross := e.d.u*f.d.v - e.d.v*f.d.u
		if math.Abs(cross) < 1e-6 {
			out[k] = f.p
			continue
		}
		r := f.p.sub(e.p)
		t := (r.u*f.d.v - r.v*f.d.u) / cross
		out[k] = e.p.add(e.d.mul(t))
	}
	return out
}

// frame is a rectangle in the plan: centre, unit axes, half sizes.
type frame struct {
	o      vec
	x, y   vec
	hx, hy float64
}

func (f frame) at(x, y float64) vec { return f.o.add(f.x.mul(x)).add(f.y.mul(y)) }

func (f frame) rect(x0, y0, x1, y1 float64) []vec {
	return []vec{f.at(x0, y0), f.at(x1, y0), f.at(x1, y1), f.at(x0, y1)}
}

func (f frame) all() []vec { return f.rect(-f.hx, -f.hy, f.hx, f.hy) }

// sub is a part of the frame by corners in its own metres.
func (f frame) sub(x0, y0, x1, y1 float64) frame {
	return frame{f.at((x0+x1)/2, (y0+y1)/2), f.x, f.y, (x1 - x0) / 2, (y1 - y0) / 2}
}

// turned is the frame turned by a quarter if it is higher than wide, so that x is its long axis.
func (f frame) turned() frame {
	if f.hy > f.hx {
		return frame{f.o, f.y, f.x.mul(-1), f.hy, f.hx}
	}
	return f
}

// fit is the largest rectangle about the middle of a quadrilateral along its mean edge.
func fit(q [4]vec) frame {
	l, r := lerp(q[0], q[3], .5), lerp(q[1], q[2], .5)
	f := frame{o: lerp(l, r, .5), x: r.sub(l).unit()}
	f.y = f.x.perp()
	if f.y.dot(q[3].sub(q[0])) < 0 {
		f.y = f.y.mul(-1)
	}
	f.hx, f.hy = math.MaxFloat64, math.MaxFloat64
	for _, p := range q {
		d := p.sub(f.o)
		f.hx, f.hy = min(f.hx, math.Abs(d.dot(f.x))), min(f.hy, math.Abs(d.dot(f.y)))
	}
	return f
}

// layOut makes the skeleton, gives every cell its use and draws it all.
func (w *World) layOut() {
	p := &w.plan
	p.shut = map[[3]int]bool{}
	for _, c := range [][2]float64{{0, 0}, {1, 0}, {0, 1}, {1, 1}} {
		q := w.inverse(c[0]*float64(w.Width)*GSD, c[1]*float64(w.Height)*GSD)
		p.ru, p.rv = max(p.ru, math.Abs(q.u)), max(p.rv, math.Abs(q.v))
	}
	w.waters()
	w.grid()
	w.assign()
	w.ways()
	w.shoreZones()
	w.roads()
	w.bridges()
	for _, c := range p.cells {
		if c.seen > 0 {
			w.zone(c)
		}
	}
	w.labelWaters()
}

// waters sets the coast and the river.
func (w *World) waters() {
	p, r := &w.plan, w.rng
	// Half the picture's extent across the coast, without the corners that a turned frame adds.
	hu := math.Abs(w.rot[0])*w.mid.u + math.Abs(w.rot[2])*w.mid.v
	hu = min(hu, max(w.mid.u, w.mid.v))
	shore := -hu * between(r, .60, .68)
	a, b, c := between(r, 0, 6), between(r, 0, 6), between(r, 0, 6)
	p.coast = newCurve(-p.rv-200, p.rv+200, func(v float64) float64 {
		return shore + 46*math.Sin(v/610+a) + 24*math.Sin(v/270+b) + 8*math.Sin(v/90+c)
	})
	mouth := between(r, -.22, .22) * p.rv
	d, e := between(r, 0, 6), between(r, 0, 6)
	amp := between(r, 34, 62)
	p.river = newCurve(-p.ru-200, p.ru+200, func(u float64) float64 {
		return mouth + amp*math.Sin(u/430+d) + .4*amp*math.Sin(u/180+e)
	})
	wide := between(r, 46, 62)
	p.half = newCurve(-p.ru-200, p.ru+200, func(u float64) float64 {
		k := min(max((u-shore)/260, 0), 1)
		return wide + 7*math.Sin(u/210+a) + 60*(1-k)*(1-k)
	})
}

// grid sets the crossings of the arterials and the cells between them.
func (w *World) grid() {
	p, r := &w.plan, w.rng
	var cols, up, down []float64
	shore := p.coast.value(0)
	for u := shore + 235; u < p.ru+460; u += between(r, 360, 430) {
		cols = append(cols, u)
	}
	top := math.MaxFloat64
	bottom := -top
	for _, u := range cols {
		top, bottom = min(top, p.river.value(u)), max(bottom, p.river.value(u))
	}
	for v := 0.0; v < p.rv+bottom+700; v += between(r, 350, 425) {
		down = append(down, v)
	}
	for v := 0.0; v < p.rv-top+700; v += between(r, 350, 425) {
		up = append(up, v)
	}
	p.bank = len(up) - 1
	wu, wv := newWarp(r), newWarp(r)
	for i, u := range cols {
		var line []vec
		node := func(k int, off, sign float64) vec {
			fade := max(0, 1-.3*float64(k))
			v := p.river.value(u)*fade + p.river.value(0)*(1-fade) + sign*(p.half.value(u)+24+off)
			n := vec{u, v}
			if i == 0 {
				n.u = p.coast.value(v) + 235
			} else {
				n.u += wu(n)
			}
			if k > 0 {
				n.v += wv(n)
			} else {
				n.v = p.river.value(n.u) + sign*(p.half.value(n.u)+24)
			}
			return n
		}
		for k := len(up) - 1; k >= 0; k-- {
			line = append(line, node(k, up[k], -1))
		}
		for k := range down {
			line = append(line, node(k, down[k], 1))
		}
		p.nodes = append(p.nodes, line)
	}
	rows := len(p.nodes[0])
	for i := range p.nodes[:len(p.nodes)-1] {
		for j := range rows - 1 {
			if j == p.bank {
				continue
			}
			c := &cell{i: i, j: j, q: [4]vec{p.nodes[i][j], p.nodes[i+1][j], p.nodes[i+1][j+1], p.nodes[i][j+1]}}
			c.seen = w.seen(c.q)
			c.rng = rand.New(rand.NewPCG(r.Uint64(), 1))
			p.cells = append(p.cells, c)
		}
	}
	for j := range rows - 1 {
		if j == p.bank {
			continue
		}
		a, b := p.nodes[0][j], p.nodes[0][j+1]
		c := &cell{i: -1, j: j, q: [4]vec{{p.coast.value(a.v), a.v}, a, b, {p.coast.value(b.v), b.v}}}
		c.seen = w.seen(c.q)
		c.rng = rand.New(rand.NewPCG(r.Uint64(), 2))
		p.cells = append(p.cells, c)
	}
}

// newWarp is a smooth shift of up to 80 m that changes little from one crossing to the next.
func newWarp(r *rand.Rand) func(vec) float64 {
	a, b, c := between(r, 0, 6), between(r, 0, 6), between(r, 0, 6)
	return func(p vec) float64 {
		return 34*math.Sin(p.u/470+a) + 38*math.Sin(p.v/450+b) + 9*math.Sin((p.u+p.v)/190+c)
	}
}

// seen is the share of a quadrilateral inside the picture.
func (w *World) seen(q [4]vec) float64 {
	n, in := 0, 0
	for s := 0.08; s < 1; s += .12 {
		for t := 0.08; t < 1; t += .12 {
			n++
			p := w.pt(at(q, s, t))
			if p.X > 0 && p.Y > 0 && p.X < float32(w.Width)*GSD && p.Y < float32(w.Height)*GSD {
				in++
			}
		}
	}
	return float64(in) / float64(n)
}

// zone draws a cell's use.
func (w *World) zone(c *cell) {
	keep := w.rng
	w.rng = c.rng // a cell's details depend on nothing but the cell
	defer func() { w.rng = keep }()
	q := insetBy(c.q, w.verges(c))
	f := fit(q)
	switch c.use {
	case "stadium":
		w.stadiumCell(q, f)
	case "sport":
		w.sportCell(q, f)
	case "baseball":
		w.baseballCell(q, f)
	case "tanks":
		w.tankCell(q, f)
	case "parking":
		w.mallCell(q, f)
	case "forest":
		w.forest(q)
	case "dense":
		w.houses(q, "dense residential area")
	case "medium":
		w.houses(q, "medium residential area")
	case "sparse":
		w.estate(q)
	case "industry":
		w.industry(q, f)
	case "commerce":
		w.commerce(q, f)
	case "farm":
		w.farm(q)
	case "desert":
		w.desert(q)
	case "meadow":
		w.meadow(q)
	case "park":
		w.park(q, f)
	case "station":
		w.station(q, f)
	case "viaduct":
		w.interchange(c.q, f)
	}
}
