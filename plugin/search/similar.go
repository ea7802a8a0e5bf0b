package search

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache/index"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/geo"
)

// Like is what to find more of: a tile, or a picture that the user sent.
type Like struct {
	Tile    *maptile.Tile
	Picture *tilescout.Picture
}

// Similar ranks the layer's tiles by likeness to a picture. A tile does not answer for itself.
func (e *Engine) Similar(ctx context.Context, id string, like Like, box *geo.BBox, limit int, threshold float64) (Answer, error) {
	l, err := e.layer(id)
	if err != nil {
		return Answer{}, err
	}
	if limit < 0 || limit > MaxLimit {
		return Answer{}, fmt.Errorf("limit %d: from 1 to %d: %w", limit, MaxLimit, tilescout.ErrBadInput)
	}
	var ref []float32
	switch {
	case like.Picture != nil:
		v, err := e.encoder.Images(ctx, []tilescout.Picture{*like.Picture}, encoder.Interactive)
		if err != nil {
			return Answer{}, fmt.Errorf("the picture: %w", err)
		}
		ref = v[0]
	case like.Tile != nil:
		if ref, err = e.embedding(ctx, l, *like.Tile); err != nil {
			return Answer{}, err
		}
	default:
		return Answer{}, fmt.Errorf("give a tile, a point or a picture to compare with: %w", tilescout.ErrBadInput)
	}
	f, err := l.views[0].acquire(ctx)
	if err != nil {
		return Answer{}, err
	}
	defer f.release()
	values := make([]float32, len(f.codes))
	done := e.scanned(l, "similar", f)
	err = f.likeness(ctx, ref, e.model.Dimension, values)
	if done(); err != nil {
		return Answer{}, err
	}
	scores := &Scores{Zoom: l.zooms[0], codes: f.codes, extent: f.extent, values: values, Known: true}
	bounds := l.bounds
	if box != nil {
		bounds = intersectAll(box.Bounds(), l.bounds)
	}
	if limit == 0 {
		limit = 100
	}
	top := scores.best(bounds, geo.Ranges(bounds, scores.Zoom, 256), limit+1, float32(threshold))
	a := Answer{Verdict: VerdictMatch, Threshold: threshold, Embedded: top.seen, Total: l.viewState(bounds).Total, Revision: e.Revision(id)}
	for _, s := range top.sorted() {
		t := geo.FromMorton(s.code, scores.Zoom)
		if (like.Tile != nil && t == *like.Tile) || float64(s.score) < threshold || len(a.Matches) == limit {
			continue
		}
		m := Match{Tile: t, Rank: len(a.Matches) + 1, Score: float64(s.score), Similarity: math.NaN()}
		if v, ok, err := l.views[0].set.Embedding(s.code); err == nil && ok {
			m.Similarity = dot(v, ref)
		}
		a.Matches = append(a.Matches, m)
	}
	a.Matched = len(a.Matches)
	if len(a.Matches) > 0 {
		a.Max = a.Matches[0].Score
	} else {
		a.Verdict = VerdictNone
	}
	return a, nil
}

// TileAt is the tile of the deepest index zoom over a place.
func (e *Engine) TileAt(id string, lon, lat float64) (maptile.Tile, error) {
	l, err := e.layer(id)
	if err != nil {
		return maptile.Tile{}, err
	}
	if !(lon >= -180 && lon <= 180 && lat >= -90 && lat <= 90) {
		return maptile.Tile{}, fmt.Errorf("point %g,%g: longitude −180…180, latitude −90…90: %w", lon, lat, tilescout.ErrBadInput)
	}
	b := pointBound(lon, lat)
	t, _, ok := geo.CoverCorners(b, l.zooms[0])
	if !ok || !l.inside(t) {
		return maptile.Tile{}, fmt.Errorf("point %g,%g lies outside layer %q: %w", lon, lat, id, tilescout.ErrOutOfRange)
	}
	return t, nil
}

// LabelProbability is one label of a classification.
type LabelProbability struct {
	Label       string   `json:"label"`
	Probability float64  `json:"probability"`
	Unknown     []string `json:"unknown,omitempty"` // words of the label that the model has not learned
}

// maxLabels bounds one classification.
const maxLabels = 200

// ClassifyTile gives the probabilities of labels for a tile; no labels means the model's own concepts.
func (e *Engine) ClassifyTile(ctx context.Context, id string, t maptile.Tile, labels []string, template string) ([]LabelProbability, error) {
	l, err := e.layer(id)
	if err != nil {
		return nil, err
	}
	info := l.info
	if t.Z < info.MinZoom || t.Z > info.MaxZoom {
		return nil, fmt.Errorf("tile %s: layer %q has zooms %d to %d: %w", tileName(t), id, info.MinZoom, info.MaxZoom, tilescout.ErrOutOfRange)
	}
	v, err := e.embedding(ctx, l, t)
	if err != nil {
		return nil, err
	}
	return e.classify(ctx, v, labels, template)
}

// ClassifyPicture gives the probabilities of labels for a picture.
func (e *Engine) ClassifyPicture(ctx context.Context, p tilescout.Picture, labels []string, template string) ([]LabelProbability, error) {
	v, err := e.encoder.Images(ctx, []tilescout.Picture{p}, encoder.Interactive)
	if err != nil {
		return nil, fmt.Errorf("the picture: %w", err)
	}
	return e.classify(ctx, v[0], labels, template)
}

// classify is the model card's softmax: one prompt per label through one template, logits scaled by the
// checkpoint's logit scale (Radford et al. 2021, figure 3). Best label first, equal ones as given.
func (e *Engine) classify(ctx context.Context, image []float32, labels []string, template string) ([]LabelProbability, error) {
	vectors := make([][]float32, 0, len(labels))
	out := make([]LabelProbability, 0, len(labels))
	scale := e.model.LogitScale
	switch {
	case len(labels) == 0:
		scale = e.concepts.scale
		for _, c := range e.concepts.all {
			vectors = append(vectors, c.embedding)
			out = append(out, LabelProbability{Label: c.Phrase})
		}
	case len(labels) == 1:
		return nil, fmt.Errorf("one label always has probability 1: give two or more, separated by commas: %w", tilescout.ErrBadInput)
	case len(labels) > maxLabels:
		return nil, fmt.Errorf("%d labels, at most %d: %w", len(labels), maxLabels, tilescout.ErrBadInput)
	default:
		if template == "" {
			template = "a photo of a {}"
		}
		if strings.Count(template, "{}") != 1 {
			return nil, fmt.Errorf("template %q: want exactly one {} for the label: %w", template, tilescout.ErrBadInput)
		}
		prompts := make([]string, len(labels))
		for i, label := range labels {
			if err := checkPrompt(label); err != nil {
				return nil, fmt.Errorf("label %d: %w", i+1, err)
			}
			prompts[i] = strings.Replace(template, "{}", Normalize(label), 1)
		}
		texts, err := e.encoder.Texts(ctx, prompts)
		if err != nil {
			return nil, fmt.Errorf("embed labels: %w", err)
		}
		for i, t := range texts {
			vectors = append(vectors, t.Embedding)
			out = append(out, LabelProbability{Label: labels[i], Unknown: t.Unknown})
		}
	}
	for i, p := range encoder.Softmax(scale, image, vectors) {
		out[i].Probability = p
	}
	slices.SortStableFunc(out, func(a, b LabelProbability) int {
		switch {
		case a.Probability > b.Probability:
			return -1
		case a.Probability < b.Probability:
			return 1
		}
		return 0
	})
	return out, nil
}

// TileAnswer is what is known of one tile and a question.
type TileAnswer struct {
	Tile     maptile.Tile
	Score    float64
	Embedded bool
	Top      []LabelProbability // the five best concepts
}

// Tile answers a question about one tile of the deepest index zoom, embedding it if need be.
func (e *Engine) Tile(ctx context.Context, id string, t maptile.Tile, prompts, not []string) (TileAnswer, error) {
	l, err := e.layer(id)
	if err != nil {
		return TileAnswer{}, err
	}
	a := TileAnswer{Tile: t, Score: math.NaN()}
	if _, ok := l.level(t.Z); !ok {
		return a, fmt.Errorf("tile %s: layer %q is indexed at zooms %v: %w", tileName(t), id, l.zooms, tilescout.ErrOutOfRange)
	}
	v, err := e.embedding(ctx, l, t)
	if err != nil {
		return a, err
	}
	a.Embedded = true
	labels, err := e.classify(ctx, v, nil, "")
	if err != nil {
		return a, err
	}
	a.Top = labels[:min(5, len(labels))]
	if len(prompts) > 0 && t.Z == l.zooms[0] {
		x, err := parse(prompts, not)
		if err != nil {
			return a, err
		}
		scores, err := e.scoresOf(ctx, l, x)
		if err != nil {
			return a, err
		}
		if p, ok := scores.At(t); ok {
			a.Score = float64(p)
		}
	}
	return a, nil
}

func queriesOf(s *index.Snapshot, vectors ...[]float32) ([]index.Query, error) {
	out := make([]index.Query, len(vectors))
	for i, v := range vectors {
		var err error
		if out[i], err = s.Quantize(v); err != nil {
			return nil, err
		}
	}
	return out, nil
}
