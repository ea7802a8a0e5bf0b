package geotiff

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/image/tiff/lzw"
)

// codecs holds decompressors for reuse; a zlib reader has 40 kB of tables.
type codecs struct {
	zlib sync.Pool
	zstd sync.Pool

	memory, window uint64 // of a ZSTD block; 0 means the defaults of Limits
}

// decompress fills dst from the stored bytes of a block. More output than dst holds is an error unless
// tolerant is set (some writers pad the last strip), less is one always.
func (c *codecs) decompress(compression uint64, src, dst []byte, tolerant bool) error {
	var r io.Reader
	switch compression {
	case compressionNone:
		if len(src) < len(dst) {
			return fmt.Errorf("%d bytes for %d: %w", len(src), len(dst), ErrBlockSize)
		}
		copy(dst, src)
		return nil
	case compressionPackBits:
		return unpackBits(src, dst)
	case compressionLZW:
		z := lzw.NewReader(bytes.NewReader(src), lzw.MSB, 8)
		defer z.Close()
		r = z
	case compressionDeflate, compressionDeflate2:
		if z, ok := c.zlib.Get().(io.ReadCloser); ok {
			if err := z.(zlib.Resetter).Reset(bytes.NewReader(src), nil); err != nil {
				return fmt.Errorf("deflate: %w: %w", err, ErrBlockSize)
			}
			defer c.zlib.Put(z)
			r = z
		} else {
			z, err := zlib.NewReader(bytes.NewReader(src))
			if err != nil {
				return fmt.Errorf("deflate: %w: %w", err, ErrBlockSize)
			}
			defer c.zlib.Put(z)
			r = z
		}
	case compressionZSTD:
		z, ok := c.zstd.Get().(*zstd.Decoder)
		if !ok {
			var err error
			z, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(cmp.Or(c.memory, 64<<20)), zstd.WithDecoderMaxWindow(cmp.Or(c.window, 8<<20)))
			if err != nil {
				return fmt.Errorf("zstd: %w", err)
			}
		}
		if err := z.Reset(bytes.NewReader(src)); err != nil {
			return fmt.Errorf("zstd: %w: %w", err, ErrBlockSize)
		}
		defer c.zstd.Put(z)
		r = z
	default:
		return fmt.Errorf("compression %d: %w", compression, ErrUnsupported)
	}
	if n, err := io.ReadFull(r, dst); err != nil {
		return fmt.Errorf("%d of %d bytes: %w: %w", n, len(dst), err, ErrBlockSize)
	}
	var extra [1]byte
	if n, _ := io.ReadFull(r, extra[:]); n > 0 && !tolerant {
		return fmt.Errorf("more than %d bytes: %w", len(dst), ErrBlockSize)
	}
	return nil
}

// errPackBits is damage inside a PackBits block.
var errPackBits = errors.New("run past the end")

// unpackBits decodes PackBits (TIFF 6.0, section 9) until dst is full.
func unpackBits(src, dst []byte) error {
	for len(dst) > 0 {
		if len(src) == 0 {
			return fmt.Errorf("packbits: %d bytes missing: %w", len(dst), ErrBlockSize)
		}
		n := int(int8(src[0]))
		src = src[1:]
		switch {
		case n >= 0:
			n++
			if n > len(src) || n > len(dst) {
				return fmt.Errorf("packbits: %w: %w", errPackBits, ErrBlockSize)
			}
			copy(dst, src[:n])
			src, dst = src[n:], dst[n:]
		case n > -128:
			n = 1 - n
			if len(src) == 0 || n > len(dst) {
				return fmt.Errorf("packbits: %w: %w", errPackBits, ErrBlockSize)
			}
			for i := range dst[:n] {
				dst[i] = src[0]
			}
			src, dst = src[1:], dst[n:]
		}
	}
	return nil
}
