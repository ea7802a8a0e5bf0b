package graph

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"
)

// What is kept of a product's input.
const (
	sampleRows   = 256 // tokens
	rowsAPicture = 4   // of which the first is the class token's
)

// samples are what Calibrate has seen of one product's input.
type samples struct {
	channels int
	low      []float32 // least value of each channel
	high     []float32
	rows     [][]float32
	seen     int // rows that could have been kept
	rng      *rand.Rand
}

func newSamples(channels int) *samples {
	return &samples{channels: channels, low: make([]float32, channels), high: make([]float32, channels), rng: rand.New(rand.NewPCG(1, uint64(channels)))}
}

// add looks at the values of n pictures.
func (s *samples) add(values []float32, n int) {
	for row := values; len(row) >= s.channels; row = row[s.channels:] {
		for c, v := range row[:s.channels] {
			s.low[c], s.high[c] = min(s.low[c], v), max(s.high[c], v)
		}
	}
	tokens := len(values) / n / s.channels
	for i := range n {
		for j := range min(rowsAPicture, tokens) {
			t := 0
			if j > 0 {
				t = 1 + s.rng.IntN(tokens-1)
			}
			row := values[(i*tokens+t)*s.channels:][:s.channels]
			s.seen++
			if len(s.rows) < sampleRows {
				s.rows = append(s.rows, append([]float32(nil), row...))
			} else if k := s.rng.IntN(s.seen); k < sampleRows { // each row has the same chance to stay
				copy(s.rows[k], row)
			}
		}
	}
}

// Bounds of the search: sampled rows and outputs on which a choice is judged.
const (
	judgedRows    = 48
	judgedOutputs = 64
)

// chooseRanges tries for each product several strengths of smoothing and several narrower ranges, and keeps those with
// which the product errs least on the samples.
func chooseRanges(ctx context.Context, w Weights, taps []tap, seen []sampler) (Ranges, error) {
	found := make([]Range, len(taps))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, t := range taps {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			matrix, err := columns(w, t)
			if err != nil {
				return err
			}
			found[i] = chooseRange(t, seen[i].(*samples), matrix)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return Ranges{}, err
	}
	r := Ranges{Inputs: make(map[string]Range, len(taps))}
	for i, t := range taps {
		r.Inputs[t.name] = found[i]
	}
	return r, nil
}

// columns loads the matrix of a product as torch has it, one row for each output.
func columns(w Weights, t tap) ([][]float32, error) {
	var rows [][]float32
	for _, p := range t.parts {
		v, err := Load(w, p.weight, t.out, t.channels)
		if err != nil {
			return nil, err
		}
		for ; len(v) > 0; v = v[t.channels:] {
			rows = append(rows, v[:t.channels])
		}
	}
	return rows, nil
}

func chooseRange(t tap, s *samples, matrix [][]float32) Range {
	weights := make([]float32, t.channels) // largest magnitude that each channel is multiplied by
	for _, row := range matrix {
		for c, v := range row {
			weights[c] = max(weights[c], abs(v))
		}
	}
	step := max(1, len(matrix)/judgedOutputs)
	var judged [][]float32
	for i := 0; i < len(matrix); i += step {
		judged = append(judged, matrix[i])
	}
	strengths := []float64{0}
	// Behind a norm a channel can be scaled for nothing.
	if strings.HasSuffix(t.name, ".qkv") || strings.HasSuffix(t.name, ".fc1") {
		strengths = []float64{0, .35, .5, .65, .8}
	}
	best := Range{Error: math.Inf(1)}
	for _, alpha := range strengths {
		smooth := smoothing(s, weights, alpha)
		r := Range{Smooth: smooth}
		for c := range t.channels {
			by := float32(1)
			if smooth != nil {
				by = smooth[c]
			}
			r.Min, r.Max = min(r.Min, s.low[c]/by), max(r.Max, s.high[c]/by)
		}
		for _, shrink := range []float32{1, .85, .7, .55, .4, .3} {
			narrow := r
			narrow.Min, narrow.Max = r.Min*shrink, r.Max*shrink
			if narrow.Error = productError(s.rows, judged, narrow); narrow.Error < best.Error {
				best = narrow
			}
		}
	}
	return best
}

// smoothing of strength alpha moves the spread of channels from the input, 0, to the matrix, 1 (SmoothQuant, Xiao et al.
// 2023, eq. 4); nil for 0.
func smoothing(s *samples, weights []float32, alpha float64) []float32 {
	if alpha == 0 {
		return nil
	}
	out := make([]float32, s.channels)
	for c := range out {
		x, w := max(-s.low[c], s.high[c]), weights[c]
		if x < 1e-6 || w < 1e-6 {
			out[c] = 1
			continue
		}
		out[c] = float32(math.Pow(float64(x), alpha) / math.Pow(float64(w), 1-alpha))
	}
	return out
}

// productError is the mean over rows of |ΔY|²/|Y|² where the product is computed in int8.
func productError(rows, matrix [][]float32, r Range) float64 {
	if len(rows) == 0 {
		return 0
	}
	scale, zero := r.scale()
	quantised := make([][]float32, len(matrix))
	for o, row := range matrix {
		var top float32
		q := make([]float32, len(row))
		for c, v := range row {
			if r.Smooth != nil {
				v *= r.Smooth[c]
			}
			q[c] = v
			top = max(top, abs(v))
		}
		step := top / 127
		for c, v := range q {
			if step > 0 {
				q[c] = roundEven(v/step) * step
			}
		}
		quantised[o] = q
	}
	var total float64
	judged := 0
	for i := 0; i < len(rows); i += max(1, len(rows)/judgedRows) {
		x := rows[i]
		q := make([]float32, len(x))
		for c, v := range x {
			if r.Smooth != nil {
				v /= r.Smooth[c]
			}
			q[c] = (min(max(roundEven(v/scale)+float32(zero), 0), 255) - float32(zero)) * scale
		}
		var off, all float64
		for o, row := range matrix {
			var y, z float32
			for c, v := range row {
				y += x[c] * v
				z += q[c] * quantised[o][c]
			}
			off += float64(y-z) * float64(y-z)
			all += float64(y) * float64(y)
		}
		if all > 0 {
			total += off / all
		}
		judged++
	}
	return total / float64(judged)
}

func abs(v float32) float32 { return float32(math.Abs(float64(v))) }

func roundEven(v float32) float32 { return float32(math.RoundToEven(float64(v))) }
