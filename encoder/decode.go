package encoder

import (
	"bytes"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"image/png"
	"sync"

	"golang.org/x/image/webp"

	"github.com/tilescout/tilescout"
)

// ErrNoData: every pixel of the picture is transparent, so there is nothing to embed. It is a tilescout.ErrNotFound.
var ErrNoData = fmt.Errorf("picture is fully transparent: %w", tilescout.ErrNotFound)

// Caps on a picture, checked before anything of its size is allocated.
const (
	maxPictureBytes = 8 << 20
	maxPictureSide  = 4096
	maxJPEGScans    = 100 // a progressive JPEG of a camera has about ten; each costs a pass over all coefficients
)

// slack bytes follow every pixel buffer: the passes of a resize read and write whole words.
const slack = 64

// pixels is a decoded picture: R, G, B and one byte that has no meaning, row by row without gaps.
type pixels struct {
	w, h int
	pix  []byte // 4·w·h, and slack bytes behind
}

// scratch holds the buffers of one decode and resize; they are used again for the next picture.
type scratch struct {
	pixels pixels
	source bytes.Reader
	buf    [2][]byte
}

func (s *scratch) wide(n int) []byte   { return grow(&s.buf[0], n) }
func (s *scratch) narrow(n int) []byte { return grow(&s.buf[1], n) }

func grow(b *[]byte, n int) []byte {
	if cap(*b) < n {
		*b = make([]byte, n)
	}
	return (*b)[:n]
}

// keepScratch is the size in bytes above which buffers are not kept: one large upload must not hold memory for ever.
const keepScratch = 4 << 20

// scratchPool holds the buffers that are not in use.
type scratchPool struct{ pool sync.Pool }

func (p *scratchPool) get() *scratch {
	if s, ok := p.pool.Get().(*scratch); ok {
		return s
	}
	return &scratch{}
}

func (p *scratchPool) put(s *scratch) {
	s.source.Reset(nil)
	if cap(s.pixels.pix) <= keepScratch {
		p.pool.Put(s)
	}
}

// decode decodes a PNG, JPEG, WebP or uncompressed picture into s.pixels. What it is is read from its first bytes, not from
// MediaType. A picture that is none, is cut off or is larger than the caps is ErrBadInput; one without an opaque pixel
// ErrNoData.
//
// Pixels that are partly transparent are composited onto the mean colour of the opaque ones. Dropping alpha would turn
// the hole of an orthophoto's edge black, or whatever colour its writer left there, and black reads as water or shadow;
// the mean adds neither an edge nor a colour that the picture does not have.
func (s *scratch) decode(data []byte) error {
	if len(data) > maxPictureBytes {
		return fmt.Errorf("picture has %d bytes, want at most %d: %w", len(data), maxPictureBytes, tilescout.ErrBadInput)
	}
	format := sniff(data)
	if format == "" {
		return fmt.Errorf("picture is no PNG, JPEG or WebP: it begins with %.16q: %w", data[:min(16, len(data))], tilescout.ErrBadInput)
	}
	if format == "JPEG" && bytes.Count(data, []byte{0xff, 0xda}) > maxJPEGScans {
		return fmt.Errorf("JPEG has more than %d scans: %w", maxJPEGScans, tilescout.ErrBadInput)
	}
	s.source.Reset(data)
	config, err := decodeConfig(format, &s.source)
	if err != nil {
		return fmt.Errorf("picture is no valid %s: %v: %w", format, err, tilescout.ErrBadInput)
	}
	if config.Width < 1 || config.Height < 1 || config.Width > maxPictureSide || config.Height > maxPictureSide {
		return fmt.Errorf("picture has %d × %d pixels, want 1 to %d a side: %w", config.Width, config.Height, maxPictureSide, tilescout.ErrBadInput)
	}
	s.source.Reset(data)
	var m image.Image
	if format == "PAM" {
		m, err = pamDecode(data)
	} else {
		m, err = decodeImage(format, &s.source)
	}
	if err != nil {
		return fmt.Errorf("picture is no valid %s, or cut off: %v: %w", format, err, tilescout.ErrBadInput)
	}
	return s.load(m, format == "WebP")
}

func sniff(data []byte) string {
	switch {
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		return "PNG"
	case bytes.HasPrefix(data, []byte{0xff, 0xd8, 0xff}):
		return "JPEG"
	case len(data) >= 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP":
		return "WebP"
	case bytes.HasPrefix(data, []byte("P7\n")):
		return "PAM"
	}
	return ""
}

func decodeConfig(format string, r *bytes.Reader) (image.Config, error) {
	switch format {
	case "PNG":
		return png.DecodeConfig(r)
	case "JPEG":
		return jpeg.DecodeConfig(r)
	case "PAM":
		return pamConfig(r)
	}
	return webp.DecodeConfig(r)
}

func decodeImage(format string, r *bytes.Reader) (m image.Image, err error) {
	// x/image/webp has panicked on hostile files before; a tile must not end the server.
	defer func() {
		if p := recover(); p != nil {
			m, err = nil, fmt.Errorf("decoder failed: %v", p)
		}
	}()
	switch format {
	case "PNG":
		return png.Decode(r)
	case "JPEG":
		return jpeg.Decode(r)
	}
	return webp.Decode(r)
}

// load converts a decoded image to RGB. webp says that YCbCr is of limited range.
func (s *scratch) load(m image.Image, webp bool) error {
	p := &s.pixels
	p.w, p.h = m.Bounds().Dx(), m.Bounds().Dy()
	if p.w < 1 || p.h < 1 {
		return fmt.Errorf("picture has no pixels: %w", tilescout.ErrBadInput)
	}
	grow(&p.pix, 4*p.w*p.h+slack)
	p.pix = p.pix[:4*p.w*p.h+slack]
	switch m := m.(type) {
	case *image.YCbCr:
		writeYCbCr(p, m, webp)
		return nil
	case *image.NYCbCrA:
		writeYCbCr(p, &m.YCbCr, webp)
		for y := range p.h {
			for x := range p.w {
				p.pix[4*(y*p.w+x)+3] = m.A[y*m.AStride+x]
			}
		}
		return p.flatten()
	case *image.Gray:
		for y := range p.h {
			row := m.Pix[y*m.Stride:][:p.w]
			out := p.pix[4*y*p.w:]
			for x, v := range row {
				o := out[4*x:][:4:4]
				o[0], o[1], o[2] = v, v, v
			}
		}
		return nil
	case *image.RGBA: // opaque PNG; image/png gives NRGBA where there is alpha
		p.copyRows(m.Pix, m.Stride)
		if m.Opaque() {
			return nil
		}
	case *image.NRGBA:
		p.copyRows(m.Pix, m.Stride)
		return p.flatten()
	case *image.Paletted:
		if p.paletted(m) {
			return p.flatten()
		}
		return nil
	}
	// 16-bit, CMYK and what else there may be: rare enough for the slow way.
	n := &image.NRGBA{Pix: p.pix, Stride: 4 * p.w, Rect: image.Rect(0, 0, p.w, p.h)}
	draw.Draw(n, n.Rect, m, m.Bounds().Min, draw.Src)
	return p.flatten()
}

func (p *pixels) copyRows(pix []byte, stride int) {
	for y := range p.h {
		copy(p.pix[4*y*p.w:][:4*p.w], pix[y*stride:])
	}
}

// paletted looks the colours up and says whether one in use is transparent.
func (p *pixels) paletted(m *image.Paletted) (transparent bool) {
	var table [256][4]byte
	var alpha byte = 255
	for i, c := range m.Palette {
		r, g, b, a := c.RGBA()
		if a > 0 && a < 0xffff { // undo the premultiplication
			r, g, b = r*0xffff/a, g*0xffff/a, b*0xffff/a
		}
		table[i] = [4]byte{byte(r >> 8), byte(g >> 8), byte(b >> 8), byte(a >> 8)}
	}
	for y := range p.h {
		row := m.Pix[y*m.Stride:][:p.w]
		out := p.pix[4*y*p.w:]
		for x, v := range row {
			c := &table[v]
			copy(out[4*x:][:4:4], c[:])
			alpha &= c[3]
		}
	}
	return alpha != 255
}

// flatten composites the picture, R, G, B and straight alpha, onto the mean colour of its opaque pixels, weighted by
// alpha.
func (p *pixels) flatten() error {
	pix := p.pix[:4*p.w*p.h]
	opaque := true
	for i := 3; i < len(pix); i += 4 {
		if pix[i] != 255 {
			opaque = false
			break
		}
	}
	if opaque {
		return nil
	}
	var sum [3]uint64
	var weight uint64
	for ; len(pix) >= 4; pix = pix[4:] {
		a := uint64(pix[3])
		weight += a
		for c := range sum {
			sum[c] += a * uint64(pix[c])
		}
	}
	if weight == 0 {
		return ErrNoData
	}
	var mean [3]uint32
	for c := range mean {
		mean[c] = uint32((sum[c] + weight/2) / weight)
	}
	for pix = p.pix[:4*p.w*p.h]; len(pix) >= 4; pix = pix[4:] {
		if a := uint32(pix[3]); a != 255 {
			for c, m := range mean {
				pix[c] = byte((uint32(pix[c])*a + m*(255-a) + 127) / 255)
			}
		}
	}
	return nil
}
