package graph

import (
	"context"
	"fmt"
	"slices"

	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/internal/reject"
)

// Reasons to refuse a checkpoint.
var (
	ErrArchitecture = reject.New("checkpoint", "ErrUnsupportedArchitecture", "architecture is not supported")
	ErrShape        = reject.New("checkpoint", "ErrShape", "tensor does not fit the architecture")
	ErrNotFinite    = reject.New("checkpoint", "ErrNotFinite", "tensor holds NaN or infinite values")
)

// Weights are the tensors of a checkpoint under their canonical names: those of transformers' CLIPModel with torch's
// layouts, and for a ModifiedResNet those of openai/CLIP below "visual.".
type Weights interface {
	// Shape is the shape of a tensor, nil if there is none of that name.
	Shape(name string) []int
	// Float32 returns a tensor's values in reading order, in dst where it has room.
	Float32(name string, dst []float32) ([]float32, error)
}

// builder turns tensors into nodes. Its methods note the first error in file.err and go on, so that the towers read
// like the forward pass that they write.
type builder struct {
	*file
	ctx       context.Context
	w         Weights
	precision Precision
	ranges    Ranges                    // of the inputs of products, for Int8Static
	tap       func(t tap, value string) // is shown the inputs of products; nil unless calibrating
	quantised map[string][3]string      // by range and value: quantised value, scale, zero point
}

// load returns a tensor, whose shape must be the given one.
func (b *builder) load(name string, shape ...int) []float32 {
	n := 1
	for _, d := range shape {
		n *= d
	}
	if b.err != nil {
		return make([]float32, n)
	}
	if err := b.ctx.Err(); err != nil {
		b.fail(err)
		return make([]float32, n)
	}
	v, err := Load(b.w, name, shape...)
	if err != nil {
		b.fail(err)
		return make([]float32, n)
	}
	return v
}

// Load returns a tensor of the given shape, all of it finite.
func Load(w Weights, name string, shape ...int) ([]float32, error) {
	got := w.Shape(name)
	if got == nil {
		return nil, fmt.Errorf("graph: the checkpoint has no tensor %s: is it a CLIP model, with both towers?: %w", name, ErrShape)
	}
	if !slices.Equal(got, shape) {
		return nil, fmt.Errorf("graph: tensor %s has shape %v, want %v: %w", name, got, shape, ErrShape)
	}
	v, err := w.Float32(name, nil)
	if err != nil {
		return nil, fmt.Errorf("graph: tensor %s: %w", name, err)
	}
	n := 1
	for _, d := range shape {
		n *= d
	}
	if len(v) != n {
		return nil, fmt.Errorf("graph: tensor %s has %d values, want %d: %w", name, len(v), n, ErrShape)
	}
	for i, x := range v {
		if x-x != 0 { // NaN or infinite
			return nil, fmt.Errorf("graph: tensor %s: value %d is %v: the checkpoint is damaged, or its training diverged: %w", name, i, x, ErrNotFinite)
		}
	}
	return v, nil
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf("graph: %s: %w", fmt.Sprintf(format, args...), ErrArchitecture)
}

// supported refuses what the towers cannot express. Sizes were bounded when the checkpoint was opened.
func supported(a checkpoint.Architecture) error {
	known := []string{checkpoint.QuickGELU, checkpoint.GELU, checkpoint.TanhGELU}
	switch {
	case a.Kind != checkpoint.ViT && a.Kind != checkpoint.ResNet:
		return unsupported("image tower of kind %q: want vit or resnet", a.Kind)
	case !slices.Contains(known, a.TextActivation) || a.Kind == checkpoint.ViT && !slices.Contains(known, a.Activation):
		return unsupported("activation %q and %q: want one of %v", a.Activation, a.TextActivation, known)
	case a.Kind == checkpoint.ViT && (a.Heads < 1 || a.PatchSize < 1 || a.Width%a.Heads != 0) || a.TextHeads < 1 || a.TextWidth%a.TextHeads != 0:
		return unsupported("widths %d and %d do not divide by %d and %d heads", a.Width, a.TextWidth, a.Heads, a.TextHeads)
	}
	return nil
}
