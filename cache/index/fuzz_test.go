package index

import (
	"errors"
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/tilescout/tilescout"
)

// FuzzManifest: any bytes are a manifest that comes back the same, or an error.
func FuzzManifest(f *testing.F) {
	f.Add(manifest{Format: 1, Key: key(8), Next: 9, WAL: 3, Segments: []segmentInfo{{1, 10, 2}, {2, 0, 1}}}.bytes())
	f.Add([]byte("tilescout index manifest crc32c=00000000\n{}"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b)
		if err != nil {
			if !errors.Is(err, errCorrupt) && !errors.Is(err, tilescout.ErrUnavailable) {
				t.Fatalf("%v is of no kind", err)
			}
			// The checksum hides the parser from the fuzzer: with the right one it must not fall over either.
			whole := fmt.Appendf(nil, "%s%08x\n%s", manifestFirst, crc32.Checksum(b, castagnoli), b)
			if m, err = parseManifest(whole); err != nil {
				return
			}
		}
		again, err := parseManifest(m.bytes())
		if err != nil || string(again.bytes()) != string(m.bytes()) {
			t.Fatalf("%+v comes back as %+v, %v", m, again, err)
		}
	})
}

// FuzzSegment: any bytes in place of one file of a segment, with checksums put right or not, are refused or give
// codes in order and rows that can all be read.
func FuzzSegment(f *testing.F) {
	good := segmentBytesOf(f)
	for i, b := range good {
		f.Add(uint8(i), b, false)
		f.Add(uint8(i), b, true)
		f.Add(uint8(i), b[:len(b)-1], false)
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte, repair bool) {
		files := newMemFS()
		if repair {
			b = repaired(b)
		}
		for i, ext := range segmentFiles {
			data := good[i]
			if i == int(which)%3 {
				data = b
			}
			files.names["/"+segmentName(1, ext)] = &memFile{data: data}
		}
		fp := key(5).fingerprint()
		s, err := openSegment(files, "/", fp, 5, segmentInfo{1, 3, 1})
		if err != nil {
			if !errors.Is(err, errCorrupt) && !errors.Is(err, tilescout.ErrUnavailable) {
				t.Fatalf("%v is of no kind", err)
			}
			return
		}
		defer s.release()
		if len(s.codes) != 3 || len(s.blanks) != 1 || s.codes[0] >= s.codes[1] || s.codes[1] >= s.codes[2] {
			t.Fatalf("codes %v, %v", s.codes, s.blanks)
		}
		for i := range s.codes {
			_, err1 := s.halfRow(i)
			_, err2 := s.vec.bytes(int64(i*s.stride()), int64((i+1)*s.stride()))
			if err := errors.Join(err1, err2); err != nil && !errors.Is(err, errCorrupt) {
				t.Fatal(err)
			}
		}
	})
}

// FuzzWALReplay: any bytes after a good header give only records whose checksum is right, and those that were written
// before them are all found.
func FuzzWALReplay(f *testing.F) {
	h := header{kind: kindWAL, fingerprint: key(3).fingerprint(), number: 2, dimension: 3}
	head := h.bytes()
	seed := le.Uint32(head[124:])
	half := []uint16{0x3c00, 0, 0x8000}
	records := appendRecord(nil, seed, 5, 77, half)
	records = appendRecord(records, seed, 6, 78, nil)
	f.Add(records, uint16(0))
	f.Add(records[:len(records)-2], uint16(3))
	f.Add(append(append([]byte{}, records[3:]...), records...), uint16(60))
	f.Fuzz(func(t *testing.T, tail []byte, flip uint16) {
		log := append(append(append([]byte{}, head...), records...), tail...)
		var codes []uint64
		var last uint64
		apply := func(seq, code uint64, row []byte) {
			if seq <= last || row != nil && len(row) != 6 {
				t.Fatalf("record %d after %d with %d bytes", seq, last, len(row))
			}
			last = seq
			codes = append(codes, code)
		}
		if _, err := replay(log, h, apply); err != nil {
			t.Fatal(err)
		}
		if len(codes) < 2 || codes[0] != 77 || codes[1] != 78 {
			t.Fatalf("codes %v, want 77 and 78 first", codes)
		}
		// One bit wrong anywhere: refused, or that record is not among them.
		log = log[:len(head)+len(records)]
		at := int(flip) % (len(head) + len(records))
		log[at] ^= 1
		codes, last = nil, 0
		gaps, err := replay(log, h, apply)
		if at < headerSize {
			if err == nil || len(codes) > 0 {
				t.Fatalf("a wrong header is taken: %v", codes)
			}
			return
		}
		if err != nil || len(codes) != 1 {
			t.Fatalf("records of %v and %d gaps with a wrong bit at %d: %v", codes, gaps, at, err)
		}
	})
}

// segmentBytesOf returns the three files of a segment of three rows of five values, and a blank one.
func segmentBytesOf(t testing.TB) (out [3][]byte) {
	files := newMemFS()
	mem := map[uint64][]float32{7: nil}
	for _, c := range []uint64{3, 5, 9} {
		mem[c] = halved(unit(5, c, 0))
	}
	h := header{fingerprint: key(5).fingerprint(), number: 1, dimension: 5}
	if err := writeSegment(ctx, files, "/", h, memSource(mem)); err != nil {
		t.Fatal(err)
	}
	for i, ext := range segmentFiles {
		out[i] = files.names["/"+segmentName(1, ext)].data
	}
	return out
}

// repaired puts the checksums of a file of one block right, so that the fuzzer gets past them.
func repaired(b []byte) []byte {
	if len(b) < headerSize+4+footerTail {
		return b
	}
	b = append([]byte{}, b...)
	le.PutUint32(b[124:], crc32.Checksum(b[:124], castagnoli))
	foot := b[len(b)-footerTail-4:]
	body := b[headerSize : len(b)-footerTail-4]
	le.PutUint32(foot, crc32.Checksum(body, castagnoli))
	le.PutUint64(foot[4:], uint64(len(body)))
	le.PutUint32(foot[12:], crc32.Checksum(foot[:12], castagnoli))
	return b
}
