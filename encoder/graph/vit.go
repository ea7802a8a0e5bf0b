package graph

import (
	"context"
	"fmt"
	"github.com/tilescout/tilescout/encoder/checkpoint"
	"io"
	"math"
)

// DenseMethod says how the patches of a picture are embedded beside the picture itself.
type DenseMethod string

// In the last block patches of a CLIP look at the class token and at a few others, wherever they are, so that the
// plain outputs say little of what is where. All but DenseNone leave out the last block's residual and MLP.
const (
	DenseNACLIP    DenseMethod = "naclip"    // keys attend to keys, near ones more (Hajimiri et al. 2025)
	DenseClearCLIP DenseMethod = "clearclip" // queries attend to queries (Lan et al. 2024)
	DenseMaskCLIP  DenseMethod = "maskclip"  // values as they are (Zhou et al. 2022)
	DenseNone      DenseMethod = "none"
)

// naclipSigma is the reach of DenseNACLIP's neighbourhood in patches.
const naclipSigma = 5

// ImageOptions say how the image tower is written. The zero value is the tower as it was trained, in float32.
type ImageOptions struct {
	Size      int        // pixels a side; 0 is the size of the training
	Mean, Std [3]float64 // of the channels R, G, B in 0…1; all 0 are CLIP's own
	Positions string     // how positions are interpolated for another size: transformers (default) or open_clip
	Dense     DenseMethod
	Precision Precision
	Ranges    Ranges // measured by Calibrate, for Int8Static
	Weights   string // name of the weights file beside the graph; "" is image.weights
	taps      *[]tap // Calibrate's: the inputs of products become outputs
}

// Channel statistics of the pictures that CLIP was trained with.
var (
	clipMean = [3]float64{0.48145466, 0.4578275, 0.40821073}
	clipStd  = [3]float64{0.26862954, 0.26130258, 0.27577711}
)

func (o *ImageOptions) setDefaults(a checkpoint.Architecture) {
	if o.Size == 0 {
		o.Size = a.ImageSize
	}
	if o.Mean == [3]float64{} && o.Std == [3]float64{} {
		o.Mean, o.Std = clipMean, clipStd
	}
	if o.Dense == "" {
		o.Dense = DenseNACLIP
	}
	if o.Precision == "" {
		o.Precision = Float32
	}
	if o.Weights == "" {
		o.Weights = "image.weights"
	}
}

// Image writes the image tower: its large tensors to weights, as they are read, and returns the ONNX graph that names
// them. Input "pixels": uint8 [batch, size, size, 3], RGB; outputs "embedding": float32 [batch, dimension] of unit
// length, and "dense": float32 [batch, cells, dimension] of unit length, row by row, unless o.Dense is DenseNone.
// A checkpoint that does not fit its architecture is tilescout.ErrBadInput.
func Image(ctx context.Context, w Weights, a checkpoint.Architecture, o ImageOptions, weights io.Writer) ([]byte, error) {
	if err := supported(a); err != nil {
		return nil, err
	}
	o.setDefaults(a)
	for _, s := range o.Std {
		if !(s > 0) {
			return nil, unsupported("standard deviation %v of a channel", s)
		}
	}
	b := &builder{
		file: newFile(weights, o.Weights), ctx: ctx, w: w, precision: o.Precision, ranges: o.Ranges,
		quantised: map[string][3]string{},
	}
	if o.taps != nil {
		b.tap = func(t tap, value string) { b.addTap(o.taps, t, value) }
	}
	b.input("pixels", elemUint8, "batch", o.Size, o.Size, 3)
	if a.Kind == "resnet" {
		b.resnet(a, o)
	} else {
		b.vit(a, o)
	}
	return b.finish("image tower")
}

// vit is the Vision Transformer (Dosovitskiy et al. 2021) as CLIP has it.
func (b *builder) vit(a checkpoint.Architecture, o ImageOptions) {
	p, width := a.PatchSize, a.Width
	side := o.Size / p
	if side*p != o.Size {
		b.fail(unsupported("size %d is no multiple of the patch size %d", o.Size, p))
		return
	}
	cells := side * side

	// Rows of patches: [B, side, p, side, 3p] → [B, cells, 3p²], each patch row by row, interleaved RGB.
	x := b.node("Reshape", []string{"pixels", b.ints(0, int64(side), int64(p), int64(side), int64(3*p))})
	x = b.node("Transpose", []string{x}, attr{"perm", []int64{0, 1, 3, 2, 4}})
	x = b.node("Reshape", []string{x, b.ints(0, int64(cells), int64(3*p*p))})
	matrix, bias := b.patchEmbedding(a, o)
	if r, measured := b.ranges.Inputs[patchProduct]; b.precision == Int8Static && measured && !r.Float {
		x = b.embedBytes(x, matrix, bias, o.Mean, width)
	} else { // over bytes: its values are too small for float16
		x = b.node("Cast", []string{x}, attr{"to", elemFloat})
		x = b.node("MatMul", []string{x, b.floats("patch_embedding", []int{3 * p * p, width}, matrix)})
	}

	const embeddings = "vision_model.embeddings."
	positions := b.positions(a, o, side)
	class := b.load(embeddings+"class_embedding", width)
	for i := range class {
		class[i] += positions[i]
	}
	patches := positions[width:]
	for i := range patches {
		patches[i] += bias[i%width]
	}
	x = b.node("Add", []string{x, b.floats("patch_positions", []int{cells, width}, patches)})
	batch := b.node("Shape", []string{"pixels"}, attr{"start", 0}, attr{"end", 1})
	shape := b.node("Concat", []string{batch, b.ints(1, int64(width))}, attr{"axis", 0})
	token := b.node("Expand", []string{b.floats("class_token", []int{1, 1, width}, class), shape})
	x = b.node("Concat", []string{token, x}, attr{"axis", 1})
	x = b.norm(x, "vision_model.pre_layrnorm", "", width, a.Norm)

	for i := range a.Layers - 1 {
		layer, tap := fmt.Sprintf("vision_model.encoder.layers.%d", i), fmt.Sprintf("%d", i)
		y := b.norm(x, layer+".layer_norm1", tap+".qkv", width, a.Norm)
		qkv := b.split(b.linear(layer+".self_attn.qkv", tap+".qkv", y, width, width,
			projection(layer, "q"), projection(layer, "k"), projection(layer, "v")), 3)
		y = b.attention(qkv[0], qkv[1], qkv[2], "", a.Heads, false)
		y = b.linear(layer+".self_attn.out", tap+".out", y, width, width, projection(layer, "out"))
		x = b.node("Add", []string{x, y})
		x = b.mlp(x, layer, tap, a.Activation, width, a.MLP, a.Norm)
	}
	b.lastBlock(x, a, o, side)
}

// lastBlock reads the embedding from the class token. Nothing else of the last block is needed for it than the keys and
// values of all tokens, which saves a fifteenth of the whole of ViT-B/32.
func (b *builder) lastBlock(x string, a checkpoint.Architecture, o ImageOptions, side int) {
	width, cells := a.Width, side*side
	layer, tap := fmt.Sprintf("vision_model.encoder.layers.%d", a.Layers-1), fmt.Sprintf("%d", a.Layers-1)
	y := b.norm(x, layer+".layer_norm1", tap+".qkv", width, a.Norm)
	kv := b.split(b.linear(layer+".self_attn.kv", tap+".qkv", y, width, width, projection(layer, "k"), projection(layer, "v")), 2)
	k, v := kv[0], kv[1]
	q := b.linear(layer+".self_attn.q", tap+".qkv", b.tokens(y, 0, 1), width, width, projection(layer, "q"))
	out := func(name, tap, y string) string {
		return b.linear(layer+".self_attn."+name, tap, y, width, width, projection(layer, "out"))
	}
	z := b.node("Add", []string{b.tokens(x, 0, 1), out("out", tap+".out", b.attention(q, k, v, "", a.Heads, false))})
	z = b.mlp(z, layer, tap, a.Activation, width, a.MLP, a.Norm)

	project := b.load("visual_projection.weight", a.Dimension, width)
	matrix := make([]float32, len(project))
	for d := range a.Dimension {
		for i := range width {
			matrix[i*a.Dimension+d] = project[d*width+i]
		}
	}
	embed := func(z string) string {
		z = b.norm(z, "vision_model.post_layernorm", "", width, a.Norm)
		return b.node("MatMul", []string{z, b.matrix("visual_projection", []int{width, a.Dimension}, matrix)})
	}
	z = b.node("Reshape", []string{z, b.ints(0, int64(width))})
	b.unit(embed(z), "embedding")
	b.output("embedding", "batch", a.Dimension)

	// Patches are embedded from the same keys and values.
	last := int64(math.MaxInt64)
	switch o.Dense {
	case DenseNone:
		return
	case DenseNACLIP:
		z = b.attention(b.tokens(k, 1, last), k, v, b.floats("neighbourhood", []int{cells, 1 + cells}, neighbourhood(side)), a.Heads, false)
	case DenseClearCLIP:
		q := b.linear(layer+".self_attn.q", tap+".qkv", y, width, width, projection(layer, "q"))
		z = b.attention(b.tokens(q, 1, last), q, v, "", a.Heads, false)
	case DenseMaskCLIP:
		z = b.tokens(v, 1, last)
	default:
		b.fail(unsupported("dense output %q: want naclip, clearclip, maskclip or none", o.Dense))
		return
	}
	b.unit(embed(out("out", tap+".dense", z)), "dense")
	b.output("dense", "batch", cells, a.Dimension)
}

// patchEmbedding is the first convolution as a matrix [3p², width] over bytes, with the normalisation of the channels
// folded in, and the bias that this leaves.
func (b *builder) patchEmbedding(a checkpoint.Architecture, o ImageOptions) (matrix, bias []float32) {
	p, width := a.PatchSize, a.Width
	w := b.load("vision_model.embeddings.patch_embedding.weight", width, 3, p, p)
	matrix, bias = make([]float32, len(w)), make([]float32, width)
	for v := range width {
		var sum float64
		for c := range 3 {
			scale := 1 / (255 * o.Std[c])
			for at := range p * p {
				x := float64(w[(v*3+c)*p*p+at])
				matrix[(at*3+c)*width+v] = float32(x * scale)
				sum -= x * o.Mean[c] / o.Std[c]
			}
		}
		bias[v] = float32(sum)
	}
	return matrix, bias
}

// neighbourhood is what DenseNACLIP adds to the attention of patches to tokens [cells, 1+cells]: a Gaussian of their
// distance, and nothing for the class token.
func neighbourhood(side int) []float32 {
	cells := side * side
	m := make([]float32, 0, cells*(1+cells))
	for i := range cells {
		m = append(m, 0)
		for j := range cells {
			dy, dx := float64(i/side-j/side), float64(i%side-j%side)
			m = append(m, float32(math.Exp(-(dx*dx+dy*dy)/(2*naclipSigma*naclipSigma))))
		}
	}
	return m
}
