// Package verify proves that a model folder gives what its checkpoint would: it runs the graphs and holds them against
// embeddings that encoder/reference computed, and looks at everything else that goes wrong silently.
//
//	checks, err := verify.Folder(ctx, "models/clip-rsicd", verify.Options{})
package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/bpe"
	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/encoder/convert"
	"github.com/tilescout/tilescout/encoder/graph"
)

// Results of a check.
const (
	Pass = "pass"
	Warn = "warn" // works, but may not be what was meant
	Fail = "FAIL"
	Skip = "skip" // nothing to compare with
)

// Check is one row of the table.
type Check struct {
	Name   string `json:"name"`
	Result string `json:"result"`
	Detail string `json:"detail"`
	Do     string `json:"do,omitempty"` // what to do where it did not pass
}

// Options say how the folder is run. The zero value holds it against its own golden.json.
type Options struct {
	Encoder    encoder.Options        // Model is overwritten
	Checkpoint *checkpoint.Checkpoint // computes the reference anew from this; may be nil
}

// Folder checks a model folder. An error means that it could not be looked at all, for want of ONNX Runtime or because
// ctx ended; what is wrong with the folder is in the checks.
func Folder(ctx context.Context, dir string, o Options) ([]Check, error) {
	o.Encoder.Model = dir
	f := &folder{dir: dir, o: o}
	e, err := encoder.Open(ctx, o.Encoder)
	switch {
	case err == nil:
	case errors.Is(err, tilescout.ErrBadInput):
		return []Check{{"files", Fail, err.Error(), "copy or convert the model again"}}, nil
	default:
		return nil, err
	}
	defer e.Close()
	f.e = e
	if err := f.read(ctx); err != nil {
		return nil, err
	}
	f.pass("files", "manifest, hashes, graphs: as they should be, and both towers run")
	for _, check := range []func(context.Context) error{f.images, f.batches, f.texts, f.preprocessing, f.tokenizer, f.activation, f.int8, f.scale} {
		if err := check(ctx); err != nil {
			return f.checks, err
		}
	}
	// The dense output has a session of its own: one model at a time is in memory.
	if err := e.Close(); err != nil {
		return f.checks, err
	}
	err = f.dense(ctx)
	return f.checks, err
}

// Failed counts the checks that did not pass.
func Failed(checks []Check) (n int) {
	for _, c := range checks {
		if c.Result == Fail {
			n++
		}
	}
	return n
}

type folder struct {
	dir    string
	o      Options
	e      *encoder.Encoder
	m      encoder.Manifest
	golden convert.Golden
	from   string // whose embeddings the golden ones are
	checks []Check
}

func (f *folder) add(name, result, do, detail string, args ...any) {
	if result == Pass {
		do = ""
	}
	f.checks = append(f.checks, Check{name, result, fmt.Sprintf(detail, args...), do})
}

func (f *folder) pass(name, detail string, args ...any) { f.add(name, Pass, "", detail, args...) }

// read reads manifest and golden embeddings; a folder that came otherwise than by convert may have other ones or none.
func (f *folder) read(ctx context.Context) error {
	raw, err := os.ReadFile(filepath.Join(f.dir, "model.json"))
	if err == nil {
		err = json.Unmarshal(raw, &f.m)
	}
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	raw, err = os.ReadFile(filepath.Join(f.dir, convert.GoldenFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("verify: %w", err)
	}
	if err == nil {
		if err := json.Unmarshal(raw, &f.golden); err != nil {
			f.add("golden.json", Fail, "convert the model again", "cannot be read: %v", err)
		}
	}
	f.from = "the folder's golden embeddings"
	if c := f.o.Checkpoint; c != nil {
		f.from = "the reference, from the checkpoint"
		if f.golden, err = convert.NewGolden(ctx, c, f.m, f.checkpointTokens(c)); err != nil {
			return fmt.Errorf("verify: reference: %w", err)
		}
	}
	return nil
}

// limits are the least cosines to the reference by precision. Drawn golden pictures are unlike the tiles that int8 was
// fitted to, so its gate for them is wide: that for tiles was at the conversion, and is a check of its own.
func (f *folder) limit(text bool) float64 {
	precision := graph.Float32
	if f.m.Made != nil {
		precision = graph.Precision(f.m.Made.Precision)
	}
	switch {
	case precision == graph.Float32 && f.m.Made != nil:
		return .99999
	case precision == graph.Int8Static && !text || precision == graph.Int8Dynamic && !text:
		return .97
	}
	return .9998
}

// checkpointTokens are by the checkpoint's own vocabulary, or, where there is none beside it, by the folder's.
func (f *folder) checkpointTokens(c *checkpoint.Checkpoint) func(string) ([]int64, error) {
	t := c.Tokenizer()
	if t.Folder == "" {
		return f.e.Tokens
	}
	return func(prompt string) ([]int64, error) {
		tokenizer, err := bpe.Load(t.Folder, bpe.Options{Cleaning: t.Cleaning})
		if err != nil {
			return nil, err
		}
		return convert.Tokens(tokenizer, prompt, c.Architecture().TextContext), nil
	}
}
