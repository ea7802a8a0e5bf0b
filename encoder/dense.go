package encoder

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder/onnxruntime"
)

// Dense embeds the parts of a picture: the image tower's output before it is pooled, one unit-length embedding for each
// cell of a square grid over the model's input. It has a session of its own, so that the way of whole pictures does not
// pay for it. Its methods are safe for concurrent use; runs follow one another.
type Dense struct {
	side, dimension, size int
	resizer               *resizer
	scratch               scratchPool
	mu                    sync.Mutex // guards session: a run has the cores to itself
	session               *onnxruntime.Session
}

// denseBatch pictures go through one run.
const denseBatch = 8

// OpenDense reads a model as Open does and makes the dense output of its image tower ready. A model without one is
// tilescout.ErrUnavailable.
func OpenDense(ctx context.Context, o Options) (*Dense, error) {
	rt, f, err := prepare(ctx, o)
	if err != nil {
		return nil, err
	}
	output := f.manifest.Image.Dense
	if output == "" {
		return nil, fmt.Errorf("model %s has no dense output: %w", f.name, tilescout.ErrUnavailable)
	}
	cells, err := outputCells(f.image, output)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", f.name, err)
	}
	so := f.sessionOptions(o)
	so.Input, so.Outputs = f.manifest.Image.Input, []string{output}
	session, err := rt.NewSession(f.image, so)
	if err != nil {
		return nil, fmt.Errorf("model %s: %s: %w", f.name, f.manifest.Image.File, err)
	}
	return &Dense{
		side: cells, dimension: f.model.Dimension, size: f.model.InputSize,
		resizer: newResizer(f.preprocess), session: session,
	}, nil
}

// Side is the number of cells along a side of the grid.
func (d *Dense) Side() int { return d.side }

// Close frees the model; it must come after the last Cells.
func (d *Dense) Close() error { return d.session.Close() }

// Cells returns the unit-length embeddings of each picture's cells, row by row from the north-west.
// Shape: len(pics) × Side()² × dimension. The first picture that cannot be decoded ends the call.
func (d *Dense) Cells(ctx context.Context, pics []tilescout.Picture) ([][][]float32, error) {
	out := make([][][]float32, 0, len(pics))
	for len(pics) > 0 {
		batch := pics[:min(denseBatch, len(pics))]
		pics = pics[len(batch):]
		rows, err := d.run(ctx, batch)
		if err != nil {
			return nil, fmt.Errorf("encoder: dense output: %w", err)
		}
		out = append(out, rows...)
	}
	return out, nil
}

func (d *Dense) run(ctx context.Context, pics []tilescout.Picture) ([][][]float32, error) {
	bytes, cells := d.size*d.size*3, d.side*d.side
	input := make([]byte, len(pics)*bytes+slack)
	s := d.scratch.get()
	defer d.scratch.put(s)
	for i, p := range pics {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := s.decode(p.Data); err != nil {
			return nil, err
		}
		d.resizer.resize(input[i*bytes:], &s.pixels, s)
	}
	n := len(pics)
	rows := make([]float32, n*cells*d.dimension)
	d.mu.Lock()
	err := onnxruntime.Run(ctx, d.session, input[:n*bytes], []int64{int64(n), int64(d.size), int64(d.size), 3},
		[]onnxruntime.Output{{Shape: []int64{int64(n), int64(cells), int64(d.dimension)}, Data: rows}}, time.Minute)
	d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	out := make([][][]float32, n)
	for i := range out {
		out[i] = make([][]float32, cells)
		for c := range out[i] {
			at := (i*cells + c) * d.dimension
			out[i][c] = rows[at : at+d.dimension : at+d.dimension]
			if err := unit(out[i][c]); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// Field numbers of onnx.proto3: TensorShapeProto.Dimension.dim_value.
const dimValue = 1

// outputCells reads from the graph how many cells a side its dense output [B, cells, dimension] has.
func outputCells(model []byte, output string) (side int, err error) {
	cells := uint64(0)
	err = fields(model, func(num protowire.Number, graph []byte, _ uint64) error {
		if num != modelGraph {
			return nil
		}
		return fields(graph, func(num protowire.Number, v []byte, _ uint64) error {
			if num != graphOutput {
				return nil
			}
			if name, _, _, err := value(v); err != nil || name != output {
				return err
			}
			axis := 0
			return shape(v, func(dim []byte) error {
				axis++
				if axis != 2 {
					return nil
				}
				return fields(dim, func(num protowire.Number, _ []byte, n uint64) error {
					if num == dimValue {
						cells = n
					}
					return nil
				})
			})
		})
	})
	if err != nil {
		return 0, err
	}
	side = int(math.Sqrt(float64(min(cells, maxInputSize*maxInputSize))))
	if side < 1 || uint64(side*side) != cells {
		return 0, refuse("its output %q has %d cells, want a square number of them", output, cells)
	}
	return side, nil
}

// shape calls f for every dimension of a ValueInfoProto.
func shape(v []byte, f func(dim []byte) error) error {
	return fields(v, func(num protowire.Number, v []byte, _ uint64) error {
		if num != valueType {
			return nil
		}
		return fields(v, func(num protowire.Number, v []byte, _ uint64) error {
			if num != typeTensor {
				return nil
			}
			return fields(v, func(num protowire.Number, v []byte, _ uint64) error {
				if num != tensorShape {
					return nil
				}
				return fields(v, func(num protowire.Number, v []byte, _ uint64) error {
					if num != shapeDim {
						return nil
					}
					return f(v)
				})
			})
		})
	})
}
