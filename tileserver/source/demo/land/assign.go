package land

import (
	"math"
	"slices"
)

// demand is how many cells of a use a scene of some 50 land cells has, at the least, and where it likes to be:
// outside > 0 likes the outskirts, < 0 the middle; coast > 0 likes the sea.
type demand struct {
	use            string
	n              float64
	outside, coast float64
}

var demands = []demand{
	{"stadium", 3, -.1, 0}, {"baseball", 3, .1, 0}, {"tanks", 3, .2, .5}, {"parking", 3, -.3, 0},
	{"forest", 5, .9, -.3}, {"dense", 4, -.5, 0}, {"medium", 4, 0, 0}, {"commerce", 3, -.9, 0},
	{"industry", 4, .2, .4}, {"viaduct", 2, .3, -.3}, {"sport", 2, 0, 0}, {"farm", 4, 1, -.5}, {"sparse", 3, .6, -.2},
	{"desert", 2, .9, -.4}, {"park", 2, -.4, 0}, {"meadow", 2, .6, 0}, {"station", 1, -.4, 0},
}

// assign gives every cell its use: the airport first, then what must be there, each where it likes to be and
// away from its own kind, then the rest by distance from the middle.
func (w *World) assign() {
	p, r := &w.plan, w.rng
	var free []*cell
	for _, c := range p.cells {
		if c.i >= 0 && c.seen > 0 {
			free = append(free, c)
		}
	}
	free = w.airfield(free)
	// Cells that are seen best are given away first, so that nothing wanted falls off the edge.
	whole := 0.0
	for _, c := range free {
		whole += c.seen
	}
	scale := min(whole/46, 1.15)
	taken := map[string][]vec{}
	radius := math.Hypot(w.mid.u, w.mid.v)
	for _, d := range demands {
		n := int(math.Round(d.n * scale))
		if d.n >= 3 && whole > 12 {
			n = max(n, 3)
		}
		for range max(n, 1) {
			best, score := -1, -1e9
			for k, c := range free {
				if c.seen < .9 && c.seen < .999*maxSeen(free) {
					continue
				}
				m := c.mid()
				s := d.outside*m.len()/radius*2 - d.coast*float64(c.i)*.25 + r.Float64()*.9
				near := math.MaxFloat64
				for _, t := range taken[d.use] {
					near = min(near, t.sub(m).len())
				}
				s += min(near/900, 1.2)
				if s > score {
					best, score = k, s
				}
			}
			if best < 0 {
				break
			}
			c := free[best]
			c.use = d.use
			taken[d.use] = append(taken[d.use], c.mid())
			free = slices.Delete(free, best, best+1)
		}
	}
	for _, c := range free {
		far := c.mid().len() / radius
		switch {
		case far > .62:
			c.use = pick(r, "forest", "farm", "farm", "sparse", "meadow", "desert", "forest")
		case far > .38:
			c.use = pick(r, "medium", "sparse", "industry", "forest", "dense", "park")
		default:
			c.use = pick(r, "dense", "medium", "commerce", "dense", "park")
		}
	}
}

func maxSeen(cells []*cell) float64 {
	m := 0.0
	for _, c := range cells {
		m = max(m, c.seen)
	}
	return m
}

// airfield takes a run of cells for the airport and draws it, if the scene is long enough; it returns the rest.
func (w *World) airfield(free []*cell) []*cell {
	p, r := &w.plan, w.rng
	at := map[[2]int]*cell{}
	for _, c := range free {
		at[[2]int{c.i, c.j}] = c
	}
	var best []*cell
	score := 0.0
	for _, c := range free {
		if c.j == p.bank-1 || c.j == p.bank+1 || c.i < 1 {
			continue // not on the river, not behind the port
		}
		var run []*cell
		for k := range 5 {
			next := at[[2]int{c.i + k, c.j}]
			if next == nil || next.seen < .97 {
				break
			}
			run = append(run, next)
			if s := float64(len(run)) + r.Float64()*.8 + math.Abs(c.mid().v)/p.rv; len(run) >= 2 && s > score {
				best, score = slices.Clone(run), s
			}
		}
	}
	if len(best) < 2 {
		return free
	}
	first, last := best[0], best[len(best)-1]
	for _, c := range best[1:] {
		p.shut[[3]int{1, c.i, c.j}] = true
	}
	for _, c := range best {
		c.use = "airport"
	}
	w.straighten(first.i, last.i+1, first.j)
	f := fit(inset([4]vec{first.q[0], last.q[1], last.q[2], first.q[3]}, 17))
	outline := f.all()
	w.airport(outline, f)
	return slices.DeleteFunc(free, func(c *cell) bool { return c.use == "airport" })
}

// straighten puts the crossings of row lines j and j+1 between column lines i0 and i1 on two parallel lines, far
// enough apart for an airport.
func (w *World) straighten(i0, i1, j int) {
	const depth = 415
	p := &w.plan
	a := lerp(p.nodes[i0][j], p.nodes[i0][j+1], .5)
	b := lerp(p.nodes[i1][j], p.nodes[i1][j+1], .5)
	n := b.sub(a).unit().perp()
	if n.v < 0 {
		n = n.mul(-1)
	}
	for i := i0; i <= i1; i++ {
		m := lerp(a, b, float64(i-i0)/float64(i1-i0))
		p.nodes[i][j] = m.sub(n.mul(depth / 2))
		p.nodes[i][j+1] = m.add(n.mul(depth / 2))
	}
	for _, c := range p.cells {
		if c.i >= 0 {
			c.q = [4]vec{p.nodes[c.i][c.j], p.nodes[c.i+1][c.j], p.nodes[c.i+1][c.j+1], p.nodes[c.i][c.j+1]}
			continue
		}
		c.q[1], c.q[2] = p.nodes[0][c.j], p.nodes[0][c.j+1]
	}
}
