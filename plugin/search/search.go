package search

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/geo"
)

// Query is one question about a layer.
type Query struct {
	Layer     string
	Prompts   []string  // any of them
	Not       []string  // none of them
	Threshold float64   // calibrated score 0…1; 0 means the model's floor, and the closest tiles if none reach it
	Box       *geo.BBox // nil means the whole layer
	Limit     int       // 0 means 100
	Fill      bool      // embed missing tiles of the box first, within the engine's bound
	Detail    bool      // areas follow the parts of tiles that match, where the model tells them apart
}

// MaxLimit bounds the matches of one answer.
const MaxLimit = 10_000

// Match is a tile that answers a prompt.
type Match struct {
	Tile       maptile.Tile
	Rank       int     // from 1
	Score      float64 // calibrated, 0…1
	Similarity float64 // cosine of the tile and the first prompt; NaN where there is none
}

// Verdict says whether what was asked for is there at all.
type Verdict string

// The verdicts, from sure to none.
const (
	VerdictMatch Verdict = "match"
	VerdictWeak  Verdict = "weak"
	VerdictNone  Verdict = "none"
)

// Answer is the ranked answer to a Query.
type Answer struct {
	Matches   []Match
	Matched   int // tiles at or above the threshold, before Limit
	Threshold float64
	Verdict   Verdict
	Max       float64 // best score in the box
	Top3      float64 // mean of the three best
	Unknown   []string
	Described []encoder.Description // phrases that were read as other words
	Related   []string              // known concepts near the prompt
	Phrases   []string              // what was searched for, normalised
	Embedded  int                   // tiles of the deepest index zoom that were scored
	Total     int
	Revision  string
	Partial   bool // part of the index was damaged and is being made anew: matches may be missing
}

// closest is how many tiles are shown when none is good enough.
const closest = 10

// Search answers a query. Equal scores rank by Morton code, so that answers are reproducible.
func (e *Engine) Search(ctx context.Context, q Query) (Answer, error) {
	x, err := parse(q.Prompts, q.Not)
	if err != nil {
		return Answer{}, err
	}
	l, err := e.layer(q.Layer)
	if err != nil {
		return Answer{}, err
	}
	if q.Limit < 0 || q.Limit > MaxLimit {
		return Answer{}, fmt.Errorf("limit %d: from 1 to %d: %w", q.Limit, MaxLimit, tilescout.ErrBadInput)
	}
	if !(q.Threshold >= 0 && q.Threshold <= 1) {
		return Answer{}, fmt.Errorf("threshold %g: from 0 to 1: %w", q.Threshold, tilescout.ErrBadInput)
	}
	bounds := l.bounds
	if q.Box != nil {
		bounds = intersectAll(q.Box.Bounds(), l.bounds)
	}
	if q.Fill {
		e.fillBounds(ctx, l, bounds)
	}
	scores, err := e.scoresOf(ctx, l, x)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{
		Threshold: q.Threshold, Unknown: scores.Unknown, Described: scores.Described, Phrases: x.phrases(), Revision: e.Revision(q.Layer),
	}
	a.Total = l.viewState(bounds).Total
	for _, v := range l.all() {
		a.Partial = a.Partial || v.set.Stats().Corrupt > 0
	}
	limit := cmp.Or(q.Limit, 100)
	floor := q.Threshold
	if floor == 0 {
		floor = e.calibration().Floor
		a.Threshold = floor
	}
	ranges := geo.Ranges(bounds, scores.Zoom, 256)
	top := scores.best(bounds, ranges, max(limit, 64), float32(floor))
	a.Embedded, a.Matched = top.seen, top.reached
	if !scores.Known {
		a.Verdict = VerdictNone
		return a, nil
	}
	ranked := top.sorted()
	e.judge(ctx, l, x, ranked, &a)
	keep := min(len(ranked), limit)
	n := 0
	for n < keep && float64(ranked[n].score) >= floor {
		n++
	}
	if n == 0 && q.Threshold == 0 {
		n = min(keep, closest)
	}
	a.Matches, err = e.matches(ctx, l, x, ranked[:n], scores.Zoom)
	if err != nil {
		return Answer{}, err
	}
	a.Related = e.related(ctx, x)
	return a, nil
}

func (e *Engine) matches(ctx context.Context, l *layer, x expression, ranked []scored, z maptile.Zoom) ([]Match, error) {
	var ask []float32
	if first := x.any[0][0]; !first.isTile() {
		p, err := e.prompt(ctx, first.phrase)
		if err != nil {
			return nil, err
		}
		ask = p.embedding
	}
	out := make([]Match, len(ranked))
	for i, r := range ranked {
		out[i] = Match{Tile: geo.FromMorton(r.code, z), Rank: i + 1, Score: float64(r.score), Similarity: math.NaN()}
		if ask != nil {
			if v, ok, err := l.views[0].set.Embedding(r.code); err == nil && ok {
				out[i].Similarity = dot(v, ask)
			}
		}
	}
	return out, nil
}

// fillBounds embeds what is missing in a small box, so that the first question about a fresh layer has an
// answer; it waits a moment only.
func (e *Engine) fillBounds(ctx context.Context, l *layer, bounds []orb.Bound) {
	var want []maptile.Tile
	for _, b := range bounds {
		if geo.CoverCount(b, l.zooms[0]) > 4*e.options.OnDemand {
			continue
		}
		for t := range geo.Cover(b, l.zooms[0]) {
			if len(want) < e.options.OnDemand && l.inside(t) && !l.views[0].set.Has(geo.Morton(t)) {
				want = append(want, t)
			}
		}
	}
	var jobs []*fillJob
	for _, t := range append(l.missingParents(want), want...) {
		if j, err := e.fill.want(l, t); err == nil {
			jobs = append(jobs, j)
		}
	}
	waitFor(ctx, jobs, 2*time.Second)
}

// scored is a row's Morton code and score.
type scored struct {
	code  uint64
	score float32
}

// before orders best first, equal scores by Morton code.
func (a scored) before(b scored) bool {
	if a.score != b.score {
		return a.score > b.score
	}
	return a.code < b.code
}

// topList keeps the best of what it has seen: a heap with the worst kept on top.
type topList struct {
	items   []scored
	limit   int
	floor   float32
	seen    int
	reached int // of seen, at or above floor
}

func (t *topList) Len() int           { return len(t.items) }
func (t *topList) Less(i, j int) bool { return t.items[j].before(t.items[i]) }
func (t *topList) Swap(i, j int)      { t.items[i], t.items[j] = t.items[j], t.items[i] }
func (t *topList) Push(x any)         { t.items = append(t.items, x.(scored)) }
func (t *topList) Pop() any {
	last := t.items[len(t.items)-1]
	t.items = t.items[:len(t.items)-1]
	return last
}

func (t *topList) add(s scored) {
	t.seen++
	if s.score >= t.floor {
		t.reached++
	}
	if len(t.items) < t.limit {
		heap.Push(t, s)
		return
	}
	if s.score >= t.items[0].score && s.before(t.items[0]) {
		t.items[0] = s
		heap.Fix(t, 0)
	}
}

func (t *topList) sorted() []scored {
	out := slices.Clone(t.items)
	slices.SortFunc(out, func(a, b scored) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	return out
}

// best walks the rows inside the box, keeps the limit best and counts those at or above floor.
func (s *Scores) best(bounds []orb.Bound, ranges []geo.Range, limit int, floor float32) *topList {
	t := &topList{limit: limit, floor: floor}
	s.walk(bounds, ranges, func(i int) { t.add(scored{s.codes[i], s.values[i]}) })
	return t
}

// walk visits the rows whose tiles touch the bounds. Ranges may cover more than the bounds: each row of
// a cut range is looked at.
func (s *Scores) walk(bounds []orb.Bound, ranges []geo.Range, visit func(i int)) {
	boxes := make([][4]uint32, 0, len(bounds))
	for _, b := range bounds {
		if lo, hi, ok := geo.CoverCorners(b, s.Zoom); ok {
			boxes = append(boxes, [4]uint32{lo.X, lo.Y, hi.X, hi.Y})
		}
	}
	if s.within(boxes) {
		for i := range s.codes {
			visit(i)
		}
		return
	}
	for _, r := range ranges {
		i, _ := slices.BinarySearch(s.codes, r.From)
		for ; i < len(s.codes) && s.codes[i] < r.To; i++ {
			t := geo.FromMorton(s.codes[i], s.Zoom)
			for _, b := range boxes {
				if t.X >= b[0] && t.X <= b[2] && t.Y >= b[1] && t.Y <= b[3] {
					visit(i)
					break
				}
			}
		}
	}
}

// within says whether one of the boxes holds all rows, so that none need be looked at.
func (s *Scores) within(boxes [][4]uint32) bool {
	for _, b := range boxes {
		if b[0] <= s.extent[0] && b[1] <= s.extent[1] && b[2] >= s.extent[2] && b[3] >= s.extent[3] {
			return true
		}
	}
	return false
}

// extentOf is the box of tiles that holds all rows: first column and row, last column and row.
func extentOf(codes []uint64, z maptile.Zoom) [4]uint32 {
	e := [4]uint32{math.MaxUint32, math.MaxUint32, 0, 0}
	for _, code := range codes {
		t := geo.FromMorton(code, z)
		e = [4]uint32{min(e[0], t.X), min(e[1], t.Y), max(e[2], t.X), max(e[3], t.Y)}
	}
	return e
}
