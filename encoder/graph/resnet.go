package graph

import (
	"fmt"
	"math"

	"github.com/tilescout/tilescout/encoder/checkpoint"
)

// batchNormEpsilon is torch's.
const batchNormEpsilon = 1e-5

// resnet is ModifiedResNet of openai/CLIP (clip/model.py) with its batch normalisations folded into the convolutions.
// With measured ranges they run in int8; the first one, which sees three channels, and the attention that pools do not.
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
	in := b.node("Cast", []string{"pixels"}, attr{"to", elemFloat})
	in = b.node("Sub", []string{in, b.floats("mean", []int{3}, mean)})
	in = b.node("Mul", []string{in, b.floats("scale", []int{3}, scale)})
	x := &plane{float: b.node("Transpose", []string{in}, attr{"perm", []int64{0, 3, 1, 2}}), side: o.Size}

	x = b.convolution(x, "visual.conv1", "visual.bn1", kernel{3, a.Width / 2, 3, 2}, true)
	x = b.convolution(x, "visual.conv2", "visual.bn2", kernel{a.Width / 2, a.Width / 2, 3, 1}, true)
	x = b.convolution(x, "visual.conv3", "visual.bn3", kernel{a.Width / 2, a.Width, 3, 1}, true)
	x = b.averagePool(x, 2)
	channels := a.Width
	for stage, blocks := range a.Stages {
		width := a.Width << stage
		for i := range blocks {
			stride := 1
			if stage > 0 && i == 0 {
				stride = 2
			}
			x = b.bottleneck(x, fmt.Sprintf("visual.layer%d.%d", stage+1, i), channels, width, stride)
			channels = 4 * width
		}
	}
	b.attentionPool(b.asFloat(x), a, o, side)
}

func (b *builder) bottleneck(x *plane, name string, in, width, stride int) *plane {
	y := b.convolution(x, name+".conv1", name+".bn1", kernel{in, width, 1, 1}, true)
	y = b.convolution(y, name+".conv2", name+".bn2", kernel{width, width, 3, 1}, true)
	y = b.convolution(b.averagePool(y, stride), name+".conv3", name+".bn3", kernel{width, 4 * width, 1, 1}, false)
	if b.w.Shape(name+".downsample.0.weight") != nil {
		x = b.convolution(b.averagePool(x, stride), name+".downsample.0", name+".downsample.1", kernel{in, 4 * width, 1, 1}, false)
	}
	return b.sum(y, x, name+".sum", 4*width)
}

// kernel is the size of a convolution: channels in and out, pixels a side, stride.
type kernel struct{ in, out, side, stride int }

// convolution with its batch normalisation, and ReLU where relu says so.
func (b *builder) convolution(x *plane, name, norm string, k kernel, relu bool) *plane {
	w, bias := b.folded(name, norm, k)
	y := &plane{at: name, side: (x.side + k.stride - 1) / k.stride}
	pad, step := int64(k.side/2), int64(k.stride)
	attrs := []attr{
		{"kernel_shape", []int64{int64(k.side), int64(k.side)}}, {"pads", []int64{pad, pad, pad, pad}}, {"strides", []int64{step, step}},
	}
	if b.isInt8(name) && x.canQuantise(b) {
		y.bytes = b.convolveBytes(b.asBytes(x), name, w, bias, k, attrs)
		return y
	}
	y.float = b.node("Conv", []string{b.asFloat(x), b.matrix(name+".weight", []int{k.out, k.in, k.side, k.side}, w), b.floats(name+".bias", []int{k.out}, bias)}, attrs...)
	if relu {
		y.float = b.node("Relu", []string{y.float})
	}
	b.tapPlane(y, k.out)
	return y
}

// folded are a convolution's weights [out, in, side, side] and bias with its batch normalisation in them.
func (b *builder) folded(name, norm string, k kernel) (w, bias []float32) {
	w, bias = b.load(name+".weight", k.out, k.in, k.side, k.side), b.load(norm+".bias", k.out)
	gamma, mean, variance := b.load(norm+".weight", k.out), b.load(norm+".running_mean", k.out), b.load(norm+".running_var", k.out)
	n := k.in * k.side * k.side
	for o := range k.out {
		if b.err == nil && variance[o] < 0 {
			b.fail(fmt.Errorf("graph: tensor %s.running_var: value %d is %v, want a variance: %w", norm, o, variance[o], ErrShape))
		}
		scale := float64(gamma[o]) / math.Sqrt(float64(variance[o])+batchNormEpsilon)
		row := w[o*n : (o+1)*n]
		for i, v := range row {
			row[i] = float32(float64(v) * scale)
		}
		bias[o] = float32(float64(bias[o]) - float64(mean[o])*scale)
	}
	return w, bias
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
