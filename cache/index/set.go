package index

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/tilescout/tilescout"
)

// Row is a tile and what is known of it.
type Row struct {
	Code      uint64    // Morton code of the tile at the set's zoom
	Embedding []float32 // of unit length; copied, rounded to half floats
	Blank     bool      // the tile is known to have no content: no embedding
}

// Set is the embeddings of one key. Safe for concurrent use.
type Set struct {
	key   Key
	fp    fingerprint
	dir   string
	fs    fileSystem
	o     Options
	ctx   context.Context // ends when the set is closed: merges stop
	stop  context.CancelFunc
	tasks sync.WaitGroup // merges and sweeping under way
	mmu   sync.Mutex     // held while merging: one at a time; taken before wmu

	pmu     sync.Mutex // guards pending
	pending []*commit

	wmu     sync.Mutex // guards all that is written to disk, and below; taken before mu
	man     manifest   // Segments are set from segs when it is published
	manName string     // the file that man is in; "" if none is yet
	log     *walWriter // nil: what holds the last changes must become a segment before anything is written
	closed  bool
	merging bool
	lastErr error

	mu      sync.RWMutex // guards below
	segs    []*segment   // oldest first
	mem     map[uint64][]float32
	gen     uint64 // sequence number of the last change
	rows    int    // tiles with an embedding
	blanks  int
	corrupt int
	snap    *Snapshot // of gen, or nil
	looked  time.Time // read-only: when we last looked for news
	current string    // read-only: what was found then
}

// commit is one call of Put waiting for the disk.
type commit struct {
	rows []Row
	half [][]uint16
	done bool // guarded by wmu
	err  error
}

type walWriter struct {
	f      file
	number uint64
	seed   uint32 // of the checksums: that of the header
	size   int64
	buf    []byte
}

// Key returns what the set is of.
func (s *Set) Key() Key { return s.key }

// putRows is how many rows go to the log in one write.
const putRows = 4096

// Put stores rows; those that are there already are replaced. When it returns without an error they are on the disk.
// Calls at the same time share the costly wait for it. ErrBadInput and ErrOutOfRange for rows that cannot be stored,
// none of which is then; ErrUnavailable where the disk is full or fails: some of the rows may then be stored, reading
// goes on, and a later Put works as soon as the disk does.
func (s *Set) Put(ctx context.Context, rows []Row) error {
	if s.o.ReadOnly {
		return errReadOnly
	}
	half := make([][]uint16, len(rows))
	for i, r := range rows {
		var err error
		if half[i], err = s.pack(r); err != nil {
			return err
		}
	}
	for len(rows) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(len(rows), putRows)
		if err := s.put(&commit{rows: rows[:n], half: half[:n]}); err != nil {
			return err
		}
		rows, half = rows[n:], half[n:]
	}
	return nil
}

// pack checks a row and returns its half floats, nil for a blank one.
func (s *Set) pack(r Row) ([]uint16, error) {
	if r.Code>>(2*s.key.Zoom) != 0 {
		return nil, fmt.Errorf("index: code %d is no tile of zoom %d: %w", r.Code, s.key.Zoom, tilescout.ErrOutOfRange)
	}
	if r.Blank {
		if r.Embedding != nil {
			return nil, fmt.Errorf("index: code %d is blank and has an embedding: %w", r.Code, tilescout.ErrBadInput)
		}
		return nil, nil
	}
	if len(r.Embedding) != s.key.Dimension {
		return nil, fmt.Errorf("index: code %d has %d values, want %d: %w", r.Code, len(r.Embedding), s.key.Dimension, tilescout.ErrBadInput)
	}
	half, sum := make([]uint16, len(r.Embedding)), 0.0
	for d, x := range r.Embedding {
		sum += float64(x) * float64(x)
		if !(x >= -2 && x <= 2) { // NaN too
			sum = math.NaN()
			break
		}
		half[d] = toHalf(x)
	}
	if !(math.Abs(sum-1) < 0.02) {
		return nil, fmt.Errorf("index: the embedding of code %d is not of unit length (square %.3g): %w", r.Code, sum, tilescout.ErrBadInput)
	}
	return half, nil
}

// put queues a commit. Whoever holds wmu next writes all that is queued with one sync.
func (s *Set) put(c *commit) error {
	s.pmu.Lock()
	s.pending = append(s.pending, c)
	s.pmu.Unlock()

	s.wmu.Lock()
	defer s.wmu.Unlock()
	if c.done {
		return c.err
	}
	s.pmu.Lock()
	batch := s.pending
	s.pending = nil
	s.pmu.Unlock()
	err := s.commit(batch)
	if err != nil {
		err = fmt.Errorf("index: put into the set of %s at zoom %d: %w: %w", s.key.Layer, s.key.Zoom, tilescout.ErrUnavailable, err)
	}
	s.lastErr = err
	for _, b := range batch {
		b.done, b.err = true, err
	}
	return err
}

// commit writes a batch to the log, syncs it, and only then shows it to readers. The caller holds wmu.
func (s *Set) commit(batch []*commit) error {
	if s.closed {
		return errClosed
	}
	if err := s.room(); err != nil {
		return err
	}
	s.mu.RLock()
	seq, held := s.gen, len(s.mem)
	s.mu.RUnlock()
	if s.log == nil || held >= s.o.FlushRows {
		if err := s.rotate(); err != nil {
			return err
		}
	}
	buf := s.log.buf[:0]
	for _, c := range batch {
		for i, r := range c.rows {
			seq++
			buf = appendRecord(buf, s.log.seed, seq, r.Code, c.half[i])
		}
	}
	s.log.buf = buf
	_, err := s.log.f.Write(buf)
	if err == nil {
		err = s.log.f.Sync()
	}
	if err != nil {
		// What of it is on the disk nobody knows, and a second sync may succeed without writing: never use it again.
		s.dropLog()
		return fmt.Errorf("write the log: %w", err)
	}
	s.log.size += int64(len(buf))

	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range batch {
		for i, r := range c.rows {
			s.insert(r.Code, c.half[i])
		}
	}
	s.changed(seq)
	return nil
}

// insert puts a row into memory. The caller holds mu.
func (s *Set) insert(code uint64, half []uint16) {
	switch found, blank := s.find(code); {
	case found && blank:
		s.blanks--
	case found:
		s.rows--
	}
	if half == nil {
		s.mem[code] = nil
		s.blanks++
		return
	}
	row := make([]float32, len(half))
	for d, h := range half {
		row[d] = fromHalf(h)
	}
	s.mem[code] = row
	s.rows++
}

// changed sets the generation and forgets the snapshot of the last one. The caller holds mu.
func (s *Set) changed(gen uint64) {
	s.gen = gen
	if s.snap != nil {
		s.snap.Release()
		s.snap = nil
	}
}

// room refuses to begin what would fill the disk.
func (s *Set) room() error {
	if s.o.MinFree < 0 {
		return nil
	}
	dir := filepath.Dir(s.dir)
	free, err := s.fs.Free(dir)
	if err != nil {
		return err
	}
	if free < s.o.MinFree {
		return fmt.Errorf("%d MiB are free on the disk of %s, %d MiB are to stay free: make room, it goes on by itself", free>>20, dir, s.o.MinFree>>20)
	}
	return nil
}

func (s *Set) dropLog() {
	if s.log != nil {
		s.log.f.Close()
		s.log = nil
	}
}

// find says whether a code is known, and whether as blank. The caller holds mu.
func (s *Set) find(code uint64) (found, blank bool) {
	if row, ok := s.mem[code]; ok {
		return true, row == nil
	}
	for _, seg := range slices.Backward(s.segs) {
		if _, ok := slices.BinarySearch(seg.codes, code); ok {
			return true, false
		}
		if _, ok := slices.BinarySearch(seg.blanks, code); ok {
			return true, true
		}
	}
	return false, false
}

// Has reports whether a tile is known, with an embedding or as blank.
func (s *Set) Has(code uint64) bool {
	s.follow()
	s.mu.RLock()
	defer s.mu.RUnlock()
	found, _ := s.find(code)
	return found
}

// Blank reports whether a tile is known to have no content.
func (s *Set) Blank(code uint64) bool {
	s.follow()
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, blank := s.find(code)
	return blank
}

// Len returns the number of tiles known, blank ones too.
func (s *Set) Len() int {
	s.follow()
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.rows + s.blanks
}

// Generation is another number whenever the content is another, also after a restart and in another process.
func (s *Set) Generation() uint64 {
	s.follow()
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.gen
}

// Embedding returns the embedding of a tile as it was put, rounded to half floats; false where there is none, which
// includes blank tiles. ErrUnavailable where it is damaged: the tile is then missing, and may be put again.
func (s *Set) Embedding(code uint64) ([]float32, bool, error) {
	s.follow()
	s.mu.RLock()
	if row, ok := s.mem[code]; ok {
		s.mu.RUnlock()
		return slices.Clone(row), row != nil, nil
	}
	var seg *segment
	var at int
	for _, candidate := range slices.Backward(s.segs) {
		if i, ok := slices.BinarySearch(candidate.codes, code); ok {
			seg, at = candidate.retain(), i
			break
		}
		if _, ok := slices.BinarySearch(candidate.blanks, code); ok {
			break
		}
	}
	s.mu.RUnlock()
	if seg == nil {
		return nil, false, nil
	}
	defer seg.release()
	row := make([]float32, s.key.Dimension)
	err := guarded(func() error {
		b, err := seg.halfRow(at)
		if err == nil {
			unpack(row, b)
		}
		return err
	})
	if err != nil {
		return nil, false, s.quarantine(seg, err)
	}
	return row, true, nil
}

// Stats of a set, now.
type Stats struct {
	Rows     int   // tiles with an embedding
	Blanks   int   // tiles known to have no content
	Bytes    int64 // on disk: segments and log
	Segments int
	WALBytes int64
	Corrupt  int   // damaged files and stretches of the log found since the set was opened: tiles may be missing
	Err      error // of the last Put or merge; nil as soon as one succeeds
}

// Stats returns what the set holds.
func (s *Set) Stats() Stats {
	s.follow()
	s.wmu.Lock()
	defer s.wmu.Unlock()
	s.mu.RLock()
	defer s.mu.RUnlock()
	st := Stats{Rows: s.rows, Blanks: s.blanks, Segments: len(s.segs), Corrupt: s.corrupt, Err: s.lastErr}
	if s.log != nil {
		st.WALBytes = s.log.size
	}
	st.Bytes = st.WALBytes
	for _, seg := range s.segs {
		st.Bytes += seg.bytes()
	}
	return st
}

// close waits for merges and lets go of the files; snapshots keep theirs.
func (s *Set) close() {
	s.wmu.Lock()
	s.closed = true
	s.stop()
	s.dropLog()
	s.wmu.Unlock()
	s.tasks.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed(s.gen)
	for _, seg := range s.segs {
		seg.release()
	}
	s.segs, s.mem, s.rows, s.blanks = nil, nil, 0, 0
}
