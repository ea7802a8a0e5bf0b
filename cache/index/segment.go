package index

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync/atomic"
)

// segment is an immutable piece of a set: the codes of its rows in order, their int8 rows and their half floats.
// Codes and scales are on the heap, read and checked at opening (8 bytes a row); rows are mapped.
type segment struct {
	dir    string
	fs     fileSystem
	number uint64
	codes  []uint64 // sorted; row i is codes[i]
	blanks []uint64 // sorted; none of them in codes
	scale  []float32
	vec    *blockFile
	half   *blockFile

	refs     atomic.Int64 // set and snapshots
	obsolete atomic.Bool  // merged into another: the files go with the last reference
}

var segmentFiles = []string{"key", "vec", "f16"}

func (s *segment) stride() int { return s.vec.stride() }

func (s *segment) bytes() int64 {
	var n int64
	for _, h := range []header{{kind: kindKeys}, {kind: kindVector}, {kind: kindHalf}} {
		h.rows, h.blanks, h.dimension = uint64(len(s.codes)), uint64(len(s.blanks)), s.vec.dimension
		n += headerSize + h.body() + footerTail
	}
	return n
}

func (s *segment) retain() *segment { s.refs.Add(1); return s }

func (s *segment) release() {
	if s.refs.Add(-1) > 0 {
		return
	}
	s.vec.close()
	s.half.close()
	if s.obsolete.Load() {
		s.remove()
	}
}

// discard releases a segment, and with remove lets its files go with the last reference; nil is none.
func (s *segment) discard(remove bool) {
	if s != nil {
		s.obsolete.Store(s.obsolete.Load() || remove)
		s.release()
	}
}

// remove deletes the files; what cannot be deleted now is deleted at the next opening.
func (s *segment) remove() {
	for _, ext := range segmentFiles {
		_ = s.fs.Remove(filepath.Join(s.dir, segmentName(s.number, ext)))
	}
}

// openSegment opens what the manifest names. It reads codes and scales whole, of the rows only header and footer.
func openSegment(fs fileSystem, dir string, fp fingerprint, dimension int, info segmentInfo) (*segment, error) {
	want := header{kind: kindKeys, fingerprint: fp, number: info.Number, dimension: uint32(dimension)}
	name := func(ext string) string { return filepath.Join(dir, segmentName(info.Number, ext)) }
	keys, err := openBlockFile(fs, name("key"), want)
	if err != nil {
		return nil, err
	}
	defer keys.close()
	s := &segment{dir: dir, fs: fs, number: info.Number}
	if err := guarded(func() error { return s.parseKeys(keys, info) }); err != nil {
		return nil, fmt.Errorf("%s: %w", segmentName(info.Number, "key"), err)
	}
	want.kind = kindVector
	if s.vec, err = openBlockFile(fs, name("vec"), want); err != nil {
		return nil, err
	}
	want.kind = kindHalf
	if s.half, err = openBlockFile(fs, name("f16"), want); err != nil {
		s.vec.close()
		return nil, err
	}
	if s.vec.rows != info.Rows || s.half.rows != info.Rows {
		s.vec.close()
		s.half.close()
		return nil, fmt.Errorf("segment %d: %d codes, %d and %d rows: %w", info.Number, info.Rows, s.vec.rows, s.half.rows, errCorrupt)
	}
	s.refs.Store(1)
	return s, nil
}

func (s *segment) parseKeys(f *blockFile, info segmentInfo) error {
	if f.rows != info.Rows || f.blanks != info.Blanks {
		return fmt.Errorf("%d and %d codes, the manifest says %d and %d: %w", f.rows, f.blanks, info.Rows, info.Blanks, errCorrupt)
	}
	b, err := f.bytes(0, int64(len(f.body)))
	if err != nil {
		return err
	}
	for _, list := range []struct {
		codes *[]uint64
		n     uint64
	}{{&s.codes, f.rows}, {&s.blanks, f.blanks}} {
		*list.codes = make([]uint64, list.n)
		for i := range *list.codes {
			(*list.codes)[i] = le.Uint64(b[8*i:])
			if i > 0 && (*list.codes)[i] <= (*list.codes)[i-1] {
				return fmt.Errorf("codes out of order: %w", errCorrupt)
			}
		}
		b = b[8*list.n:]
	}
	s.scale = make([]float32, f.dimension)
	for d := range s.scale {
		s.scale[d] = math.Float32frombits(le.Uint32(b[4*d:]))
		if !(s.scale[d] >= 0 && s.scale[d] <= 1) {
			return fmt.Errorf("scale %v: %w", s.scale[d], errCorrupt)
		}
	}
	return nil
}

// halfRow returns the half floats of row i as they lie in the file; to be used inside guarded.
func (s *segment) halfRow(i int) ([]byte, error) {
	w := 2 * int64(s.half.dimension)
	return s.half.bytes(int64(i)*w, int64(i+1)*w)
}

// rowSource is what a segment is written from: sorted codes, and the half floats of row i, asked for in order, twice.
type rowSource struct {
	codes, blanks []uint64
	row           func(i int) ([]byte, error)
}

// writeSegment writes and syncs the three files of a new segment; it leaves none of them after an error.
func writeSegment(ctx context.Context, fs fileSystem, dir string, h header, src rowSource) (err error) {
	h.rows, h.blanks = uint64(len(src.codes)), uint64(len(src.blanks))
	var open []*blockWriter
	defer func() {
		if err == nil {
			return
		}
		for _, w := range open {
			w.f.Close()
		}
		for _, ext := range segmentFiles {
			err = errors.Join(err, ignoreAbsent(fs.Remove(filepath.Join(dir, segmentName(h.number, ext)))))
		}
	}()
	var files [3]*blockWriter
	for i, kind := range []uint16{kindKeys, kindVector, kindHalf} {
		h.kind = kind
		if files[i], err = newBlockWriter(fs, filepath.Join(dir, segmentName(h.number, segmentFiles[i])), h); err != nil {
			return err
		}
		open = append(open, files[i])
	}
	scale, err := writeRows(ctx, files[1], files[2], int(h.dimension), h.stride(), src)
	if err != nil {
		return err
	}
	if err := writeKeys(files[0], src, scale); err != nil {
		return err
	}
	for _, w := range files {
		open = open[1:] // finish closes, whatever happens
		if err := w.finish(); err != nil {
			return err
		}
	}
	return nil
}

func writeRows(ctx context.Context, vec, half *blockWriter, dimension, stride int, src rowSource) ([]float32, error) {
	row, packed := make([]float32, dimension), make([]byte, stride)
	s := newScaler(dimension)
	every := len(src.codes)/sampleRows + 1
	for i := range src.codes {
		b, err := src.row(i)
		if err != nil {
			return nil, err
		}
		unpack(row, b)
		s.add(row, i%every == 0)
	}
	scale := s.scales()
	for i := range src.codes {
		if i%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		b, err := src.row(i)
		if err != nil {
			return nil, err
		}
		if _, err := half.Write(b); err != nil {
			return nil, err
		}
		unpack(row, b)
		quantize(packed, row, scale)
		if _, err := vec.Write(packed); err != nil {
			return nil, err
		}
	}
	return scale, nil
}

func writeKeys(w *blockWriter, src rowSource, scale []float32) error {
	var b []byte
	for _, codes := range [][]uint64{src.codes, src.blanks} {
		for part := range slices.Chunk(codes, 8192) {
			b = b[:0]
			for _, c := range part {
				b = le.AppendUint64(b, c)
			}
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
	}
	b = b[:0]
	for _, s := range scale {
		b = le.AppendUint32(b, math.Float32bits(s))
	}
	_, err := w.Write(b)
	return err
}

// unpack turns half floats into floats.
func unpack(dst []float32, half []byte) {
	for d := range dst {
		dst[d] = fromHalf(le.Uint16(half[2*d:]))
	}
}
