package convert

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"image"
	"image/png"
	"math"
	"strings"

	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/bpe"
	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/encoder/reference"
)

// GoldenFile is what verify holds a model folder against: embeddings that the reference computed from the checkpoint.
const GoldenFile = "golden.json"

// Golden is the content of golden.json.
type Golden struct {
	Images []GoldenImage `json:"images"`
	Texts  []GoldenText  `json:"texts"`
}

// GoldenImage is a picture with what the reference makes of it.
type GoldenImage struct {
	PNG       []byte      `json:"png"`
	Pixels    string      `json:"pixels"` // SHA-256 of the tower's input, size × size × 3 bytes
	Embedding []float32   `json:"embedding"`
	Dense     [][]float32 `json:"dense,omitempty"` // of the first and the last cell
}

// GoldenText is a prompt with its tokens and what the reference makes of them.
type GoldenText struct {
	Prompt    string    `json:"prompt"`
	Tokens    []int64   `json:"tokens"`
	Embedding []float32 `json:"embedding"`
}

// goldenPrompts hold what tokenizers and towers trip over: contractions, digits, marks, other scripts, length.
var goldenPrompts = []string{
	"a photo of a stadium", "it's the church's roof, 2024", "forêt près de l'étang 森林", "storage tanks beside a river and a very long road that leads to the harbor with many boats in it",
}

// manyProducts is the number of multiplications beyond which one picture has to do: the reference is slow.
const manyProducts = 40e9

// golden writes golden.json.
func (w *writer) golden(ctx context.Context) error {
	w.progress("reference", 0, 1)
	g, err := NewGolden(ctx, w.c, w.m, func(prompt string) ([]int64, error) {
		return Tokens(w.tokenizer, prompt, w.a.TextContext), nil
	})
	if err != nil {
		return err
	}
	if !w.defaultDense() {
		for i := range g.Images {
			g.Images[i].Dense = nil
		}
	}
	w.progress("reference", 1, 1)
	data, err := json.Marshal(g)
	if err != nil {
		return err
	}
	return w.file(GoldenFile, append(data, '\n'))
}

// NewGolden computes what a model with such a manifest should give, from its checkpoint. tokens is its tokenizer.
func NewGolden(ctx context.Context, c *checkpoint.Checkpoint, m encoder.Manifest, tokens func(prompt string) ([]int64, error)) (Golden, error) {
	g, a := Golden{}, c.Architecture()
	if err := goldenImages(ctx, &g, c, m); err != nil {
		return g, err
	}
	var ids [][]int64
	for _, prompt := range goldenPrompts {
		list, err := tokens(prompt)
		if err != nil {
			return g, err
		}
		g.Texts = append(g.Texts, GoldenText{Prompt: prompt, Tokens: list})
		ids = append(ids, list)
	}
	texts, err := reference.Texts(ctx, c, a, ids)
	for i := range texts {
		g.Texts[i].Embedding = texts[i]
	}
	return g, err
}

// Tokens of a prompt, cut at context.
func Tokens(t *bpe.Tokenizer, prompt string, context int) []int64 {
	list, _ := t.Encode(prompt, context)
	ids := make([]int64, len(list))
	for i, id := range list {
		ids[i] = int64(id)
	}
	return ids
}

func goldenImages(ctx context.Context, g *Golden, c *checkpoint.Checkpoint, m encoder.Manifest) error {
	a, size := c.Architecture(), m.Image.Size
	shapes := [][2]int{{size, size}, {300, 200}}
	if tokens := float64(size/a.PatchSize) * float64(size/a.PatchSize); tokens*float64(a.Width)*float64(a.Width)*12*float64(a.Layers) > manyProducts {
		shapes = shapes[1:]
	}
	var inputs [][]float32
	way := reference.Resize{Size: size, Edge: m.Image.Edge, Mode: m.Image.Resize, Filter: m.Image.Filter}
	p := c.Preprocessing()
	for i, s := range shapes {
		picture := drawing(s[0], s[1], uint32(i+1))
		var file bytes.Buffer
		if err := png.Encode(&file, picture); err != nil {
			return err
		}
		pixels, err := way.Pixels(picture)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(pixels)
		g.Images = append(g.Images, GoldenImage{PNG: file.Bytes(), Pixels: hex.EncodeToString(sum[:])})
		input := make([]float32, len(pixels))
		for j, v := range pixels {
			channel, at := j%3, j/3
			input[channel*size*size+at] = float32((float64(v)/255 - p.Mean[channel]) / p.Std[channel])
		}
		inputs = append(inputs, input)
	}
	pictures, err := reference.Images(ctx, c, a, size, positionsOf(c), inputs)
	if err != nil {
		return err
	}
	for i, p := range pictures {
		g.Images[i].Embedding = p.Embedding
		if m.Image.Dense != "" {
			g.Images[i].Dense = [][]float32{p.Patches[0], p.Patches[len(p.Patches)-1]}
		}
	}
	return nil
}

// positionsOf is the way in which the library that a checkpoint comes from interpolates position embeddings.
func positionsOf(c *checkpoint.Checkpoint) string {
	if strings.HasPrefix(c.Format(), "open_clip") {
		return "open_clip"
	}
	return "transformers"
}

// drawing is a picture of blocks of colour on slopes, whose size and seed say all of it.
func drawing(width, height int, seed uint32) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			h := (uint32(x/16)*2654435761 + uint32(y/16)*40503 + seed*97) * 2246822519
			h ^= h >> 13
			at := m.Pix[m.PixOffset(x, y):][:4:4]
			at[0] = byte((int(h&255) + x*255/width) / 2)
			at[1] = byte((int(h>>8&255) + y*255/height) / 2)
			at[2] = byte((int(h>>16&255) + int(127*(1+math.Sin(float64(x+y)/9)))) / 2)
			at[3] = 255
		}
	}
	return m
}
