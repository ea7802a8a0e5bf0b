// Package hostile makes ONNX graphs and model folders that are meant to hurt whoever loads them. None of them may bring
// the program down: each is refused as a typed error, or serves.
package hostile

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tilescout/tilescout/encoder/bundled"
)

// message is one protobuf message under construction.
type message []byte

func (m message) bytes(field protowire.Number, v []byte) message {
	return protowire.AppendBytes(protowire.AppendTag(m, field, protowire.BytesType), v)
}

func (m message) text(field protowire.Number, v string) message { return m.bytes(field, []byte(v)) }

func (m message) number(field protowire.Number, v uint64) message {
	return protowire.AppendVarint(protowire.AppendTag(m, field, protowire.VarintType), v)
}

// node is an operator, onnx.proto3 NodeProto.
func node(op, domain string, in, out []string, attributes ...message) message {
	var m message
	for _, s := range in {
		m = m.text(1, s)
	}
	for _, s := range out {
		m = m.text(2, s)
	}
	m = m.text(4, op)
	for _, a := range attributes {
		m = m.bytes(5, a)
	}
	if domain != "" {
		m = m.text(7, domain)
	}
	return m
}

// tensor is an initializer, TensorProto.
func tensor(name string, elem uint64, raw []byte, dims ...uint64) message {
	var m message
	for _, d := range dims {
		m = m.number(1, d)
	}
	m = m.number(2, elem).text(8, name)
	if raw != nil {
		m = m.bytes(9, raw)
	}
	return m
}

// outside is an initializer whose data lies in another file.
func outside(location string, length uint64) message {
	entry := func(k, v string) message { return message(nil).text(1, k).text(2, v) }
	m := tensor("w", 1, nil, length/4).number(14, 1)
	return m.bytes(13, entry("location", location)).bytes(13, entry("length", fmt.Sprint(length)))
}

// value is an input or output, ValueInfoProto; dimensions of 0 are free.
func value(name string, elem uint64, dims ...uint64) message {
	var shape message
	for _, d := range dims {
		dim := message(nil).number(1, d)
		if d == 0 {
			dim = message(nil).text(2, "n")
		}
		shape = shape.bytes(1, dim)
	}
	kind := message(nil).bytes(1, message(nil).number(1, elem).bytes(2, shape))
	return message(nil).text(1, name).bytes(2, kind)
}

// graph is a GraphProto around parts, with the input and output of an image tower.
func graph(parts ...message) message {
	m := message(nil).text(2, "g").bytes(11, value("pixels", 2, 0, 128, 128, 3)).bytes(12, value("embedding", 1, 0, 256))
	return append(m, bytes.Join(asBytes(parts), nil)...)
}

func asBytes(parts []message) [][]byte {
	out := make([][]byte, len(parts))
	for i, p := range parts {
		out[i] = p
	}
	return out
}

func operator(n message) message    { return message(nil).bytes(1, n) }
func initializer(t message) message { return message(nil).bytes(5, t) }

// model is a ModelProto of IR 8, opset 17.
func model(g message, more ...message) []byte {
	opset := message(nil).text(1, "").number(2, 17)
	m := message(nil).number(1, 8).bytes(7, g).bytes(8, opset)
	return append(m, bytes.Join(asBytes(more), nil)...)
}

// identity makes the output of nothing but the input's type cast: enough for a graph to hold together.
func cast() message {
	to := message(nil).text(1, "to").number(3, 1).number(20, 2)
	return operator(node("Cast", "", []string{"pixels"}, []string{"embedding"}, to))
}

func shapeOf(dims ...uint64) message {
	raw := make([]byte, 0, 8*len(dims))
	for _, d := range dims {
		for i := range 8 {
			raw = append(raw, byte(d>>(8*i)))
		}
	}
	return initializer(tensor("s", 7, raw, uint64(len(dims))))
}

func nested(depth int) message {
	m := graph(cast())
	for range depth {
		m = graph(operator(node("If", "", []string{"c"}, []string{"embedding"}, message(nil).text(1, "then_branch").bytes(6, m).number(20, 5))))
	}
	return m
}

func repeated(n int, part message) message {
	return bytes.Repeat(part, n)
}

// Graphs yields the files by name.
func Graphs() iter.Seq2[string, []byte] {
	w := initializer(tensor("w", 1, make([]byte, 16), 4))
	huge := func(field protowire.Number, claim uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, field, protowire.BytesType), claim)
	}
	op := func(name string) []byte {
		return model(graph(operator(node(name, "", []string{"pixels"}, []string{"embedding"}))))
	}
	bomb := func(name string) []byte {
		return model(graph(shapeOf(1<<16, 1<<16, 4), operator(node(name, "", []string{"s"}, []string{"x"})), cast()))
	}
	files := []struct {
		name string
		data []byte
	}{
		{"empty", nil},
		{"one-byte", []byte{0x08}},
		{"html", []byte("<!doctype html><title>404</title>")},
		{"zeros", make([]byte, 4096)},
		{"ones", bytes.Repeat([]byte{0xff}, 4096)},
		{"endless-varint", bytes.Repeat([]byte{0x80}, 1<<20)},
		{"groups", bytes.Repeat([]byte{0x0b}, 1<<20)},
		{"claims-2gb", huge(7, 2<<30)},
		{"claims-2e63", huge(7, math.MaxInt64)},
		{"claims-all", huge(7, math.MaxUint64)},
		{"no-graph", message(nil).number(1, 8)},
		{"two-graphs", message(model(graph(cast()))).bytes(7, graph(cast()))},
		{"no-operators", model(graph(w))},
		{"no-input", model(message(nil).bytes(12, value("embedding", 1, 0, 256)).bytes(1, node("Cast", "", nil, []string{"embedding"})))},
		{"no-output", model(message(nil).bytes(11, value("pixels", 2, 0, 128, 128, 3)).bytes(1, node("Cast", "", []string{"pixels"}, nil)))},
		{"million-inputs", model(append(graph(cast()), repeated(100_000, message(nil).bytes(11, value("pixels", 2, 0, 1)))...))},
		{"rank-2", model(message(nil).bytes(11, value("pixels", 2, 0, 768)).bytes(12, value("embedding", 1, 0, 256)).bytes(1, node("Cast", "", nil, nil)))},
		{"float-pixels", model(message(nil).bytes(11, value("pixels", 1, 0, 128, 128, 3)).bytes(12, value("embedding", 1, 0, 256)).bytes(1, node("Cast", "", nil, nil)))},
		{"negative-axis", model(message(nil).bytes(11, value("pixels", 2, 0, math.MaxUint64, 128, 3)).bytes(12, value("embedding", 1, 0, 256)).bytes(1, node("Cast", "", nil, nil)))},
		{"wrong-size", model(message(nil).bytes(11, value("pixels", 2, 0, 1<<31, 1<<31, 3)).bytes(12, value("embedding", 1, 0, 256)).bytes(1, node("Identity", "", []string{"pixels"}, []string{"embedding"})))},
		{"loop", op("Loop")}, {"if", op("If")}, {"scan", op("Scan")}, {"sequence-map", op("SequenceMap")},
		{"nested-graphs", model(nested(40))},
		{"deeply-nested-graphs", model(nested(2000))},
		{"graph-in-attribute", model(graph(operator(node("Cast", "", []string{"pixels"}, []string{"embedding"}, message(nil).text(1, "body").bytes(6, graph(cast()))))))},
		{"graphs-in-attribute", model(graph(operator(node("Cast", "", []string{"pixels"}, []string{"embedding"}, message(nil).text(1, "body").bytes(11, graph(cast()))))))},
		{"functions", model(graph(cast()), message(nil).bytes(25, message(nil).text(1, "f")))},
		{"other-domain", model(graph(cast()), message(nil).bytes(8, message(nil).text(1, "com.example.evil").number(2, 1)))},
		{"other-domain-node", model(graph(operator(node("Run", "evil", []string{"pixels"}, []string{"embedding"}))))},
		{"unknown-operator", op("Abracadabra")},
		{"weights-above", model(graph(initializer(outside("../../weights.bin", 16)), cast()))},
		{"weights-absolute", model(graph(initializer(outside("/etc/passwd", 16)), cast()))},
		{"weights-device", model(graph(initializer(outside("/dev/zero", 1<<40)), cast()))},
		{"weights-nested", model(graph(initializer(outside("x/../../weights.bin", 16)), cast()))},
		{"weights-nowhere", model(graph(initializer(outside("image.onnx.data", 1<<50)), cast()))},
		{"initializer-2e40", model(graph(initializer(tensor("w", 1, nil, 1<<40)), cast()))},
		{"initializer-overflow", model(graph(initializer(tensor("w", 1, make([]byte, 8), 1<<32, 1<<32)), cast()))},
		{"initializer-negative", model(graph(initializer(tensor("w", 1, make([]byte, 8), math.MaxUint64)), cast()))},
		{"initializer-short", model(graph(initializer(tensor("w", 1, make([]byte, 8), 1000)), cast()))},
		{"initializer-long", model(graph(initializer(tensor("w", 1, make([]byte, 8000), 1)), cast()))},
		{"initializer-unknown-type", model(graph(initializer(tensor("w", 99, make([]byte, 8), 2)), cast()))},
		{"initializer-strings", model(graph(initializer(tensor("w", 8, make([]byte, 8), 2)), cast()))},
		{"initializers-100k", model(append(graph(cast()), repeated(100_000, w)...))},
		{"operators-100k", model(append(graph(), repeated(100_000, cast())...))},
		{"cycle", model(graph(operator(node("Relu", "", []string{"b"}, []string{"a"})), operator(node("Relu", "", []string{"a"}, []string{"b"})), cast()))},
		{"self-loop", model(graph(operator(node("Relu", "", []string{"a"}, []string{"a"})), cast()))},
		{"unnamed", model(graph(operator(node("", "", []string{""}, []string{""})), cast()))},
		{"not-utf8", model(graph(operator(node("\xff\xfe", "", []string{"pixels"}, []string{"embedding"}))))},
		{"long-name", model(graph(operator(node(string(bytes.Repeat([]byte{'a'}, 1<<20)), "", []string{"pixels"}, []string{"embedding"}))))},
		{"constant-of-shape", bomb("ConstantOfShape")},
		{"expand", model(graph(shapeOf(1<<16, 1<<16, 4), w, operator(node("Expand", "", []string{"w", "s"}, []string{"x"})), cast()))},
		{"tile", model(graph(shapeOf(1<<40), w, operator(node("Tile", "", []string{"w", "s"}, []string{"x"})), cast()))},
		{"opset-0", append(message(nil).number(1, 8).bytes(7, graph(cast())), message(nil).bytes(8, message(nil).number(2, 0))...)},
		{"opset-huge", append(message(nil).number(1, 8).bytes(7, graph(cast())), message(nil).bytes(8, message(nil).number(2, 1<<40))...)},
		{"ir-huge", append(message(nil).number(1, math.MaxInt64).bytes(7, graph(cast())), message(nil).bytes(8, message(nil).number(2, 17))...)},
		{"well-formed-but-no-encoder", model(graph(cast()))},
	}
	return func(yield func(string, []byte) bool) {
		for _, f := range files {
			if !yield(f.name, f.data) {
				return
			}
		}
	}
}

// Folder writes a model folder whose image tower is the given graph, everything else being the bundled model's. In a
// folder that it wrote before it replaces the tower only.
func Folder(dir string, image []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	files := bundled.FS()
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		var data []byte
		if e.Name() != "image.onnx" {
			if data, err = fs.ReadFile(files, e.Name()); err != nil {
				return err
			}
		}
		switch e.Name() {
		case "golden.json":
			continue
		case "text.onnx", "vocab.json", "concepts.json":
			if _, err := os.Stat(filepath.Join(dir, e.Name())); err == nil {
				continue
			}
		case "image.onnx":
			data = image
		case "model.json":
			var m map[string]any
			if err := json.Unmarshal(data, &m); err != nil {
				return err
			}
			m["image"].(map[string]any)["sha256"] = fmt.Sprintf("%x", sha256.Sum256(image))
			if data, err = json.Marshal(m); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(dir, e.Name()), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
