package graph_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/encoder/graph"
	"github.com/tilescout/tilescout/encoder/onnxruntime"
)

// fullViTB32 is ViT-B/32 at full size.
func fullViTB32() checkpoint.Architecture {
	return checkpoint.Architecture{Kind: checkpoint.ViT, ImageSize: 224, PatchSize: 32, Width: 768, Layers: 12, Heads: 12, MLP: 3072, Norm: 1e-5, TextNorm: 1e-5,
		Activation: checkpoint.QuickGELU, TextActivation: checkpoint.QuickGELU, TextContext: 77, TextWidth: 512, TextLayers: 12, TextHeads: 8, TextMLP: 2048,
		Vocabulary: 49408, BOS: 49406, EOS: 49407, Pooling: checkpoint.PoolLargest, Dimension: 512}
}

// BenchmarkImageTower runs ViT-B/32 against its own matrix products, which bound it (target P1: 0.9 of them). The two
// take turns on one thread each and are measured in processor time, so that what else the machine does counts little.
func BenchmarkImageTower(b *testing.B) {
	if testing.Short() {
		b.Skip("350 MB of weights")
	}
	a := fullViTB32()
	w := encodertest.NewFormula(a)
	pics := pictures(32, a.ImageSize)
	began := time.Now()
	ranges, _ := calibrate(b, w, a, pics[:8])
	b.Logf("calibrated on 8 pictures in %v", time.Since(began))
	for _, o := range []graph.ImageOptions{{}, {Precision: graph.Int8Static, Ranges: ranges}} {
		name := "fp32"
		if o.Precision != "" {
			name = string(o.Precision)
		}
		tower := benchSession(b, func(weights io.Writer) ([]byte, error) { return graph.Image(b.Context(), w, a, o, weights) })
		bound := benchSession(b, func(weights io.Writer) ([]byte, error) { return graph.Products(b.Context(), w, a, o, weights) })
		for _, batch := range []int{1, 8, 16, 32} {
			b.Run(fmt.Sprintf("%s/batch=%d", name, batch), func(b *testing.B) {
				pixels := bytes.Join(pics[:batch], nil)
				run := func(s *onnxruntime.Session) time.Duration {
					out := make([]float32, batch*a.Dimension)
					began := encodertest.CPUTime()
					err := onnxruntime.Run(context.Background(), s, pixels, []int64{int64(batch), 224, 224, 3},
						[]onnxruntime.Output{{Shape: []int64{int64(batch), int64(a.Dimension)}, Data: out}}, time.Minute)
					if err != nil {
						b.Fatal(err)
					}
					return encodertest.CPUTime() - began
				}
				run(tower)
				run(bound)
				var towers, bounds []time.Duration
				for b.Loop() {
					towers, bounds = append(towers, run(tower)), append(bounds, run(bound))
				}
				b.ReportMetric(float64(batch)/median(towers).Seconds(), "images/cpu-s")
				b.ReportMetric(median(bounds).Seconds()/median(towers).Seconds(), "of-products")
			})
		}
	}
}

// BenchmarkResNet runs RN50 in float32 and in int8 by turns, on one thread each.
func BenchmarkResNet(b *testing.B) {
	if testing.Short() {
		b.Skip("150 MB of weights")
	}
	a := fullViTB32()
	a.Kind, a.Stages, a.Width, a.Layers, a.MLP, a.Heads, a.Dimension = checkpoint.ResNet, [4]int{3, 4, 6, 3}, 64, 0, 0, 32, 1024
	w := encodertest.NewFormula(a)
	pics := pictures(8, a.ImageSize)
	ranges, _ := calibrate(b, w, a, pics)
	towers := make([]*onnxruntime.Session, 2)
	for i, o := range []graph.ImageOptions{{}, {Precision: graph.Int8Static, Ranges: ranges}} {
		towers[i] = benchSession(b, func(weights io.Writer) ([]byte, error) { return graph.Image(b.Context(), w, a, o, weights) })
	}
	const batch = 8
	pixels, out := bytes.Join(pics, nil), make([]float32, batch*a.Dimension)
	var times [2][]time.Duration
	for b.Loop() {
		for i, s := range towers {
			began := encodertest.CPUTime()
			err := onnxruntime.Run(context.Background(), s, pixels, []int64{batch, 224, 224, 3}, []onnxruntime.Output{{Shape: []int64{batch, int64(a.Dimension)}, Data: out}}, time.Minute)
			if err != nil {
				b.Fatal(err)
			}
			times[i] = append(times[i], encodertest.CPUTime()-began)
		}
	}
	fp32, int8 := median(times[0]).Seconds(), median(times[1]).Seconds()
	b.ReportMetric(batch/fp32, "fp32-images/cpu-s")
	b.ReportMetric(batch/int8, "int8-images/cpu-s")
	b.ReportMetric(fp32/int8, "int8/fp32")
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

func benchSession(b *testing.B, write func(io.Writer) ([]byte, error)) *onnxruntime.Session {
	b.Helper()
	var data bytes.Buffer
	model, err := write(&data)
	if err != nil {
		b.Fatal(err)
	}
	return session(b, b.TempDir(), "image.weights", data.Bytes(), model, 1, "pixels", "embedding")
}
