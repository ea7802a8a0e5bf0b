package graph

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Element types of a tensor, TensorProto.DataType of onnx.proto3.
const (
	elemFloat   = 1
	elemUint8   = 2
	elemInt8    = 3
	elemInt32   = 6
	elemInt64   = 7
	elemBool    = 9
	elemFloat16 = 10
)

// opset is the version of the standard operators: the first one with Attention. irVersion is the file format that goes
// with it. ONNX Runtime reads both from 1.24 on.
const (
	opset     = 23
	irVersion = 10
)

// contrib is the domain of ONNX Runtime's own operators; of them the quantised matrix products are used.
const contrib = "com.microsoft"

// inlineBytes is the size up to which a tensor is kept in the graph: shapes and scalars must be there for the library to
// fold constants, and a norm's weights are not worth a mapping.
const inlineBytes = 1024

// alignment of tensors in the weights file, in bytes.
const alignment = 64

// file writes an ONNX graph: nodes and small tensors into memory, large tensors to the weights file as they come, so
// that converting a model never holds more than a tensor or two of it. The first error sticks.
type file struct {
	weights  io.Writer
	location string // name of the weights file, relative to the graph's
	offset   int64

	nodes, tensors, inputs, outputs []byte
	values                          int             // counter for the names of intermediate values
	made                            map[string]bool // tensors written
	usesContrib                     bool
	err                             error
}

func newFile(weights io.Writer, location string) *file {
	return &file{weights: weights, location: location, made: map[string]bool{}}
}

func (f *file) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// attr is one attribute of a node.
type attr struct {
	name  string
	value any // int, float32, string or []int64
}

// node adds an operator and returns the name of its one output.
func (f *file) node(op string, inputs []string, attrs ...attr) string {
	return f.nodeN(op, "", inputs, 1, attrs...)[0]
}

// nodeN adds an operator of a domain with n outputs and returns their names.
func (f *file) nodeN(op, domain string, inputs []string, n int, attrs ...attr) []string {
	var b []byte
	for _, in := range inputs {
		b = str(b, 1, in)
	}
	outputs := make([]string, n)
	for i := range outputs {
		outputs[i] = fmt.Sprintf("%s_%d", op, f.values)
		f.values++
		b = str(b, 2, outputs[i])
	}
	b = str(b, 3, outputs[0])
	b = str(b, 4, op)
	for _, a := range attrs {
		b = msg(b, 5, attribute(a))
	}
	if domain != "" {
		b = str(b, 7, domain)
		f.usesContrib = true
	}
	f.nodes = msg(f.nodes, 1, b)
	return outputs
}

// rename gives a value the name of a graph output.
func (f *file) rename(value, name string) {
	b := str(nil, 1, value)
	b = str(b, 2, name)
	b = str(b, 3, name)
	f.nodes = msg(f.nodes, 1, str(b, 4, "Identity"))
}

func attribute(a attr) []byte {
	b := str(nil, 1, a.name)
	switch v := a.value.(type) {
	case int:
		return num(num(b, 3, int64(v)), 20, 2)
	case float32:
		b = protowire.AppendFixed32(protowire.AppendTag(b, 2, protowire.Fixed32Type), math.Float32bits(v))
		return num(b, 20, 1)
	case string:
		return num(str(b, 4, v), 20, 3)
	case []int64:
		for _, i := range v {
			b = num(b, 8, i)
		}
		return num(b, 20, 7)
	}
	panic(fmt.Sprintf("graph: attribute %s of type %T", a.name, a.value))
}

// tensor adds a constant of raw little-endian data and returns its name. One that exists under the name is used again.
func (f *file) tensor(name string, elem int64, dims []int, raw []byte) string {
	if f.made[name] || f.err != nil {
		return name
	}
	f.made[name] = true
	var b []byte
	for _, d := range dims {
		b = num(b, 1, int64(d))
	}
	b = num(b, 2, elem)
	b = str(b, 8, name)
	if len(raw) <= inlineBytes {
		f.tensors = msg(f.tensors, 5, msg(b, 9, raw))
		return name
	}
	var padding [alignment]byte
	if n := -f.offset & (alignment - 1); n > 0 {
		f.write(padding[:n])
	}
	for _, kv := range [][2]string{
		{"location", f.location}, {"offset", fmt.Sprint(f.offset)}, {"length", fmt.Sprint(len(raw))},
	} {
		b = msg(b, 13, str(str(nil, 1, kv[0]), 2, kv[1]))
	}
	f.write(raw)
	f.tensors = msg(f.tensors, 5, num(b, 14, 1))
	return name
}

func (f *file) write(p []byte) {
	if f.err != nil {
		return
	}
	n, err := f.weights.Write(p)
	f.offset += int64(n)
	if err != nil {
		f.fail(fmt.Errorf("graph: write %s: %w", f.location, err))
	}
}

// floats adds a constant of float32.
func (f *file) floats(name string, dims []int, v []float32) string {
	if f.made[name] {
		return name
	}
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return f.tensor(name, elemFloat, dims, raw)
}

// scalar adds a constant without axes: a vector of one element in its place keeps the library from fusing.
func (f *file) scalar(v float32) string {
	return f.floats(fmt.Sprintf("const_%v", v), nil, []float32{v})
}

// ints adds a constant vector of int64.
func (f *file) ints(v ...int64) string {
	raw := make([]byte, 0, 8*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(x))
	}
	return f.tensor(fmt.Sprintf("ints_%v", v), elemInt64, []int{len(v)}, raw)
}

// bytes adds a constant of int8 or uint8.
func (f *file) bytes(name string, elem int64, dims []int, v []byte) string {
	return f.tensor(name, elem, dims, v)
}

// value declares an input or output; dims of string are symbolic.
func value(name string, elem int64, dims ...any) []byte {
	var shape []byte
	for _, d := range dims {
		switch d := d.(type) {
		case int:
			shape = msg(shape, 1, num(nil, 1, int64(d)))
		case string:
			shape = msg(shape, 1, str(nil, 2, d))
		}
	}
	tensor := msg(num(nil, 1, elem), 2, shape)
	return msg(str(nil, 1, name), 2, msg(nil, 1, tensor))
}

func (f *file) input(name string, elem int64, dims ...any) {
	f.inputs = msg(f.inputs, 11, value(name, elem, dims...))
}

func (f *file) output(name string, dims ...any) {
	f.outputs = msg(f.outputs, 12, value(name, elemFloat, dims...))
}

// finish returns the ModelProto.
func (f *file) finish(name string) ([]byte, error) {
	if f.err != nil {
		return nil, f.err
	}
	g := f.nodes
	g = str(g, 2, name)
	g = append(g, f.tensors...)
	g = append(g, f.inputs...)
	g = append(g, f.outputs...)
	m := num(nil, 1, irVersion)
	m = str(m, 2, "tilescout")
	m = msg(m, 8, num(str(nil, 1, ""), 2, opset))
	if f.usesContrib {
		m = msg(m, 8, num(str(nil, 1, contrib), 2, 1))
	}
	return msg(m, 7, g), nil
}

func num(b []byte, field protowire.Number, v int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(v))
}

func str(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func msg(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}
