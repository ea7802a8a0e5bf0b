package eval

import (
	"context"
	"math"
	"slices"

	"github.com/tilescout/tilescout/encoder"
)

// Choice is a label and its probability.
type Choice struct {
	Label int // index into Predictions.Labels
	P     float64
}

// Prediction is what a model answered for one picture.
type Prediction struct {
	File    string
	Where   string
	Truth   int      // index into Predictions.Labels
	Choices []Choice // best first: all labels, or as many as a file of scores lists
	scene   int      // index into Set.Scenes; -1 for a file of scores
}

// unlisted is the rank of a truth that is not among the choices.
const unlisted = math.MaxInt

// rank is the place of the truth among the choices, from 0.
func (p Prediction) rank() int {
	for i, c := range p.Choices {
		if c.Label == p.Truth {
			return i
		}
	}
	return unlisted
}

// Predictions are the answers of a model for a set, enough for every figure of a report.
type Predictions struct {
	Labels    []Label
	List      []Prediction
	Templates []string
	Skipped   int // pictures that no label names
	Notes     []string

	set     *Set
	model   *encoder.Model // nil for a file of scores
	asked   []asked
	images  [][]float32
	texts   [][]float32
	voice   *background
	tta     int
	scaleAt float64
}

// ZeroShot classifies every picture of a set by the labels' texts: softmax(s·image·textᵀ), s the model's calibration
// scale where it has one, else its logit scale.
func ZeroShot(ctx context.Context, enc Encoder, s *Set, labels []Label, o Options) (*Predictions, error) {
	var err error
	if labels == nil {
		if labels, err = labelsOf(s); err != nil {
			return nil, err
		}
	}
	j, err := join(s, labels, o.SkipUnlabelled, o.KeepUnseen)
	if err != nil {
		return nil, err
	}
	m := enc.Model()
	p := &Predictions{Labels: labels, set: s, model: &m, tta: max(1, o.TTA), scaleAt: m.Calibration.Scale}
	if p.scaleAt <= 0 {
		p.scaleAt = m.LogitScale
	}
	if p.Templates, err = checkTemplates(o.Templates, m); err != nil {
		return nil, err
	}
	if p.asked, err = askLabels(ctx, enc, labels, p.Templates); err != nil {
		return nil, err
	}
	for i, a := range p.asked {
		p.texts = append(p.texts, a.vector)
		p.noteUnknown(labels[i], a)
	}
	if len(j.skipped) > 0 {
		p.Notes = append(p.Notes, "left out, no label names them: "+j.skippedText())
	}
	if p.images, err = embedScenes(ctx, enc, s, j.scenes, o.TTA, o.Progress); err != nil {
		return nil, err
	}
	for _, n := range j.skipped {
		p.Skipped += n
	}
	for i, row := range p.images {
		scene := s.Scenes[j.scenes[i]]
		p.List = append(p.List, Prediction{
			File: scene.File, Where: scene.Where, Truth: j.truth[i], scene: j.scenes[i],
			Choices: choices(encoder.Softmax(p.scaleAt, row, p.texts)),
		})
	}
	if p.voice, err = newBackground(ctx, enc, m); err != nil {
		return nil, err
	}
	return p, nil
}

// choices sorts probabilities, best first; equal ones keep the order of the labels.
func choices(p []float64) []Choice {
	out := make([]Choice, len(p))
	for i, v := range p {
		out[i] = Choice{i, v}
	}
	slices.SortStableFunc(out, func(a, b Choice) int {
		switch {
		case a.P > b.P:
			return -1
		case a.P < b.P:
			return 1
		}
		return 0
	})
	return out
}

// column is the probability of one label for every picture, and whether it is the right one.
func (p *Predictions) columns() [][]judged {
	out := make([][]judged, len(p.Labels))
	for c := range out {
		out[c] = make([]judged, len(p.List))
	}
	for i, pr := range p.List {
		for _, c := range pr.Choices {
			out[c.Label][i].score = c.P
		}
		out[pr.Truth][i].right = true
	}
	return out
}

// confidence is how well a softmax's own probabilities can be believed.
func confidence(list []Prediction) Confidence {
	var top []judged
	brier := 0.0
	for _, pr := range list {
		top = append(top, judged{pr.Choices[0].P, pr.Choices[0].Label == pr.Truth})
		sum := 1.0 // of the truth, if no choice names it
		for _, c := range pr.Choices {
			if c.Label == pr.Truth {
				sum += (c.P-1)*(c.P-1) - 1
			} else {
				sum += c.P * c.P
			}
		}
		brier += sum / float64(len(list))
	}
	ece, bins := calibrationError(top)
	return Confidence{ECE: ece, Brier: brier, Bins: bins}
}

// threshold is one number for all labels from which a probability counts as found.
func bestThreshold(columns [][]judged) Threshold {
	best := Threshold{At: .5, F1: -1}
	for i := 5; i < 95; i++ {
		if t := atThreshold(columns, float64(i)/100); t.F1 > best.F1 {
			best = t
		}
	}
	return best
}

// atThreshold is macro precision, recall and F1 at one threshold, over labels that some picture has.
func atThreshold(columns [][]judged, at float64) Threshold {
	out := Threshold{At: at}
	labels := 0.0
	for _, list := range columns {
		hit, real, both := 0.0, 0.0, 0.0
		for _, j := range list {
			if j.score >= at {
				hit++
			}
			if j.right {
				real++
				if j.score >= at {
					both++
				}
			}
		}
		if real == 0 {
			continue
		}
		labels++
		out.F1 += 2 * both / (hit + real)
		out.Recall += both / real
		out.Precision += both / math.Max(1, hit)
	}
	out.F1, out.Recall, out.Precision = out.F1/labels, out.Recall/labels, out.Precision/labels
	return out
}
