package geotiff

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/tilescout/tilescout"
)

func FuzzGeoKeys(f *testing.F) {
	f.Add([]byte{1, 0, 1, 0, 0, 0, 1, 0, 0, 12, 0, 0, 1, 0, 0x11, 0x0f}, "WGS 84 / Pseudo-Mercator|")
	f.Add([]byte{1, 0, 1, 0, 0, 0, 255, 255}, "")
	f.Add([]byte{1, 0, 1, 0, 0, 0, 1, 0, 2, 4, 0xb1, 0x87, 255, 255, 255, 255}, "x")
	f.Fuzz(func(t *testing.T, b []byte, ascii string) {
		dir := make([]uint64, len(b)/2)
		for i := range dir {
			dir[i] = uint64(b[2*i]) | uint64(b[2*i+1])<<8
		}
		k, err := parseGeoKeys(dir, []float64{6378137, 298.257}, ascii, usual())
		if err == nil {
			_, err = k.crs()
		}
		if err != nil && !errors.Is(err, tilescout.ErrBadInput) {
			t.Fatalf("error without a kind: %v", err)
		}
	})
}

// FuzzBlock feeds stored bytes to each decoder: the output never grows past its buffer and every failure has a kind.
func FuzzBlock(f *testing.F) {
	for _, c := range []byte{0, 1, 2, 3, 4, 5, 6} {
		f.Add(c, []byte{0x80, 0x0b, 0x60, 0x50, 0x22, 0x0c, 0x0c, 0x85, 0x01}, uint16(16))
	}
	f.Add(byte(3), []byte{254, 7, 2, 1, 2, 3}, uint16(6))
	f.Fuzz(func(t *testing.T, which byte, data []byte, size uint16) {
		compression := []uint64{compressionNone, compressionLZW, compressionDeflate, compressionPackBits, compressionZSTD, compressionJPEG, compressionWebP}[which%7]
		var err error
		switch w := int(size%64) + 1; compression {
		case compressionJPEG:
			_, err = decodeJPEG(data, nil, w, w, 1+2*int(which>>7), true, usual().Scans)
		case compressionWebP:
			_, err = decodeWebP(data, w, w, 3)
		default:
			// A wall of known bytes behind the buffer shows writes past its end.
			buf := bytes.Repeat([]byte{0xA5}, int(size)+64)
			err = new(codecs).decompress(compression, data, buf[:size:size], which&8 != 0)
			if !bytes.Equal(buf[size:], bytes.Repeat([]byte{0xA5}, 64)) {
				t.Fatal("written past the end")
			}
		}
		if err != nil && !errors.Is(err, tilescout.ErrBadInput) {
			t.Fatalf("compression %d: error without a kind: %v", compression, err)
		}
	})
}

// FuzzPredictor: undoing the predictor is the inverse of applying it, row by row, for samples of each width.
func FuzzPredictor(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, uint8(6), uint8(3), uint8(0))
	f.Add([]byte{255, 0, 255}, uint8(3), uint8(1), uint8(1))
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, uint8(2), uint8(1), uint8(6))
	f.Fuzz(func(t *testing.T, pix []byte, row, samples, how uint8) {
		width := 1 << (how & 3)
		spp := int(samples%8) + 1
		perRow := int(row) * spp
		rowBytes := perRow * width
		var order binary.ByteOrder = binary.LittleEndian
		if how&16 != 0 {
			order = binary.BigEndian
		}
		if rowBytes > 0 {
			pix = pix[:len(pix)/rowBytes*rowBytes]
		} else {
			pix = nil
		}
		coded := bytes.Clone(pix)
		for p := coded; len(p) > 0; p = p[rowBytes:] {
			if how&4 != 0 {
				applyFloatPredictor(p[:rowBytes], spp, width)
			} else {
				applyPredictor(p[:rowBytes], spp, width, order)
			}
		}
		if how&4 != 0 {
			undoFloatPredictor(coded, rowBytes, spp, width)
		} else {
			undoPredictor(coded, rowBytes, spp, width, order)
		}
		if !bytes.Equal(coded, pix) {
			t.Fatalf("rows of %d bytes, %d samples of %d: %v comes back as %v", rowBytes, spp, width, pix, coded)
		}
	})
}

func applyPredictor(row []byte, spp, width int, order binary.ByteOrder) {
	for i := len(row) - width; i >= spp*width; i -= width {
		a, b := row[i:i+width], row[i-spp*width:]
		switch width {
		case 1:
			a[0] -= b[0]
		case 2:
			order.PutUint16(a, order.Uint16(a)-order.Uint16(b))
		case 4:
			order.PutUint32(a, order.Uint32(a)-order.Uint32(b))
		case 8:
			order.PutUint64(a, order.Uint64(a)-order.Uint64(b))
		}
	}
}

func applyFloatPredictor(row []byte, spp, width int) {
	plain := bytes.Clone(row)
	n := len(row) / width
	for b := range width {
		for i := range n {
			row[(width-1-b)*n+i] = plain[i*width+b]
		}
	}
	for i := len(row) - 1; i >= spp; i-- {
		row[i] -= row[i-spp]
	}
}

// FuzzUnpack: samples of any number of bits come out as they went in.
func FuzzUnpack(f *testing.F) {
	f.Add([]byte{0xab, 0xcd, 0xef, 0x01, 0x23}, uint8(12), uint8(3))
	f.Add([]byte{0xff}, uint8(1), uint8(5))
	f.Fuzz(func(t *testing.T, data []byte, bits, n uint8) {
		b := int(bits%15) + 1
		if b == 8 {
			b = 9
		}
		values := make([]int, int(n)+1)
		rowBytes := (len(values)*b + 7) / 8
		row := make([]byte, rowBytes)
		for i := range values {
			for k := range b {
				bit := i*b + k
				if at := bit / 8; at < len(data) && data[at]>>(7-bit%8)&1 == 1 {
					row[at] |= 1 << (7 - bit%8)
					values[i] |= 1 << (b - 1 - k)
				}
			}
		}
		out := unpack(append(row, row...), rowBytes, len(values), 2, b)
		for i, v := range append(values, values...) {
			got := int(kindU8.value(out, i%len(out)))
			if b > 8 {
				got = int(kindU16.value(out, i))
			}
			if got != v {
				t.Fatalf("sample %d of %d bits is %d, want %d", i, b, got, v)
			}
		}
	})
}

// FuzzLZW and FuzzPackBits: neither writes past its buffer, and what fits is filled.
func FuzzLZW(f *testing.F)      { fuzzCodec(f, compressionLZW) }
func FuzzPackBits(f *testing.F) { fuzzCodec(f, compressionPackBits) }

func fuzzCodec(f *testing.F, compression uint64) {
	f.Add([]byte{0x80, 0x0b, 0x60, 0x50, 0x22, 0x0c, 0x0c, 0x85, 0x01}, uint16(9))
	f.Add([]byte{254, 7, 2, 1, 2, 3}, uint16(6))
	f.Add([]byte{129, 1, 128, 0, 5}, uint16(129))
	f.Add([]byte{0x80, 0x00, 0x01, 0x7f, 0xff, 0xff, 0xff}, uint16(40))
	f.Fuzz(func(t *testing.T, data []byte, size uint16) {
		buf := bytes.Repeat([]byte{0xA5}, int(size)+64)
		err := new(codecs).decompress(compression, data, buf[:size:size], false)
		if !bytes.Equal(buf[size:], bytes.Repeat([]byte{0xA5}, 64)) {
			t.Fatal("written past the end")
		}
		if err != nil && !errors.Is(err, tilescout.ErrBadInput) {
			t.Fatalf("error without a kind: %v", err)
		}
	})
}

// usual are the limits that hold where nobody says otherwise.
func usual() (l Limits) {
	l.setDefaults()
	return l
}
