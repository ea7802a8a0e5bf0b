package search

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache/index"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/geo"
	"golang.org/x/sync/errgroup"
)

// IndexOptions say what to index.
type IndexOptions struct {
	Box      *geo.BBox      // nil means the layer's index bounds
	Progress func(Progress) // called after every batch, from one goroutine at a time; may be nil
}

// Progress of an index job.
type Progress struct {
	Done    int // tiles that are known now, those known before included
	Total   int
	Blank   int     // of Done: without content, found by this job
	Failed  int     // tiles that could not be fetched or encoded
	Rate    float64 // tiles/s since the job began
	Remains time.Duration
}

// Report is what an index job did.
type Report struct {
	Progress
	New      int           // tiles embedded by this job
	Took     time.Duration // wall clock
	Failures []Failure     // the first few
}

// Failure is a tile that was skipped.
type Failure struct {
	Tile maptile.Tile
	Err  error
}

// maxFailures bounds the failures that a report names.
const maxFailures = 20

// failFast ends a job whose source fails from the start: this many failures and not one success.
const failFast = 64

// jobBatch is the number of tiles of one call to the encoder.
const jobBatch = 16

// Estimate says what indexing would take without doing it.
type Estimate struct {
	Layer   string         `json:"layer"`
	Zooms   []maptile.Zoom `json:"zooms"`
	Tiles   int            `json:"tiles"`
	Missing int            `json:"missing"`
	Bytes   int64          `json:"bytes"`   // the index will grow by about this much
	Rate    float64        `json:"rate"`    // tiles/s, measured on a few of the layer's own tiles
	Seconds float64        `json:"seconds"` // for the missing tiles at that rate
}

// bytesPerRow is what a row takes on disk beside its int8 and fp16 components: key, checksums, log.
const bytesPerRow = 24

// EstimateIndex counts the tiles and times a few of them. It keeps what it embeds.
func (e *Engine) EstimateIndex(ctx context.Context, id string, o IndexOptions) (Estimate, error) {
	l, err := e.layer(id)
	if err != nil {
		return Estimate{}, err
	}
	if err := l.bulk(); err != nil {
		return Estimate{}, err
	}
	if _, err := l.count(o.Box); err != nil {
		return Estimate{}, err
	}
	est := Estimate{Layer: id, Zooms: l.zooms}
	var sample []maptile.Tile
	for level, t := range l.work(o.Box) {
		est.Tiles++
		if !l.views[level].set.Has(geo.Morton(t)) {
			est.Missing++
			if level == 0 && len(sample) < 2*jobBatch {
				sample = append(sample, t)
			}
		}
		if est.Tiles&1023 == 0 && ctx.Err() != nil {
			return est, ctx.Err()
		}
	}
	if l.windows != nil {
		for tiles := range l.blocks(o.Box) {
			missing, all := l.missingWindows(tiles)
			est.Tiles += all
			est.Missing += len(missing)
			if ctx.Err() != nil {
				return est, ctx.Err()
			}
		}
	}
	est.Bytes = int64(est.Missing) * int64(3*e.model.Dimension+bytesPerRow)
	if len(sample) > 0 {
		start := time.Now()
		results := e.embedTiles(ctx, l, sample, encoder.Background)
		if err := e.keep(ctx, l, sample, results); err != nil {
			return est, err
		}
		if took := time.Since(start).Seconds(); took > 0 {
			est.Rate = float64(len(sample)) / took
			est.Seconds = float64(est.Missing) / est.Rate
		}
	}
	return est, nil
}

// maxJob bounds the tiles of one index job: a country at the zoom of buildings. More is a mistake about bounds.
const maxJob = 20_000_000

// count is the number of tiles that a job covers; ErrBadInput if they are too many.
func (l *layer) count(box *geo.BBox) (int, error) {
	bounds := l.bounds
	if box != nil {
		bounds = intersectAll(box.Bounds(), l.bounds)
	}
	n := 0
	for _, z := range l.zooms {
		for _, b := range bounds {
			n += geo.CoverCount(b, z)
			if l.windows != nil && z == l.zooms[0] {
				n += 3 * geo.CoverCount(b, z)
			}
		}
	}
	if n > maxJob {
		return n, fmt.Errorf("layer %q has %d tiles at zooms %v, at most %d can be indexed at once: give a box (--bbox west,south,east,north) or set index.bounds: %w",
			l.info.ID, n, l.zooms, maxJob, tilescout.ErrBadInput)
	}
	return n, nil
}

// JobSize is the number of tiles that indexing a layer, or a box of it, covers.
func (e *Engine) JobSize(id string, box *geo.BBox) (int, error) {
	l, err := e.layer(id)
	if err != nil {
		return 0, err
	}
	return l.count(box)
}

// work yields level and tile of everything a job covers: the parents first, so that a map that fills
// shows coarse answers early.
func (l *layer) work(box *geo.BBox) func(func(int, maptile.Tile) bool) {
	bounds := l.bounds
	if box != nil {
		bounds = intersectAll(box.Bounds(), l.bounds)
	}
	return func(yield func(int, maptile.Tile) bool) {
		for level := len(l.zooms) - 1; level >= 0; level-- {
			for _, b := range bounds {
				for t := range geo.Cover(b, l.zooms[level]) {
					if !yield(level, t) {
						return
					}
				}
			}
		}
	}
}

// Index embeds everything of a layer that is not embedded yet. It may be stopped at any time and goes
// on where it was; tiles that fail are skipped and reported. A source that forbids bulk fetching is not
// asked for a single tile.
func (e *Engine) Index(ctx context.Context, id string, o IndexOptions) (Report, error) {
	l, err := e.layer(id)
	if err != nil {
		return Report{}, err
	}
	if err := l.bulk(); err != nil {
		return Report{}, fmt.Errorf("index layer %q: %w", id, err)
	}
	if _, err := l.count(o.Box); err != nil {
		return Report{}, err
	}
	l.mu.Lock()
	l.busy++
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.busy--
		l.mu.Unlock()
	}()
	j := &indexJob{engine: e, layer: l, start: time.Now(), tell: o.Progress}
	for level, t := range l.work(o.Box) {
		j.report.Total++
		if l.views[level].set.Has(geo.Morton(t)) {
			j.report.Done++
		}
	}
	if l.windows != nil {
		for tiles := range l.blocks(o.Box) {
			missing, all := l.missingWindows(tiles)
			j.report.Total += all
			j.report.Done += all - len(missing)
		}
	}
	j.known = j.report.Done
	j.notify()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(3) // one batch in the encoder, one being decoded, one being fetched
	var batch []maptile.Tile
	send := func() {
		tiles := batch
		batch = nil
		if len(tiles) > 0 {
			g.Go(func() error { return j.run(gctx, tiles) })
		}
	}
	for level, t := range l.work(o.Box) {
		if gctx.Err() != nil {
			break
		}
		if l.views[level].set.Has(geo.Morton(t)) {
			continue
		}
		if len(batch) > 0 && batch[0].Z != t.Z {
			send()
		}
		if batch = append(batch, t); len(batch) == jobBatch {
			send()
		}
	}
	send()
	if l.windows != nil {
		if err = g.Wait(); err == nil { // the tiles first: they answer by themselves
			g, gctx = errgroup.WithContext(ctx)
			g.SetLimit(2)
			for tiles := range l.blocks(o.Box) {
				if gctx.Err() != nil {
					break
				}
				codes, _ := l.missingWindows(tiles)
				missing := len(codes)
				codes = l.due(codes)
				j.withdraw(missing - len(codes))
				if len(codes) > 0 {
					g.Go(func() error { return j.runWindows(gctx, codes) })
				}
			}
		}
	}
	if err == nil {
		err = g.Wait()
	}
	if err == nil {
		err = ctx.Err()
	}
	j.report.Took = time.Since(j.start)
	return j.report, err
}

type indexJob struct {
	engine *Engine
	layer  *layer
	start  time.Time
	known  int
	tell   func(Progress)

	mu     sync.Mutex // guards report
	report Report
}

func (j *indexJob) run(ctx context.Context, tiles []maptile.Tile) error {
	results := j.engine.embedTiles(ctx, j.layer, tiles, encoder.Background)
	for i := range results {
		if errors.Is(results[i].err, tilescout.ErrBusy) && ctx.Err() == nil {
			// The encoder's queue is for people first: wait and ask again.
			time.Sleep(50 * time.Millisecond)
			results[i] = j.engine.embedTiles(ctx, j.layer, tiles[i:i+1], encoder.Background)[0]
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := j.engine.keep(ctx, j.layer, tiles, results); err != nil {
		return err
	}
	return j.count(tiles, results)
}

// runWindows embeds windows, whose quarters stand for them in the report.
func (j *indexJob) runWindows(ctx context.Context, codes []uint64) error {
	results, err := j.engine.embedWindows(ctx, j.layer, codes, encoder.Background)
	if err != nil {
		return err
	}
	for i := range results {
		for errors.Is(results[i].err, tilescout.ErrBusy) && ctx.Err() == nil {
			time.Sleep(50 * time.Millisecond) // as with tiles
			again, err := j.engine.embedWindows(ctx, j.layer, codes[i:i+1], encoder.Background)
			if err != nil {
				return err
			}
			results[i] = again[0]
		}
	}
	quarters := make([]maptile.Tile, len(codes))
	for i, code := range codes {
		quarters[i] = geo.FromMorton(code, j.layer.windows.zoom)
	}
	return j.count(quarters, results)
}

// withdraw takes windows out of the job that have to wait for a tile that failed.
func (j *indexJob) withdraw(n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.report.Total -= n
}

// count adds the results to the report.
func (j *indexJob) count(tiles []maptile.Tile, results []tileResult) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := &j.report
	for i, res := range results {
		switch {
		case res.err == nil:
			r.Done++
			r.New++
		case isNoContent(res.err):
			r.Done++
			r.Blank++
		default:
			r.Failed++
			if len(r.Failures) < maxFailures {
				r.Failures = append(r.Failures, Failure{tiles[i], res.err})
			}
			if errors.Is(res.err, tilescout.ErrForbidden) || errors.Is(res.err, tilescout.ErrUnavailable) {
				return fmt.Errorf("tile %s: %w", tileName(tiles[i]), res.err)
			}
		}
	}
	if r.Failed >= failFast && r.New+r.Blank == 0 {
		return fmt.Errorf("the first %d tiles all failed, the last with: %w", r.Failed, r.Failures[len(r.Failures)-1].Err)
	}
	j.notifyLocked()
	return nil
}

func (j *indexJob) notify() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.notifyLocked()
}

func (j *indexJob) notifyLocked() {
	p := &j.report.Progress
	if took := time.Since(j.start).Seconds(); took > 0 && j.report.Done > j.known {
		p.Rate = float64(j.report.Done-j.known) / took
		p.Remains = time.Duration(float64(p.Total-p.Done-p.Failed) / p.Rate * float64(time.Second))
		j.layer.mu.Lock()
		j.layer.rate = p.Rate
		j.layer.mu.Unlock()
	}
	if j.tell != nil {
		j.tell(*p)
	}
}

// Stale lists index sets on disk that no layer of this engine uses: embeddings of other models or of
// earlier versions of a source.
func (e *Engine) Stale() ([]index.Key, error) {
	used := map[index.Key]bool{}
	e.mu.RLock()
	for _, l := range e.layers {
		for _, z := range l.zooms {
			used[index.Key{Layer: l.info.ID, Version: l.info.Version, Model: e.model.Digest, Preprocessing: e.model.Preprocessing, Zoom: z, Dimension: e.model.Dimension}] = true
		}
		if l.windows != nil {
			used[e.windowKey(l)] = true
		}
	}
	e.mu.RUnlock()
	all, err := e.store.Sets()
	if err != nil {
		return nil, err
	}
	var out []index.Key
	for _, k := range all {
		if !used[k] {
			out = append(out, k)
		}
	}
	return out, nil
}

// MayIndex says whether a layer's source allows fetching an area to embed it; ErrForbidden with the reason
// if not.
func (e *Engine) MayIndex(id string) error {
	l, err := e.layer(id)
	if err != nil {
		return err
	}
	return l.bulk()
}

// Warm reads a layer's index once, in the background of a start: the first prompt then finds its pages checked and
// its backdrops made.
func (e *Engine) Warm(ctx context.Context, id string) error {
	l, err := e.layer(id)
	if err != nil {
		return err
	}
	for _, v := range l.all() {
		if err := v.set.Warm(ctx); err != nil {
			return fmt.Errorf("layer %q: read the index: %w", id, err)
		}
		f, err := v.acquire(ctx)
		if err != nil {
			return fmt.Errorf("layer %q: %w", id, err)
		}
		f.release()
	}
	return nil
}
