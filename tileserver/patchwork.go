package tileserver

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tilescout/tilescout/tileserver/source"
)

// patchworks shows the layers that are made of many files: what was left out shows nowhere else.
type patchworks struct{ server *Server }

var (
	descFiles   = prometheus.NewDesc("tilescout_layer_files", "Files that make up a layer, and those left out when it was opened.", []string{"layer", "state"}, nil)
	descFailing = prometheus.NewDesc("tilescout_layer_file_failures_total", "Times that a file of a layer failed in a tile and was left out of it.", []string{"layer"}, nil)
)

// Describe implements prometheus.Collector.
func (p *patchworks) Describe(ch chan<- *prometheus.Desc) {
	ch <- descFiles
	ch <- descFailing
}

// Collect implements prometheus.Collector.
func (p *patchworks) Collect(ch chan<- prometheus.Metric) {
	for id, l := range p.server.site.Load().layers {
		if s, ok := l.Tiles.(source.Patchwork); ok {
			ch <- prometheus.MustNewConstMetric(descFiles, prometheus.GaugeValue, float64(s.Files()), id, "used")
			ch <- prometheus.MustNewConstMetric(descFiles, prometheus.GaugeValue, float64(len(s.Skipped())), id, "left out")
			ch <- prometheus.MustNewConstMetric(descFailing, prometheus.CounterValue, float64(s.Failed()), id)
		}
	}
}
