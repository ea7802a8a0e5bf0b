package search

import (
	"context"
	"math"
	"slices"

	"github.com/tilescout/tilescout/encoder"
)

// calibration is the model's, with the measured defaults where it has none.
func (e *Engine) calibration() encoder.Calibration {
	c := e.model.Calibration
	for _, d := range []struct {
		value *float64
		usual float64
	}{{&c.Seed, .5}, {&c.Floor, .3}, {&c.Match, .7}, {&c.Top3, .6}, {&c.Weak, .4}, {&c.Synonym, .9}} {
		if *d.value <= 0 {
			*d.value = d.usual
		}
	}
	return c
}

// Calibration are the thresholds that the model was fitted to.
func (e *Engine) Calibration() encoder.Calibration { return e.calibration() }

// priorTiles is how many tiles a layer needs before the share of a concept in it says anything.
const priorTiles = 500

// judge fills in verdict, Max and Top3. In layers large enough the scores are first corrected by half of
// the layer's prior (docs/search.md eq. 4 and 6): a layer full of roofs must not answer "stadium" by
// one odd roof. The ranking keeps the uncorrected scores.
func (e *Engine) judge(ctx context.Context, l *layer, x expression, ranked []scored, a *Answer) {
	c := e.calibration()
	a.Verdict = VerdictNone
	if len(ranked) == 0 {
		return
	}
	best := make([]float64, 0, 3)
	for _, r := range ranked[:min(3, len(ranked))] {
		best = append(best, float64(r.score))
	}
	a.Max = best[0]
	if penalty := e.priorPenalty(ctx, l, x); penalty > 0 {
		for i, p := range best {
			p = min(max(p, 1e-6), 1-1e-6)
			best[i] = 1 / (1 + math.Exp(penalty-math.Log(p/(1-p))))
		}
	}
	for _, p := range best {
		a.Top3 += p / 3
	}
	switch top := best[0]; {
	case top >= c.Match || a.Top3 >= c.Top3:
		a.Verdict = VerdictMatch
	case top >= c.Weak:
		a.Verdict = VerdictWeak
	}
}

// priorPenalty is α·clip(log π_q − median_b log π_b, 0, 1.5) in logits, α = ½; π_b is the mean probability
// of a concept over a reservoir of the layer. It applies to prompts of a single known direction.
func (e *Engine) priorPenalty(ctx context.Context, l *layer, x expression) float64 {
	if len(x.any) != 1 || len(x.any[0]) != 1 || x.any[0][0].isTile() {
		return 0
	}
	f, err := l.views[0].acquire(ctx)
	if err != nil {
		return 0
	}
	defer f.release()
	if len(f.codes) < priorTiles {
		return 0
	}
	p, err := e.prompt(ctx, x.any[0][0].phrase)
	if err != nil || p.embedding == nil {
		return 0
	}
	const sample = 512
	step := max(1, len(f.codes)/sample)
	prior := make([]float64, len(e.concepts.all)+1)
	logits := make([]float64, len(prior))
	n := 0
	for row := 0; row < len(f.codes); row += step {
		v := f.vector(row)
		if v == nil {
			continue
		}
		top := math.Inf(-1)
		for b := range e.concepts.all {
			logits[b] = e.concepts.scale * dot(e.concepts.all[b].embedding, v)
			top = max(top, logits[b])
		}
		logits[len(logits)-1] = e.concepts.scale * dot(p.embedding, v)
		sum := 0.0
		for _, l := range logits[:len(logits)-1] {
			sum += math.Exp(l - top)
		}
		for b, l := range logits {
			prior[b] += math.Exp(l-top) / sum
		}
		n++
	}
	if n == 0 {
		return 0
	}
	logs := make([]float64, len(prior))
	for b := range prior {
		logs[b] = math.Log(prior[b]/float64(n) + 1e-9)
	}
	own := logs[len(logs)-1]
	rest := slices.Clone(logs[:len(logs)-1])
	slices.Sort(rest)
	return .5 * min(1.5, max(0, own-rest[len(rest)/2]))
}
