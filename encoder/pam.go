package encoder

import (
	"bytes"
	"fmt"
	"image"
	"io"

	"github.com/tilescout/tilescout"
)

// PAM is the media type of pictures that Uncompressed writes.
const PAM = "image/x-portable-arbitrarymap"

// The one shape of a PAM header that is written and read: Netpbm's "P7" with straight alpha, 8 bits a sample
// (netpbm.sourceforge.net/doc/pam.html).
const pamHeader = "P7\nWIDTH %d\nHEIGHT %d\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n"

// Uncompressed wraps pixels that were put together in memory, so that they reach the encoder without the loss or the
// cost of a codec. Transparent pixels are filled as those of any other picture.
func Uncompressed(m *image.NRGBA) tilescout.Picture {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	var b bytes.Buffer
	b.Grow(len(pamHeader) + 8 + 4*w*h)
	fmt.Fprintf(&b, pamHeader, w, h)
	for y := range h {
		b.Write(m.Pix[y*m.Stride:][:4*w])
	}
	return tilescout.Picture{Data: b.Bytes(), MediaType: PAM}
}

// pamConfig reads the size from the header.
func pamConfig(r io.Reader) (c image.Config, err error) {
	if _, err := fmt.Fscanf(r, pamHeader, &c.Width, &c.Height); err != nil {
		return c, fmt.Errorf("header: %w", err)
	}
	return c, nil
}

// pamDecode reads a picture whose size was checked; its pixels are those of the data, not a copy.
func pamDecode(data []byte) (image.Image, error) {
	r := bytes.NewReader(data)
	c, err := pamConfig(r)
	if err != nil {
		return nil, err
	}
	pix := data[len(data)-r.Len():]
	if want := 4 * c.Width * c.Height; len(pix) != want {
		return nil, fmt.Errorf("%d bytes of pixels, want %d", len(pix), want)
	}
	return &image.NRGBA{Pix: pix, Stride: 4 * c.Width, Rect: image.Rect(0, 0, c.Width, c.Height)}, nil
}
