// Package index keeps the embeddings of tiles on disk: one set a layer version, model and zoom, in Morton order,
// scanned whole at the speed of memory.
//
//	store, err := index.Open(dir, index.Options{})
//	set, err := store.Set(ctx, index.Key{Layer: "city", Version: "f3…", Model: "9b…", Preprocessing: "p1", Zoom: 17, Dimension: 256})
//	err = set.Put(ctx, []index.Row{{Code: code, Embedding: e}}) // durable when it returns
//	snap := set.Snapshot()
//	defer snap.Release()
//	q, err := snap.Quantize(prompt)
//	err = snap.Scan(ctx, q, 0, snap.Len(), similarities)
//
// A set is a write-ahead log, and segments that never change once they are written; a manifest names them and is
// replaced whole. What Put acknowledged survives the end of the process at any moment, and of the machine. No byte is
// used that does not match its checksum: what is damaged is put aside and its tiles are missing, never wrong.
package index

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/tilescout/tilescout"
)

// Options of a store; the zero value works.
type Options struct {
	ReadOnly  bool          // takes no lock, writes nothing, follows what the writer does
	Follow    time.Duration // how often a read-only set looks for news; 0 means a second
	FlushRows int           // rows that are kept in memory and in the log before they become a segment; 0 means 8192
	MinFree   int64         // bytes that stay free on the disk; 0 means 256 MiB, negative none

	// Synced is told how long each wait for the disk took, for metrics; nil for nobody. It is called at any time from
	// any goroutine, under locks: it must return at once.
	Synced func(layer string, took time.Duration)

	fs fileSystem // nil means the disk; tests put another one here
}

func (o *Options) setDefaults() {
	o.Follow = cmp.Or(o.Follow, time.Second)
	o.FlushRows = cmp.Or(o.FlushRows, 8192)
	o.MinFree = cmp.Or(o.MinFree, 256<<20)
	if o.fs == nil {
		o.fs = disk{}
	}
}

// Store is a folder of sets. Safe for concurrent use.
type Store struct {
	dir  string
	o    Options
	lock io.Closer // nil in a read-only store

	ctx  context.Context // ends with Close: merges stop
	stop context.CancelFunc

	mu     sync.Mutex // guards sets, closed
	sets   map[Key]*Set
	closed bool
}

// Open opens the store in dir, which it makes if need be. A store has one writer: a second one gets ErrUnavailable
// with the process id of the first, and may open it read-only.
func Open(dir string, o Options) (*Store, error) {
	o.setDefaults()
	s := &Store{dir: dir, o: o, sets: map[Key]*Set{}}
	if !o.ReadOnly {
		if err := o.fs.MkdirAll(dir); err != nil {
			return nil, fmt.Errorf("index: make %s: %w: %w", dir, tilescout.ErrUnavailable, err)
		}
		lock, holder, err := o.fs.Lock(filepath.Join(dir, "LOCK"))
		if err != nil {
			return nil, fmt.Errorf("index: lock %s: %w: %w", dir, tilescout.ErrUnavailable, err)
		}
		if lock == nil {
			return nil, fmt.Errorf("index: %s is in use by process %s; stop it or use another data folder: %w", dir, cmp.Or(holder, "unknown"), tilescout.ErrUnavailable)
		}
		s.lock = lock
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Set opens the set of a key; one that is not there yet is empty, and made by its first Put. The same key gives the
// same *Set. ErrUnavailable where what is on disk cannot be read as a set at all.
func (s *Store) Set(ctx context.Context, key Key) (*Set, error) {
	if err := key.check(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	if set, ok := s.sets[key]; ok {
		return set, nil
	}
	set, err := openSet(s, key)
	if err != nil {
		return nil, err
	}
	s.sets[key] = set
	return set, nil
}

var errClosed = fmt.Errorf("index: closed: %w", tilescout.ErrUnavailable)

// Sets returns the keys of all sets on disk, by layer, zoom, version and model.
func (s *Store) Sets() ([]Key, error) {
	names, err := s.o.fs.List(s.dir)
	if err != nil {
		return nil, fmt.Errorf("index: list %s: %w: %w", s.dir, tilescout.ErrUnavailable, err)
	}
	var keys []Key
	for _, name := range names {
		m, _, err := readManifest(s.o.fs, filepath.Join(s.dir, name))
		if err == nil && m.Key.fingerprint().folder() == name {
			keys = append(keys, m.Key)
		}
	}
	slices.SortFunc(keys, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Layer, b.Layer), cmp.Compare(a.Zoom, b.Zoom), cmp.Compare(a.Version, b.Version),
			cmp.Compare(a.Model, b.Model), cmp.Compare(a.Preprocessing, b.Preprocessing), cmp.Compare(a.Dimension, b.Dimension))
	})
	return keys, nil
}

// Remove deletes a set from the disk; one that is not there is no error. Snapshots of it stay good until they are
// released, the *Set takes no rows any more.
func (s *Store) Remove(key Key) error {
	if s.o.ReadOnly {
		return errReadOnly
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	if set, ok := s.sets[key]; ok {
		set.close()
		delete(s.sets, key)
	}
	dir := filepath.Join(s.dir, key.fingerprint().folder())
	// Without CURRENT the rest is rubbish, whenever we are stopped.
	err := ignoreAbsent(s.o.fs.Remove(filepath.Join(dir, currentName)))
	if err == nil {
		err = ignoreAbsent(s.o.fs.SyncDir(dir))
	}
	if err == nil {
		var names []string
		names, err = s.o.fs.List(dir)
		for _, name := range names {
			err = errors.Join(err, ignoreAbsent(s.o.fs.Remove(filepath.Join(dir, name))))
		}
		err = errors.Join(err, ignoreAbsent(s.o.fs.Remove(dir)))
	}
	if err != nil {
		return fmt.Errorf("index: remove the set of %s at zoom %d: %w: %w", key.Layer, key.Zoom, tilescout.ErrUnavailable, err)
	}
	return nil
}

// Release closes a set and gives its memory back; what it holds stays on the disk, and Set opens it anew. The *Set of
// before takes no rows any more and looks empty; its snapshots stay good until they are released.
func (s *Store) Release(key Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if set, ok := s.sets[key]; ok {
		set.close()
		delete(s.sets, key)
	}
}

var errReadOnly = fmt.Errorf("index: opened read-only: %w", tilescout.ErrUnavailable)

// Close stops merges, closes all sets and gives the lock back. It writes nothing: what is in the log stays there.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.stop()
	for _, set := range s.sets {
		set.close()
	}
	if s.lock == nil {
		return nil
	}
	if err := s.lock.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		return fmt.Errorf("index: unlock %s: %w", s.dir, err)
	}
	return nil
}
