package graph

import (
	"encoding/binary"
	"math"
)

// Precision says how the matrices of a tower are stored and multiplied.
type Precision string

const (
	Float32     Precision = "fp32"
	Float16     Precision = "fp16"         // half the file; computes in float32
	Int8Static  Precision = "int8"         // activations in ranges measured beforehand
	Int8Dynamic Precision = "int8-dynamic" // ranges measured in each run: a picture's result depends on its batch
)

// part is one matrix of a product, in torch's layout [out, in], with its bias; bias may be "".
type part struct{ weight, bias string }

// linear multiplies x [.., in] by parts stacked along their outputs. at names x for its measured range; with "" the
// product stays in float.
func (b *builder) linear(name, at, x string, in, out int, parts ...part) string {
	n := out * len(parts)
	matrix, bias := make([]float32, in*n), make([]float32, n)
	for i, p := range parts {
		w := b.load(p.weight, out, in)
		for o := range out {
			for j, v := range w[o*in : (o+1)*in] {
				matrix[j*n+i*out+o] = v
			}
		}
		if p.bias != "" {
			copy(bias[i*out:], b.load(p.bias, out))
		}
	}
	if b.tap != nil && at != "" {
		b.tap(tap{name: at, channels: in, out: out, parts: parts}, x)
	}
	return b.product(name, at, x, matrix, bias, in, n)
}

// product multiplies x [.., in] by matrix [in, n] and adds bias [n].
func (b *builder) product(name, tap, x string, matrix, bias []float32, in, n int) string {
	r, measured := b.ranges.Inputs[tap]
	switch {
	case b.precision == Int8Static && tap != "" && measured && !r.Float:
		b.unsmooth(tap, matrix, n)
		return b.static(name, tap, x, matrix, bias, in, n)
	case b.precision == Int8Dynamic && tap != "":
		return b.dynamic(name, x, matrix, bias, in, n)
	}
	if b.precision == Int8Static && tap != "" {
		b.unsmooth(tap, matrix, n) // a norm may be smoothed for the sake of another product
	}
	y := b.node("MatMul", []string{x, b.matrix(name+".weight", []int{in, n}, matrix)})
	return b.node("Add", []string{y, b.floats(name+".bias", []int{n}, bias)})
}

// matrix adds a constant in the storage of the tower.
func (b *builder) matrix(name string, dims []int, v []float32) string {
	if b.precision != Float16 || !fitsHalf(v) {
		return b.floats(name, dims, v)
	}
	return b.node("Cast", []string{b.halves(name, dims, v)}, attr{"to", elemFloat})
}

func (b *builder) halves(name string, dims []int, v []float32) string {
	raw := make([]byte, 0, 2*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint16(raw, halfOf(x))
	}
	return b.tensor(name, elemFloat16, dims, raw)
}

// norm is layer normalisation; smooth names the products behind it whose channels it may even out.
func (b *builder) norm(x, name, smooth string, width int, epsilon float64) string {
	gamma, beta := b.load(name+".weight", width), b.load(name+".bias", width)
	if b.precision == Int8Static && smooth != "" {
		if s := b.ranges.Inputs[smooth].Smooth; len(s) == width {
			for i := range gamma {
				gamma[i] /= s[i]
				beta[i] /= s[i]
			}
		}
	}
	weight, bias := b.floats(name+".weight", []int{width}, gamma), b.floats(name+".bias", []int{width}, beta)
	if b.precision == Float16 { // what accelerators are given, which have a kernel for it
		return b.node("LayerNormalization", []string{x, weight, bias}, attr{"axis", -1}, attr{"epsilon", float32(epsilon)})
	}
	// ONNX Runtime's own operator sums value by value on a CPU; these, which it leaves as they are, take a sixth of its
	// time, 6 % of an int8 ViT-B/32.
	d := b.node("Sub", []string{x, b.node("ReduceMean", []string{x, b.ints(-1)}, attr{"keepdims", 1})})
	variance := b.node("ReduceMean", []string{b.node("Mul", []string{d, d}), b.ints(-1)}, attr{"keepdims", 1})
	scale := b.node("Reciprocal", []string{b.node("Sqrt", []string{b.node("Add", []string{variance, b.scalar(float32(epsilon))})})})
	y := b.node("Mul", []string{b.node("Mul", []string{d, scale}), weight})
	return b.node("Add", []string{y, bias})
}

func (b *builder) activation(kind, x string) string {
	switch kind {
	case "gelu":
		return b.node("Gelu", []string{x}, attr{"approximate", "none"})
	case "gelu_tanh":
		return b.node("Gelu", []string{x}, attr{"approximate", "tanh"})
	}
	// ONNX Runtime makes one operator of these.
	return b.node("Mul", []string{x, b.node("Sigmoid", []string{b.node("Mul", []string{x, b.scalar(1.702)})})})
}

// attention over heads; mask may be "".
func (b *builder) attention(q, k, v, mask string, heads int, causal bool) string {
	in := []string{q, k, v}
	if mask != "" {
		in = append(in, mask)
	}
	attrs := []attr{{"q_num_heads", heads}, {"kv_num_heads", heads}}
	if causal {
		attrs = append(attrs, attr{"is_causal", 1})
	}
	return b.node("Attention", in, attrs...)
}

// split cuts the last axis into n equal parts.
func (b *builder) split(x string, n int) []string {
	return b.nodeN("Split", "", []string{x}, n, attr{"axis", -1}, attr{"num_outputs", n})
}

// tokens keeps the tokens [from, to) of x [batch, tokens, width].
func (b *builder) tokens(x string, from, to int64) string {
	return b.node("Slice", []string{x, b.ints(from), b.ints(to), b.ints(1)})
}

// unit scales the last axis to unit length and names the result.
func (b *builder) unit(x, name string) {
	length := b.node("ReduceL2", []string{x, b.ints(-1)}, attr{"keepdims", 1})
	b.rename(b.node("Div", []string{x, length}), name)
}

// mlp is the second half of a transformer block.
func (b *builder) mlp(x, layer, tap, kind string, width, hidden int, epsilon float64) string {
	y := b.norm(x, layer+".layer_norm2", tap+".fc1", width, epsilon)
	h := b.linear(layer+".mlp.fc1", tap+".fc1", y, width, hidden, part{layer + ".mlp.fc1.weight", layer + ".mlp.fc1.bias"})
	h = b.activation(kind, h)
	h = b.linear(layer+".mlp.fc2", tap+".fc2", h, hidden, width, part{layer + ".mlp.fc2.weight", layer + ".mlp.fc2.bias"})
	return b.node("Add", []string{x, h})
}

// projections of a block's attention.
func projection(layer, name string) part {
	return part{layer + ".self_attn." + name + "_proj.weight", layer + ".self_attn." + name + "_proj.bias"}
}

// fitsHalf says whether all values can be kept as float16.
func fitsHalf(v []float32) bool {
	for _, x := range v {
		if x > 65504 || x < -65504 {
			return false
		}
	}
	return true
}

// halfOf rounds to float16, ties to even (IEEE 754).
func halfOf(x float32) uint16 {
	bits := math.Float32bits(x)
	sign := uint16(bits >> 16 & 0x8000)
	exp := int(bits>>23&0xff) - 127 + 15
	frac := bits & 0x7fffff
	switch {
	case exp >= 31:
		return sign | 0x7c00
	case exp <= 0: // subnormal
		if exp < -10 {
			return sign
		}
		frac |= 0x800000
		shift := uint(14 - exp)
		return sign | uint16(roundShift(frac, shift))
	}
	// A carry out of the fraction is the next exponent, as it should be.
	return sign | uint16(uint32(exp)<<10+roundShift(frac, 13))
}

// roundShift is v>>n, rounded to nearest, ties to even.
func roundShift(v uint32, n uint) uint32 {
	half := uint32(1) << (n - 1)
	return (v + half - 1 + v>>n&1) >> n
}
