package main

import (
	"bytes"
	"encoding/json"
	"image"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tilescout/tilescout/encoder/bpe"
	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/encoder/convert"
	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/encoder/graph"
	"github.com/tilescout/tilescout/encoder/reference"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

// A checkpoint is converted, verified and asked the model card's question: labels in a sentence, a softmax with the
// checkpoint's own logit scale. What it must print is computed from the checkpoint's tensors, without any graph.
func TestConvertedModelAnswersLikeItsCard(t *testing.T) {
	library := encodertest.Library(t)
	src := sourcetest.Shared(t, "clip", "tiny", "hf")
	dir, data := filepath.Join(t.TempDir(), "tiny"), t.TempDir()
	call := func(args ...string) (int, string, string) {
		var out, errs strings.Builder
		status := run(t.Context(), append(args, "--data", data, "--onnxruntime", library), strings.NewReader(""), &out, &errs)
		return status, out.String(), errs.String()
	}
	if status, out, errs := call("model", "convert", src, "--out", dir, "--title", "Tiny"); status != 0 || strings.TrimSpace(out) != dir || !strings.Contains(errs, "verified") {
		t.Fatalf("convert: status %d, %s%s", status, out, errs)
	}
	if status, out, errs := call("model", "verify", dir, "-o", "table", "--against", src); status != 0 || strings.Count(out, "pass") < 9 {
		t.Errorf("verify: status %d, %s%s", status, out, errs)
	}

	picture := image.NewNRGBA(image.Rect(0, 0, 32, 32))
	for i := range picture.Pix {
		picture.Pix[i] = byte(i*i/7) | byte(255*((i&3)/3))
	}
	file := filepath.Join(t.TempDir(), "picture.png")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := png.Encode(f, picture); err != nil {
		t.Fatal(err)
	}
	f.Close()
	labels := []string{"residential area", "playground", "stadium", "forest", "airport"}
	status, out, errs := call("classify", file, "--model", dir, "--labels", strings.Join(labels, ","), "--template", "a photo of a {}", "-o", "json")
	if status != 0 {
		t.Fatalf("classify: status %d, %s", status, errs)
	}
	var got []struct {
		Label       string
		Probability float64
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	want := cardAnswer(t, src, picture, labels)
	if len(got) != len(labels) {
		t.Fatalf("%d labels, want %d", len(got), len(labels))
	}
	for _, g := range got {
		if d := math.Abs(g.Probability - want[g.Label]); d > 1e-5 {
			t.Errorf("%s: probability %.6f, want %.6f", g.Label, g.Probability, want[g.Label])
		}
	}
}

// cardAnswer is softmax(exp(logit_scale) · image · textᵀ) from the plain forward pass.
func cardAnswer(t *testing.T, src string, picture *image.NRGBA, labels []string) map[string]float64 {
	t.Helper()
	c, err := checkpoint.Open(t.Context(), src, checkpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tokenizer, err := bpe.Load(src, bpe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, p := c.Architecture(), c.Preprocessing()
	input := make([]float32, 3*32*32)
	for i := range 32 * 32 {
		for ch := range 3 {
			input[ch*32*32+i] = float32((float64(picture.Pix[4*i+ch])/255 - p.Mean[ch]) / p.Std[ch])
		}
	}
	images, err := reference.Images(t.Context(), c, a, 32, "", [][]float32{input})
	if err != nil {
		t.Fatal(err)
	}
	var ids [][]int64
	for _, l := range labels {
		ids = append(ids, convert.Tokens(tokenizer, "a photo of a "+l, a.TextContext))
	}
	texts, err := reference.Texts(t.Context(), c, a, ids)
	if err != nil {
		t.Fatal(err)
	}
	out, sum := map[string]float64{}, 0.
	for i, l := range labels {
		var dot float64
		for j, v := range texts[i] {
			dot += float64(v) * float64(images[0].Embedding[j])
		}
		out[l] = math.Exp(c.LogitScale() * dot)
		sum += out[l]
	}
	for l := range out {
		out[l] /= sum
	}
	return out
}

// Ready ONNX graphs are converted, and served as they lie: the first start makes a model folder in the data folder.
func TestReadyGraphs(t *testing.T) {
	library := encodertest.Library(t)
	tiny := sourcetest.Shared(t, "clip", "tiny", "hf")
	c, err := checkpoint.Open(t.Context(), tiny, checkpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	src, data := filepath.Join(t.TempDir(), "exported"), t.TempDir()
	if err := os.Mkdir(src, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func(io.Writer) ([]byte, error){
		"image": func(w io.Writer) ([]byte, error) {
			return graph.Image(t.Context(), c, c.Architecture(), graph.ImageOptions{Dense: graph.DenseNone}, w)
		},
		"text": func(w io.Writer) ([]byte, error) {
			return graph.Text(t.Context(), c, c.Architecture(), graph.TextOptions{}, w)
		},
	} {
		var weights bytes.Buffer
		model, err := write(&weights)
		if err != nil {
			t.Fatal(err)
		}
		for file, content := range map[string][]byte{name + ".onnx": model, name + ".weights": weights.Bytes()} {
			if err := os.WriteFile(filepath.Join(src, file), content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{"vocab.json", "merges.txt", "config.json"} {
		raw, err := os.ReadFile(filepath.Join(tiny, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(src, name), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	call := func(args ...string) (int, string, string) {
		var out, errs strings.Builder
		status := run(t.Context(), append(args, "--data", data, "--onnxruntime", library), strings.NewReader(""), &out, &errs)
		return status, out.String(), errs.String()
	}
	dir := filepath.Join(t.TempDir(), "converted")
	if status, _, errs := call("model", "info", src, "-o", "table"); status != 0 {
		t.Errorf("info: status %d, %s", status, errs)
	}
	if status, _, errs := call("model", "convert", src, "--out", dir, "--logit-scale", "20"); status != 0 || !strings.Contains(errs, "verified") {
		t.Fatalf("convert: status %d, %s", status, errs)
	}
	// The graphs are the checkpoint's; the scale that was said is not.
	if status, out, errs := call("model", "verify", dir, "-o", "table", "--against", tiny); status != statusFailed || !strings.Contains(out, "image tower    pass") || !strings.Contains(out, "--logit-scale 12.") {
		t.Errorf("verify: status %d, %s%s", status, out, errs)
	}
	picture := filepath.Join(t.TempDir(), "picture.png")
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 40, 40))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(picture, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	ask := []string{"classify", picture, "--labels", "stadium,forest", "-o", "json", "--model"}
	status, first, errs := call(append(ask, src)...)
	if status != 0 || !strings.Contains(errs, "once") {
		t.Errorf("classify: status %d, %s", status, errs)
	}
	if status, again, errs := call(append(ask, src)...); status != 0 || strings.Contains(errs, "once") || again != first {
		t.Errorf("classify again: status %d, %s%s, want %s", status, again, errs, first)
	}
	if status, _, errs := call("model", "convert", src, "--out", filepath.Join(data, "x"), "--int8"); status != statusBadInput || !strings.Contains(errs, "decided in ready graphs") {
		t.Errorf("int8: status %d, %s", status, errs)
	}
}

func TestConvertRefusesInOneLine(t *testing.T) {
	library := encodertest.Library(t)
	src := sourcetest.Shared(t, "clip", "tiny", "hf")
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{src}, 2, "out"},
		{[]string{filepath.Join(src, "nothing"), "--out", "x"}, 2, "nothing"},
		{[]string{src, "--out", t.TempDir()}, 2, "exists already"},
		{[]string{src, "--out", "x", "--int8=fast"}, 2, "static or dynamic"},
		{[]string{src, "--out", "x", "--int8", "--fp16"}, 2, "exclude"},
		{[]string{src, "--out", "x", "--calibrate", "y"}, 2, "goes with --int8"},
		{[]string{src, "--out", "x", "--int8", "--calibrate", t.TempDir()}, 2, "0 usable pictures"},
		{[]string{src, "--out", "x", "--activation", "relu"}, 2, "quick_gelu"},
		{[]string{filepath.Join(filepath.Dir(src), "open_clip_pt"), "--out", "x"}, 2, "--vocabulary"},
	} {
		var out, errs strings.Builder
		t.Chdir(t.TempDir())
		status := run(t.Context(), append([]string{"model", "convert", "--data", t.TempDir(), "--onnxruntime", library}, c.args...), strings.NewReader(""), &out, &errs)
		lines := strings.Split(strings.TrimSpace(errs.String()), "\n")
		if last := lines[len(lines)-1]; status != c.status || !strings.Contains(last, c.want) {
			t.Errorf("%v: status %d, %q, want %d and %q", c.args[1:], status, last, c.status, c.want)
		}
		entries, err := os.ReadDir(".")
		if err != nil || len(entries) > 0 {
			t.Errorf("%v left %v behind (%v)", c.args[1:], entries, err)
		}
	}
}
