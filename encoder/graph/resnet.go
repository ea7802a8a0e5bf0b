package graph

import (
	"fmt"
	"math"

	"github.com/tilescout/tilescout/encoder/checkpoint"
)

// batchNormEpsilon is torch's.
const batchNormEpsilon = 1e-5

// resnet is ModifiedResNet of openai/CLIP (clip/model.py) with its batch normalisations folded into the convolutions.
// Its products stay in float32 or float16 whatever the precision.
func (b *builder) resnet(a checkpoint.Architecture, o ImageOptions) {
	const stride = 32
	side := o.Size / stride
	if side < 1 || side*stride != o.Size {
		b.fail(unsupported("size %d is no multiple of %d", o.Size, stride))
		return
	}
	// The normalisation cannot be folded into the first convolution: its padding is 0 after the normalisation.
	mean, scale := make([]float32, 3), make([]float32, 3)
	for c := range 3 {
		mean[c], scale[c] = float32(255*o.Mean[c]), float32(1/(255*o.Std[c]))
	}
	x := b.node("Cast", []string{"pixels"}, attr{"to", elemFloat})
	x = b.node("Sub", []string{x, b.floats("mean", []int{3}, mean)})
	x = b.node("Mul", []string{x, b.floats("scale", []int{3}, scale)})
	x = b.node("Transpose", []string{x}, attr{"perm", []int64{0, 3, 1, 2}})

	x = b.relu(b.convolution(x, "visual.conv1", "visual.bn1", 3, a.Width/2, 3, 2))
	x = b.relu(b.convolution(x, "visual.conv2", "visual.bn2", a.Width/2, a.Width/2, 3, 1))
	x = b.relu(b.convolution(x, "visual.conv3", "visual.bn3", a.Width/2, a.Width, 3, 1))
	x = b.averagePool(x, 2)
	in := a.Width
	for stage, blocks := range a.Stages {
		width := a.Width << stage
		for i := range blocks {
			stride := 1
			if stage > 0 && i == 0 {
				stride = 2
			}
			x = b.bottleneck(x, fmt.Sprintf("visual.layer%d.%d", stage+1, i), in, width, stride)
			in = 4 * width
		}
	}
	b.attentionPool(x, a, o, side)
}

func (b *builder) bottleneck(x, name string, in, width, stride int) string {
	y := b.relu(b.convolution(x, name+".conv1", name+".bn1", in, width, 1, 1))
	y = b.relu(b.convolution(y, name+".conv2", name+".bn2", width, width, 3, 1))
	y = b.convolution(b.averagePool(y, stride), name+".conv3", name+".bn3", width, 4*width, 1, 1)
	if b.w.Shape(name+".downsample.0.weight") != nil {
		x = b.convolution(b.averagePool(x, stride), name+".downsample.0", name+".downsample.1", in, 4*width, 1, 1)
	}
	return b.relu(b.node("Add", []string{y, x}))
}

func (b *builder) relu(x string) string { return b.node("Relu", []string{x}) }

func (b *builder) averagePool(x string, stride int) string {
	if stride == 1 {
		return x
	}
	k := []int64{int64(stride), int64(stride)}
	return b.node("AveragePool", []string{x}, attr{"kernel_shape", k}, attr{"strides", k})
}

func (b *builder) convolution(x, name, norm string, in, out, k, stride int) string {
	w, bias := b.load(name+".weight", out, in, k, k), b.load(norm+".bias", out)
	gamma, mean, variance := b.load(norm+".weight", out), b.load(norm+".running_mean", out), b.load(norm+".running_var", out)
	for o := range out {
		if b.err == nil && variance[o] < 0 {
			b.fail(fmt.Errorf("graph: tensor %s.running_var: value %d is %v, want a variance: %w", norm, o, variance[o], ErrShape))
		}
		scale := float64(gamma[o]) / math.Sqrt(float64(variance[o])+batchNormEpsilon)
		kernel := w[o*in*k*k : (o+1)*in*k*k]
		for i, v := range kernel {
			kernel[i] = float32(float64(v) * scale)
		}
		bias[o] = float32(float64(bias[o]) - float64(mean[o])*scale)
	}
	pad, step := int64(k/2), int64(stride)
	return b.node("Conv", []string{x, b.matrix(name+".weight", []int{out, in, k, k}, w), b.floats(name+".bias", []int{out}, bias)},
		attr{"kernel_shape", []int64{int64(k), int64(k)}}, attr{"pads", []int64{pad, pad, pad, pad}}, attr{"strides", []int64{step, step}})
}

// attentionPool reads the embedding from attention of the mean to all places.
func (b *builder) attentionPool(x string, a checkpoint.Architecture, o ImageOptions, side int) {
	const name = "visual.attnpool"
	width, cells := 32*a.Width, side*side
	x = b.node("Reshape", []string{x, b.ints(0, int64(width), int64(cells))})
	places := b.node("Transpose", []string{x}, attr{"perm", []int64{0, 2, 1}})
	mean := b.node("ReduceMean", []string{places, b.ints(1)}, attr{"keepdims", 1})
	x = b.node("Concat", []string{mean, places}, attr{"axis", 1})
	trained := a.ImageSize / 32
	table := b.load(name+".positional_embedding", 1+trained*trained, width)
	x = b.node("Add", []string{x, b.floats("positions", []int{1 + cells, width}, Positions(table, trained, side, width, o.Positions))})

	linear := func(which, x string, out int) string {
		p := part{name + "." + which + "_proj.weight", name + "." + which + "_proj.bias"}
		return b.linear(name+"."+which, "", x, width, out, p)
	}
	z := b.attention(linear("q", b.tokens(x, 0, 1), width), linear("k", x, width), linear("v", x, width), "", a.Heads, false)
	z = b.node("Reshape", []string{z, b.ints(0, int64(width))})
	b.unit(linear("c", z, a.Dimension), "embedding")
	b.output("embedding", "batch", a.Dimension)
	if o.Dense == DenseNone {
		return
	}
	// Of the methods only MaskCLIP's is defined here: there are no queries and keys of places.
	b.unit(linear("c", linear("v", places, width), a.Dimension), "dense")
	b.output("dense", "batch", cells, a.Dimension)
}
