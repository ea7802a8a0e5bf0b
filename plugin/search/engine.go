package search

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache"
	"github.com/tilescout/tilescout/cache/index"
	"github.com/tilescout/tilescout/encoder"
)

// Tiles is where a layer's pictures come from. ErrNotFound means in range without content.
type Tiles interface {
	Tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error)
	Info() tilescout.LayerInfo
}

// Encoder turns pictures and prompts into unit-length embeddings of Model().Dimension floats.
// Images answers one embedding per picture, in order; encoder.PictureErrors says which pictures failed
// while the others have their embeddings (encoder.ErrNoData: no opaque pixel).
type Encoder interface {
	Images(ctx context.Context, pictures []tilescout.Picture, p encoder.Priority) ([][]float32, error)
	Texts(ctx context.Context, prompts []string) ([]encoder.Text, error)
	Model() encoder.Model
}

// Options of an Engine. The zero value works.
type Options struct {
	EmbeddingCache int64         // bytes of embeddings in memory; 0 means 64 MiB
	ScoreCache     int64         // bytes of score vectors in memory; 0 means 64 MiB
	PromptCache    int64         // bytes of prompt embeddings in memory; 0 means 8 MiB
	FillQueue      int           // tiles that may wait to be embedded on demand; 0 means 512
	FillWorkers    int           // batches on their way to the encoder at once; 0 means 2
	OnDemand       int           // missing tiles that one question may have embedded; 0 means 64
	TileTimeout    time.Duration // for one tile's fetch, decode and encode; 0 means 40 s
	CellCache      int64         // bytes of embeddings of the parts of tiles in memory; 0 means 32 MiB

	// Scanned is told of each pass over the rows of an index, for metrics; nil for nobody. It must return at once.
	Scanned func(Scan)

	// Dense opens the model's dense output, once, when somebody asks for the parts of tiles; nil means it has none.
	// What it opens is the engine's: if it can be closed, Close closes it.
	Dense func(context.Context) (DenseEncoder, error)
}

func (o *Options) setDefaults() {
	o.EmbeddingCache = cmp.Or(o.EmbeddingCache, 64<<20)
	o.ScoreCache = cmp.Or(o.ScoreCache, 64<<20)
	o.PromptCache = cmp.Or(o.PromptCache, 8<<20)
	o.FillQueue = cmp.Or(o.FillQueue, 512)
	o.FillWorkers = cmp.Or(o.FillWorkers, 2)
	o.OnDemand = cmp.Or(o.OnDemand, 64)
	o.TileTimeout = cmp.Or(o.TileTimeout, 40*time.Second)
	o.CellCache = cmp.Or(o.CellCache, 32<<20)
}

// Engine embeds, scans, calibrates and ranks. It is safe for concurrent use.
type Engine struct {
	options Options
	encoder Encoder
	model   encoder.Model
	store   *index.Store

	embeddings *cache.Cache[tileKey, []float32]
	scores     *cache.Cache[scoreKey, *Scores]
	prompts    *cache.Cache[string, promptVector]
	cells      *cache.Cache[tileKey, [][]float32]
	dense      dense
	fill       *filler
	heir       heir // the engine that is to follow this one

	concepts conceptTable

	mu     sync.RWMutex // guards layers, order
	layers map[string]*layer
	order  []string
}

// tileKey is an embedding's identity within one process: the layer's version stands for its source,
// the model is the engine's own.
type tileKey struct {
	layer, version string
	tile           maptile.Tile
}

// New returns an engine over an encoder and an index store. It embeds the model's concept vocabulary
// once, so it needs a working encoder.
func New(ctx context.Context, enc Encoder, store *index.Store, o Options) (*Engine, error) {
	o.setDefaults()
	e := &Engine{
		options: o, encoder: enc, model: enc.Model(), store: store,
		layers: map[string]*layer{},
	}
	e.embeddings = cache.New(o.EmbeddingCache, func(_ tileKey, v []float32) int { return 4*len(v) + 96 })
	e.scores = cache.New(o.ScoreCache, func(_ scoreKey, s *Scores) int { return s.size() })
	e.prompts = cache.New(o.PromptCache, func(k string, p promptVector) int { return len(k) + 4*len(p.embedding) + 96 })
	e.cells = cache.New(o.CellCache, func(_ tileKey, v [][]float32) int { return len(v)*(4*e.model.Dimension+24) + 96 })
	e.dense.open = o.Dense
	var err error
	if e.concepts, err = e.loadConcepts(ctx); err != nil {
		return nil, fmt.Errorf("search: embed the model's vocabulary: %w", err)
	}
	e.fill = newFiller(e, o.FillQueue, o.FillWorkers)
	return e, nil
}

// Close stops the work in the background. The encoder and the store stay the caller's.
func (e *Engine) Close() error {
	e.fill.close()
	return e.dense.close()
}

// Model says which model answers.
func (e *Engine) Model() encoder.Model { return e.model }

// LayerOptions say what of a layer is searchable.
type LayerOptions struct {
	Zooms []maptile.Zoom // index zooms, deepest first; none means the two chosen by ground resolution
	Bound *BoundOption   // part of the layer to index; nil means all of it

	// Overlap is 1 for tiles only, 2 for tiles and windows half a tile off; 0 means 2 for a layer of few tiles whose
	// source may be read as a whole, else 1.
	Overlap int
}

// Add makes a layer searchable. Its embeddings are those of exactly this source version and model.
func (e *Engine) Add(ctx context.Context, tiles Tiles, o LayerOptions) error {
	l, err := e.openLayer(ctx, tiles, o)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.layers[l.info.ID]; ok {
		return fmt.Errorf("search: layer %q is there twice: %w", l.info.ID, tilescout.ErrBadInput)
	}
	e.layers[l.info.ID] = l
	e.order = append(e.order, l.info.ID)
	return nil
}

// Layers are the ids of the searchable layers, in the order in which they were added.
func (e *Engine) Layers() []string {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return slices.Clone(e.order)
}

func (e *Engine) layer(id string) (*layer, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if l, ok := e.layers[id]; ok {
		return l, nil
	}
	return nil, fmt.Errorf("layer %q: %w", id, tilescout.ErrNotFound)
}

// Stats are the engine's figures for monitoring.
type Stats struct {
	Queue      int // tiles waiting to be embedded on demand
	Embedded   int64
	Failed     int64
	Embeddings cache.Stats
	Scores     cache.Stats
	Prompts    cache.Stats
}

// Stats returns the figures of this moment.
func (e *Engine) Stats() Stats {
	queue, done, failed := e.fill.stats()
	return Stats{
		Queue: queue, Embedded: done, Failed: failed,
		Embeddings: e.embeddings.Stats(), Scores: e.scores.Stats(), Prompts: e.prompts.Stats(),
	}
}

// isNoContent tells a tile that holds nothing to see from one that failed.
func isNoContent(err error) bool { return errors.Is(err, tilescout.ErrNotFound) }

// CacheStats are a cache's figures.
type CacheStats = cache.Stats

// WriteError is what keeps a layer's index from being written at the moment, a full disk for example; nil if
// nothing does.
func (e *Engine) WriteError(id string) error {
	l, err := e.layer(id)
	if err != nil {
		return err
	}
	for _, v := range l.all() {
		if err := v.set.Stats().Err; err != nil {
			return err
		}
	}
	return nil
}
