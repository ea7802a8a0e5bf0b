package geotiff

import (
	"context"
	"image"
)

// stored is a block with the planes that are needed.
type stored struct {
	f      *File
	l      *level
	planes [maxSamples]*raw
	n      int    // pixels
	quad   *plane // a picture's pixels as four samples each, made once
}

// needs says whether a plane of a band-separate image is looked at.
func (l *level) needs(s int) bool {
	for _, b := range l.bands {
		if b == s {
			return true
		}
	}
	return s == l.alpha || l.marksNoData() && l.bandsByFile
}

// colours decodes a block to NRGBA of the stored width; nil if it was never written.
func (f *File) colours(ctx context.Context, l *level, i, j int) (pix []byte, stride int, err error) {
	rows := l.rows(j)
	b := &stored{f: f, l: l, n: l.blockW * rows}
	written := false
	for p := range l.planes {
		if l.planes > 1 && !l.needs(p) {
			continue
		}
		if b.planes[p], err = f.samples(ctx, l, i, j, p); err != nil {
			return nil, 0, err
		}
		written = written || b.planes[p] != nil
	}
	if !written {
		return nil, 0, nil
	}
	stride = 4 * l.blockW
	pix = make([]byte, stride*rows)
	if r := b.planes[0]; l.planes == 1 && r.img != nil && !l.hasNoData && len(l.bands) == 3 && l.bandsByFile && f.stretches == nil {
		switch m := r.img.(type) {
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
	b.compose(pix)
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

// where returns the plane that holds sample s, and where in it the sample of the first pixel and of the next is.
func (b *stored) where(s int) (r *raw, first, step int) {
	if b.l.planes > 1 {
		return b.planes[s], 0, 1
	}
	return b.planes[0], s, int(b.l.Samples)
}

// bytes returns sample s of 8 bits or fewer as it is stored.
func (b *stored) bytes(s int) plane {
	r, first, step := b.where(s)
	switch {
	case r == nil:
		return planeOf(nil, 0, b.n, fullRange)
	case r.img == nil:
		return plane{r.pix[first:], step}
	case b.l.planes > 1:
		return planeOf(r, 0, b.n, b.f.rangeOf(b.l))
	case b.quad != nil:
		return plane{b.quad.pix[min(s, 3):], 4}
	}
	p := planeOf(r, 0, b.n, b.f.rangeOf(b.l))
	if p.step == 4 { // one conversion serves all samples
		b.quad = &p
		return plane{p.pix[min(s, 3):], 4}
	}
	return planeOf(r, s, b.n, b.f.rangeOf(b.l))
}

// shown returns sample s as 8 bits by a stretch; nil leaves samples of 8 bits or fewer as they are, spread to 0…255.
func (b *stored) shown(s int, by *stretch) plane {
	k := b.l.kind
	if k == kindU8 || k == kindI8 {
		p := b.bytes(s)
		table := b.l.spread()
		if by != nil {
			table = by.table
		}
		if table == nil {
			return p
		}
		out := make([]byte, b.n)
		for i := range out {
			out[i] = table[p.pix[i*p.step]]
		}
		return plane{out, 1}
	}
	r, first, step := b.where(s)
	if r == nil {
		return planeOf(nil, 0, b.n, fullRange)
	}
	out := make([]byte, b.n)
	if by.table != nil {
		at, next := r.pix[2*first:], 2*step
		for i := range out {
			out[i] = by.table[int(at[i*next])|int(at[i*next+1])<<8]
		}
		return plane{out, 1}
	}
	for i := range out {
		out[i] = by.at(k.value(r.pix, first+i*step))
	}
	return plane{out, 1}
}

// spread is the table that brings samples of fewer than 8 bits, or with white as zero, to 0…255; nil if they are.
func (l *level) spread() []byte {
	if l.bits() == 8 && l.Photometric != whiteIsZero {
		return nil
	}
	table := make([]byte, 256)
	top := 1<<l.bits() - 1
	for v := range table {
		table[v] = byte(min(v, top) * 255 / top)
		if l.Photometric == whiteIsZero {
			table[v] = 255 - table[v]
		}
	}
	return table
}

// compose turns samples into NRGBA.
func (b *stored) compose(dst []byte) {
	l := b.l
	by := func(c int) *stretch {
		if b.f.stretches == nil {
			return nil
		}
		return &b.f.stretches[c]
	}
	switch {
	case l.Photometric == palette:
		b.fromPalette(dst)
	case l.Photometric == cmyk:
		c, m, y, k := b.bytes(0), b.bytes(1), b.bytes(2), b.bytes(3)
		for i := range b.n {
			p := dst[4*i : 4*i+4 : 4*i+4]
			key := 255 - uint32(k.pix[i*k.step])
			p[0] = byte((255 - uint32(c.pix[i*c.step])) * key / 255)
			p[1] = byte((255 - uint32(m.pix[i*m.step])) * key / 255)
			p[2] = byte((255 - uint32(y.pix[i*y.step])) * key / 255)
			p[3] = 255
		}
	case len(l.bands) == 3:
		r, g, bl := b.shown(l.bands[0], by(0)), b.shown(l.bands[1], by(1)), b.shown(l.bands[2], by(2))
		for i := range b.n {
			p := dst[4*i : 4*i+4 : 4*i+4]
			p[0], p[1], p[2], p[3] = r.pix[i*r.step], g.pix[i*g.step], bl.pix[i*bl.step], 255
		}
	default:
		g := b.shown(l.bands[0], by(0))
		for i := range b.n {
			p := dst[4*i : 4*i+4 : 4*i+4]
			v := g.pix[i*g.step]
			p[0], p[1], p[2], p[3] = v, v, v, 255
		}
	}
	if l.alpha >= 0 {
		b.applyAlpha(dst)
	}
	if l.marksNoData() {
		b.applyNoData(dst)
	}
}

func (b *stored) fromPalette(dst []byte) {
	l := b.l
	shift := 0 // of palette entries, which have 16 bits
	for _, v := range l.ColorMap {
		if v > 255 {
			shift = 8 // some old writers fill in 8 bits
		}
	}
	m := 1 << l.bits()
	var table [256][4]byte
	for v := range table {
		e := min(v, m-1)
		table[v] = [4]byte{byte(l.ColorMap[e] >> shift), byte(l.ColorMap[e+m] >> shift), byte(l.ColorMap[e+2*m] >> shift), 255}
	}
	src := b.bytes(0)
	for i := range b.n {
		copy(dst[4*i:4*i+4], table[src.pix[i*src.step]][:])
	}
}

// applyAlpha makes the alpha sample that of the pixels. One of floats says visible or not: writers do not agree whether
// 1 or 255 is opaque.
func (b *stored) applyAlpha(dst []byte) {
	l := b.l
	var al plane
	switch {
	case l.kind == kindU8:
		al = b.bytes(l.alpha)
		if l.bits() < 8 {
			top := 1<<l.bits() - 1
			out := make([]byte, b.n)
			for i := range out {
				out[i] = byte(int(al.pix[i*al.step]) * 255 / top)
			}
			al = plane{out, 1}
		}
	default:
		_, hi := l.kind.full(l.bits())
		s := stretch{Range: Range{0, hi}}
		out := make([]byte, b.n)
		if r, first, step := b.where(l.alpha); r != nil {
			for i := range out {
				v := l.kind.value(r.pix, first+i*step)
				if out[i] = s.at(v); l.kind.float() && v > 0 {
					out[i] = 255
				}
			}
		}
		al = plane{out, 1}
	}
	for i := range b.n {
		p := dst[4*i : 4*i+4 : 4*i+4]
		p[3] = al.pix[i*al.step]
		if l.associated && p[3] != 0 && p[3] != 255 {
			for s := range 3 {
				p[s] = byte(min(255, (int(p[s])*255+int(p[3])/2)/int(p[3])))
			}
		}
	}
}

// applyNoData makes pixels transparent of which every band holds the nodata value: every band of the file, as gdalwarp
// has it, or of those that were chosen.
func (b *stored) applyNoData(dst []byte) {
	l := b.l
	bands := l.bands
	if l.bandsByFile {
		bands = bands[:0:0]
		for s := range int(l.Samples) {
			if s != l.alpha {
				bands = append(bands, s)
			}
		}
	}
	valid := make([]bool, b.n)
	for _, s := range bands {
		r, first, step := b.where(s)
		switch {
		case r == nil: // never written
		case l.kind == kindU8:
			p, empty := b.bytes(s), byte(l.nodata)
			for i := range valid {
				if p.pix[i*p.step] != empty {
					valid[i] = true
				}
			}
		default:
			for i := range valid {
				if !valid[i] && !l.isNoData(l.kind.value(r.pix, first+i*step)) {
					valid[i] = true
				}
			}
		}
	}
	for i, ok := range valid {
		if !ok {
			dst[4*i+3] = 0
		}
	}
}
