package graph_test

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/encoder/graph"
	"github.com/tilescout/tilescout/encoder/onnxruntime"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

// session writes a tower's weights to a folder and makes its graph ready.
func session(t testing.TB, dir, weights string, data []byte, model []byte, threads int, input string, outputs ...string) *onnxruntime.Session {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, weights), data, 0o644); err != nil {
		t.Fatal(err)
	}
	rt, err := onnxruntime.Load(encodertest.Library(t))
	if err != nil {
		t.Fatal(err)
	}
	s, err := rt.NewSession(model, onnxruntime.SessionOptions{Input: input, Outputs: outputs, Folder: dir, Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// The tiny checkpoints hold the same weights in eight forms, with the embeddings that transformers gives.
func TestTinyCheckpoints(t *testing.T) {
	root := sourcetest.Shared(t, "clip", "tiny")
	raw, err := os.ReadFile(filepath.Join(root, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	type golden struct {
		Image [][]float32 `json:"image_embeds"`
		Text  [][]float32 `json:"text_embeds"`
	}
	var want struct {
		IDs   [][]int64 `json:"input_ids"`
		Quick golden    `json:"expected_quick_gelu"`
		Exact golden    `json:"expected_gelu_same_weights"`
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	forms := 0
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		forms++
		t.Run(e.Name(), func(t *testing.T) {
			for _, activation := range []string{"", checkpoint.GELU} {
				c, err := checkpoint.Open(t.Context(), filepath.Join(root, e.Name()), checkpoint.Options{Activation: activation})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				expected := want.Quick
				if activation != "" {
					expected = want.Exact
				}
				images, dense := runImage(t, c, c.Architecture(), graph.ImageOptions{
					// Bytes k stand for k/32 - 1, the values of the golden input.
					Mean: [3]float64{32. / 255, 32. / 255, 32. / 255}, Std: [3]float64{32. / 255, 32. / 255, 32. / 255},
				}, goldenPixels(), 2)
				sameRows(t, "image", images, expected.Image)
				if len(dense) != 2*16*16 {
					t.Errorf("dense output has %d values, want 2 pictures of 4 × 4 cells of 16", len(dense))
				}
				sameRows(t, "text", runText(t, c, c.Architecture(), graph.TextOptions{}, want.IDs), expected.Text)
				sameRows(t, "text, float16 storage", runText(t, c, c.Architecture(), graph.TextOptions{Precision: graph.Float16}, want.IDs), expected.Text)
			}
		})
	}
	if forms != 8 {
		t.Errorf("%d forms, want 8", forms)
	}
}

// goldenPixels are the two pictures of expected.json as bytes, 2 × 32 × 32 × 3.
func goldenPixels() []byte {
	pixels := make([]byte, 0, 2*32*32*3)
	for s := range 2 {
		for y := range 32 {
			for x := range 32 {
				for c := range 3 {
					pixels = append(pixels, byte((7*x+13*y+29*c+31*s+(x*y)%11)%64))
				}
			}
		}
	}
	return pixels
}

func runImage(t testing.TB, w graph.Weights, a checkpoint.Architecture, o graph.ImageOptions, pixels []byte, n int) (embeddings [][]float32, dense []float32) {
	t.Helper()
	var data bytes.Buffer
	model, err := graph.Image(t.Context(), w, a, o, &data)
	if err != nil {
		t.Fatal(err)
	}
	s := session(t, t.TempDir(), "image.weights", data.Bytes(), model, 2, "pixels", "embedding", "dense")
	size := o.Size
	if size == 0 {
		size = a.ImageSize
	}
	cells := (size / a.PatchSize) * (size / a.PatchSize)
	out := make([]float32, n*a.Dimension)
	dense = make([]float32, n*cells*a.Dimension)
	err = onnxruntime.Run(t.Context(), s, pixels, []int64{int64(n), int64(size), int64(size), 3}, []onnxruntime.Output{
		{Shape: []int64{int64(n), int64(a.Dimension)}, Data: out},
		{Shape: []int64{int64(n), int64(cells), int64(a.Dimension)}, Data: dense},
	}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return rows(out, a.Dimension), dense
}

func runText(t testing.TB, w graph.Weights, a checkpoint.Architecture, o graph.TextOptions, ids [][]int64) [][]float32 {
	t.Helper()
	var data bytes.Buffer
	model, err := graph.Text(t.Context(), w, a, o, &data)
	if err != nil {
		t.Fatal(err)
	}
	s := session(t, t.TempDir(), "text.weights", data.Bytes(), model, 2, "tokens", "embedding")
	longest := 0
	for _, l := range ids {
		longest = max(longest, len(l))
	}
	var flat []int64
	for _, l := range ids {
		flat = append(flat, l...)
		for range longest - len(l) {
			flat = append(flat, int64(a.EOS))
		}
	}
	out := make([]float32, len(ids)*a.Dimension)
	err = onnxruntime.Run(t.Context(), s, flat, []int64{int64(len(ids)), int64(longest)},
		[]onnxruntime.Output{{Shape: []int64{int64(len(ids)), int64(a.Dimension)}, Data: out}}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return rows(out, a.Dimension)
}

func rows(flat []float32, width int) [][]float32 {
	var out [][]float32
	for ; len(flat) > 0; flat = flat[width:] {
		out = append(out, flat[:width])
	}
	return out
}

// sameRows wants a cosine of 0.99999 or more (target A3), and values that agree to 1e-4.
func sameRows(t testing.TB, what string, got, want [][]float32) {
	t.Helper()
	nearRows(t, what, got, want, .99999, 1e-4)
}

func nearRows(t testing.TB, what string, got, want [][]float32, least, most float64) {
	t.Helper()
	if len(got) != len(want) || len(want) == 0 {
		t.Errorf("%s: %d rows, want %d", what, len(got), len(want))
		return
	}
	for i := range want {
		if c := cosine(got[i], want[i]); !(c >= least) {
			t.Errorf("%s %d: cosine %.7f, want %v", what, i, c, least)
		}
		for j := range want[i] {
			if d := math.Abs(float64(got[i][j] - want[i][j])); !(d < most) {
				t.Errorf("%s %d: value %d is %v, want %v", what, i, j, got[i][j], want[i][j])
				break
			}
		}
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
