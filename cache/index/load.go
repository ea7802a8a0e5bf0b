package index

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tilescout/tilescout"
)

// openSet reads what CURRENT names and plays the log back into memory. It writes nothing but the removal of what no
// manifest names any more; the log becomes a segment at the first Put.
func openSet(store *Store, key Key) (*Set, error) {
	fp := key.fingerprint()
	s := &Set{key: key, fp: fp, dir: filepath.Join(store.dir, fp.folder()), fs: store.o.timed(key.Layer), o: store.o}
	st, err := s.load(nil)
	if err != nil {
		return nil, s.cannotOpen(err)
	}
	s.ctx, s.stop = context.WithCancel(store.ctx)
	s.man, s.manName = st.man, st.manName
	s.take(st)
	if !s.o.ReadOnly {
		s.sweep()
	}
	return s, nil
}

func (s *Set) cannotOpen(err error) error {
	return fmt.Errorf("index: open the set of %s at zoom %d: %w: %w; if it does not go away, delete %s to embed its tiles anew",
		s.key.Layer, s.key.Zoom, tilescout.ErrUnavailable, err, s.dir)
}

// loaded is the content of a folder.
type loaded struct {
	man     manifest
	manName string
	current string // the manifest and the size of its log: another one means news
	segs    []*segment
	mem     map[uint64][]float32
	gen     uint64
	corrupt int
}

// load reads the folder; segments that are open already are taken from held.
func (s *Set) load(held map[uint64]*segment) (st loaded, err error) {
	for range 5 {
		st, err = s.loadOnce(held)
		// A writer may replace manifest, log and segments while we read them: then there is a new CURRENT.
		if !s.o.ReadOnly || !errors.Is(err, fs.ErrNotExist) {
			return st, err
		}
	}
	return st, err
}

func (s *Set) loadOnce(held map[uint64]*segment) (st loaded, err error) {
	defer func() {
		if err != nil {
			for _, seg := range st.segs {
				seg.release()
			}
		}
	}()
	st.mem = map[uint64][]float32{}
	man, number, err := readManifest(s.fs, s.dir)
	if errors.Is(err, fs.ErrNotExist) && !s.hasCurrent() {
		st.man, err = newManifest(s.key)
		st.gen = st.man.Seq
		return st, err
	}
	if err != nil {
		return st, err
	}
	if man.Key != s.key {
		return st, fmt.Errorf("it is the set of %+v: %w", man.Key, errCorrupt)
	}
	st.man, st.gen, st.manName = man, man.Seq, manifestName(number)
	for _, info := range man.Segments {
		if seg, ok := held[info.Number]; ok {
			st.segs = append(st.segs, seg.retain())
			continue
		}
		seg, err := openSegment(s.fs, s.dir, s.fp, s.key.Dimension, info)
		switch {
		case err == nil:
			st.segs = append(st.segs, seg)
		case errors.Is(err, errCorrupt), errors.Is(err, fs.ErrNotExist) && !s.o.ReadOnly:
			st.corrupt++
			s.setAside(info.Number)
		default:
			return st, err
		}
	}
	lost := uint64(st.corrupt)
	err = s.replayInto(&st)
	st.gen += lost // rows that are gone are a change of the content
	return st, err
}

func (s *Set) replayInto(st *loaded) error {
	m, err := s.fs.Map(filepath.Join(s.dir, walName(st.man.WAL)))
	if errors.Is(err, fs.ErrNotExist) && !s.o.ReadOnly {
		st.corrupt++
		return nil
	}
	if err != nil {
		return err
	}
	defer m.Close()
	st.current = fmt.Sprint(st.manName, " ", len(m.Bytes()))
	want := header{kind: kindWAL, fingerprint: s.fp, number: st.man.WAL, dimension: uint32(s.key.Dimension)}
	err = guarded(func() error {
		gaps, err := replay(m.Bytes(), want, func(seq, code uint64, half []byte) {
			st.gen = max(st.gen, seq)
			if half == nil {
				st.mem[code] = nil
				return
			}
			row := make([]float32, s.key.Dimension)
			unpack(row, half)
			st.mem[code] = row
		})
		st.corrupt += gaps
		return err
	})
	if errors.Is(err, errCorrupt) {
		st.corrupt++
		return nil
	}
	return err
}

// newManifest is of an empty set. Its numbering of changes begins anywhere, so that a set that was removed and made
// anew does not show the generations of the old one.
func newManifest(key Key) (manifest, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return manifest{}, err
	}
	return manifest{Format: formatMajor, Key: key, Next: 1, Seq: le.Uint64(b[:]) >> 24 << 8}, nil
}

func (s *Set) hasCurrent() bool {
	names, err := s.fs.List(s.dir)
	return err != nil || slices.Contains(names, currentName)
}

// take makes what was loaded what readers see. The caller holds mu, or nobody else knows the set yet.
func (s *Set) take(st loaded) {
	old := s.segs
	s.segs, s.mem, s.current = st.segs, st.mem, st.current
	s.corrupt += st.corrupt
	s.changed(st.gen)
	for _, seg := range old {
		seg.release()
	}
	s.count()
}

// count counts the tiles anew. The caller holds mu, or nobody else knows the set yet.
func (s *Set) count() {
	snap := s.snapshot()
	s.rows, s.blanks = len(snap.codes), len(snap.blanks)
}

// setAside renames the files of a damaged segment, for whoever wants to look at them.
func (s *Set) setAside(number uint64) {
	if s.o.ReadOnly {
		return
	}
	for _, ext := range segmentFiles {
		name := filepath.Join(s.dir, segmentName(number, ext))
		_ = s.fs.Rename(name, name+".bad")
	}
}

// sweep removes what a crash left that no manifest names, and keeps numbers clear of what is there. Removing is done in
// the background: on a busy disk it can take seconds.
func (s *Set) sweep() {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return
	}
	keep := map[string]bool{currentName: s.manName != "", currentName + ".new": true, s.manName: true, walName(s.man.WAL): true}
	for _, seg := range s.segs {
		for _, ext := range segmentFiles {
			keep[segmentName(seg.number, ext)] = true
		}
	}
	var rubbish []string
	for _, name := range names {
		if n, ok := numberOf(name); ok {
			s.man.Next = max(s.man.Next, n+1)
		}
		if !keep[name] && !strings.HasSuffix(name, ".bad") {
			rubbish = append(rubbish, name)
		}
	}
	s.tasks.Go(func() {
		for _, name := range rubbish {
			_ = s.fs.Remove(filepath.Join(s.dir, name))
		}
	})
}

// numberOf returns the number in the name of a file.
func numberOf(name string) (uint64, bool) {
	digits := strings.TrimLeft(name, "MANIFESTwalseg-")
	digits, _, _ = strings.Cut(digits, ".")
	n, err := strconv.ParseUint(digits, 10, 63)
	return n, err == nil
}

// follow looks, in a read-only set and not too often, whether the writer has published something.
func (s *Set) follow() {
	if !s.o.ReadOnly {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.looked) < s.o.Follow || s.mem == nil {
		return
	}
	s.looked = time.Now()
	if now, err := s.news(); err != nil || now == s.current {
		return
	}
	held := map[uint64]*segment{}
	for _, seg := range s.segs {
		held[seg.number] = seg
	}
	if st, err := s.load(held); err == nil {
		s.take(st)
	}
}

// news is what loaded.current would be.
func (s *Set) news() (string, error) {
	man, number, err := readManifest(s.fs, s.dir)
	if err != nil {
		return "", err
	}
	m, err := s.fs.Map(filepath.Join(s.dir, walName(man.WAL)))
	if err != nil {
		return "", err
	}
	defer m.Close()
	return fmt.Sprint(manifestName(number), " ", len(m.Bytes())), nil
}
