package search

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache/index"
	"github.com/tilescout/tilescout/encoder"
)

// concept is one phrase of the background vocabulary with its embedding.
type concept struct {
	encoder.Concept
	embedding []float32
}

// conceptTable is the background vocabulary B against which a prompt's score is calibrated (docs/search.md).
type conceptTable struct {
	all   []concept
	scale float64 // s of ℓ = s·v·t, fitted on held-out scenes, else the model's logit scale
}

// maxConcepts bounds the vocabulary: a tile keeps the number of its best concepts in one byte.
const maxConcepts = 255

func (e *Engine) loadConcepts(ctx context.Context) (conceptTable, error) {
	table := conceptTable{scale: e.model.Calibration.Scale}
	if table.scale <= 0 {
		table.scale = e.model.LogitScale
	}
	if len(e.model.Concepts) == 0 || len(e.model.Concepts) > maxConcepts {
		return table, fmt.Errorf("the model lists %d concepts, want 1 to %d: %w", len(e.model.Concepts), maxConcepts, tilescout.ErrBadInput)
	}
	for _, c := range e.model.Concepts {
		v, err := e.embedTemplates(ctx, Normalize(c.Phrase))
		if err != nil {
			return table, err
		}
		table.all = append(table.all, concept{Concept: c, embedding: v})
	}
	return table, nil
}

// synonymous marks the concepts that mean what the prompt means: a prompt does not compete with them.
// They are those whose text embedding is as near as the model's synonyms are, and those that the
// vocabulary lists by name.
func (c *conceptTable) synonymous(phrase string, embedding []float32, limit float64) []bool {
	out := make([]bool, len(c.all))
	for i := range c.all {
		k := &c.all[i]
		out[i] = dot(k.embedding, embedding) >= limit || strings.EqualFold(k.Phrase, phrase)
		for _, s := range k.Synonyms {
			out[i] = out[i] || strings.EqualFold(s, phrase)
		}
	}
	return out
}

// backdrop is what a tile has to do with the whole vocabulary: its two best concepts with their logits,
// and the log-sum-exp of all others. The two are kept apart so that leaving a prompt's synonyms out of
// the sum loses no precision: in a tile that matches they hold nearly all of its mass.
type backdrop struct {
	best  [2]uint8
	logit [2]float32
	rest  float32
}

// newBackdrop of the logits ℓ_b of all concepts.
func newBackdrop(logits []float64) backdrop {
	first, second := -1, -1
	for i, l := range logits {
		switch {
		case first < 0 || l > logits[first]:
			first, second = i, first
		case second < 0 || l > logits[second]:
			second = i
		}
	}
	b := backdrop{rest: float32(math.Inf(-1)), logit: [2]float32{float32(logits[first]), float32(math.Inf(-1))}, best: [2]uint8{uint8(first), uint8(first)}}
	if second < 0 {
		return b
	}
	b.best[1], b.logit[1] = uint8(second), float32(logits[second])
	top := math.Inf(-1)
	for i, l := range logits {
		if i != first && i != second {
			top = max(top, l)
		}
	}
	if math.IsInf(top, -1) {
		return b
	}
	sum := 0.0
	for i, l := range logits {
		if i != first && i != second {
			sum += math.Exp(l - top)
		}
	}
	b.rest = float32(top + math.Log(sum))
	return b
}

// probability of the best concept among all, from the three parts.
func (b backdrop) probability() float64 {
	return 1 / (1 + math.Exp(logSumExp(float64(b.logit[1]), float64(b.rest))-float64(b.logit[0])))
}

func logSumExp(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	if math.IsInf(b, -1) {
		return a
	}
	return a + math.Log1p(math.Exp(b-a))
}

// queries is the vocabulary as a scan takes it.
func (c *conceptTable) queries(s *index.Snapshot) ([]index.Query, error) {
	vectors := make([][]float32, len(c.all))
	for i := range c.all {
		vectors[i] = c.all[i].embedding
	}
	return queriesOf(s, vectors...)
}
