package ready_test

import (
	"bytes"
	"errors"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/encoder/convert"
	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/encoder/graph"
	"github.com/tilescout/tilescout/encoder/ready"
)

// small is a CLIP of 32 pixels with a vocabulary of a few hundred pieces.
func small() checkpoint.Architecture {
	return checkpoint.Architecture{Kind: checkpoint.ViT, ImageSize: 32, PatchSize: 8, Width: 32, Layers: 2, Heads: 2, MLP: 64, Norm: 1e-5, TextNorm: 1e-5,
		Activation: checkpoint.QuickGELU, TextActivation: checkpoint.QuickGELU, TextContext: 24, TextWidth: 24, TextLayers: 2, TextHeads: 2, TextMLP: 48,
		Vocabulary: 700, BOS: 698, EOS: 699, Pooling: checkpoint.PoolLargest, Dimension: 16}
}

var (
	mean = [3]float64{.5, .4, .3}
	std  = [3]float64{.25, .3, .2}
)

// towers writes both graphs, in float32 or with weights as float16.
func towers(t testing.TB, dir string, imageDir, textDir string, half bool) (imageGraph, textGraph []byte) {
	t.Helper()
	w := encodertest.NewFormula(small())
	precision := graph.Float32
	if half {
		precision = graph.Float16
	}
	for _, tower := range []struct {
		in    string
		graph *[]byte
		write func(out *bytes.Buffer) ([]byte, error)
	}{
		{imageDir, &imageGraph, func(out *bytes.Buffer) ([]byte, error) {
			return graph.Image(t.Context(), w, small(), graph.ImageOptions{Mean: mean, Std: std, Dense: graph.DenseNone, Precision: precision}, out)
		}},
		{textDir, &textGraph, func(out *bytes.Buffer) ([]byte, error) {
			return graph.Text(t.Context(), w, small(), graph.TextOptions{Precision: precision}, out)
		}},
	} {
		var weights bytes.Buffer
		raw, err := tower.write(&weights)
		if err != nil {
			t.Fatal(err)
		}
		*tower.graph = raw
		name := "image.weights"
		if tower.graph == &textGraph {
			name = "text.weights"
		}
		write(t, filepath.Join(dir, tower.in, name), weights.Bytes())
	}
	return imageGraph, textGraph
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// vocabulary writes merges.txt.
func vocabulary(t testing.TB, dir string) {
	t.Helper()
	src := t.TempDir()
	encodertest.NewFormula(small()).WriteFolder(t, src)
	raw, err := os.ReadFile(filepath.Join(src, "merges.txt"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "merges.txt"), raw)
}

// layout is a folder as one of the exporters writes it.
type layout struct {
	name, layout string
	image, text  ready.Disguise
	files        [2]string // graphs; equal where one holds both towers
	sides        map[string]string
	vocabulary   string // folder
	half         bool
	batch        int // that the image tower must be run with
}

const processor = `{"size":{"shortest_edge":32},"crop_size":{"height":32,"width":32},"image_mean":[0.5,0.4,0.3],"image_std":[0.25,0.3,0.2],"resample":3}`

func layouts() []layout {
	nchw := []any{"batch", 3, 32, 32}
	return []layout{
		{name: "immich", layout: "immich", files: [2]string{"visual/model.onnx", "textual/model.onnx"}, vocabulary: "textual", batch: 1,
			image: ready.Disguise{Input: "image", Output: "embedding", Elem: ready.Float, Dims: []any{1, 3, 32, 32}, Channels: true, Factor: 1, Prefix: "net/"},
			text:  ready.Disguise{Input: "text", Output: "embedding", Elem: ready.Int32, Dims: []any{1, 24}, Factor: 1, Prefix: "net/"},
			sides: map[string]string{
				"config.json":                `{"embed_dim":16,"vision_cfg":{"image_size":32,"layers":2,"width":32,"patch_size":8},"text_cfg":{"context_length":24,"vocab_size":700}}`,
				"visual/preprocess_cfg.json": `{"size":[32,32],"mode":"RGB","mean":[0.5,0.4,0.3],"std":[0.25,0.3,0.2],"interpolation":"bicubic","resize_mode":"shortest","fill_color":0}`,
			}},
		{name: "immich with bytes", layout: "immich", files: [2]string{"visual/model.onnx", "textual/model.onnx"}, vocabulary: "textual",
			image: ready.Disguise{Input: "image", Output: "embedding", Elem: ready.Uint8, Dims: []any{"batch", 32, 32, 3}, Bytes: true, Factor: 1, Prefix: "net/"},
			text:  ready.Disguise{Input: "text", Output: "embedding", Elem: ready.Int32, Dims: []any{"batch", 24}, Factor: 1, Prefix: "net/"}},
		{name: "rclip", layout: "rclip", files: [2]string{"visual.onnx", "textual.onnx"}, vocabulary: "tokenizer",
			image: ready.Disguise{Input: "input", Output: "output", Elem: ready.Float, Dims: nchw, Channels: true, Factor: 7, Opset: 18},
			text:  ready.Disguise{Input: "input", Output: "output", Elem: ready.Int64, Dims: []any{"batch", 24}, Factor: .3},
			sides: map[string]string{"preprocessor_config.json": processor}},
		{name: "transformers.js", layout: "transformers.js", files: [2]string{"onnx/vision_model.onnx", "onnx/text_model.onnx"}, vocabulary: ".",
			image: ready.Disguise{Input: "pixel_values", Output: "image_embeds", Elem: ready.Float, Dims: []any{"batch", "channels", "height", "width"}, Channels: true, Factor: 3},
			text:  ready.Disguise{Input: "input_ids", Output: "text_embeds", Elem: ready.Int64, Dims: []any{"batch", "length"}, Factor: 5},
			sides: map[string]string{"preprocessor_config.json": processor, "config.json": `{"model_type":"clip","projection_dim":16,"text_config":{"max_position_embeddings":24},"vision_config":{"image_size":32}}`}},
		{name: "transformers.js in float16", layout: "transformers.js", files: [2]string{"onnx/vision_model_fp16.onnx", "onnx/text_model_fp16.onnx"}, vocabulary: ".", half: true,
			image: ready.Disguise{Input: "pixel_values", Output: "image_embeds", Elem: ready.Half, Dims: nchw, Channels: true, Factor: 1},
			text:  ready.Disguise{Input: "input_ids", Output: "text_embeds", Elem: ready.Int64, Dims: []any{"batch", "length"}, Mask: "attention_mask", Factor: 1},
			sides: map[string]string{"preprocessor_config.json": processor, "config.json": `{"model_type":"clip","projection_dim":16,"text_config":{"max_position_embeddings":24},"vision_config":{"image_size":32}}`}},
		{name: "optimum, one graph", layout: "optimum", files: [2]string{"model.onnx", "model.onnx"}, vocabulary: ".",
			image: ready.Disguise{Input: "pixel_values", Output: "image_embeds", Elem: ready.Float, Dims: []any{"images", "channels", "height", "width"}, Channels: true, Factor: 1, Prefix: "vision/"},
			text:  ready.Disguise{Input: "input_ids", Output: "text_embeds", Elem: ready.Int64, Dims: []any{"texts", "length"}, Mask: "attention_mask", Factor: 1, Prefix: "text/"},
			sides: map[string]string{"preprocessor_config.json": processor, "config.json": `{"model_type":"clip","projection_dim":16,"text_config":{"max_position_embeddings":24},"vision_config":{"image_size":32}}`}},
		{name: "other names", layout: "files", files: [2]string{"clip-visual.onnx", "clip-textual.onnx"}, vocabulary: ".",
			image: ready.Disguise{Input: "x", Output: "y", Elem: ready.Float, Dims: []any{"n", 32, 32, 3}, Factor: 1},
			text:  ready.Disguise{Input: "x", Output: "y", Elem: ready.Int64, Dims: []any{"n", "m"}, Factor: 1},
			sides: map[string]string{"preprocessor_config.json": processor}},
	}
}

// lay writes the folder.
func (l layout) lay(t testing.TB, dir string) {
	t.Helper()
	visual, textual := towers(t, dir, filepath.Dir(l.files[0]), filepath.Dir(l.files[1]), l.half)
	img := l.image.Body(t, visual, "pixels", 16, mean, std)
	txt := l.text.Body(t, textual, "tokens", 16, mean, std)
	if l.files[0] == l.files[1] {
		write(t, filepath.Join(dir, l.files[0]), ready.ModelOf(23, img, txt))
	} else {
		write(t, filepath.Join(dir, l.files[0]), ready.ModelOf(23, img))
		write(t, filepath.Join(dir, l.files[1]), ready.ModelOf(23, txt))
	}
	for name, content := range l.sides {
		write(t, filepath.Join(dir, name), []byte(content))
	}
	if l.name == "immich with bytes" { // the graph knows how, the folder need not say
		write(t, filepath.Join(dir, "preprocess_cfg.json"), []byte(`{"mean":[0.5,0.4,0.3],"std":[0.25,0.3,0.2]}`))
	}
	vocabulary(t, filepath.Join(dir, l.vocabulary))
}

// Every layout becomes a model folder that embeds as the graphs of the checkpoint do.
func TestLayouts(t *testing.T) {
	library := encodertest.Library(t)
	pictures := []tilescout.Picture{drawing(t, 1), drawing(t, 2), drawing(t, 3)}
	prompts := []string{"ab cd", "stadium beside a river", "x"}
	src, plain := t.TempDir(), filepath.Join(t.TempDir(), "plain")
	encodertest.NewFormula(small()).WriteFolder(t, src)
	write(t, filepath.Join(src, "preprocessor_config.json"), []byte(processor))
	c, err := checkpoint.Open(t.Context(), src, checkpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := convert.Convert(t.Context(), c, plain, convert.Options{ID: "plain"}); err != nil {
		t.Fatal(err)
	}
	wantImages, wantTexts := embed(t, plain, library, pictures, prompts)
	for _, l := range layouts() {
		t.Run(l.name, func(t *testing.T) {
			dir, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
			l.lay(t, dir)
			m, err := ready.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			if m.Layout != l.layout || m.Size != 32 || m.Context != 24 && l.name != "other names" || m.Dimension != 16 || m.Image.Batch != l.batch {
				t.Errorf("%s: size %d, context %d, dimension %d, batch %d", m.Layout, m.Size, m.Context, m.Dimension, m.Image.Batch)
			}
			report, err := convert.Ready(t.Context(), m, out, convert.Options{ID: "ready", LogitScale: 42})
			if err != nil {
				t.Fatal(err)
			}
			if report.Manifest.LogitScale != 42 || report.Manifest.Made.Format != l.layout {
				t.Errorf("manifest %+v", report.Manifest)
			}
			images, texts := embed(t, out, library, pictures, prompts)
			least := .99999
			if l.half {
				least = .999
			}
			for i := range images {
				if c := cosine(images[i], wantImages[i]); c < least {
					t.Errorf("picture %d: cosine %.6f to the checkpoint's own graph", i, c)
				}
				if c := cosine(texts[i], wantTexts[i]); c < least {
					t.Errorf("prompt %d: cosine %.6f to the checkpoint's own graph", i, c)
				}
			}
		})
	}
}

func embed(t *testing.T, dir, library string, pictures []tilescout.Picture, prompts []string) (images, texts [][]float32) {
	t.Helper()
	e, err := encoder.Open(t.Context(), encoder.Options{Model: dir, Library: library})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if images, err = e.Images(t.Context(), pictures, encoder.Background); err != nil {
		t.Fatal(err)
	}
	rows, err := e.Texts(t.Context(), prompts)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		texts = append(texts, r.Embedding)
	}
	return images, texts
}

func drawing(t testing.TB, seed int) tilescout.Picture {
	m := image.NewNRGBA(image.Rect(0, 0, 32, 32))
	for i := range m.Pix {
		m.Pix[i] = byte(i*seed*7+i/128*31) | byte(255*((i&3)/3))
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return tilescout.Picture{Data: b.Bytes(), MediaType: tilescout.PNG}
}

func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	return ab / math.Sqrt(aa*bb)
}

// What is no pair of towers is refused in one line that says what is amiss.
func TestRefused(t *testing.T) {
	change := func(f func(*layout)) layout {
		l := layouts()[2]
		f(&l)
		return l
	}
	for name, c := range map[string]struct {
		layout layout
		after  func(t *testing.T, dir string)
		want   string
	}{
		"hidden states only": {change(func(l *layout) { l.image.Rank3 = true }), nil, "no output that is an embedding"},
		"pooler output only": {change(func(l *layout) { l.text.Output = "pooler_output" }), nil, "projection"},
		"one more input":     {change(func(l *layout) { l.image.Extra = "angle" }), nil, `wants "angle"`},
		"a batch of four":    {change(func(l *layout) { l.image.Dims = []any{4, 3, 32, 32} }), nil, "batch is fixed at 4"},
		"not square":         {change(func(l *layout) { l.image.Dims = []any{"b", 3, 32, 48} }), nil, "[batch, 3, size, size]"},
		"no picture":         {change(func(l *layout) { l.image.Dims = []any{"b", 3, 1024} }), nil, "no input of four axes"},
		"tokens in float":    {change(func(l *layout) { l.text.Elem = ready.Float }), nil, "int32 or int64"},
		"two models":         {layouts()[2], func(t *testing.T, dir string) { swap(t, dir) }, "no input of four axes"},
		"cut off":            {layouts()[2], func(t *testing.T, dir string) { cut(t, filepath.Join(dir, "visual.onnx")) }, "cut off"},
		"a web page":         {layouts()[2], func(t *testing.T, dir string) { write(t, filepath.Join(dir, "textual.onnx"), []byte("<html>")) }, "not an ONNX model"},
		"SigLIP": {layouts()[2], func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "config.json"), []byte(`{"model_type":"siglip"}`))
		}, "SigLIP"},
		"a broken config":               {layouts()[2], func(t *testing.T, dir string) { write(t, filepath.Join(dir, "config.json"), []byte(`{`)) }, "config.json"},
		"weights that are not there":    {layouts()[2], func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "image.weights")) }, "get it too"},
		"weights cut off":               {layouts()[2], func(t *testing.T, dir string) { cut(t, filepath.Join(dir, "image.weights")) }, "image.weights"},
		"a SentencePiece vocabulary":    {layouts()[2], func(t *testing.T, dir string) { sentencePiece(t, dir) }, "Unigram"},
		"another model's vocabulary":    {layouts()[2], func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "tokenizer", "merges.txt")) }, "does not run"},
		"a folder without a text graph": {layouts()[2], func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "textual.onnx")) }, "no pair"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, parent := t.TempDir(), t.TempDir()
			c.layout.lay(t, dir)
			if c.after != nil {
				c.after(t, dir)
			}
			m, err := ready.Open(dir)
			if err == nil {
				_, err = convert.Ready(t.Context(), m, filepath.Join(parent, "out"), convert.Options{ID: "x"})
			}
			if err == nil { // what the graph alone does not show
				_, err = encoder.Open(t.Context(), encoder.Options{Model: filepath.Join(parent, "out"), Library: encodertest.Library(t)})
			} else if left, _ := os.ReadDir(parent); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 800 {
				t.Fatalf("error %v, want one line with %q", err, c.want)
			}
			if !errors.Is(err, tilescout.ErrBadInput) {
				t.Errorf("%v is no bad input", err)
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func cut(t *testing.T, path string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, raw[:len(raw)*2/3])
}

func swap(t *testing.T, dir string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "textual.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "visual.onnx"), raw)
}

func sentencePiece(t *testing.T, dir string) {
	t.Helper()
	remove(t, filepath.Join(dir, "tokenizer", "merges.txt"))
	write(t, filepath.Join(dir, "tokenizer", "tokenizer.json"), []byte(`{"model":{"type":"Unigram","vocab":[["<pad>",0]]}}`))
}

// FuzzOpen: whatever the graph, it is refused with a kind or its towers can be written.
func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	layouts()[5].lay(f, dir)
	raw, err := os.ReadFile(filepath.Join(dir, "model.onnx"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(raw[:len(raw)/2])
	f.Add([]byte{0x3a, 0x02, 0x0a, 0x00})
	f.Fuzz(func(t *testing.T, raw []byte) {
		write(t, filepath.Join(dir, "model.onnx"), raw)
		m, err := ready.Open(dir)
		if err == nil {
			for _, tower := range []*ready.Tower{m.Image, m.Text} {
				if _, err = tower.Write(t.Context(), m.Normalisation(), m.Size, &bytes.Buffer{}, "w"); err != nil {
					break
				}
			}
		}
		if err != nil && !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("error without a kind: %v", err)
		}
	})
}
