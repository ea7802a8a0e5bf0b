package eval

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/tilescout/tilescout"
)

// Bounds on an archive: what a hostile one may cost.
const (
	maxEntries  = 1 << 20
	maxArchive  = 8 << 30 // bytes once inflated
	maxPictures = 2 << 30 // bytes of all pictures kept
)

// isArchive says whether a name is that of a tar archive.
func isArchive(name string) bool {
	name = strings.ToLower(name)
	for _, end := range []string{".tar", ".tar.gz", ".tgz"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// openStore opens a folder or an archive; of an archive the wanted pictures are kept, nil means all.
func openStore(ctx context.Context, where string, wanted map[string]bool) (store, error) {
	info, err := os.Stat(where)
	if err != nil {
		return nil, fmt.Errorf("%s: no such file or folder; name the pictures with --images: %w", where, tilescout.ErrBadInput)
	}
	if info.IsDir() {
		root, err := os.OpenRoot(where)
		if err != nil {
			return nil, fmt.Errorf("read pictures: %v: %w", err, tilescout.ErrBadInput)
		}
		return &folder{root, where}, nil
	}
	f, err := os.Open(where)
	if err != nil {
		return nil, fmt.Errorf("read pictures: %v: %w", err, tilescout.ErrBadInput)
	}
	defer f.Close()
	a := archive{}
	if err := a.load(ctx, f, wanted); err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	return a, nil
}

// folder is pictures in a folder; os.Root keeps links and dots inside it.
type folder struct {
	root *os.Root
	name string
}

func (f *folder) Close() error { return f.root.Close() }

func (f *folder) has(name string) bool {
	info, err := f.root.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

func (f *folder) read(name string) ([]byte, error) {
	file, err := f.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not in %s: %w", name, f.name, ErrMissing)
	}
	if err != nil {
		return nil, fmt.Errorf("%v: %w", err, ErrPath)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file: %w", name, ErrPicture)
	}
	if info.Size() > maxPicture {
		return nil, fmt.Errorf("%s: %d bytes, at most %d: %w", name, info.Size(), maxPicture, ErrTooLarge)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxPicture))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

// names lists the files of the folder and of its sub-folders.
func (f *folder) names(ctx context.Context) ([]string, error) {
	var out []string
	err := fs.WalkDir(f.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && name != ".":
			return fs.SkipDir
		case d.Type().IsRegular():
			if out = append(out, name); len(out) > maxScenes {
				return fmt.Errorf("more than %d files: %w", maxScenes, ErrTooLarge)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.name, err)
	}
	return out, nil
}

// archive is the pictures of a tar archive, in memory: a tar can only be read from its beginning.
type archive map[string][]byte

func (a archive) Close() error { return nil }

func (a archive) has(name string) bool { _, ok := a[name]; return ok }

func (a archive) read(name string) ([]byte, error) {
	data, ok := a[name]
	if !ok {
		return nil, fmt.Errorf("%s is not in the archive: %w", name, ErrMissing)
	}
	return data, nil
}

func (a archive) names(context.Context) ([]string, error) {
	out := make([]string, 0, len(a))
	for name := range a {
		out = append(out, name)
	}
	return out, nil
}

// load reads the archive, every header of it: one that leads outside is refused whatever is wanted. A picture that
// lies in a folder of the archive answers to its bare name too if that is wanted and no other has it.
func (a archive) load(ctx context.Context, f io.Reader, wanted map[string]bool) error {
	buffered := bufio.NewReaderSize(f, 1<<16)
	var in io.Reader = buffered
	if magic, _ := buffered.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return fmt.Errorf("%v: %w", err, ErrArchive)
		}
		defer z.Close()
		in = z
	}
	bounded := &io.LimitedReader{R: in, N: maxArchive}
	r := tar.NewReader(bounded)
	seen := map[string]bool{}
	var kept int64
	for n := 1; ; n++ {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		h, err := r.Next()
		switch {
		case errors.Is(err, io.EOF) && bounded.N > 0:
			if n == 1 {
				return fmt.Errorf("not one entry: %w", ErrEmpty)
			}
			return nil
		case err != nil && bounded.N <= 0, n > maxEntries:
			return fmt.Errorf("more than %d entries or %d bytes once inflated: %w", maxEntries, int64(maxArchive), ErrTooLarge)
		case err != nil:
			return fmt.Errorf("entry %d: %v: %w", n, err, ErrArchive)
		}
		name, err := a.entry(h)
		if err != nil {
			return fmt.Errorf("entry %d, %.200q: %w", n, h.Name, err)
		}
		if name == "" {
			continue
		}
		if seen[name] {
			return fmt.Errorf("entry %d, %q: %w", n, name, ErrTwice)
		}
		seen[name] = true
		key := name
		if wanted != nil && !wanted[key] {
			if key = path.Base(name); !wanted[key] || seen[key] || a.has(key) {
				continue
			}
		} else if wanted == nil && !isPicture(name) {
			continue
		}
		if kept += h.Size; h.Size > maxPicture || kept > maxPictures {
			return fmt.Errorf("entry %d, %q: %d bytes; at most %d a picture and %d in all: %w", n, name, h.Size, maxPicture, maxPictures, ErrTooLarge)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return fmt.Errorf("entry %d, %q: %v: %w", n, name, err, ErrArchive)
		}
		a[key] = data
	}
}

// entry is the clean name of a file, "" for a folder.
func (archive) entry(h *tar.Header) (string, error) {
	name := strings.TrimPrefix(h.Name, "./")
	switch h.Typeflag {
	case tar.TypeDir:
		if name = strings.TrimSuffix(name, "/"); name == "" || name == "." {
			return "", nil
		}
		return "", checkName(name)
	case tar.TypeReg, tar.TypeGNUSparse:
		return path.Clean(name), checkName(name)
	case tar.TypeXGlobalHeader:
		return "", nil
	case tar.TypeLink, tar.TypeSymlink:
		return "", ErrLink
	}
	return "", fmt.Errorf("type %q, want regular files: %w", h.Typeflag, ErrArchive)
}
