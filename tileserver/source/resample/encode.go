package resample

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"image/png"

	"golang.org/x/image/webp"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/budget"
	"github.com/tilescout/tilescout/tileserver/source"
)

// quality of JPEG tiles that are made from decoded ones: a second coding that nobody sees.
const quality = 92

// Decode returns a picture's pixels. Its header is checked against limits first, then it waits until memory has what
// decoding takes: the pixels as the format holds them and as NRGBA. memory may be nil. Errors are ErrBadInput, or ErrBusy
// where ctx ends the wait.
func Decode(ctx context.Context, data []byte, limits source.Limits, memory *budget.Budget) (*image.NRGBA, error) {
	shape, err := source.Check(data, limits)
	if err != nil {
		return nil, err
	}
	release, err := memory.Share(ctx, 8*int64(shape.Width)*int64(shape.Height))
	if err != nil {
		return nil, err
	}
	defer release()
	var img image.Image
	switch shape.MediaType {
	case tilescout.PNG:
		img, err = png.Decode(bytes.NewReader(data))
	case tilescout.JPEG:
		img, err = jpeg.Decode(bytes.NewReader(data))
	default:
		img, err = webp.Decode(bytes.NewReader(data))
	}
	if err != nil {
		return nil, fmt.Errorf("decode %s: %v: %w", shape.MediaType, err, tilescout.ErrBadInput)
	}
	if n, ok := img.(*image.NRGBA); ok && n.Rect.Min == (image.Point{}) {
		return n, nil
	}
	out := image.NewNRGBA(image.Rect(0, 0, img.Bounds().Dx(), img.Bounds().Dy()))
	draw.Draw(out, out.Rect, img, img.Bounds().Min, draw.Src)
	return out, nil
}

// Encode returns JPEG for an opaque picture, PNG for one with transparent pixels, nil for one with nothing else.
func Encode(img *image.NRGBA) (data []byte, mediaType string, err error) {
	clear, solid := true, true
	b := img.Rect
	for y := b.Min.Y; y < b.Max.Y && (clear || solid); y++ {
		row := img.Pix[img.PixOffset(b.Min.X, y):][:4*b.Dx()]
		for k := 3; k < len(row); k += 4 {
			clear = clear && row[k] == 0
			solid = solid && row[k] == 255
		}
	}
	if clear {
		return nil, "", nil
	}
	var out bytes.Buffer
	out.Grow(32 << 10)
	if solid {
		// Where nothing is transparent, NRGBA and RGBA are the same bytes; the encoder has a fast way for RGBA only.
		opaque := &image.RGBA{Pix: img.Pix, Stride: img.Stride, Rect: img.Rect}
		if err := jpeg.Encode(&out, opaque, &jpeg.Options{Quality: quality}); err != nil {
			return nil, "", fmt.Errorf("encode JPEG: %w", err)
		}
		return out.Bytes(), tilescout.JPEG, nil
	}
	p := png.Encoder{CompressionLevel: png.BestSpeed}
	if err := p.Encode(&out, img); err != nil {
		return nil, "", fmt.Errorf("encode PNG: %w", err)
	}
	return out.Bytes(), tilescout.PNG, nil
}
