package tileserver

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"sync"

	"github.com/deepteams/webp"
	"golang.org/x/image/draw"
	xwebp "golang.org/x/image/webp"

	"github.com/tilescout/tilescout"
)

const (
	maxSide     = 4096     // pixels a side of a picture that is decoded (SEC reference §2)
	maxBytes    = 64 << 20 // bytes of a picture that is decoded; sources hold theirs to less (limits.picture.mb)
	jpegQuality = 85
	webpQuality = 82
)

// conversion names what the functions below do; it is part of the ETag of a converted tile, so change it with them.
const conversion = "c1"

// measure returns a picture's size in pixels from its header. Errors are ErrUpstream: the source gave us nonsense.
func measure(p tilescout.Picture) (width, height int, err error) {
	if len(p.Data) > maxBytes {
		return 0, 0, fmt.Errorf("picture of %d bytes, more than %d: %w", len(p.Data), maxBytes, tilescout.ErrUpstream)
	}
	read := map[string]func(io.Reader) (image.Config, error){
		tilescout.PNG: png.DecodeConfig, tilescout.JPEG: jpeg.DecodeConfig, tilescout.WebP: xwebp.DecodeConfig,
	}[p.MediaType]
	if read == nil {
		return 0, 0, fmt.Errorf("picture of type %q: %w", p.MediaType, tilescout.ErrUpstream)
	}
	c, err := read(bytes.NewReader(p.Data))
	if err != nil {
		return 0, 0, fmt.Errorf("read header of %s: %w: %w", p.MediaType, tilescout.ErrUpstream, err)
	}
	if c.Width < 1 || c.Height < 1 || c.Width > maxSide || c.Height > maxSide {
		return 0, 0, fmt.Errorf("picture of %d×%d pixels, more than %d a side: %w", c.Width, c.Height, maxSide, tilescout.ErrUpstream)
	}
	return c.Width, c.Height, nil
}

// decode returns the pixels. It measures first, so that a hostile header allocates nothing.
func decode(p tilescout.Picture) (image.Image, error) {
	if _, _, err := measure(p); err != nil {
		return nil, err
	}
	read := map[string]func(io.Reader) (image.Image, error){
		tilescout.PNG: png.Decode, tilescout.JPEG: jpeg.Decode, tilescout.WebP: decodeWebP,
	}[p.MediaType]
	img, err := read(bytes.NewReader(p.Data))
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w: %w", p.MediaType, tilescout.ErrUpstream, err)
	}
	return img, nil
}

// fits says whether p can go out as it is.
func fits(p tilescout.Picture, mediaType string, size int) (bool, error) {
	w, h, err := measure(p)
	return err == nil && p.MediaType == mediaType && w == size && h == size, err
}

// convert returns p as a tile of that type and size in pixels.
func convert(p tilescout.Picture, mediaType string, size int) ([]byte, error) {
	img, err := decode(p)
	if err != nil {
		return nil, err
	}
	if b := img.Bounds(); b.Dx() != size || b.Dy() != size {
		scaled := image.NewNRGBA(image.Rect(0, 0, size, size))
		draw.CatmullRom.Scale(scaled, scaled.Rect, img, b, draw.Src, nil)
		img = scaled
	}
	return encode(img, mediaType)
}

// stitch puts the four children of a tile, row by row and nil where there is nothing, into one of that size.
func stitch(children [4]*tilescout.Picture, mediaType string, size int) ([]byte, error) {
	whole := image.NewNRGBA(image.Rect(0, 0, size, size))
	half := size / 2
	for i, p := range children {
		if p == nil {
			continue
		}
		img, err := decode(*p)
		if err != nil {
			return nil, err
		}
		at := image.Rect(0, 0, half, half).Add(image.Pt(i%2*half, i/2*half))
		if b := img.Bounds(); b.Dx() == half && b.Dy() == half {
			draw.Draw(whole, at, img, b.Min, draw.Src)
		} else {
			draw.CatmullRom.Scale(whole, at, img, b, draw.Src, nil)
		}
	}
	return encode(whole, mediaType)
}

// encode writes img as mediaType. JPEG has no transparency: it is laid on white.
func encode(img image.Image, mediaType string) ([]byte, error) {
	var out bytes.Buffer
	var err error
	switch mediaType {
	case tilescout.JPEG:
		err = jpeg.Encode(&out, onWhite(img), &jpeg.Options{Quality: jpegQuality})
	case tilescout.WebP:
		o := webp.DefaultOptions()
		o.Quality = webpQuality
		o.Method = 4 // 0 and 2 of v1.2.0 tear blocks out of noisy pictures; 4 is smaller too
		err = webp.Encode(&out, img, o)
	default:
		// The fast level: photographs shrink by a few percent more at the default, in three times the time.
		err = (&png.Encoder{CompressionLevel: png.BestSpeed, BufferPool: pngBuffers}).Encode(&out, eightBit(img))
	}
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", mediaType, err)
	}
	return out.Bytes(), nil
}

// pngBuffers keeps what the encoder needs besides the picture, most of a megabyte, from one tile to the next.
var pngBuffers = &bufferPool{}

type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) Get() *png.EncoderBuffer {
	b, _ := p.pool.Get().(*png.EncoderBuffer) // nil: the encoder makes one
	return b
}

func (p *bufferPool) Put(b *png.EncoderBuffer) { p.pool.Put(b) }

// eightBit returns img with 8 bits a channel: package png writes 16 for what a JPEG decodes to, which GDAL then
// clamps to white.
func eightBit(img image.Image) image.Image {
	switch img.(type) {
	case *image.RGBA, *image.NRGBA, *image.Gray, *image.Paletted:
		return img
	case *image.YCbCr: // has a fast path into RGBA, and is opaque
		out := image.NewRGBA(img.Bounds())
		draw.Draw(out, out.Rect, img, out.Rect.Min, draw.Src)
		return out
	}
	out := image.NewNRGBA(img.Bounds())
	draw.Draw(out, out.Rect, img, out.Rect.Min, draw.Src)
	return out
}

func onWhite(img image.Image) image.Image {
	if o, ok := img.(interface{ Opaque() bool }); ok && o.Opaque() {
		return img
	}
	b := img.Bounds()
	white := image.NewRGBA(b)
	draw.Draw(white, b, image.NewUniform(color.White), image.Point{}, draw.Src)
	draw.Draw(white, b, img, b.Min, draw.Over)
	return white
}
