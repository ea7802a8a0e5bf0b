package tensor

import (
	"encoding/binary"
	"math"
)

// Type is the type of a tensor's elements.
type Type uint8

// The types that checkpoints hold. Integers and booleans are buffers (position ids, counters), never weights.
const (
	_ Type = iota
	Float32
	Float16
	BFloat16
	Float64
	Int64
	Int32
	Int16
	Int8
	Uint8
	Bool
)

var types = [...]struct {
	name string
	size int
}{
	Float32: {"float32", 4}, Float16: {"float16", 2}, BFloat16: {"bfloat16", 2}, Float64: {"float64", 8},
	Int64: {"int64", 8}, Int32: {"int32", 4}, Int16: {"int16", 2}, Int8: {"int8", 1}, Uint8: {"uint8", 1}, Bool: {"bool", 1},
}

// String is the type's name as NumPy spells it.
func (t Type) String() string {
	if int(t) < len(types) && types[t].size > 0 {
		return types[t].name
	}
	return "unknown"
}

// Size is the bytes of one element; 0 if the type is unknown.
func (t Type) Size() int {
	if int(t) < len(types) {
		return types[t].size
	}
	return 0
}

// ParseType returns the type of a NumPy name.
func ParseType(name string) (Type, bool) {
	for t, row := range types {
		if row.size > 0 && row.name == name {
			return Type(t), true
		}
	}
	return 0, false
}

// HalfToFloat32 widens an IEEE 754 binary16.
func HalfToFloat32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exponent, fraction := uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exponent {
	case 0: // zero or subnormal: fraction × 2^-24
		f := float32(fraction) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(f) | sign)
	case 0x1f: // infinite or not a number
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
}

// convert writes the elements of raw, which holds len(dst) of them, as float32. Widening is exact; float64 and large
// integers are rounded to nearest.
func convert(kind Type, raw []byte, dst []float32, order binary.ByteOrder) {
	little := order == binary.ByteOrder(binary.LittleEndian)
	switch kind {
	case Float32:
		if little {
			for i := range dst {
				dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
			}
			return
		}
		for i := range dst {
			dst[i] = math.Float32frombits(order.Uint32(raw[4*i:]))
		}
	case Float16:
		if little {
			for i := range dst {
				dst[i] = HalfToFloat32(binary.LittleEndian.Uint16(raw[2*i:]))
			}
			return
		}
		for i := range dst {
			dst[i] = HalfToFloat32(order.Uint16(raw[2*i:]))
		}
	case BFloat16:
		if little {
			for i := range dst {
				dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw[2*i:])) << 16)
			}
			return
		}
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(order.Uint16(raw[2*i:])) << 16)
		}
	case Float64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(order.Uint64(raw[8*i:])))
		}
	case Int64:
		for i := range dst {
			dst[i] = float32(int64(order.Uint64(raw[8*i:])))
		}
	case Int32:
		for i := range dst {
			dst[i] = float32(int32(order.Uint32(raw[4*i:])))
		}
	case Int16:
		for i := range dst {
			dst[i] = float32(int16(order.Uint16(raw[2*i:])))
		}
	case Int8:
		for i := range dst {
			dst[i] = float32(int8(raw[i]))
		}
	case Uint8, Bool:
		for i := range dst {
			dst[i] = float32(raw[i])
		}
	}
}

// Float reports whether the type is one that weights have.
func (t Type) Float() bool { return t >= Float32 && t <= Float64 }
