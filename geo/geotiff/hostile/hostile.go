// Package hostile makes TIFF files that are meant to hurt their reader: loops, counts of terabytes, bombs, damaged codes,
// places off the earth. None of them may bring it down: each opens, or is refused as a tilescout.ErrBadInput, within a
// second and within bounds of memory.
package hostile

import (
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
)

// Files yields names and contents, always the same and in the same order.
func Files() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, group := range []struct {
			name string
			make func(put func(name string, data []byte))
		}{
			{"header", headers}, {"chain", chains}, {"directory", directories}, {"value", values}, {"size", sizes},
			{"block", blocks}, {"code", codes}, {"place", places}, {"together", together},
		} {
			files := map[string][]byte{}
			group.make(func(name string, data []byte) { files[group.name+"-"+name+".tif"] = data })
			for _, name := range slices.Sorted(maps.Keys(files)) {
				if !yield(name, files[name]) {
					return
				}
			}
		}
	}
}

var grey = func() []byte {
	b := make([]byte, 64)
	for i := range b {
		b[i] = byte(3 * i)
	}
	return b
}()

// Good is a small file that opens, in either byte order.
func Good(bigEndian bool) []byte {
	f := classic
	if bigEndian {
		f = motor
	}
	return f.file(grey, f.image())
}

func headers(put func(string, []byte)) {
	put("empty", nil)
	put("one-byte", []byte("I"))
	put("two-bytes", []byte("II"))
	put("no-directory", []byte("II*\x00\x00\x00\x00\x00"))
	put("mixed-order", []byte("IM*\x00\x08\x00\x00\x00"))
	put("order-of-the-other", append([]byte("MM*\x00"), Good(false)[4:]...))
	put("version-85", append([]byte("II\x55\x00"), Good(false)[4:]...))
	put("version-0", append([]byte("II\x00\x00"), Good(false)[4:]...))
	for _, at := range []uint64{1, 2, 7, 15, 1 << 16, 1<<31 - 1, 1<<32 - 16, 1<<32 - 1} {
		put(fmt.Sprintf("first-at-%d", at), append(classic.header(at), grey...))
	}
	for _, at := range []uint64{1, 1 << 40, 1<<63 - 1, 1 << 63, math.MaxUint64} {
		put(fmt.Sprintf("big-first-at-%d", at), append(bigTIFF.header(at), grey...))
	}
	whole := bigTIFF.file(grey, bigTIFF.image())
	for _, size := range []byte{0, 1, 4, 16, 255} {
		b := append([]byte(nil), whole...)
		b[4] = size
		put(fmt.Sprintf("big-offsets-of-%d-bytes", size), b)
	}
	reserved := append([]byte(nil), whole...)
	reserved[6] = 1
	put("big-reserved", reserved)
	put("big-cut", whole[:12])
	put("not-even-close", []byte(strings.Repeat("tiff", 1000)))
}

func chains(put func(string, []byte)) {
	link := func(b []byte, f form, next uint64) []byte {
		n := 4
		if f.big {
			n = 8
		}
		f.putOffset(b[len(b)-n:], next)
		return b
	}
	for name, f := range forms() {
		b := f.file(grey, f.image())
		at := f.first(b)
		put("self-"+name, link(b, f, at))
		two := f.file(grey, f.image(), f.image())
		put("cycle-of-two-"+name, link(two, f, f.first(two)))
		into := f.file(grey, f.image())
		put("into-itself-"+name, link(into, f, f.first(into)+1))
		out := f.file(grey, f.image())
		put("outside-"+name, link(out, f, 1<<31))
	}
	// Directories of one tag, each pointing at the next.
	for _, n := range []int{255, 300, 5000, 60000} {
		b := classic.header(8)
		for i := range n {
			next := 0
			if i < n-1 {
				next = 8 + 18*(i+1)
			}
			b = append(b, 1, 0)
			var e [16]byte
			classic.order.PutUint16(e[:], 256)
			classic.order.PutUint16(e[2:], 4)
			classic.order.PutUint32(e[4:], 1)
			classic.order.PutUint32(e[8:], 8)
			classic.order.PutUint32(e[12:], uint32(next))
			b = append(b, e[:]...)
		}
		put(fmt.Sprintf("of-%d", n), b)
	}
	f := classic
	sub := f.file(grey, with(f.image(), f.long(330, 0)))
	at := f.first(sub)
	put("sub-self", f.file(grey, with(f.image(), f.long(330, int(at)))))
	put("sub-outside", f.file(grey, with(f.image(), f.long(330, 1<<31))))
	put("sub-in-the-header", f.file(grey, with(f.image(), f.long(330, 2))))
	put("sub-many-the-same", f.file(grey, with(f.image(), f.long(330, repeated(10000, int(at))...))))
	many := make([]int, 5000)
	for i := range many {
		many[i] = 100 + i
	}
	put("sub-many", f.file(make([]byte, 8000), with(f.image(), f.long(330, many...))))
	put("sub-count-of-all", f.file(grey, with(f.image(), claim(330, 13, 1<<32-1, 8))))
	// Each directory inside the one before.
	b := append(f.header(0), grey...)
	inner := 0
	for range 100 {
		list := f.image()
		if inner != 0 {
			list = with(list, f.long(330, inner))
		}
		b, inner = f.directory(b, list)
	}
	f.putOffset(b[4:], uint64(inner))
	put("sub-nested-100", b)
}

func forms() iter.Seq2[string, form] {
	return func(yield func(string, form) bool) {
		_ = yield("classic", classic) && yield("motor", motor) && yield("big", bigTIFF)
	}
}

func (f form) first(b []byte) uint64 {
	if f.big {
		return f.order.Uint64(b[8:])
	}
	return uint64(f.order.Uint32(b[4:]))
}

func repeated(n, v int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = v
	}
	return out
}

func directories(put func(string, []byte)) {
	f := classic
	put("no-tags", f.file(grey, nil))
	filler := func(n int) []entry {
		list := f.image()
		for i := range n {
			list = append(list, f.short(uint16(40000+i), i))
		}
		return list
	}
	put("513-tags", f.file(grey, filler(501)))
	put("20000-tags", f.file(grey, filler(20000)))
	for _, id := range []uint16{256, 273, 34735, 60000} {
		put(fmt.Sprintf("twice-%d", id), f.file(grey, append(f.image(), f.long(id, 8), f.long(id, 8))))
	}
	for _, n := range []uint64{0, 513, 1 << 16, 1 << 40, 1<<63 - 1, math.MaxUint64} {
		b := bigTIFF.file(grey, bigTIFF.image())
		bigTIFF.order.PutUint64(b[bigTIFF.first(b):], n)
		put(fmt.Sprintf("big-%d-tags", n), b)
	}
	for _, n := range []uint16{11, 13, 500, 65535} {
		b := f.file(grey, f.image())
		f.order.PutUint16(b[f.first(b):], n)
		put(fmt.Sprintf("%d-tags-are-12", n), b)
	}
	b := f.file(grey, f.image())
	put("cut-in-a-tag", b[:len(b)-30])
	put("cut-before-the-link", b[:len(b)-4])
	put("at-the-end", append(f.header(uint64(16+len(grey))), append(make([]byte, 8), grey...)...))
	same := []entry{}
	for i := range 250 { // each points at one place of a mebibyte
		same = append(same, claim(uint16(41000+i), 7, 1<<20, 16))
	}
	put("250-tags-one-place", f.file(make([]byte, 1<<20), append(f.image(), same...)))
	known := f.image()
	for _, id := range []uint16{320, 338, 339, 347, 34264, 34736, 34737, 42113, 50844} {
		typ := map[uint16]uint16{347: 7, 34737: 2, 42113: 2, 34264: 12, 34736: 12, 50844: 12}[id]
		if typ == 0 {
			typ = 3
		}
		known = with(known, claim(id, typ, 1<<17, 16))
	}
	put("known-tags-one-place", f.file(make([]byte, 1<<21), known))
}
