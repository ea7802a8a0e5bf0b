package ready

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tilescout/tilescout/internal/reject"
)

// The reasons to refuse a ready graph.
var (
	ErrGraph = reject.New("onnx", "ErrNotONNX", "not an ONNX model, or cut off")
	ErrTower = reject.New("onnx", "ErrTower", "not a tower that can be used")
)

// Field numbers of onnx.proto3.
const (
	modelIR, modelGraph, modelOpset, modelFunctions = 1, 7, 8, 25
	opsetDomain, opsetVersion                       = 1, 2

	graphNode, graphInitializer, graphInput, graphOutput, graphSparse = 1, 5, 11, 12, 15

	nodeInput, nodeOutput, nodeName, nodeOp, nodeAttribute, nodeDomain = 1, 2, 3, 4, 5, 7
	attrName, attrInts, attrTensor, attrGraph, attrGraphs, attrType    = 1, 8, 5, 6, 11, 20

	tensorDims, tensorType, tensorName, tensorRaw, tensorExternal, tensorLocation = 1, 2, 8, 9, 13, 14
	entryKey, entryValue                                                          = 1, 2

	valueName, valueType  = 1, 2
	typeTensor            = 1
	tensorElem, tensorDim = 1, 2 // of a type: element, shape
	shapeDim              = 1
	dimValue              = 1
)

// Element types, TensorProto.DataType.
const (
	elemFloat, elemUint8, elemInt8, elemInt32, elemInt64, elemFloat16 = 1, 2, 3, 6, 7, 10
)

// Bounds on a graph; the largest CLIP has some 5,000 operators.
const (
	maxNodes = 20_000
	maxRank  = 8
)

// graph is an ONNX file taken apart. Everything in it points into the file's bytes.
type graph struct {
	ir      uint64
	opsets  [][]byte
	opset   uint64 // version of the standard operators
	nodes   []node
	tensors []initializer
	inputs  []value
	outputs []value
}

// node is an operator.
type node struct {
	raw     []byte
	inputs  []string
	outputs []string
	op      string
}

// initializer is a constant tensor.
type initializer struct {
	raw      []byte
	name     string
	elem     uint64
	dims     [][]byte // fields as they stand
	data     []byte   // raw_data; nil where the values are elsewhere
	external map[string]string
	typed    bool // values in fields of their type, not in raw_data
}

// value is an input or output.
type value struct {
	name string
	elem uint64
	dims []int64 // 0 where it is free
}

// parse takes a file apart.
func parse(model []byte) (*graph, error) {
	g := &graph{}
	var body []byte
	err := walk(model, func(num protowire.Number, v []byte, n uint64) error {
		switch num {
		case modelIR:
			g.ir = n
		case modelGraph:
			if body != nil {
				return ErrGraph
			}
			body = v
		case modelFunctions:
			return fmt.Errorf("it defines functions of its own; export it with an older opset or inline them: %w", ErrTower)
		case modelOpset:
			g.opsets = append(g.opsets, v)
			var domain string
			var version uint64
			err := walk(v, func(num protowire.Number, v []byte, n uint64) error {
				switch num {
				case opsetDomain:
					domain = string(v)
				case opsetVersion:
					version = n
				}
				return nil
			})
			if domain == "" || domain == "ai.onnx" {
				g.opset = version
			}
			return err
		}
		return nil
	})
	if err == nil && body == nil {
		err = ErrGraph
	}
	if err == nil {
		err = walk(body, g.part)
	}
	if err != nil {
		return nil, err
	}
	if g.opset < 9 {
		return nil, fmt.Errorf("opset %d: want 9 or later: %w", g.opset, ErrTower)
	}
	// Before IR version 4 constants had to be listed as inputs too.
	constant := make(map[string]bool, len(g.tensors))
	for _, t := range g.tensors {
		constant[t.name] = true
	}
	g.inputs = slices.DeleteFunc(g.inputs, func(v value) bool { return constant[v.name] })
	return g, nil
}

// part is one field of a GraphProto.
func (g *graph) part(num protowire.Number, v []byte, _ uint64) error {
	switch num {
	case graphNode:
		n, err := parseNode(v)
		if err != nil {
			return err
		}
		if g.nodes = append(g.nodes, n); len(g.nodes) > maxNodes {
			return fmt.Errorf("more than %d operators: %w", maxNodes, ErrTower)
		}
	case graphInitializer:
		t, err := parseTensor(v)
		if err != nil {
			return err
		}
		if g.tensors = append(g.tensors, t); len(g.tensors) > maxNodes {
			return fmt.Errorf("more than %d tensors: %w", maxNodes, ErrTower)
		}
	case graphSparse:
		return fmt.Errorf("it has sparse tensors: %w", ErrTower)
	case graphInput, graphOutput:
		x, err := parseValue(v)
		if err != nil {
			return err
		}
		if num == graphInput {
			g.inputs = append(g.inputs, x)
		} else {
			g.outputs = append(g.outputs, x)
		}
	}
	return nil
}

func parseNode(raw []byte) (node, error) {
	n := node{raw: raw}
	err := walk(raw, func(num protowire.Number, v []byte, _ uint64) error {
		switch num {
		case nodeInput:
			n.inputs = append(n.inputs, string(v))
		case nodeOutput:
			n.outputs = append(n.outputs, string(v))
		case nodeOp:
			n.op = string(v)
		case nodeAttribute:
			return walk(v, func(num protowire.Number, _ []byte, _ uint64) error {
				if num == attrGraph || num == attrGraphs {
					return fmt.Errorf("it has control flow (a graph inside a node), which an encoder does not need: %w", ErrTower)
				}
				return nil
			})
		}
		return nil
	})
	return n, err
}

func parseTensor(raw []byte) (initializer, error) {
	t := initializer{raw: raw}
	err := walk(raw, func(num protowire.Number, v []byte, n uint64) error {
		switch num {
		case tensorDims:
			if t.dims = append(t.dims, field(num, v, n)); len(t.dims) > maxRank {
				return fmt.Errorf("a tensor of more than %d axes: %w", maxRank, ErrTower)
			}
		case tensorType:
			t.elem = n
		case tensorName:
			t.name = string(v)
		case tensorRaw:
			t.data = v
		case tensorLocation:
			if n != 0 && t.external == nil {
				t.external = map[string]string{}
			}
		case tensorExternal:
			var key, entry string
			err := walk(v, func(num protowire.Number, v []byte, _ uint64) error {
				switch num {
				case entryKey:
					key = string(v)
				case entryValue:
					entry = string(v)
				}
				return nil
			})
			if t.external == nil {
				t.external = map[string]string{}
			}
			t.external[key] = entry
			return err
		case 4, 5, 6, 7, 10, 11: // float_data, int32_data, …
			t.typed = true
		}
		return nil
	})
	return t, err
}

// field writes a field again: bytes, or a number where there are none.
func field(num protowire.Number, v []byte, n uint64) []byte {
	if v != nil { // packed numbers
		return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), v)
	}
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), n)
}

func parseValue(raw []byte) (value, error) {
	var x value
	err := walk(raw, func(num protowire.Number, v []byte, _ uint64) error {
		switch num {
		case valueName:
			x.name = string(v)
		case valueType:
			return walk(v, func(num protowire.Number, v []byte, _ uint64) error {
				if num != typeTensor {
					return nil
				}
				return walk(v, func(num protowire.Number, v []byte, n uint64) error {
					switch num {
					case tensorElem:
						x.elem = n
					case tensorDim:
						return walk(v, x.axis)
					}
					return nil
				})
			})
		}
		return nil
	})
	return x, err
}

// axis is one field of a TensorShapeProto.
func (x *value) axis(num protowire.Number, v []byte, _ uint64) error {
	if num != shapeDim {
		return nil
	}
	if len(x.dims) == maxRank {
		return fmt.Errorf("%.40q has more than %d axes: %w", x.name, maxRank, ErrTower)
	}
	x.dims = append(x.dims, 0)
	return walk(v, func(num protowire.Number, _ []byte, n uint64) error {
		if num == dimValue {
			if n > 1<<31 {
				return ErrGraph
			}
			x.dims[len(x.dims)-1] = int64(n)
		}
		return nil
	})
}

// walk calls f for every field of a message: v for the length-delimited ones, n for the numbers.
func walk(message []byte, f func(num protowire.Number, v []byte, n uint64) error) error {
	for len(message) > 0 {
		num, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return ErrGraph
		}
		message = message[n:]
		var v []byte
		var number uint64
		switch typ {
		case protowire.BytesType:
			if v, n = protowire.ConsumeBytes(message); v == nil {
				v = []byte{}
			}
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(message)
		default:
			n = protowire.ConsumeFieldValue(num, typ, message)
		}
		if n < 0 {
			return ErrGraph
		}
		message = message[n:]
		if err := f(num, v, number); err != nil {
			return err
		}
	}
	return nil
}
