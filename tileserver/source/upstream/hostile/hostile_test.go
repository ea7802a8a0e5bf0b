package hostile_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/kinds"
	"github.com/tilescout/tilescout/tileserver/source/upstream/hostile"
)

// TestFiles (R2) gives every document to the program as what is behind an address that somebody typed, and asks for a
// tile of what opens all the same.
func TestFiles(t *testing.T) {
	var data []byte
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/document" || strings.HasSuffix(r.URL.Path, "MapServer") {
			w.Write(data)
			return
		}
		asked.Add(1)
		http.NotFound(w, r)
	}))
	defer server.Close()
	counts := map[string]int{}
	opened := 0
	slowest, largest := time.Duration(0), uint64(0)
	for name, d := range hostile.Files() {
		data = d
		counts[strings.Fields(name)[0]]++
		address := server.URL + "/document"
		if strings.HasPrefix(name, "arcgis") {
			address = server.URL + "/MapServer"
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		src, err := kinds.Open(t.Context(), source.Spec{ID: "hostile", Source: address}, kinds.Options{})
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 300<<20 {
			t.Errorf("%s: %d MiB allocated for %d bytes", name, allocated>>20, len(d))
		} else {
			largest = max(largest, allocated)
		}
		slowest = max(slowest, took)
		if err != nil {
			if !errors.Is(err, tilescout.ErrBadInput) || strings.ContainsAny(err.Error(), "\n\x00") || len(err.Error()) > 1500 {
				t.Errorf("%s: %.300q (%d bytes), want ErrBadInput in one line", name, err, len(err.Error()))
			}
			if strings.Contains(err.Error(), "root:") {
				t.Errorf("%s: a file of this machine is in the error", name)
			}
			continue
		}
		opened++
		info := src.Info()
		for _, bad := range []string{"<script", "javascript:", "<img", "<svg", "onload"} {
			if strings.Contains(strings.ToLower(info.Attribution), bad) {
				t.Errorf("%s: attribution %.200q", name, info.Attribution)
			}
		}
		if len(info.Attribution) > 1024 || len(info.Title) > 300 || info.MinZoom > info.MaxZoom || info.MaxZoom > 30 {
			t.Errorf("%s: Info() = %.300v", name, info)
		}
		for _, z := range []maptile.Zoom{info.MinZoom, info.MaxZoom} {
			if _, err := src.Tile(t.Context(), maptile.At(info.Bound.Center(), z)); err == nil || strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("%s: tile: %v", name, err)
			}
		}
		src.Close()
	}
	if len(counts) != 5 || counts["xml"]+counts["wmts"]+counts["wms"]+counts["tilejson"]+counts["arcgis"] < 50 {
		t.Errorf("%v documents, want at least 50 of five kinds", counts)
	}
	t.Logf("%v, %d opened all the same, slowest %v, at most %d MiB allocated", counts, opened, slowest, largest>>20)
}
