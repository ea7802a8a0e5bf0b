package encoder

import (
	"fmt"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tilescout/tilescout"
)

// tower is what a graph must take and give.
type tower struct {
	input, output string
	elem          uint64 // TensorProto.DataType of the input
	rank          int    // of the input
	weights       string // name of the one file that may hold tensors of the graph; "" if none may
	size          int64  // of that file, in bytes
}

// TensorProto.DataType, onnx.proto3.
const (
	elemFloat = 1
	elemUint8 = 2
	elemInt64 = 7
)

// maxOperators bounds the work of loading a graph; the largest CLIP has some 5,000.
const maxOperators = 20_000

// Field numbers of onnx.proto3.
const (
	modelGraph, modelOpset, modelFunctions = 7, 8, 25
	opsetDomain                            = 1
	graphNode, graphInitializer            = 1, 5
	graphInput, graphOutput                = 11, 12
	nodeOpType, nodeAttribute, nodeDomain  = 4, 5, 7
	attrGraph, attrGraphs                  = 6, 11
	tensorExternal, tensorLocation         = 13, 14
	valueName, valueType                   = 1, 2
	typeTensor                             = 1
	tensorElem, tensorShape                = 1, 2
	shapeDim                               = 1
	entryKey, entryValue                   = 1, 2
)

var errNotONNX = fmt.Errorf("it is no ONNX model, or cut off; name a folder that an export of Tilescout wrote: %w", tilescout.ErrBadInput)

// preflight walks an ONNX file before ONNX Runtime sees it. A model is code-like input: operators outside the standard
// domains, control flow (which could run for ever) and data in files other than the tower's own are refused, and the input
// and output must be those of the tower. One pass, nothing is copied.
func preflight(model []byte, t tower) error {
	var graph []byte
	graphs := 0
	err := fields(model, func(num protowire.Number, v []byte, _ uint64) error {
		switch num {
		case modelGraph:
			graph = v
			graphs++
		case modelOpset:
			return fields(v, func(num protowire.Number, v []byte, _ uint64) error {
				if num == opsetDomain {
					return checkDomain(string(v))
				}
				return nil
			})
		case modelFunctions:
			return refuse("it defines functions of its own")
		}
		return nil
	})
	if err != nil {
		return err
	}
	if graphs != 1 {
		return errNotONNX
	}
	nodes, in, out := 0, 0, false
	err = fields(graph, func(num protowire.Number, v []byte, _ uint64) error {
		switch num {
		case graphNode:
			if nodes++; nodes > maxOperators {
				return refuse("it has more than %d operators", maxOperators)
			}
			return checkNode(v)
		case graphInitializer:
			return checkTensor(v, t)
		case graphInput:
			in++
			return checkValue(v, t.input, t.elem, t.rank)
		case graphOutput:
			name, _, _, err := value(v)
			out = out || name == t.output
			if err == nil && name == t.output {
				return checkValue(v, t.output, elemFloat, 2)
			}
			return err
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case nodes == 0:
		return errNotONNX
	case in != 1 || !out:
		return refuse("want the one input %q and an output %q", t.input, t.output)
	}
	return nil
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("refused: %s: %w", fmt.Sprintf(format, args...), tilescout.ErrBadInput)
}

func checkDomain(domain string) error {
	switch domain {
	case "", "ai.onnx", "com.microsoft":
		return nil
	}
	return refuse("it uses operators of domain %q; only the standard ones and com.microsoft are allowed", domain)
}

func checkNode(node []byte) error {
	return fields(node, func(num protowire.Number, v []byte, _ uint64) error {
		switch num {
		case nodeOpType:
			switch op := string(v); op {
			case "Loop", "If", "Scan", "SequenceMap":
				return refuse("it has the control flow operator %s, which an encoder does not need", op)
			}
		case nodeDomain:
			return checkDomain(string(v))
		case nodeAttribute:
			return fields(v, func(num protowire.Number, _ []byte, _ uint64) error {
				if num == attrGraph || num == attrGraphs {
					return refuse("it has a graph inside a node, which an encoder does not need")
				}
				return nil
			})
		}
		return nil
	})
}

// checkTensor refuses weights kept in another file than the tower's, or beyond its end.
func checkTensor(tensor []byte, t tower) error {
	external := map[string]string{}
	outside := false
	err := fields(tensor, func(num protowire.Number, v []byte, n uint64) error {
		switch num {
		case tensorLocation:
			outside = outside || n != 0
		case tensorExternal:
			outside = true
			var key, value string
			err := fields(v, func(num protowire.Number, v []byte, _ uint64) error {
				switch num {
				case entryKey:
					key = string(v)
				case entryValue:
					value = string(v)
				}
				return nil
			})
			external[key] = value
			return err
		}
		return nil
	})
	switch {
	case err != nil || !outside:
		return err
	case t.weights == "":
		return refuse("its weights lie in another file; export it as one file, or name the file in model.json")
	case external["location"] != t.weights:
		return refuse("its weights lie in %q, model.json names %q", external["location"], t.weights)
	}
	offset, err1 := strconv.ParseInt(external["offset"], 10, 64)
	length, err2 := strconv.ParseInt(external["length"], 10, 64)
	if err1 != nil || err2 != nil || offset < 0 || length < 0 || offset > t.size || length > t.size-offset {
		return refuse("a tensor lies at %q, %q bytes long, in %s of %d bytes", external["offset"], external["length"], t.weights, t.size)
	}
	return nil
}

func checkValue(v []byte, name string, elem uint64, rank int) error {
	gotName, gotElem, gotRank, err := value(v)
	if err != nil {
		return err
	}
	if gotName != name || gotElem != elem || gotRank != rank {
		return refuse("input or output %q has element type %d and %d axes, want %q with element type %d and %d axes", gotName, gotElem, gotRank, name, elem, rank)
	}
	return nil
}

// value reads a ValueInfoProto.
func value(v []byte) (name string, elem uint64, rank int, err error) {
	err = fields(v, func(num protowire.Number, v []byte, _ uint64) error {
		switch num {
		case valueName:
			name = string(v)
		case valueType:
			return fields(v, func(num protowire.Number, v []byte, _ uint64) error {
				if num != typeTensor {
					return nil
				}
				return fields(v, func(num protowire.Number, v []byte, n uint64) error {
					switch num {
					case tensorElem:
						elem = n
					case tensorShape:
						return fields(v, func(num protowire.Number, _ []byte, _ uint64) error {
							if num == shapeDim {
								rank++
							}
							return nil
						})
					}
					return nil
				})
			})
		}
		return nil
	})
	return name, elem, rank, err
}

// fields calls f for every field of a message: v for the length-delimited ones, n for the varints.
func fields(message []byte, f func(num protowire.Number, v []byte, n uint64) error) error {
	for len(message) > 0 {
		num, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return errNotONNX
		}
		message = message[n:]
		var v []byte
		var varint uint64
		switch typ {
		case protowire.BytesType:
			v, n = protowire.ConsumeBytes(message)
		case protowire.VarintType:
			varint, n = protowire.ConsumeVarint(message)
		default:
			n = protowire.ConsumeFieldValue(num, typ, message)
		}
		if n < 0 {
			return errNotONNX
		}
		message = message[n:]
		if err := f(num, v, varint); err != nil {
			return err
		}
	}
	return nil
}
