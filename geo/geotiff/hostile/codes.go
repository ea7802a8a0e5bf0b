package hostile

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"math"

	"github.com/klauspost/compress/zstd"
)

// blocks are tiles and strips that lie where none can.
func blocks(put func(string, []byte)) {
	f := classic
	for name, list := range map[string][]entry{
		"outside": with(f.image(), f.long(273, 1<<30)), "over-the-end": with(f.image(), f.long(273, 300)), "count-of-all": with(f.image(), f.long(279, 1<<32-1)),
		"in-the-header": with(f.image(), f.long(273, 0, 0, 0)), "at-1": with(f.image(), f.long(273, 1)), "count-0": with(f.image(), f.long(279, 0)),
		"count-short": with(f.image(), f.long(279, 3)), "no-count": without(f.image(), 279), "no-offset": without(f.image(), 273),
		"offset-0": with(f.image(), f.long(273, 0)), "offset-wraps": with(f.image(), f.long(273, 1<<32-8)),
		"strips-overlap": with(f.image(), f.long(278, 1), f.long(273, repeated(8, pixelsAt)...), f.long(279, repeated(8, 8)...)),
	} {
		put(name, f.file(grey, list))
	}
	b := f.file(grey, f.image())
	put("in-the-directory", f.file(grey, with(f.image(), f.long(273, int(f.first(b))))))
	g := bigTIFF
	for _, at := range []uint64{1 << 40, 1 << 63, math.MaxUint64, math.MaxUint64 - 63} {
		put(fmt.Sprintf("big-at-%d", at), g.file(grey, with(g.image(), g.long8(273, at))))
		put(fmt.Sprintf("big-count-%d", at), g.file(grey, with(g.image(), g.long8(279, at))))
	}
	// All tiles are the same, or were never written: small files of large pictures.
	const side = 512
	put("tiles-of-a-pixel", f.file(grey, f.tiled(side, side, 1, f.long(324, repeated(side*side, pixelsAt)...), f.long(325, repeated(side*side, 1)...))))
	put("sparse-1000000", f.file(grey, f.tiled(16000, 16000, 16, f.long(324, make([]int, 1000000)...), f.long(325, make([]int, 1000000)...))))
	put("sparse-large-tiles", f.file(grey, f.tiled(1<<20, 1<<20, 4096, f.long(324, make([]int, 65536)...), f.long(325, make([]int, 65536)...))))
	zeros := deflated(make([]byte, 1<<22))
	put("one-tile-ten-thousand-times", f.file(zeros, with(f.tiled(204800, 204800, 2048, f.long(324, repeated(10000, pixelsAt)...), f.long(325, repeated(10000, len(zeros))...)), f.short(259, 8))))
	put("planes-64", f.file(make([]byte, 4096), with(f.image(), f.short(277, 64), f.short(258, repeated(64, 8)...), f.short(284, 2), f.long(273, repeated(64, pixelsAt)...), f.long(279, repeated(64, 64)...))))
	put("wide-rows", f.file(grey, with(f.image(), f.long(256, 1<<24), f.long(257, 1<<20), f.long(278, 1), f.short(258, 1), claim(273, 4, 1<<20, 16), claim(279, 4, 1<<20, 16))))
}

func deflated(data []byte) []byte {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write(data) // into memory: neither fails
	_ = z.Close()
	return b.Bytes()
}

// codes are compressed blocks that are damaged, endless or explode.
func codes(put func(string, []byte)) {
	f := classic
	one := func(name string, compression, side int, data []byte) {
		put(name, f.file(data, f.packed(compression, side, len(data))))
	}
	bomb := deflated(make([]byte, 64<<20))
	whole := deflated(make([]byte, 64))
	for _, c := range []int{8, 32946} {
		one(fmt.Sprintf("deflate-%d-bomb", c), c, 8, bomb)
		one(fmt.Sprintf("deflate-%d-large-bomb", c), c, 4000, bomb)
	}
	one("deflate-huge-bomb", 8, 23000, bomb)
	one("deflate-garbage", 8, 8, grey)
	one("deflate-empty", 8, 8, deflated(nil))
	one("deflate-short", 8, 8, deflated(make([]byte, 63)))
	one("deflate-long", 8, 8, deflated(make([]byte, 65)))
	one("deflate-cut", 8, 8, whole[:len(whole)-6])
	one("deflate-dictionary", 8, 8, []byte{0x78, 0xbb, 1, 2, 3, 4, 5})
	one("deflate-reserved", 8, 8, []byte{0x78, 0x9c, 0x07, 0, 0, 0})
	one("deflate-stored-lies", 8, 8, []byte{0x78, 0x9c, 0x01, 0xff, 0xff, 0, 0, 1, 2})

	one("lzw-garbage", 5, 8, bytes.Repeat([]byte{0xff}, 64))
	one("lzw-zeros", 5, 8, make([]byte, 4096))
	one("lzw-clear-for-ever", 5, 8, bytes.Repeat([]byte{0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02, 0x01, 0x00}, 10000))
	one("lzw-future-code", 5, 8, []byte{0x80, 0x1f, 0xff, 0xff, 0xff})
	one("lzw-end-at-once", 5, 8, []byte{0x80, 0x40, 0x40})
	one("lzw-one-byte", 5, 8, []byte{0x80})

	one("packbits-past-the-end", 32773, 8, []byte{127, 1, 2})
	one("packbits-run-past-the-end", 32773, 8, []byte{129})
	one("packbits-too-long", 32773, 8, bytes.Repeat([]byte{129, 7}, 1000))
	one("packbits-nothing-for-ever", 32773, 8, bytes.Repeat([]byte{128}, 1<<20))
	one("packbits-empty-runs", 32773, 4000, bytes.Repeat([]byte{0, 1}, 1<<18))

	encoder, err := zstd.NewWriter(nil)
	if err == nil { // options are the defaults
		zb := encoder.EncodeAll(make([]byte, 64<<20), nil)
		one("zstd-bomb", 50000, 8, zb)
		one("zstd-cut", 50000, 8, zb[:len(zb)/2])
		encoder.Close()
	}
	one("zstd-garbage", 50000, 8, grey)
	one("zstd-window", 50000, 8, []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0x00, 0x00})
	one("zstd-size-of-all", 50000, 8, append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0}, bytes.Repeat([]byte{0xff}, 12)...))
	one("zstd-skippable", 50000, 8, bytes.Repeat([]byte{0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}, 10000))

	jpegs(one, put)
	one("webp-garbage", 50001, 8, grey)
	one("webp-empty-riff", 50001, 8, []byte("RIFF\x04\x00\x00\x00WEBP"))
	one("webp-size-of-all", 50001, 8, []byte("RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\xff\x00\x00\x00\x9d\x01\x2a\xff\x3f\xff\x3f"))
	one("webp-lossless-large", 50001, 8, []byte("RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\xff\xff\xff\x0f\xff\xff\xff\xff\xff\xff\xff\xff"))

	float := func(name string, bits int, data []byte, more ...entry) {
		put(name, f.file(data, with(with(f.image(), f.short(258, bits), f.short(339, 3), f.long(279, len(data))), more...)))
	}
	float("floats-nan", 32, bytes.Repeat([]byte{0, 0, 0xc0, 0x7f}, 64))
	float("floats-inf", 32, bytes.Repeat([]byte{0, 0, 0x80, 0x7f, 0, 0, 0x80, 0xff}, 32))
	float("floats-all-alike", 32, bytes.Repeat([]byte{0, 0, 0x80, 0x3f}, 64))
	float("doubles-wide", 64, bytes.Repeat([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xef, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xef, 0xff}, 32))
	float("halves", 16, bytes.Repeat([]byte{0xff, 0x7b, 1, 0, 0, 0x7c, 1, 0x7e}, 16))
	float("floats-predictor-garbage", 32, deflated(bytes.Repeat([]byte{255, 1, 128}, 86)), f.short(259, 8), f.short(317, 3))
	float("floats-predictor-short", 32, deflated(make([]byte, 255)), f.short(259, 8), f.short(317, 3))
}

func jpegs(one func(string, int, int, []byte), put func(string, []byte)) {
	f := classic
	var b bytes.Buffer
	_ = jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 8, 8)), nil) // into memory: does not fail
	good := b.Bytes()
	sof := bytes.Index(good, []byte{0xff, 0xc0})
	patched := func(at int, v ...byte) []byte {
		c := append([]byte(nil), good...)
		copy(c[at:], v)
		return c
	}
	one("jpeg-garbage", 7, 8, grey)
	one("jpeg-only-start", 7, 8, []byte{0xff, 0xd8})
	one("jpeg-start-end", 7, 8, []byte{0xff, 0xd8, 0xff, 0xd9})
	one("jpeg-large-frame", 7, 8, patched(sof+5, 0xff, 0xff, 0xff, 0xff))
	one("jpeg-frame-0", 7, 8, patched(sof+5, 0, 0, 0, 0))
	one("jpeg-12-bits", 7, 8, patched(sof+4, 12))
	one("jpeg-five-components", 7, 8, patched(sof+9, 5))
	one("jpeg-sampling-0", 7, 8, patched(sof+11, 0))
	one("jpeg-sampling-15", 7, 8, patched(sof+11, 0xff))
	one("jpeg-cut", 7, 8, good[:len(good)-8])
	one("jpeg-arithmetic", 7, 8, patched(sof+1, 0xc9))
	one("jpeg-lossless", 7, 8, patched(sof+1, 0xc3))
	one("jpeg-segment-of-0", 7, 8, []byte{0xff, 0xd8, 0xff, 0xdb, 0, 0})
	one("jpeg-segment-past-the-end", 7, 8, []byte{0xff, 0xd8, 0xff, 0xdb, 0xff, 0xff, 1})
	one("jpeg-fill-for-ever", 7, 8, append([]byte{0xff, 0xd8}, bytes.Repeat([]byte{0xff}, 1<<20)...))
	one("jpeg-two-frames", 7, 8, append(append(append([]byte(nil), good[:sof]...), good[sof:sof+13]...), good[sof:]...))
	sos := bytes.Index(good, []byte{0xff, 0xda})
	many := append([]byte(nil), patched(sof+1, 0xc2)[:sos]...)
	for range 2000 {
		many = append(many, 0xff, 0xda, 0, 8, 1, 1, 0, 0, 0, 0, 0)
	}
	one("jpeg-2000-scans", 7, 8, append(many, 0xff, 0xd9))
	one("jpeg-end-for-ever", 7, 8, append(append([]byte(nil), good[:len(good)-2]...), bytes.Repeat([]byte{0xff, 0xd0}, 1<<18)...))
	for name, tables := range map[string][]byte{
		"empty": {}, "garbage": grey, "large": append([]byte{0xff, 0xd8}, make([]byte, 70000)...), "with-a-scan": good, "cut": {0xff, 0xd8, 0xff, 0xdb, 0, 67},
		"only-start": {0xff, 0xd8},
	} {
		put("jpeg-tables-"+name, f.file(good, with(f.packed(7, 8, len(good)), bytesOf(347, tables))))
	}
	put("jpeg-of-16-bits", f.file(good, with(f.packed(7, 8, len(good)), f.short(258, 16))))
	put("jpeg-three-samples", f.file(good, with(f.packed(7, 8, len(good)), f.short(277, 3), f.short(258, 8, 8, 8), f.short(262, 6))))
}

// together are pictures with masks and overviews that do not fit them.
func together(put func(string, []byte)) {
	f := classic
	overview := func(w, h int, more ...entry) []entry {
		return with(f.image(), append([]entry{f.long(254, 1), f.long(256, w), f.long(257, h), f.long(278, h), f.long(279, w*h)}, more...)...)
	}
	mask := func(w, h int, more ...entry) []entry {
		return with(overview(w, h, f.long(254, 4), f.short(262, 4)), more...)
	}
	put("mask-only", f.file(grey, mask(8, 8)))
	put("mask-first", f.file(grey, mask(8, 8), f.image()))
	put("mask-of-16-bits", f.file(make([]byte, 128), f.image(), mask(8, 8, f.short(258, 16), f.long(279, 128))))
	put("mask-outside", f.file(grey, f.image(), mask(8, 8, f.long(273, 1<<30))))
	put("mask-jpeg", f.file(grey, f.image(), mask(8, 8, f.short(259, 7))))
	put("mask-of-tiles", f.file(grey, f.image(), with(without(mask(8, 8), 273, 278, 279), f.long(322, 16), f.long(323, 16), f.long(324, pixelsAt), f.long(325, 300))))
	put("masks-200", f.file(grey, append([][]entry{f.image()}, same(200, mask(8, 8))...)...))
	put("overviews-200", f.file(grey, append([][]entry{f.image()}, same(200, overview(1, 1))...)...))
	put("overview-larger", f.file(make([]byte, 4096), f.image(), overview(64, 64)))
	put("overview-larger-than-all", f.file(grey, f.image(), overview(1<<31-1, 1<<31-1)))
	put("overview-of-floats", f.file(make([]byte, 64), f.image(), overview(4, 4, f.short(258, 32), f.short(339, 3), f.long(279, 64))))
	put("overview-of-three-samples", f.file(make([]byte, 64), f.image(), overview(4, 4, f.short(277, 3), f.long(279, 48))))
	put("overview-outside", f.file(grey, f.image(), overview(4, 4, f.long(273, 1<<30))))
	put("overview-oblong", f.file(grey, f.image(), overview(1, 8)))
	put("pages-255", f.file(grey, same(255, f.image())...))
	put("pages-257", f.file(grey, same(257, f.image())...))
	big := make([]byte, 0, 1<<20)
	for i := range 1 << 17 {
		big = binary.LittleEndian.AppendUint64(big, uint64(i)*0x9e3779b97f4a7c15)
	}
	put("noise", append([]byte("II*\x00\x08\x00\x00\x00"), big...))
	put("noise-big", append(bigTIFF.header(16), big...))
}

func same(n int, list []entry) [][]entry {
	out := make([][]entry, n)
	for i := range out {
		out[i] = list
	}
	return out
}
