package main

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/plugin/search"
	"github.com/tilescout/tilescout/tileserver/source/diskcache"
	"github.com/tilescout/tilescout/tileserver/source/upstream"
)

// engineMetrics shows the engine's and the encoder's figures to Prometheus.
type engineMetrics struct{ current *atomic.Pointer[brain] }

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

// Describe implements prometheus.Collector: unchecked, since there may be no model yet.
func (m *engineMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *engineMetrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	now := m.current.Load()
	if now.engine == nil {
		return
	}
	for _, id := range now.engine.Layers() {
		if s, err := now.engine.State(id, nil); err == nil {
			gauge(descRows, float64(s.Embedded), id)
			gauge(descBytes, float64(s.Bytes), id)
			counter(descCorrupt, float64(s.Corrupt), id)
			gauge(descSegments, float64(s.Segments), id)
			gauge(descWAL, float64(s.WALBytes), id)
			degraded := 0.
			if now.engine.WriteError(id) != nil {
				degraded = 1
			}
			gauge(descDegraded, degraded, id)
		}
	}
	var e encoder.Stats
	if now.encoder != nil {
		e = now.encoder.Stats()
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
	s := now.engine.Stats()
	gauge(descFill, float64(s.Queue))
	counter(descFilled, float64(s.Embedded), "done")
	counter(descFilled, float64(s.Failed), "failed")
	for name, c := range map[string]search.CacheStats{"embedding": s.Embeddings, "score": s.Scores, "prompt": s.Prompts} {
		collectCache(ch, name, float64(c.Hits), float64(c.Misses), float64(c.Evictions), float64(c.Bytes), float64(c.Entries))
	}
}

// collectCache shows one cache. Names, help and the constant label are those of tileserver's own, which share the family.
func collectCache(ch chan<- prometheus.Metric, name string, hits, misses, evictions, bytes, entries float64) {
	for _, m := range []struct {
		metric, help string
		kind         prometheus.ValueType
		value        float64
	}{
		{"hits_total", "Answers from memory.", prometheus.CounterValue, hits},
		{"misses_total", "Loads.", prometheus.CounterValue, misses},
		{"evictions_total", "Values dropped to make room.", prometheus.CounterValue, evictions},
		{"bytes", "Bytes held.", prometheus.GaugeValue, bytes},
		{"entries", "Values held.", prometheus.GaugeValue, entries},
	} {
		d := prometheus.NewDesc("tilescout_cache_"+m.metric, m.help, nil, prometheus.Labels{"cache": name})
		ch <- prometheus.MustNewConstMetric(d, m.kind, m.value)
	}
}

// upstreamMetrics shows how the hosts are that tiles come from. They are those of the config: a closed set.
type upstreamMetrics struct {
	hosts *upstream.Hosts
	cache *atomic.Pointer[diskcache.Cache] // of their tiles; holds nil until it is open
}

var (
	descAsked   = desc("upstream_requests_total", "Requests to an upstream.", "upstream", "result")
	descBreaker = desc("upstream_breaker_state", "0: the upstream is asked, 1: one request tries, 2: it is left alone.", "upstream")
	descOpened  = desc("upstream_breaker_opened_total", "Times that an upstream was found failing.", "upstream")
	descFlying  = desc("upstream_in_flight", "Requests on their way to an upstream.", "upstream")
	descWaiting = desc("upstream_queue_depth", "Requests that wait for an upstream to be free.", "upstream")
	descStale   = desc("upstream_stale_total", "Kept pictures shown because an upstream failed or was slow.", "upstream")
)

// Describe implements prometheus.Collector: unchecked, since what there is comes and goes with the config.
func (m *upstreamMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *upstreamMetrics) Collect(ch chan<- prometheus.Metric) {
	if c := m.cache.Load(); c != nil {
		s := c.Stats()
		collectCache(ch, "dir", float64(s.Hits), float64(s.Misses), float64(s.Evictions), float64(s.Bytes), float64(s.Entries))
	}
	for _, s := range m.hosts.Status() {
		counter := func(d *prometheus.Desc, n int64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), append([]string{s.Host}, labels...)...)
		}
		gauge := func(d *prometheus.Desc, n int) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), s.Host)
		}
		counter(descAsked, s.Requests-s.Failed, "answered")
		counter(descAsked, s.Failed, "failed")
		counter(descOpened, s.Opened)
		counter(descStale, s.Stale)
		gauge(descBreaker, map[string]int{"closed": 0, "half-open": 1, "open": 2}[s.Circuit])
		gauge(descFlying, s.InFlight)
		gauge(descWaiting, s.Waiting)
	}
}
