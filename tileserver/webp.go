package tileserver

import (
	"image"
	"image/color"
	"io"

	xwebp "golang.org/x/image/webp"
)

// decodeWebP decodes WebP in its own colours. Lossy WebP holds Y from 16 to 235 (RFC 9649 §2.5, BT.601), where the
// image.YCbCr that x/image returns is read by everybody as JPEG's full range: 16 levels too bright in the dark.
func decodeWebP(r io.Reader) (image.Image, error) {
	img, err := xwebp.Decode(r)
	if err != nil {
		return nil, err
	}
	var alpha *image.NYCbCrA
	yuv, ok := img.(*image.YCbCr)
	if !ok {
		if alpha, ok = img.(*image.NYCbCrA); !ok {
			return img, nil // lossless is RGB
		}
		yuv = &alpha.YCbCr
	}
	b := yuv.Rect
	out := image.NewNRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			c := yuv.COffset(x, y)
			p := videoRange(yuv.Y[yuv.YOffset(x, y)], yuv.Cb[c], yuv.Cr[c])
			if alpha != nil {
				p.A = alpha.A[alpha.AOffset(x, y)]
			}
			out.SetNRGBA(x-b.Min.X, y-b.Min.Y, p)
		}
	}
	return out, nil
}

// videoRange converts one BT.601 pixel of video range, in 16-bit fixed point.
func videoRange(y, cb, cr uint8) color.NRGBA {
	l := 76309 * (int32(y) - 16) // 255/219
	u, v := int32(cb)-128, int32(cr)-128
	level := func(n int32) uint8 { return uint8(max(0, min(255, (n+1<<15)>>16))) }
	return color.NRGBA{level(l + 104597*v), level(l - 25675*u - 53279*v), level(l + 132201*u), 255}
}
