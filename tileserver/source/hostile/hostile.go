// Package hostile makes PNG, JPEG and WebP pictures that are meant to hurt who looks at them: headers that claim much,
// data that grows, chunks that contradict each other. None of them may bring a decoder down: each passes source.Check
// and decodes or fails with little memory and soon, or is refused as tilescout.ErrBadInput.
package hostile

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"iter"
	"maps"
	"slices"

	"github.com/deepteams/webp"
)

// Files yields name and bytes of each picture. Names begin with the format and what is wrong.
func Files() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for ext, made := range map[string]map[string][]byte{"png": pngs(), "jpg": jpegs(), "webp": webps()} {
			for _, name := range slices.Sorted(maps.Keys(made)) {
				if !yield(ext+"-"+name+"."+ext, made[name]) {
					return
				}
			}
		}
	}
}

// Good returns a good picture of 32 pixels a side for each extension.
func Good() map[string][]byte {
	img := image.NewNRGBA(image.Rect(0, 0, 32, 32))
	for i := range img.Pix {
		img.Pix[i] = uint8(i*i>>3) | uint8(i&3/3*255) // opaque: a WebP is then one chunk
	}
	var p, j, w bytes.Buffer
	_ = png.Encode(&p, img) // into memory
	_ = jpeg.Encode(&j, img, nil)
	_ = webp.Encode(&w, img, nil)
	return map[string][]byte{"png": p.Bytes(), "jpg": j.Bytes(), "webp": w.Bytes()}
}

const signature = "\x89PNG\r\n\x1a\n"

// chunk is a PNG chunk with a right checksum.
func chunk(kind string, data []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	b = append(append(b, kind...), data...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}

// head is an IHDR chunk.
func head(width, height uint32, depth, colour, compression, filter, interlace byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, width)
	b = binary.BigEndian.AppendUint32(b, height)
	return chunk("IHDR", append(b, depth, colour, compression, filter, interlace))
}

func deflated(b []byte) []byte {
	var out bytes.Buffer
	z, _ := zlib.NewWriterLevel(&out, zlib.BestCompression)
	z.Write(b) // into memory
	z.Close()
	return out.Bytes()
}

func pngs() map[string][]byte {
	end := chunk("IEND", nil)
	file := func(chunks ...[]byte) []byte {
		return append([]byte(signature), slices.Concat(append(chunks, end)...)...)
	}
	grey := func(w, h uint32) []byte { return head(w, h, 8, 0, 0, 0, 0) }
	rows := func(w, h int) []byte { return chunk("IDAT", deflated(make([]byte, (w+1)*h))) }
	good := Good()["png"]
	badSum := bytes.Clone(good)
	badSum[len(badSum)-20] ^= 0xff
	headSum := bytes.Clone(good)
	binary.BigEndian.PutUint32(headSum[16:], 20000)
	out := map[string][]byte{
		"claims-20000-px-rgba64":    file(head(20000, 20000, 16, 6, 0, 0, 0), chunk("IDAT", nil)),
		"claims-2-31-px":            file(grey(1<<31-1, 1<<31-1), rows(1, 1)),
		"claims-2-32-px":            file(grey(1<<32-1, 1<<32-1), rows(1, 1)),
		"claims-0-px":               file(grey(0, 0), rows(1, 1)),
		"claims-1-by-2-31":          file(grey(1, 1<<31-1), rows(1, 1)),
		"5000-px-rgba64-of-zeros":   file(head(5000, 5000, 16, 6, 0, 0, 0), chunk("IDAT", deflated(make([]byte, 5000*(5000*8+1)/8)))),
		"checksum-of-header":        headSum,
		"checksum-of-data":          badSum,
		"depth-3":                   file(head(8, 8, 3, 0, 0, 0, 0), rows(8, 8)),
		"depth-16-palette":          file(head(8, 8, 16, 3, 0, 0, 0), rows(8, 8)),
		"colour-type-1":             file(head(8, 8, 8, 1, 0, 0, 0), rows(8, 8)),
		"colour-type-255":           file(head(8, 8, 8, 255, 0, 0, 0), rows(8, 8)),
		"compression-method-1":      file(head(8, 8, 8, 0, 1, 0, 0), rows(8, 8)),
		"filter-method-1":           file(head(8, 8, 8, 0, 0, 1, 0), rows(8, 8)),
		"interlace-2":               file(head(8, 8, 8, 0, 0, 0, 2), rows(8, 8)),
		"interlaced-without-data":   file(head(1000, 1000, 8, 6, 0, 0, 1)),
		"filter-type-9":             file(grey(8, 8), chunk("IDAT", deflated(bytes.Repeat([]byte{9}, 72)))),
		"palette-missing":           file(head(8, 8, 8, 3, 0, 0, 0), rows(8, 8)),
		"palette-of-1-index-255":    file(head(8, 8, 8, 3, 0, 0, 0), chunk("PLTE", []byte{1, 2, 3}), chunk("IDAT", deflated(bytes.Repeat([]byte{0, 255, 255, 255, 255, 255, 255, 255, 255}, 8)))),
		"palette-of-257":            file(head(8, 8, 8, 3, 0, 0, 0), chunk("PLTE", make([]byte, 771)), rows(8, 8)),
		"transparency-before":       file(head(8, 8, 8, 3, 0, 0, 0), chunk("tRNS", make([]byte, 256)), chunk("PLTE", make([]byte, 768)), rows(8, 8)),
		"header-twice":              file(grey(8, 8), grey(9000, 9000), rows(8, 8)),
		"header-missing":            file(rows(8, 8)),
		"header-of-12-bytes":        file(chunk("IHDR", make([]byte, 12)), rows(8, 8)),
		"chunk-length-2-32":         append([]byte(signature), slices.Concat(grey(8, 8), []byte("\xff\xff\xff\xffIDAT"))...),
		"chunk-length-2-31":         append([]byte(signature), slices.Concat(grey(8, 8), []byte("\x7f\xff\xff\xffIDATx"), end)...),
		"data-missing":              file(grey(8, 8)),
		"data-bomb":                 file(grey(8, 8), chunk("IDAT", deflated(make([]byte, 64<<20)))),
		"data-not-zlib":             file(grey(8, 8), chunk("IDAT", []byte("not zlib"))),
		"data-too-short":            file(grey(1000, 1000), rows(8, 8)),
		"data-in-100000-chunks":     file(grey(8, 8), bytes.Repeat(chunk("IDAT", nil), 100000), rows(8, 8)),
		"data-behind-other-chunk":   file(grey(8, 8), rows(4, 4), chunk("tEXt", []byte("a\x00b")), rows(4, 4)),
		"text-bomb":                 file(grey(8, 8), chunk("zTXt", append([]byte("Comment\x00\x00"), deflated(make([]byte, 100<<20))...)), rows(8, 8)),
		"profile-bomb":              file(grey(8, 8), chunk("iCCP", append([]byte("icc\x00\x00"), deflated(make([]byte, 100<<20))...)), rows(8, 8)),
		"critical-chunk-unknown":    file(grey(8, 8), chunk("ABCD", []byte("x")), rows(8, 8)),
		"end-missing":               good[:len(good)-12],
		"end-before-data":           file(grey(8, 8), end, rows(8, 8)),
		"half":                      good[:len(good)/2],
		"signature-only":            []byte(signature),
		"animation-of-65535-frames": file(grey(8, 8), chunk("acTL", []byte{0, 0, 255, 255, 0, 0, 0, 0}), rows(8, 8)),
		"over-8-mb":                 append(bytes.Clone(good), make([]byte, 8<<20)...),
	}
	return out
}

// segment is a JPEG segment with its length.
func segment(marker byte, data ...byte) []byte {
	n := len(data) + 2
	return append([]byte{0xff, marker, byte(n >> 8), byte(n)}, data...)
}

// frame is a start of frame for 8 bits and components 1…n without subsampling.
func frame(marker byte, width, height uint16, n byte) []byte {
	data := []byte{8, byte(height >> 8), byte(height), byte(width >> 8), byte(width), n}
	for i := range n {
		data = append(data, i+1, 0x11, 0)
	}
	return segment(marker, data...)
}

func jpegs() map[string][]byte {
	good := Good()["jpg"]
	start := []byte{0xff, 0xd8}
	tables := segment(0xdb, append([]byte{0}, bytes.Repeat([]byte{1}, 64)...)...)
	// A Huffman table whose only code, of one bit, means: run of 2^14 blocks that end here (progressive AC).
	huffman := segment(0xc4, append([]byte{0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0xe0)...)
	direct := segment(0xc4, append([]byte{0x00, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0)...)
	scan := func(n int) []byte {
		one := append(segment(0xda, 1, 1, 0, 1, 63, 0), bytes.Repeat([]byte{0}, 8)...)
		return bytes.Repeat(one, n)
	}
	file := func(parts ...[]byte) []byte { return slices.Concat(append([][]byte{start}, parts...)...) }
	end := []byte{0xff, 0xd9}
	frameAt := bytes.Index(good, []byte{0xff, 0xc0})
	claim := func(width, height uint16) []byte {
		b := bytes.Clone(good)
		binary.BigEndian.PutUint16(b[frameAt+5:], height)
		binary.BigEndian.PutUint16(b[frameAt+7:], width)
		return b
	}
	with := func(at int, v byte) []byte { b := bytes.Clone(good); b[frameAt+at] = v; return b }
	scanAt := bytes.Index(good, []byte{0xff, 0xda})
	inserted := func(parts ...[]byte) []byte {
		return slices.Concat(append(append([][]byte{good[:2]}, parts...), good[2:])...)
	}
	return map[string][]byte{
		"claims-65535-px":          claim(65535, 65535),
		"claims-65535-by-1":        claim(65535, 1),
		"claims-0-px":              claim(0, 0),
		"claims-height-0":          claim(32, 0),
		"claims-1024-px":           claim(1024, 1024),
		"progressive-1024-no-data": file(tables, frame(0xc2, 1024, 1024, 3), scan(1), end),
		"progressive-64-scans":     file(tables, direct, huffman, frame(0xc2, 1024, 1024, 1), scan(64), end),
		"progressive-65-scans":     file(tables, direct, huffman, frame(0xc2, 1024, 1024, 1), scan(65), end),
		"progressive-100000-scans": file(tables, direct, huffman, frame(0xc2, 1024, 1024, 1), scan(100000), end),
		"baseline-1000-scans":      slices.Concat(good[:len(good)-2], bytes.Repeat(good[scanAt:len(good)-2], 1000), end),
		"frame-lossless":           file(tables, frame(0xc3, 32, 32, 3), scan(1), end),
		"frame-arithmetic":         file(tables, frame(0xc9, 32, 32, 3), scan(1), end),
		"frame-12-bits":            with(4, 12),
		"frame-components-0":       with(9, 0),
		"frame-components-2":       with(9, 2),
		"frame-components-255":     with(9, 255),
		"frame-twice":              inserted(frame(0xc0, 8, 8, 3)),
		"frame-missing":            file(tables, scan(1), end),
		"frame-length-0":           with(3, 0),
		"sampling-0":               with(11, 0),
		"sampling-15":              with(11, 0xff),
		"table-4-of-4":             inserted(segment(0xdb, append([]byte{0x0f}, make([]byte, 64)...)...)),
		"huffman-overfull":         inserted(segment(0xc4, append([]byte{0, 255, 255, 255, 255}, make([]byte, 12)...)...)),
		"huffman-missing":          file(tables, frame(0xc0, 32, 32, 1), segment(0xda, 1, 1, 0, 0, 63, 0), make([]byte, 100), end),
		"restart-interval-1":       inserted(segment(0xdd, 0, 1)),
		"segment-length-1":         file([]byte{0xff, 0xe0, 0, 1}, good[2:]),
		"segment-beyond-end":       file([]byte{0xff, 0xe0, 0xff, 0xff, 1}),
		"fill-bytes-8-mb":          file(bytes.Repeat([]byte{0xff}, 8<<20-100), end),
		"comments-7-mb":            inserted(bytes.Repeat(segment(0xfe, make([]byte, 65000)...), 110)),
		"end-missing":              good[:len(good)-2],
		"end-only-of-thumbnail":    file(segment(0xe1, 0xff, 0xd8, 0xff, 0xd9), good[2:len(good)-2]),
		"half":                     good[:len(good)/2],
		"start-only":               {0xff, 0xd8, 0xff},
		"starts-a-million":         bytes.Repeat(start, 1<<20),
		"cmyk-adobe":               file(segment(0xee, []byte("Adobe\x00\x64\x00\x00\x00\x00\x02")...), tables, frame(0xc0, 1024, 1024, 4), end),
	}
}

// riff is a WebP of chunks; size is what the file says of its length, -1 for the truth.
func riff(size int64, chunks ...[]byte) []byte {
	body := append([]byte("WEBP"), slices.Concat(chunks...)...)
	if size < 0 {
		size = int64(len(body))
	}
	return slices.Concat([]byte("RIFF"), binary.LittleEndian.AppendUint32(nil, uint32(size)), body)
}

// part is a RIFF chunk, padded.
func part(kind string, data []byte) []byte {
	b := append([]byte(kind), binary.LittleEndian.AppendUint32(nil, uint32(len(data)))...)
	b = append(b, data...)
	if len(data)%2 == 1 {
		b = append(b, 0)
	}
	return b
}

// lossless is the header of a VP8L picture.
func lossless(width, height uint32, version byte) []byte {
	return binary.LittleEndian.AppendUint32([]byte{0x2f}, width-1|(height-1)<<14|uint32(version)<<29)
}

// canvas is a VP8X chunk.
func canvas(flags byte, width, height uint32) []byte {
	b := []byte{flags, 0, 0, 0, byte(width - 1), byte((width - 1) >> 8), byte((width - 1) >> 16)}
	return part("VP8X", append(b, byte(height-1), byte((height-1)>>8), byte((height-1)>>16)))
}

func webps() map[string][]byte {
	good := Good()["webp"]
	picture := good[12:]
	img := image.NewNRGBA(image.Rect(0, 0, 64, 64))
	for i := range 64 {
		img.SetNRGBA(i, i, color.NRGBA{200, 10, 10, 90})
	}
	var exact bytes.Buffer
	_ = webp.Encode(&exact, img, &webp.EncoderOptions{Lossless: true}) // into memory
	key := func(width, height uint16, rest int) []byte {               // a VP8 key frame
		b := []byte{0x10, 0xff, 0x3f, 0x9d, 0x01, 0x2a}
		b = binary.LittleEndian.AppendUint16(b, width)
		return append(binary.LittleEndian.AppendUint16(b, height), make([]byte, rest)...)
	}
	out := map[string][]byte{
		"claims-16384-px-lossless":   riff(-1, part("VP8L", append(lossless(16384, 16384, 0), make([]byte, 32)...))),
		"claims-1024-px-no-data":     riff(-1, part("VP8L", lossless(1024, 1024, 0))),
		"claims-16383-px-lossy":      riff(-1, part("VP8 ", key(16383, 16383, 32))),
		"claims-1024-px-lossy":       riff(-1, part("VP8 ", key(1024, 1024, 64))),
		"claims-0-px-lossy":          riff(-1, part("VP8 ", key(0, 0, 32))),
		"claims-2-24-px-canvas":      riff(-1, canvas(0, 1<<24, 1<<24), picture),
		"canvas-small-picture-large": riff(-1, canvas(0, 32, 32), part("VP8L", append(lossless(16384, 16384, 0), make([]byte, 32)...))),
		"canvas-large-picture-small": riff(-1, canvas(0, 1000, 1000), picture),
		"canvas-twice":               riff(-1, canvas(0, 32, 32), canvas(0, 32, 32), picture),
		"canvas-alone":               riff(-1, canvas(0, 32, 32)),
		"canvas-of-4-bytes":          riff(-1, part("VP8X", make([]byte, 4)), picture),
		"animation":                  riff(-1, canvas(2, 32, 32), part("ANIM", make([]byte, 6)), part("ANMF", make([]byte, 16))),
		"alpha-without-picture":      riff(-1, canvas(0x10, 32, 32), part("ALPH", make([]byte, 100))),
		"alpha-cut":                  riff(-1, canvas(0x10, 32, 32), part("ALPH", []byte{1}), picture),
		"alpha-bomb":                 riff(-1, canvas(0x10, 32, 32), part("ALPH", append([]byte{1}, make([]byte, 64)...)), picture),
		"alpha-filter-3":             riff(-1, canvas(0x10, 32, 32), part("ALPH", append([]byte{0x3c}, make([]byte, 1024)...)), picture),
		"profile-6-mb":               riff(-1, canvas(0x20, 32, 32), part("ICCP", make([]byte, 6<<20)), picture),
		"chunks-500000":              riff(-1, canvas(0, 32, 32), bytes.Repeat(part("JUNK", nil), 500000), picture),
		"chunk-length-2-32":          riff(-1, canvas(0, 32, 32), []byte("JUNK\xff\xff\xff\xff"), picture),
		"picture-length-2-32":        riff(-1, []byte("VP8L\xff\xff\xff\xff"), lossless(32, 32, 0)),
		"version-1":                  riff(-1, part("VP8L", lossless(32, 32, 1))),
		"not-a-key-frame":            riff(-1, part("VP8 ", append([]byte{0x11}, key(32, 32, 32)[1:]...))),
		"start-code":                 riff(-1, part("VP8 ", append([]byte{0x10, 0, 0, 1, 2, 3}, make([]byte, 32)...))),
		"huffman-zeros":              riff(-1, part("VP8L", append(lossless(512, 512, 0), make([]byte, 1000)...))),
		"huffman-ones":               riff(-1, part("VP8L", append(lossless(512, 512, 0), bytes.Repeat([]byte{0xff}, 1000)...))),
		"transforms-endless":         riff(-1, part("VP8L", append(lossless(512, 512, 0), bytes.Repeat([]byte{0x55}, 1000)...))),
		"length-0":                   riff(0, picture),
		"length-2-32":                riff(1<<32-1, picture),
		"no-chunks":                  riff(-1),
		"unknown-chunk":              riff(-1, part("ABCD", make([]byte, 32))),
		"half":                       good[:len(good)/2],
		"lossless-half":              exact.Bytes()[:exact.Len()/2],
	}
	damaged := exact.Bytes()
	for _, at := range []int{22, 26, 30, 40, 60} {
		if at < len(damaged) {
			b := bytes.Clone(damaged)
			b[at] ^= 0xff
			out[fmt.Sprintf("lossless-damaged-at-%d", at)] = b
		}
	}
	return out
}
