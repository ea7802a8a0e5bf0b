package index

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/tilescout/tilescout"
)

// rotate turns what is in memory into a segment and begins a new log: after it, everything that was acknowledged is
// in segments and nothing depends on the old log. After an error readers see what they saw, no log is open, and the
// next write begins here again. The caller holds wmu.
func (s *Set) rotate() error {
	if err := s.fs.MkdirAll(s.dir); err != nil {
		return err
	}
	if err := s.fs.SyncDir(filepath.Dir(s.dir)); err != nil {
		return err
	}
	s.mu.RLock()
	mem, gen, segs := s.mem, s.gen, slices.Clone(s.segs)
	s.mu.RUnlock()
	oldLog, oldManifest := s.man.WAL, s.manName

	var fresh *segment
	if len(mem) > 0 {
		n := s.number()
		if err := writeSegment(context.WithoutCancel(s.ctx), s.fs, s.dir, s.header(n), memSource(mem)); err != nil {
			return fmt.Errorf("write a segment: %w", err)
		}
		var err error
		if fresh, err = s.openNew(n); err != nil {
			return err
		}
		segs = append(segs, fresh)
	}
	log, err := s.newLog()
	if err != nil {
		fresh.discard(true)
		return fmt.Errorf("begin a log: %w", err)
	}
	// From here on the next opening may find either log: the old one must not be written to, whatever happens.
	s.dropLog()
	if attempted, err := s.publish(segs, log.number, gen); err != nil {
		log.f.Close()
		fresh.discard(!attempted)
		return err
	}
	s.log = log
	s.mu.Lock()
	s.segs, s.mem = segs, map[uint64][]float32{}
	if fresh != nil && s.snap != nil {
		s.snap.Release() // same content, other parts
		s.snap = nil
	}
	s.mu.Unlock()
	s.forget(oldLog, oldManifest)
	s.merge()
	return nil
}

// number hands out the number of a new file. The caller holds wmu.
func (s *Set) number() uint64 {
	s.man.Next++
	return s.man.Next - 1
}

func (s *Set) header(number uint64) header {
	return header{fingerprint: s.fp, number: number, dimension: uint32(s.key.Dimension)}
}

func (s *Set) newLog() (*walWriter, error) {
	n := s.number()
	f, err := s.fs.Create(filepath.Join(s.dir, walName(n)))
	if err != nil {
		return nil, err
	}
	h := s.header(n)
	h.kind = kindWAL
	b := h.bytes()
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), ignoreAbsent(s.fs.Remove(filepath.Join(s.dir, walName(n)))))
	}
	return &walWriter{f: f, number: n, seed: le.Uint32(b[124:]), size: headerSize}, nil
}

// openNew opens a segment that was just written: what cannot be read back is never published.
func (s *Set) openNew(number uint64) (*segment, error) {
	m, err := s.fs.Map(filepath.Join(s.dir, segmentName(number, "key")))
	if err != nil {
		return nil, err
	}
	defer m.Close()
	b := m.Bytes()
	if len(b) < headerSize {
		return nil, fmt.Errorf("segment %d: %w", number, errCorrupt)
	}
	return openSegment(s.fs, s.dir, s.fp, s.key.Dimension, segmentInfo{number, le.Uint64(b[56:]), le.Uint64(b[64:])})
}

// publish makes the given segments and log what the next opening finds. If attempted is true and err is not nil, the
// next opening may find either: files of neither may go. The caller holds wmu.
func (s *Set) publish(segs []*segment, log, seq uint64) (attempted bool, err error) {
	man := s.man
	man.WAL, man.Seq = log, seq
	man.Segments = nil
	for _, seg := range segs {
		man.Segments = append(man.Segments, segmentInfo{seg.number, uint64(len(seg.codes)), uint64(len(seg.blanks))})
	}
	n := s.number()
	man.Next = s.man.Next
	attempted, err = publish(s.fs, s.dir, n, man)
	if err != nil {
		return attempted, fmt.Errorf("publish %s: %w", manifestName(n), err)
	}
	s.man, s.manName = man, manifestName(n)
	return true, nil
}

// forget removes a log and a manifest that are no longer named. The caller holds wmu.
func (s *Set) forget(log uint64, manifest string) {
	if log != s.man.WAL {
		_ = s.fs.Remove(filepath.Join(s.dir, walName(log)))
	}
	if manifest != "" && manifest != s.manName {
		_ = s.fs.Remove(filepath.Join(s.dir, manifest))
	}
}

func memSource(mem map[uint64][]float32) rowSource {
	var src rowSource
	for _, code := range slices.Sorted(maps.Keys(mem)) {
		if mem[code] == nil {
			src.blanks = append(src.blanks, code)
		} else {
			src.codes = append(src.codes, code)
		}
	}
	var b []byte
	src.row = func(i int) ([]byte, error) {
		b = b[:0]
		for _, x := range mem[src.codes[i]] {
			b = le.AppendUint16(b, toHalf(x)) // exact: they were half floats
		}
		return b, nil
	}
	return src
}

// Flush turns what is in memory into a segment, so that scans of it are fast and a read-only store need not replay it.
func (s *Set) Flush(ctx context.Context) error {
	if s.o.ReadOnly {
		return errReadOnly
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if s.closed {
		return errClosed
	}
	s.mu.RLock()
	held := len(s.mem)
	s.mu.RUnlock()
	if held == 0 {
		return nil
	}
	err := s.room()
	if err == nil {
		err = s.rotate()
	}
	s.lastErr = err
	if err != nil {
		return fmt.Errorf("index: flush the set of %s at zoom %d: %w: %w", s.key.Layer, s.key.Zoom, tilescout.ErrUnavailable, err)
	}
	return nil
}

// quarantine takes a damaged segment out: its tiles are missing from then on. It returns the error for the reader.
// Where an older segment has a row of the same code, that one is seen again: it is of the same picture and model.
func (s *Set) quarantine(seg *segment, cause error) error {
	err := fmt.Errorf("index: segment %d of the set of %s at zoom %d: %w: %w; its tiles are put aside and have to be embedded again",
		seg.number, s.key.Layer, s.key.Zoom, tilescout.ErrUnavailable, cause)
	s.wmu.Lock()
	defer s.wmu.Unlock()
	s.mu.Lock()
	i := slices.Index(s.segs, seg)
	if i < 0 || s.closed { // somebody else was first, or it is merged already
		s.mu.Unlock()
		return err
	}
	s.segs = slices.Delete(slices.Clone(s.segs), i, i+1)
	s.corrupt++
	s.changed(s.gen + 1)
	s.count()
	gen, segs := s.gen, s.segs
	s.mu.Unlock()
	if !s.o.ReadOnly {
		old := s.manName
		if _, e := s.publish(segs, s.man.WAL, gen); e != nil {
			s.lastErr = e
		} else {
			s.setAside(seg.number)
			s.forget(s.man.WAL, old)
		}
	}
	seg.release()
	return err
}
