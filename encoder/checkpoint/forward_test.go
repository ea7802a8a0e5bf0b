package checkpoint_test

import (
	"math"
	"strconv"
	"testing"

	"github.com/tilescout/tilescout/encoder/checkpoint"
)

// model is a forward pass as one would write it on a blackboard, in float64, to hold the tensors' values, their names and
// the way they lie against the outputs that transformers gives.
type model struct {
	t *testing.T
	c *checkpoint.Checkpoint
	a checkpoint.Architecture
}

// tensor returns the values of a tensor as float64.
func (m model) tensor(name string) []float64 {
	m.t.Helper()
	values, err := m.c.Float32(name, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	wide := make([]float64, len(values))
	for i, v := range values {
		wide[i] = float64(v)
	}
	return wide
}

// linear is rows · Wᵀ + b, with W [out, in] as stored.
func (m model) linear(rows [][]float64, name string, bias bool) [][]float64 {
	w := m.tensor(name + ".weight")
	in := len(rows[0])
	out := len(w) / in
	b := make([]float64, out)
	if bias {
		b = m.tensor(name + ".bias")
	}
	result := make([][]float64, len(rows))
	for r, row := range rows {
		result[r] = make([]float64, out)
		for o := range out {
			sum := b[o]
			for i, v := range row {
				sum += v * w[o*in+i]
			}
			result[r][o] = sum
		}
	}
	return result
}

func (m model) norm(rows [][]float64, name string, epsilon float64) [][]float64 {
	w, b := m.tensor(name+".weight"), m.tensor(name+".bias")
	result := make([][]float64, len(rows))
	for r, row := range rows {
		mean, variance := 0.0, 0.0
		for _, v := range row {
			mean += v / float64(len(row))
		}
		for _, v := range row {
			variance += (v - mean) * (v - mean) / float64(len(row))
		}
		result[r] = make([]float64, len(row))
		for i, v := range row {
			result[r][i] = (v-mean)/math.Sqrt(variance+epsilon)*w[i] + b[i]
		}
	}
	return result
}

func activate(kind string, x float64) float64 {
	if kind == checkpoint.QuickGELU {
		return x / (1 + math.Exp(-1.702*x))
	}
	return x * 0.5 * (1 + math.Erf(x/math.Sqrt2))
}

func add(a, b [][]float64) [][]float64 {
	for r := range a {
		for i := range a[r] {
			a[r][i] += b[r][i]
		}
	}
	return a
}

// block is one pre-norm transformer layer.
func (m model) block(x [][]float64, prefix string, heads int, epsilon float64, activation string, causal bool) [][]float64 {
	h := m.norm(x, prefix+"layer_norm1", epsilon)
	q, k, v := m.linear(h, prefix+"self_attn.q_proj", true), m.linear(h, prefix+"self_attn.k_proj", true), m.linear(h, prefix+"self_attn.v_proj", true)
	width := len(x[0])
	size := width / heads
	mixed := make([][]float64, len(x))
	for r := range x {
		mixed[r] = make([]float64, width)
		for head := range heads {
			from, to := head*size, (head+1)*size
			last := len(x)
			if causal {
				last = r + 1
			}
			weights, total := make([]float64, last), 0.0
			for s := range last {
				dot := 0.0
				for i := from; i < to; i++ {
					dot += q[r][i] * k[s][i]
				}
				weights[s] = math.Exp(dot / math.Sqrt(float64(size)))
				total += weights[s]
			}
			for s, w := range weights {
				for i := from; i < to; i++ {
					mixed[r][i] += w / total * v[s][i]
				}
			}
		}
	}
	x = add(x, m.linear(mixed, prefix+"self_attn.out_proj", true))
	h = m.linear(m.norm(x, prefix+"layer_norm2", epsilon), prefix+"mlp.fc1", true)
	for _, row := range h {
		for i := range row {
			row[i] = activate(activation, row[i])
		}
	}
	return add(x, m.linear(h, prefix+"mlp.fc2", true))
}

// image embeds pixels [3][size][size], without normalising the embedding.
func (m model) image(pixel func(c, y, x int) float64) []float64 {
	a := m.a
	w, p := m.tensor("vision_model.embeddings.patch_embedding.weight"), a.PatchSize
	rows := [][]float64{m.tensor("vision_model.embeddings.class_embedding")}
	for gy := range a.ImageSize / p {
		for gx := range a.ImageSize / p {
			row := make([]float64, a.Width)
			for o := range row {
				for i := range 3 * p * p {
					row[o] += w[o*3*p*p+i] * pixel(i/(p*p), gy*p+i/p%p, gx*p+i%p)
				}
			}
			rows = append(rows, row)
		}
	}
	positions := m.tensor("vision_model.embeddings.position_embedding.weight")
	for r := range rows {
		for i := range rows[r] {
			rows[r][i] += positions[r*a.Width+i]
		}
	}
	rows = m.norm(rows, "vision_model.pre_layrnorm", a.Norm)
	for l := range a.Layers {
		rows = m.block(rows, "vision_model.encoder.layers."+strconv.Itoa(l)+".", a.Heads, a.Norm, a.Activation, false)
	}
	return m.linear(m.norm(rows[:1], "vision_model.post_layernorm", a.Norm), "visual_projection", false)[0]
}

// text embeds token ids that end with the end token.
func (m model) text(ids []int) []float64 {
	a := m.a
	table, positions := m.tensor("text_model.embeddings.token_embedding.weight"), m.tensor("text_model.embeddings.position_embedding.weight")
	rows := make([][]float64, len(ids))
	for r, id := range ids {
		rows[r] = make([]float64, a.TextWidth)
		for i := range rows[r] {
			rows[r][i] = table[id*a.TextWidth+i] + positions[r*a.TextWidth+i]
		}
	}
	for l := range a.TextLayers {
		rows = m.block(rows, "text_model.encoder.layers."+strconv.Itoa(l)+".", a.TextHeads, a.TextNorm, a.TextActivation, true)
	}
	return m.linear(m.norm(rows[len(rows)-1:], "text_model.final_layer_norm", a.TextNorm), "text_projection", false)[0]
}
