package eval

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"image"
	"math/rand/v2"
	"slices"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
)

// Robustness is accuracy under each disturbance of map tiles.
type Robustness struct {
	Set       string           `json:"set"`
	N         int              `json:"n"`
	Curve     string           `json:"curve,omitempty"` // "gsd": rows are factors of the ground resolution
	Rows      []DisturbanceRow `json:"disturbances"`
	Model     ModelInfo        `json:"model"`
	Templates []string         `json:"templates"`
	Notes     []string         `json:"notes"`
}

// DisturbanceRow is the accuracy under one disturbance.
type DisturbanceRow struct {
	Name       string   `json:"name"`
	Factor     float64  `json:"factor,omitempty"`
	N          int      `json:"n"`
	Top1       float64  `json:"top1"`
	Top3       float64  `json:"top3"`
	Interval   Interval `json:"interval"`   // of top1
	Difference float64  `json:"difference"` // of top1 to the first row
	Cosine     float64  `json:"cosine"`     // mean, of the embeddings to those of the first row
}

// RobustOptions choose what is measured; the zero value is everything.
type RobustOptions struct {
	Options
	Curve string // "gsd": the curve over ground resolution instead of the table
	Limit int    // at most so many pictures, the same share of each class; 0 means all
}

// Robust measures zero-shot accuracy of a set under the disturbances that map tiles bring. What is drawn at random
// depends on the picture's name only, so two models meet the same pictures.
func Robust(ctx context.Context, enc Encoder, s *Set, labels []Label, o RobustOptions) (*Robustness, error) {
	var err error
	if labels == nil {
		if labels, err = labelsOf(s); err != nil {
			return nil, err
		}
	}
	list := disturbances()
	switch o.Curve {
	case "":
	case "gsd":
		list = curveGSD()
	default:
		return nil, fmt.Errorf("curve %q: gsd is the only one: %w", o.Curve, tilescout.ErrBadInput)
	}
	j, err := join(s, labels, o.SkipUnlabelled, o.KeepUnseen)
	if err != nil {
		return nil, err
	}
	j.thin(o.Limit)
	m := enc.Model()
	out := &Robustness{Set: s.Name, N: len(j.scenes), Curve: o.Curve, Notes: []string{}, Model: modelOf(m)}
	if out.Templates, err = checkTemplates(o.Templates, m); err != nil {
		return nil, err
	}
	asked, err := askLabels(ctx, enc, labels, out.Templates)
	if err != nil {
		return nil, err
	}
	texts := make([][]float32, len(asked))
	for i, a := range asked {
		texts[i] = a.vector
	}
	neighbours := j.neighbours()
	var first [][]float32
	for k, d := range list {
		rows, err := embed(ctx, enc, disturbed(s, j, neighbours, d), func(done, _ int) {
			if o.Progress != nil {
				o.Progress(k*len(j.scenes)+done, len(list)*len(j.scenes))
			}
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.name, err)
		}
		if first == nil {
			first = rows
		}
		row := DisturbanceRow{Name: d.name, Factor: d.factor, N: len(rows)}
		first1, first3 := 0, 0
		for i, v := range rows {
			rank := Prediction{Truth: j.truth[i], Choices: choices(encoder.Softmax(m.LogitScale, v, texts))}.rank()
			if rank < 1 {
				first1++
			}
			if rank < 3 {
				first3++
			}
			row.Cosine += dot(v, first[i]) / float64(len(rows))
		}
		row.Top1, row.Top3 = float64(first1)/float64(row.N), float64(first3)/float64(row.N)
		row.Interval = wilson(row.Top1, row.N)
		out.Rows = append(out.Rows, row)
	}
	for i := range out.Rows {
		out.Rows[i].Difference = out.Rows[i].Top1 - out.Rows[0].Top1
	}
	if o.Curve != "" {
		slices.SortStableFunc(out.Rows, func(a, b DisturbanceRow) int { return cmp.Compare(a.Factor, b.Factor) })
	}
	if len(j.skipped) > 0 {
		out.Notes = append(out.Notes, "left out, no label names them: "+j.skippedText())
	}
	return out, nil
}

// thin keeps every so many-th scene of each class, so that at most limit stay; 0 keeps all.
func (j *joined) thin(limit int) {
	if limit <= 0 || len(j.scenes) <= limit {
		return
	}
	seen := make([]int, len(j.labels))
	scenes, truth := j.scenes[:0:0], j.truth[:0:0]
	share := float64(limit) / float64(len(j.scenes))
	for i, label := range j.truth {
		if int(float64(seen[label]+1)*share) > int(float64(seen[label])*share) {
			scenes, truth = append(scenes, j.scenes[i]), append(truth, label)
		}
		seen[label]++
	}
	if len(scenes) > 0 {
		j.scenes, j.truth = scenes, truth
	}
}

// neighbours are three scenes of other classes for each scene, drawn with a fixed seed.
func (j *joined) neighbours() [][3]int {
	rng := rand.New(rand.NewPCG(3, 3))
	out := make([][3]int, len(j.scenes))
	for i := range out {
		for k := range out[i] {
			pick := rng.IntN(len(j.scenes))
			for try := 0; j.truth[pick] == j.truth[i] && try < 100; try++ {
				pick = rng.IntN(len(j.scenes))
			}
			out[i][k] = j.scenes[pick]
		}
	}
	return out
}

// disturbed are a set's scenes as tiles under a disturbance.
func disturbed(s *Set, j joined, neighbours [][3]int, d disturbance) pictures {
	out := scenePictures(s, j.scenes)
	out.picture = func(i int) (tilescout.Picture, error) {
		m, err := tileOf(s, j.scenes[i])
		if err != nil {
			return tilescout.Picture{}, err
		}
		if d.around != nil {
			var others []*image.RGBA
			for _, k := range neighbours[i][:d.others] {
				other, err := tileOf(s, k)
				if err != nil {
					return tilescout.Picture{}, err
				}
				others = append(others, other)
			}
			return encodePNG(d.around(m, others))
		}
		h := fnv.New64a()
		h.Write([]byte(s.Scenes[j.scenes[i]].File))
		return encodePNG(d.apply(m, rand.New(rand.NewPCG(h.Sum64(), 7))))
	}
	return out
}

// tileOf is a scene as a map tile of 256 pixels a side.
func tileOf(s *Set, i int) (*image.RGBA, error) {
	pic, err := s.Picture(i)
	if err != nil {
		return nil, err
	}
	m, err := encoder.Decode(pic.Data)
	if err != nil {
		return nil, pictureError(s.Scenes[i].Where+", "+s.Scenes[i].File, err)
	}
	if m.Rect.Dx() == tileSide && m.Rect.Dy() == tileSide {
		return m, nil
	}
	return scaled(m, tileSide, tileSide), nil
}
