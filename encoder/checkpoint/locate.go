package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tilescout/tilescout"
)

// Caps on the side files of a checkpoint, in bytes.
const (
	maxConfig = 1 << 20
	maxIndex  = 8 << 20
	maxShards = 256
)

// location is which files of a folder make the checkpoint.
type location struct {
	dir     string
	weights []string          // paths; several if sharded
	shards  map[string]string // tensor → base name of its shard; nil if not sharded
}

// preferred are the weight files of a folder, best first: those of transformers in its own order, then flax's, then
// open_clip's. An index names the shards.
var preferred = []string{
	"open_clip_model.safetensors", "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json",
	"flax_model.msgpack", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin", "open_clip_pytorch_model.pth",
	"pytorch_model.pth", "model.pth", "model.pt",
}

// WeightFiles returns the names of weight files in the order in which a folder's is chosen.
func WeightFiles() []string { return slices.Clone(preferred) }

// locate finds the weights in a folder, or takes a file as it is. A folder whose only weight file has a name of its own
// (epoch_32.pt) is clear enough.
func locate(path string) (location, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return location{}, fmt.Errorf("no such file or folder: %w", tilescout.ErrNotFound)
	}
	if err != nil {
		return location{}, err
	}
	if !info.IsDir() {
		if strings.HasSuffix(path, ".index.json") {
			return location{dir: filepath.Dir(path)}.sharded(filepath.Base(path))
		}
		return location{dir: filepath.Dir(path), weights: []string{path}}, nil
	}
	l := location{dir: path}
	for _, name := range preferred {
		if !isFile(filepath.Join(path, name)) {
			continue
		}
		if strings.HasSuffix(name, ".index.json") {
			return l.sharded(name)
		}
		l.weights = []string{filepath.Join(path, name)}
		return l, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return location{}, err
	}
	for _, e := range entries {
		if slices.Contains([]string{".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".msgpack"}, filepath.Ext(e.Name())) && isFile(filepath.Join(path, e.Name())) {
			l.weights = append(l.weights, filepath.Join(path, e.Name()))
		}
	}
	if len(l.weights) > 1 {
		return location{}, fmt.Errorf("%d weight files (%s, %s, …); name the one that you mean: %w",
			len(l.weights), filepath.Base(l.weights[0]), filepath.Base(l.weights[1]), ErrFolder)
	}
	if len(l.weights) == 0 {
		if o, err := FindONNX(path); err == nil {
			return location{}, fmt.Errorf("as %s has them: %w", o.Layout, ErrONNX)
		}
		return location{}, fmt.Errorf("no weights in it (model.safetensors, pytorch_model.bin, flax_model.msgpack, a .pt file): %w", ErrFolder)
	}
	return l, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// sharded reads an index: which shard holds which tensor. Shards lie beside it.
func (l location) sharded(index string) (location, error) {
	raw, err := readSmall(filepath.Join(l.dir, index), maxIndex)
	if err != nil {
		return l, err
	}
	var file struct {
		Shards map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return l, fmt.Errorf("%s: %v: %w", index, err, ErrConfig)
	}
	if len(file.Shards) == 0 {
		return l, fmt.Errorf("%s has no weight_map: %w", index, ErrConfig)
	}
	l.shards = file.Shards
	var names []string
	for _, shard := range file.Shards {
		if shard == "" || shard == "." || shard == ".." || strings.ContainsAny(shard, `/\:`) {
			return l, fmt.Errorf("%s names the shard %.80q, want a file beside it: %w", index, shard, ErrConfig)
		}
		names = append(names, shard)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > maxShards {
		return l, fmt.Errorf("%s names %d shards: %w", index, len(names), ErrConfig)
	}
	for _, name := range names {
		path := filepath.Join(l.dir, name)
		if !isFile(path) {
			return l, fmt.Errorf("%s names %s, which is not there; get it again: %w", index, name, ErrFolder)
		}
		l.weights = append(l.weights, path)
	}
	return l, nil
}
