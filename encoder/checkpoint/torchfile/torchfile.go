// Package torchfile reads the tensors of files that torch.save and TorchScript write. Such files are pickles: programs
// for a stack machine that in Python can call anything. The machine here knows the few instructions that checkpoints
// consist of, calls nothing, and understands by name the handful of functions that describe tensors; everything else is
// kept as an unknown thing, or refused where it is known to run code.
package torchfile

import (
	"bytes"
	"fmt"
	"io"
	"math"

	"github.com/tilescout/tilescout/encoder/checkpoint/tensor"
	"github.com/tilescout/tilescout/internal/reject"
)

// The reasons to refuse a file.
var (
	ErrPickle  = reject.New("checkpoint", "ErrPickle", "pickle is damaged or holds what no checkpoint does")
	ErrCode    = reject.New("checkpoint", "ErrPickleCode", "the file wants to run code when it is loaded; do not load it with Python either")
	ErrArchive = reject.New("checkpoint", "ErrArchive", "not a whole PyTorch archive")
	ErrNoState = reject.New("checkpoint", "ErrNoState", "no state_dict in it")
)

// Formats of files.
const (
	Zip    = "pytorch zip"
	Legacy = "pytorch legacy"
	Script = "openai torchscript"
)

// File is what a file holds.
type File struct {
	Tensors map[string]tensor.Tensor // by name, dots between the parts
	Format  string
}

// Sniff reports whether a file with these first bytes is one that Read takes.
func Sniff(first []byte) bool {
	return bytes.HasPrefix(first, []byte("PK\x03\x04")) || len(first) > 2 && first[0] == 0x80 && first[1] >= 2 && first[1] <= 5
}

// Read reads the structure of a file of size bytes; the tensors' data stay in r.
func Read(r io.ReaderAt, size int64) (File, error) {
	var head [4]byte
	n, _ := r.ReadAt(head[:], 0)
	if bytes.HasPrefix(head[:n], []byte("PK")) {
		return readZip(r, size)
	}
	return readLegacy(r, size)
}

// storage is a run of elements that tensors are views of.
type storage struct {
	key   string
	kind  tensor.Type
	count int64
}

// view is a tensor before its storage is found.
type view struct {
	storage *storage
	offset  int64
	shape   []int
	strides []int
}

func (v *view) open(data tensor.Data, bigEndian bool) (tensor.Tensor, error) {
	if size := int64(v.storage.kind.Size()); v.storage.count > math.MaxInt64/size || v.storage.count*size != data.Size() {
		return tensor.Tensor{}, fmt.Errorf("storage %q of %d × %s has %d bytes: %w", v.storage.key, v.storage.count, v.storage.kind, data.Size(), tensor.ErrShape)
	}
	return tensor.View(v.storage.kind, v.shape, v.strides, v.offset, data, bigEndian)
}

// tensors opens every view in a checkpoint object.
func tensors(root any, find func(*storage) (tensor.Data, error), bigEndian bool) (map[string]tensor.Tensor, error) {
	views, err := flatten(root)
	if err != nil {
		return nil, err
	}
	all := make(map[string]tensor.Tensor, len(views))
	for name, v := range views {
		data, err := find(v.storage)
		if err != nil {
			return nil, fmt.Errorf("tensor %.80q: %w", name, err)
		}
		if all[name], err = v.open(data, bigEndian); err != nil {
			return nil, fmt.Errorf("tensor %.80q: %w", name, err)
		}
	}
	return all, nil
}
