package search

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"golang.org/x/sync/errgroup"
)

// DenseEncoder embeds the cells of pictures, side² of them from the north-west, row by row: one unit-length embedding
// a cell, comparable with those of prompts.
type DenseEncoder interface {
	Side() int
	Cells(ctx context.Context, pictures []tilescout.Picture) ([][][]float32, error)
}

const (
	// maxDetailDepth is how many zooms above the index tiles their cells are still drawn: below that they are
	// a few pixels wide.
	maxDetailDepth = 3
	// maxDetailTiles bounds the tiles that one question has looked into.
	maxDetailTiles = 256
	// cellShare is how strongly a tile's score follows its cells' own: a cell p of a tile whose best cell is p_best
	// has the tile's score times (p/p_best)^cellShare, so that no cell outranks its tile.
	cellShare = .5
	// sureCell is the score below which the best cell says nothing: what the tile shows is larger than its cells.
	sureCell = .05
)

// dense opens the model's dense output when it is first asked for: it holds the weights a second time.
type dense struct {
	open func(context.Context) (DenseEncoder, error)

	mu      sync.Mutex // guards encoder, closed
	encoder DenseEncoder
	closed  bool
	running sync.WaitGroup // Cells under way
}

// cells embeds one picture's cells; after close it is ErrUnavailable.
func (d *dense) cells(ctx context.Context, p tilescout.Picture) ([][]float32, error) {
	d.mu.Lock()
	if d.closed || d.encoder == nil {
		d.mu.Unlock()
		return nil, fmt.Errorf("detail=patch: the server is stopping: %w", tilescout.ErrUnavailable)
	}
	d.running.Add(1)
	d.mu.Unlock()
	defer d.running.Done()
	cells, err := d.encoder.Cells(ctx, []tilescout.Picture{p})
	if err != nil {
		return nil, err
	}
	return cells[0], nil
}

// close frees the encoder once its last run is over.
func (d *dense) close() error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.running.Wait()
	if c, ok := d.encoder.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

func (d *dense) get(ctx context.Context) (DenseEncoder, error) {
	if d.open == nil {
		return nil, fmt.Errorf("detail=patch: this model tells nothing of the parts of a tile: %w", tilescout.ErrUnavailable)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.encoder == nil && !d.closed {
		enc, err := d.open(ctx)
		if err != nil {
			return nil, fmt.Errorf("detail=patch: %w", err)
		}
		d.encoder = enc
	}
	if d.closed {
		return nil, fmt.Errorf("detail=patch: the server is stopping: %w", tilescout.ErrUnavailable)
	}
	return d.encoder, nil
}

// Detail returns the scores of the parts of the tiles beneath and next to t, as Scores at a deeper zoom: each index
// tile at or above the floor is cut into the cells of the model's dense output. Tiles below it have their own score
// throughout. From more than three zooms above the index, and with a model that has no dense output, it is Scores itself.
func (e *Engine) Detail(ctx context.Context, id string, prompts, not []string, t maptile.Tile) (*Scores, error) {
	x, err := parse(prompts, not)
	if err != nil {
		return nil, err
	}
	l, err := e.layer(id)
	if err != nil {
		return nil, err
	}
	scores, err := e.scoresOf(ctx, l, x)
	if err != nil || int(scores.Zoom)-int(t.Z) > maxDetailDepth || !scores.Known {
		return scores, err
	}
	around := ring(t, scores.Zoom)
	slices.Sort(around)
	codes, values := make([]uint64, 0, len(around)), make([]float32, 0, len(around))
	for _, code := range slices.Compact(around) {
		if p, ok := scores.At(geo.FromMorton(code, scores.Zoom)); ok {
			codes, values = append(codes, code), append(values, p)
		}
	}
	return e.refine(ctx, l, x, scores, codes, values)
}

// parts cuts the best tiles at or above low inside the bounds into cells.
func (e *Engine) parts(ctx context.Context, l *layer, x expression, s *Scores, bounds []orb.Bound, low float32) (*Scores, error) {
	best := s.best(bounds, geo.Ranges(bounds, s.Zoom, 256), maxDetailTiles, low).sorted()
	best = slices.DeleteFunc(best, func(r scored) bool { return r.score < low || r.score == 0 })
	slices.SortFunc(best, func(a, b scored) int { return cmp.Compare(a.code, b.code) })
	codes, values := make([]uint64, len(best)), make([]float32, len(best))
	for i, r := range best {
		codes[i], values[i] = r.code, r.score
	}
	return e.refine(ctx, l, x, s, codes, values)
}

// ring is the index tiles beneath t with one more on each side, or those around the one that holds t.
func ring(t maptile.Tile, z maptile.Zoom) []uint64 {
	x0, y0, n := int64(t.X), int64(t.Y), int64(1)
	if t.Z <= z {
		x0, y0, n = x0<<(z-t.Z), y0<<(z-t.Z), n<<(z-t.Z)
	} else {
		x0, y0 = x0>>(t.Z-z), y0>>(t.Z-z)
	}
	side := int64(1) << z
	var out []uint64
	for y := max(0, y0-1); y <= min(side-1, y0+n); y++ {
		for x := x0 - 1; x <= x0+n; x++ {
			out = append(out, geo.Morton(maptile.New(uint32((x+side)%side), uint32(y), z)))
		}
	}
	return out
}

// refine cuts tiles (Morton codes, ascending, and their scores) into cells. Where the model cannot tell the parts of
// a tile apart the answer is s: whoever asks for detail gets as much of it as there is.
func (e *Engine) refine(ctx context.Context, l *layer, x expression, s *Scores, codes []uint64, values []float32) (*Scores, error) {
	enc, err := e.dense.get(ctx)
	if errors.Is(err, tilescout.ErrUnavailable) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	judge, err := e.vectorScorer(ctx, x)
	if err != nil {
		return nil, err
	}
	deeper := maptile.Zoom(0)
	for 1<<deeper < enc.Side() {
		deeper++
	}
	each := 1 << (2 * deeper)
	floor := float32(e.calibration().Floor)
	out := &Scores{
		Zoom: s.Zoom + deeper, Known: s.Known, Unknown: s.Unknown,
		codes: make([]uint64, len(codes)*each), values: make([]float32, len(codes)*each),
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	looked := 0
	for i, code := range codes {
		for j := range each {
			out.codes[i*each+j] = code<<(2*deeper) + uint64(j)
			out.values[i*each+j] = values[i]
		}
		if values[i] < floor || looked == maxDetailTiles {
			continue
		}
		looked++
		g.Go(func() error {
			cells, err := e.cellsOf(ctx, l, geo.FromMorton(code, s.Zoom))
			if errors.Is(err, tilescout.ErrNotFound) || errors.Is(err, tilescout.ErrBadInput) {
				return nil // nothing to look into: the tile keeps its own score
			}
			if err != nil {
				return err
			}
			share(out.values[i*each:(i+1)*each], judge, cells, enc.Side(), deeper)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("layer %q: look into tiles: %w", l.info.ID, err)
	}
	out.extent = extentOf(out.codes, out.Zoom)
	return out, nil
}

// share spreads a tile's score over its parts, which stand in Morton order; cells is side × side.
func share(values []float32, judge func([]float32) float64, cells [][]float32, side int, deeper maptile.Zoom) {
	p := make([]float64, len(cells))
	best := 0.0
	for i, v := range cells {
		p[i] = judge(v)
		best = max(best, p[i])
	}
	if best < sureCell {
		return
	}
	for j := range values {
		t := geo.FromMorton(uint64(j), deeper)
		cx, cy := (2*int(t.X)+1)*side>>(deeper+1), (2*int(t.Y)+1)*side>>(deeper+1)
		values[j] *= float32(math.Pow(p[cy*side+cx]/best, cellShare))
	}
}

// cellsOf are the embeddings of a tile's cells, from memory or made now.
func (e *Engine) cellsOf(ctx context.Context, l *layer, t maptile.Tile) ([][]float32, error) {
	return e.cells.Get(ctx, tileKey{l.info.ID, l.info.Version, t}, func(ctx context.Context) ([][]float32, error) {
		ctx, cancel := context.WithTimeout(ctx, e.options.TileTimeout)
		defer cancel()
		picture, err := l.tiles.Tile(ctx, t)
		if err != nil {
			return nil, fmt.Errorf("tile %s: %w", tileName(t), err)
		}
		cells, err := e.dense.cells(ctx, picture)
		if err != nil {
			return nil, fmt.Errorf("tile %s: %w", tileName(t), err)
		}
		return cells, nil
	})
}

// vectorScorer answers how well single embeddings match an expression, by the same rules as a scan. Terms that
// are pictures take no part: what they show has no place inside a tile.
func (e *Engine) vectorScorer(ctx context.Context, x expression) (func([]float32) float64, error) {
	type scorer struct {
		ask     []float32
		synonym []bool
		weight  float64
	}
	var negatives [][]float32
	for _, t := range x.not {
		if t.isTile() {
			continue
		}
		p, err := e.prompt(ctx, t.phrase)
		if err != nil {
			return nil, err
		}
		if p.embedding != nil {
			negatives = append(negatives, p.embedding)
		}
	}
	var any [][]scorer
	for _, all := range x.any {
		var terms []scorer
		for _, t := range all {
			if t.isTile() {
				continue
			}
			p, err := e.prompt(ctx, t.phrase)
			if err != nil {
				return nil, err
			}
			if p.embedding == nil {
				continue
			}
			terms = append(terms, scorer{p.embedding, e.concepts.synonymous(t.phrase, p.embedding, e.synonymLimit()), t.weight})
		}
		if len(terms) > 0 {
			any = append(any, terms)
		}
	}
	return func(v []float32) float64 {
		missed := 1.0
		for _, all := range any {
			least := 1.0
			for _, s := range all {
				least = min(least, math.Pow(e.concepts.probability(v, s.ask, s.synonym, negatives), s.weight))
			}
			missed *= 1 - least
		}
		return 1 - missed
	}, nil
}

// probability is the score of one embedding: eq. 3 and 7 of docs/search.md, summed in full.
func (c *conceptTable) probability(v, ask []float32, synonym []bool, negatives [][]float32) float64 {
	own := c.scale * dot(ask, v)
	sum := 0.0
	for b := range c.all {
		if !synonym[b] {
			sum += math.Exp(c.scale*dot(c.all[b].embedding, v) - own)
		}
	}
	for _, n := range negatives {
		sum += 4 * math.Exp(c.scale*dot(n, v)-own)
	}
	return 1 / (1 + sum)
}
