package checkpoint

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tilescout/tilescout/encoder/checkpoint/msgpack"
	"github.com/tilescout/tilescout/encoder/checkpoint/safetensors"
	"github.com/tilescout/tilescout/encoder/checkpoint/tensor"
	"github.com/tilescout/tilescout/encoder/checkpoint/torchfile"
)

// contents are the tensors of one or several files under their own names.
type contents struct {
	tensors map[string]tensor.Tensor
	format  string
	script  bool // a TorchScript archive
}

// read reads the headers of all weight files.
func (c *Checkpoint) read(ctx context.Context, l location) (contents, error) {
	if l.shards == nil {
		return c.readFile(ctx, l.weights[0])
	}
	all := contents{tensors: make(map[string]tensor.Tensor)}
	for _, path := range l.weights {
		shard := filepath.Base(path)
		one, err := c.readFile(ctx, path)
		if err != nil {
			return contents{}, err
		}
		all.format = one.format + " sharded"
		for name, t := range one.tensors {
			if l.shards[name] != shard {
				return contents{}, fmt.Errorf("%s holds %s, which the index has in %q: %w", shard, name, l.shards[name], tensor.ErrDuplicate)
			}
			all.tensors[name] = t
		}
		if len(all.tensors) > tensor.MaxTensors {
			return contents{}, fmt.Errorf("more than %d: %w", tensor.MaxTensors, tensor.ErrTooMany)
		}
	}
	for name, shard := range l.shards {
		if _, ok := all.tensors[name]; !ok {
			return contents{}, fmt.Errorf("%s is not in %s, where the index has it: %w", name, shard, ErrMissing)
		}
	}
	return all, nil
}

// readFile tells the format by the first bytes: names and endings lie.
func (c *Checkpoint) readFile(ctx context.Context, path string) (contents, error) {
	f, size, err := c.openFile(path)
	if err != nil {
		return contents{}, err
	}
	all, err := readAs(ctx, f, size)
	if err != nil {
		return contents{}, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return all, nil
}

func readAs(ctx context.Context, f *os.File, size int64) (contents, error) {
	var head [16]byte
	n, _ := f.ReadAt(head[:], 0)
	first := head[:n]
	switch {
	case n == 0:
		return contents{}, fmt.Errorf("the file is empty: %w", ErrFormat)
	case bytes.HasPrefix(first, []byte("version https://")):
		return contents{}, fmt.Errorf("a Git LFS pointer in place of the file; get the file itself (git lfs pull): %w", ErrFormat)
	case bytes.HasPrefix(bytes.TrimLeft(first, " \t\r\n"), []byte("<")):
		return contents{}, fmt.Errorf("an HTML page in place of the file; get it again: %w", ErrFormat)
	case n > 8 && (first[8] == '{' || first[8] == ' ') && first[5]|first[6]|first[7] == 0: // a length below 2^40, then JSON
		t, err := safetensors.Read(f, size)
		return contents{tensors: t, format: "safetensors"}, err
	case torchfile.Sniff(first):
		t, err := torchfile.Read(f, size)
		return contents{tensors: t.Tensors, format: t.Format, script: t.Format == torchfile.Script}, err
	case msgpack.Sniff(first):
		t, err := msgpack.Read(ctx, f, size)
		return contents{tensors: t, format: "flax msgpack"}, err
	}
	return contents{}, fmt.Errorf("starts with % x, want safetensors, a PyTorch file or flax's msgpack: %w", first[:min(n, 4)], ErrFormat)
}
