package graph

import (
	"context"
	"fmt"
	"github.com/tilescout/tilescout/encoder/checkpoint"
	"io"
)

// TextOptions say how the text tower is written.
type TextOptions struct {
	Precision Precision // Float32 or Float16
	Weights   string    // name of the weights file beside the graph; "" is text.weights
}

// Text writes the text tower as Image does the image tower. Input "tokens": int64 [batch, length], of any length up to
// the context, each prompt with its end token, whatever follows it; output "embedding": float32 [batch, dimension] of
// unit length. Attention is causal, so nothing behind the end token counts and prompts need not be padded to the context.
func Text(ctx context.Context, w Weights, a checkpoint.Architecture, o TextOptions, weights io.Writer) ([]byte, error) {
	if err := supported(a); err != nil {
		return nil, err
	}
	if o.Weights == "" {
		o.Weights = "text.weights"
	}
	b := &builder{file: newFile(weights, o.Weights), ctx: ctx, w: w, precision: o.Precision}
	b.input("tokens", elemInt64, "batch", "length")
	width := a.TextWidth

	const embeddings = "text_model.embeddings."
	words := b.load(embeddings+"token_embedding.weight", a.Vocabulary, width)
	var x string
	if b.precision == Float16 && fitsHalf(words) { // only the rows in use are widened
		x = b.node("Gather", []string{b.halves("token_embedding", []int{a.Vocabulary, width}, words), "tokens"}, attr{"axis", 0})
		x = b.node("Cast", []string{x}, attr{"to", elemFloat})
	} else {
		x = b.node("Gather", []string{b.floats("token_embedding", []int{a.Vocabulary, width}, words), "tokens"}, attr{"axis", 0})
	}
	positions := b.matrix("positions", []int{a.TextContext, width}, b.load(embeddings+"position_embedding.weight", a.TextContext, width))
	length := b.node("Shape", []string{"tokens"}, attr{"start", 1}, attr{"end", 2})
	x = b.node("Add", []string{x, b.node("Slice", []string{positions, b.ints(0), length, b.ints(0)})})

	for i := range a.TextLayers {
		layer := fmt.Sprintf("text_model.encoder.layers.%d", i)
		y := b.norm(x, layer+".layer_norm1", "", width, a.TextNorm)
		qkv := b.split(b.linear(layer+".self_attn.qkv", "", y, width, width,
			projection(layer, "q"), projection(layer, "k"), projection(layer, "v")), 3)
		y = b.attention(qkv[0], qkv[1], qkv[2], "", a.TextHeads, true)
		x = b.node("Add", []string{x, b.linear(layer+".self_attn.out", "", y, width, width, projection(layer, "out"))})
		y = b.norm(x, layer+".layer_norm2", "", width, a.TextNorm)
		y = b.linear(layer+".mlp.fc1", "", y, width, a.TextMLP, part{layer + ".mlp.fc1.weight", layer + ".mlp.fc1.bias"})
		y = b.activation(a.TextActivation, y)
		y = b.linear(layer+".mlp.fc2", "", y, a.TextMLP, width, part{layer + ".mlp.fc2.weight", layer + ".mlp.fc2.bias"})
		x = b.node("Add", []string{x, y})
	}
	x = b.node("GatherND", []string{x, b.end(a)}, attr{"batch_dims", 1})
	x = b.norm(x, "text_model.final_layer_norm", "", width, a.TextNorm)
	project := b.load("text_projection.weight", a.Dimension, width)
	matrix := make([]float32, len(project))
	for d := range a.Dimension {
		for i := range width {
			matrix[i*a.Dimension+d] = project[d*width+i]
		}
	}
	x = b.node("MatMul", []string{x, b.matrix("text_projection", []int{width, a.Dimension}, matrix)})
	b.unit(x, "embedding")
	b.output("embedding", "batch", a.Dimension)
	return b.finish("text tower")
}

// end is the position of the end token, [batch, 1]. openai/CLIP takes the largest token, and so does transformers for
// models whose config has the end token 2; for others it takes the first that equals the end token. Of equals ArgMax
// takes the first, and position 0 where no token is the end, as they do.
func (b *builder) end(a checkpoint.Architecture) string {
	x := "tokens"
	if a.Pooling == checkpoint.PoolEnd {
		x = b.node("Equal", []string{x, b.ints(int64(a.EOS))})
	}
	x = b.node("Cast", []string{x}, attr{"to", elemInt32})
	return b.node("ArgMax", []string{x}, attr{"axis", 1}, attr{"keepdims", 1})
}
