package search

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout/cache/index"
	"github.com/tilescout/tilescout/geo"
	"golang.org/x/sync/errgroup"
)

// Predecessor is another model that has embedded tiles of the engine's layers, as they are now.
type Predecessor struct {
	Digest  string
	Tiles   int // that it has embedded, windows too
	Missing int // of them, those that the engine's own model has not
}

// succeeded says whether a model that lacks so many of another's tiles may take its place: it has all of them, but for
// the few in a hundred that a source no longer gives.
func succeeded(missing, tiles int) bool { return missing*100 <= tiles }

// Predecessors are the models that know more of the layers than the engine's own, those that know most first. Layers
// whose source forbids fetching an area do not count: nobody may embed them ahead.
func (e *Engine) Predecessors(ctx context.Context) ([]Predecessor, error) {
	keys, err := e.store.Sets()
	if err != nil {
		return nil, err
	}
	type place struct {
		layer, version string
		zoom           maptile.Zoom
		windows        bool
	}
	ours := map[place]*view{}
	for _, id := range e.Layers() {
		if l, err := e.layer(id); err == nil && l.bulk() == nil {
			for _, v := range l.views {
				ours[place{l.info.ID, l.info.Version, v.zoom, false}] = v
			}
			if l.windows != nil {
				ours[place{l.info.ID, l.info.Version, l.windows.zoom, true}] = l.windows
			}
		}
	}
	found := map[string]*Predecessor{}
	for _, k := range keys {
		v := ours[place{k.Layer, k.Version, k.Zoom, strings.HasSuffix(k.Preprocessing, windowKind)}]
		if v == nil || k.Model == e.model.Digest {
			continue
		}
		set, err := e.store.Set(ctx, k)
		if err != nil {
			return nil, fmt.Errorf("layer %q: open the index of another model: %w", k.Layer, err)
		}
		p := found[k.Model]
		if p == nil {
			p = &Predecessor{Digest: k.Model}
			found[k.Model] = p
		}
		p.Tiles += set.Len()
		p.Missing += len(missingCodes(set, v.set))
		e.store.Release(k)
	}
	var out []Predecessor
	for _, p := range found {
		if !succeeded(p.Missing, p.Tiles) {
			out = append(out, *p)
		}
	}
	slices.SortFunc(out, func(a, b Predecessor) int {
		return cmp.Or(cmp.Compare(b.Tiles, a.Tiles), cmp.Compare(a.Digest, b.Digest))
	})
	return out, nil
}

// missingCodes are the tiles that one set knows, blank ones last, and another does not.
func missingCodes(known, by *index.Set) []uint64 {
	s, has := known.Snapshot(), by.Snapshot()
	defer s.Release()
	defer has.Release()
	var out []uint64
	for _, codes := range [][]uint64{s.Codes(), s.Blanks()} {
		// All lists are sorted: one walk along them, for they may hold millions.
		rows, blanks := has.Codes(), has.Blanks()
		for _, c := range codes {
			for len(rows) > 0 && rows[0] < c {
				rows = rows[1:]
			}
			for len(blanks) > 0 && blanks[0] < c {
				blanks = blanks[1:]
			}
			if !(len(rows) > 0 && rows[0] == c) && !(len(blanks) > 0 && blanks[0] == c) {
				out = append(out, c)
			}
		}
	}
	return out
}

// Succession is how far the model that is to follow is with a layer.
type Succession struct {
	Model    string  `json:"model"`
	Embedded int     `json:"embedded"` // of Total
	Total    int     `json:"total"`    // tiles that the serving model has embedded
	Failed   int     `json:"failed"`   // of those left, that the source did not give; they are asked for again
	Rate     float64 `json:"rate"`     // tiles/s
}

// heir is what an engine knows of the one that is to follow it.
type heir struct {
	mu     sync.Mutex // guards layers
	layers map[string]Succession
}

func (h *heir) set(id string, s Succession) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.layers == nil {
		h.layers = map[string]Succession{}
	}
	h.layers[id] = s
}

func (h *heir) get(id string) *Succession {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s, ok := h.layers[id]; ok {
		return &s
	}
	return nil
}

func (h *heir) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.layers = nil
}

// SucceedOptions of Succeed. The zero value works.
type SucceedOptions struct {
	Retry    time.Duration                    // before what failed is tried again; 0 means a minute
	Progress func(layer string, s Succession) // called after every batch; may be nil
	Trouble  func(layer string, failed error) // why a layer does not get on; may be nil
}

// Succeed embeds what old has embedded of the layers that both have, and returns when nothing is missing: the engine
// can then answer in old's place. old goes on answering meanwhile, and its states show the progress. It may be stopped at
// any time and goes on where it was. Tiles that fail are tried again after Retry; one in a hundred may be left out.
func (e *Engine) Succeed(ctx context.Context, old *Engine, o SucceedOptions) error {
	defer old.heir.forget()
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		missing, tiles, fresh := 0, 0, 0
		for _, id := range e.Layers() {
			s := &succession{engine: e, old: old, id: id, options: o}
			if !s.open() {
				continue
			}
			if err := s.pass(ctx); err != nil && ctx.Err() == nil && o.Trouble != nil {
				o.Trouble(id, err)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			fresh += s.fresh
			left, known := s.count()
			missing, tiles = missing+left, tiles+known
		}
		if succeeded(missing, tiles) {
			return nil
		}
		if fresh > 0 {
			continue // old has looked at more meanwhile, or others failed beside these
		}
		retry.Reset(cmp.Or(o.Retry, time.Minute))
		select {
		case <-retry.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// succession is one layer on its way from one engine to another.
type succession struct {
	engine, old *Engine
	id          string
	options     SucceedOptions

	layer *layer
	views []*view      // of layer, its windows last if it has them
	sets  []*index.Set // of old, one for each view; nil where old has none of that zoom
	fresh int          // tiles that the pass embedded
}

// open finds the layer in both engines; false if there is nothing to do.
func (s *succession) open() bool {
	to, err := s.engine.layer(s.id)
	from, err2 := s.old.layer(s.id)
	if err != nil || err2 != nil || to.info.Version != from.info.Version || to.bulk() != nil {
		return false
	}
	s.layer, s.views, s.sets = to, to.all(), make([]*index.Set, len(to.all()))
	for i, z := range to.zooms {
		if level, ok := from.level(z); ok {
			s.sets[i] = from.views[level].set
		}
	}
	if to.windows != nil && from.windows != nil && to.windows.zoom == from.windows.zoom {
		s.sets[len(s.sets)-1] = from.windows.set
	}
	return true
}

// count is how many tiles are missing, of how many.
func (s *succession) count() (missing, tiles int) {
	for i, set := range s.sets {
		if set != nil {
			missing += len(missingCodes(set, s.views[i].set))
			tiles += set.Len()
		}
	}
	return missing, tiles
}

// pass embeds what is missing now, the parents first. What failed is left out and told.
func (s *succession) pass(ctx context.Context) error {
	j := &indexJob{engine: s.engine, layer: s.layer, start: time.Now()}
	j.tell = func(p Progress) { s.tell(p) }
	todo := make([][]uint64, len(s.sets))
	for i, set := range s.sets {
		if set != nil {
			todo[i] = missingCodes(set, s.views[i].set)
			j.report.Total += set.Len()
			j.report.Done += set.Len() - len(todo[i])
		}
	}
	j.known = j.report.Done
	j.notify()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2) // one batch in the encoder, one being fetched: what people ask for comes first
	for i := len(s.layer.views) - 1; i >= 0; i-- {
		s.embed(ctx, g, j, i, todo[i])
	}
	if last := len(todo) - 1; s.views[last] == s.layer.windows {
		s.embed(ctx, g, j, last, todo[last])
	}
	err := g.Wait()
	s.fresh = j.report.Done - j.known
	if n := len(j.report.Failures); err == nil && n > 0 {
		f := j.report.Failures[n-1]
		err = fmt.Errorf("%d tiles failed, among them %s: %w", j.report.Failed, tileName(f.Tile), f.Err)
	}
	return err
}

// embed gives the group the work of one view. That a tile has no content, no model need be asked.
func (s *succession) embed(ctx context.Context, g *errgroup.Group, j *indexJob, view int, todo []uint64) {
	var codes []uint64
	var blank []index.Row
	for _, c := range todo {
		if s.sets[view].Blank(c) {
			blank = append(blank, index.Row{Code: c, Blank: true})
		} else {
			codes = append(codes, c)
		}
	}
	if len(blank) > 0 {
		g.Go(func() error {
			if err := s.views[view].set.Put(ctx, blank); err != nil {
				return fmt.Errorf("layer %q: keep what is blank: %w", s.id, err)
			}
			j.mu.Lock()
			defer j.mu.Unlock()
			j.report.Done += len(blank)
			j.notifyLocked()
			return nil
		})
	}
	if s.views[view] == s.layer.windows {
		for batch := range slices.Chunk(codes, 3*jobBatch) {
			if ctx.Err() != nil {
				return
			}
			g.Go(func() error { return j.runWindows(ctx, batch) })
		}
		return
	}
	for batch := range slices.Chunk(codes, jobBatch) {
		if ctx.Err() != nil {
			return
		}
		tiles := make([]maptile.Tile, len(batch))
		for k, c := range batch {
			tiles[k] = geo.FromMorton(c, s.layer.zooms[view])
		}
		g.Go(func() error { return j.run(ctx, tiles) })
	}
}

func (s *succession) tell(p Progress) {
	now := Succession{Model: s.engine.model.ID, Embedded: p.Done, Total: p.Total, Failed: p.Failed, Rate: p.Rate}
	s.old.heir.set(s.id, now)
	if s.options.Progress != nil {
		s.options.Progress(s.id, now)
	}
}

// Release closes the engine's part of the index and gives its memory back. Call it after Close, when nobody asks any more.
func (e *Engine) Release() {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, l := range e.layers {
		for _, v := range l.all() {
			v.forget()
			e.store.Release(v.set.Key())
		}
	}
}
