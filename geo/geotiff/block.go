package geotiff

import (
	"bytes"
	"context"
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
	pix, stride, err := f.colours(l, i, j)
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
func (f *File) decodeMask(l *level, i, j int) (*block, error) {
	out := &block{w: min(l.blockW, l.width-i*l.blockW), h: min(l.blockH, l.height-j*l.blockH)}
	s, err := f.samples(l, i, j, 0)
	if err != nil || s == nil {
		return out, err
	}
	if s.img != nil {
		return nil, fmt.Errorf("mask in JPEG: %w", ErrUnsupported)
	}
	out.pix = make([]byte, out.w*out.h)
	for y := range out.h {
		copy(out.pix[y*out.w:(y+1)*out.w], s.pix[y*l.blockW:])
	}
	return out, nil
}

// raw is one plane of a block as stored: samples of 8 bits, pixel-interleaved, or a picture.
type raw struct {
	pix []byte
	img image.Image
}

// samples reads and decompresses one plane of a block; nil if it was never written.
func (f *File) samples(l *level, i, j, plane int) (*raw, error) {
	at, n, err := l.extent(i, j, plane)
	if err != nil || n == 0 {
		return nil, err
	}
	data := make([]byte, n)
	if err := l.w.readAt(data, at); err != nil {
		return nil, err
	}
	rows, spp := l.rows(j), l.blockSamples()
	switch l.Compression {
	case compressionJPEG:
		img, err := decodeJPEG(data, l.JPEGTables, l.blockW, rows, spp, l.Photometric == yCbCr)
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
	if l.Predictor == 2 && l.Compression != compressionNone && l.Compression != compressionPackBits {
		undoPredictor(pix, rowBytes, spp)
	}
	if l.bits() < 8 {
		pix = unpack(pix, rowBytes, l.blockW, rows, int(l.bits()))
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

// colours decodes a block to NRGBA of the stored width; nil if it was never written.
func (f *File) colours(l *level, i, j int) (pix []byte, stride int, err error) {
	rows := l.rows(j)
	var planes [maxSamples]*raw
	written := false
	for p := range l.planes {
		if p >= l.colourSamples && p != l.alpha && l.nodata < 0 {
			continue // a band that nobody looks at
		}
		if planes[p], err = f.samples(l, i, j, p); err != nil {
			return nil, 0, err
		}
		written = written || planes[p] != nil
	}
	if !written {
		return nil, 0, nil
	}
	stride = 4 * l.blockW
	pix = make([]byte, stride*rows)
	if img := planes[0]; l.planes == 1 && img.img != nil && l.nodata < 0 {
		switch m := img.img.(type) {
		case *image.YCbCr:
			convertYCbCr(pix, stride, m, f.rangeOf(l))
			return pix, stride, nil
		case *image.NYCbCrA:
			convertYCbCr(pix, stride, &m.YCbCr, f.rangeOf(l))
			if l.alpha >= 0 {
				for y := range rows {
					for x, a := range m.A[y*m.AStride:][:l.blockW] {
						pix[y*stride+4*x+3] = a
					}
				}
			}
			return pix, stride, nil
		}
	}
	n := l.blockW * rows
	src := make([]plane, l.Samples)
	first := planeOf(planes[0], 0, n, f.rangeOf(l))
	for s := range src {
		switch {
		case l.planes > 1:
			src[s] = planeOf(planes[s], 0, n, f.rangeOf(l))
		case planes[0].img == nil:
			src[s] = plane{planes[0].pix[s:], int(l.Samples)}
		case first.step == 4: // one conversion serves all samples
			src[s] = plane{first.pix[min(s, 3):], 4}
		default:
			src[s] = planeOf(planes[0], s, n, f.rangeOf(l))
		}
	}
	f.compose(l, pix, src, n)
	return pix, stride, nil
}

func (f *File) rangeOf(l *level) yccRange {
	if l.Compression == compressionWebP {
		return videoRange
	}
	return fullRange
}

// plane is one sample of each pixel of a block: pixel k is at pix[k*step].
type plane struct {
	pix  []byte
	step int
}

// planeOf picks sample s of a decoded plane or picture of n pixels. A band that was not read is zero.
func planeOf(r *raw, s, n int, yr yccRange) plane {
	if r == nil {
		return plane{make([]byte, 1), 0}
	}
	if r.img == nil {
		return plane{r.pix, 1}
	}
	w := r.img.Bounds().Dx()
	switch m := r.img.(type) {
	case *image.Gray:
		if m.Stride == w {
			return plane{m.Pix, 1}
		}
		out := make([]byte, 0, n)
		for y := range m.Rect.Dy() {
			out = append(out, m.Pix[y*m.Stride:][:w]...)
		}
		return plane{out, 1}
	case *image.RGBA: // from a JPEG without colour transform: opaque, so not premultiplied by anything
		return plane{m.Pix[min(s, 3):], 4}
	case *image.NRGBA:
		return plane{m.Pix[min(s, 3):], 4}
	case *image.CMYK: // four samples, which the decoder has inverted; see jpeg.applyBlack
		out := make([]byte, n)
		for k := range out {
			out[k] = 255 - m.Pix[4*k+min(s, 3)]
		}
		return plane{out, 1}
	case *image.YCbCr:
		out := make([]byte, 4*n)
		convertYCbCr(out, 4*w, m, yr)
		return plane{out[min(s, 3):], 4}
	case *image.NYCbCrA:
		out := make([]byte, 4*n)
		convertYCbCr(out, 4*w, &m.YCbCr, yr)
		for y := range m.Rect.Dy() {
			for x, a := range m.A[y*m.AStride:][:w] {
				out[4*(y*w+x)+3] = a
			}
		}
		return plane{out[min(s, 3):], 4}
	}
	return plane{make([]byte, 1), 0}
}

// compose turns samples into NRGBA.
func (f *File) compose(l *level, dst []byte, src []plane, n int) {
	var grey [256]byte
	top := 1<<l.bits() - 1
	for v := range grey {
		grey[v] = byte(min(v, top) * 255 / top)
		if l.Photometric == whiteIsZero {
			grey[v] = 255 - grey[v]
		}
	}
	shift := 0 // of palette entries, which have 16 bits
	for _, v := range l.ColorMap {
		if v > 255 {
			shift = 8 // some old writers fill in 8 bits
		}
	}
	a, b, c := src[0], src[0], src[0]
	if l.colourSamples >= 3 {
		b, c = src[1], src[2]
	}
	for k := range n {
		p := dst[4*k : 4*k+4 : 4*k+4]
		v0, v1, v2 := a.pix[k*a.step], b.pix[k*b.step], c.pix[k*c.step]
		p[3] = 255
		switch {
		case l.Photometric == palette:
			m := 1 << l.bits()
			v := min(int(v0), m-1)
			p[0], p[1], p[2] = byte(l.ColorMap[v]>>shift), byte(l.ColorMap[v+m]>>shift), byte(l.ColorMap[v+2*m]>>shift)
		case l.Photometric == cmyk:
			key := 255 - uint32(src[3].pix[k*src[3].step])
			p[0], p[1], p[2] = byte((255-uint32(v0))*key/255), byte((255-uint32(v1))*key/255), byte((255-uint32(v2))*key/255)
		case l.colourSamples == 3:
			p[0], p[1], p[2] = v0, v1, v2
		default:
			g := grey[v0]
			p[0], p[1], p[2] = g, g, g
		}
	}
	if l.alpha >= 0 {
		al := src[l.alpha]
		for k := range n {
			p := dst[4*k : 4*k+4 : 4*k+4]
			p[3] = al.pix[k*al.step]
			if l.associated && p[3] != 0 && p[3] != 255 {
				for s := range 3 {
					p[s] = byte(min(255, (int(p[s])*255+int(p[3])/2)/int(p[3])))
				}
			}
		}
	}
	if l.nodata >= 0 {
		for k := range n {
			valid := false
			for s := range src {
				if s != l.alpha && src[s].pix[k*src[s].step] != byte(l.nodata) {
					valid = true
					break
				}
			}
			if !valid {
				dst[4*k+3] = 0
			}
		}
	}
}
