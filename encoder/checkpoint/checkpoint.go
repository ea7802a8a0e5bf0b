// Package checkpoint reads CLIP checkpoints in the files in which they are published, and gives all of them one
// architecture and one set of tensor names. Nothing in a file is ever run.
//
//	c, err := checkpoint.Open(ctx, "clip-rsicd", checkpoint.Options{})
//	defer c.Close()
//	a := c.Architecture()                                       // ViT, 224 pixels, 12 layers, …
//	w, err := c.Float32("visual_projection.weight", nil)        // [a.Dimension, a.Width]
//
// Names and shapes are those of CLIPModel in transformers for both towers of a ViT and for the text tower of a ResNet,
// whose image tower keeps the names that its authors gave it (visual.layer1.0.conv1.weight). Values stay in the file
// until they are asked for, one tensor at a time.
package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder/checkpoint/tensor"
	"github.com/tilescout/tilescout/internal/reject"
)

// The reasons to refuse a checkpoint as a whole; tensor and the packages of the formats have theirs.
var (
	ErrMissing     = reject.New("checkpoint", "ErrTensorMissing", "a tensor that every CLIP checkpoint has is missing")
	ErrUnsupported = reject.New("checkpoint", "ErrArchitecture", "architecture not supported")
	ErrConfig      = reject.New("checkpoint", "ErrConfig", "config is not that of a CLIP model")
	ErrFormat      = reject.New("checkpoint", "ErrFormat", "not a checkpoint in a known format")
	ErrONNX        = reject.New("checkpoint", "ErrReadyONNX", "ready ONNX graphs, no checkpoint")
	ErrFolder      = reject.New("checkpoint", "ErrFolder", "folder lacks a file of the model")
	ErrLogitScale  = reject.New("checkpoint", "ErrLogitScale", "logit scale is out of range")
)

// Options says what a checkpoint does not say of itself. The zero value leaves everything to the files.
type Options struct {
	// Activation overrides that of both towers: quick_gelu, gelu or gelu_tanh. Bare weight files do not name theirs, and
	// the wrong one costs accuracy without any error.
	Activation string
}

// Checkpoint is an open checkpoint. Its methods may be called by several goroutines at once.
type Checkpoint struct {
	path         string
	format       string
	architecture Architecture
	scale        float64
	tensors      map[string]parts
	unused       []string
	tokenizer    Tokenizer
	preprocess   Preprocessing
	files        []*os.File
}

// parts are views that make one tensor when they are put one below the other along the first axis.
type parts []tensor.Tensor

func (p parts) shape() []int {
	shape := slices.Clone(p[0].Shape())
	for _, t := range p[1:] {
		shape[0] += t.Shape()[0]
	}
	return shape
}

// Open opens the checkpoint in a folder or a file. Which file of a folder counts is decided as transformers and open_clip
// do it; the config beside a file is used if there is one, else the architecture follows from the tensors' shapes.
// A folder or file that is not there is tilescout.ErrNotFound, one that is not a whole, supported CLIP checkpoint
// tilescout.ErrBadInput. Reads headers only: whether all weights are finite shows when they are read, see Check.
func Open(ctx context.Context, path string, o Options) (*Checkpoint, error) {
	c := &Checkpoint{path: path}
	if err := c.open(ctx, o); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("checkpoint %s: %w", path, err)
	}
	return c, nil
}

func (c *Checkpoint) open(ctx context.Context, o Options) error {
	if o.Activation != "" && !slices.Contains(activations, o.Activation) {
		return fmt.Errorf("activation %q: want one of %v: %w", o.Activation, activations, tilescout.ErrBadInput)
	}
	l, err := locate(c.path)
	if err != nil {
		return err
	}
	raw, err := c.read(ctx, l)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	named, err := canonical(raw.tensors)
	if err != nil {
		return err
	}
	cfg, err := readConfigs(l)
	if err != nil {
		return err
	}
	if c.architecture, err = describe(named, cfg, hint{file: l.weights[0], script: raw.script}, o); err != nil {
		return err
	}
	if c.tensors, c.unused, err = check(named.tensors, c.architecture); err != nil {
		return err
	}
	c.format = raw.format
	if named.dialect != "" {
		c.format = named.dialect + " " + raw.format
	}
	c.preprocess, c.tokenizer = cfg.preprocessing(c.architecture), findTokenizer(l, named.dialect)
	stored, err := c.Float32("logit_scale", nil)
	if err != nil {
		return err
	}
	c.scale = math.Exp(float64(stored[0]))
	if c.scale < 1e-3 || c.scale > 1e4 { // OpenAI clamps to 100 while training
		return fmt.Errorf("exp(%g): %w", stored[0], ErrLogitScale)
	}
	return nil
}

// Architecture is what the checkpoint's config and shapes say of its towers.
func (c *Checkpoint) Architecture() Architecture { return c.architecture }

// Format names the files' format, such as "safetensors", "open_clip pytorch zip" or "flax msgpack".
func (c *Checkpoint) Format() string { return c.format }

// LogitScale is the factor by which cosines are multiplied before a softmax.
func (c *Checkpoint) LogitScale() float64 { return c.scale }

// Preprocessing is how a picture becomes the image tower's input.
func (c *Checkpoint) Preprocessing() Preprocessing { return c.preprocess }

// Tokenizer says where the vocabulary is and by which rules text is cut.
func (c *Checkpoint) Tokenizer() Tokenizer { return c.tokenizer }

// Names lists the tensors, sorted.
func (c *Checkpoint) Names() []string { return slices.Sorted(maps.Keys(c.tensors)) }

// Unused lists tensors of the file that are no part of a CLIP model (buffers, an optimiser's), sorted, as the file names them.
func (c *Checkpoint) Unused() []string { return c.unused }

// Shape returns the sizes of a tensor's axes; nil if there is none of that name. A scalar has shape [].
func (c *Checkpoint) Shape(name string) []int {
	p, ok := c.tensors[name]
	if !ok {
		return nil
	}
	return p.shape()
}

// Float32 returns the values of a tensor in reading order, in dst's memory where that is large enough. A value that is
// infinite or not a number is refused with the tensor's name. Memory beyond dst: 256 KiB, or the bytes of the tensor
// where the file holds it transposed.
func (c *Checkpoint) Float32(name string, dst []float32) ([]float32, error) {
	p, ok := c.tensors[name]
	if !ok {
		return nil, fmt.Errorf("tensor %s: %w", name, tilescout.ErrNotFound)
	}
	dst = dst[:0]
	n := 0
	for _, t := range p {
		n += t.Len()
	}
	dst = slices.Grow(dst, n)
	var err error
	for _, t := range p {
		if dst, err = t.Append(dst); err != nil {
			return nil, fmt.Errorf("tensor %s: %w", name, err)
		}
	}
	return dst, nil
}

// Check reads every tensor once, so that a checkpoint with a damaged weight is refused before work begins.
func (c *Checkpoint) Check(ctx context.Context) error {
	var buffer []float32
	for _, name := range c.Names() {
		if err := ctx.Err(); err != nil {
			return err
		}
		values, err := c.Float32(name, buffer)
		if err != nil {
			return fmt.Errorf("checkpoint %s: %w", c.path, err)
		}
		buffer = values
	}
	return nil
}

// Close closes the files. Tensors cannot be read afterwards.
func (c *Checkpoint) Close() error {
	var all []error
	for _, f := range c.files {
		all = append(all, f.Close())
	}
	c.files = nil
	return errors.Join(all...)
}

// openFile opens a file of the checkpoint; Close closes it.
func (c *Checkpoint) openFile(path string) (*os.File, int64, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, 0, fmt.Errorf("%s is not there: %w", filepath.Base(path), ErrFolder)
	}
	if err != nil {
		return nil, 0, err
	}
	c.files = append(c.files, f)
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is no regular file: %w", filepath.Base(path), ErrFormat)
	}
	return f, info.Size(), nil
}

// readSmall reads a whole JSON or text file of at most limit bytes.
func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes: %w", filepath.Base(path), limit, ErrConfig)
	}
	return raw, nil
}
