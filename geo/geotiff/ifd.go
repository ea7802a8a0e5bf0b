package geotiff

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"

	"github.com/google/tiff"
	_ "github.com/google/tiff/geotiff" // names of the GeoTIFF tags
)

// walker reads headers and directories of a TIFF file without trusting any number in it.
type walker struct {
	r      io.ReaderAt
	size   int64
	limits Limits
	order  binary.ByteOrder
	big    bool
	used   int64      // bytes of tag values read so far
	taken  [][2]int64 // where directories lie, from and to
}

// directory is one IFD: the tags that we know, values read except for offset arrays. It is a tiff.IFD, so
// that tiff.UnmarshalIFD fills structs from it.
type directory struct {
	offset uint64
	length int64 // bytes of the directory itself
	next   uint64
	depth  int // 0 in the chain of the file, else in another directory
	fields []tiff.Field
	arrays map[uint16]array
}

func (d *directory) NumEntries() uint64   { return uint64(len(d.fields)) }
func (d *directory) Fields() []tiff.Field { return d.fields }
func (d *directory) NextOffset() uint64   { return d.next }
func (d *directory) HasField(id uint16) bool {
	return d.GetField(id) != nil
}
func (d *directory) GetField(id uint16) tiff.Field {
	for _, f := range d.fields {
		if f.(*field).id == id {
			return f
		}
	}
	return nil
}

// field is a tag whose value has been brought to one of four types: LONG8 for every unsigned integer (the
// library refuses widenings that the standard allows), DOUBLE, ASCII and BYTE. Count is never 0.
type field struct {
	id    uint16
	typ   tiff.FieldType
	count uint64
	value []byte // count × size of typ, little-endian
}

func (f *field) Tag() tiff.Tag            { return tiff.DefaultTagSpace.GetTag(f.id) }
func (f *field) Type() tiff.FieldType     { return f.typ }
func (f *field) Count() uint64            { return f.count }
func (f *field) Offset() uint64           { return 0 }
func (f *field) Value() tiff.FieldValue   { return f }
func (f *field) Order() binary.ByteOrder  { return binary.LittleEndian }
func (f *field) Bytes() []byte            { return f.value }
func (f *field) uint(i uint64) uint64     { return binary.LittleEndian.Uint64(f.value[8*i:]) }
func tagName(id uint16) string            { return tiff.DefaultTagSpace.GetTag(id).Name() }
func tagError(id uint16, err error) error { return fmt.Errorf("tag %d (%s): %w", id, tagName(id), err) }

// array is an offset array left in the file.
type array struct {
	at    int64
	width int64 // bytes of an element: 1, 2, 4 or 8
	count uint64
	data  []byte // the value itself if it was small enough to lie in the entry
}

// header reads the first bytes and returns the offset of the first directory.
func (w *walker) header() (uint64, error) {
	var h [16]byte
	n, err := w.r.ReadAt(h[:min(16, max(0, w.size))], 0)
	if err != nil && err != io.EOF {
		return 0, fmt.Errorf("read the header: %w", err)
	}
	if n < 8 {
		return 0, fmt.Errorf("%d bytes: %w", w.size, ErrNotTIFF)
	}
	switch string(h[:2]) {
	case "II":
		w.order = binary.LittleEndian
	case "MM":
		w.order = binary.BigEndian
	default:
		return 0, ErrNotTIFF
	}
	switch w.order.Uint16(h[2:]) {
	case 42:
		return uint64(w.order.Uint32(h[4:])), nil
	case 43:
		w.big = true
		if n < 16 || w.order.Uint16(h[4:]) != 8 || w.order.Uint16(h[6:]) != 0 {
			return 0, fmt.Errorf("header of a BigTIFF is damaged: %w", ErrNotTIFF)
		}
		return w.order.Uint64(h[8:]), nil
	}
	return 0, ErrNotTIFF
}

// maxDepth is how deep directories may lie in others (tag 330).
const maxDepth = 2

// directories walks the chain of IFDs, and then the SubIFDs of the first, where some writers keep its overviews.
func (w *walker) directories() ([]*directory, error) {
	next, err := w.header()
	if err != nil {
		return nil, err
	}
	seen := map[uint64]bool{}
	out, err := w.chain(next, 0, seen, nil)
	if err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no image directory: %w", ErrNotTIFF)
	}
	parents := out[:1]
	for depth := 1; depth <= maxDepth && len(parents) > 0; depth++ {
		first := len(out)
		for _, d := range parents {
			f, _ := d.GetField(tagSubIFDs).(*field)
			if f == nil {
				continue
			}
			for i := range f.count {
				if out, err = w.chain(f.uint(i), depth, seen, out); err != nil {
					return nil, err
				}
			}
		}
		parents = out[first:]
	}
	return out, nil
}

// chain appends the directories from an offset on.
func (w *walker) chain(next uint64, depth int, seen map[uint64]bool, out []*directory) ([]*directory, error) {
	for next != 0 {
		if seen[next] {
			return nil, fmt.Errorf("directory at offset %d: %w", next, ErrIFDLoop)
		}
		seen[next] = true
		if len(out) == w.limits.IFDs {
			return nil, fmt.Errorf("more than %d: %w", w.limits.IFDs, ErrTooManyIFDs)
		}
		d, err := w.directory(next)
		if err != nil {
			return nil, fmt.Errorf("directory %d: %w", len(out), err)
		}
		d.depth = depth
		w.taken = append(w.taken, [2]int64{int64(d.offset), int64(d.offset) + d.length})
		out = append(out, d)
		next = d.next
	}
	return out, nil
}

// typeSize is the width in bytes of the field types 1 to 18; 0 is no type.
var typeSize = [...]int64{0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8}

// entry is one raw tag.
type entry struct {
	id, typ uint16
	count   uint64
	size    int64  // bytes of the value
	at      int64  // where the value lies, if not inline
	inline  []byte // the value, if it fits into the entry
}

func (w *walker) directory(offset uint64) (*directory, error) {
	head, entrySize, tail := int64(2), int64(12), int64(4)
	if w.big {
		head, entrySize, tail = 8, 20, 8
	}
	at := int64(offset)
	if offset > math.MaxInt64 || at < 8 || at > w.size-head {
		return nil, fmt.Errorf("offset %d is outside the file: %w", offset, ErrTagValue)
	}
	var buf [8]byte
	if err := w.readAt(buf[:head], at); err != nil {
		return nil, err
	}
	n := uint64(w.order.Uint16(buf[:]))
	if w.big {
		n = w.order.Uint64(buf[:])
	}
	if n == 0 || n > uint64(w.limits.Tags) {
		return nil, fmt.Errorf("%d tags: %w", n, ErrTagCount)
	}
	raw := make([]byte, int64(n)*entrySize+tail)
	if int64(len(raw)) > w.size-at-head {
		return nil, fmt.Errorf("cut off after offset %d: %w", at, ErrTagValue)
	}
	if err := w.readAt(raw, at+head); err != nil {
		return nil, err
	}
	d := &directory{offset: offset, length: head + int64(len(raw)), arrays: map[uint16]array{}}
	seen := make(map[uint16]bool, n)
	var wanted []entry
	for i := range int64(n) {
		e, err := w.entry(raw[i*entrySize : (i+1)*entrySize])
		if err != nil {
			return nil, tagError(e.id, err)
		}
		if seen[e.id] {
			return nil, tagError(e.id, ErrTagDuplicate)
		}
		seen[e.id] = true
		switch {
		case e.count == 0:
		case kindOf(e.id) == kindOffsets:
			if typeSize[e.typ] == 0 || e.typ == 2 || e.typ == 5 || e.typ == 10 || e.typ == 11 || e.typ == 12 {
				return nil, tagError(e.id, fmt.Errorf("type %d is no integer: %w", e.typ, ErrTagValue))
			}
			d.arrays[e.id] = array{at: e.at, width: typeSize[e.typ], count: e.count, data: e.inline}
		case kindOf(e.id) != kindNone:
			// Sum before reading: a directory may not ask for more than the budget in all.
			w.used += e.size * 8 // integers are held as 64 bits
			if e.size > w.limits.ValueBytes || w.used > w.limits.TagBytes {
				return nil, tagError(e.id, fmt.Errorf("%d bytes: %w", e.size, ErrTagBudget))
			}
			wanted = append(wanted, e)
		}
	}
	for _, e := range wanted {
		f, err := w.value(e)
		if err != nil {
			return nil, tagError(e.id, err)
		}
		d.fields = append(d.fields, f)
	}
	if w.big {
		d.next = w.order.Uint64(raw[len(raw)-8:])
	} else {
		d.next = uint64(w.order.Uint32(raw[len(raw)-4:]))
	}
	return d, nil
}

// entry takes a tag apart and checks that its value lies inside the file.
func (w *walker) entry(b []byte) (entry, error) {
	e := entry{id: w.order.Uint16(b), typ: w.order.Uint16(b[2:])}
	value := b[8:12]
	if w.big {
		e.count = w.order.Uint64(b[4:])
		value = b[12:20]
	} else {
		e.count = uint64(w.order.Uint32(b[4:]))
	}
	if int(e.typ) >= len(typeSize) || typeSize[e.typ] == 0 {
		if kindOf(e.id) == kindNone {
			e.count = 0 // readers must skip fields of unknown type (TIFF 6.0, p. 16)
			return e, nil
		}
		return e, fmt.Errorf("type %d is unknown: %w", e.typ, ErrTagValue)
	}
	hi, size := bits.Mul64(e.count, uint64(typeSize[e.typ]))
	if hi != 0 || size > uint64(w.size) {
		return e, fmt.Errorf("%d values do not fit into a file of %d bytes: %w", e.count, w.size, ErrTagValue)
	}
	e.size = int64(size)
	if e.size <= int64(len(value)) {
		e.inline = append([]byte(nil), value[:e.size]...)
		return e, nil
	}
	offset := uint64(w.order.Uint32(value))
	if w.big {
		offset = w.order.Uint64(value)
	}
	if offset > uint64(w.size)-size {
		return e, fmt.Errorf("value at offset %d is outside the file: %w", offset, ErrTagValue)
	}
	e.at = int64(offset)
	return e, nil
}

// value reads a tag's value and brings it to the type in which the package uses it.
func (w *walker) value(e entry) (*field, error) {
	raw := e.inline
	if raw == nil {
		raw = make([]byte, e.size)
		if err := w.readAt(raw, e.at); err != nil {
			return nil, err
		}
	}
	f := &field{id: e.id, count: e.count}
	width := int(typeSize[e.typ])
	switch k := kindOf(e.id); {
	case k == kindInts && (e.typ == 1 || e.typ == 3 || e.typ == 4 || e.typ == 13 || e.typ == 16 || e.typ == 18 || e.typ == 7):
		f.typ = long8
		f.value = make([]byte, 8*e.count)
		for i := range int(e.count) {
			binary.LittleEndian.PutUint64(f.value[8*i:], uintOf(raw[i*width:], width, w.order))
		}
	case k == kindDoubles && (e.typ == 11 || e.typ == 12):
		f.typ = tiff.FTDouble
		f.value = make([]byte, 8*e.count)
		for i := range int(e.count) {
			v := math.Float64frombits(uintOf(raw[i*width:], width, w.order))
			if e.typ == 11 {
				v = float64(math.Float32frombits(w.order.Uint32(raw[i*width:])))
			}
			binary.LittleEndian.PutUint64(f.value[8*i:], math.Float64bits(v))
		}
	case k == kindASCII && (e.typ == 2 || e.typ == 1):
		f.typ, f.value = tiff.FTAscii, raw
	case k == kindBytes && (e.typ == 1 || e.typ == 7):
		f.typ, f.value = tiff.FTByte, raw
	default:
		return nil, fmt.Errorf("type %d does not suit it: %w", e.typ, ErrTagValue)
	}
	return f, nil
}

func uintOf(b []byte, width int, order binary.ByteOrder) uint64 {
	switch width {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(order.Uint16(b))
	case 4:
		return uint64(order.Uint32(b))
	}
	return order.Uint64(b)
}

// contextReader is a reader that can be interrupted, as one over the network.
type contextReader interface {
	ReadAtContext(ctx context.Context, p []byte, off int64) (int, error)
}

// readAt fills p; the range was checked against the file's size before, so a short read is an error.
func (w *walker) readAt(p []byte, at int64) error {
	return w.readAtContext(context.Background(), p, at)
}

func (w *walker) readAtContext(ctx context.Context, p []byte, at int64) error {
	var n int
	var err error
	if r, ok := w.r.(contextReader); ok {
		n, err = r.ReadAtContext(ctx, p, at)
	} else if err = ctx.Err(); err == nil {
		n, err = w.r.ReadAt(p, at)
	}
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %d bytes at %d: %w", len(p), at, err)
}
