package geotiff

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"image"

	"golang.org/x/image/webp"
)

// block is a decoded tile or strip. Of an image it holds NRGBA, 4 bytes a pixel; of a mask 1 byte a pixel,
// 0 for invalid. Rows and columns outside the image are cut off. It is frozen once decoded.
type block struct {
	pix    []byte // nil if nothing was ever written there: transparent
	w, h   int
	opaque bool // of an image: every pixel's alpha is 255
}

func (b *block) size() int64 { return int64(len(b.pix)) + 128 }

// decodeImage decodes block i, j of an image with its mask, alpha and nodata value applied.
func (f *File) decodeImage(ctx context.Context, l *level, i, j int) (*block, error) {
	out := &block{w: min(l.blockW, l.width-i*l.blockW), h: min(l.blockH, l.height-j*l.blockH)}
	pix, stride, err := f.colours(ctx, l, i, j)
	if err != nil {
		return nil, fmt.Errorf("level %d, block %d,%d: %w", l.index, i, j, err)
	}
	if pix == nil {
		return out, nil
	}
	// Cut to the image in place: the rows only move forward.
	if stride != 4*out.w {
		for y := range out.h {
			copy(pix[y*4*out.w:(y+1)*4*out.w], pix[y*stride:])
		}
	}
	out.pix = pix[: 4*out.w*out.h : 4*out.w*out.h]
	if l.mask != nil {
		if err := f.applyMask(ctx, l, out, i*l.blockW, j*l.blockH); err != nil {
			return nil, fmt.Errorf("mask of level %d, block %d,%d: %w", l.index, i, j, err)
		}
	}
	out.opaque = opaque(out.pix)
	return out, nil
}

func opaque(nrgba []byte) bool {
	for k := 3; k < len(nrgba); k += 4 {
		if nrgba[k] != 255 {
			return false
		}
	}
	return true
}

// applyMask makes the block's pixels transparent where the mask image is 0. x0, y0 is the block's corner.
func (f *File) applyMask(ctx context.Context, l *level, b *block, x0, y0 int) error {
	m := l.mask
	for j := y0 / m.blockH; j*m.blockH < y0+b.h; j++ {
		for i := x0 / m.blockW; i*m.blockW < x0+b.w; i++ {
			mb, err := f.block(ctx, m, true, i, j)
			if err != nil {
				return err
			}
			for y := max(y0, j*m.blockH); y < min(y0+b.h, j*m.blockH+mb.h); y++ {
				from, to := max(x0, i*m.blockW), min(x0+b.w, i*m.blockW+mb.w)
				row := b.pix[4*((y-y0)*b.w+from-x0):]
				if mb.pix == nil {
					for x := range to - from {
						row[4*x+3] = 0
					}
					continue
				}
				valid := mb.pix[(y-j*m.blockH)*mb.w+from-i*m.blockW:]
				for x := range to - from {
					if valid[x] == 0 {
						row[4*x+3] = 0
					}
				}
			}
		}
	}
	return nil
}

// decodeMask decodes block i, j of a mask to one byte a pixel.
func (f *File) decodeMask(ctx context.Context, l *level, i, j int) (*block, error) {
	out := &block{w: min(l.blockW, l.width-i*l.blockW), h: min(l.blockH, l.height-j*l.blockH)}
	s, err := f.samples(ctx, l, i, j, 0)
	if err != nil || s == nil {
		return out, err
	}
	if s.img != nil || l.kind != kindU8 {
		return nil, fmt.Errorf("mask in JPEG or of %d bits: %w", l.bits(), ErrUnsupported)
	}
	out.pix = make([]byte, out.w*out.h)
	for y := range out.h {
		copy(out.pix[y*out.w:(y+1)*out.w], s.pix[y*l.blockW:])
	}
	return out, nil
}

// raw is one plane of a block: samples of the level's kind, pixel-interleaved and little-endian, or a picture.
type raw struct {
	pix []byte
	img image.Image
}

// samples reads and decompresses one plane of a block; nil if it was never written.
func (f *File) samples(ctx context.Context, l *level, i, j, plane int) (*raw, error) {
	at, n, err := l.extent(ctx, i, j, plane)
	if err != nil || n == 0 {
		return nil, err
	}
	data := make([]byte, n)
	if err := l.w.readAtContext(ctx, data, at); err != nil {
		return nil, err
	}
	rows, spp := l.rows(j), l.blockSamples()
	switch l.Compression {
	case compressionJPEG:
		img, err := decodeJPEG(data, l.JPEGTables, l.blockW, rows, spp, l.Photometric == yCbCr, l.w.limits.Scans)
		if err != nil {
			return nil, fmt.Errorf("JPEG: %w", err)
		}
		return &raw{img: img}, nil
	case compressionWebP:
		img, err := decodeWebP(data, l.blockW, rows, spp)
		if err != nil {
			return nil, fmt.Errorf("WebP: %w", err)
		}
		return &raw{img: img}, nil
	}
	rowBytes := int(l.rowBytes())
	pix := make([]byte, rowBytes*rows)
	lastStrip := !l.tiled && j == l.down-1
	if err := f.codecs.decompress(l.Compression, data, pix, lastStrip || l.split); err != nil {
		return nil, err
	}
	width, bits := l.kind.width(), int(l.bits())
	switch predicted := l.Compression != compressionNone && l.Compression != compressionPackBits; {
	case predicted && l.Predictor == 3:
		undoFloatPredictor(pix, rowBytes, spp, width)
		return &raw{pix: pix}, nil
	case predicted && l.Predictor == 2:
		undoPredictor(pix, rowBytes, spp, width, l.w.order)
	}
	switch {
	case bits%8 != 0:
		pix = unpack(pix, rowBytes, l.blockW*spp, rows, bits)
	case l.w.order == binary.BigEndian:
		swap(pix, width)
	}
	return &raw{pix: pix}, nil
}

func decodeWebP(data []byte, width, height, samples int) (image.Image, error) {
	c, err := webp.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrBlockSize)
	}
	if c.Width != width || c.Height != height || samples < 3 {
		return nil, fmt.Errorf("%d × %d pixels where the block is %d × %d of %d samples: %w", c.Width, c.Height, width, height, samples, ErrBlockSize)
	}
	img, err := webp.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrBlockSize)
	}
	return img, nil
}
