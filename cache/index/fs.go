package index

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/edsrzf/mmap-go"
	"github.com/gofrs/flock"
)

// fileSystem is all that the index asks of a disk, so that tests can put one below it that crashes, fills up and lies.
// Files are written once, front to back; nothing is ever changed in place or truncated, because it may be mapped.
type fileSystem interface {
	MkdirAll(dir string) error
	Create(name string) (file, error) // fails where name exists
	Map(name string) (mapping, error) // read-only; an error for which os.IsNotExist holds where it is absent
	Rename(from, to string) error
	Remove(name string) error
	List(dir string) ([]string, error) // base names; none where dir is absent
	SyncDir(dir string) error
	Free(dir string) (int64, error)                           // bytes an unprivileged user may still write
	Lock(name string) (unlock io.Closer, who string, _ error) // unlock is nil where another holds it
}

type file interface {
	io.WriteCloser
	Sync() error
}

type mapping interface {
	Bytes() []byte
	io.Closer
}

// disk is the fileSystem of the machine.
type disk struct{}

func (disk) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o755) }
func (disk) Rename(a, b string) error  { return os.Rename(a, b) }
func (disk) Remove(name string) error  { return os.Remove(name) }

func (disk) Create(name string) (file, error) {
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
}

func (disk) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (disk) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return syncDir(d)
}

func (disk) Free(dir string) (int64, error) { return freeBytes(dir) }

func (disk) Map(name string) (mapping, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() // the mapping stays
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > math.MaxInt/2 {
		return nil, fmt.Errorf("%s is not a file that can be mapped", name)
	}
	if info.Size() == 0 {
		return &mapped{}, nil // an empty file cannot be mapped
	}
	m, err := mmap.Map(f, mmap.RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", name, err)
	}
	return &mapped{m}, nil
}

type mapped struct{ m mmap.MMap }

func (m *mapped) Bytes() []byte { return m.m }

func (m *mapped) Close() error {
	if m.m == nil {
		return nil
	}
	return m.m.Unmap()
}

// Lock takes the lock file and writes our process id into it; who is the id that was found there.
func (disk) Lock(name string) (io.Closer, string, error) {
	l := flock.New(name)
	ok, err := l.TryLock()
	if err != nil {
		return nil, "", err
	}
	if !ok {
		b, err := os.ReadFile(name)
		return nil, strings.TrimSpace(string(b[:min(len(b), 20)])), err
	}
	if err := os.WriteFile(name, fmt.Appendf(nil, "%d\n", os.Getpid()), 0o644); err != nil {
		l.Close()
		return nil, "", err
	}
	return l, "", nil
}

// writeFile writes a small file whole and syncs it.
func writeFile(fs fileSystem, name string, data []byte) error {
	f, err := fs.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// readFile returns a small file whole; a larger one than limit is an error.
func readFile(fs fileSystem, name string, limit int) (data []byte, err error) {
	m, err := fs.Map(name)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if len(m.Bytes()) > limit {
		return nil, fmt.Errorf("%s has %d bytes, at most %d are allowed", filepath.Base(name), len(m.Bytes()), limit)
	}
	err = guarded(func() error { data = append([]byte{}, m.Bytes()...); return nil })
	return data, err
}
