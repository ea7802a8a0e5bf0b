package convert_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/encoder/convert"
	"github.com/tilescout/tilescout/encoder/encodertest"
)

// smallCLIP has CLIP's vocabulary and little else of its size.
func smallCLIP() checkpoint.Architecture {
	return checkpoint.Architecture{Kind: checkpoint.ViT, ImageSize: 32, PatchSize: 8, Width: 32, Layers: 2, Heads: 2, MLP: 64, Norm: 1e-5, TextNorm: 1e-5,
		Activation: checkpoint.QuickGELU, TextActivation: checkpoint.QuickGELU, TextContext: 77, TextWidth: 16, TextLayers: 2, TextHeads: 2, TextMLP: 32,
		Vocabulary: 49408, BOS: 49406, EOS: 49407, Pooling: checkpoint.PoolLargest, Dimension: 16}
}

// A checkpoint that has CLIP's vocabulary but brings no file of it, as bare weight files do, gets the embedded one.
func TestConvertWithoutVocabulary(t *testing.T) {
	library := encodertest.Library(t)
	src, dir := t.TempDir(), filepath.Join(t.TempDir(), "out")
	encodertest.NewFormula(smallCLIP()).WriteFolder(t, src)
	if err := os.Remove(filepath.Join(src, "merges.txt")); err != nil {
		t.Fatal(err)
	}
	if _, err := convert.Convert(t.Context(), open(t, src), dir, convert.Options{ID: "small"}); err != nil {
		t.Fatal(err)
	}
	e, err := encoder.Open(t.Context(), encoder.Options{Model: dir, Library: library})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	got, err := e.Tokens("a photo of a stadium")
	if want := []int64{49406, 320, 1125, 539, 320, 3390, 49407}; err != nil || !slices.Equal(got, want) {
		t.Errorf("Tokens = %v, %v, want %v", got, err, want)
	}
}
