package graph

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/tilescout/tilescout/encoder/checkpoint"
)

// planeSamples are what Calibrate has seen of one layer of a ResNet.
type planeSamples struct {
	low, high float32
	values    []float32
	rng       *rand.Rand
}

// valuesAPicture of a plane are kept.
const valuesAPicture = 512

func newPlaneSamples(channels int) *planeSamples {
	return &planeSamples{rng: rand.New(rand.NewPCG(2, uint64(channels)))}
}

func (s *planeSamples) add(values []float32, n int) {
	for _, v := range values {
		s.low, s.high = min(s.low, v), max(s.high, v)
	}
	for range n * valuesAPicture {
		s.values = append(s.values, values[s.rng.IntN(len(values))])
	}
}

// planeRanges finds for each layer the range of its output with which the squares of the errors are least, and how much
// the layer errs in int8, by the rounding of its weights and of its output. All layers are measured but the first, whose
// input is in float; its output has a range, for the second.
func planeRanges(ctx context.Context, w Weights, a checkpoint.Architecture, taps []tap, seen []sampler) (Ranges, error) {
	r := Ranges{Inputs: make(map[string]Range, len(taps))}
	b := &builder{file: newFile(nil, ""), ctx: ctx, w: w}
	for i, t := range taps {
		if err := ctx.Err(); err != nil {
			return Ranges{}, err
		}
		found := seen[i].(*planeSamples).choose()
		switch {
		case t.name == "visual.conv1":
			found.Float, found.Error = true, 0
		case !strings.HasSuffix(t.name, ".sum"):
			norm := strings.Replace(t.name, ".conv", ".bn", 1)
			if d, ok := strings.CutSuffix(t.name, ".downsample.0"); ok {
				norm = d + ".downsample.1"
			}
			shape := w.Shape(t.name + ".weight")
			if len(shape) != 4 {
				return Ranges{}, unsupported("convolution %s of shape %v", t.name, shape)
			}
			k, bias := b.folded(t.name, norm, kernel{shape[1], shape[0], shape[2], 1})
			found.Error += weightError(k, bias, shape[0])
		}
		r.Inputs[t.name] = found
	}
	return r, b.err
}

// choose tries narrower ranges than that of the extremes: a few values beyond are cut, all others are finer.
func (s *planeSamples) choose() Range {
	best := Range{Error: math.Inf(1)}
	for _, shrink := range []float32{1, .9, .8, .7, .6, .5, .4, .3} {
		r := Range{Min: s.low * shrink, Max: s.high * shrink}
		step, zero := r.scale()
		var off, all float64
		for _, v := range s.values {
			q := min(max(math.RoundToEven(float64(v)/float64(step))+float64(zero), 0), 255)
			d := (q-float64(zero))*float64(step) - float64(v)
			off += d * d
			all += float64(v) * float64(v)
		}
		if r.Error = off / max(all, 1e-30); r.Error < best.Error {
			best = r
		}
	}
	return best
}

// weightError is the share of the weights' squares that rounding them is.
func weightError(w, bias []float32, rows int) float64 {
	q, scales := quantiseRows(w, bias, rows, 1)
	n := len(w) / rows
	var off, all float64
	for i, v := range w {
		d := float64(int8(q[i]))*float64(scales[i/n]) - float64(v)
		off += d * d
		all += float64(v) * float64(v)
	}
	return off / max(all, 1e-30)
}
