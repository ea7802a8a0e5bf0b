package ready

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tilescout/tilescout"
)

// Names of the written graphs' inputs and outputs: no exporter has them.
const (
	pixels    = "tilescout/pixels"
	tokens    = "tilescout/tokens"
	embedding = "tilescout/embedding"
)

// Names returns the input and the output of the graph that Write writes.
func (t *Tower) Names() (input, output string) {
	if len(t.input.dims) == 4 {
		return pixels, embedding
	}
	return tokens, embedding
}

// Tensors of more than inlineBytes go to the weights file, aligned.
const (
	inlineBytes = 1024
	alignment   = 64
)

// Normalisation of pixels 0…255 before they reach a tower that takes floats.
type Normalisation struct{ Mean, Std [3]float64 }

// Write writes the tower as the encoder runs it: uint8 [batch, size, size, 3] or int64 [batch, length] in, float32 of unit
// length out. Large tensors go to weights, whose name is given.
func (t *Tower) Write(ctx context.Context, n Normalisation, size int, weights io.Writer, name string) ([]byte, error) {
	w := &writer{t: t, out: weights, name: name}
	if len(t.input.dims) == 4 {
		w.pixels(n)
	} else {
		w.tokens()
	}
	for _, k := range t.kept {
		w.body = msg(w.body, graphNode, k.raw)
	}
	w.unit()
	for _, i := range t.graph.tensors {
		if !t.used[i.name] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := w.tensor(i); err != nil {
			return nil, fmt.Errorf("%s: tensor %.80q: %w", filepath.Base(t.file), i.name, err)
		}
	}
	batch := any("batch")
	if t.input.dims[0] == 1 {
		batch = 1
	}
	if len(t.input.dims) == 4 {
		w.body = msg(w.body, graphInput, declare(pixels, elemUint8, batch, size, size, 3))
	} else {
		length := any("length")
		if t.Length > 0 {
			length = t.Length
		}
		w.body = msg(w.body, graphInput, declare(tokens, elemInt64, batch, length))
	}
	dimension := any("dimension")
	if t.Dimension > 0 {
		dimension = t.Dimension
	}
	w.body = msg(w.body, graphOutput, declare(embedding, elemFloat, batch, dimension))
	w.body = str(w.body, 2, "tower")

	model := num(nil, modelIR, max(t.graph.ir, 4)) // from 4 on constants need not be inputs
	for _, o := range t.graph.opsets {
		model = msg(model, modelOpset, o)
	}
	return msg(model, modelGraph, w.body), nil
}

// writer writes one tower.
type writer struct {
	t      *Tower
	out    io.Writer
	name   string
	offset int64
	body   []byte // of the GraphProto
}

// pixels turns bytes into what the graph takes: (v/255 − mean) / std, unless it takes bytes and does that itself.
func (w *writer) pixels(n Normalisation) {
	in := w.t.input
	x := pixels
	if in.elem != elemUint8 {
		scale, shift := make([]float32, 3), make([]float32, 3)
		for c := range 3 {
			scale[c] = float32(1 / (255 * n.Std[c]))
			shift[c] = float32(-n.Mean[c] / n.Std[c])
		}
		w.floats("tilescout/scale", scale)
		w.floats("tilescout/shift", shift)
		w.node("Cast", "tilescout/cast", []string{x}, intAttr("to", elemFloat))
		w.node("Mul", "tilescout/scaled", []string{"tilescout/cast", "tilescout/scale"})
		w.node("Add", "tilescout/normal", []string{"tilescout/scaled", "tilescout/shift"})
		x = "tilescout/normal"
	}
	if in.elem == elemFloat16 {
		w.node("Cast", "tilescout/half", []string{x}, intAttr("to", elemFloat16))
		x = "tilescout/half"
	}
	if w.t.last {
		w.node("Identity", in.name, []string{x})
		return
	}
	w.node("Transpose", in.name, []string{x}, intsAttr("perm", 0, 3, 1, 2))
}

// tokens turns int64 into what the graph takes, and makes a mask where it wants one. All tokens count: a CLIP's attention
// is causal, so those behind the end token reach nothing.
func (w *writer) tokens() {
	in := w.t.input
	w.node("Cast", in.name, []string{tokens}, intAttr("to", int64(in.elem)))
	if m := w.t.mask; m != nil {
		one := num(nil, tensorDims, 1)
		one = num(one, tensorType, elemInt64)
		one = msg(one, tensorRaw, binary.LittleEndian.AppendUint64(nil, 1))
		w.node("Shape", "tilescout/shape", []string{tokens})
		value := num(msg(str(nil, attrName, "value"), attrTensor, one), attrType, 4)
		w.node("ConstantOfShape", "tilescout/ones", []string{"tilescout/shape"}, value)
		w.node("Cast", m.name, []string{"tilescout/ones"}, intAttr("to", int64(m.elem)))
	}
}

// unit scales the output to unit length; where it has that already nothing changes.
func (w *writer) unit() {
	y := w.t.output.name
	w.node("Cast", "tilescout/rows", []string{y}, intAttr("to", elemFloat))
	inputs, attrs := []string{"tilescout/rows"}, [][]byte{num(num(str(nil, attrName, "keepdims"), 3, 1), attrType, 2)}
	if w.t.graph.opset < 18 { // then axes became an input
		attrs = append(attrs, intsAttr("axes", 1))
	} else {
		axes := num(nil, tensorDims, 1)
		axes = num(axes, tensorType, elemInt64)
		axes = str(axes, tensorName, "tilescout/axes")
		axes = msg(axes, tensorRaw, binary.LittleEndian.AppendUint64(nil, 1))
		w.body = msg(w.body, graphInitializer, axes)
		inputs = append(inputs, "tilescout/axes")
	}
	w.node("ReduceL2", "tilescout/length", inputs, attrs...)
	w.node("Div", embedding, []string{"tilescout/rows", "tilescout/length"})
}

func (w *writer) node(op, output string, inputs []string, attrs ...[]byte) {
	var n []byte
	for _, in := range inputs {
		n = str(n, nodeInput, in)
	}
	n = str(n, nodeOutput, output)
	n = str(n, nodeName, "tilescout/"+op+"/"+output)
	n = str(n, nodeOp, op)
	for _, a := range attrs {
		n = msg(n, nodeAttribute, a)
	}
	w.body = msg(w.body, graphNode, n)
}

func (w *writer) floats(name string, v []float32) {
	var raw []byte
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	t := num(nil, tensorDims, uint64(len(v)))
	t = num(t, tensorType, elemFloat)
	t = str(t, tensorName, name)
	w.body = msg(w.body, graphInitializer, msg(t, tensorRaw, raw))
}

// tensor copies a constant: a large one to the weights.
func (w *writer) tensor(i initializer) error {
	length := int64(len(i.data))
	var from io.Reader
	switch {
	case i.external != nil:
		f, n, err := w.t.open(i.external)
		if err != nil {
			return err
		}
		defer f.Close()
		from, length = f, n
	case i.typed || len(i.data) <= inlineBytes:
		w.body = msg(w.body, graphInitializer, i.raw)
		return nil
	}
	var padding [alignment]byte
	n, err := w.out.Write(padding[:-w.offset&(alignment-1)])
	w.offset += int64(n)
	if err != nil {
		return err
	}
	t := []byte{}
	for _, d := range i.dims {
		t = append(t, d...)
	}
	t = num(t, tensorType, i.elem)
	t = str(t, tensorName, i.name)
	for _, e := range [][2]string{{"location", w.name}, {"offset", fmt.Sprint(w.offset)}, {"length", fmt.Sprint(length)}} {
		t = msg(t, tensorExternal, str(str(nil, entryKey, e[0]), entryValue, e[1]))
	}
	w.body = msg(w.body, graphInitializer, num(t, tensorLocation, 1))
	if from == nil {
		n, err := w.out.Write(i.data)
		w.offset += int64(n)
		return err
	}
	copied, err := io.CopyN(w.out, from, length)
	w.offset += copied
	if err == io.EOF {
		return fmt.Errorf("its file is cut off: %w", ErrGraph)
	}
	return err
}

// external is part of a file beside the graph.
type external struct {
	*io.SectionReader
	file *os.File
}

func (e external) Close() error { return e.file.Close() }

// open finds a tensor's values beside the graph, and there only.
func (t *Tower) open(entries map[string]string) (external, int64, error) {
	location := entries["location"]
	if !filepath.IsLocal(location) || strings.ContainsAny(location, `\:`) {
		return external{}, 0, fmt.Errorf("its values lie in %.80q, want a file beside the graph: %w", location, ErrTower)
	}
	f, err := os.Open(filepath.Join(filepath.Dir(t.file), location))
	if os.IsNotExist(err) {
		return external{}, 0, fmt.Errorf("its values lie in %.80q, which is not there; get it too: %w", location, tilescout.ErrBadInput)
	}
	if err != nil {
		return external{}, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return external{}, 0, err
	}
	number := func(key string, otherwise int64) int64 {
		if entries[key] == "" {
			return otherwise
		}
		n, err := strconv.ParseInt(entries[key], 10, 64)
		if err != nil {
			return -1
		}
		return n
	}
	offset := number("offset", 0)
	length := number("length", info.Size()-offset)
	if !info.Mode().IsRegular() || offset < 0 || length < 0 || offset > info.Size() || length > info.Size()-offset {
		f.Close()
		return external{}, 0, fmt.Errorf("its values lie at %.20q, %.20q bytes long, in %.80q of %d bytes: %w", entries["offset"], entries["length"], location, info.Size(), ErrGraph)
	}
	return external{io.NewSectionReader(f, offset, length), f}, length, nil
}

// declare writes a ValueInfoProto; dims of string are free.
func declare(name string, elem uint64, dims ...any) []byte {
	var shape []byte
	for _, d := range dims {
		switch d := d.(type) {
		case int:
			shape = msg(shape, shapeDim, num(nil, dimValue, uint64(d)))
		case string:
			shape = msg(shape, shapeDim, str(nil, 2, d))
		}
	}
	tensor := msg(num(nil, tensorElem, elem), tensorDim, shape)
	return msg(str(nil, valueName, name), valueType, msg(nil, typeTensor, tensor))
}

func intAttr(name string, v int64) []byte {
	return num(num(str(nil, attrName, name), 3, uint64(v)), attrType, 2)
}

func intsAttr(name string, v ...int64) []byte {
	a := str(nil, attrName, name)
	for _, x := range v {
		a = num(a, attrInts, uint64(x))
	}
	return num(a, attrType, 7)
}

func num(b []byte, f protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, f, protowire.VarintType), v)
}

func str(b []byte, f protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, f, protowire.BytesType), s)
}

func msg(b []byte, f protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, f, protowire.BytesType), v)
}
