package graph

import (
	"context"
	"fmt"
	"io"

	"github.com/tilescout/tilescout/encoder/checkpoint"
)

// Products writes only the matrix products of an image tower, in their sizes and their order: what the tower cannot be
// faster than. Its output is one number for each value of the last product.
func Products(ctx context.Context, w Weights, a checkpoint.Architecture, o ImageOptions, weights io.Writer) ([]byte, error) {
	o.setDefaults(a)
	b := &builder{file: newFile(weights, o.Weights), ctx: ctx, w: w, precision: o.Precision, ranges: o.Ranges, quantised: map[string][3]string{}}
	b.input("pixels", elemUint8, "batch", o.Size, o.Size, 3)
	width, p := a.Width, a.PatchSize
	side := o.Size / p
	x := b.node("Reshape", []string{"pixels", b.ints(0, int64(side*side), int64(3*p*p))})
	matrix, bias := b.patchEmbedding(a, o)
	if _, ok := o.Ranges.Inputs[patchProduct]; ok {
		x = b.embedBytes(x, matrix, bias, o.Mean, width)
	} else {
		x = b.node("Cast", []string{x}, attr{"to", elemFloat})
		x = b.node("MatMul", []string{x, b.floats("patch_embedding", []int{3 * p * p, width}, matrix)})
	}
	x = b.node("Concat", []string{b.tokens(x, 0, 1), x}, attr{"axis", 1})
	first := func(x string, n int) string {
		return b.node("Slice", []string{x, b.ints(0), b.ints(int64(n)), b.ints(2)})
	}
	for i := range a.Layers {
		layer, tap := fmt.Sprintf("vision_model.encoder.layers.%d", i), fmt.Sprint(i)
		if i == a.Layers-1 {
			kv := b.linear(layer+".kv", tap+".qkv", x, width, width, projection(layer, "k"), projection(layer, "v"))
			x = b.node("Add", []string{b.tokens(first(kv, width), 0, 1), b.linear(layer+".q", tap+".qkv", b.tokens(x, 0, 1), width, width, projection(layer, "q"))})
		} else {
			x = first(b.linear(layer+".qkv", tap+".qkv", x, width, width, projection(layer, "q"), projection(layer, "k"), projection(layer, "v")), width)
		}
		x = b.linear(layer+".out", tap+".out", x, width, width, projection(layer, "out"))
		x = b.linear(layer+".fc1", tap+".fc1", x, width, a.MLP, part{layer + ".mlp.fc1.weight", layer + ".mlp.fc1.bias"})
		x = b.linear(layer+".fc2", tap+".fc2", x, a.MLP, width, part{layer + ".mlp.fc2.weight", layer + ".mlp.fc2.bias"})
	}
	x = b.node("Reshape", []string{x, b.ints(0, int64(width))})
	x = b.node("MatMul", []string{x, b.floats("projection", []int{width, a.Dimension}, make([]float32, width*a.Dimension))})
	b.rename(x, "embedding")
	b.output("embedding", "batch", a.Dimension)
	return b.finish("products")
}
