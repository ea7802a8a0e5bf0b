package pmtiles

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// gzipReaders keeps decoders, whose tables outweigh a directory.
var gzipReaders = sync.Pool{New: func() any { return new(gzip.Reader) }}

// unpack returns b unpacked, at most limit bytes; more is the error over. What is not compressed is returned as it is.
func unpack(b []byte, compression uint8, limit int, over error) ([]byte, error) {
	var r io.Reader
	switch compression {
	case compressionNone, compressionUnknown:
		if len(b) > limit {
			return nil, fmt.Errorf("%d bytes, the limit is %d: %w", len(b), limit, over)
		}
		return b, nil
	case compressionGzip:
		z := gzipReaders.Get().(*gzip.Reader)
		defer gzipReaders.Put(z)
		if err := z.Reset(bytes.NewReader(b)); err != nil {
			return nil, fmt.Errorf("gzip: %v: %w", err, ErrCompression)
		}
		r = z
	case compressionZstd:
		z, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			return nil, fmt.Errorf("zstd: %v: %w", err, ErrCompression)
		}
		defer z.Close()
		r = z
	default:
		return nil, readable(compression)
	}
	var out bytes.Buffer
	out.Grow(min(limit, 4*len(b)) + bytes.MinRead)
	if _, err := out.ReadFrom(io.LimitReader(r, int64(limit)+1)); err != nil {
		return nil, fmt.Errorf("unpack: %v: %w", err, ErrCompression)
	}
	if out.Len() > limit {
		return nil, fmt.Errorf("%d bytes grow to more than %d: %w", len(b), limit, over)
	}
	return out.Bytes(), nil
}
