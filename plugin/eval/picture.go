package eval

import (
	"bytes"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"image/png"

	_ "golang.org/x/image/webp" // decoded here

	"github.com/tilescout/tilescout"
)

// maxSide bounds a picture before its pixels are allocated, as the encoder does.
const maxSide = 4096

// decode decodes a picture into pixels with straight alpha.
func decode(data []byte) (m *image.NRGBA, err error) {
	defer func() {
		if p := recover(); p != nil { // x/image/webp has panicked on hostile files before
			m, err = nil, fmt.Errorf("decoder failed: %v: %w", p, tilescout.ErrBadInput)
		}
	}()
	config, _, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("no PNG, JPEG or WebP: it begins with %.16q: %w", data[:min(16, len(data))], tilescout.ErrBadInput)
	}
	if config.Width < 1 || config.Height < 1 || config.Width > maxSide || config.Height > maxSide {
		return nil, fmt.Errorf("%d × %d pixels, want 1 to %d a side: %w", config.Width, config.Height, maxSide, tilescout.ErrBadInput)
	}
	decoded, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("no valid picture, or cut off: %v: %w", err, tilescout.ErrBadInput)
	}
	b := decoded.Bounds()
	m = image.NewNRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	draw.Draw(m, m.Rect, decoded, b.Min, draw.Src)
	return m, nil
}

// encodePNG encodes without loss and without much effort: it is decoded again at once.
func encodePNG(m image.Image) (tilescout.Picture, error) {
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.NoCompression}).Encode(&b, m); err != nil {
		return tilescout.Picture{}, fmt.Errorf("encode picture: %w", err)
	}
	return tilescout.Picture{Data: b.Bytes(), MediaType: tilescout.PNG}, nil
}

// orient turns a picture by k%4 quarters, clockwise; from 4 on it is mirrored first.
func orient(m *image.NRGBA, k int) *image.NRGBA {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	if k%2 == 1 {
		out = image.NewNRGBA(image.Rect(0, 0, h, w))
	}
	for y := range h {
		for x := range w {
			sx := x
			if k >= 4 {
				sx = w - 1 - x
			}
			tx, ty := x, y
			switch k % 4 {
			case 1:
				tx, ty = h-1-y, x
			case 2:
				tx, ty = w-1-x, h-1-y
			case 3:
				tx, ty = y, w-1-x
			}
			copy(out.Pix[out.PixOffset(tx, ty):][:4], m.Pix[m.PixOffset(sx, y):][:4])
		}
	}
	return out
}

// thumbnailSide is the side of the pictures in a page.
const thumbnailSide = 144

// Illustrate adds pictures of the mistakes to a report, for its page. One that cannot be drawn is left out.
func (p *Predictions) Illustrate(r *Report) {
	if p.set == nil || p.set.store == nil {
		return
	}
	for i := range r.Mistakes {
		pic, err := p.set.Picture(p.List[r.Mistakes[i].prediction].scene)
		if err != nil {
			continue
		}
		m, err := decode(pic.Data)
		if err != nil {
			continue
		}
		var b bytes.Buffer
		if jpeg.Encode(&b, scaled(m, thumbnailSide, thumbnailSide), &jpeg.Options{Quality: 82}) == nil {
			r.Mistakes[i].Thumbnail = b.Bytes()
		}
	}
}
