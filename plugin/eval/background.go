package eval

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/plugin/search"
)

// background scores pictures as the search engine does: the probability of a phrase against the model's vocabulary
// without its synonyms (docs/search.md). A test holds it against the engine.
type background struct {
	model    encoder.Model
	scale    float64
	limit    float64 // cosine from which a concept means the same as a phrase
	concepts []asked
}

// newBackground embeds the vocabulary; nil if the model has none.
func newBackground(ctx context.Context, enc Encoder, m encoder.Model) (*background, error) {
	if len(m.Concepts) == 0 {
		return nil, nil
	}
	b := &background{model: m, scale: m.Calibration.Scale, limit: m.Calibration.Synonym}
	if b.scale <= 0 {
		b.scale = m.LogitScale
	}
	if b.limit <= 0 {
		b.limit = .9
	}
	templates, err := checkTemplates(nil, m)
	if err != nil {
		return nil, err
	}
	phrases := make([]string, len(m.Concepts))
	for i, c := range m.Concepts {
		phrases[i] = search.Normalize(c.Phrase)
	}
	b.concepts, err = embedPhrases(ctx, enc, phrases, templates)
	return b, err
}

// same marks the concepts that mean what a phrase means.
func (b *background) same(phrase string, v []float32) []bool {
	phrase = search.Normalize(phrase)
	out := make([]bool, len(b.concepts))
	for i, c := range b.model.Concepts {
		out[i] = dot(b.concepts[i].vector, v) >= b.limit || strings.EqualFold(c.Phrase, phrase)
		for _, s := range c.Synonyms {
			out[i] = out[i] || strings.EqualFold(s, phrase)
		}
	}
	return out
}

// logits are ℓ_b of all concepts for each picture.
func (b *background) logits(images [][]float32) [][]float64 {
	out := make([][]float64, len(images))
	for i, v := range images {
		out[i] = make([]float64, len(b.concepts))
		for k, c := range b.concepts {
			out[i][k] = b.scale * dot(c.vector, v)
		}
	}
	return out
}

// scores are p_q of each picture for a phrase, and what the phrase's prior in them takes off its logit in layers
// of 500 tiles and more: half of log π_q − median log π_b, from 0 to .75.
func (b *background) scores(images [][]float32, logits [][]float64, a asked) (p []float64, penalty float64) {
	same := b.same(a.Phrase, a.vector)
	p = make([]float64, len(images))
	prior := make([]float64, len(b.concepts)+1)
	for i, v := range images {
		own := b.scale * dot(a.vector, v)
		top := slices.Max(logits[i])
		all, rest := 0.0, 0.0
		for k, l := range logits[i] {
			e := math.Exp(l - top)
			all += e
			if !same[k] {
				rest += e
			}
		}
		for k, l := range logits[i] {
			prior[k] += math.Exp(l-top) / all
		}
		prior[len(prior)-1] += math.Exp(own-top) / all
		p[i] = 1 / (1 + rest*math.Exp(top-own))
	}
	logs := make([]float64, len(prior))
	for k := range prior {
		logs[k] = math.Log(prior[k]/float64(len(images)) + 1e-9)
	}
	others := slices.Clone(logs[:len(logs)-1])
	slices.Sort(others)
	return p, .5 * min(1.5, max(0, logs[len(logs)-1]-others[len(others)/2]))
}

// vocabulary is the softmax over all concepts: how sure the model is of its best one, and whether that is right.
// concept maps a label to its concept, -1 if it has none.
func (b *background) vocabulary(logits [][]float64, truth []int, concept []int) []judged {
	var out []judged
	for i, l := range logits {
		want := concept[truth[i]]
		if want < 0 {
			continue
		}
		best, top := 0, slices.Max(l)
		sum := 0.0
		for k, v := range l {
			sum += math.Exp(v - top)
			if v > l[best] {
				best = k
			}
		}
		out = append(out, judged{1 / sum, best == want})
	}
	return out
}

// conceptOf finds the concept of each label: by phrase, by a listed synonym, else the nearest that means the same.
func (b *background) conceptOf(labels []asked) []int {
	out := make([]int, len(labels))
	for i, a := range labels {
		out[i] = -1
		best := math.Inf(-1)
		for k, same := range b.same(a.Phrase, a.vector) {
			if d := dot(b.concepts[k].vector, a.vector); same && d > best {
				out[i], best = k, d
			}
		}
	}
	return out
}
