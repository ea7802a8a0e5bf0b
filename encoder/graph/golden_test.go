package graph_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/encoder/graph"
)

// goldenCase is one checkpoint of testdata/golden.json with the embeddings that a library gives.
type goldenCase struct {
	Name       string
	Library    string
	By         string
	ImageSize  int
	Size       int
	Patch      int
	Width      int
	Heads      int
	Layers     int
	Stages     []int
	TextWidth  int
	TextLayers int
	TextHeads  int
	Vocabulary int
	Context    int
	Longest    int
	Dimension  int
	Activation string
	End        int
	Image      [][]float32
	Text       [][]float32
}

func (g goldenCase) architecture() checkpoint.Architecture {
	a := checkpoint.Architecture{Kind: checkpoint.ViT, ImageSize: g.ImageSize, PatchSize: g.Patch, Width: g.Width, Layers: g.Layers,
		Heads: g.Heads, MLP: 4 * g.Width, Norm: 1e-5, TextNorm: 1e-5, Activation: g.Activation, TextActivation: g.Activation,
		TextContext: g.Context, TextWidth: g.TextWidth, TextLayers: g.TextLayers, TextHeads: g.TextHeads, TextMLP: 4 * g.TextWidth,
		Vocabulary: g.Vocabulary, BOS: 98, EOS: 99, Pooling: checkpoint.PoolEnd, Dimension: g.Dimension}
	if g.End == 2 {
		a.Pooling = checkpoint.PoolLargest
	}
	if g.Stages != nil {
		a.Kind, a.Stages = checkpoint.ResNet, [4]int(g.Stages)
	}
	return a
}

// The graphs give what transformers and open_clip give: every architecture in reduced width, ViT-B/32 in full.
func TestGolden(t *testing.T) {
	raw, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []goldenCase
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 18 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, g := range cases {
		t.Run(g.Name+" by "+g.By, func(t *testing.T) {
			if g.Width == 768 && testing.Short() {
				t.Skip("600 MB of weights")
			}
			a := g.architecture()
			w := encodertest.NewFormula(a)
			size := g.Size
			if size == 0 {
				size = g.ImageSize
			}
			images, _ := runImage(t, w, a, graph.ImageOptions{Size: size, Positions: g.Library}, goldenBytes(size), 2)
			sameRows(t, "image", images, g.Image)
			sameRows(t, "text", runText(t, w, a, graph.TextOptions{}, goldenTokens(min(g.Context, g.Longest))), g.Text)
		})
	}
}

// goldenBytes are the pixels of make_golden.py, 2 × size × size × 3.
func goldenBytes(size int) []byte {
	out := make([]byte, 0, 2*3*size*size)
	for s := range 2 {
		for y := range size {
			for x := range size {
				for c := range 3 {
					out = append(out, byte(7*x+13*y+29*c+31*s+(x*y)%11+x/16*37+y/16*53))
				}
			}
		}
	}
	return out
}

// goldenTokens are the prompts of make_golden.py.
func goldenTokens(longest int) [][]int64 {
	long := []int64{98}
	for i := range longest - 2 {
		long = append(long, int64(i%90))
	}
	return [][]int64{{98, 5, 17, 3, 99}, {98, 40, 99}, {98, 2, 3, 5, 7, 11, 13, 17, 19, 23, 99}, append(long, 99)}
}
