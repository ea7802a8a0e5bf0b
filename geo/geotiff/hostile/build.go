package hostile

import (
	"encoding/binary"
	"math"
	"slices"
)

// entry is one tag. Values longer than its field are put before the directory, unless offset says where they are said
// to lie.
type entry struct {
	id, typ uint16
	count   uint64
	value   []byte
	offset  *uint64
}

// form is the container of a file.
type form struct {
	order binary.ByteOrder
	big   bool
}

var (
	classic = form{order: binary.LittleEndian}
	motor   = form{order: binary.BigEndian}
	bigTIFF = form{order: binary.LittleEndian, big: true}
)

// pixelsAt is where the bytes that stand for pixels begin in every file.
const pixelsAt = 16

func (f form) short(id uint16, v ...int) entry {
	e := entry{id: id, typ: 3, count: uint64(len(v)), value: make([]byte, 2*len(v))}
	for i, n := range v {
		f.order.PutUint16(e.value[2*i:], uint16(n))
	}
	return e
}

func (f form) long(id uint16, v ...int) entry {
	e := entry{id: id, typ: 4, count: uint64(len(v)), value: make([]byte, 4*len(v))}
	for i, n := range v {
		f.order.PutUint32(e.value[4*i:], uint32(n))
	}
	return e
}

func (f form) long8(id uint16, v ...uint64) entry {
	e := entry{id: id, typ: 16, count: uint64(len(v)), value: make([]byte, 8*len(v))}
	for i, n := range v {
		f.order.PutUint64(e.value[8*i:], n)
	}
	return e
}

func (f form) double(id uint16, v ...float64) entry {
	e := entry{id: id, typ: 12, count: uint64(len(v)), value: make([]byte, 8*len(v))}
	for i, n := range v {
		f.order.PutUint64(e.value[8*i:], math.Float64bits(n))
	}
	return e
}

func text(id uint16, s string) entry {
	return entry{id: id, typ: 2, count: uint64(len(s) + 1), value: append([]byte(s), 0)}
}

func bytesOf(id uint16, b []byte) entry {
	return entry{id: id, typ: 7, count: uint64(len(b)), value: b}
}

// claim is a tag that says to have count values somewhere.
func claim(id, typ uint16, count, offset uint64) entry {
	return entry{id: id, typ: typ, count: count, offset: &offset}
}

// image is a small grey picture on the map, uncompressed in one strip.
func (f form) image() []entry {
	return []entry{
		f.long(256, 8), f.long(257, 8), f.short(258, 8), f.short(259, 1), f.short(262, 1), f.long(273, pixelsAt), f.short(277, 1),
		f.long(278, 8), f.long(279, 64), f.double(33550, 100, 100, 0), f.double(33922, 0, 0, 0, 500000, 6000000, 0),
		f.short(34735, 1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 3857),
	}
}

// tiled is the same in tiles of so many pixels a side.
func (f form) tiled(width, height, side int, offsets, counts entry) []entry {
	return with(without(f.image(), 273, 278, 279), f.long(256, width), f.long(257, height), f.long(322, side), f.long(323, side), offsets, counts)
}

// packed is a picture of so many pixels a side in one strip of length compressed bytes.
func (f form) packed(compression, side, length int) []entry {
	return with(f.image(), f.long(256, side), f.long(257, side), f.short(259, compression), f.long(278, side), f.long(279, length))
}

// with replaces the tags of those ids, or adds them.
func with(list []entry, more ...entry) []entry {
	for _, m := range more {
		list = append(without(list, m.id), m)
	}
	return list
}

func without(list []entry, ids ...uint16) []entry {
	return slices.DeleteFunc(slices.Clone(list), func(e entry) bool { return slices.Contains(ids, e.id) })
}

// file is a TIFF of several directories, one after the other, behind the bytes of pixels.
func (f form) file(pixels []byte, directories ...[]entry) []byte {
	b := f.header(0)
	b = append(b, make([]byte, pixelsAt-len(b))...)
	b = append(b, pixels...)
	link := 4
	if f.big {
		link = 8
	}
	for _, d := range directories {
		var at int
		b, at = f.directory(b, d)
		f.putOffset(b[link:], uint64(at))
		link = len(b) - 4
		if f.big {
			link = len(b) - 8
		}
	}
	return b
}

func (f form) header(first uint64) []byte {
	b := []byte("II")
	if f.order == binary.BigEndian {
		b = []byte("MM")
	}
	if f.big {
		b = append(b, make([]byte, 14)...)
		f.order.PutUint16(b[2:], 43)
		f.order.PutUint16(b[4:], 8)
		f.order.PutUint64(b[8:], first)
		return b
	}
	b = append(b, make([]byte, 6)...)
	f.order.PutUint16(b[2:], 42)
	f.order.PutUint32(b[4:], uint32(first))
	return b
}

func (f form) putOffset(b []byte, v uint64) {
	if f.big {
		f.order.PutUint64(b, v)
	} else {
		f.order.PutUint32(b, uint32(v))
	}
}

// directory appends values and a directory that nothing follows; the order of the tags is kept if they are not unique.
func (f form) directory(b []byte, list []entry) (out []byte, at int) {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b entry) int { return int(a.id) - int(b.id) })
	inline := 4
	if f.big {
		inline = 8
	}
	fields := make([][]byte, len(list))
	for i, e := range list {
		fields[i] = make([]byte, inline)
		switch {
		case e.offset != nil:
			f.putOffset(fields[i], *e.offset)
		case len(e.value) <= inline:
			copy(fields[i], e.value)
		default:
			f.putOffset(fields[i], uint64(len(b)))
			b = append(b, e.value...)
		}
	}
	at = len(b)
	var word [8]byte
	if f.big {
		f.order.PutUint64(word[:], uint64(len(list)))
		b = append(b, word[:8]...)
	} else {
		f.order.PutUint16(word[:], uint16(len(list)))
		b = append(b, word[:2]...)
	}
	for i, e := range list {
		f.order.PutUint16(word[:], e.id)
		f.order.PutUint16(word[2:], e.typ)
		b = append(b, word[:4]...)
		if f.big {
			f.order.PutUint64(word[:], e.count)
			b = append(b, word[:8]...)
		} else {
			f.order.PutUint32(word[:], uint32(e.count))
			b = append(b, word[:4]...)
		}
		b = append(b, fields[i]...)
	}
	return append(b, make([]byte, inline)...), at
}
