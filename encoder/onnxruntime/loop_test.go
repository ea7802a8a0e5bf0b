package onnxruntime

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// loopModel is an ONNX model that counts: input turns int64 [1], output count float32 [1] = turns, one by one.
func loopModel() []byte {
	value := func(name string, elem int64, dims ...int64) []byte {
		var shape []byte
		for _, d := range dims {
			shape = sub(shape, 1, num(nil, 1, d))
		}
		return sub(sub(nil, 1, []byte(name)), 2, sub(nil, 1, sub(num(nil, 1, elem), 2, shape)))
	}
	node := func(op string, in, out []string, attrs ...[]byte) []byte {
		var b []byte
		for _, s := range in {
			b = sub(b, 1, []byte(s))
		}
		for _, s := range out {
			b = sub(b, 2, []byte(s))
		}
		b = sub(b, 4, []byte(op))
		for _, a := range attrs {
			b = sub(b, 5, a)
		}
		return b
	}
	float := func(name string, v float32) []byte {
		raw := protowire.AppendFixed32(nil, math.Float32bits(v))
		return sub(sub(num(num(nil, 1, 1), 2, 1), 9, raw), 8, []byte(name))
	}
	var body []byte
	body = sub(body, 1, node("Identity", []string{"go"}, []string{"go_on"}))
	body = sub(body, 1, node("Add", []string{"sum", "one"}, []string{"next"}))
	body = sub(body, 2, []byte("body"))
	body = sub(body, 5, float("one", 1))
	body = sub(body, 11, value("i", 7))
	body = sub(body, 11, value("go", 9))
	body = sub(body, 11, value("sum", 1, 1))
	body = sub(body, 12, value("go_on", 9))
	body = sub(body, 12, value("next", 1, 1))
	var graph []byte
	graph = sub(graph, 1, node("Squeeze", []string{"turns"}, []string{"n"}))
	graph = sub(graph, 1, node("Loop", []string{"n", "", "zero"}, []string{"count"}, num(sub(sub(nil, 1, []byte("body")), 6, body), 20, 5)))
	graph = sub(graph, 2, []byte("loop"))
	graph = sub(graph, 5, float("zero", 0))
	graph = sub(graph, 11, value("turns", 7, 1))
	graph = sub(graph, 12, value("count", 1, 1))
	return sub(sub(num(nil, 1, 8), 8, num(sub(nil, 1, nil), 2, 17)), 7, graph)
}

func num(b []byte, field protowire.Number, v int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(v))
}

func sub(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}
