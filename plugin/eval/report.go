package eval

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Report is the table of one zero-shot measurement.
type Report struct {
	Set         string            `json:"set"`
	N           int               `json:"n"`
	Skipped     int               `json:"skipped"` // pictures whose class no label names
	TopK        TopK[float64]     `json:"topk"`
	Intervals   TopK[Interval]    `json:"intervals"` // Wilson's, 95 %
	MAP         float64           `json:"map"`       // mean of the classes' average precision
	Model       *ModelInfo        `json:"model"`     // null for a file of scores
	Templates   []string          `json:"templates"`
	Orientation int               `json:"orientations,omitempty"` // averaged per picture
	Classes     []Class           `json:"classes"`
	Confusion   Confusion         `json:"confusion"`
	Calibration CalibrationReport `json:"calibration"`
	Presence    *Presence         `json:"presence,omitempty"`
	Checks      []Check           `json:"checks"`
	Mistakes    []Mistake         `json:"mistakes"` // the surest wrong answers
	Notes       []string          `json:"notes"`
}

// TopK is a value for each k.
type TopK[T any] struct {
	At1  T `json:"1"`
	At3  T `json:"3"`
	At5  T `json:"5"`
	At10 T `json:"10"`
}

// ModelInfo says which model answered.
type ModelInfo struct {
	ID         string  `json:"id"`
	Digest     string  `json:"digest"`
	InputSize  int     `json:"input"`
	Dimension  int     `json:"dimension"`
	LogitScale float64 `json:"logit_scale"`
	Provider   string  `json:"provider"`
	Runtime    string  `json:"runtime"`
}

// Class is one line of the table.
type Class struct {
	Class     string   `json:"class"`
	Phrase    string   `json:"phrase"`
	N         int      `json:"n"`
	Top1      float64  `json:"top1"`
	AP        float64  `json:"ap"`
	Confused  string   `json:"confused"` // what its pictures are most often taken for
	ConfusedN int      `json:"confused_n"`
	Unknown   []string `json:"unknown,omitempty"` // words of the phrase that the model has not learned
}

// Confusion counts answers: Rows[truth][answer].
type Confusion struct {
	Labels []string `json:"labels"`
	Rows   [][]int  `json:"rows"`
}

// Confidence is how far probabilities can be believed.
type Confidence struct {
	Scale float64 `json:"scale,omitempty"`
	ECE   float64 `json:"ece"`   // 15 bins of equal mass
	Brier float64 `json:"brier"` // mean of Σ (p − truth)² over the labels, 0…2
	Bins  []Bin   `json:"bins,omitempty"`
}

// CalibrationReport holds the figures of calibration.
type CalibrationReport struct {
	ECE        float64     `json:"ece"` // over the labels, at the scale of the probabilities
	Brier      float64     `json:"brier"`
	Scale      float64     `json:"scale,omitempty"`
	Bins       []Bin       `json:"bins"`
	LogitScale *Confidence `json:"logit_scale,omitempty"` // the same at the model's logit scale
	Vocabulary *Vocabulary `json:"vocabulary,omitempty"`  // over the model's own vocabulary: what a search shows
	Best       Threshold   `json:"best_threshold"`        // macro-F1, one threshold for all labels
	Stored     *Threshold  `json:"stored_threshold,omitempty"`
}

// Vocabulary is the softmax over the model's concepts.
type Vocabulary struct {
	N    int     `json:"n"` // pictures whose label is one of the concepts
	Top1 float64 `json:"top1"`
	ECE  float64 `json:"ece"`
}

// Threshold is macro precision, recall and F1 where scores from At on count as found.
type Threshold struct {
	At        float64 `json:"at"`
	F1        float64 `json:"f1"`
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
}

// Check is a goal and whether it is met.
type Check struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Goal  string  `json:"goal"`
	Pass  bool    `json:"pass"`
}

// Mistake is a wrong answer.
type Mistake struct {
	File       string  `json:"file"`
	Class      string  `json:"class"`
	Predicted  string  `json:"predicted"`
	P          float64 `json:"p"`      // of the wrong answer
	PTrue      float64 `json:"p_true"` // of the right one
	Thumbnail  []byte  `json:"-"`      // JPEG, for the page
	prediction int
}

// maxMistakes are listed.
const maxMistakes = 24

// ks are the k of TopK.
func (t *TopK[T]) each(f func(k int, v *T)) {
	for _, e := range []struct {
		k int
		v *T
	}{{1, &t.At1}, {3, &t.At3}, {5, &t.At5}, {10, &t.At10}} {
		f(e.k, e.v)
	}
}

// Report computes the figures.
func (p *Predictions) Report() *Report {
	n := len(p.List)
	r := &Report{N: n, Skipped: p.Skipped, Templates: p.Templates, Notes: slices.Clone(p.Notes), Checks: []Check{}, Mistakes: []Mistake{}}
	if p.set != nil {
		r.Set = p.set.Name
	}
	if p.tta > 1 {
		r.Orientation = p.tta
	}
	if m := p.model; m != nil {
		r.Model = &ModelInfo{m.ID, m.Digest, m.InputSize, m.Dimension, m.LogitScale, m.Provider, m.Runtime}
	}
	r.TopK.each(func(k int, v *float64) {
		for _, pr := range p.List {
			if pr.rank() < k {
				*v++
			}
		}
		*v /= float64(n)
	})
	r.Intervals.At1, r.Intervals.At3 = wilson(r.TopK.At1, n), wilson(r.TopK.At3, n)
	r.Intervals.At5, r.Intervals.At10 = wilson(r.TopK.At5, n), wilson(r.TopK.At10, n)
	columns := p.columns()
	p.classes(r, columns)
	p.calibrate(r, columns)
	p.mistakes(r)
	return r
}

// classes fills in the table per class and the confusion matrix.
func (p *Predictions) classes(r *Report, columns [][]judged) {
	r.Confusion.Rows = make([][]int, len(p.Labels))
	for i, l := range p.Labels {
		r.Confusion.Labels = append(r.Confusion.Labels, l.Class)
		r.Confusion.Rows[i] = make([]int, len(p.Labels))
	}
	for _, pr := range p.List {
		r.Confusion.Rows[pr.Truth][pr.Choices[0].Label]++
	}
	seen := 0.0
	for i, l := range p.Labels {
		row := r.Confusion.Rows[i]
		c := Class{Class: l.Class, Phrase: l.Phrase}
		if p.asked != nil {
			c.Phrase, c.Unknown = p.asked[i].Phrase, p.asked[i].Unknown
		}
		for k, count := range row {
			c.N += count
			if k != i && count > c.ConfusedN {
				c.Confused, c.ConfusedN = p.Labels[k].Class, count
			}
		}
		if c.N > 0 {
			c.Top1 = float64(row[i]) / float64(c.N)
			c.AP = averagePrecision(columns[i])
			r.MAP += c.AP
			seen++
		}
		r.Classes = append(r.Classes, c)
	}
	r.MAP /= seen
}

// calibrate fills in what probabilities and verdicts are worth, and the goals.
func (p *Predictions) calibrate(r *Report, columns [][]judged) {
	c := confidence(p.List)
	r.Calibration = CalibrationReport{ECE: c.ECE, Brier: c.Brier, Bins: c.Bins, Scale: p.scaleAt, Best: bestThreshold(columns)}
	if p.model == nil {
		r.Checks = append(r.Checks, below("ECE over the labels", c.ECE, .05))
		return
	}
	at := confidence(p.rescaled(p.model.LogitScale))
	at.Scale, at.Bins = p.model.LogitScale, nil
	r.Calibration.LogitScale = &at
	if p.voice == nil {
		r.Checks = append(r.Checks, below("ECE over the labels", c.ECE, .05))
		return
	}
	logits := p.voice.logits(p.images)
	truth := make([]int, len(p.List))
	for i, pr := range p.List {
		truth[i] = pr.Truth
	}
	// What a search shows: each label against the model's vocabulary.
	shown, verdicts := make([][]judged, len(p.Labels)), make([][]judged, len(p.Labels))
	for i, a := range p.asked {
		scores, penalty := p.voice.scores(p.images, logits, a)
		if len(p.images) < priorTiles {
			penalty = 0
		}
		for k, s := range scores {
			shown[i] = append(shown[i], judged{s, truth[k] == i})
			verdicts[i] = append(verdicts[i], judged{corrected(s, penalty), truth[k] == i})
		}
	}
	r.Calibration.Best = bestThreshold(shown)
	k := p.model.Calibration
	stored := atThreshold(shown, cmp.Or(k.Seed, .5))
	r.Calibration.Stored = &stored
	if list := p.voice.vocabulary(logits, truth, p.voice.conceptOf(p.asked)); len(list) > 0 {
		v := &Vocabulary{N: len(list), Top1: shareRight(list)}
		v.ECE, _ = calibrationError(list)
		r.Calibration.Vocabulary = v
		r.Checks = append(r.Checks, below("ECE over the model's vocabulary", v.ECE, .05))
	}
	r.Checks = append(r.Checks, below("ECE over the labels", c.ECE, .05))
	r.Presence = presence(verdicts, verdict{cmp.Or(k.Match, .7), cmp.Or(k.Top3, .6), cmp.Or(k.Weak, .4)})
	if v := r.Presence; v != nil {
		r.Checks = append(r.Checks, above("presence AUROC, best tile", v.AUROC, .9),
			below("false alarms of the verdict match", v.FalseAlarm, .12), above("views found by the verdict match", v.Found, .75))
	}
	r.Checks = append(r.Checks, below("macro-F1 lost by the stored seed threshold", r.Calibration.Best.F1-stored.F1, .02))
}

// priorTiles is the size of a layer from which the engine corrects its verdict by the prior (docs/search.md).
const priorTiles = 500

func below(name string, value, goal float64) Check {
	return Check{name, value, fmt.Sprintf("≤ %g", goal), value <= goal}
}

func above(name string, value, goal float64) Check {
	return Check{name, value, fmt.Sprintf("≥ %g", goal), value >= goal}
}

// rescaled are the predictions with another scale of the softmax: the order stays, the probabilities change.
func (p *Predictions) rescaled(scale float64) []Prediction {
	out := make([]Prediction, len(p.List))
	for i, pr := range p.List {
		out[i] = pr
		out[i].Choices = make([]Choice, len(pr.Choices))
		sum := 0.0
		first := dot(p.images[i], p.texts[pr.Choices[0].Label])
		for k, c := range pr.Choices {
			e := math.Exp(scale * (dot(p.images[i], p.texts[c.Label]) - first))
			out[i].Choices[k] = Choice{c.Label, e}
			sum += e
		}
		for k := range out[i].Choices {
			out[i].Choices[k].P /= sum
		}
	}
	return out
}

// mistakes lists the surest wrong answers.
func (p *Predictions) mistakes(r *Report) {
	for i, pr := range p.List {
		first := pr.Choices[0]
		if first.Label == pr.Truth {
			continue
		}
		m := Mistake{File: pr.File, Class: p.Labels[pr.Truth].Class, Predicted: p.Labels[first.Label].Class, P: first.P, prediction: i}
		if k := pr.rank(); k != unlisted {
			m.PTrue = pr.Choices[k].P
		}
		r.Mistakes = append(r.Mistakes, m)
	}
	slices.SortStableFunc(r.Mistakes, func(a, b Mistake) int { return cmp.Compare(b.P-b.PTrue, a.P-a.PTrue) })
	r.Mistakes = r.Mistakes[:min(maxMistakes, len(r.Mistakes))]
}

func (p *Predictions) noteUnknown(l Label, a asked) {
	if len(a.Unknown) > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("%s: the model has not learned %q", l.Class, a.Unknown))
	}
}
