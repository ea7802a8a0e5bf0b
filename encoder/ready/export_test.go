package ready

import (
	"encoding/binary"
	"math"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// Disguise is how another exporter would have written a tower of encoder/graph.
type Disguise struct {
	Input, Output string
	Elem          uint64 // of the input: float, float16 or uint8 pixels, int32 or int64 tokens
	Dims          []any  // of the input
	Channels      bool   // pixels come as [batch, 3, size, size]
	Bytes         bool   // pixels come as bytes: the graph normalises them
	Mask          string // name of an attention mask, if there is one
	Factor        float32
	Rank3         bool   // the output has an axis too many
	Prefix        string // before the names of all values, so that towers can be joined
	Opset         uint64
	Extra         string // name of one more input that the output depends on
}

// Element types for tests.
const (
	Float, Half, Uint8, Int32, Int64 = elemFloat, elemFloat16, elemUint8, elemInt32, elemInt64
)

// Body writes the GraphProto of a tower in disguise: model is one of encoder/graph, whose input is in and whose output is
// "embedding". Mean and std are those that its pixels are normalised with.
func (d Disguise) Body(t testing.TB, model []byte, in string, dimension int, mean, std [3]float64) []byte {
	t.Helper()
	g, err := parse(model)
	if err != nil {
		t.Fatal(err)
	}
	w := &writer{t: &Tower{graph: g}}
	name := func(s string) string {
		if s == "" {
			return ""
		}
		return d.Prefix + s
	}
	if in == "pixels" {
		d.pixels(w, name("pixels"), mean, std)
	} else {
		x := d.Input
		if d.Mask != "" { // zeros would change the tokens
			w.node("Mul", name("masked"), []string{d.Input, d.Mask})
			x = name("masked")
		}
		w.node("Cast", name("tokens"), []string{x}, intAttr("to", elemInt64))
	}
	for _, n := range g.nodes {
		var out []byte
		_ = walk(n.raw, func(num protowire.Number, v []byte, x uint64) error {
			if num == nodeInput || num == nodeOutput {
				v = []byte(name(string(v)))
			}
			out = append(out, field(num, v, x)...)
			return nil
		})
		w.body = msg(w.body, graphNode, out)
	}
	for _, i := range g.tensors {
		var out []byte
		_ = walk(i.raw, func(num protowire.Number, v []byte, x uint64) error {
			if num == tensorName {
				v = []byte(name(string(v)))
			}
			out = append(out, field(num, v, x)...)
			return nil
		})
		w.body = msg(w.body, graphInitializer, out)
	}
	w.floats(name("factor"), []float32{d.Factor})
	y := name("embedding")
	if d.Extra != "" {
		w.node("Add", name("moved"), []string{y, d.Extra})
		y = name("moved")
		w.body = msg(w.body, graphInput, declare(d.Extra, elemFloat, "batch", dimension))
	}
	out := []any{"batch", dimension}
	if d.Rank3 {
		one := num(num(nil, tensorDims, 1), tensorType, elemInt64)
		one = msg(str(one, tensorName, name("axis")), tensorRaw, binary.LittleEndian.AppendUint64(nil, 1))
		w.body = msg(w.body, graphInitializer, one)
		w.node("Unsqueeze", name("longer"), []string{y, name("axis")})
		y, out = name("longer"), []any{"batch", 1, dimension}
	}
	w.node("Mul", d.Output, []string{y, name("factor")})
	w.body = msg(w.body, graphInput, declare(d.Input, d.Elem, d.Dims...))
	if d.Mask != "" {
		w.body = msg(w.body, graphInput, declare(d.Mask, d.Elem, d.Dims...))
	}
	w.body = msg(w.body, graphOutput, declare(d.Output, elemFloat, out...))
	return w.body
}

// pixels makes bytes, [batch, size, size, 3], of what the disguise takes.
func (d Disguise) pixels(w *writer, to string, mean, std [3]float64) {
	x := d.Input
	if d.Channels {
		w.node("Transpose", to+"/last", []string{x}, intsAttr("perm", 0, 2, 3, 1))
		x = to + "/last"
	}
	if !d.Bytes {
		scale, shift := make([]float32, 3), make([]float32, 3)
		for c := range 3 {
			scale[c], shift[c] = float32(255*std[c]), float32(math.Round(255*mean[c]*1e6)/1e6)
		}
		w.floats(to+"/scale", scale)
		w.floats(to+"/shift", shift)
		w.node("Cast", to+"/float", []string{x}, intAttr("to", elemFloat))
		w.node("Mul", to+"/scaled", []string{to + "/float", to + "/scale"})
		w.node("Add", to+"/shifted", []string{to + "/scaled", to + "/shift"})
		w.node("Round", to+"/round", []string{to + "/shifted"})
		x = to + "/round"
	}
	w.node("Cast", to, []string{x}, intAttr("to", elemUint8))
}

// Model wraps bodies of graphs as one file.
func ModelOf(opset uint64, bodies ...[]byte) []byte {
	var body []byte
	for _, b := range bodies {
		body = append(body, b...)
	}
	body = str(body, 2, "exported")
	m := num(nil, modelIR, 10)
	m = msg(m, modelOpset, num(str(nil, opsetDomain, ""), opsetVersion, opset))
	m = msg(m, modelOpset, num(str(nil, opsetDomain, "com.microsoft"), opsetVersion, 1))
	return msg(m, modelGraph, body)
}

// Linear are two towers that are one product each, with operators that every opset has: of pixels [batch, 3, side, side],
// and of tokens [batch, length] by their sum.
func Linear(side int, matrix []float32) (image, text []byte) {
	in := 3 * side * side
	n := len(matrix) / in
	constant := func(b []byte, rows int, v []float32) []byte {
		var raw []byte
		for _, x := range v {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
		}
		t := num(num(num(nil, tensorDims, uint64(rows)), tensorDims, uint64(len(v)/rows)), tensorType, elemFloat)
		return msg(b, graphInitializer, msg(str(t, tensorName, "matrix"), tensorRaw, raw))
	}
	w := &writer{}
	w.node("Flatten", "flat", []string{"image"}, intAttr("axis", 1))
	w.node("MatMul", "output", []string{"flat", "matrix"})
	w.body = msg(constant(w.body, in, matrix), graphInput, declare("image", elemFloat, "batch", 3, side, side))
	image = msg(w.body, graphOutput, declare("output", elemFloat, "batch", n))
	w = &writer{}
	w.node("Cast", "float", []string{"text"}, intAttr("to", elemFloat))
	w.node("ReduceMax", "largest", []string{"float"}, intsAttr("axes", 1))
	w.node("MatMul", "output", []string{"largest", "matrix"})
	w.body = msg(constant(w.body, 1, matrix[:n]), graphInput, declare("text", elemInt32, "batch", 24))
	text = msg(w.body, graphOutput, declare("output", elemFloat, "batch", n))
	return image, text
}
