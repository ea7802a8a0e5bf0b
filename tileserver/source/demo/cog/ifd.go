package cog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/tilescout/tilescout"
)

// ghost is GDAL's note that the file is laid out as a COG; it stands right after the header. It promises that
// every tile has its size before it and its last four bytes repeated after it, so that a reader may fetch a tile
// without its directory and see whether an editor has spoilt the file.
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
)

// field is one entry of a directory; data is little-endian.
type field struct {
	tag, kind uint16
	count     int
	data      []byte
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

// fields lists a directory in tag order; offsets are those of the level's tiles.
func (l *level) fields(o Options, overview bool, offsets []uint32) []field {
	sizes := make([]uint32, len(l.tiles))
	for i, t := range l.tiles {
		sizes[i] = uint32(len(t))
	}
	reduced := uint32(0)
	if overview {
		reduced = 1
	}
	black := longs(532, 0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1)
	black.kind, black.count = typeRational, 6
	f := []field{longs(254, reduced), longs(256, uint32(l.width)), longs(257, uint32(l.height)), shorts(258, 8, 8, 8),
		shorts(259, 7), shorts(262, 6)}
	if !overview && o.Text != "" {
		f = append(f, text(270, o.Text))
	}
	f = append(f, shorts(277, 3), shorts(284, 1), shorts(322, TileSide), shorts(323, TileSide),
		longs(324, offsets...), longs(325, sizes...), shorts(530, 2, 2), black)
	if overview {
		return f
	}
	if o.Copyright != "" {
		f = append(f, text(33432, o.Copyright))
	}
	return append(f, doubles(33550, o.PixelSize, o.PixelSize, 0), doubles(33922, 0, 0, 0, o.West, o.North, 0),
		shorts(34735, 1, 1, 0, 4, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, uint16(o.EPSG), 3076, 0, 1, 9001))
}

// size of a directory with the values that do not fit into its entries.
func size(fields []field) int {
	n := 2 + 12*len(fields) + 4
	for _, f := range fields {
		if len(f.data) > 4 {
			n += (len(f.data) + 1) &^ 1
		}
	}
	return n
}

// assemble writes header, directories from the full image down, then the data from the smallest level up.
func assemble(w io.Writer, levels []*level, o Options) error {
	pos := (8 + len(ghost) + 1) &^ 1
	starts := make([]int, len(levels))
	for i, l := range levels {
		starts[i] = pos
		pos += size(l.fields(o, i > 0, make([]uint32, len(l.tiles))))
	}
	offsets := make([][]uint32, len(levels))
	for i := len(levels) - 1; i >= 0; i-- {
		for _, t := range levels[i].tiles {
			offsets[i] = append(offsets[i], uint32(pos+4))
			pos += 4 + len(t) + 4
			if pos > math.MaxUint32 {
				return fmt.Errorf("cog: more than 4 GiB: %w", tilescout.ErrBadInput)
			}
		}
	}
	var head bytes.Buffer
	le := binary.LittleEndian
	head.Write(le.AppendUint32([]byte{'I', 'I', 42, 0}, uint32(starts[0])))
	head.WriteString(ghost)
	for head.Len() < starts[0] {
		head.WriteByte(0)
	}
	for i, l := range levels {
		fields := l.fields(o, i > 0, offsets[i])
		extra := starts[i] + 2 + 12*len(fields) + 4
		dir := le.AppendUint16(nil, uint16(len(fields)))
		var rest []byte
		for _, f := range fields {
			dir = le.AppendUint16(le.AppendUint16(dir, f.tag), f.kind)
			dir = le.AppendUint32(dir, uint32(f.count))
			if len(f.data) <= 4 {
				dir = append(dir, append(f.data, 0, 0, 0, 0)[:4]...)
				continue
			}
			dir = le.AppendUint32(dir, uint32(extra+len(rest)))
			rest = append(rest, f.data...)
			if len(rest)%2 == 1 {
				rest = append(rest, 0)
			}
		}
		next := uint32(0)
		if i+1 < len(levels) {
			next = uint32(starts[i+1])
		}
		dir = le.AppendUint32(dir, next)
		head.Write(dir)
		head.Write(rest)
	}
	if _, err := w.Write(head.Bytes()); err != nil {
		return fmt.Errorf("cog: write the directories: %w", err)
	}
	for i := len(levels) - 1; i >= 0; i-- {
		for _, t := range levels[i].tiles {
			for _, part := range [][]byte{le.AppendUint32(nil, uint32(len(t))), t, t[len(t)-4:]} {
				if _, err := w.Write(part); err != nil {
					return fmt.Errorf("cog: write a tile: %w", err)
				}
			}
		}
	}
	return nil
}
