package search_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache/index"
	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/plugin/search"
)

// wide is a layer of side×side tiles at zoom 16 that are all embedded already.
type wide struct {
	board
	side uint32
}

func (w *wide) Info() tilescout.LayerInfo {
	nw, se := geo.Bound(maptile.New(32768, 20480, 16)), geo.Bound(maptile.New(32768+w.side-1, 20480+w.side-1, 16))
	return tilescout.LayerInfo{
		ID: "wide", Version: "1", MinZoom: 16, MaxZoom: 16,
		Bound: orb.Bound{Min: orb.Point{nw.Min[0], se.Min[1]}, Max: orb.Point{se.Max[0], nw.Max[1]}},
	}
}

// BenchmarkNewPrompt asks new prompts of a million embedded tiles: text, scan, calibration, ranking (P5).
func BenchmarkNewPrompt(b *testing.B) {
	const dimension = 256
	store, err := index.Open(b.TempDir(), index.Options{MinFree: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	fake := encodertest.Fake{Dim: dimension}
	layer := &wide{side: 1024}
	model := fake.Model()
	set, err := store.Set(b.Context(), index.Key{Layer: "wide", Version: "1", Model: model.Digest, Preprocessing: model.Preprocessing, Zoom: 16, Dimension: dimension})
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	rows := make([]index.Row, 0, 8192)
	for y := range layer.side {
		for x := range layer.side {
			v := make([]float32, dimension)
			sum := 0.0
			for i := range v {
				v[i] = float32(rng.NormFloat64())
				sum += float64(v[i]) * float64(v[i])
			}
			for i := range v {
				v[i] /= float32(math.Sqrt(sum))
			}
			rows = append(rows, index.Row{Code: geo.Morton(maptile.New(32768+x, 20480+y, 16)), Embedding: v})
		}
		if len(rows) == cap(rows) {
			if err := set.Put(b.Context(), rows); err != nil {
				b.Fatal(err)
			}
			rows = rows[:0]
		}
	}
	engine, err := search.New(b.Context(), fake, store, search.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer engine.Close()
	if err := engine.Add(b.Context(), layer, search.LayerOptions{Zooms: []maptile.Zoom{16}}); err != nil {
		b.Fatal(err)
	}
	if err := engine.Warm(b.Context(), "wide"); err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		n++
		a, err := engine.Search(b.Context(), search.Query{Layer: "wide", Prompts: []string{fmt.Sprintf("prompt %d", n)}, Limit: 20})
		if err != nil || a.Embedded != 1<<20 {
			b.Fatal(a.Embedded, err)
		}
	}
	b.ReportMetric(float64(n)*(1<<20)/b.Elapsed().Seconds(), "tiles/s")
}
