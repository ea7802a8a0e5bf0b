package cogwrite

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// ghost is GDAL's note that the file is laid out as a COG; it stands right after the header. It promises that every
// block has its size before it and its last four bytes repeated after it, so that a reader may fetch a block without
// its directory and see whether an editor has spoilt the file (gdal.org/drivers/raster/cog.html).
const (
	promises = "LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\nBLOCK_TRAILER=LAST_4_BYTES_REPEATED\nKNOWN_INCOMPATIBLE_EDITION=NO\n "
	ghost    = "GDAL_STRUCTURAL_METADATA_SIZE=000140 bytes\n" + promises
)

// TIFF field types.
const (
	typeASCII    = 2
	typeShort    = 3
	typeLong     = 4
	typeRational = 5
	typeDouble   = 12
	typeLong8    = 16 // BigTIFF
)

// field is one entry of a directory; data is little-endian.
type field struct {
	tag, kind uint16
	count     int
	data      []byte
}

// layout is the variant of TIFF: 32-bit offsets, or 64-bit ones where the file is too long for them.
type layout struct{ big bool }

// offsets is a field of file positions.
func (y layout) offsets(tag uint16, v []uint64) field {
	if y.big {
		b := make([]byte, 0, 8*len(v))
		for _, x := range v {
			b = binary.LittleEndian.AppendUint64(b, x)
		}
		return field{tag, typeLong8, len(v), b}
	}
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, uint32(x))
	}
	return field{tag, typeLong, len(v), b}
}

func shorts(tag uint16, v ...uint16) field {
	b := make([]byte, 0, 2*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint16(b, x)
	}
	return field{tag, typeShort, len(v), b}
}

func longs(tag uint16, v ...uint32) field {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, x)
	}
	return field{tag, typeLong, len(v), b}
}

func doubles(tag uint16, v ...float64) field {
	b := make([]byte, 0, 8*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
	}
	return field{tag, typeDouble, len(v), b}
}

func text(tag uint16, s string) field { return field{tag, typeASCII, len(s) + 1, append([]byte(s), 0)} }

// fields lists a directory in tag order; offsets are those of the level's blocks in the file.
func (y layout) fields(l *level, o Options, overview bool, offsets []uint64) []field {
	sizes := make([]uint32, len(l.blocks))
	for i, b := range l.blocks {
		sizes[i] = b.length
	}
	reduced := uint32(0)
	if overview {
		reduced = 1
	}
	const deflate, jpeg, rgb, yCbCr, chunky, differences, unassociatedAlpha = 8, 7, 2, 6, 1, 2, 2
	lossy := o.Quality > 0
	f := []field{longs(254, reduced), longs(256, uint32(l.width)), longs(257, uint32(l.height))}
	if lossy {
		f = append(f, shorts(258, 8, 8, 8), shorts(259, jpeg), shorts(262, yCbCr))
	} else {
		f = append(f, shorts(258, 8, 8, 8, 8), shorts(259, deflate), shorts(262, rgb))
	}
	if !overview && o.Description != "" {
		f = append(f, text(270, o.Description))
	}
	if lossy {
		f = append(f, shorts(277, 3), shorts(284, chunky))
	} else {
		f = append(f, shorts(277, 4), shorts(284, chunky), shorts(317, differences))
	}
	f = append(f, shorts(322, BlockSide), shorts(323, BlockSide), y.offsets(324, offsets), longs(325, sizes...))
	if lossy {
		// JFIF's full range (TIFF 6.0, section 20); without it a reader assumes that of video.
		fullRange := longs(532, 0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1)
		fullRange.kind, fullRange.count = typeRational, 6
		f = append(f, shorts(530, 2, 2), fullRange)
	} else {
		f = append(f, shorts(338, unassociatedAlpha))
	}
	if overview {
		return f
	}
	if o.Copyright != "" {
		f = append(f, text(33432, o.Copyright))
	}
	// GeoKeys: projected, pixel is area, the CRS, metres.
	return append(f, doubles(33550, o.PixelSize, o.PixelSize, 0), doubles(33922, 0, 0, 0, o.West, o.North, 0),
		shorts(34735, 1, 1, 0, 4, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, uint16(o.EPSG), 3076, 0, 1, 9001))
}

// inline is how many bytes of a value fit into its entry.
func (y layout) inline() int {
	if y.big {
		return 8
	}
	return 4
}

// size of a directory with the values that do not fit into its entries.
func (y layout) size(fields []field) uint64 {
	n := 2 + 12*len(fields) + 4
	if y.big {
		n = 8 + 20*len(fields) + 8
	}
	for _, f := range fields {
		if len(f.data) > y.inline() {
			n += (len(f.data) + 7) &^ 7
		}
	}
	return uint64(n+7) &^ 7
}

// directory is a directory at a position; next is the position of the one behind it, 0 for none.
func (y layout) directory(fields []field, at, next uint64) []byte {
	le := binary.LittleEndian
	number := func(b []byte, v uint64) []byte {
		if y.big {
			return le.AppendUint64(b, v)
		}
		return le.AppendUint32(b, uint32(v))
	}
	var dir, rest []byte
	extra := at + 2 + 12*uint64(len(fields)) + 4
	if y.big {
		extra = at + 8 + 20*uint64(len(fields)) + 8
		dir = le.AppendUint64(dir, uint64(len(fields)))
	} else {
		dir = le.AppendUint16(dir, uint16(len(fields)))
	}
	for _, f := range fields {
		dir = le.AppendUint16(le.AppendUint16(dir, f.tag), f.kind)
		dir = number(dir, uint64(f.count))
		if len(f.data) <= y.inline() {
			dir = append(dir, append(f.data, make([]byte, 8)...)[:y.inline()]...)
			continue
		}
		dir = number(dir, extra+uint64(len(rest)))
		rest = append(rest, f.data...)
		rest = append(rest, make([]byte, -len(rest)&7)...)
	}
	dir = append(number(dir, next), rest...)
	return append(dir, make([]byte, -len(dir)&7)...)
}

// header is what a file begins with; the first directory follows the ghost.
func (y layout) header(first uint64) []byte {
	le := binary.LittleEndian
	if y.big {
		return le.AppendUint64([]byte{'I', 'I', 43, 0, 8, 0, 0, 0}, first)
	}
	return le.AppendUint32([]byte{'I', 'I', 42, 0}, uint32(first))
}

// plan places directories and blocks; it returns the length of the file.
func (y layout) plan(levels []*level, o Options) (starts []uint64, offsets [][]uint64, end uint64) {
	end = uint64(len(y.header(0))+len(ghost)+7) &^ 7
	starts, offsets = make([]uint64, len(levels)), make([][]uint64, len(levels))
	for i, l := range levels {
		starts[i] = end
		offsets[i] = make([]uint64, len(l.blocks))
		end += y.size(y.fields(l, o, i > 0, offsets[i]))
	}
	for i := len(levels) - 1; i >= 0; i-- {
		for j, b := range levels[i].blocks {
			if b.length == 0 { // sparse
				continue
			}
			offsets[i][j] = end + 4
			end += 4 + uint64(b.length) + 4
		}
	}
	return starts, offsets, end
}

// assemble writes header and directories from the full picture down, then the data from the smallest level up.
func (p *pyramid) assemble(ctx context.Context, w io.Writer) error {
	y := layout{}
	starts, offsets, end := y.plan(p.levels, p.o)
	if end > math.MaxUint32 {
		y.big = true
		starts, offsets, _ = y.plan(p.levels, p.o)
	}
	out := bufio.NewWriterSize(w, 1<<20)
	head := append(y.header(starts[0]), ghost...)
	head = append(head, make([]byte, int(starts[0])-len(head))...)
	for i, l := range p.levels {
		next := uint64(0)
		if i+1 < len(starts) {
			next = starts[i+1]
		}
		head = append(head, y.directory(y.fields(l, p.o, i > 0, offsets[i]), starts[i], next)...)
	}
	if _, err := out.Write(head); err != nil {
		return fmt.Errorf("cogwrite: write the directories: %w", err)
	}
	var packed []byte
	for i := len(p.levels) - 1; i >= 0; i-- {
		for _, b := range p.levels[i].blocks {
			if b.length == 0 {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			packed = append(packed[:0], make([]byte, 4+b.length+4)...)
			binary.LittleEndian.PutUint32(packed, b.length)
			if _, err := p.spool.ReadAt(packed[4:4+b.length], b.offset); err != nil {
				return fmt.Errorf("cogwrite: read the spool: %w", err)
			}
			copy(packed[4+b.length:], packed[b.length:4+b.length])
			if _, err := out.Write(packed); err != nil {
				return fmt.Errorf("cogwrite: write a block: %w", err)
			}
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("cogwrite: write a block: %w", err)
	}
	return nil
}
