package geotiff

import (
	"bytes"
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
		k, err := parseGeoKeys(dir, ascii)
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
			_, err = decodeJPEG(data, nil, w, w, 1+2*int(which>>7), true)
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

// FuzzPredictor: undoing the predictor is the inverse of applying it, row by row.
func FuzzPredictor(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, uint8(6), uint8(3))
	f.Add([]byte{255, 0, 255}, uint8(3), uint8(1))
	f.Fuzz(func(t *testing.T, pix []byte, row, samples uint8) {
		rowBytes, spp := int(row), int(samples%64)+1
		coded := bytes.Clone(pix)
		for p := coded; len(p) >= rowBytes && rowBytes > 0; p = p[rowBytes:] {
			for i := rowBytes - 1; i >= spp; i-- {
				p[i] -= p[i-spp]
			}
		}
		undoPredictor(coded, rowBytes, spp)
		if !bytes.Equal(coded, pix) {
			t.Fatalf("rows of %d bytes, %d samples: %v comes back as %v", rowBytes, spp, pix, coded)
		}
	})
}
