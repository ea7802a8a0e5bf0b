package graph

import (
	"encoding/binary"
	"math"
)

// plane is what flows between convolutions, [batch, channels, side, side]: in float, in bytes with their scale and zero
// point, or in both once both were asked for.
type plane struct {
	float string
	bytes quantised
	at    string // whose range it has; "" for none
	side  int
}

// quantised is a value in bytes; value "" is none.
type quantised struct {
	value, scale, zero string
	step               float32 // the scale itself
}

// isInt8 says whether the layer of that name runs over bytes.
func (b *builder) isInt8(name string) bool {
	r, measured := b.ranges.Inputs[name]
	return b.precision == Int8Static && measured && !r.Float
}

// canQuantise says whether the plane is in bytes or has a range.
func (p *plane) canQuantise(b *builder) bool {
	_, measured := b.ranges.Inputs[p.at]
	return p.bytes.value != "" || measured
}

func (b *builder) asFloat(p *plane) string {
	if p.float == "" {
		p.float = b.node("DequantizeLinear", []string{p.bytes.value, p.bytes.scale, p.bytes.zero})
	}
	return p.float
}

func (b *builder) asBytes(p *plane) quantised {
	if p.bytes.value == "" {
		p.bytes = b.rangeOf(p.at)
		p.bytes.value = b.node("QuantizeLinear", []string{p.float, p.bytes.scale, p.bytes.zero})
	}
	return p.bytes
}

// rangeOf adds the scale and zero point of a layer's output, which has no value yet.
func (b *builder) rangeOf(name string) quantised {
	s, z := b.ranges.Inputs[name].scale()
	return quantised{
		scale: b.floats("range."+name+".scale", nil, []float32{s}), zero: b.bytes("range."+name+".zero", elemUint8, nil, []byte{z}), step: s,
	}
}

// convolveBytes is a convolution over bytes. A range that begins at 0, as it does behind a ReLU, is the ReLU.
func (b *builder) convolveBytes(x quantised, name string, w, bias []float32, k kernel, attrs []attr) quantised {
	y := b.rangeOf(name)
	q, scales := quantiseRows(w, bias, k.out, x.step)
	sums := make([]byte, 0, 4*k.out)
	for o, v := range bias {
		sums = binary.LittleEndian.AppendUint32(sums, uint32(int32(math.RoundToEven(float64(v)/(float64(x.step)*float64(scales[o]))))))
	}
	y.value = b.node("QLinearConv", []string{
		x.value, x.scale, x.zero,
		b.bytes(name+".int8", elemInt8, []int{k.out, k.in, k.side, k.side}, q), b.floats(name+".scales", []int{k.out}, scales),
		b.bytes(name+".zeros", elemInt8, []int{k.out}, make([]byte, k.out)),
		y.scale, y.zero, b.tensor(name+".bias32", elemInt32, []int{k.out}, sums),
	}, attrs...)
	return y
}

// quantiseRows returns rows of a matrix [rows, …] as int8, symmetric, with one scale for each: large enough for the bias
// to fit int32 in units of it and of the input's scale.
func quantiseRows(w, bias []float32, rows int, in float32) (q []byte, scales []float32) {
	n := len(w) / rows
	q, scales = make([]byte, len(w)), make([]float32, rows)
	for o := range rows {
		var top float32
		for _, v := range w[o*n : (o+1)*n] {
			top = max(top, abs(v))
		}
		s := top / 127
		if least := abs(bias[o]) / in / (1 << 30); s < least {
			s = least
		}
		if s == 0 {
			s = 1
		}
		scales[o] = s
		for i, v := range w[o*n : (o+1)*n] {
			q[o*n+i] = byte(int8(min(max(math.RoundToEven(float64(v)/float64(s)), -127), 127)))
		}
	}
	return q, scales
}

// sum adds two planes and cuts at 0.
func (b *builder) sum(x, y *plane, name string, channels int) *plane {
	z := &plane{at: name, side: x.side}
	if b.isInt8(name) && x.canQuantise(b) && y.canQuantise(b) {
		p, q, r := b.asBytes(x), b.asBytes(y), b.rangeOf(name)
		r.value = b.nodeN("QLinearAdd", contrib, []string{p.value, p.scale, p.zero, q.value, q.scale, q.zero, r.scale, r.zero}, 1)[0]
		z.bytes = r
		return z
	}
	z.float = b.node("Relu", []string{b.node("Add", []string{b.asFloat(x), b.asFloat(y)})})
	b.tapPlane(z, channels)
	return z
}

// averagePool keeps the range of its input.
func (b *builder) averagePool(x *plane, stride int) *plane {
	if stride == 1 {
		return x
	}
	k := []int64{int64(stride), int64(stride)}
	y := &plane{at: x.at, side: x.side / stride}
	if x.bytes.value != "" {
		q := x.bytes
		y.bytes = q
		y.bytes.value = b.nodeN("QLinearAveragePool", contrib, []string{q.value, q.scale, q.zero, q.scale, q.zero}, 1, attr{"kernel_shape", k}, attr{"strides", k})[0]
		return y
	}
	y.float = b.node("AveragePool", []string{b.asFloat(x)}, attr{"kernel_shape", k}, attr{"strides", k})
	return y
}

// tapPlane shows a layer's output to who calibrates.
func (b *builder) tapPlane(p *plane, channels int) {
	if b.tap != nil {
		b.tap(tap{name: p.at, channels: channels, side: p.side}, p.float)
	}
}
