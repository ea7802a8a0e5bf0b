package index

import (
	"testing"
	"time"
)

// benchAgainst times scan and read in turns, so that what else the machine does hits both, and reports the best of each.
func benchAgainst(b *testing.B, scan, read func(), rows, bytes int) {
	best := [2]time.Duration{1 << 62, 1 << 62}
	for b.Loop() {
		for i, f := range []func(){scan, read} {
			start := time.Now()
			f()
			best[i] = min(best[i], time.Since(start))
		}
	}
	b.ReportMetric(float64(rows)/best[0].Seconds(), "tiles/s")
	b.ReportMetric(float64(best[0].Microseconds())/1000, "scan-ms")
	b.ReportMetric(float64(bytes)/best[0].Seconds()/1e9, "GB/s")
	b.ReportMetric(best[1].Seconds()/best[0].Seconds(), "of-memory-read")
}
