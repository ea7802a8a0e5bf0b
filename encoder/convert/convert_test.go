package convert_test

import (
	"bytes"
	"context"
	"encoding/json"
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
	"github.com/tilescout/tilescout/encoder/onnxruntime"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

// copyTiny copies a tiny checkpoint, whose bytes k are to stand for k/32 - 1, the values of the golden input.
func copyTiny(t testing.TB) string {
	t.Helper()
	from, dir := sourcetest.Shared(t, "clip", "tiny", "hf"), t.TempDir()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, e.Name()), data)
	}
	third := 32. / 255
	processor, err := json.Marshal(map[string]any{"size": 32, "crop_size": 32, "resample": 3,
		"image_mean": []float64{third, third, third}, "image_std": []float64{third, third, third}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "preprocessor_config.json"), processor)
	return dir
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, dir string) *checkpoint.Checkpoint {
	t.Helper()
	c, err := checkpoint.Open(t.Context(), dir, checkpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// A checkpoint becomes a folder that the encoder opens, and gives what transformers gives.
func TestConvertTiny(t *testing.T) {
	library := encodertest.Library(t)
	var want struct {
		Texts  []string `json:"texts"`
		Golden struct {
			Image [][]float32 `json:"image_embeds"`
			Text  [][]float32 `json:"text_embeds"`
		} `json:"expected_quick_gelu"`
	}
	raw, err := os.ReadFile(sourcetest.Shared(t, "clip", "tiny", "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	c := open(t, copyTiny(t))
	for _, precision := range []graph.Precision{graph.Float32, graph.Float16} {
		t.Run(string(precision), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "models", "tiny")
			report, err := convert.Convert(t.Context(), c, dir, convert.Options{ID: "tiny", Precision: precision})
			if err != nil {
				t.Fatal(err)
			}
			if report.Bytes < 50_000 || report.Manifest.ID != "tiny" {
				t.Errorf("report %+v", report)
			}
			e, err := encoder.Open(t.Context(), encoder.Options{Model: dir, Library: library})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			encodertest.Run(t, e)
			rows, err := e.Images(t.Context(), []tilescout.Picture{golden(t, 0), golden(t, 1)}, encoder.Interactive)
			if err != nil {
				t.Fatal(err)
			}
			texts, err := e.Texts(t.Context(), want.Texts)
			if err != nil {
				t.Fatal(err)
			}
			for i := range rows {
				if c := cosine(rows[i], want.Golden.Image[i]); c < .99999 {
					t.Errorf("image %d: cosine %.6f", i, c)
				}
				if c := cosine(texts[i].Embedding, want.Golden.Text[i]); c < .99999 {
					t.Errorf("text %d: cosine %.6f", i, c)
				}
			}
			if m := e.Model(); math.Abs(m.LogitScale-math.Exp(2.5)) > 1e-3 || len(m.Concepts) < 60 || m.Words != nil {
				t.Errorf("logit scale %v, %d concepts, %d words", m.LogitScale, len(m.Concepts), len(m.Words))
			}
			d, err := encoder.OpenDense(t.Context(), encoder.Options{Model: dir, Library: library})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if d.Side() != 4 {
				t.Errorf("%d cells a side, want 4", d.Side())
			}
		})
	}
}

func golden(t testing.TB, s int) tilescout.Picture {
	m := image.NewNRGBA(image.Rect(0, 0, 32, 32))
	for y := range 32 {
		for x := range 32 {
			for c := range 3 {
				m.Pix[m.PixOffset(x, y)+c] = byte((7*x + 13*y + 29*c + 31*s + (x*y)%11) % 64)
			}
			m.Pix[m.PixOffset(x, y)+3] = 255
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return tilescout.Picture{Data: b.Bytes(), MediaType: tilescout.PNG}
}

// Whatever goes wrong, the folder is not there afterwards and one line says what to do.
func TestConvertRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		damage  func(t *testing.T, dir string)
		options convert.Options
		want    string
	}{
		{"no vocabulary", func(t *testing.T, dir string) { remove(t, dir, "vocab.json", "merges.txt") }, convert.Options{}, "no vocabulary"},
		{"another model's vocabulary", func(t *testing.T, dir string) {
			remove(t, dir, "vocab.json")
			data, err := os.ReadFile(filepath.Join(dir, "merges.txt"))
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "merges.txt"), append(data, "o d\n"...))
		}, convert.Options{}, "vocabulary"},
		{"merges cut off", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "merges.txt"), []byte("#version: 0.2\ni n\n"))
		}, convert.Options{}, "vocabulary"},
		{"vocabulary folder without one", nil, convert.Options{Vocabulary: os.TempDir()}, "vocab.json"},
		{"size", nil, convert.Options{Size: 30}, "multiple of the patch size"},
		{"dense", nil, convert.Options{Dense: "nonsense"}, "naclip"},
		{"int8 without runtime", nil, convert.Options{Precision: graph.Int8Static}, "ONNX Runtime"},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := copyTiny(t)
			if c.damage != nil {
				c.damage(t, src)
			}
			parent := t.TempDir()
			_, err := convert.Convert(t.Context(), open(t, src), filepath.Join(parent, "out"), c.options)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Convert: %v, want one line with %q", err, c.want)
			}
			if !errors.Is(err, tilescout.ErrBadInput) && !errors.Is(err, tilescout.ErrUnavailable) {
				t.Errorf("Convert: %v has no kind", err)
			}
			nothingLeft(t, parent)
		})
	}
}

func remove(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, n := range names {
		if err := os.Remove(filepath.Join(dir, n)); err != nil {
			t.Fatal(err)
		}
	}
}

func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("%s was left behind", e.Name())
	}
}

// An existing folder is not touched, and a cancelled conversion leaves nothing.
func TestConvertKeepsWhatIsThere(t *testing.T) {
	c := open(t, copyTiny(t))
	dir := filepath.Join(t.TempDir(), "out")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "mine"), []byte("x"))
	if _, err := convert.Convert(t.Context(), c, dir, convert.Options{}); !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), "exists") {
		t.Errorf("Convert onto a folder: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "mine")); err != nil {
		t.Error(err)
	}
	failing := convert.Options{Check: func(context.Context, string) error { return errors.New("not as it should be") }}
	failed := t.TempDir()
	if _, err := convert.Convert(t.Context(), c, filepath.Join(failed, "out"), failing); err == nil || !strings.Contains(err.Error(), "not as it should be") {
		t.Errorf("Convert with a failing check: %v", err)
	}
	nothingLeft(t, failed)
	ctx, cancel := contextThatEndsAfter(t, 40)
	defer cancel()
	parent := t.TempDir()
	if _, err := convert.Convert(ctx, c, filepath.Join(parent, "out"), convert.Options{}); err == nil {
		t.Error("a cancelled conversion succeeded")
	}
	nothingLeft(t, parent)
}

// int8 is calibrated on pictures and says how near to float it is.
func TestConvertInt8(t *testing.T) {
	rt, err := onnxruntime.Load(encodertest.Library(t))
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, copyTiny(t))
	var pictures []tilescout.Picture
	for i := range 60 {
		pictures = append(pictures, golden(t, 3*i))
	}
	dir := filepath.Join(t.TempDir(), "out")
	if _, err := convert.Convert(t.Context(), c, dir, convert.Options{Precision: graph.Int8Static, Runtime: rt, Pictures: pictures[:3]}); err == nil || !strings.Contains(err.Error(), "3 usable pictures") {
		t.Errorf("three pictures: %v", err)
	}
	report, err := convert.Convert(t.Context(), c, dir, convert.Options{ID: "tiny", Precision: graph.Int8Static, Runtime: rt, Pictures: pictures, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	q := report.Manifest.Made.Int8
	t.Logf("%+v %v", q, report.Notes)
	if q == nil || q.Pictures != 60 || q.Cosine < .99 || q.Cosine > .9999999 || q.Neighbours == 0 {
		t.Errorf("int8 report %+v", q)
	}
	e, err := encoder.Open(t.Context(), encoder.Options{Model: dir, Library: rt.Path})
	if err != nil {
		t.Fatal(err)
	}
	e.Close()
	entries, _ := os.ReadDir(dir)
	if len(entries) != 9 {
		t.Errorf("%d files in the folder, want 9: %v", len(entries), entries)
	}
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
