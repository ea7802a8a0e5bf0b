// Package tensor reads arrays out of checkpoint files: a tensor is a typed, strided view over a range of bytes that stay
// in their file until somebody asks for the values. Transposing, permuting and cutting make new views and read nothing.
package tensor

import (
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/tilescout/tilescout/internal/reject"
)

// The reasons to refuse a tensor, whatever the format of its file.
var (
	ErrType      = reject.New("checkpoint", "ErrTensorType", "element type not supported")
	ErrShape     = reject.New("checkpoint", "ErrTensorShape", "sizes of the tensor do not agree")
	ErrRange     = reject.New("checkpoint", "ErrTensorRange", "tensor lies outside its file")
	ErrDuplicate = reject.New("checkpoint", "ErrTensorDuplicate", "tensor is there twice")
	ErrTooMany   = reject.New("checkpoint", "ErrTooManyTensors", "too many tensors")
	ErrName      = reject.New("checkpoint", "ErrTensorName", "tensor has an impossible name")
	ErrNotFinite = reject.New("checkpoint", "ErrNotFinite", "weight is infinite or not a number: the file is damaged or its training diverged")
)

// Limits on what a file may declare. CLIP ViT-H/14 has 906 tensors of at most 4 axes.
const (
	MaxTensors = 10_000
	MaxRank    = 8
	MaxName    = 512
	// maxExpanded is the number of elements that a view may have beyond those of its storage: an axis of stride 0 repeats
	// values, and must not turn a small file into a large allocation.
	maxExpanded = 1 << 20
)

// Data is a run of bytes in a file. *io.SectionReader is one.
type Data interface {
	io.ReaderAt
	Size() int64
}

// Tensor is a view of an array in a file. Its zero value is not one; New and View check what they are given.
type Tensor struct {
	kind    Type
	shape   []int
	strides []int // in elements, one for each axis; 0 repeats
	offset  int64 // of the first element, in elements
	data    Data
	big     bool
}

// New returns the row-major tensor that fills data exactly.
func New(kind Type, shape []int, data Data) (Tensor, error) {
	n, err := Elements(shape)
	if err != nil {
		return Tensor{}, err
	}
	if kind.Size() == 0 {
		return Tensor{}, fmt.Errorf("type %d: %w", kind, ErrType)
	}
	if n > math.MaxInt64/int64(kind.Size()) || n*int64(kind.Size()) != data.Size() {
		return Tensor{}, fmt.Errorf("shape %v of %s does not fill %d bytes: %w", shape, kind, data.Size(), ErrShape)
	}
	return Tensor{kind: kind, shape: slices.Clone(shape), strides: rowMajor(shape), data: data}, nil
}

// View returns a tensor over part of data: its first element is the offset-th, the next along axis i is strides[i]
// elements on. Elements outside data are ErrRange.
func View(kind Type, shape, strides []int, offset int64, data Data, bigEndian bool) (Tensor, error) {
	n, err := Elements(shape)
	if err != nil {
		return Tensor{}, err
	}
	if kind.Size() == 0 {
		return Tensor{}, fmt.Errorf("type %d: %w", kind, ErrType)
	}
	if len(strides) != len(shape) {
		return Tensor{}, fmt.Errorf("%d axes with %d strides: %w", len(shape), len(strides), ErrShape)
	}
	held := data.Size() / int64(kind.Size())
	last := offset
	for i, s := range strides {
		if s < 0 {
			return Tensor{}, fmt.Errorf("stride %d: %w", s, ErrShape)
		}
		if shape[i] < 2 || n == 0 {
			continue
		}
		if int64(s) > held || int64(shape[i]-1) > (math.MaxInt64-max(last, 0))/max(int64(s), 1) {
			return Tensor{}, fmt.Errorf("stride %d of an axis of %d in %d elements: %w", s, shape[i], held, ErrRange)
		}
		last += int64(shape[i]-1) * int64(s)
	}
	if offset < 0 || offset > held || n > 0 && last >= held {
		return Tensor{}, fmt.Errorf("elements %d to %d of %d: %w", offset, last, held, ErrRange)
	}
	if n > held+maxExpanded {
		return Tensor{}, fmt.Errorf("shape %v repeats %d elements: %w", shape, held, ErrShape)
	}
	return Tensor{kind: kind, shape: slices.Clone(shape), strides: slices.Clone(strides), offset: offset, data: data, big: bigEndian}, nil
}

// Elements returns the product of a shape; a negative size, more than MaxRank axes and a product that overflows are ErrShape.
func Elements(shape []int) (int64, error) {
	if len(shape) > MaxRank {
		return 0, fmt.Errorf("%d axes, want at most %d: %w", len(shape), MaxRank, ErrShape)
	}
	if slices.ContainsFunc(shape, func(n int) bool { return n < 0 }) {
		return 0, fmt.Errorf("shape %v: %w", shape, ErrShape)
	}
	if slices.Contains(shape, 0) {
		return 0, nil
	}
	n := int64(1)
	for _, size := range shape {
		if n > math.MaxInt64/8/int64(size) {
			return 0, fmt.Errorf("shape %v: %w", shape, ErrShape)
		}
		n *= int64(size)
	}
	return n, nil
}

func rowMajor(shape []int) []int {
	strides := make([]int, len(shape))
	step := 1
	for i := len(shape) - 1; i >= 0; i-- {
		strides[i] = step
		step *= max(shape[i], 1)
	}
	return strides
}

// Type is the type of the elements.
func (t Tensor) Type() Type { return t.kind }

// Shape returns the sizes of the axes; nobody writes to it.
func (t Tensor) Shape() []int { return t.shape }

// Len is the number of elements.
func (t Tensor) Len() int {
	n := 1
	for _, s := range t.shape {
		n *= s
	}
	return n
}

// Permute returns the view whose axis i is axis axes[i] of t. It panics unless axes is a permutation of t's axes.
func (t Tensor) Permute(axes ...int) Tensor {
	if len(axes) != len(t.shape) {
		panic(fmt.Sprintf("tensor: permute %d axes with %v", len(t.shape), axes))
	}
	shape, strides := make([]int, len(axes)), make([]int, len(axes))
	for i, a := range axes {
		shape[i], strides[i] = t.shape[a], t.strides[a]
	}
	t.shape, t.strides = shape, strides
	return t
}

// Rows returns the view of rows from up to and without to, along the first axis.
func (t Tensor) Rows(from, to int) Tensor {
	if len(t.shape) == 0 || from < 0 || to < from || to > t.shape[0] {
		panic(fmt.Sprintf("tensor: rows %d to %d of %v", from, to, t.shape))
	}
	t.shape = slices.Clone(t.shape)
	t.shape[0] = to - from
	t.offset += int64(from) * int64(t.strides[0])
	return t
}

// contiguous reports whether the elements lie in reading order without gaps.
func (t Tensor) contiguous() bool {
	step := 1
	for i := len(t.shape) - 1; i >= 0; i-- {
		if t.shape[i] > 1 && t.strides[i] != step {
			return false
		}
		step *= t.shape[i]
	}
	return true
}
