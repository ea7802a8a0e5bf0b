package graph_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/encoder/graph"
	"github.com/tilescout/tilescout/encoder/onnxruntime"
)

// BenchmarkTransformers embeds the same tiles by ViT-B/32 in transformers and by our graphs, by turns on one thread each
// and in processor time (target P2: float32 1.3 times as fast, int8 4 times transformers' float32). It needs a Python that has
// torch and transformers: TILESCOUT_TORCH_PYTHON, or python3.
func BenchmarkTransformers(b *testing.B) {
	if testing.Short() {
		b.Skip("700 MB of weights")
	}
	a := fullViTB32()
	w := encodertest.NewFormula(a)
	pics := pictures(32, a.ImageSize)
	theirs := startTransformers(b, bytes.Join(pics, nil))
	ranges, _ := calibrate(b, w, a, pics[:4])
	session := func(o graph.ImageOptions) *onnxruntime.Session {
		return benchSession(b, func(weights io.Writer) ([]byte, error) { return graph.Image(b.Context(), w, a, o, weights) })
	}
	float, int8 := session(graph.ImageOptions{}), session(graph.ImageOptions{Precision: graph.Int8Static, Ranges: ranges})
	for _, batch := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			pixels, out := bytes.Join(pics[:batch], nil), make([]float32, batch*a.Dimension)
			ours := func(s *onnxruntime.Session) time.Duration {
				began := encodertest.CPUTime()
				err := onnxruntime.Run(context.Background(), s, pixels, []int64{int64(batch), 224, 224, 3},
					[]onnxruntime.Output{{Shape: []int64{int64(batch), int64(a.Dimension)}, Data: out}}, 2*time.Minute)
				if err != nil {
					b.Fatal(err)
				}
				return encodertest.CPUTime() - began
			}
			var times [4][]time.Duration
			for i := 0; b.Loop(); i++ {
				turn := []time.Duration{theirs("float32", batch), ours(float), theirs("bfloat16", batch), ours(int8)}
				if i == 0 && b.N > 1 {
					continue // the first of each allocates
				}
				for j, t := range turn {
					times[j] = append(times[j], t)
				}
			}
			rate := func(j int) float64 { return float64(batch) / median(times[j]).Seconds() }
			for j, unit := range []string{"theirs-fp32/cpu-s", "fp32/cpu-s", "theirs-bf16/cpu-s", "int8/cpu-s"} {
				b.ReportMetric(rate(j), unit)
			}
			b.ReportMetric(rate(1)/rate(0), "fp32-of-theirs")
			b.ReportMetric(rate(3)/rate(0), "int8-of-their-fp32")
			b.ReportMetric(rate(3)/rate(2), "int8-of-their-bf16")
		})
	}
}

// startTransformers starts the other side; the returned function asks it for one run.
func startTransformers(b *testing.B, pixels []byte) func(kind string, n int) time.Duration {
	b.Helper()
	python := cmp.Or(os.Getenv("TILESCOUT_TORCH_PYTHON"), "python3")
	if err := exec.Command(python, "-c", "import torch, transformers").Run(); err != nil {
		b.Skip("no transformers: set TILESCOUT_TORCH_PYTHON to a Python that has it")
	}
	file := filepath.Join(b.TempDir(), "pixels")
	if err := os.WriteFile(file, pixels, 0o644); err != nil {
		b.Fatal(err)
	}
	c := exec.Command(python, filepath.Join("testdata", "time_transformers.py"), file, "1")
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		if err := c.Wait(); err != nil {
			b.Error(err)
		}
	})
	lines := bufio.NewScanner(out)
	line := func() string {
		if !lines.Scan() {
			b.Fatal("time_transformers.py ended: ", lines.Err())
		}
		return strings.TrimSpace(lines.Text())
	}
	b.Log(line())
	return func(kind string, n int) time.Duration {
		fmt.Fprintln(in, kind, n)
		seconds, err := strconv.ParseFloat(line(), 64)
		if err != nil {
			b.Fatal(err)
		}
		return time.Duration(seconds * float64(time.Second))
	}
}
