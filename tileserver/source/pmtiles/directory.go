package pmtiles

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
)

const (
	maxEntries      = 1 << 20 // of one directory that we write
	leastEntry      = 4       // bytes: four varints
	entrySize       = 24      // bytes of an entry in memory
	runOfLeaf       = 0
	directoryWeight = 64 // bytes beside the entries
)

// DirectoryLimits bound the directories of an archive. The zero value of a field means its default.
type DirectoryLimits struct {
	Bytes    int // of one, packed or unpacked; default 16 MiB
	Entries  int // of one; default 1,048,576
	Depth    int // of leaf directories in one another; default 3
	Metadata int // bytes of the archive's own text, packed or unpacked; default 4 MiB
}

func (l DirectoryLimits) withDefaults() DirectoryLimits {
	return DirectoryLimits{
		Bytes: cmp.Or(max(l.Bytes, 0), 16<<20), Entries: cmp.Or(max(l.Entries, 0), maxEntries),
		Depth: cmp.Or(max(l.Depth, 0), 3), Metadata: cmp.Or(max(l.Metadata, 0), 4<<20),
	}
}

// entry is a run of tiles with equal content, or, where run is 0, a leaf directory for the ids from id on.
// The offset is from the start of the tile data, or of the leaf directories.
type entry struct {
	id, offset uint64
	length     uint32
	run        uint32
}

// directory is a list of entries by rising id, none of which overlap.
type directory []entry

// size is the directory's weight in a cache.
func (d directory) size() int { return len(d)*entrySize + directoryWeight }

// find returns the entry that holds id, or the leaf that may.
func (d directory) find(id uint64) (entry, bool) {
	lo, hi := 0, len(d)
	for lo < hi { // the first entry beyond id
		mid := int(uint(lo+hi) >> 1)
		if d[mid].id <= id {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 {
		return entry{}, false
	}
	e := d[lo-1]
	return e, e.run == runOfLeaf || id-e.id < uint64(e.run)
}

// varints reads one column after the other; what ends early or is longer than 64 bits sets bad.
type varints struct {
	b   []byte
	bad bool
}

func (v *varints) next() uint64 {
	if len(v.b) > 0 && v.b[0] < 0x80 { // most of them
		x := v.b[0]
		v.b = v.b[1:]
		return uint64(x)
	}
	x, n := binary.Uvarint(v.b)
	if n <= 0 {
		v.b, v.bad = nil, true
		return 0
	}
	v.b = v.b[n:]
	return x
}

// parseDirectory reads an unpacked directory: the number of entries, then ids (as differences), run lengths, lengths
// and offsets, each as a column of varints (spec v3 §4). Entries that point outside the sections of h are refused.
func parseDirectory(b []byte, h *header) (directory, error) {
	limits := h.limits.withDefaults()
	if len(b) > limits.Bytes {
		return nil, fmt.Errorf("directory of %d bytes, the limit is %d: %w", len(b), limits.Bytes, ErrDirectorySize)
	}
	v := varints{b: b}
	n := v.next()
	switch {
	case v.bad:
		return nil, fmt.Errorf("directory without a number of entries: %w", ErrDirectory)
	case n == 0:
		return nil, fmt.Errorf("directory without entries: %w", ErrEmpty)
	case n > uint64(limits.Entries) || n > uint64(len(v.b))/leastEntry:
		return nil, fmt.Errorf("directory of %d bytes that claims %d entries: %w", len(b), n, ErrDirectorySize)
	}
	cut := fmt.Errorf("directory ends within its %d entries: %w", n, ErrDirectory)
	d := make(directory, n)
	id := uint64(0)
	for i := range d {
		delta := v.next()
		if v.bad {
			return nil, cut
		}
		if delta > lastID-id || delta == 0 && i > 0 {
			return nil, fmt.Errorf("entry %d, id %d after %d: %w", i, delta, id, ErrTileID)
		}
		id += delta
		d[i].id = id
	}
	for i := range d {
		run := v.next()
		if v.bad {
			return nil, cut
		}
		if run > 0 && run > firstID(zoomOf(d[i].id)+1)-d[i].id || i+1 < len(d) && run > d[i+1].id-d[i].id || run > 1<<32-1 {
			return nil, fmt.Errorf("entry %d, run of %d tiles from id %d: %w", i, run, d[i].id, ErrRunLength)
		}
		d[i].run = uint32(run)
	}
	for i := range d {
		length := v.next()
		if v.bad {
			return nil, cut
		}
		if length == 0 || length > 1<<32-1 {
			return nil, fmt.Errorf("entry %d of %d bytes: %w", i, length, ErrEntryRange)
		}
		d[i].length = uint32(length)
	}
	for i := range d {
		offset := v.next()
		if v.bad {
			return nil, cut
		}
		switch {
		case offset > 0:
			offset--
		case i == 0:
			return nil, fmt.Errorf("entry 0 follows no other: %w", ErrEntryRange)
		default:
			offset = d[i-1].offset + uint64(d[i-1].length)
		}
		s := h.tiles
		if d[i].run == runOfLeaf {
			s = h.leaves
		}
		if offset > s.length || uint64(d[i].length) > s.length-offset {
			return nil, fmt.Errorf("entry %d, %d bytes at %d of %d: %w", i, d[i].length, offset, s.length, ErrEntryRange)
		}
		d[i].offset = offset
	}
	return d, nil
}

// appendDirectory is the reverse of parseDirectory.
func appendDirectory(b []byte, d directory) []byte {
	b = binary.AppendUvarint(b, uint64(len(d)))
	last := uint64(0)
	for _, e := range d {
		b = binary.AppendUvarint(b, e.id-last)
		last = e.id
	}
	for _, e := range d {
		b = binary.AppendUvarint(b, uint64(e.run))
	}
	for _, e := range d {
		b = binary.AppendUvarint(b, uint64(e.length))
	}
	for i, e := range d {
		if i > 0 && e.offset == d[i-1].offset+uint64(d[i-1].length) {
			b = binary.AppendUvarint(b, 0)
		} else {
			b = binary.AppendUvarint(b, e.offset+1)
		}
	}
	return b
}

// sorted brings entries into the order of a directory and tells whether two of them overlap.
func sorted(d directory) bool {
	if !slices.IsSortedFunc(d, func(a, b entry) int { return compareID(a.id, b.id) }) {
		sort.Slice(d, func(i, j int) bool { return d[i].id < d[j].id })
	}
	for i := 1; i < len(d); i++ {
		if d[i].id-d[i-1].id < max(1, uint64(d[i-1].run)) {
			return false
		}
	}
	return true
}

func compareID(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
