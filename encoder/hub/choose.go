package hub

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder/checkpoint"
)

// remote is a file as the hub lists it.
type remote struct {
	path   string
	size   int64  // -1 if unknown
	sha256 string // hex; "" if the hub states none
	gitSHA string // hex SHA-1 of the git blob; "" if unknown
}

// sides are the small files that a checkpoint or a ready ONNX folder is read with.
var sides = []string{
	"config.json", "open_clip_config.json", "preprocessor_config.json", "preprocess_cfg.json",
	"vocab.json", "merges.txt", "tokenizer_config.json", "bpe_simple_vocab_16e6.txt.gz",
}

// choose picks the files that are needed: one set of weights, and what goes with it.
func choose(files []remote, file string) ([]remote, error) {
	byPath := make(map[string]remote, len(files))
	for _, f := range files {
		byPath[f.path] = f
	}
	weights, err := chooseWeights(files, byPath, file)
	if err != nil {
		return nil, err
	}
	chosen := weights
	for _, f := range files {
		dir, name := path.Split(f.path)
		if !slices.Contains(sides, name) && !(name == "tokenizer.json" && !hasMerges(byPath)) {
			continue
		}
		if dir == "" || slices.Contains([]string{"visual/", "textual/", "tokenizer/"}, dir) {
			chosen = append(chosen, f)
		}
	}
	return chosen, nil
}

func hasMerges(byPath map[string]remote) bool {
	_, ok := byPath["merges.txt"]
	return ok
}

// chooseWeights takes the file that was named, else the best of the usual names, else the only one of its kind, else a
// ready pair of ONNX graphs.
func chooseWeights(files []remote, byPath map[string]remote, file string) ([]remote, error) {
	if file != "" {
		f, ok := byPath[file]
		if !ok {
			return nil, fmt.Errorf("no file %.100q in it: %w", file, tilescout.ErrNotFound)
		}
		return []remote{f}, nil
	}
	for _, name := range checkpoint.WeightFiles() {
		if f, ok := byPath[name]; ok {
			return []remote{f}, nil
		}
	}
	var found []remote
	for _, f := range files {
		if !strings.Contains(f.path, "/") && slices.Contains([]string{".pt", ".pth", ".safetensors", ".ckpt"}, path.Ext(f.path)) {
			found = append(found, f)
		}
	}
	if len(found) == 1 {
		return found, nil
	}
	if len(found) > 1 {
		names := make([]string, 0, 6)
		for _, f := range found[:min(len(found), 6)] {
			names = append(names, f.path)
		}
		return nil, fmt.Errorf("has %d weight files; choose one with --file: %s: %w", len(found), strings.Join(names, ", "), tilescout.ErrBadInput)
	}
	for _, pair := range checkpoint.ONNXFiles() {
		image, ok := byPath[pair.Image]
		text, ok2 := byPath[pair.Text]
		if !ok || !ok2 {
			continue
		}
		chosen := []remote{image}
		if text.path != image.path {
			chosen = append(chosen, text)
		}
		for _, f := range files { // weights beside a graph
			if stem, ok := strings.CutSuffix(strings.Replace(f.path, ".onnx.data", ".onnx_data", 1), "_data"); ok && (stem == image.path || stem == text.path) {
				chosen = append(chosen, f)
			}
		}
		return chosen, nil
	}
	return nil, fmt.Errorf("has no weights that can be read (safetensors, PyTorch, flax, ONNX): %w", tilescout.ErrBadInput)
}

// shardsOf returns the files that an index names.
func shardsOf(index string, files []remote) ([]remote, error) {
	f, err := os.Open(index)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list struct {
		Shards map[string]string `json:"weight_map"`
	}
	if err := json.NewDecoder(io.LimitReader(f, maxAnswer)).Decode(&list); err != nil || len(list.Shards) == 0 {
		return nil, fmt.Errorf("no index of shards (%v): %w", err, tilescout.ErrUpstream)
	}
	var shards []remote
	for _, f := range files {
		for _, name := range list.Shards {
			if name == f.path {
				shards = append(shards, f)
				break
			}
		}
	}
	wanted := make(map[string]bool)
	for _, name := range list.Shards {
		wanted[name] = true
	}
	if len(shards) != len(wanted) {
		return nil, fmt.Errorf("names %d shards, of which the hub has %d: %w", len(wanted), len(shards), tilescout.ErrUpstream)
	}
	return shards, nil
}
