package graph_test

import (
	"math/rand/v2"
	"testing"

	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/encoder/graph"
	"github.com/tilescout/tilescout/encoder/reference"
)

var clipMean, clipStd = [3]float64{0.48145466, 0.4578275, 0.40821073}, [3]float64{0.26862954, 0.26130258, 0.27577711}

// The architectures that are published, with fewer and narrower layers; grids, head widths and contexts are their own.
func architectures() map[string]checkpoint.Architecture {
	vit := func(size, patch, width, heads int) checkpoint.Architecture {
		return checkpoint.Architecture{Kind: checkpoint.ViT, ImageSize: size, PatchSize: patch, Width: width, Layers: 3, Heads: heads, MLP: 4 * width,
			Norm: 1e-5, TextNorm: 1e-5, Activation: checkpoint.QuickGELU, TextActivation: checkpoint.QuickGELU,
			TextContext: 77, TextWidth: 32, TextLayers: 2, TextHeads: 2, TextMLP: 128, Vocabulary: 100, BOS: 98, EOS: 99, Pooling: checkpoint.PoolLargest, Dimension: 24}
	}
	all := map[string]checkpoint.Architecture{
		"ViT-B-32": vit(224, 32, 48, 3), "ViT-B-32-256": vit(256, 32, 48, 3), "ViT-B-16": vit(224, 16, 48, 3),
		"ViT-L-14": vit(224, 14, 64, 4), "ViT-L-14-336": vit(336, 14, 16, 1), "ViT-H-14": vit(224, 14, 80, 1),
	}
	long := vit(224, 16, 48, 3)
	long.TextContext = 248
	all["LongCLIP-B"] = long
	h := all["ViT-H-14"]
	h.Activation, h.TextActivation, h.Pooling = checkpoint.GELU, checkpoint.GELU, checkpoint.PoolEnd
	all["ViT-H-14"] = h
	tanh := vit(224, 32, 48, 3)
	tanh.Activation, tanh.TextActivation = checkpoint.TanhGELU, checkpoint.TanhGELU
	all["tanh GELU"] = tanh
	rn := vit(224, 32, 8, 4)
	rn.Kind, rn.Stages, rn.Layers, rn.MLP = checkpoint.ResNet, [4]int{3, 4, 6, 3}, 0, 0
	all["RN50"] = rn
	return all
}

func TestGraphsEqualReference(t *testing.T) {
	for name, a := range architectures() {
		t.Run(name, func(t *testing.T) {
			w := encodertest.NewFormula(a)
			t.Run("image", func(t *testing.T) { compareImage(t, w, a, graph.ImageOptions{}) })
			t.Run("float16 storage", func(t *testing.T) { compareImage(t, w, a, graph.ImageOptions{Precision: graph.Float16}) })
			t.Run("text", func(t *testing.T) {
				ids := [][]int64{
					{int64(a.BOS), 5, 17, 3, int64(a.EOS)},
					{int64(a.BOS), 40, int64(a.EOS)},
					append(append([]int64{int64(a.BOS)}, make([]int64, a.TextContext-2)...), int64(a.EOS)),
					{7, 8, 9}, // no end at all
				}
				want, err := reference.Texts(t.Context(), w, a, ids)
				if err != nil {
					t.Fatal(err)
				}
				// Without an end token it counts where the padding ends, so that prompt runs alone.
				sameRows(t, "text", runText(t, w, a, graph.TextOptions{}, ids[:3]), want[:3])
				sameRows(t, "text without end", runText(t, w, a, graph.TextOptions{}, ids[3:]), want[3:])
			})
		})
	}
}

// Position embeddings are interpolated for other sizes, in two ways.
func TestOtherSizes(t *testing.T) {
	all := architectures()
	for _, c := range []struct {
		name, positions string
		size            int
	}{
		{"ViT-B-32", "transformers", 288}, {"ViT-B-32", "transformers", 128}, {"ViT-B-32", "open_clip", 288}, {"ViT-B-32", "open_clip", 128},
		{"ViT-L-14", "open_clip", 336}, {"RN50", "open_clip", 128},
	} {
		a := all[c.name]
		compareImage(t, encodertest.NewFormula(a), a, graph.ImageOptions{Size: c.size, Positions: c.positions})
	}
}

func compareImage(t *testing.T, w encodertest.Formula, a checkpoint.Architecture, o graph.ImageOptions) {
	t.Helper()
	size := o.Size
	if size == 0 {
		size = a.ImageSize
	}
	n := 2
	if size/a.PatchSize > 10 { // the reference is slow
		n = 1
	}
	rng := rand.New(rand.NewPCG(1, 2))
	pixels := make([]byte, n*3*size*size)
	inputs := make([][]float32, n)
	for i := range inputs {
		inputs[i] = make([]float32, 3*size*size)
	}
	for i := range pixels {
		pixels[i] = byte(rng.IntN(256))
		picture, p, c := i/(3*size*size), i/3%(size*size), i%3
		inputs[picture][c*size*size+p] = float32((float64(pixels[i])/255 - clipMean[c]) / clipStd[c])
	}
	want, err := reference.Images(t.Context(), w, a, size, o.Positions, inputs)
	if err != nil {
		t.Fatal(err)
	}
	got, dense := runImage(t, w, a, o, pixels, n)
	patches := rows(dense, a.Dimension)
	for i, p := range want {
		least, most := .99999, 1e-4
		if o.Precision == graph.Float16 {
			least, most = .9999, .01
		}
		nearRows(t, "image", got[i:i+1], [][]float32{p.Embedding}, least, most)
		nearRows(t, "patches", patches[i*len(p.Patches):(i+1)*len(p.Patches)], p.Patches, least, most)
	}
}
