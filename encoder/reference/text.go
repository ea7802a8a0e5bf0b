package reference

import (
	"context"
	"fmt"
	"math"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder/checkpoint"
)

// Texts returns one unit-length embedding per list of tokens.
func Texts(ctx context.Context, w Weights, a checkpoint.Architecture, ids [][]int64) ([][]float32, error) {
	t := &tower{ctx: ctx, w: w}
	width := a.TextWidth
	words := t.get("text_model.embeddings.token_embedding.weight", a.Vocabulary*width)
	positions := t.get("text_model.embeddings.position_embedding.weight", a.TextContext*width)
	x := make([]matrix, len(ids))
	for i, list := range ids {
		if len(list) == 0 || len(list) > a.TextContext {
			return nil, fmt.Errorf("reference: %d tokens, want 1 to %d: %w", len(list), a.TextContext, tilescout.ErrBadInput)
		}
		x[i] = newMatrix(len(list), width)
		for j, id := range list {
			if id < 0 || id >= int64(a.Vocabulary) {
				return nil, fmt.Errorf("reference: token %d of a vocabulary of %d: %w", id, a.Vocabulary, tilescout.ErrBadInput)
			}
			for c := range width {
				x[i].row(j)[c] = words[int(id)*width+c] + positions[j*width+c]
			}
		}
	}
	causal := func(i, j int) float64 {
		if j > i {
			return math.Inf(-1)
		}
		return 0
	}
	for i := range a.TextLayers {
		x = t.block(x, fmt.Sprintf("text_model.encoder.layers.%d", i), a.TextHeads, a.TextMLP, a.TextNorm, a.TextActivation, causal)
	}
	x = t.norm(x, "text_model.final_layer_norm", a.TextNorm)
	for i, list := range ids {
		end := 0
		for j, id := range list {
			if a.Pooling == checkpoint.PoolEnd {
				if id == int64(a.EOS) {
					end = j
					break
				}
			} else if id > list[end] {
				end = j
			}
		}
		x[i] = matrix{1, width, x[i].row(end)}
	}
	x = t.linear(x, "text_projection", a.Dimension, false)
	if t.err != nil {
		return nil, t.err
	}
	out := make([][]float32, len(ids))
	for i := range x {
		out[i] = unit(x[i].row(0))
	}
	return out, nil
}
