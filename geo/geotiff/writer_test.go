package geotiff_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"sort"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// picture is a small GeoTIFF to be written by the tests: it makes files of every form that the reader knows
// without any other program.
type picture struct {
	width, height int
	samples       int // 1 grey, 3 RGB, 4 RGBA
	order         byteOrder
	big           bool
	compression   int
	predictor     bool
	planar        bool
	tile          int // pixels a side; 0 writes strips
	rows          int // of a strip; 0 means 7
	mask          bool
	overview      bool
	subIFDs       bool // the overview's directory lies in the picture's
	nodata        string
	epsg          int // 0 leaves the georeference out
	scale         [2]float64
	origin        [2]float64
	point         bool
	southUp       bool
	palette       bool
}

type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// at is the value of a sample: smooth, so that lossy compressions come close, and different everywhere.
func (p picture) at(x, y, s int) byte {
	switch s {
	case 0:
		return byte(20 + x*200/p.width)
	case 1:
		return byte(20 + y*200/p.height)
	case 2:
		return byte(40 + (x+y)*150/(p.width+p.height))
	}
	if x < p.width/4 {
		return 0
	}
	return 255
}

// masked is where the mask hides the picture.
func (p picture) masked(x, y int) bool { return p.mask && y < p.height/4 }

type rawTag struct {
	id, typ uint16
	count   int
	data    []byte
}

// file is the TIFF being put together.
type file struct {
	bytes.Buffer
	p picture
}

func (f *file) shorts(id uint16, v ...int) rawTag {
	t := rawTag{id: id, typ: 3, count: len(v)}
	for _, n := range v {
		t.data = f.p.order.AppendUint16(t.data, uint16(n))
	}
	return t
}

func (f *file) longs(id uint16, v ...int) rawTag {
	t := rawTag{id: id, typ: 4, count: len(v)}
	for _, n := range v {
		t.data = f.p.order.AppendUint32(t.data, uint32(n))
	}
	return t
}

func (f *file) doubles(id uint16, v ...float64) rawTag {
	t := rawTag{id: id, typ: 12, count: len(v)}
	for _, n := range v {
		t.data = f.p.order.AppendUint64(t.data, math.Float64bits(n))
	}
	return t
}

// write returns the file.
func (p picture) write(t testing.TB) []byte {
	t.Helper()
	if p.order == nil {
		p.order = binary.LittleEndian
	}
	if p.compression == 0 {
		p.compression = 1
	}
	if p.scale == [2]float64{} {
		p.scale = [2]float64{10, 10}
	}
	if p.origin == [2]float64{} {
		p.origin = [2]float64{500000, 5000000}
	}
	f := &file{p: p}
	mark := "II"
	if p.order == binary.BigEndian {
		mark = "MM"
	}
	f.WriteString(mark)
	if p.big {
		f.Write(p.order.AppendUint16(nil, 43))
		f.Write(p.order.AppendUint16(nil, 8))
		f.Write(p.order.AppendUint16(nil, 0))
		f.Write(make([]byte, 8))
	} else {
		f.Write(p.order.AppendUint16(nil, 42))
		f.Write(make([]byte, 4))
	}
	link := f.Len() - 4
	if p.big {
		link = f.Len() - 8
	}
	tags := f.image(t, 1)
	if p.subIFDs {
		f.directory(link, f.image(t, 2), false)
		at := int(p.order.Uint32(f.Bytes()[link:]))
		if p.big {
			at = int(p.order.Uint64(f.Bytes()[link:]))
		}
		tags = append(tags, f.longs(330, at))
	}
	link = f.directory(link, tags, true)
	if p.mask {
		link = f.directory(link, f.maskImage(t, 1), false)
	}
	if p.overview {
		link = f.directory(link, f.image(t, 2), false)
		if p.mask {
			f.directory(link, f.maskImage(t, 2), false)
		}
	}
	return f.Bytes()
}

// image writes the blocks of the picture, reduced, and returns its tags.
func (f *file) image(t testing.TB, reduce int) []rawTag {
	p := f.p
	w, h := p.width/reduce, p.height/reduce
	bw, bh := w, p.rows
	if bh == 0 {
		bh = 7
	}
	bh = min(bh, h)
	if p.tile > 0 {
		bw, bh = p.tile, p.tile
	}
	planes, spp := 1, p.samples
	if p.planar {
		planes, spp = p.samples, 1
	}
	var offsets, counts []int
	for plane := range planes {
		for y0 := 0; y0 < h; y0 += bh {
			rows := bh
			if p.tile == 0 {
				rows = min(bh, h-y0)
			}
			for x0 := 0; x0 < w; x0 += bw {
				pix := make([]byte, bw*rows*spp)
				for y := range rows {
					for x := range bw {
						for s := range spp {
							pix[(y*bw+x)*spp+s] = p.at(min(w-1, x0+x)*reduce, min(h-1, y0+y)*reduce, s+plane)
						}
					}
				}
				data := f.compress(t, pix, bw, rows, spp, p.predictor)
				offsets, counts = append(offsets, f.Len()), append(counts, len(data))
				f.Write(data)
			}
		}
	}
	photometric := map[bool]int{true: 2, false: 1}[p.samples >= 3]
	if p.palette {
		photometric = 3
	}
	if p.compression == 7 && p.samples == 3 && !p.planar {
		photometric = 6
	}
	bits := make([]int, p.samples)
	for i := range bits {
		bits[i] = 8
	}
	tags := []rawTag{
		f.longs(254, map[bool]int{true: 1, false: 0}[reduce > 1]), f.longs(256, w), f.longs(257, h), f.shorts(258, bits...),
		f.shorts(259, p.compression), f.shorts(262, photometric), f.shorts(277, p.samples), f.shorts(284, map[bool]int{true: 2, false: 1}[p.planar]),
	}
	if p.predictor {
		tags = append(tags, f.shorts(317, 2))
	}
	if p.samples == 4 {
		tags = append(tags, f.shorts(338, 2))
	}
	if p.palette {
		m := make([]int, 768)
		for i := range 256 {
			m[i], m[256+i], m[512+i] = i*257, (255-i)*257, 7*257
		}
		tags = append(tags, f.shorts(320, m...))
	}
	if p.nodata != "" {
		tags = append(tags, rawTag{id: 42113, typ: 2, count: len(p.nodata) + 1, data: append([]byte(p.nodata), 0)})
	}
	return append(tags, f.blocks(bw, bh, offsets, counts)...)
}

func (f *file) blocks(bw, bh int, offsets, counts []int) []rawTag {
	if f.p.tile > 0 {
		return []rawTag{f.longs(322, bw), f.longs(323, bh), f.longs(324, offsets...), f.longs(325, counts...)}
	}
	return []rawTag{f.longs(278, bh), f.longs(273, offsets...), f.longs(279, counts...)}
}

// maskImage writes a mask of 1 bit in Deflate.
func (f *file) maskImage(t testing.TB, reduce int) []rawTag {
	w, h := f.p.width/reduce, f.p.height/reduce
	pix := make([]byte, (w+7)/8*h)
	for y := range h {
		for x := range w {
			if !f.p.masked(x*reduce, y*reduce) {
				pix[y*((w+7)/8)+x/8] |= 0x80 >> (x % 8)
			}
		}
	}
	at := f.Len()
	data := deflate(t, pix)
	f.Write(data)
	return []rawTag{
		f.longs(254, 4|map[bool]int{true: 1, false: 0}[reduce > 1]), f.longs(256, w), f.longs(257, h), f.shorts(258, 1), f.shorts(259, 8),
		f.shorts(262, 4), f.shorts(277, 1), f.longs(278, h), f.longs(273, at), f.longs(279, len(data)),
	}
}

func deflate(t testing.TB, pix []byte) []byte {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	if _, err := z.Write(pix); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (f *file) compress(t testing.TB, pix []byte, w, h, spp int, predictor bool) []byte {
	if predictor {
		for y := range h {
			row := pix[y*w*spp : (y+1)*w*spp]
			for i := len(row) - 1; i >= spp; i-- {
				row[i] -= row[i-spp]
			}
		}
	}
	var b bytes.Buffer
	switch f.p.compression {
	case 1:
		return pix
	case 5:
		return lzwLiterals(pix)
	case 7:
		var img image.Image
		if spp == 1 {
			img = &image.Gray{Pix: pix, Stride: w, Rect: image.Rect(0, 0, w, h)}
		} else {
			m := image.NewRGBA(image.Rect(0, 0, w, h))
			for k := range w * h {
				m.SetRGBA(k%w, k/w, color.RGBA{pix[3*k], pix[3*k+1], pix[3*k+2], 255})
			}
			img = m
		}
		if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 98}); err != nil {
			t.Fatal(err)
		}
	case 8, 32946:
		return deflate(t, pix)
	case 32773:
		for len(pix) > 0 {
			n := min(128, len(pix))
			if n > 1 && pix[0] == pix[1] { // a run of two, to have one
				b.Write([]byte{0xFF, pix[0]})
				pix = pix[2:]
				continue
			}
			b.WriteByte(byte(n - 1))
			b.Write(pix[:n])
			pix = pix[n:]
		}
	case 50000:
		z, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := z.Write(pix); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	default:
		t.Fatalf("the test writes no compression %d", f.p.compression)
	}
	return b.Bytes()
}

// lzwLiterals is TIFF's LZW without any compression: 9-bit codes of single bytes, cleared before they grow.
func lzwLiterals(pix []byte) []byte {
	var out []byte
	acc, n := uint32(0), 0
	put := func(code uint32) {
		acc, n = acc<<9|code, n+9
		for n >= 8 {
			out = append(out, byte(acc>>(n-8)))
			n -= 8
		}
	}
	for i, v := range pix {
		if i%200 == 0 {
			put(256)
		}
		put(uint32(v))
	}
	put(257)
	put(0)
	return out
}

// directory writes an IFD and the pointer to it at link; it returns where the next pointer goes.
func (f *file) directory(link int, tags []rawTag, georeference bool) int {
	p := f.p
	if georeference && p.epsg != 0 {
		model, key := 1, 3072
		if p.epsg == 4326 {
			model, key = 2, 2048
		}
		raster := 1
		if p.point {
			raster = 2
		}
		tags = append(tags, f.shorts(34735, 1, 1, 0, 3, 1024, 0, 1, model, 1025, 0, 1, raster, key, 0, 1, p.epsg))
		if p.southUp {
			tags = append(tags, f.doubles(34264, p.scale[0], 0, 0, p.origin[0], 0, p.scale[1], 0, p.origin[1]-float64(p.height)*p.scale[1], 0, 0, 0, 0, 0, 0, 0, 1))
		} else {
			tags = append(tags, f.doubles(33550, p.scale[0], p.scale[1], 0), f.doubles(33922, 0, 0, 0, p.origin[0], p.origin[1], 0))
		}
	}
	sort.Slice(tags, func(i, j int) bool { return tags[i].id < tags[j].id })
	inline := 4
	if p.big {
		inline = 8
	}
	at := map[uint16]int{}
	for _, t := range tags {
		if len(t.data) > inline {
			at[t.id] = f.Len()
			f.Write(t.data)
		}
	}
	if f.Len()%2 == 1 {
		f.WriteByte(0)
	}
	f.patch(link, f.Len())
	if p.big {
		f.Write(p.order.AppendUint64(nil, uint64(len(tags))))
	} else {
		f.Write(p.order.AppendUint16(nil, uint16(len(tags))))
	}
	for _, t := range tags {
		f.Write(p.order.AppendUint16(p.order.AppendUint16(nil, t.id), t.typ))
		value := append(append([]byte(nil), t.data...), make([]byte, 8)...)[:inline]
		if p.big {
			f.Write(p.order.AppendUint64(nil, uint64(t.count)))
			if len(t.data) > inline {
				value = p.order.AppendUint64(nil, uint64(at[t.id]))
			}
		} else {
			f.Write(p.order.AppendUint32(nil, uint32(t.count)))
			if len(t.data) > inline {
				value = p.order.AppendUint32(nil, uint32(at[t.id]))
			}
		}
		f.Write(value)
	}
	next := f.Len()
	f.Write(make([]byte, inline))
	return next
}

// patch writes an offset into a place that was left free.
func (f *file) patch(at, value int) {
	b := f.Bytes()[at:]
	if f.p.big {
		f.p.order.PutUint64(b, uint64(value))
	} else {
		f.p.order.PutUint32(b, uint32(value))
	}
}
