package encoder

import (
	"bytes"
	"context"
	"fmt"
	"image/jpeg"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder/bundled"
	"github.com/tilescout/tilescout/encoder/onnxruntime"
)

// tile is a 256 px JPEG like an aerial photo: smooth with noise, quality 80.
func tile(tb testing.TB, seed int) tilescout.Picture {
	tb.Helper()
	m := pattern(2, 256, 256)
	state := uint32(seed)*2654435761 + 1
	for i := range m.Pix {
		state = state*1664525 + 1013904223
		if i%4 != 3 {
			x, y := i/4%256, i/1024
			v := int(m.Pix[i])/2 + 40 + int(state>>28) + ((x/24*7+y/18*5+seed)%6)*9
			m.Pix[i] = uint8(min(v, 255))
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 80}); err != nil {
		tb.Fatal(err)
	}
	return tilescout.Picture{Data: b.Bytes(), MediaType: tilescout.JPEG}
}

// BenchmarkPreprocess is P3: decode and resize a 256 px JPEG tile. cpu-ms is processor time.
func BenchmarkPreprocess(b *testing.B) {
	pic := tile(b, 1)
	m, err := jpeg.Decode(bytes.NewReader(pic.Data))
	if err != nil {
		b.Fatal(err)
	}
	s := &scratch{}
	measure := func(name string, do func() error) {
		b.Run(name, func(b *testing.B) {
			began := cpuTime()
			for b.Loop() {
				if err := do(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpuTime()-began).Microseconds())/1000/float64(b.N), "cpu-ms/tile")
		})
	}
	out := make([]byte, 224*224*3)
	for _, size := range []int{128, 224} {
		r := newResizer(preprocessing{Size: size, Resize: "squash", Filter: "bicubic"})
		measure(fmt.Sprintf("whole/%dpx", size), func() error {
			err := s.decode(pic.Data)
			r.resize(out, &s.pixels, s)
			return err
		})
		measure(fmt.Sprintf("resize/%dpx", size), func() error { r.resize(out, &s.pixels, s); return nil })
	}
	measure("colour", func() error { return s.load(m, false) })
	measure("jpeg", func() error { _, err := jpeg.Decode(bytes.NewReader(pic.Data)); return err })
}

// BenchmarkChain is P1 and P4: the whole way from JPEG bytes to embeddings, and the model alone at the batch size that the
// chain uses, in one run. TILESCOUT_BENCH_MODEL names another model folder than the bundled one.
func BenchmarkChain(b *testing.B) {
	name := os.Getenv("TILESCOUT_BENCH_MODEL")
	if name == "" {
		if _, err := fs.Stat(bundled.FS(), "model.json"); err != nil {
			b.Skip("the bundled model has not been made yet: ", err)
		}
	}
	library := benchLibrary(b)
	e, err := Open(b.Context(), Options{Model: name, Library: library})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	pics := make([]tilescout.Picture, 256)
	for i := range pics {
		pics[i] = tile(b, i)
	}
	// The two are measured in turns, so that other load on the machine meets both alike.
	var chain, bare, chainCPU, bareCPU time.Duration
	n := 0
	input := make([]byte, backgroundBatch*e.model.InputSize*e.model.InputSize*3)
	out := []onnxruntime.Output{{Shape: []int64{backgroundBatch, int64(e.model.Dimension)}, Data: make([]float32, backgroundBatch*e.model.Dimension)}}
	shape := []int64{backgroundBatch, int64(e.model.InputSize), int64(e.model.InputSize), 3}
	for b.Loop() {
		began, cpu := time.Now(), cpuTime()
		if _, err := e.Images(context.Background(), pics, Background); err != nil {
			b.Fatal(err)
		}
		chain, chainCPU = chain+time.Since(began), chainCPU+cpuTime()-cpu
		began, cpu = time.Now(), cpuTime()
		for range len(pics) / backgroundBatch {
			if err := onnxruntime.Run(context.Background(), e.runner.image, input, shape, out, runLimit); err != nil {
				b.Fatal(err)
			}
		}
		bare, bareCPU = bare+time.Since(began), bareCPU+cpuTime()-cpu
		n += len(pics)
	}
	b.ReportMetric(float64(n)/chain.Seconds(), "tiles/s")
	b.ReportMetric(float64(n)/bare.Seconds(), "bare-tiles/s")
	b.ReportMetric(bare.Seconds()/chain.Seconds(), "chain/bare")
	// The same by processor time, which other load on the machine does not touch.
	b.ReportMetric(bareCPU.Seconds()/chainCPU.Seconds(), "chain/bare-cpu")
	b.ReportMetric(float64(n)/chainCPU.Seconds()*float64(runtime.GOMAXPROCS(0)), "tiles/s-by-cpu")
}

// BenchmarkPrompt is the text part of P5: one prompt with eight templates.
func BenchmarkPrompt(b *testing.B) {
	if _, err := fs.Stat(bundled.FS(), "model.json"); err != nil {
		b.Skip("the bundled model has not been made yet: ", err)
	}
	e, err := Open(b.Context(), Options{Library: benchLibrary(b)})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	prompts := []string{"stadium", "a stadium", "an aerial image of a stadium", "a satellite photo of a stadium", "many stadiums", "the stadium", "one stadium", "stadium from above"}
	for b.Loop() {
		if _, err := e.Texts(context.Background(), prompts); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms/prompt")
}

// benchLibrary finds the library as encodertest.Library does, which cannot be imported from inside the package.
func benchLibrary(b *testing.B) string {
	b.Helper()
	path, err := onnxruntime.Find(onnxruntime.Search{})
	if err != nil {
		bin, _ := filepath.Abs("../bin")
		if path, err = onnxruntime.Find(onnxruntime.Search{Flag: bin}); err != nil {
			b.Skip(err)
		}
	}
	return path
}
