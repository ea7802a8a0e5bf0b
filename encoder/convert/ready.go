package convert

import (
	"context"
	"fmt"
	"io"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/bpe"
	"github.com/tilescout/tilescout/encoder/ready"
)

// openAIScale is the logit scale at which OpenAI's models, and most that were made from them, ended: it was clamped there.
const openAIScale = 100

// Ready makes a model folder of graphs that somebody else exported, as Convert does of a checkpoint. Of Options those
// count that say something of the folder: sizes and numbers are the graphs' own.
func Ready(ctx context.Context, m *ready.Model, out string, o Options) (Report, error) {
	if o.Size != 0 || o.Precision != "" || o.Dense != "" {
		return Report{}, fmt.Errorf("convert: size, precision and dense output are decided in ready graphs: convert the checkpoint that they were made of: %w", tilescout.ErrBadInput)
	}
	return write(ctx, out, o.Check, func(dir string) (Report, error) {
		w := &writer{dir: dir, o: o}
		return w.ready(ctx, m)
	})
}

func (w *writer) ready(ctx context.Context, r *ready.Model) (Report, error) {
	resize, edge, err := resizing(r.Preprocessing, r.Size)
	if err != nil {
		return Report{}, err
	}
	w.m = encoder.Manifest{
		Format: 1, ID: w.o.ID, Title: w.o.Title, Licence: w.o.Licence, Dimension: r.Dimension, LogitScale: w.o.LogitScale,
		Image: encoder.ImageManifest{Size: r.Size, Resize: resize, Edge: edge, Filter: r.Preprocessing.Filter, Batch: r.Image.Batch},
		Text:  encoder.TextManifest{Context: r.Context, Batch: r.Text.Batch, Whole: r.Text.Length > 0},
		Made: &encoder.Made{
			Architecture: "ONNX", Format: r.Layout, Mean: r.Preprocessing.Mean, Std: r.Preprocessing.Std, Precision: r.Image.Precision,
		},
	}
	w.named("CLIP in ONNX")
	if w.m.LogitScale == 0 {
		w.m.LogitScale = openAIScale
		w.note("the graphs do not hold the logit scale: %d was taken, that of OpenAI's models; say --logit-scale where the model card has another", openAIScale)
	}
	if r.Image.Batch == 1 {
		w.note("its image tower takes one picture at a time, which is slower than batches")
	}
	if err := w.vocabulary(r.Tokenizer, func(t *bpe.Tokenizer) error { return nil }); err != nil { // the graph is asked for the largest id when it is opened
		return Report{}, err
	}
	for _, t := range []struct {
		name          string
		tower         *ready.Tower
		file, sum     *string
		input, output *string
		weights       *encoder.WeightsFile
	}{
		{"image", r.Image, &w.m.Image.File, &w.m.Image.SHA256, &w.m.Image.Input, &w.m.Image.Output, &w.m.Image.Weights},
		{"text", r.Text, &w.m.Text.File, &w.m.Text.SHA256, &w.m.Text.Input, &w.m.Text.Output, &w.m.Text.Weights},
	} {
		w.progress(t.name+" tower", 0, 1)
		*t.input, *t.output = t.tower.Names()
		err := w.tower(t.name, t.file, t.sum, t.weights, func(f io.Writer) ([]byte, error) {
			return t.tower.Write(ctx, r.Normalisation(), r.Size, f, t.weights.File)
		})
		if err != nil {
			return Report{}, err
		}
		w.progress(t.name+" tower", 1, 1)
	}
	return w.finish()
}
