package index

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// memFS is a disk in memory that forgets what was not synced, and fails when it is told to.
type memFS struct {
	mu      sync.Mutex
	names   map[string]*memFile // as the running process sees them
	durable map[string]*memFile // names that a crash cannot take back
	locks   map[string]bool
	free    int64
	ops     int // changes asked for so far
	// fault, if set, is asked before the n-th change; an error fails it.
	fault func(n int, op, name string) error
	log   []string
}

type memFile struct {
	data   []byte
	synced int  // bytes that a crash cannot take back
	lost   bool // a sync failed: later ones say yes and do nothing, as kernels do
}

var errCrashed = errors.New("the machine is off")

func newMemFS() *memFS {
	return &memFS{names: map[string]*memFile{}, durable: map[string]*memFile{}, locks: map[string]bool{}, free: 1 << 40}
}

// change counts one change and lets the fault have its say. The caller holds mu.
func (m *memFS) change(op, name string) error {
	m.ops++
	m.log = append(m.log, op+" "+filepath.Base(name))
	if m.fault != nil {
		return m.fault(m.ops, op, name)
	}
	return nil
}

// crash returns what a machine that lost its power may find when it comes back.
func (m *memFS) crash(r *rand.Rand, holes bool) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	after := newMemFS()
	seen := map[string]bool{}
	copies := map[*memFile]*memFile{}
	for _, names := range []map[string]*memFile{m.names, m.durable} {
		for name := range names {
			if seen[name] {
				continue
			}
			seen[name] = true
			f := m.durable[name]
			if m.names[name] != f && r.IntN(2) == 0 {
				f = m.names[name]
			}
			if f == nil {
				continue
			}
			if copies[f] == nil {
				data := append([]byte{}, f.data[:f.synced+r.IntN(len(f.data)-f.synced+1)]...)
				if tail := len(data) - f.synced; holes && tail > 0 {
					clear(data[f.synced+r.IntN(tail):][:1])
				}
				copies[f] = &memFile{data: data, synced: len(data)}
			}
			after.names[name], after.durable[name] = copies[f], copies[f]
		}
	}
	return after
}

func (m *memFS) MkdirAll(string) error { return nil }

func (m *memFS) Create(name string) (file, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.change("create", name); err != nil {
		return nil, err
	}
	if m.names[name] != nil {
		return nil, fmt.Errorf("create %s: %w", name, fs.ErrExist)
	}
	f := &memFile{}
	m.names[name] = f
	return &memHandle{m, f, name}, nil
}

type memHandle struct {
	m    *memFS
	f    *memFile
	name string
}

func (h *memHandle) Write(b []byte) (int, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if err := h.m.change("write", h.name); err != nil {
		n := 0
		if errors.Is(err, syscall.ENOSPC) { // a short write
			n = len(b) / 2
			h.f.data = append(h.f.data, b[:n]...)
		}
		return n, err
	}
	h.f.data = append(h.f.data, b...)
	return len(b), nil
}

func (h *memHandle) Sync() error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if err := h.m.change("sync", h.name); err != nil {
		h.f.lost = true
		return err
	}
	if !h.f.lost {
		h.f.synced = len(h.f.data)
	}
	return nil
}

func (h *memHandle) Close() error { return nil }

type memMapping []byte

func (b memMapping) Bytes() []byte { return b }
func (memMapping) Close() error    { return nil }

func (m *memFS) Map(name string) (mapping, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.names[name]
	if f == nil {
		return nil, fmt.Errorf("map %s: %w", name, fs.ErrNotExist)
	}
	return memMapping(f.data[:len(f.data):len(f.data)]), nil
}

func (m *memFS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.change("rename", to); err != nil {
		return err
	}
	if m.names[from] == nil {
		return fmt.Errorf("rename %s: %w", from, fs.ErrNotExist)
	}
	m.names[to] = m.names[from]
	delete(m.names, from)
	return nil
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.change("remove", name); err != nil {
		return err
	}
	if m.names[name] == nil {
		return fmt.Errorf("remove %s: %w", name, fs.ErrNotExist)
	}
	delete(m.names, name)
	return nil
}

func (m *memFS) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := map[string]bool{}
	var names []string
	for name := range m.names {
		rest, ok := strings.CutPrefix(name, dir+"/")
		first, _, _ := strings.Cut(rest, "/")
		if ok && !seen[first] {
			seen[first] = true
			names = append(names, first)
		}
	}
	return names, nil
}

func (m *memFS) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.change("syncdir", dir); err != nil {
		return err
	}
	for _, names := range []map[string]*memFile{m.names, m.durable} {
		for name := range names {
			if filepath.Dir(name) != dir {
				continue
			}
			if f := m.names[name]; f != nil {
				m.durable[name] = f
			} else {
				delete(m.durable, name)
			}
		}
	}
	return nil
}

func (m *memFS) Free(string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.free, nil
}

func (m *memFS) Lock(name string) (io.Closer, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locks[name] {
		return nil, "1", nil
	}
	m.locks[name] = true
	return unlocker(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.locks, name)
	}), "", nil
}

type unlocker func()

func (u unlocker) Close() error { u(); return nil }
