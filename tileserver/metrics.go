package tileserver

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache"
	"github.com/tilescout/tilescout/internal/budget"
	"github.com/tilescout/tilescout/internal/reject"
)

// metrics are those of SEC reference §9 that this package knows. Labels are from closed sets: route templates,
// configured layers, methods that a route has; never a path, a prompt or a client.
type metrics struct {
	registry   *prometheus.Registry
	requests   *prometheus.CounterVec   // route, method, code
	duration   *prometheus.HistogramVec // route, method, code; seconds
	bytes      *prometheus.HistogramVec // route; bytes
	inFlight   prometheus.Gauge
	panics     prometheus.Counter
	limited    prometheus.Counter
	input      *prometheus.CounterVec   // format, error
	sourceTime *prometheus.HistogramVec // layer, origin; seconds
	tileBytes  *prometheus.CounterVec   // layer, origin
	tileErrors *prometheus.CounterVec   // layer, kind
}

// secondBuckets are those of all times here.
var secondBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// newMetrics registers with r, which others may have filled with their own; nil makes a new one.
func newMetrics(r *prometheus.Registry, version string) *metrics {
	if r == nil {
		r = prometheus.NewRegistry()
	}
	for _, c := range []prometheus.Collector{collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		_ = r.Register(c) // an error says that whoever made r has them already
	}
	m := &metrics{
		registry: r,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tilescout_http_requests_total",
			Help: "Requests answered."}, []string{"route", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "tilescout_http_request_duration_seconds",
			Help: "Time to answer.", Buckets: secondBuckets}, []string{"route", "method", "code"}),
		bytes: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "tilescout_http_response_size_bytes",
			Help: "Size of bodies.", Buckets: prometheus.ExponentialBuckets(256, 4, 8)}, []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "tilescout_http_in_flight", Help: "Requests being answered."}),
		panics:   prometheus.NewCounter(prometheus.CounterOpts{Name: "tilescout_http_panics_total", Help: "Handlers that panicked."}),
		limited: prometheus.NewCounter(prometheus.CounterOpts{Name: "tilescout_rate_limited_total",
			Help: "Requests sent away because their client asks too much."}),
		input: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tilescout_input_rejected_total",
			Help: "Files, tiles and documents of strangers that were refused."}, []string{"format", "error"}),
		sourceTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "tilescout_tile_source_duration_seconds",
			Help: "Time a source took for a tile.", Buckets: secondBuckets}, []string{"layer", "origin"}),
		tileBytes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tilescout_tile_bytes_total",
			Help: "Bytes of tiles sent."}, []string{"layer", "origin"}),
		tileErrors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tilescout_tile_errors_total",
			Help: "Tiles a source could not give."}, []string{"layer", "kind"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "tilescout_build_info", Help: "1; the version is in the label.",
		ConstLabels: prometheus.Labels{"version": version}})
	build.Set(1)
	r.MustRegister(m.requests, m.duration, m.bytes, m.inFlight, m.panics, m.limited, m.input,
		m.sourceTime, m.tileBytes, m.tileErrors, build)
	return m
}

// watchCache exports the counts of a cache under its name.
func (m *metrics) watchCache(name string, stats func() cache.Stats) {
	labels := prometheus.Labels{"cache": name}
	counter := func(metric, help string, of func(cache.Stats) float64) {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: metric, Help: help, ConstLabels: labels},
			func() float64 { return of(stats()) }))
	}
	gauge := func(metric, help string, of func(cache.Stats) float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: metric, Help: help, ConstLabels: labels},
			func() float64 { return of(stats()) }))
	}
	counter("tilescout_cache_hits_total", "Answers from memory.", func(s cache.Stats) float64 { return float64(s.Hits) })
	counter("tilescout_cache_misses_total", "Loads.", func(s cache.Stats) float64 { return float64(s.Misses) })
	counter("tilescout_cache_evictions_total", "Values dropped to make room.", func(s cache.Stats) float64 { return float64(s.Evictions) })
	gauge("tilescout_cache_bytes", "Bytes held.", func(s cache.Stats) float64 { return float64(s.Bytes) })
	gauge("tilescout_cache_entries", "Values held.", func(s cache.Stats) float64 { return float64(s.Entries) })
}

func (m *metrics) source(l *layer, took time.Duration, err error) {
	m.sourceTime.WithLabelValues(l.info.ID, l.origin()).Observe(took.Seconds())
	if err == nil || errors.Is(err, tilescout.ErrNotFound) {
		return
	}
	m.refused(err)
	kind := "other"
	for _, k := range []struct {
		err  error
		name string
	}{{tilescout.ErrOutOfRange, "out_of_range"}, {tilescout.ErrUpstream, "upstream"}, {tilescout.ErrBusy, "busy"},
		{tilescout.ErrBadInput, "bad_data"}, {tilescout.ErrUnavailable, "unavailable"}, {tilescout.ErrForbidden, "forbidden"}} {
		if errors.Is(err, k.err) {
			kind = k.name
			break
		}
	}
	m.tileErrors.WithLabelValues(l.info.ID, kind).Inc()
}

// watchBudget exports how much of the memory budget is used.
func (m *metrics) watchBudget(b *budget.Budget) {
	gauge := func(name, help string, of func() int64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(of()) }))
	}
	gauge("tilescout_decode_memory_bytes", "Bytes of pictures being decoded and converted.", func() int64 { n, _, _ := b.Usage(); return n })
	gauge("tilescout_decode_memory_peak_bytes", "The most there ever were.", func() int64 { _, n, _ := b.Usage(); return n })
	gauge("tilescout_decode_memory_limit_bytes", "The most there may be; 0 for no bound.", func() int64 { _, _, n := b.Usage(); return n })
}

// refused counts the reason for which input was refused, if err holds one.
func (m *metrics) refused(err error) {
	if kind, ok := reject.Of(err); ok {
		m.input.WithLabelValues(kind.Format, kind.Name).Inc()
	}
}

// forgetLayers drops what is labelled with layers that are gone.
func (m *metrics) forgetLayers(old, now map[string]*layer) {
	for id := range old {
		if _, kept := now[id]; !kept {
			gone := prometheus.Labels{"layer": id}
			m.sourceTime.DeletePartialMatch(gone)
			m.tileBytes.DeletePartialMatch(gone)
			m.tileErrors.DeletePartialMatch(gone)
		}
	}
}

// class is what a tile of the layer costs first.
func (l *layer) class() Class {
	if l.Remote || l.Dynamic {
		return Fetch
	}
	return Render
}

// origin is where a layer's tiles come from, for labels.
func (l *layer) origin() string {
	switch {
	case l.Dynamic:
		return "render"
	case l.Remote:
		return "upstream"
	default:
		return "file"
	}
}

func (m *metrics) answered(route, method string, code int, size int64, took time.Duration) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodOptions:
	default:
		method = "other"
	}
	class := strconv.Itoa(code/100) + "xx"
	m.requests.WithLabelValues(route, method, class).Inc()
	m.duration.WithLabelValues(route, method, class).Observe(took.Seconds())
	m.bytes.WithLabelValues(route).Observe(float64(size))
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}
