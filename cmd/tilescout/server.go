package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gorilla/mux"
	"github.com/paulmach/orb/maptile"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/plugin/search"
	"github.com/tilescout/tilescout/tileserver"
	"github.com/tilescout/tilescout/tileserver/config"
	"github.com/tilescout/tilescout/web"
)

// server puts the tile server over the parts. more sets what only a running program has; nil for none.
func (p *parts) server(ctx context.Context, cfg config.Config, more func(*tileserver.Options)) (*tileserver.Server, error) {
	o, err := p.options(cfg)
	if err != nil {
		return nil, err
	}
	o.Registry = prometheus.NewRegistry()
	if p.engine != nil {
		o.Registry.MustRegister(&engineMetrics{parts: p})
	}
	if more != nil {
		more(&o)
	}
	return tileserver.New(o)
}

// classes are what the plugin's routes cost, by name. What is not here costs nothing worth holding back.
var classes = map[string]tileserver.Class{
	"search": tileserver.Scan, "similar": tileserver.Scan,
	"search.tile": tileserver.Embed, "similar.picture": tileserver.Embed,
	"overlay.png": tileserver.Embed, "overlay.mvt": tileserver.Embed,
	"classify.tile": tileserver.Embed, "classify.picture": tileserver.Embed,
	"index.fill": tileserver.Embed,
}

// options are what the tile server is to serve: layers from the sources, saved searches as layers, the plugin's routes.
func (p *parts) options(cfg config.Config) (tileserver.Options, error) {
	o := tileserver.Options{
		PublicURL: cfg.PublicURL, BasePath: cfg.BasePath, TrustedProxies: cfg.TrustedProxies, Version: version,
		Web: web.FS(), WebMissing: web.Missing(), OpenAPI: tilescout.OpenAPI,
		Register: []func(*mux.Router){p.plugin.Register}, Classes: classes,
		Origins: cfg.CORS, Requests: requestLimits(cfg.Limits),
		CacheBytes: int64(cfg.Limits.CacheMB) << 20, MaxConnections: cfg.Limits.Connections, DrainDelay: cfg.Limits.DrainDelay,
		Admission: p.admit, Budget: p.budget, MetricsElsewhere: cfg.Admin.Listen != "",
		Ready: func() tileserver.Readiness { return tileserver.Readiness{Degraded: p.degradedNow()} },
	}
	for _, k := range cfg.Keys {
		key, err := k.Open(os.LookupEnv)
		if err != nil {
			return o, fmt.Errorf("key %q: %w: %w", k.ID, tilescout.ErrBadInput, err)
		}
		o.Keys = append(o.Keys, key)
	}
	for i, s := range p.sources {
		o.Layers = append(o.Layers, tileserver.Layer{Tiles: s, Remote: config.IsURL(cfg.Layers[i].Source)})
	}
	if p.engine != nil {
		for _, saved := range savedSearches(cfg) {
			l := p.plugin.SavedLayer(saved)
			o.Layers = append(o.Layers, tileserver.Layer{Tiles: l, Dynamic: true, Revision: l.Revision, Over: saved.Layer})
		}
		o.Revision = p.engine.Revision
		o.State = func(id string) any {
			state, err := p.engine.State(id, nil)
			if err != nil {
				return nil
			}
			return state
		}
		o.FeatureInfo = p.featureInfo
	}
	return o, nil
}

// degradedNow lists what does not work at the moment though tiles are served.
func (p *parts) degradedNow() []string {
	out := append([]string{}, p.degraded...)
	if p.engine != nil {
		for _, id := range p.engine.Layers() {
			if err := p.engine.WriteError(id); err != nil {
				out = append(out, "index-write: "+id)
			}
		}
	}
	return out
}

// featureInfo answers WMTS GetFeatureInfo: what the model sees at a pixel.
func (p *parts) featureInfo(ctx context.Context, layer string, t maptile.Tile, i, j int) (map[string]any, error) {
	zooms, err := p.engine.Zooms(layer)
	if errors.Is(err, tilescout.ErrNotFound) {
		return nil, nil // a saved search: layer, tile and position only
	}
	if err != nil {
		return nil, err
	}
	for t.Z < zooms[0] {
		half := 128
		t = maptile.New(t.X*2+uint32(i/half), t.Y*2+uint32(j/half), t.Z+1)
		i, j = i%half*2, j%half*2
	}
	for t.Z > zooms[0] {
		t = t.Parent()
	}
	answer, err := p.engine.Tile(ctx, layer, t, nil, nil)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"indexTile": []uint32{uint32(t.Z), t.X, t.Y}}
	for n, l := range answer.Top {
		if n == 0 {
			out["concept"], out["probability"] = l.Label, l.Probability
		}
	}
	return out, nil
}

// engineMetrics shows the engine's and the encoder's figures to Prometheus.
type engineMetrics struct{ parts *parts }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("tilescout_"+name, help, labels, nil)
}

var (
	descRows     = desc("index_rows", "Tiles with an embedding.", "layer")
	descBytes    = desc("index_bytes", "Bytes of the index on disk.", "layer")
	descCorrupt  = desc("index_corrupt_blocks_total", "Damaged parts of the index found.", "layer")
	descSegments = desc("index_segments", "Segment files of the index.", "layer")
	descWAL      = desc("index_wal_bytes", "Bytes of the index's log.", "layer")
	descDegraded = desc("index_degraded", "1 while the index cannot be written.", "layer")
	descQueue    = desc("encode_queue_depth", "Pictures waiting for the encoder.", "class")
	descBatches  = desc("encode_batches_total", "Runs of the model.", "kind")
	descEncoded  = desc("encode_items_total", "Pictures and prompts embedded.", "kind")
	descDuration = desc("encode_duration_seconds", "Time of a run of the model.", "kind")
	descBatch    = desc("encode_batch_size", "Pictures or prompts in a run of the model.", "kind")
	descFill     = desc("fill_queue_depth", "Tiles waiting to be embedded on demand.")
	descFilled   = desc("fill_tiles_total", "Tiles embedded on demand.", "result")
)

// Describe implements prometheus.Collector.
func (m *engineMetrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m *engineMetrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	for _, id := range m.parts.engine.Layers() {
		if s, err := m.parts.engine.State(id, nil); err == nil {
			gauge(descRows, float64(s.Embedded), id)
			gauge(descBytes, float64(s.Bytes), id)
			counter(descCorrupt, float64(s.Corrupt), id)
			gauge(descSegments, float64(s.Segments), id)
			gauge(descWAL, float64(s.WALBytes), id)
			degraded := 0.
			if m.parts.engine.WriteError(id) != nil {
				degraded = 1
			}
			gauge(descDegraded, degraded, id)
		}
	}
	var e encoder.Stats
	if m.parts.encoder != nil {
		e = m.parts.encoder.Stats()
	}
	gauge(descQueue, float64(e.QueuedInteractive), "interactive")
	gauge(descQueue, float64(e.QueuedBackground), "background")
	gauge(descQueue, float64(e.QueuedTexts), "text")
	counter(descBatches, float64(e.ImageBatches), "image")
	counter(descBatches, float64(e.TextBatches), "text")
	counter(descEncoded, float64(e.Images), "image")
	counter(descEncoded, float64(e.Texts), "text")
	for _, k := range []struct {
		kind         string
		runs, pieces uint64
		took         time.Duration
	}{{"image", uint64(e.ImageBatches), uint64(e.Images), e.ImageTime}, {"text", uint64(e.TextBatches), uint64(e.Texts), e.TextTime}} {
		ch <- prometheus.MustNewConstSummary(descDuration, k.runs, k.took.Seconds(), nil, k.kind)
		ch <- prometheus.MustNewConstSummary(descBatch, k.runs, float64(k.pieces), nil, k.kind)
	}
	s := m.parts.engine.Stats()
	gauge(descFill, float64(s.Queue))
	counter(descFilled, float64(s.Embedded), "done")
	counter(descFilled, float64(s.Failed), "failed")
	for name, c := range map[string]search.CacheStats{"embedding": s.Embeddings, "score": s.Scores, "prompt": s.Prompts} {
		// Names, help and the constant label are those of tileserver's own caches, which share the family.
		of := func(metric, help string) *prometheus.Desc {
			return prometheus.NewDesc("tilescout_cache_"+metric, help, nil, prometheus.Labels{"cache": name})
		}
		counter(of("hits_total", "Answers from memory."), float64(c.Hits))
		counter(of("misses_total", "Loads."), float64(c.Misses))
		counter(of("evictions_total", "Values dropped to make room."), float64(c.Evictions))
		gauge(of("bytes", "Bytes held."), float64(c.Bytes))
		gauge(of("entries", "Values held."), float64(c.Entries))
	}
}
