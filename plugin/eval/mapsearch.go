package eval

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache/index"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/plugin/search"
)

// MapSearch is what search finds on a mosaic of labelled scenes.
type MapSearch struct {
	Set         string       `json:"set"`
	N           int          `json:"n"`           // scenes in the mosaic, one a tile
	Overlap     int          `json:"overlap"`     // 2: windows half a tile off were embedded too
	Distractors int          `json:"distractors"` // tiles of other classes for each right scene
	Aligned     MosaicResult `json:"aligned"`
	Shifted     MosaicResult `json:"shifted"` // by half a tile: every scene is cut into four
	BorderRatio float64      `json:"border_ratio"`
	Presence    *Presence    `json:"presence,omitempty"`
	Pointing    *Pointing    `json:"pointing,omitempty"`
	Concepts    []Concept    `json:"concepts"`
	Synonyms    []Synonym    `json:"synonyms"`
	SynonymMean float64      `json:"synonyms_mean_ratio"` // of the synonyms' AP to the labels' own, over phrases that the model understands
	Model       ModelInfo    `json:"model"`
	Checks      []Check      `json:"checks"`
	Notes       []string     `json:"notes"`
}

// MosaicResult are the means over all concepts on one mosaic.
type MosaicResult struct {
	MAP    float64 `json:"map"`
	P10    float64 `json:"p10"`
	Recall float64 `json:"recall"` // share of the scenes found while at least half of the answers are right
	Tiles  float64 `json:"map_tiles"`
}

// Concept is one prompt on both mosaics.
type Concept struct {
	Class     string  `json:"class"`
	Phrase    string  `json:"phrase"`
	Scenes    int     `json:"scenes"`
	AP        float64 `json:"ap"`
	P10       float64 `json:"p10"`
	Recall    float64 `json:"recall"`
	ShiftedAP float64 `json:"shifted_ap"`
	Unknown   string  `json:"unknown,omitempty"`

	tiles, shiftedTiles float64
	shiftedP10          float64
	shiftedRecall       float64
}

// SearchOptions of a mosaic; the zero value works.
type SearchOptions struct {
	Options
	Synonyms []SynonymOf // nil means those of the package that fit the classes
	Overlap  int         // as search.LayerOptions.Overlap; 0 means what a layer of that size gets
	Dense    Cells       // the image tower's cells, for the pointing game; nil leaves it out
}

// Cells is a dense encoder, encoder.Dense for one.
type Cells interface {
	Side() int
	Cells(ctx context.Context, pics []tilescout.Picture) ([][][]float32, error)
}

// Distractors for each right scene, as in A5; draws of right scenes whose results are averaged.
const (
	wantedDistractors = 50
	draws             = 8
)

// Search lays the scenes of a set on a tile grid, aligned and shifted by half a tile, indexes both with the real engine
// and asks for every label.
func Search(ctx context.Context, enc Encoder, s *Set, labels []Label, o SearchOptions) (*MapSearch, error) {
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
	if len(m.Concepts) == 0 {
		return nil, fmt.Errorf("model %s has no vocabulary to search against: %w", m.ID, tilescout.ErrUnavailable)
	}
	templates, err := checkTemplates(nil, m)
	if err != nil {
		return nil, err
	}
	asked, err := askLabels(ctx, enc, labels, templates)
	if err != nil {
		return nil, err
	}
	aligned, shifted, err := newMosaics(ctx, s, j)
	if err != nil {
		return nil, err
	}
	engine, done, err := engineOver(ctx, enc, o.Overlap, o.Progress, aligned, shifted)
	if err != nil {
		return nil, err
	}
	defer done()
	out := &MapSearch{
		Set: s.Name, N: len(aligned.images), Checks: []Check{}, Notes: []string{}, Synonyms: []Synonym{},
		Model: modelOf(m),
	}
	if out.Overlap, err = engine.Overlap(aligned.id); err != nil {
		return nil, err
	}
	if len(j.skipped) > 0 {
		out.Notes = append(out.Notes, "left out, no label names them: "+j.skippedText())
	}
	var verdicts [][]judged
	for i, a := range asked {
		is := func(label int) bool { return label == i }
		here, err := aligned.ask(ctx, engine, a.Phrase)
		if err != nil {
			return nil, err
		}
		there, err := shifted.ask(ctx, engine, a.Phrase)
		if err != nil {
			return nil, err
		}
		one, two := aligned.judge(here, is), shifted.judge(there, is)
		if one.scenes == 0 {
			continue
		}
		c := Concept{
			Class: labels[i].Class, Phrase: a.Phrase, Scenes: one.scenes, AP: one.ap, P10: one.p10, Recall: one.recall,
			ShiftedAP: two.ap, shiftedP10: two.p10, shiftedRecall: two.recall, tiles: one.tiles, shiftedTiles: two.tiles,
		}
		if len(a.Unknown) > 0 {
			c.Unknown = fmt.Sprint(a.Unknown)
		}
		out.Concepts = append(out.Concepts, c)
		out.Distractors = max(out.Distractors, one.distractors)
		penalty, err := aligned.penalty(ctx, engine, a.Phrase)
		if err != nil {
			return nil, err
		}
		list := make([]judged, len(aligned.truth))
		for k, label := range aligned.truth {
			list[k] = judged{corrected(here[aligned.tiles(k)[0]], penalty), label == i}
		}
		verdicts = append(verdicts, list)
	}
	out.sum()
	k := m.Calibration
	out.Presence = presence(verdicts, verdict{cmp.Or(k.Match, .7), cmp.Or(k.Top3, .6), cmp.Or(k.Weak, .4)})
	if err := out.synonyms(ctx, engine, aligned, labels, asked, o.Synonyms); err != nil {
		return nil, err
	}
	if o.Dense != nil {
		if out.Pointing, err = pointing(ctx, enc, o.Dense, aligned, shifted, asked); err != nil {
			return nil, err
		}
	}
	out.check()
	return out, nil
}

// engineOver indexes mosaics with the real engine, in a folder that done removes.
func engineOver(ctx context.Context, enc Encoder, overlap int, progress func(done, total int), mosaics ...*mosaic) (e *search.Engine, done func(), err error) {
	dir, err := os.MkdirTemp("", "tilescout-eval-")
	if err != nil {
		return nil, nil, fmt.Errorf("folder for the index: %w", err)
	}
	var closers []func() error
	done = func() {
		for _, c := range slices.Backward(closers) {
			_ = c() // nothing of it is kept
		}
		_ = os.RemoveAll(dir)
	}
	fail := func(err error) (*search.Engine, func(), error) {
		done()
		return nil, nil, err
	}
	store, err := index.Open(dir, index.Options{})
	if err != nil {
		return fail(err)
	}
	closers = append(closers, store.Close)
	if e, err = search.New(ctx, enc, store, search.Options{}); err != nil {
		return fail(err)
	}
	closers = append(closers, e.Close)
	for i, m := range mosaics {
		if err := e.Add(ctx, m, search.LayerOptions{Zooms: []maptile.Zoom{mosaicZoom, mosaicZoom - 1}, Overlap: overlap}); err != nil {
			return fail(err)
		}
		report, err := e.Index(ctx, m.id, search.IndexOptions{Progress: func(p search.Progress) {
			if progress != nil {
				progress(i*p.Total+p.Done, len(mosaics)*p.Total)
			}
		}})
		if err == nil && report.Failed > 0 {
			err = report.Failures[0].Err
		}
		if err != nil {
			return fail(fmt.Errorf("index the %s mosaic: %w", m.id, err))
		}
	}
	return e, done, nil
}

// ask gives the score of every tile for a phrase.
func (m *mosaic) ask(ctx context.Context, e *search.Engine, phrase string) (map[maptile.Tile]float64, error) {
	scores, err := e.Scores(ctx, m.id, []string{`"` + phrase + `"`}, nil)
	if err != nil {
		return nil, fmt.Errorf("ask %q: %w", phrase, err)
	}
	out := make(map[maptile.Tile]float64, scores.Len())
	for t, p := range scores.Under(maptile.New(0, 0, 0)) {
		out[t] = float64(p)
	}
	return out, nil
}

// penalty is what the engine takes off the logits of a phrase's scores before its verdict, because of the phrase's
// prior in the layer. The engine tells it only through the mean of the best three, from which it is found by halving.
func (m *mosaic) penalty(ctx context.Context, e *search.Engine, phrase string) (float64, error) {
	const all = 1e-30 // a threshold that lets the best three through, however low
	a, err := e.Search(ctx, search.Query{Layer: m.id, Prompts: []string{`"` + phrase + `"`}, Threshold: all, Limit: 3})
	if err != nil {
		return 0, fmt.Errorf("ask %q: %w", phrase, err)
	}
	low, high := 0.0, 1.0
	for range 40 {
		middle, mean := (low+high)/2, 0.0
		for _, match := range a.Matches {
			mean += corrected(match.Score, middle) / 3
		}
		if mean > a.Top3 {
			low = middle
		} else {
			high = middle
		}
	}
	if high < 1e-6 {
		return 0, nil
	}
	return high, nil
}

// found is how well one prompt's scenes were found.
type found struct {
	scenes, distractors    int
	ap, p10, recall, tiles float64
}

// judge ranks the tiles and walks down: a tile that shows a right scene not yet found is a hit, one that shows a scene
// already found is passed over, any other is a miss. So a scene counts once however many tiles it was cut into. With
// more right scenes than one in wantedDistractors, that many are drawn, the others' tiles left out, several times over.
func (m *mosaic) judge(scores map[maptile.Tile]float64, right func(label int) bool) found {
	of := map[maptile.Tile][]int{} // right scenes of a tile
	var scenes []int
	for k, label := range m.truth {
		if right(label) {
			scenes = append(scenes, k)
			for _, t := range m.tiles(k) {
				of[t] = append(of[t], k)
			}
		}
	}
	ranked := make([]maptile.Tile, 0, len(scores))
	for t := range scores {
		ranked = append(ranked, t)
	}
	slices.SortFunc(ranked, func(a, b maptile.Tile) int {
		return cmp.Or(cmp.Compare(scores[b], scores[a]), cmp.Compare(geo.Morton(a), geo.Morton(b)))
	})
	out := found{scenes: len(scenes)}
	if len(scenes) == 0 {
		return out
	}
	others := len(ranked) - len(of)
	n := min(len(scenes), max(1, others/wantedDistractors))
	out.distractors = others / n
	rounds := draws
	if n == len(scenes) {
		rounds = 1
	}
	rng := rand.New(rand.NewPCG(9, 9))
	for range rounds {
		in := map[int]bool{}
		for _, k := range rng.Perm(len(scenes))[:n] {
			in[scenes[k]] = true
		}
		r := walk(ranked, of, in)
		out.ap += r.ap / float64(rounds)
		out.p10 += r.p10 / float64(rounds)
		out.recall += r.recall / float64(rounds)
	}
	// For comparison, every tile that shows a part of a right scene, at the mosaic's own share of them.
	list := make([]judged, 0, len(ranked))
	for _, t := range ranked {
		list = append(list, judged{scores[t], len(of[t]) > 0})
	}
	out.tiles = averagePrecision(list)
	return out
}

// walk goes down a ranking for the scenes in.
func walk(ranked []maptile.Tile, of map[maptile.Tile][]int, in map[int]bool) found {
	var out found
	seen := map[int]bool{}
	hits, steps := 0, 0
	for _, t := range ranked {
		fresh, wanted := 0, false
		for _, k := range of[t] {
			if in[k] {
				wanted = true
				if !seen[k] {
					seen[k] = true
					fresh++
				}
			}
		}
		if fresh == 0 && (wanted || len(of[t]) > 0) {
			continue // of a scene already found, or of one left out
		}
		steps++
		if fresh > 0 {
			hits++ // the tile is one answer; a second scene in it is found along with the first
			out.ap += float64(hits) / float64(steps)
			for range fresh - 1 {
				hits, steps = hits+1, steps+1
				out.ap += float64(hits) / float64(steps)
			}
		}
		if steps <= min(10, len(in)) { // of fewer right scenes than ten no more could be right
			out.p10 = float64(hits) / float64(steps)
		}
		if 2*hits >= steps {
			out.recall = float64(hits) / float64(len(in))
		}
	}
	out.ap /= float64(len(in))
	return out
}

// sum fills in the means over concepts.
func (r *MapSearch) sum() {
	n := float64(len(r.Concepts))
	for _, c := range r.Concepts {
		r.Aligned.MAP += c.AP / n
		r.Aligned.P10 += c.P10 / n
		r.Aligned.Recall += c.Recall / n
		r.Aligned.Tiles += c.tiles / n
		r.Shifted.MAP += c.ShiftedAP / n
		r.Shifted.P10 += c.shiftedP10 / n
		r.Shifted.Recall += c.shiftedRecall / n
		r.Shifted.Tiles += c.shiftedTiles / n
	}
	r.BorderRatio = r.Shifted.MAP / r.Aligned.MAP
}

// check holds the figures against the goals.
func (r *MapSearch) check() {
	r.Checks = append(r.Checks, above("mAP, aligned", r.Aligned.MAP, .8), above("P@10, aligned", r.Aligned.P10, .9),
		above("mAP, shifted over aligned", r.BorderRatio, .9))
	if r.Presence != nil {
		r.Checks = append(r.Checks, above("presence AUROC, best tile", r.Presence.AUROC, .9))
	}
	if r.Pointing != nil {
		r.Checks = append(r.Checks, above("pointing game", r.Pointing.Share, .8))
	}
	if r.SynonymMean > 0 {
		r.Checks = append(r.Checks, above("AP of synonyms over the label's own", r.SynonymMean, .9))
	}
}

// modelOf names a model in a report.
func modelOf(m encoder.Model) ModelInfo {
	return ModelInfo{m.ID, m.Digest, m.InputSize, m.Dimension, m.LogitScale, m.Provider, m.Runtime}
}
