package torchfile

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tilescout/tilescout/encoder/checkpoint/tensor"
)

// Limits on an archive, in bytes. The directory of ViT-H/14 with its optimiser takes 300 kB, its pickle 400 kB.
const (
	maxDirectory = 8 << 20
	maxHeaders   = 4 << 20 // all the members' own headers, 30 bytes each
	maxPickle    = 16 << 20
)

// budget is a reader that gives up after so many bytes: a directory of millions of members must not fill the memory.
type budget struct {
	r    io.ReaderAt
	left int64
}

func (b *budget) ReadAt(p []byte, at int64) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, fmt.Errorf("too many members: %w", ErrArchive)
	}
	return b.r.ReadAt(p, at)
}

// archive is a zip file as torch writes it: members stored as they are, under one folder.
type archive struct {
	r       io.ReaderAt
	members map[string]*io.SectionReader // by name without the folder
}

// openArchive reads the directory and checks that members are stored, inside the file and apart from each other.
func openArchive(r io.ReaderAt, size int64) (*archive, error) {
	limited := &budget{r, maxDirectory}
	z, err := zip.NewReader(limited, size)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", err, ErrArchive)
	}
	folder := ""
	for _, f := range z.File {
		if f.Name == "data.pkl" || strings.HasSuffix(f.Name, "/data.pkl") && strings.Count(f.Name, "/") == 1 {
			folder = strings.TrimSuffix(f.Name, "data.pkl")
			break
		}
	}
	a := &archive{r: r, members: make(map[string]*io.SectionReader, len(z.File))}
	type span struct{ from, to int64 }
	var spans []span
	limited.left = maxHeaders
	for _, f := range z.File {
		name, ok := strings.CutPrefix(f.Name, folder)
		if !ok || !wanted(name) {
			continue
		}
		if a.members[name] != nil {
			return nil, fmt.Errorf("member %.80q is there twice: %w", name, ErrArchive)
		}
		if f.Method != zip.Store || f.CompressedSize64 != f.UncompressedSize64 {
			return nil, fmt.Errorf("member %.80q is compressed, as torch.save never does: %w", name, ErrArchive)
		}
		at, err := f.DataOffset()
		if err != nil {
			return nil, fmt.Errorf("member %.80q: %v: %w", name, err, ErrArchive)
		}
		if at > size || f.UncompressedSize64 > uint64(size-at) {
			return nil, fmt.Errorf("member %.80q of %d bytes at %d in a file of %d: %w", name, f.UncompressedSize64, at, size, ErrArchive)
		}
		n := int64(f.UncompressedSize64)
		a.members[name] = io.NewSectionReader(r, at, n)
		spans = append(spans, span{at, at + n})
	}
	slices.SortFunc(spans, func(a, b span) int { return int(min(max(a.from-b.from, -1), 1)) })
	for i := 1; i < len(spans); i++ {
		if spans[i].from < spans[i-1].to {
			return nil, fmt.Errorf("members overlap at byte %d: %w", spans[i].from, ErrArchive)
		}
	}
	if a.members["data.pkl"] == nil {
		if slices.ContainsFunc(z.File, func(f *zip.File) bool { return strings.HasSuffix(f.Name, ".pt") }) {
			return nil, fmt.Errorf("a zip with a .pt file in it; unpack it and name that file: %w", ErrArchive)
		}
		return nil, fmt.Errorf("no data.pkl in it: %w", ErrArchive)
	}
	return a, nil
}

// wanted leaves out the program text of TorchScript archives and what newer versions add.
func wanted(name string) bool {
	return name == "data.pkl" || name == "byteorder" || name == "constants.pkl" || strings.HasPrefix(name, "data/")
}

func readZip(r io.ReaderAt, size int64) (File, error) {
	a, err := openArchive(r, size)
	if err != nil {
		return File{}, err
	}
	raw, err := a.small("data.pkl", maxPickle)
	if err != nil {
		return File{}, err
	}
	big := false
	if a.members["byteorder"] != nil {
		order, err := a.small("byteorder", 16)
		if err != nil {
			return File{}, err
		}
		big = bytes.Equal(order, []byte("big"))
	}
	m := newMachine(raw)
	root, err := m.run()
	if err != nil {
		return File{}, err
	}
	all, err := tensors(root, func(s *storage) (tensor.Data, error) {
		if data := a.members["data/"+s.key]; data != nil {
			return data, nil
		}
		return nil, fmt.Errorf("no member data/%.40s: %w", s.key, ErrArchive)
	}, big)
	f := File{Tensors: all, Format: Zip}
	if a.members["constants.pkl"] != nil {
		f.Format = Script
	}
	return f, err
}

func (a *archive) small(name string, limit int64) ([]byte, error) {
	member := a.members[name]
	if member.Size() > limit {
		return nil, fmt.Errorf("%s has %d bytes, want at most %d: %w", name, member.Size(), limit, ErrArchive)
	}
	raw := make([]byte, member.Size())
	if n, err := member.ReadAt(raw, 0); n < len(raw) {
		return nil, fmt.Errorf("%s: %w", name, errors.Join(err, ErrArchive))
	}
	return raw, nil
}
