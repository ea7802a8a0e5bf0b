package pmtiles

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tilescout/tilescout"
)

// Object is the file that an archive lies in: one here, or one behind a URL (remote.File). All methods are safe for
// concurrent use.
type Object interface {
	// ReadAtContext is io.ReaderAt that ends with ctx.
	ReadAtContext(ctx context.Context, p []byte, off int64) (int, error)
	Size() int64         // bytes
	Version() string     // differs between contents, as far as can be told from outside
	Modified() time.Time // zero if unknown
	Close() error
}

// file is an Object of the local disk. It is read, not mapped: a mapped file that somebody cuts short is a signal
// that nothing catches.
type file struct {
	*os.File
	info os.FileInfo
}

func openFile(path string) (*file, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("no such file: %w", tilescout.ErrBadInput)
	case err != nil:
		return nil, fmt.Errorf("%v: %w", errors.Unwrap(err), tilescout.ErrBadInput)
	case !info.Mode().IsRegular(): // opening a pipe would wait for its writer
		return nil, fmt.Errorf("not a regular file: %w", tilescout.ErrBadInput)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", errors.Unwrap(err), tilescout.ErrBadInput)
	}
	if info, err = f.Stat(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%v: %w", err, tilescout.ErrBadInput)
	}
	return &file{f, info}, nil
}

func (f *file) ReadAtContext(ctx context.Context, p []byte, off int64) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return f.ReadAt(p, off)
}

func (f *file) Size() int64         { return f.info.Size() }
func (f *file) Modified() time.Time { return f.info.ModTime() }
func (f *file) Version() string {
	return fmt.Sprintf("%d %d", f.info.Size(), f.info.ModTime().UnixNano())
}

// read fills p from off. An end of the file within it is ErrTruncated: sections were held against the size before.
func read(ctx context.Context, o Object, p []byte, off uint64) error {
	n, err := o.ReadAtContext(ctx, p, int64(off))
	switch {
	case n == len(p):
		return nil
	case errors.Is(err, os.ErrClosed):
		return errClosed
	case err == nil || errors.Is(err, io.EOF):
		return fmt.Errorf("%d of %d bytes at %d: %w", n, len(p), off, ErrTruncated)
	}
	return fmt.Errorf("read %d bytes at %d: %w", len(p), off, err)
}

// version is the fingerprint of a content: what the object says of itself, the header and the root directory.
func version(o Object, head, root []byte, given string) string {
	h := sha256.New()
	fmt.Fprintf(h, "pmtiles %q %q %d ", o.Version(), given, len(head))
	h.Write(head)
	h.Write(root)
	return fmt.Sprintf("%x", h.Sum(nil)[:16])
}
