package eval

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
)

// encodePNG encodes without loss and without much effort: it is decoded again at once.
func encodePNG(m image.Image) (tilescout.Picture, error) {
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.NoCompression}).Encode(&b, m); err != nil {
		return tilescout.Picture{}, fmt.Errorf("encode picture: %w", err)
	}
	return tilescout.Picture{Data: b.Bytes(), MediaType: tilescout.PNG}, nil
}

// orient turns a picture by k%4 quarters, clockwise; from 4 on it is mirrored first.
func orient(m *image.RGBA, k int) *image.RGBA {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	if k%2 == 1 {
		out = image.NewRGBA(image.Rect(0, 0, h, w))
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
		m, err := encoder.Decode(pic.Data)
		if err != nil {
			continue
		}
		var b bytes.Buffer
		if jpeg.Encode(&b, scaled(m, thumbnailSide, thumbnailSide), &jpeg.Options{Quality: 82}) == nil {
			r.Mistakes[i].Thumbnail = b.Bytes()
		}
	}
}
