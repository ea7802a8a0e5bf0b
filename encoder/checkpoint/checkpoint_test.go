package checkpoint_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

// tiny are the eight forms in which one random CLIP is stored.
var tiny = map[string]struct{ format, pooling, cleaning string }{
	"hf":                    {"safetensors", "eos", "hf"},
	"hf_sharded_bf16":       {"safetensors sharded", "eos", "hf"},
	"hf_bin_f16":            {"pytorch zip", "argmax", "hf"}, // eos_token_id 2
	"hf_bin_legacy_f16":     {"pytorch legacy", "eos", "hf"},
	"hf_flax":               {"flax msgpack", "eos", "hf"},
	"hf_flax_chunked_bf16":  {"flax msgpack", "eos", "hf"},
	"open_clip_pt":          {"open_clip pytorch zip", "argmax", "openclip"},
	"open_clip_safetensors": {"open_clip safetensors", "argmax", "openclip"},
}

func open(t *testing.T, path string, o checkpoint.Options) *checkpoint.Checkpoint {
	t.Helper()
	c, err := checkpoint.Open(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Whatever the file, the same model: architecture, names, and values bit by bit where f16 can hold them.
func TestFormsAgree(t *testing.T) {
	want := open(t, sourcetest.Shared(t, "clip", "tiny", "hf"), checkpoint.Options{})
	for name, w := range tiny {
		t.Run(name, func(t *testing.T) {
			c := open(t, sourcetest.Shared(t, "clip", "tiny", name), checkpoint.Options{})
			if c.Format() != w.format {
				t.Errorf("Format() = %q, want %q", c.Format(), w.format)
			}
			a := c.Architecture()
			if a.Pooling != w.pooling || c.Tokenizer().Cleaning != w.cleaning {
				t.Errorf("pooling %q, cleaning %q, want %q, %q", a.Pooling, c.Tokenizer().Cleaning, w.pooling, w.cleaning)
			}
			if a.Pooling = want.Architecture().Pooling; a != want.Architecture() {
				t.Errorf("Architecture() = %+v, want %+v", a, want.Architecture())
			}
			if !slices.Equal(c.Names(), want.Names()) {
				t.Fatalf("Names() = %q, want %q", c.Names(), want.Names())
			}
			if math.Abs(c.LogitScale()-math.Exp(2.5)) > 1e-12 {
				t.Errorf("LogitScale() = %g, want e^2.5", c.LogitScale())
			}
			if len(c.Unused()) != 0 && !strings.HasPrefix(name, "hf_bin") { // these hold position_ids
				t.Errorf("Unused() = %q", c.Unused())
			}
			var buffer []float32
			for _, key := range c.Names() {
				if !slices.Equal(c.Shape(key), want.Shape(key)) && key != "logit_scale" {
					t.Errorf("Shape(%s) = %v, want %v", key, c.Shape(key), want.Shape(key))
				}
				got, err := c.Float32(key, buffer)
				if err != nil {
					t.Fatal(err)
				}
				buffer = got
				w, err := want.Float32(key, nil)
				if err != nil {
					t.Fatal(err)
				}
				for i := range w {
					if d := math.Abs(float64(got[i] - w[i])); d > 6e-8 { // below the last place of a small f16
						t.Fatalf("%s[%d] = %g, want %g", key, i, got[i], w[i])
					}
				}
			}
		})
	}
}

// The tensors give the embeddings that transformers gives.
func TestTinyEmbeddings(t *testing.T) {
	var want struct {
		IDs   [][]int `json:"input_ids"`
		Quick struct {
			Image  [][]float64 `json:"image_embeds_raw"`
			Text   [][]float64 `json:"text_embeds_raw"`
			Logits [][]float64 `json:"logits_per_image"`
		} `json:"expected_quick_gelu"`
		Exact struct {
			Image [][]float64 `json:"image_embeds"`
			Text  [][]float64 `json:"text_embeds"`
		} `json:"expected_gelu_same_weights"`
	}
	raw, err := os.ReadFile(sourcetest.Shared(t, "clip", "tiny", "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	near := func(t *testing.T, what string, got, want []float64) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%s has length %d, want %d", what, len(got), len(want))
		}
		for i := range want {
			if math.Abs(got[i]-want[i]) > 5e-6 {
				t.Errorf("%s[%d] = %g, want %g", what, i, got[i], want[i])
			}
		}
	}
	pixels := func(s int) func(c, y, x int) float64 {
		return func(c, y, x int) float64 { return float64((7*x+13*y+29*c+31*s+x*y%11)%64)/32 - 1 }
	}
	for name := range tiny {
		t.Run(name, func(t *testing.T) {
			c := open(t, sourcetest.Shared(t, "clip", "tiny", name), checkpoint.Options{})
			m := model{t, c, c.Architecture()}
			image := m.image(pixels(0))
			near(t, "image", image, want.Quick.Image[0])
			text := m.text(want.IDs[0])
			near(t, "text", text, want.Quick.Text[0])
			logit := 0.0
			for i := range image {
				logit += unit(image)[i] * unit(text)[i]
			}
			near(t, "logit", []float64{c.LogitScale() * logit}, want.Quick.Logits[0][:1])
		})
	}
	t.Run("other activation", func(t *testing.T) {
		c := open(t, sourcetest.Shared(t, "clip", "tiny", "hf"), checkpoint.Options{Activation: checkpoint.GELU})
		if a := c.Architecture(); a.ActivationFrom != "option" || a.Activation != checkpoint.GELU || a.TextActivation != checkpoint.GELU {
			t.Errorf("activation %s, %s from %s", a.Activation, a.TextActivation, a.ActivationFrom)
		}
		m := model{t, c, c.Architecture()}
		near(t, "image", unit(m.image(pixels(1))), want.Exact.Image[1])
		near(t, "text", unit(m.text(want.IDs[1])), want.Exact.Text[1])
	})
}

func unit(v []float64) []float64 {
	sum := 0.0
	for _, x := range v {
		sum += x * x
	}
	u := make([]float64, len(v))
	for i, x := range v {
		u[i] = x / math.Sqrt(sum)
	}
	return u
}

// Names of a folder's single weight file, and a file by itself with the config beside it.
func TestOpenFile(t *testing.T) {
	for _, path := range [][]string{{"hf", "model.safetensors"}, {"open_clip_pt", "epoch_3.pt"}, {"hf_sharded_bf16", "model.safetensors.index.json"}} {
		c := open(t, sourcetest.Shared(t, append([]string{"clip", "tiny"}, path...)...), checkpoint.Options{})
		if a := c.Architecture(); a.TextHeads != 3 {
			t.Errorf("%s: %d text heads, want the config's 3", filepath.Join(path...), a.TextHeads)
		}
	}
}
