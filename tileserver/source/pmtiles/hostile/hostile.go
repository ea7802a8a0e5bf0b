// Package hostile makes PMTiles archives that are meant to hurt their reader. None of them may bring it down: each opens,
// or is refused as tilescout.ErrBadInput, with little memory and at once.
package hostile

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"slices"
)

// Archive is one archive in parts, good unless a field is changed. It is not written by the program's own writer, which
// would refuse to.
type Archive struct {
	Head     map[int]uint64 // u64 fields that replace computed ones, by offset in the header
	Bytes    map[int]byte   // single bytes of the header, the same
	Root     []byte         // unpacked
	Leaves   []byte         // as stored
	Metadata []byte         // unpacked
	Tiles    []byte
	Plain    bool // directories and metadata are not packed
	Cut      int  // bytes cut off the end
}

// Entry is one line of a directory. An offset of Next means: behind the one before.
type Entry struct{ Delta, Run, Length, Offset uint64 }

// Next is the offset that says: behind the entry before.
const Next = math.MaxUint64

// Directory packs entries as the format does, whatever they say. count replaces their number where it is not negative.
func Directory(count int64, entries ...Entry) []byte {
	n := uint64(len(entries))
	if count >= 0 {
		n = uint64(count)
	}
	b := binary.AppendUvarint(nil, n)
	for _, e := range entries {
		b = binary.AppendUvarint(b, e.Delta)
	}
	for _, e := range entries {
		b = binary.AppendUvarint(b, e.Run)
	}
	for _, e := range entries {
		b = binary.AppendUvarint(b, e.Length)
	}
	for _, e := range entries {
		b = binary.AppendUvarint(b, e.Offset+1) // Next becomes 0
	}
	return b
}

// Gzip packs b.
func Gzip(b []byte) []byte {
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression)
	z.Write(b) // into memory
	z.Close()
	return out.Bytes()
}

// Build returns the archive as a file.
func (a Archive) Build() []byte {
	pack := Gzip
	compression := byte(2)
	if a.Plain {
		pack, compression = bytes.Clone, 1
	}
	root, metadata := pack(a.Root), pack(a.Metadata)
	head := make([]byte, 127)
	copy(head, "PMTiles\x03")
	at := uint64(len(head))
	for i, part := range [][]byte{root, metadata, a.Leaves, a.Tiles} {
		binary.LittleEndian.PutUint64(head[8+16*i:], at)
		binary.LittleEndian.PutUint64(head[16+16*i:], uint64(len(part)))
		at += uint64(len(part))
	}
	for i := range 3 {
		binary.LittleEndian.PutUint64(head[72+8*i:], 1)
	}
	head[96], head[97], head[98], head[99] = 1, compression, 1, 2
	for i, v := range []int32{-1800000000, -850511287, 1800000000, 850511287} {
		binary.LittleEndian.PutUint32(head[102+4*i:], uint32(v))
	}
	for at, v := range a.Head {
		binary.LittleEndian.PutUint64(head[at:], v)
	}
	for at, v := range a.Bytes {
		head[at] = v
	}
	file := slices.Concat(head, root, metadata, a.Leaves, a.Tiles)
	return file[:max(0, len(file)-a.Cut)]
}

// Pixel is a PNG of one pixel.
var Pixel = []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\b\x00\x00\x00\x00:~\x9bU\x00\x00\x00\nIDATx\x9cc\xf8\x0f\x00\x01\x01\x01\x00\x1b\xb6\xeeV\x00\x00\x00\x00IEND\xaeB`\x82")

// Good is an archive of one tile at zoom 0, which others are changed from.
func Good() Archive {
	return Archive{Root: Directory(-1, Entry{0, 1, uint64(len(Pixel)), 0}), Metadata: []byte(`{"name":"good"}`), Tiles: Pixel}
}

// Files yields name and bytes of each archive. Names begin with what is wrong.
func Files() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for name, file := range files() {
			if !yield(name+".pmtiles", file) {
				return
			}
		}
	}
}

func files() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, part := range []func() map[string][]byte{headers, directories, packedOnes, leaves, contents} {
			made := part()
			names := make([]string, 0, len(made))
			for name := range made {
				names = append(names, name)
			}
			slices.Sort(names)
			for _, name := range names {
				if !yield(name, made[name]) {
					return
				}
			}
		}
	}
}

// changed is the good archive after one change.
func changed(change func(*Archive)) []byte {
	a := Good()
	change(&a)
	return a.Build()
}

func headers() map[string][]byte {
	out := map[string][]byte{}
	good := Good().Build()
	for _, n := range []int{0, 1, 6, 7, 8, 9, 126, 127, 128, len(good) - len(Pixel), len(good) - 1} {
		out[fmt.Sprintf("header-cut-at-%03d", n)] = good[:n]
	}
	for _, v := range []byte{0, 1, 2, 4, 255} {
		b := bytes.Clone(good)
		b[7] = v
		out[fmt.Sprintf("header-version-%d", v)] = b
	}
	for i, name := range []string{"root", "metadata", "leaves", "tiles"} {
		offset, length := 8+16*i, 16+16*i
		for what, change := range map[string]map[int]uint64{
			"offset-huge":    {offset: math.MaxUint64, length: 1},
			"length-huge":    {length: math.MaxUint64},
			"sum-wraps":      {offset: math.MaxUint64 - 10, length: 20},
			"sum-signed":     {offset: math.MaxInt64, length: 127},
			"behind-the-end": {offset: uint64(len(good)), length: 1},
			"in-the-header":  {offset: 0, length: 127},
		} {
			out["header-"+name+"-"+what] = changed(func(a *Archive) { a.Head = change })
		}
	}
	out["header-root-length-0"] = changed(func(a *Archive) { a.Head = map[int]uint64{16: 0} })
	out["header-root-too-long"] = changed(func(a *Archive) {
		a.Tiles = append(a.Tiles, make([]byte, 20000)...)
		a.Head = map[int]uint64{16: 16258}
	})
	for _, c := range []byte{0, 3, 4, 5, 255} {
		out[fmt.Sprintf("header-internal-compression-%d", c)] = changed(func(a *Archive) { a.Bytes = map[int]byte{97: c} })
		out[fmt.Sprintf("header-tile-compression-%d", c)] = changed(func(a *Archive) { a.Bytes = map[int]byte{98: c} })
	}
	for _, c := range []byte{0, 1, 5, 6, 7, 255} {
		out[fmt.Sprintf("header-tile-type-%d", c)] = changed(func(a *Archive) { a.Bytes = map[int]byte{99: c} })
	}
	for _, z := range [][2]byte{{1, 0}, {0, 31}, {0, 64}, {31, 31}, {255, 255}} {
		out[fmt.Sprintf("header-zooms-%d-%d", z[0], z[1])] = changed(func(a *Archive) { a.Bytes = map[int]byte{100: z[0], 101: z[1]} })
	}
	out["header-counts-huge"] = changed(func(a *Archive) {
		a.Head = map[int]uint64{72: math.MaxUint64, 80: math.MaxUint64, 88: math.MaxUint64}
	})
	out["header-bounds-reversed"] = changed(func(a *Archive) {
		a.Bytes = map[int]byte{}
		for i := 102; i < 118; i++ {
			a.Bytes[i] = byte(0x80 - i)
		}
	})
	out["header-sections-overlap"] = changed(func(a *Archive) { a.Head = map[int]uint64{56: 127, 64: 30, 24: 127, 32: 20} })
	return out
}

func directories() map[string][]byte {
	length := uint64(len(Pixel))
	out := map[string][]byte{}
	add := func(name string, root []byte) {
		out["directory-"+name] = changed(func(a *Archive) { a.Root = root; a.Plain = len(root) < 16000 })
	}
	add("empty", nil)
	add("no-entries", Directory(0))
	add("count-cut", []byte{0x80})
	add("count-endless", bytes.Repeat([]byte{0xff}, 11))
	add("count-huge", binary.AppendUvarint(nil, math.MaxUint64))
	add("count-1e9-in-9-bytes", append(binary.AppendUvarint(nil, 1e9), 0, 1, 1, 1))
	add("count-over-bytes", Directory(100, Entry{0, 1, length, 0}))
	add("entries-cut", Directory(-1, Entry{0, 1, length, 0}, Entry{1, 1, length, 0})[:6])
	add("varint-of-70-bits", append([]byte{1}, bytes.Repeat([]byte{0xff}, 10)...))
	add("id-twice", Directory(-1, Entry{0, 1, length, 0}, Entry{0, 1, length, 0}))
	add("id-wraps", Directory(-1, Entry{5, 1, length, 0}, Entry{math.MaxUint64, 1, length, 0}))
	add("id-over-zoom-30", Directory(-1, Entry{1537228672809129301, 1, length, 0}))
	add("id-huge", Directory(-1, Entry{math.MaxUint64, 1, length, 0}))
	add("run-huge", Directory(-1, Entry{0, math.MaxUint64, length, 0}))
	add("run-over-32-bits", Directory(-1, Entry{1 << 40, 1 << 33, length, 0}))
	add("run-into-next-zoom", Directory(-1, Entry{1, 5, length, 0}))
	add("run-into-next-entry", Directory(-1, Entry{5, 4, length, 0}, Entry{2, 1, length, 0}))
	add("length-0", Directory(-1, Entry{0, 1, 0, 0}))
	add("length-huge", Directory(-1, Entry{0, 1, math.MaxUint64, 0}))
	add("length-over-32-bits", Directory(-1, Entry{0, 1, 1<<32 + length, 0}))
	add("length-beyond-section", Directory(-1, Entry{0, 1, length + 1, 0}))
	add("offset-beyond-section", Directory(-1, Entry{0, 1, length, 1}))
	add("offset-huge", Directory(-1, Entry{0, 1, length, math.MaxUint64 - 1}))
	add("offset-next-of-nothing", Directory(-1, Entry{0, 1, length, Next}))
	add("offset-next-beyond-section", Directory(-1, Entry{0, 1, length, 0}, Entry{1, 1, length, Next}))
	var many []Entry
	for range 5000 { // all point to one tile
		many = append(many, Entry{3, 1, length, 0})
	}
	add("trailing-bytes", append(Directory(-1, Entry{0, 1, length, 0}), "trailing"...))
	add("5000-entries-one-tile", Directory(-1, many...))
	return out
}

func packedOnes() map[string][]byte {
	out := map[string][]byte{}
	raw := func(name string, root []byte, compression byte) {
		out["packed-"+name] = changed(func(a *Archive) {
			a.Plain, a.Root, a.Metadata = true, root, nil
			a.Bytes = map[int]byte{97: compression}
		})
	}
	good := Good().Root
	raw("root-not-gzip", good, 2)
	raw("root-not-zstd", good, 4)
	raw("root-gzip-cut", Gzip(good)[:12], 2)
	raw("root-gzip-header-only", Gzip(good)[:10], 2)
	bad := Gzip(good)
	bad[len(bad)-6] ^= 0xff
	raw("root-gzip-checksum", bad, 2)
	raw("root-gzip-reserved-block", []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x07"), 2)
	raw("root-bomb-16-kB", Gzip(make([]byte, 15<<20)), 2)                    // zeros: a directory without entries
	raw("root-bomb-over-16-MB", Gzip(bigRoot()), 2)                          // what it claims is not in it
	raw("root-bomb-members", bytes.Repeat(Gzip(make([]byte, 1<<20)), 15), 2) // gzip members in a row are one stream
	raw("root-zstd-window-2-GB", []byte("\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00"), 4)
	raw("root-zstd-skippable-endless", bytes.Repeat([]byte("\x50\x2a\x4d\x18\x00\x00\x00\x00"), 1500), 4)
	out["packed-metadata-bomb"] = changed(func(a *Archive) {
		a.Metadata = append(append([]byte(`{"name":"`), bytes.Repeat([]byte("a"), 64<<20)...), `"}`...)
	})
	out["packed-metadata-5-MB-plain"] = changed(func(a *Archive) { a.Plain, a.Metadata = true, make([]byte, 5<<20) })
	for name, text := range map[string]string{
		"metadata-not-json": "<html>", "metadata-array": "[1,2,3]", "metadata-cut": `{"name":`, "metadata-null": "null",
		"metadata-wrong-types": `{"name":7,"attribution":{"a":[]},"description":null}`,
		"metadata-deep":        `{"a":` + string(bytes.Repeat([]byte("["), 1<<20)),
		"metadata-not-utf8":    "{\"name\":\"\xff\xfe\"}", "metadata-script": `{"attribution":"<script>alert(1)</script>"}`,
		"metadata-empty": "",
	} {
		out["packed-"+name] = changed(func(a *Archive) { a.Metadata = []byte(text) })
	}
	return out
}

// bigRoot is a directory that claims as many entries as its zeros could be.
func bigRoot() []byte {
	return append(binary.AppendUvarint(nil, 4<<20), make([]byte, 15<<20)...)
}

func leaves() map[string][]byte {
	out := map[string][]byte{}
	length := uint64(len(Pixel))
	leaf := func(entries ...Entry) []byte { return Directory(-1, entries...) }
	add := func(name string, root, leaves []byte) {
		out["leaf-"+name] = changed(func(a *Archive) { a.Plain, a.Root, a.Leaves = true, root, leaves })
	}
	self := leaf(Entry{0, 0, 5, 0}) // five bytes long: a leaf that points to itself
	add("points-to-itself", leaf(Entry{0, 0, uint64(len(self)), 0}), self)
	one, two := leaf(Entry{0, 0, 5, 5}), leaf(Entry{0, 0, 5, 0})
	add("two-in-a-ring", leaf(Entry{0, 0, 5, 0}), slices.Concat(one, two))
	chain := func(depth int) []byte { // leaf k points to leaf k+1, the last to the tile
		var b []byte
		for i := range depth - 1 {
			b = append(b, leaf(Entry{0, 0, 5, uint64(5 * (i + 1))})...)
		}
		return append(b, leaf(Entry{0, 1, length, 0})...)
	}
	for _, depth := range []int{1, 2, 3, 4, 5, 20} {
		add(fmt.Sprintf("depth-%02d", depth), leaf(Entry{0, 0, 5, 0}), chain(depth))
	}
	add("beyond-section", leaf(Entry{0, 0, 50, 0}), self)
	add("offset-huge", leaf(Entry{0, 0, 5, math.MaxUint64 - 1}), self)
	add("no-section", leaf(Entry{0, 0, 5, 0}), nil)
	add("not-a-directory", leaf(Entry{0, 0, 6, 0}), []byte("<html>"))
	add("empty-directory", leaf(Entry{0, 0, 1, 0}), []byte{0})
	add("other-ids", leaf(Entry{0, 0, 5, 0}), leaf(Entry{21, 1, length, 0}))
	add("ids-before-it", leaf(Entry{0, 1, length, 0}, Entry{40, 0, 5, 0}), leaf(Entry{1, 1, length, 0}))
	add("second-damaged", leaf(Entry{0, 1, length, 0}, Entry{1, 0, 6, 0}), []byte("<html>"))
	out["leaf-bomb"] = changed(func(a *Archive) {
		a.Leaves = Gzip(make([]byte, 64<<20))
		a.Root = leaf(Entry{0, 0, uint64(len(a.Leaves)), 0})
	})
	return out
}

func contents() map[string][]byte {
	out := map[string][]byte{}
	add := func(name string, tile []byte, compression byte) {
		out["tile-"+name] = changed(func(a *Archive) {
			a.Tiles, a.Root = tile, Directory(-1, Entry{0, 1, uint64(len(tile)), 0})
			a.Bytes = map[int]byte{98: compression}
		})
	}
	add("html", []byte("<!doctype html><title>404</title>"), 1)
	add("vector", []byte("\x1a\x02\x0a\x00"), 1)
	add("vector-packed", Gzip([]byte("\x1a\x02\x0a\x00")), 2)
	add("cut-short", Pixel[:40], 1)
	add("zeros", make([]byte, 1000), 1)
	add("over-8-MB", append(bytes.Clone(Pixel), make([]byte, 8<<20)...), 1)
	add("gzip-bomb", Gzip(make([]byte, 64<<20)), 2)
	add("gzip-cut", Gzip(Pixel)[:20], 2)
	add("gzip-unsaid", Gzip(Pixel), 1)
	add("gzip-said-and-not", Pixel, 2)
	add("gzip-twice", Gzip(Gzip(Pixel)), 2)
	add("zstd-not", Pixel, 4)
	add("png-65535-px", claim(65535, 65535), 1)
	add("png-0-px", claim(0, 0), 1)
	return out
}

// claim is the pixel with another size in its header, whose checksum is then wrong.
func claim(width, height uint32) []byte {
	b := bytes.Clone(Pixel)
	binary.BigEndian.PutUint32(b[16:], width)
	binary.BigEndian.PutUint32(b[20:], height)
	return b
}
