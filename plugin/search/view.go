package search

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout/cache/index"
	"github.com/tilescout/tilescout/internal/cores"
	"golang.org/x/sync/errgroup"
)

// view is one layer at one index zoom: the embeddings on disk and what was derived from them.
type view struct {
	set      *index.Set
	zoom     maptile.Zoom
	concepts *conceptTable

	mu      sync.Mutex // guards current
	current *frame
}

func newView(set *index.Set, z maptile.Zoom, c *conceptTable) *view {
	return &view{set: set, zoom: z, concepts: c}
}

// frame is the view at one generation of the index: rows in Morton order, never written once made.
// A frame keeps its snapshot mapped until its last user has released it.
type frame struct {
	set        *index.Set
	snapshot   *index.Snapshot
	generation uint64
	codes      []uint64
	extent     [4]uint32
	backdrops  []backdrop
	made       time.Time
	users      atomic.Int64

	meanOnce sync.Once
	mean     []float32 // mean embedding of a reservoir of rows
}

func (f *frame) release() {
	if f.users.Add(-1) == 0 {
		f.snapshot.Release()
	}
}

// Small views follow every new tile at once; a large one is renewed at most this often while it grows,
// because deriving it costs a pass over its rows.
const (
	smallView  = 20_000
	renewAfter = 500 * time.Millisecond
)

// acquire returns the frame of the newest generation, or of a moment ago. The caller releases it.
func (v *view) acquire(ctx context.Context) (*frame, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if c := v.current; c != nil {
		fresh := c.generation == v.set.Generation()
		if fresh || (len(c.codes) > smallView && time.Since(c.made) < renewAfter) {
			c.users.Add(1)
			return c, nil
		}
	}
	f, err := v.derive(ctx)
	if err != nil {
		return nil, err
	}
	if v.current != nil {
		v.current.release()
	}
	v.current = f
	f.users.Store(2) // the view's own and the caller's
	return f, nil
}

// forget drops the frame, so that the next is made without what turned out to be damaged.
func (v *view) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.current != nil {
		v.current.release()
		v.current = nil
	}
}

// derive makes the frame of the newest snapshot; rows that the last frame holds keep their backdrops.
func (v *view) derive(ctx context.Context) (*frame, error) {
	s := v.set.Snapshot()
	f := &frame{set: v.set, snapshot: s, generation: s.Generation(), codes: s.Codes(), extent: extentOf(s.Codes(), v.zoom), made: time.Now()}
	f.backdrops = make([]backdrop, len(f.codes))
	old := v.current
	queries, err := v.concepts.queries(s)
	if err != nil {
		s.Release()
		return nil, fmt.Errorf("derive zoom %d: %w", v.zoom, err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(cores.N())
	const block = 4096
	flush := func(lo, hi int) {
		for ; lo < hi; lo += block {
			from, to := lo, min(lo+block, hi)
			g.Go(func() error {
				return f.backdropRows(ctx, queries, v.concepts.scale, from, to)
			})
		}
	}
	start, j := -1, 0
	for i, code := range f.codes {
		known := false
		if old != nil {
			for j < len(old.codes) && old.codes[j] < code {
				j++
			}
			if known = j < len(old.codes) && old.codes[j] == code; known {
				f.backdrops[i] = old.backdrops[j]
			}
		}
		switch {
		case !known && start < 0:
			start = i
		case known && start >= 0:
			flush(start, i)
			start = -1
		}
	}
	if start >= 0 {
		flush(start, len(f.codes))
	}
	if err := g.Wait(); err != nil {
		s.Release()
		return nil, fmt.Errorf("derive zoom %d: %w", v.zoom, err)
	}
	return f, nil
}

// backdropRows fills the backdrops of rows lo..hi: one pass of all concepts over the rows.
func (f *frame) backdropRows(ctx context.Context, queries []index.Query, scale float64, lo, hi int) error {
	n := hi - lo
	flat := make([]float32, len(queries)*n)
	out := make([][]float32, len(queries))
	for i := range out {
		out[i] = flat[i*n : (i+1)*n]
	}
	if err := f.snapshot.ScanMany(ctx, queries, lo, hi, out); err != nil {
		return err
	}
	logits := make([]float64, len(queries))
	for i := range n {
		for b := range queries {
			logits[b] = scale * float64(out[b][i])
		}
		f.backdrops[lo+i] = newBackdrop(logits)
	}
	return nil
}

// negligible is the margin below the best competing concept at which a score is under a hundredth whatever the rest
// of the vocabulary adds: most rows of a large layer. Their order still counts where nothing matches, their digits do
// not, so they are spared the sum.
const negligible = -5

// roughExp is e^x to within 4 %, monotonic, for x from −80 to 0 (Schraudolph 1999, Neural Computation 11, eq. 3).
func roughExp(x float32) float32 {
	if x < -80 {
		x = -80 + 80/x // keeps the order down to the least float
	}
	return math.Float32frombits(uint32(12102203*x + 1064866805))
}

// score fills out (one entry per row) with p_q = 1/(1+exp(LSE_{b∈B'} ℓ_b − ℓ_q)), where B' is the
// vocabulary without the prompt's synonyms and with the negatives, each counting four times
// (docs/search.md eq. 3 and 7).
func (f *frame) score(ctx context.Context, c *conceptTable, q []float32, synonym []bool, negatives [][]float32, out []float32) error {
	s := f.snapshot
	vectors := [][]float32{q}
	var synonyms []int
	for b, is := range synonym {
		if is {
			synonyms = append(synonyms, b)
			vectors = append(vectors, c.all[b].embedding)
		}
	}
	queries, err := queriesOf(s, append(vectors, negatives...)...)
	if err != nil {
		return err
	}
	workers := cores.N()
	const block = 8192
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(workers)
	for lo := 0; lo < len(f.codes); lo += block {
		hi := min(lo+block, len(f.codes))
		g.Go(func() error {
			n := hi - lo
			flat := make([]float32, len(queries)*n)
			dots := make([][]float32, len(queries))
			for i := range dots {
				dots[i] = flat[i*n : (i+1)*n]
			}
			if err := s.ScanMany(ctx, queries, lo, hi, dots); err != nil {
				return err
			}
			for i := range n {
				out[lo+i] = float32(f.scoreRow(c, lo+i, i, dots, synonym, synonyms))
			}
			return nil
		})
	}
	return g.Wait()
}

// scoreRow is the score of one row; dots holds similarities of the prompt, its synonyms, the negatives.
func (f *frame) scoreRow(c *conceptTable, row, i int, dots [][]float32, synonym []bool, synonyms []int) float64 {
	back := &f.backdrops[row]
	ask := c.scale * float64(dots[0][i])
	for k, b := range back.best {
		if !synonym[b] {
			if margin := float32(ask) - back.logit[k]; margin < negligible {
				return float64(roughExp(margin))
			}
			break
		}
	}
	// 1/p − 1 is the sum of e^(ℓ_b − ℓ_q) over all that competes.
	var sum, own float64
	for k, b := range back.best {
		if !synonym[b] {
			sum += math.Exp(float64(back.logit[k]) - ask)
		}
	}
	for _, d := range dots[1+len(synonyms):] {
		sum += 4 * math.Exp(c.scale*float64(d[i])-ask)
	}
	rest := math.Exp(float64(back.rest) - ask)
	for k, b := range synonyms {
		if uint8(b) != back.best[0] && uint8(b) != back.best[1] {
			own += math.Exp(c.scale*float64(dots[1+k][i]) - ask)
		}
	}
	if own < .9*rest {
		rest -= own
	} else { // the synonyms are nearly all of the rest: their difference has no digits left
		rest = math.Exp(f.restWithout(c, row, synonym) - ask)
	}
	return 1 / (1 + sum + rest)
}

// restWithout sums the row's logits again without the synonyms and the two best concepts.
func (f *frame) restWithout(c *conceptTable, row int, synonym []bool) float64 {
	v := f.vector(row)
	out := math.Inf(-1)
	if v == nil {
		return out
	}
	for b := range c.all {
		if !synonym[b] && uint8(b) != f.backdrops[row].best[0] && uint8(b) != f.backdrops[row].best[1] {
			out = logSumExp(out, c.scale*dot(c.all[b].embedding, v))
		}
	}
	return out
}

// row is the place of a Morton code, -1 if it is not embedded.
func (f *frame) row(code uint64) int {
	if i, ok := slices.BinarySearch(f.codes, code); ok {
		return i
	}
	return -1
}

// vector is a row's embedding; nil if its segment has turned out damaged since the frame was made.
func (f *frame) vector(row int) []float32 {
	v, ok, err := f.set.Embedding(f.codes[row])
	if err != nil || !ok {
		return nil
	}
	return v
}

// reservoir is the number of rows that stand for a layer where a mean over it is wanted.
const reservoir = 4096

// meanEmbedding is the mean of an even sample of the rows: what the layer's pictures have in common.
func (f *frame) meanEmbedding(dimension int) []float32 {
	f.meanOnce.Do(func() {
		f.mean = make([]float32, dimension)
		n := 0
		for row := range f.sample() {
			if v := f.vector(row); v != nil {
				for i, x := range v {
					f.mean[i] += x
				}
				n++
			}
		}
		for i := range f.mean {
			f.mean[i] /= float32(max(n, 1))
		}
	})
	return f.mean
}

// sample yields at most reservoir rows, evenly spread along the Morton curve.
func (f *frame) sample() func(func(int) bool) {
	return func(yield func(int) bool) {
		step := max(1, (len(f.codes)+reservoir-1)/reservoir)
		for row := 0; row < len(f.codes); row += step {
			if !yield(row) {
				return
			}
		}
	}
}

// countRange counts the rows with Morton codes in [from, to).
func (v *view) countRange(from, to uint64) int {
	s := v.set.Snapshot()
	defer s.Release()
	lo, hi := s.Range(from, to)
	return hi - lo
}
