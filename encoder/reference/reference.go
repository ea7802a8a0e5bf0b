// Package reference computes CLIP's forward pass the plain way, straight from a checkpoint's tensors, to prove that the
// graphs which run are right. It shares no code with encoder/graph: nothing is merged, folded, cut short or quantised.
//
//	pictures, err := reference.Images(ctx, c, c.Architecture(), [][]float32{pixels})
//	texts, err := reference.Texts(ctx, c, c.Architecture(), [][]int64{ids})
//
// It is slow: about a second for each two billion multiplications of a core.
package reference

import (
	"context"
	"fmt"
	"math"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder/checkpoint"
)

// Weights are a checkpoint's tensors.
type Weights interface {
	Shape(name string) []int
	Float32(name string, dst []float32) ([]float32, error)
}

// Picture is what the image tower makes of one picture.
type Picture struct {
	Embedding []float32   // unit length
	Patches   [][]float32 // unit length, row by row: NACLIP's for a ViT, MaskCLIP's for a ResNet
}

// tower runs layers over a batch, so that each tensor is read once.
type tower struct {
	ctx context.Context
	w   Weights
	err error
}

// matrix is rows of equal width: tokens by channels.
type matrix struct {
	rows, width int
	v           []float32
}

func newMatrix(rows, width int) matrix { return matrix{rows, width, make([]float32, rows*width)} }

func (m matrix) row(i int) []float32 { return m.v[i*m.width : (i+1)*m.width] }

// get reads a tensor of n values. After an error it gives zeros, so that the pass can be written without a check on
// every line; the error is returned at the end.
func (t *tower) get(name string, n int) []float32 {
	if t.err == nil {
		t.err = t.ctx.Err()
	}
	if t.err == nil {
		v, err := t.w.Float32(name, nil)
		if err == nil && len(v) == n {
			return v
		}
		if err == nil {
			err = fmt.Errorf("%d values, want %d: %w", len(v), n, tilescout.ErrBadInput)
		}
		t.err = fmt.Errorf("reference: tensor %s: %w", name, err)
	}
	return make([]float32, n)
}

// linear is x·Wᵀ + b with W [out, in] as torch keeps it.
func (t *tower) linear(x []matrix, name string, out int, bias bool) []matrix {
	in := x[0].width
	w := t.get(name+".weight", out*in)
	b := make([]float32, out)
	if bias {
		b = t.get(name+".bias", out)
	}
	y := make([]matrix, len(x))
	for i, m := range x {
		y[i] = multiply(m, w, b, out)
	}
	return y
}

// multiply is x·Wᵀ + b on all cores.
func multiply(x matrix, w, b []float32, out int) matrix {
	y := newMatrix(x.rows, out)
	in := x.width
	var g errgroup.Group
	parts := runtime.GOMAXPROCS(0)
	for p := range parts {
		g.Go(func() error {
			for o := out * p / parts; o < out*(p+1)/parts; o++ {
				for r := range x.rows {
					y.v[r*out+o] = dot(x.row(r), w[o*in:(o+1)*in]) + b[o]
				}
			}
			return nil
		})
	}
	_ = g.Wait()
	return y
}

// dot adds in four lanes, and in float64 beyond a few hundred products: the sum is closer to the true one than any
// order of float32 additions of the graph's.
func dot(a, b []float32) float32 {
	var sum float64
	b = b[:len(a)]
	for len(a) >= 4 {
		n := min(len(a), 256) &^ 3
		var s0, s1, s2, s3 float32
		for i := 0; i < n; i += 4 {
			x, y := a[i:i+4:i+4], b[i:i+4:i+4]
			s0 += x[0] * y[0]
			s1 += x[1] * y[1]
			s2 += x[2] * y[2]
			s3 += x[3] * y[3]
		}
		sum += float64(s0) + float64(s1) + float64(s2) + float64(s3)
		a, b = a[n:], b[n:]
	}
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return float32(sum)
}

// norm is layer normalisation.
func (t *tower) norm(x []matrix, name string, epsilon float64) []matrix {
	gamma, beta := t.get(name+".weight", x[0].width), t.get(name+".bias", x[0].width)
	y := make([]matrix, len(x))
	for i, m := range x {
		y[i] = newMatrix(m.rows, m.width)
		for r := range m.rows {
			in, out := m.row(r), y[i].row(r)
			var mean, variance float64
			for _, v := range in {
				mean += float64(v)
			}
			mean /= float64(len(in))
			for _, v := range in {
				variance += (float64(v) - mean) * (float64(v) - mean)
			}
			scale := 1 / math.Sqrt(variance/float64(len(in))+epsilon)
			for c, v := range in {
				out[c] = float32((float64(v)-mean)*scale)*gamma[c] + beta[c]
			}
		}
	}
	return y
}

func activate(x []matrix, kind string) {
	f := func(v float64) float64 { return v / (1 + math.Exp(-1.702*v)) }
	switch kind {
	case checkpoint.GELU:
		f = func(v float64) float64 { return v * .5 * (1 + math.Erf(v/math.Sqrt2)) }
	case checkpoint.TanhGELU:
		f = func(v float64) float64 {
			return v * .5 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+.044715*v*v*v)))
		}
	}
	for _, m := range x {
		for i, v := range m.v {
			m.v[i] = float32(f(float64(v)))
		}
	}
}

// attention of queries to keys, head by head; bias(i, j) is added to the logit of query i for key j.
func attention(q, k, v []matrix, heads int, bias func(i, j int) float64) []matrix {
	y := make([]matrix, len(q))
	for n := range q {
		y[n] = newMatrix(q[n].rows, v[n].width)
		width := q[n].width / heads
		scale := 1 / math.Sqrt(float64(width))
		weights := make([]float64, k[n].rows)
		for h := range heads {
			for i := range q[n].rows {
				top := math.Inf(-1)
				for j := range weights {
					weights[j] = float64(dot(q[n].row(i)[h*width:(h+1)*width], k[n].row(j)[h*width:(h+1)*width])) * scale
					if bias != nil {
						weights[j] += bias(i, j)
					}
					top = max(top, weights[j])
				}
				var sum float64
				for j, l := range weights {
					weights[j] = math.Exp(l - top)
					sum += weights[j]
				}
				out := y[n].row(i)[h*width : (h+1)*width]
				acc := make([]float64, width)
				for j, p := range weights {
					for c, x := range v[n].row(j)[h*width : (h+1)*width] {
						acc[c] += p / sum * float64(x)
					}
				}
				for c, x := range acc {
					out[c] = float32(x)
				}
			}
		}
	}
	return y
}

func add(x, y []matrix) []matrix {
	z := make([]matrix, len(x))
	for i := range x {
		z[i] = newMatrix(x[i].rows, x[i].width)
		for j := range x[i].v {
			z[i].v[j] = x[i].v[j] + y[i].v[j]
		}
	}
	return z
}

// block is one transformer block over all tokens.
func (t *tower) block(x []matrix, layer string, heads, hidden int, epsilon float64, activation string, bias func(i, j int) float64) []matrix {
	width := x[0].width
	y := t.norm(x, layer+".layer_norm1", epsilon)
	q := t.linear(y, layer+".self_attn.q_proj", width, true)
	k := t.linear(y, layer+".self_attn.k_proj", width, true)
	v := t.linear(y, layer+".self_attn.v_proj", width, true)
	x = add(x, t.linear(attention(q, k, v, heads, bias), layer+".self_attn.out_proj", width, true))
	y = t.linear(t.norm(x, layer+".layer_norm2", epsilon), layer+".mlp.fc1", hidden, true)
	activate(y, activation)
	return add(x, t.linear(y, layer+".mlp.fc2", width, true))
}

func unit(v []float32) []float32 {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	length := math.Sqrt(sum)
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(float64(x) / length)
	}
	return out
}
