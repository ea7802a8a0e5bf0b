package main

import (
	"fmt"
	"os"
	"runtime/metrics"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/tilescout/tilescout/plugin/search"
)

// figures are the metrics of what lower packages tell as it happens. They outlive a change of model.
type figures struct {
	fsync  *prometheus.HistogramVec // layer; seconds
	search *prometheus.HistogramVec // layer, path; seconds
	rows   *prometheus.CounterVec   // layer, path
	memory prometheus.GaugeFunc
}

func newFigures() *figures {
	return &figures{
		fsync: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "tilescout_index_fsync_seconds",
			Help: "Time until the disk had what the index wrote.", Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5}}, []string{"layer"}),
		search: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "tilescout_search_duration_seconds",
			Help: "Time of a pass over the rows of an index.", Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5}}, []string{"layer", "path"}),
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tilescout_search_rows_scanned_total",
			Help: "Rows of the index that were compared."}, []string{"layer", "path"}),
		memory: prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "tilescout_encoder_memory_bytes",
			Help: "Memory of this process that Go does not manage: weights and arenas of the models, nearly all of it. 0 where the system does not tell."},
			func() float64 { return float64(foreignMemory()) }),
	}
}

// Describe implements prometheus.Collector.
func (f *figures) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range f.all() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (f *figures) Collect(ch chan<- prometheus.Metric) {
	for _, c := range f.all() {
		c.Collect(ch)
	}
}

func (f *figures) all() []prometheus.Collector {
	return []prometheus.Collector{f.fsync, f.search, f.rows, f.memory}
}

func (f *figures) synced(layer string, took time.Duration) {
	f.fsync.WithLabelValues(layer).Observe(took.Seconds())
}

func (f *figures) scanned(s search.Scan) {
	f.search.WithLabelValues(s.Layer, s.Path).Observe(s.Took.Seconds())
	f.rows.WithLabelValues(s.Layer, s.Path).Add(float64(s.Rows))
}

// foreignMemory is the anonymous memory of the process less what Go holds. The mapped index is not in it: that is the
// system's to take back.
func foreignMemory() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, ok := strings.Cut(string(status), "RssAnon:")
	var kb int64
	if _, err := fmt.Sscan(rest, &kb); !ok || err != nil {
		return 0
	}
	held := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(held)
	own := int64(held[0].Value.Uint64() - held[1].Value.Uint64())
	return max(0, kb<<10-own)
}
