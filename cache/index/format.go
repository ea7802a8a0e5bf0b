package index

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync/atomic"

	"github.com/tilescout/tilescout"
)

// Every binary file: a header of 128 bytes, a body, and, except in the write-ahead log, a footer with a CRC-32C for
// each MiB of the body. All numbers are little-endian. The body begins 64-byte aligned, as the scan likes it.
const (
	formatMajor = 1 // another one is refused
	formatMinor = 0 // a newer one is read

	headerSize = 128
	footerTail = 16 // after the checksums: body bytes u64, CRC-32C of the footer so far u32, footerMagic u32
	blockSize  = 1 << 20

	headerMagic = "tsindex\x00"
	footerMagic = 0x58454454
)

// What a file holds.
const (
	kindKeys   = 1 // codes u64, blank codes u64, scales float32
	kindVector = 2 // rows of int8, padded to whole lanes
	kindHalf   = 3 // rows of IEEE half floats: the embeddings as they were put
	kindWAL    = 4 // records, see wal.go
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

// errCorrupt marks bytes that are not what was written.
var errCorrupt = errors.New("corrupt")

type header struct {
	kind        uint16
	fingerprint fingerprint
	number      uint64 // of the segment or log
	rows        uint64
	blanks      uint64
	dimension   uint32
}

func (h header) stride() int { return (int(h.dimension) + lane - 1) / lane * lane }

// body is the size of what lies between header and footer; -1 in a log, which has no footer.
func (h header) body() int64 {
	switch h.kind {
	case kindKeys:
		return int64(8*h.rows + 8*h.blanks + 4*uint64(h.dimension))
	case kindVector:
		return int64(h.rows) * int64(h.stride())
	case kindHalf:
		return int64(h.rows) * int64(h.dimension) * 2
	}
	return -1
}

func (h header) bytes() []byte {
	b := make([]byte, headerSize)
	copy(b, headerMagic)
	le.PutUint16(b[8:], h.kind)
	le.PutUint16(b[10:], formatMajor)
	le.PutUint16(b[12:], formatMinor)
	copy(b[16:], h.fingerprint[:])
	le.PutUint64(b[48:], h.number)
	le.PutUint64(b[56:], h.rows)
	le.PutUint64(b[64:], h.blanks)
	le.PutUint32(b[72:], h.dimension)
	le.PutUint32(b[124:], crc32.Checksum(b[:124], castagnoli))
	return b
}

// parseHeader reads the header of a file that must be the one that want names; counts are taken from the file.
func parseHeader(b []byte, want header) (header, error) {
	if len(b) < headerSize || string(b[:8]) != headerMagic {
		return header{}, fmt.Errorf("not a file of an index: %w", errCorrupt)
	}
	if sum := crc32.Checksum(b[:124], castagnoli); sum != le.Uint32(b[124:]) {
		return header{}, fmt.Errorf("the checksum of the header does not match: %w", errCorrupt)
	}
	if major := le.Uint16(b[10:]); major != formatMajor {
		return header{}, fmt.Errorf("format %d, this program reads %d: %w", major, formatMajor, tilescout.ErrUnavailable)
	}
	h := header{kind: le.Uint16(b[8:]), number: le.Uint64(b[48:]), rows: le.Uint64(b[56:]), blanks: le.Uint64(b[64:]), dimension: le.Uint32(b[72:])}
	copy(h.fingerprint[:], b[16:])
	if h.kind != want.kind || h.fingerprint != want.fingerprint || h.number != want.number || h.dimension != want.dimension {
		return header{}, fmt.Errorf("the header is another file's: %w", errCorrupt)
	}
	if h.rows > maxRows || h.blanks > maxRows {
		return header{}, fmt.Errorf("%d and %d rows: %w", h.rows, h.blanks, errCorrupt)
	}
	return h, nil
}

// maxRows bounds what one segment can hold, so that sizes computed from a header cannot overflow.
const maxRows = 1 << 31

// blockWriter writes one file front to back and collects the checksums of its blocks.
type blockWriter struct {
	f    file
	w    *bufio.Writer
	crcs []byte
	crc  uint32
	in   int // bytes of the current block
	body uint64
}

func newBlockWriter(fs fileSystem, name string, h header) (*blockWriter, error) {
	f, err := fs.Create(name)
	if err != nil {
		return nil, err
	}
	w := &blockWriter{f: f, w: bufio.NewWriterSize(f, 32<<10)}
	_, err = w.w.Write(h.bytes())
	if err != nil {
		f.Close()
		return nil, err
	}
	return w, nil
}

func (w *blockWriter) Write(b []byte) (int, error) {
	n := len(b)
	w.body += uint64(n)
	for len(b) > 0 {
		part := b[:min(len(b), blockSize-w.in)]
		w.crc = crc32.Update(w.crc, castagnoli, part)
		if w.in += len(part); w.in == blockSize {
			w.seal()
		}
		if _, err := w.w.Write(part); err != nil {
			return 0, err
		}
		b = b[len(part):]
	}
	return n, nil
}

func (w *blockWriter) seal() {
	w.crcs = le.AppendUint32(w.crcs, w.crc)
	w.crc, w.in = 0, 0
}

// finish writes the footer, syncs and closes. After an error the file is worth nothing.
func (w *blockWriter) finish() error {
	if w.in > 0 {
		w.seal()
	}
	foot := le.AppendUint64(w.crcs, w.body)
	foot = le.AppendUint32(foot, crc32.Checksum(foot, castagnoli))
	foot = le.AppendUint32(foot, footerMagic)
	_, err := w.w.Write(foot)
	if err == nil {
		err = w.w.Flush()
	}
	if err == nil {
		err = w.f.Sync()
	}
	return errors.Join(err, w.f.Close())
}

// blockFile is a mapped file whose blocks are checked the first time each is touched: opening costs the header and
// footer only, and still no byte is used that was not held against its checksum since the file was opened.
type blockFile struct {
	header
	m    mapping
	body []byte
	crcs []byte
	good []atomic.Bool // a block each
}

func openBlockFile(fs fileSystem, name string, want header) (*blockFile, error) {
	m, err := fs.Map(name)
	if err != nil {
		return nil, err
	}
	f := &blockFile{m: m}
	if err := guarded(func() error { return f.parse(m.Bytes(), want) }); err != nil {
		m.Close()
		return nil, fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return f, nil
}

func (f *blockFile) parse(b []byte, want header) error {
	h, err := parseHeader(b, want)
	if err != nil {
		return err
	}
	body := h.body()
	blocks := (body + blockSize - 1) / blockSize
	if size := headerSize + body + 4*blocks + footerTail; int64(len(b)) != size {
		return fmt.Errorf("%d bytes, want %d: %w", len(b), size, errCorrupt)
	}
	foot := b[headerSize+body:]
	tail := foot[4*blocks:]
	if int64(le.Uint64(tail)) != body || le.Uint32(tail[12:]) != footerMagic ||
		le.Uint32(tail[8:]) != crc32.Checksum(foot[:4*blocks+8], castagnoli) {
		return fmt.Errorf("the footer does not match: %w", errCorrupt)
	}
	f.header, f.body, f.crcs = h, b[headerSize:headerSize+body:headerSize+body], foot[:4*blocks]
	f.good = make([]atomic.Bool, blocks)
	return nil
}

// bytes returns body bytes [lo, hi) after holding every block of them that nobody has touched yet against its
// checksum. To be called, and its result used, inside guarded.
func (f *blockFile) bytes(lo, hi int64) ([]byte, error) {
	for i := lo / blockSize; i*blockSize < hi; i++ {
		if f.good[i].Load() {
			continue
		}
		block := f.body[i*blockSize : min((i+1)*blockSize, int64(len(f.body)))]
		if crc32.Checksum(block, castagnoli) != le.Uint32(f.crcs[4*i:]) {
			return nil, fmt.Errorf("block %d does not match its checksum: %w", i, errCorrupt)
		}
		f.good[i].Store(true)
	}
	return f.body[lo:hi], nil
}

func (f *blockFile) close() { f.m.Close() }

// guarded runs f and turns a memory fault, which is what a mapped file gives that somebody has truncated or a disk
// that cannot be read, into an error. Other panics go on.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if fault, ok := p.(interface {
			runtime.Error
			Addr() uintptr
		}); ok {
			err = fmt.Errorf("a mapped file cannot be read: %v: %w", fault, errCorrupt)
			return
		}
		panic(p)
	}()
	return f()
}
