package graph_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/encoder/graph"
	"github.com/tilescout/tilescout/encoder/onnxruntime"
)

// pictures are smooth random textures, so that they differ in more than noise.
func pictures(n, size int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		rng := rand.New(rand.NewPCG(5, uint64(i)))
		step := 4 << rng.IntN(4)
		cells := size/step + 2
		colours := make([]int, cells*cells*3)
		for j := range colours {
			colours[j] = rng.IntN(256)
		}
		p := make([]byte, 0, size*size*3)
		for y := range size {
			for x := range size {
				for c := range 3 {
					p = append(p, byte((colours[((y/step)*cells+x/step)*3+c]*3+(x+2*y)*255/(3*size))/4))
				}
			}
		}
		out[i] = p
	}
	return out
}

func calibrate(t testing.TB, w graph.Weights, a checkpoint.Architecture, pics [][]byte) (graph.Ranges, [][]float32) {
	t.Helper()
	rt, err := onnxruntime.Load(encodertest.Library(t))
	if err != nil {
		t.Fatal(err)
	}
	r, rows, err := graph.Calibrate(t.Context(), w, a, graph.ImageOptions{}, pics, graph.Calibration{Runtime: rt, Dir: t.TempDir(), Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	return r, rows
}

func TestInt8(t *testing.T) {
	a := architectures()["ViT-B-32"]
	w := encodertest.NewFormula(a)
	pics := pictures(24, a.ImageSize)
	ranges, want := calibrate(t, w, a, pics)
	if n := len(ranges.Inputs); n != 4*a.Layers+2 {
		t.Errorf("%d products measured, want four of each layer, the patches' and the dense output's", n)
	}
	joined := slices.Concat(pics...)
	for _, o := range []graph.ImageOptions{
		{Precision: graph.Int8Static, Ranges: ranges}, {Precision: graph.Int8Dynamic},
		{Precision: graph.Int8Static}, // nothing measured: all in float
	} {
		got, _ := runImage(t, w, a, o, joined, len(pics))
		least := 1.
		for i := range want {
			least = min(least, cosine(got[i], want[i]))
		}
		t.Logf("%s with %d ranges: least cosine %.5f", o.Precision, len(o.Ranges.Inputs), least)
		if least < .99 {
			t.Errorf("%s: least cosine %.5f, want .99", o.Precision, least)
		}
		if o.Precision == graph.Int8Static && o.Ranges.Inputs != nil {
			if least > .999999 {
				t.Error("int8 gives what float gives: was anything quantised?")
			}
			alone, _ := runImage(t, w, a, o, pics[3], 1)
			if !slices.Equal(alone[0], got[3]) {
				t.Error("a picture's embedding depends on its batch")
			}
		}
	}
}

// A ResNet runs its convolutions over bytes, all but the first and those that are left in float.
func TestInt8ResNet(t *testing.T) {
	a := architectures()["RN50"]
	w := encodertest.NewFormula(a)
	pics := pictures(12, a.ImageSize)
	ranges, want := calibrate(t, w, a, pics)
	convolutions := 3 + 3*(3+4+6+3) + 4
	if n := len(ranges.Inputs); n != convolutions+16 {
		t.Errorf("%d layers measured, want %d convolutions and 16 sums", n, convolutions)
	}
	count := func(o graph.ImageOptions, op string) int {
		model, err := graph.Image(t.Context(), w, a, o, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(model), "\""+string(rune(len(op)))+op)
	}
	o := graph.ImageOptions{Precision: graph.Int8Static, Ranges: ranges}
	if n, sums := count(o, "QLinearConv"), count(o, "QLinearAdd"); n != convolutions-1 || sums != 16 {
		t.Errorf("%d convolutions and %d sums over bytes, want %d and 16", n, sums, convolutions-1)
	}
	got, _ := runImage(t, w, a, o, slices.Concat(pics...), len(pics))
	mean := 0.
	for i := range want {
		mean += cosine(got[i], want[i]) / float64(len(want))
	}
	t.Logf("mean cosine %.5f", mean)
	if mean < .98 || mean > .9999999 {
		t.Errorf("mean cosine to float %.5f, want .98 and not 1", mean)
	}
	alone, _ := runImage(t, w, a, o, pics[3], 1)
	if c := cosine(alone[0], got[3]); c < .999999 { // the pooling in float rounds a single row otherwise than several
		t.Errorf("a picture's embedding depends on its batch: cosine %.8f", c)
	}
	// Layers go back to float one by one, whatever is beside them.
	mixed := graph.Ranges{Inputs: maps.Clone(ranges.Inputs)}
	for _, name := range []string{"visual.conv3", "visual.layer1.0.sum", "visual.layer2.1.conv2", "visual.layer3.0.downsample.0", "visual.layer4.2.conv3"} {
		r := mixed.Inputs[name]
		r.Float = true
		mixed.Inputs[name] = r
	}
	o.Ranges = mixed
	if n, sums := count(o, "QLinearConv"), count(o, "QLinearAdd"); n != convolutions-5 || sums != 15 {
		t.Errorf("%d convolutions and %d sums over bytes, want %d and 15", n, sums, convolutions-5)
	}
	got, _ = runImage(t, w, a, o, slices.Concat(pics...), len(pics))
	for i := range want {
		if c := cosine(got[i], want[i]); c < .97 {
			t.Errorf("picture %d with layers in float: cosine %.5f", i, c)
		}
	}
}

// A product that the library does not fuse runs several times slower and gives nearly the same: only its nodes show it.
func TestInt8IsWrittenAsInt8(t *testing.T) {
	a := architectures()["ViT-B-32"]
	w := encodertest.NewFormula(a)
	ranges := graph.Ranges{Inputs: map[string]graph.Range{}}
	for _, name := range []string{"0.qkv", "0.out", "0.fc1", "0.fc2"} {
		ranges.Inputs[name] = graph.Range{Min: -1, Max: 1, Float: name == "0.out"}
	}
	var data bytes.Buffer
	model, err := graph.Image(t.Context(), w, a, graph.ImageOptions{Precision: graph.Int8Static, Ranges: ranges}, &data)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(model), "\"\x14MatMulIntegerToFloat"); n != 3 {
		t.Errorf("%d products in int8, want the three that were measured and not left in float", n)
	}
}

// outliers makes a few channels behind each norm a hundred times larger, as trained CLIPs have them.
type outliers struct{ encodertest.Formula }

func (w outliers) Float32(name string, dst []float32) ([]float32, error) {
	v, err := w.Formula.Float32(name, dst)
	if strings.Contains(name, "layer_norm") && strings.HasPrefix(name, "vision") {
		for c := 3; c < len(v); c += 17 {
			v[c] *= 100
		}
	}
	if strings.Contains(name, "self_attn.q_proj.weight") || strings.Contains(name, "k_proj.weight") || strings.Contains(name, "fc1.weight") {
		in := w.Shape(name)[1]
		for i := range v {
			if c := i % in; c%17 == 3 {
				v[i] /= 100
			}
		}
	}
	return v, err
}

func TestSmoothing(t *testing.T) {
	a := architectures()["ViT-B-32"]
	w := outliers{encodertest.NewFormula(a)}
	pics := pictures(16, a.ImageSize)
	ranges, want := calibrate(t, w, a, pics)
	rough := graph.Ranges{Inputs: map[string]graph.Range{}}
	smoothed := 0
	for name, r := range ranges.Inputs {
		if r.Smooth != nil {
			smoothed++
			low, high := float32(0), float32(0)
			for _, s := range r.Smooth {
				low, high = min(low, r.Min*s), max(high, r.Max*s)
			}
			r = graph.Range{Min: low, Max: high}
		}
		rough.Inputs[name] = r
	}
	if smoothed == 0 {
		t.Fatal("no product was smoothed")
	}
	mean := func(r graph.Ranges) (sum float64) {
		got, _ := runImage(t, w, a, graph.ImageOptions{Precision: graph.Int8Static, Ranges: r}, slices.Concat(pics...), len(pics))
		for i := range want {
			sum += cosine(got[i], want[i]) / float64(len(want))
		}
		return sum
	}
	with, without := mean(ranges), mean(rough)
	t.Logf("mean cosine %.5f smoothed, %.5f not; %d of %d products smoothed", with, without, smoothed, len(ranges.Inputs))
	if with < .98 || with < without {
		t.Errorf("mean cosine %.5f smoothed, %.5f not: want .98 and more than without", with, without)
	}
}

// A writer that fails, as on a full disk, ends the conversion with its error.
func TestWriterFails(t *testing.T) {
	a := architectures()["ViT-B-32"]
	w := encodertest.NewFormula(a)
	for _, most := range []int{0, 1000, 100_000} {
		if _, err := graph.Image(t.Context(), w, a, graph.ImageOptions{}, &fullDisk{most}); err == nil || !strings.Contains(err.Error(), "no space") {
			t.Errorf("after %d bytes: %v, want the writer's error", most, err)
		}
		if _, err := graph.Text(t.Context(), w, a, graph.TextOptions{}, &fullDisk{most}); err == nil || !strings.Contains(err.Error(), "no space") {
			t.Errorf("after %d bytes: %v, want the writer's error", most, err)
		}
	}
}

type fullDisk struct{ left int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if len(p) > d.left {
		return 0, errFull
	}
	d.left -= len(p)
	return len(p), nil
}

var errFull = errors.New("no space left on device")
