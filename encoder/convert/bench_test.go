package convert_test

import (
	"bytes"
	"image/color"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/encoder/convert"
	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/encoder/graph"
	"github.com/tilescout/tilescout/encoder/onnxruntime"
)

func viTB32() checkpoint.Architecture {
	return checkpoint.Architecture{Kind: checkpoint.ViT, ImageSize: 224, PatchSize: 32, Width: 768, Layers: 12, Heads: 12, MLP: 3072, Norm: 1e-5, TextNorm: 1e-5,
		Activation: checkpoint.QuickGELU, TextActivation: checkpoint.QuickGELU, TextContext: 77, TextWidth: 512, TextLayers: 12, TextHeads: 8, TextMLP: 2048,
		Vocabulary: 49408, BOS: 49406, EOS: 49407, Pooling: checkpoint.PoolLargest, Dimension: 512}
}

// BenchmarkConvert converts ViT-B/32 from a file of 605 MB and says how much memory that took at its peak (target P10:
// 1.5 times the file). Run it alone: the peak is the process's.
func BenchmarkConvert(b *testing.B) {
	if testing.Short() {
		b.Skip("1.2 GB of files")
	}
	src := b.TempDir()
	encodertest.NewFormula(viTB32()).WriteFolder(b, src)
	info, err := os.Stat(filepath.Join(src, "model.safetensors"))
	if err != nil {
		b.Fatal(err)
	}
	c := open(b, src)
	before := peakMemory(b)
	for b.Loop() {
		if _, err := convert.Convert(b.Context(), c, filepath.Join(b.TempDir(), "out"), convert.Options{ID: "b32"}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(peakMemory(b)/float64(info.Size()), "peak/file")
	b.ReportMetric(before/float64(info.Size()), "before/file")
}

// peakMemory is the largest resident set of this process so far, in bytes.
func peakMemory(b *testing.B) float64 {
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("no /proc/self/status: ", err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(raw)
	if m == nil {
		b.Skip("no VmHWM in /proc/self/status")
	}
	kB, err := strconv.Atoi(string(m[1]))
	if err != nil {
		b.Fatal(err)
	}
	return float64(kB) * 1024
}

// BenchmarkChain embeds JPEG tiles with an int8 ViT-B/32 as callers do, and runs the bare tower on pixels beside it, both
// measured in processor time (target P1: 0.9 of bare).
func BenchmarkChain(b *testing.B) {
	if testing.Short() {
		b.Skip("1.2 GB of files")
	}
	rt, err := onnxruntime.Load(encodertest.Library(b))
	if err != nil {
		b.Fatal(err)
	}
	src, dir := b.TempDir(), filepath.Join(b.TempDir(), "out")
	encodertest.NewFormula(viTB32()).WriteFolder(b, src)
	var tiles []tilescout.Picture
	for i := range 32 {
		tiles = append(tiles, encodertest.JPEG(encodertest.Tile(color.NRGBA{byte(i * 8), byte(200 - i), 90, 255}, uint64(i))))
	}
	o := convert.Options{ID: "b32", Precision: graph.Int8Static, Runtime: rt, Pictures: tiles, Threads: 2}
	if _, err := convert.Convert(b.Context(), open(b, src), dir, o); err != nil {
		b.Fatal(err)
	}
	e, err := encoder.Open(b.Context(), encoder.Options{Model: dir, Library: rt.Path})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	model, err := os.ReadFile(filepath.Join(dir, "image.onnx"))
	if err != nil {
		b.Fatal(err)
	}
	bare, err := rt.NewSession(model, onnxruntime.SessionOptions{Input: "pixels", Outputs: []string{"embedding"}, Threads: 2, Folder: dir})
	if err != nil {
		b.Fatal(err)
	}
	defer bare.Close()
	pixels := bytes.Repeat(make([]byte, 224*224*3), 16)
	out := make([]float32, 16*512)
	var chain, alone float64
	for b.Loop() {
		began := encodertest.CPUTime()
		if _, err := e.Images(b.Context(), tiles, encoder.Background); err != nil {
			b.Fatal(err)
		}
		chain += (encodertest.CPUTime() - began).Seconds()
		began = encodertest.CPUTime()
		for range len(tiles) / 16 {
			err := onnxruntime.Run(b.Context(), bare, pixels, []int64{16, 224, 224, 3}, []onnxruntime.Output{{Shape: []int64{16, 512}, Data: out}}, time.Minute)
			if err != nil {
				b.Fatal(err)
			}
		}
		alone += (encodertest.CPUTime() - began).Seconds()
	}
	b.ReportMetric(float64(b.N*len(tiles))/chain, "tiles/cpu-s")
	b.ReportMetric(alone/chain, "of-bare")
}
