package geotiff

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"sync"

	"github.com/tilescout/tilescout"
)

// encoder turns rendered tiles into bytes. It keeps buffers for reuse.
type encoder struct {
	buffers sync.Pool // of *png.EncoderBuffer
}

// Get and Put make encoder a png.EncoderBufferPool.
func (e *encoder) Get() *png.EncoderBuffer {
	b, _ := e.buffers.Get().(*png.EncoderBuffer)
	return b
}

func (e *encoder) Put(b *png.EncoderBuffer) { e.buffers.Put(b) }

// encode returns JPEG for an opaque picture, PNG for one with transparent pixels, nil for one with nothing else.
func (e *encoder) encode(img *image.NRGBA, o Options) (data []byte, mediaType string, err error) {
	clear, solid := true, true
	for k := 3; k < len(img.Pix) && (clear || solid); k += 4 {
		clear = clear && img.Pix[k] == 0
		solid = solid && img.Pix[k] == 255
	}
	if clear {
		return nil, "", nil
	}
	// Where nothing is transparent, NRGBA and RGBA are the same bytes; the encoders have a fast way for RGBA only.
	opaque := &image.RGBA{Pix: img.Pix, Stride: img.Stride, Rect: img.Rect}
	var out bytes.Buffer
	out.Grow(64 << 10)
	switch {
	case solid && !o.PNG:
		if err := jpeg.Encode(&out, opaque, &jpeg.Options{Quality: o.Quality}); err != nil {
			return nil, "", fmt.Errorf("encode JPEG: %w", err)
		}
		return out.Bytes(), tilescout.JPEG, nil
	default:
		p := png.Encoder{CompressionLevel: png.BestSpeed, BufferPool: e}
		var m image.Image = img
		if solid {
			m = opaque
		}
		if err := p.Encode(&out, m); err != nil {
			return nil, "", fmt.Errorf("encode PNG: %w", err)
		}
		return out.Bytes(), tilescout.PNG, nil
	}
}
