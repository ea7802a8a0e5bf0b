package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"image/png"
	"math"
	"slices"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/convert"
	"github.com/tilescout/tilescout/encoder/graph"
	"github.com/tilescout/tilescout/encoder/reference"
)

const again = "the graph does not compute what the checkpoint says: convert it again with this version, and report it if it stays"

func (f *folder) images(ctx context.Context) error {
	if len(f.golden.Images) == 0 {
		f.add("image tower", Skip, "say --against CHECKPOINT", "nothing to compare with")
		return nil
	}
	least := 1.
	for _, g := range f.golden.Images {
		rows, err := f.e.Images(ctx, []tilescout.Picture{{Data: g.PNG, MediaType: tilescout.PNG}}, encoder.Interactive)
		if err != nil {
			f.add("image tower", Fail, again, "does not run: %v", err)
			return ctx.Err()
		}
		least = min(least, cosine(rows[0], g.Embedding))
	}
	f.compare("image tower", least, f.limit(false), "%d pictures", len(f.golden.Images))
	return nil
}

func (f *folder) compare(name string, least, limit float64, what string, args ...any) {
	result := Pass
	if !(least >= limit) {
		result = Fail
	}
	f.add(name, result, again, "%s: cosine to %s %.6f or more, want %g", fmt.Sprintf(what, args...), f.from, least, limit)
}

func (f *folder) dense(ctx context.Context) error {
	if f.m.Image.Dense == "" || len(f.golden.Images) == 0 || len(f.golden.Images[0].Dense) != 2 {
		return nil
	}
	d, err := encoder.OpenDense(ctx, f.o.Encoder)
	if err != nil {
		f.add("dense output", Fail, again, "does not run: %v", err)
		return ctx.Err()
	}
	defer d.Close()
	least := 1.
	for _, g := range f.golden.Images {
		cells, err := d.Cells(ctx, []tilescout.Picture{{Data: g.PNG, MediaType: tilescout.PNG}})
		if err != nil || len(g.Dense) != 2 {
			f.add("dense output", Fail, again, "does not run: %v", err)
			return ctx.Err()
		}
		least = min(least, cosine(cells[0][0], g.Dense[0]), cosine(cells[0][len(cells[0])-1], g.Dense[1]))
	}
	limit := f.limit(false)
	if limit < .99 { // the int8 gate knows nothing of cells
		limit = .9
	}
	f.compare("dense output", least, limit, "first and last of %d × %d cells", d.Side(), d.Side())
	return nil
}

// batches: an embedding that depends on its batch mates cannot be kept.
func (f *folder) batches(ctx context.Context) error {
	var pictures []tilescout.Picture
	for i := range 8 {
		var b bytes.Buffer
		if err := png.Encode(&b, drawing(64+9*i, 64, uint32(i), i == 5)); err != nil {
			return err
		}
		pictures = append(pictures, tilescout.Picture{Data: b.Bytes(), MediaType: tilescout.PNG})
	}
	together, err := f.e.Images(ctx, pictures, encoder.Background)
	if err != nil {
		f.add("batches", Fail, again, "%v", err)
		return ctx.Err()
	}
	least, near := 1., -1.
	for i, p := range pictures {
		alone, err := f.e.Images(ctx, []tilescout.Picture{p}, encoder.Interactive)
		if err != nil {
			f.add("batches", Fail, again, "%v", err)
			return ctx.Err()
		}
		least = min(least, cosine(alone[0], together[i]))
		if i > 0 {
			near = max(near, cosine(together[0], together[i]))
		}
	}
	switch {
	case near > .99999:
		f.add("batches", Fail, "the weights are damaged: get the checkpoint again", "different pictures have the same embedding")
	case least < .9999 && f.m.Made != nil && f.m.Made.Precision == string(graph.Int8Dynamic):
		f.add("batches", Warn, "convert with --int8 instead: its ranges are fixed", "an embedding depends on its batch: cosine %.5f alone and among others, as int8-dynamic has it", least)
	case least < .9999:
		f.add("batches", Fail, again, "an embedding depends on its batch: cosine %.5f alone and among others", least)
	default:
		f.pass("batches", "8 pictures together and alone: cosine %.6f or more", least)
	}
	return nil
}

func (f *folder) texts(ctx context.Context) error {
	if len(f.golden.Texts) == 0 {
		f.add("text tower", Skip, "say --against CHECKPOINT", "nothing to compare with")
		return nil
	}
	least := 1.
	for _, g := range f.golden.Texts {
		texts, err := f.e.Texts(ctx, []string{g.Prompt})
		if err != nil {
			f.add("text tower", Fail, again, "does not run: %v", err)
			return ctx.Err()
		}
		least = min(least, cosine(texts[0].Embedding, g.Embedding))
	}
	f.compare("text tower", least, f.limit(true), "%d prompts", len(f.golden.Texts))
	return nil
}

// preprocessing holds the fast resize against the plain one, byte by byte.
func (f *folder) preprocessing(ctx context.Context) error {
	m := f.m.Image
	way := reference.Resize{Size: m.Size, Edge: m.Edge, Mode: m.Resize, Filter: m.Filter}
	sizes := [][2]int{{m.Size, m.Size}, {256, 256}, {512, 512}, {640, 427}, {227, 224}, {97, 301}}
	for i, s := range sizes {
		if err := ctx.Err(); err != nil {
			return err
		}
		picture := drawing(s[0], s[1], uint32(i), false)
		var b bytes.Buffer
		if err := png.Encode(&b, picture); err != nil {
			return err
		}
		got, err := encoder.Pixels(m, b.Bytes())
		if err != nil {
			return err
		}
		want, err := way.Pixels(picture)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			f.add("preprocessing", Fail, "report it with the processor of this machine", "a picture of %d × %d gives other bytes than the plain resize", s[0], s[1])
			return nil
		}
	}
	for i, g := range f.golden.Images {
		if g.Pixels == "" {
			continue
		}
		got, err := encoder.Pixels(m, g.PNG)
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(got); hex.EncodeToString(sum[:]) != g.Pixels {
			f.add("preprocessing", Fail, "model.json names another way of resizing than the model was made with: convert it again", "golden picture %d gives other bytes", i+1)
			return nil
		}
	}
	detail := fmt.Sprintf("%s, %s to %d pixels", m.Resize, m.Filter, m.Size)
	if made := f.m.Made; made != nil {
		detail += fmt.Sprintf("; mean %.4g, deviation %.4g", made.Mean, made.Std)
	}
	f.pass("preprocessing", "%s; %d sizes give the bytes of the plain resize", detail, len(sizes))
	return nil
}

func (f *folder) tokenizer(ctx context.Context) error {
	n := 0
	for _, g := range f.golden.Texts {
		if len(g.Tokens) == 0 || f.m.Text.Tokenizer != "bpe" {
			continue
		}
		got, err := f.e.Tokens(g.Prompt)
		if err != nil || !slices.Equal(got, g.Tokens[:min(len(got), len(g.Tokens))]) {
			f.add("tokenizer", Fail, "the vocabulary in the folder is not the one that it was made with: convert it again", "%q gives %v, want %v", g.Prompt, got, g.Tokens)
			return nil
		}
		n++
	}
	// Ids that every vocabulary of CLIP's usual size has: others are another model's.
	if f.m.Text.Tokenizer == "bpe" {
		if got, err := f.e.Tokens("a photo of a stadium"); err == nil && got[0] == 49406 {
			if want := []int64{49406, 320, 1125, 539, 320, 3390, 49407}; !slices.Equal(got, want) {
				f.add("tokenizer", Fail, "take vocab.json and merges.txt of openai/clip-vit-base-patch32", "\"a photo of a stadium\" gives %v, want %v", got, want)
				return nil
			}
			n++
		}
	}
	if n == 0 {
		f.add("tokenizer", Skip, "", "%s; nothing to compare with", f.m.Text.Tokenizer)
		return nil
	}
	f.pass("tokenizer", "%s; %d texts give the tokens that they should", f.m.Text.Tokenizer, n)
	return nil
}

func (f *folder) activation(context.Context) error {
	made := f.m.Made
	if made == nil || made.Activation == "" { // it is in the graph, as somebody else exported it
		return nil
	}
	if made.ActivationFrom == "guess" {
		f.add("activation", Warn, "look up what the model was trained with and convert with --activation quick_gelu or gelu", "%s was guessed: the checkpoint does not say", made.Activation)
		return nil
	}
	if c := f.o.Checkpoint; c != nil && c.Architecture().Activation != made.Activation {
		f.add("activation", Fail, "convert it again", "%s, but the checkpoint says %s", made.Activation, c.Architecture().Activation)
		return nil
	}
	f.pass("activation", "%s, from the %s", made.Activation, made.ActivationFrom)
	return nil
}

func (f *folder) int8(context.Context) error {
	if f.m.Made == nil || f.m.Made.Int8 == nil {
		return nil
	}
	q := f.m.Made.Int8
	detail := fmt.Sprintf("on %d pictures: mean cosine to float %.4f, least %.4f", q.Pictures, q.Cosine, q.Least)
	if q.Neighbours > 0 {
		detail += fmt.Sprintf(", %.1f %% of neighbours stay", 100*q.Neighbours)
	}
	if len(q.Float) > 0 {
		detail += fmt.Sprintf("; %d products stay in float", len(q.Float))
	}
	switch {
	case f.m.Made.Precision != string(graph.Int8Static):
		f.add("int8", Warn, "it was given up for float at the conversion: calibrate on more of your own tiles", "%s", detail)
	case !convert.Passes(q):
		f.add("int8", Fail, "convert without --int8, or calibrate on your own tiles", "%s", detail)
	case q.Neighbours == 0:
		f.add("int8", Warn, "calibrate on 50 or more of your own tiles", "%s; too few to count neighbours", detail)
	default:
		f.pass("int8", "%s", detail)
	}
	return nil
}

func (f *folder) scale(context.Context) error {
	if c := f.o.Checkpoint; c != nil && math.Abs(c.LogitScale()/f.m.LogitScale-1) > 1e-4 {
		f.add("logit scale", Fail, fmt.Sprintf("convert again; ready ONNX graphs with --logit-scale %.6g", c.LogitScale()),
			"%.4g, but the checkpoint has %.4g: probabilities of labels depend on it", f.m.LogitScale, c.LogitScale())
		return nil
	}
	if s := f.m.LogitScale; s < 1 || s > 101 {
		f.add("logit scale", Warn, "compare with the model card: probabilities of labels depend on it", "%.4g is outside 1…100", s)
		return nil
	}
	f.pass("logit scale", "%.4g", f.m.LogitScale)
	return nil
}

// drawing is a picture of slopes and blocks; bright makes one that stands out in a batch.
func drawing(width, height int, seed uint32, bright bool) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			h := (uint32(x/7)*40503 + uint32(y/9)*2654435761 + seed*7919) * 2246822519
			h ^= h >> 15
			at := m.Pix[m.PixOffset(x, y):][:4:4]
			at[0], at[1], at[2], at[3] = byte(h), byte(h>>8)/2+byte(x*127/width), byte(h>>16)/2+byte(y*127/height), 255
			if bright {
				at[0], at[1], at[2] = 255, 255-at[1]/8, 255
			}
		}
	}
	return m
}

func cosine(a, b []float32) float64 {
	if len(a) != len(b) {
		return math.NaN()
	}
	var ab, aa, bb float64
	for i := range a {
		ab += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	return ab / math.Sqrt(aa*bb)
}
