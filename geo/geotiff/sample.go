package geotiff

import (
	"encoding/binary"
	"fmt"
	"math"
)

// sampleKind is the type of a number in the file, once it is unpacked to whole bytes, little-endian.
type sampleKind uint8

const (
	kindU8  sampleKind = iota // and fewer bits
	kindU16                   // and 9 to 15 bits
	kindU32
	kindU64
	kindI8
	kindI16
	kindI32
	kindI64
	kindF16
	kindF32
	kindF64
)

// Sample formats (TIFF 6.0, section 19; 4 is "undefined", which everybody takes as unsigned).
const (
	formatUint  = 1
	formatInt   = 2
	formatFloat = 3
	formatVoid  = 4
)

// width is the number of bytes of an unpacked sample.
func (k sampleKind) width() int {
	switch k {
	case kindU8, kindI8:
		return 1
	case kindU16, kindI16, kindF16:
		return 2
	case kindU32, kindI32, kindF32:
		return 4
	}
	return 8
}

func (k sampleKind) float() bool { return k >= kindF16 }

// kindOfSamples is the type of the samples of a directory, or why it is not read.
func (t *tags) kindOfSamples() (sampleKind, error) {
	format := t.SampleFormat[0]
	for _, f := range t.SampleFormat {
		if f != format {
			return 0, fmt.Errorf("samples of different formats %v: %w", t.SampleFormat, ErrUnsupported)
		}
	}
	bits := t.bits()
	switch format {
	case formatUint, formatVoid:
		switch {
		case bits >= 1 && bits <= 8:
			return kindU8, nil
		case bits > 8 && bits <= 16:
			return kindU16, nil
		case bits == 32:
			return kindU32, nil
		case bits == 64:
			return kindU64, nil
		}
	case formatInt:
		switch bits {
		case 8:
			return kindI8, nil
		case 16:
			return kindI16, nil
		case 32:
			return kindI32, nil
		case 64:
			return kindI64, nil
		}
	case formatFloat:
		switch bits {
		case 16:
			return kindF16, nil
		case 32:
			return kindF32, nil
		case 64:
			return kindF64, nil
		}
	default:
		return 0, fmt.Errorf("samples are complex numbers or of unknown format %d; make a picture of them first: gdal_translate -ot Float32: %w", format, ErrUnsupported)
	}
	return 0, fmt.Errorf("samples of %d bits, format %d; convert with gdal_translate -ot Float32: %w", bits, format, ErrUnsupported)
}

// value is sample i of unpacked samples.
func (k sampleKind) value(pix []byte, i int) float64 {
	switch k {
	case kindU8:
		return float64(pix[i])
	case kindI8:
		return float64(int8(pix[i]))
	case kindU16:
		return float64(binary.LittleEndian.Uint16(pix[2*i:]))
	case kindI16:
		return float64(int16(binary.LittleEndian.Uint16(pix[2*i:])))
	case kindF16:
		return half(binary.LittleEndian.Uint16(pix[2*i:]))
	case kindU32:
		return float64(binary.LittleEndian.Uint32(pix[4*i:]))
	case kindI32:
		return float64(int32(binary.LittleEndian.Uint32(pix[4*i:])))
	case kindF32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(pix[4*i:])))
	case kindU64:
		return float64(binary.LittleEndian.Uint64(pix[8*i:]))
	case kindI64:
		return float64(int64(binary.LittleEndian.Uint64(pix[8*i:])))
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(pix[8*i:]))
}

// half is IEEE 754 binary16.
func half(b uint16) float64 {
	sign, exponent, fraction := 1-2*float64(b>>15), int(b>>10&31), float64(b&1023)
	switch exponent {
	case 0:
		return sign * math.Ldexp(fraction, -24)
	case 31:
		if fraction != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	}
	return sign * math.Ldexp(1024+fraction, exponent-25)
}

// full is the range of the type, for samples whose meaning needs no stretch.
func (k sampleKind) full(bits uint64) (lo, hi float64) {
	switch k {
	case kindI8, kindI16, kindI32, kindI64:
		return -math.Exp2(float64(bits - 1)), math.Exp2(float64(bits-1)) - 1
	case kindF16, kindF32, kindF64:
		return 0, 1
	}
	return 0, math.Exp2(float64(bits)) - 1
}

// undoPredictor turns differences between neighbouring pixels of a row back into samples (TIFF 6.0, section 14), in
// place. Rows have rowBytes bytes, samples are width bytes each in the file's byte order.
func undoPredictor(pix []byte, rowBytes, samples, width int, order binary.ByteOrder) {
	for ; len(pix) >= rowBytes && rowBytes > 0; pix = pix[rowBytes:] {
		row := pix[:rowBytes]
		switch width {
		case 1:
			for i := samples; i < len(row); i++ {
				row[i] += row[i-samples]
			}
		case 2:
			for i := 2 * samples; i+2 <= len(row); i += 2 {
				order.PutUint16(row[i:], order.Uint16(row[i:])+order.Uint16(row[i-2*samples:]))
			}
		case 4:
			for i := 4 * samples; i+4 <= len(row); i += 4 {
				order.PutUint32(row[i:], order.Uint32(row[i:])+order.Uint32(row[i-4*samples:]))
			}
		case 8:
			for i := 8 * samples; i+8 <= len(row); i += 8 {
				order.PutUint64(row[i:], order.Uint64(row[i:])+order.Uint64(row[i-8*samples:]))
			}
		}
	}
}

// undoFloatPredictor undoes predictor 3 (Adobe Photoshop TIFF Technical Note 3): each row holds the samples' bytes in
// planes, the highest first, as differences to the byte before. It leaves little-endian samples.
func undoFloatPredictor(pix []byte, rowBytes, samples, width int) {
	plain := make([]byte, rowBytes)
	n := rowBytes / width
	for ; len(pix) >= rowBytes && rowBytes > 0; pix = pix[rowBytes:] {
		row := pix[:rowBytes]
		for i := samples; i < len(row); i++ {
			row[i] += row[i-samples]
		}
		for b := range width {
			from := row[(width-1-b)*n:]
			for i := range n {
				plain[i*width+b] = from[i]
			}
		}
		copy(row, plain[:n*width])
	}
}

// swap makes big-endian samples little-endian.
func swap(pix []byte, width int) {
	switch width {
	case 2:
		for ; len(pix) >= 2; pix = pix[2:] {
			pix[0], pix[1] = pix[1], pix[0]
		}
	case 4:
		for ; len(pix) >= 4; pix = pix[4:] {
			binary.LittleEndian.PutUint32(pix, binary.BigEndian.Uint32(pix))
		}
	case 8:
		for ; len(pix) >= 8; pix = pix[8:] {
			binary.LittleEndian.PutUint64(pix, binary.BigEndian.Uint64(pix))
		}
	}
}

// unpack spreads samples of 1 to 15 bits, the highest bit first and rows padded to bytes, to one byte each, or two
// where a byte is too small. n is the number of samples in a row.
func unpack(src []byte, rowBytes, n, rows, bits int) []byte {
	if bits < 8 {
		out := make([]byte, n*rows)
		for y := range rows {
			unpackRow(out[y*n:(y+1)*n], src[y*rowBytes:(y+1)*rowBytes], bits)
		}
		return out
	}
	out := make([]byte, 2*n*rows)
	for y := range rows {
		row := src[y*rowBytes : (y+1)*rowBytes]
		var held uint32
		have := 0
		for x := range n {
			for have < bits {
				held, row, have = held<<8|uint32(row[0]), row[1:], have+8
			}
			have -= bits
			binary.LittleEndian.PutUint16(out[2*(y*n+x):], uint16(held>>have)&(1<<bits-1))
		}
	}
	return out
}

func unpackRow(dst, src []byte, bits int) {
	if 8%bits == 0 {
		mask := byte(1<<bits - 1)
		for x := range dst {
			bit := x * bits
			dst[x] = src[bit>>3] >> (8 - bits - bit&7) & mask
		}
		return
	}
	var held uint32 // 3, 5, 6 or 7 bits
	have := 0
	for x := range dst {
		for have < bits {
			held, src, have = held<<8|uint32(src[0]), src[1:], have+8
		}
		have -= bits
		dst[x] = byte(held>>have) & (1<<bits - 1)
	}
}
