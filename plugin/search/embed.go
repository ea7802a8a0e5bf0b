package search

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache/index"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/geo"
	"golang.org/x/sync/errgroup"
)

// embedding returns a tile's embedding: from memory, from the index, or by embedding it now.
// ErrNotFound means that the tile holds nothing to see.
func (e *Engine) embedding(ctx context.Context, l *layer, t maptile.Tile) ([]float32, error) {
	key := tileKey{l.info.ID, l.info.Version, t}
	if v, ok := e.embeddings.Peek(key); ok {
		return v, nil
	}
	if level, ok := l.level(t.Z); ok {
		set := l.views[level].set
		v, found, err := set.Embedding(geo.Morton(t))
		switch {
		case err != nil:
			return nil, fmt.Errorf("tile %s: read its embedding: %w", tileName(t), err)
		case found:
			e.embeddings.Add(key, v)
			return v, nil
		case set.Blank(geo.Morton(t)):
			return nil, fmt.Errorf("tile %s holds nothing: %w", tileName(t), tilescout.ErrNotFound)
		}
	}
	job, err := e.fill.want(l, t)
	if err != nil {
		return nil, err
	}
	select {
	case <-job.done:
		return job.embedding, job.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fillJob is one tile on its way to the encoder. Its result may be read once done is closed.
type fillJob struct {
	layer     *layer
	tile      maptile.Tile
	key       tileKey
	done      chan struct{}
	embedding []float32
	err       error
}

// filler embeds single tiles on demand: the newest wish first, because that is what somebody looks at;
// each tile once, however many wait for it. It is bounded; past the bound the oldest wish is refused.
type filler struct {
	engine *Engine
	limit  int
	ctx    context.Context // of the filler's life: a background worker has no caller
	stop   context.CancelFunc
	group  sync.WaitGroup
	wake   chan struct{}

	done, failed atomic.Int64

	mu      sync.Mutex // guards stack, jobs, recent
	stack   []*fillJob
	jobs    map[tileKey]*fillJob
	refused map[tileKey]refusal
}

// refusal remembers a tile that failed a moment ago, so that a dead upstream is not asked at every frame.
type refusal struct {
	err   error
	until time.Time
}

const (
	fillBatch   = 8
	refuseFor   = 30 * time.Second
	maxRefusals = 4096
)

func newFiller(e *Engine, limit, workers int) *filler {
	ctx, stop := context.WithCancel(context.Background())
	f := &filler{
		engine: e, limit: limit, ctx: ctx, stop: stop, wake: make(chan struct{}, workers),
		jobs: map[tileKey]*fillJob{}, refused: map[tileKey]refusal{},
	}
	for range workers {
		f.group.Go(f.work)
	}
	return f
}

func (f *filler) close() {
	f.stop()
	f.group.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, j := range f.stack {
		j.err = fmt.Errorf("tile %s: the server is stopping: %w", tileName(j.tile), tilescout.ErrUnavailable)
		close(j.done)
	}
	f.stack = nil
}

func (f *filler) stats() (queue int, done, failed int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.stack), f.done.Load(), f.failed.Load()
}

// want asks for a tile; the job of an equal wish is shared.
func (f *filler) want(l *layer, t maptile.Tile) (*fillJob, error) {
	key := tileKey{l.info.ID, l.info.Version, t}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx.Err() != nil {
		return nil, fmt.Errorf("tile %s: the server is stopping: %w", tileName(t), tilescout.ErrUnavailable)
	}
	if r, ok := f.refused[key]; ok {
		if time.Now().Before(r.until) {
			return nil, r.err
		}
		delete(f.refused, key)
	}
	if j, ok := f.jobs[key]; ok {
		return j, nil
	}
	if j := f.finished(l, t, key); j != nil {
		return j, nil
	}
	j := &fillJob{layer: l, tile: t, key: key, done: make(chan struct{})}
	if len(f.stack) >= f.limit {
		old := f.stack[0]
		f.stack = f.stack[1:]
		delete(f.jobs, old.key)
		old.err = fmt.Errorf("tile %s: too many tiles wait to be embedded: %w", tileName(old.tile), tilescout.ErrBusy)
		close(old.done)
	}
	f.stack = append(f.stack, j)
	f.jobs[key] = j
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return j, nil
}

// finished answers a wish that came true between the asker's look and now, so that nothing is fetched twice.
func (f *filler) finished(l *layer, t maptile.Tile, key tileKey) *fillJob {
	level, ok := l.level(t.Z)
	if !ok {
		return nil
	}
	set, code := l.views[level].set, geo.Morton(t)
	if !set.Has(code) {
		return nil
	}
	j := &fillJob{layer: l, tile: t, key: key, done: make(chan struct{})}
	close(j.done)
	switch v, found, err := set.Embedding(code); {
	case err == nil && found:
		j.embedding = v
	case set.Blank(code):
		j.err = fmt.Errorf("tile %s holds nothing: %w", tileName(t), tilescout.ErrNotFound)
	default:
		return nil // what is kept of it cannot be read: it is made anew
	}
	return j
}

// take pops the newest wishes of one layer and zoom.
func (f *filler) take() []*fillJob {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*fillJob
	for i := len(f.stack) - 1; i >= 0 && len(out) < fillBatch; i-- {
		j := f.stack[i]
		if len(out) > 0 && (j.layer != out[0].layer || j.tile.Z != out[0].tile.Z) {
			continue
		}
		out = append(out, j)
		f.stack = append(f.stack[:i], f.stack[i+1:]...)
	}
	return out
}

func (f *filler) work() {
	for {
		jobs := f.take()
		if len(jobs) == 0 {
			select {
			case <-f.wake:
				continue
			case <-f.ctx.Done():
				return
			}
		}
		f.run(jobs)
	}
}

// run fetches, encodes and stores a batch, then tells the waiting.
func (f *filler) run(jobs []*fillJob) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(f.ctx, f.engine.options.TileTimeout)
	defer cancel()
	l := jobs[0].layer
	tiles := make([]maptile.Tile, len(jobs))
	for i, j := range jobs {
		tiles[i] = j.tile
	}
	results := f.engine.embedTiles(ctx, l, tiles, encoder.Interactive)
	err := f.engine.keep(ctx, l, tiles, results)
	embedded := 0
	f.mu.Lock()
	for i, j := range jobs {
		delete(f.jobs, j.key)
		j.embedding, j.err = results[i].embedding, results[i].err
		if j.err == nil && err != nil {
			j.err = err
		}
		if j.err != nil && !isNoContent(j.err) {
			f.failed.Add(1)
			if len(f.refused) >= maxRefusals {
				clear(f.refused)
			}
			if !errors.Is(j.err, context.Canceled) {
				f.refused[j.key] = refusal{j.err, time.Now().Add(refuseFor)}
			}
		} else {
			embedded++
			f.done.Add(1)
		}
		if j.embedding != nil {
			f.engine.embeddings.Add(j.key, j.embedding)
		}
	}
	f.mu.Unlock()
	l.setRate(embedded, time.Since(start))
	for _, j := range jobs {
		close(j.done)
	}
}

func (l *layer) setRate(tiles int, took time.Duration) {
	if tiles == 0 || took <= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate = float64(tiles) / took.Seconds()
}

// tileResult is what became of one tile: an embedding, no content (ErrNotFound), or a failure.
type tileResult struct {
	embedding []float32
	err       error
}

// fetchers bounds the fetches of one batch; sources bound themselves again, per host or file.
const fetchers = 8

// embedTiles fetches the tiles side by side and encodes what came in one call.
func (e *Engine) embedTiles(ctx context.Context, l *layer, tiles []maptile.Tile, p encoder.Priority) []tileResult {
	results := make([]tileResult, len(tiles))
	pictures := make([]tilescout.Picture, len(tiles))
	var g errgroup.Group
	g.SetLimit(fetchers)
	for i, t := range tiles {
		g.Go(func() error {
			pictures[i], results[i].err = l.tiles.Tile(ctx, t)
			return nil
		})
	}
	_ = g.Wait() // results hold the errors
	var batch []tilescout.Picture
	var at []int
	for i := range tiles {
		if results[i].err == nil {
			batch = append(batch, pictures[i])
			at = append(at, i)
		}
	}
	e.encodeInto(ctx, results, at, batch, p, func(i int) string { return "tile " + tileName(tiles[i]) })
	return results
}

// encodeInto encodes a batch in one call; at says which result each picture is for. One bad picture does not fail its
// neighbours.
func (e *Engine) encodeInto(ctx context.Context, results []tileResult, at []int, batch []tilescout.Picture, p encoder.Priority, name func(i int) string) {
	if len(batch) == 0 {
		return
	}
	embeddings, err := e.encoder.Images(ctx, batch, p)
	var each encoder.PictureErrors
	apart := errors.As(err, &each)
	for k, i := range at {
		switch {
		case err != nil && !apart:
			results[i].err = err
		case apart && each[k] != nil:
			results[i].err = fmt.Errorf("%s: %w", name(i), each[k])
		default:
			results[i].embedding = embeddings[k]
		}
	}
}

// keep writes what is known of the tiles to the index, durably.
func (e *Engine) keep(ctx context.Context, l *layer, tiles []maptile.Tile, results []tileResult) error {
	rows := map[int][]index.Row{}
	for i, t := range tiles {
		level, ok := l.level(t.Z)
		if !ok || !l.inside(t) {
			continue
		}
		switch {
		case results[i].embedding != nil:
			rows[level] = append(rows[level], index.Row{Code: geo.Morton(t), Embedding: results[i].embedding})
		case isNoContent(results[i].err):
			rows[level] = append(rows[level], index.Row{Code: geo.Morton(t), Blank: true})
		}
	}
	for level, r := range rows {
		if err := l.views[level].set.Put(ctx, r); err != nil {
			return fmt.Errorf("layer %q: keep embeddings: %w", l.info.ID, err)
		}
	}
	return nil
}

// Pending is what one look at a part of a layer still waits for.
type Pending struct {
	Missing int // tiles of the deepest index zoom beneath that are not embedded
	Total   int // tiles of that zoom beneath, inside the layer
}

// Fill asks for the tiles beneath t to be embedded, at most OnDemand of them, and waits at most wait.
// A view far above the index zoom would need thousands of tiles: then nothing is asked, only counted.
func (e *Engine) Fill(ctx context.Context, id string, t maptile.Tile, wait time.Duration) (Pending, error) {
	l, err := e.layer(id)
	if err != nil {
		return Pending{}, err
	}
	if t.Z+1 < l.zooms[0] && l.bulk() != nil {
		// A host that forbids bulk fetching is asked for what is looked at, not for the many tiles beneath it.
		return l.pendingShare(t), nil
	}
	missing, total := l.missing(t, e.options.OnDemand)
	p := Pending{Missing: len(missing), Total: total}
	if total < 0 {
		p = l.pendingShare(t)
		return p, nil
	}
	if len(missing) == 0 {
		return p, nil
	}
	var jobs []*fillJob
	for _, m := range append(l.missingParents(missing), missing...) {
		if j, err := e.fill.want(l, m); err == nil {
			jobs = append(jobs, j)
		} else if m.Z == l.zooms[0] && !errors.Is(err, tilescout.ErrBusy) {
			p.Missing-- // it failed a moment ago: asking again at once would not help
		}
	}
	waitFor(ctx, jobs, wait)
	missing, _ = l.missing(t, e.options.OnDemand)
	p.Missing = min(p.Missing, len(missing))
	return p, nil
}

// waitFor returns when all jobs are done, the time is up or the caller has left.
func waitFor(ctx context.Context, jobs []*fillJob, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for _, j := range jobs {
		select {
		case <-j.done:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// missing lists the tiles of the deepest index zoom at, beneath or above t that are not embedded;
// total is −1 if there are more than limit beneath.
func (l *layer) missing(t maptile.Tile, limit int) (tiles []maptile.Tile, total int) {
	z := l.zooms[0]
	if t.Z >= z {
		up := t
		for up.Z > z {
			up = up.Parent()
		}
		if !l.inside(up) {
			return nil, 0
		}
		if !l.views[0].set.Has(geo.Morton(up)) {
			return []maptile.Tile{up}, 1
		}
		return nil, 1
	}
	if depth := z - t.Z; depth > 8 || 1<<(2*depth) > 4*limit {
		return nil, -1
	}
	for c := range geo.Cover(geo.Bound(t), z) {
		if !l.inside(c) {
			continue
		}
		total++
		if !l.views[0].set.Has(geo.Morton(c)) {
			tiles = append(tiles, c)
		}
	}
	if len(tiles) > limit {
		tiles = tiles[:limit]
	}
	return tiles, total
}

// missingParents are the parents of tiles that the second index zoom lacks, each once.
func (l *layer) missingParents(tiles []maptile.Tile) []maptile.Tile {
	if len(l.zooms) < 2 {
		return nil
	}
	seen := map[maptile.Tile]bool{}
	var out []maptile.Tile
	for _, t := range tiles {
		p := t.Parent()
		if !seen[p] && !l.views[1].set.Has(geo.Morton(p)) {
			out = append(out, p)
		}
		seen[p] = true
	}
	return out
}

// pendingShare counts what is missing beneath a tile far above the index zoom.
func (l *layer) pendingShare(t maptile.Tile) Pending {
	z := l.zooms[0]
	shift := 2 * uint(z-t.Z)
	from := geo.Morton(t) << shift
	have := l.views[0].countRange(from, from+1<<shift)
	total := 0
	for _, b := range l.bounds {
		if part := intersect([]orb.Bound{geo.Bound(t)}, b); len(part) > 0 {
			total += geo.CoverCount(part[0], z)
		}
	}
	return Pending{Missing: max(0, total-have), Total: total}
}

// Looked says whether there is nothing left to look at in an index tile: it is embedded, without content,
// or outside the layer.
func (e *Engine) Looked(id string, t maptile.Tile) bool {
	l, err := e.layer(id)
	if err != nil {
		return true
	}
	level, ok := l.level(t.Z)
	return !ok || !t.Valid() || !l.inside(t) || l.views[level].set.Has(geo.Morton(t))
}
