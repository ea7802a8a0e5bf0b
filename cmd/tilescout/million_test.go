package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout/cache/index"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/kinds"
)

// millionLayer is a config of one upstream layer of 1024×1024 tiles at zoom 16 whose index is full: invented
// embeddings near the model's own concepts. Nothing is ever fetched from the upstream.
func millionLayer(b *testing.B) (data, config string) {
	b.Helper()
	const side, z = 1024, 16
	nw, se := geo.Bound(maptile.New(32768, 20480, z)), geo.Bound(maptile.New(32768+side-1, 20480+side-1, z))
	spec := source.Spec{
		ID: "million", Source: "http://127.0.0.1:9/{z}/{x}/{y}.png", MinZoom: z, MaxZoom: z, AllowBulk: true,
		Bounds: []float64{nw.Min[0] + 1e-7, se.Min[1] + 1e-7, se.Max[0] - 1e-7, nw.Max[1] - 1e-7},
	}
	tiles, err := kinds.Open(b.Context(), spec, kinds.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer tiles.Close()
	enc, err := encoder.Open(b.Context(), encoder.Options{Library: encodertest.Library(b)})
	if err != nil {
		b.Fatal(err)
	}
	defer enc.Close()
	model := enc.Model()
	var anchors [][]float32
	for _, c := range model.Concepts {
		texts, err := enc.Texts(b.Context(), []string{c.Phrase})
		if err != nil {
			b.Fatal(err)
		}
		anchors = append(anchors, texts[0].Embedding)
	}
	data = b.TempDir()
	store, err := index.Open(filepath.Join(data, "index"), index.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	set, err := store.Set(b.Context(), index.Key{
		Layer: spec.ID, Version: tiles.Info().Version, Model: model.Digest, Preprocessing: model.Preprocessing, Zoom: z, Dimension: model.Dimension,
	})
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	rows := make([]index.Row, 0, side*8)
	for y := range uint32(side) {
		for x := range uint32(side) {
			v := make([]float32, model.Dimension)
			anchor := anchors[rng.IntN(len(anchors))]
			sum := 0.0
			for i := range v {
				v[i] = .8*anchor[i] + float32(rng.NormFloat64())*.05
				sum += float64(v[i]) * float64(v[i])
			}
			for i := range v {
				v[i] /= float32(math.Sqrt(sum))
			}
			rows = append(rows, index.Row{Code: geo.Morton(maptile.New(32768+x, 20480+y, z)), Embedding: v})
		}
		if len(rows) == cap(rows) {
			if err := set.Put(b.Context(), rows); err != nil {
				b.Fatal(err)
			}
			rows = rows[:0]
		}
	}
	if err := set.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	config = filepath.Join(b.TempDir(), "tilescout.yaml")
	text := fmt.Sprintf("layers:\n  - id: million\n    source: %s\n    minZoom: 16\n    maxZoom: 16\n    allowBulk: true\n    bounds: [%.9f, %.9f, %.9f, %.9f]\n    index: {zooms: [16]}\n",
		spec.Source, spec.Bounds[0], spec.Bounds[1], spec.Bounds[2], spec.Bounds[3])
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
	return data, config
}

// BenchmarkServeMillion starts the program on a layer of 1,048,576 embedded tiles and prints when it answers (P9), how
// long new prompts and overlay tiles take (P5, P6), and what it holds in memory (P10).
func BenchmarkServeMillion(b *testing.B) {
	binary(b)
	data, config := millionLayer(b)
	type metric struct {
		value float64
		unit  string
	}
	var metrics []metric // reported at the end: the loop forgets what came before
	report := func(value float64, unit string) { metrics = append(metrics, metric{value, unit}) }
	begin := time.Now()
	s := start(b, "serve", "--config", config, "--data", data)
	for getJSON(b, s.url+"/healthz", nil) != 200 {
		time.Sleep(time.Millisecond)
	}
	report(time.Since(begin).Seconds(), "s/start")
	ask := func(path string) float64 {
		t := time.Now()
		if code := getJSON(b, s.url+path, nil); code != 200 {
			b.Fatalf("%s = %d", path, code)
		}
		return time.Since(t).Seconds() * 1000
	}
	report(ask("/search/million?q=stadium&limit=20")/1000, "s/first-search")
	var fresh []float64
	prompts := []string{"airport", "harbor", "storage tanks", "parking lot", "forest", "bridge", "baseball field", "beach", "desert", "river", "pond", "farmland"}
	for _, p := range prompts {
		fresh = append(fresh, ask("/search/million?q="+url.QueryEscape(p)+"&limit=20"))
	}
	report(median(fresh), "ms/new-prompt")
	var overlays []float64
	for i := range 200 {
		t := time.Now()
		getBytes(b, fmt.Sprintf("%s/overlay/million/13/%d/%d.png?q=airport", s.url, 4096+i%16, 2560+i/16))
		overlays = append(overlays, time.Since(t).Seconds()*1000)
	}
	report(median(overlays), "ms/overlay-tile")
	t := time.Now()
	for i := range 20 {
		getBytes(b, fmt.Sprintf("%s/overlay/million/13/%d/%d.png?q=viaduct", s.url, 4100+i%5, 2570+i/5))
	}
	report(time.Since(t).Seconds()*1000, "ms/viewport-new-prompt")
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err == nil {
		report(memory(string(status), "RssAnon"), "MB-anonymous")
		report(memory(string(status), "RssFile"), "MB-mapped-files")
	}
	for b.Loop() {
		ask("/search/million?q=stadium&limit=20")
	}
	for _, m := range metrics {
		b.ReportMetric(m.value, m.unit)
	}
}

func memory(status, field string) float64 {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1024
		}
	}
	return math.NaN()
}
