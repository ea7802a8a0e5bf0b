package encoder

import "image"

// Decode decodes a PNG, JPEG or WebP picture as the encoder sees it before it is resized: the colours of libjpeg and
// libwebp, transparent parts filled with the mean colour of the others. The result is opaque. Errors are those of
// Encoder.Images for such a picture.
func Decode(data []byte) (*image.RGBA, error) {
	var s scratch
	if err := s.decode(data); err != nil {
		return nil, err
	}
	p := &s.pixels
	m := &image.RGBA{Pix: p.pix[: 4*p.w*p.h : 4*p.w*p.h], Stride: 4 * p.w, Rect: image.Rect(0, 0, p.w, p.h)}
	for i := 3; i < len(m.Pix); i += 4 {
		m.Pix[i] = 255
	}
	return m, nil
}
