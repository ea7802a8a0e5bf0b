package search

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/geo"
)

// Scores is the answer to one question for every embedded tile of a layer at its deepest index zoom.
// Overlay, features and legend read this one vector. It is never written once made.
type Scores struct {
	Zoom      maptile.Zoom
	Unknown   []string              // words of the question that the model has not learned
	Described []encoder.Description // phrases that were read as other words
	Known     bool                  // false if nothing of the question was understood: all scores are zero

	codes  []uint64
	extent [4]uint32 // box of tiles that holds all codes
	values []float32

	orderOnce sync.Once
	order     []float32 // values, ascending; made when a rank is asked
}

type scoreKey struct {
	layer, version string
	generation     [3]uint64 // of the zooms and the windows
	question       string
}

func (s *Scores) size() int { return 4*len(s.values) + 128 } // codes belong to the frame

// Len is the number of tiles with a score.
func (s *Scores) Len() int { return len(s.codes) }

// At returns the score of a tile of Zoom; false if the tile is not embedded.
func (s *Scores) At(t maptile.Tile) (float32, bool) {
	if i, ok := slices.BinarySearch(s.codes, geo.Morton(t)); ok {
		return s.values[i], true
	}
	return 0, false
}

// Under returns the tiles of Zoom at or below t with their scores, in Morton order: a contiguous run.
func (s *Scores) Under(t maptile.Tile) func(func(maptile.Tile, float32) bool) {
	return func(yield func(maptile.Tile, float32) bool) {
		if t.Z > s.Zoom {
			return
		}
		shift := 2 * uint(s.Zoom-t.Z)
		from := geo.Morton(t) << shift
		to := from + 1<<shift
		i, _ := slices.BinarySearch(s.codes, from)
		for ; i < len(s.codes) && s.codes[i] < to; i++ {
			if !yield(geo.FromMorton(s.codes[i], s.Zoom), s.values[i]) {
				return
			}
		}
	}
}

// parentWeight is ρ of the two-zoom fusion: a parent alone cannot outrank its own tiles (SQ eq. 12).
const parentWeight = .8

// Scores returns the score vector of a question about a layer, from the cache if nothing has changed.
func (e *Engine) Scores(ctx context.Context, id string, prompts, not []string) (*Scores, error) {
	x, err := parse(prompts, not)
	if err != nil {
		return nil, err
	}
	l, err := e.layer(id)
	if err != nil {
		return nil, err
	}
	return e.scoresOf(ctx, l, x)
}

// scoresOf tries twice: a scan that meets a damaged block puts its segment aside, and the second does without.
func (e *Engine) scoresOf(ctx context.Context, l *layer, x expression) (*Scores, error) {
	s, err := e.scoresOnce(ctx, l, x)
	if errors.Is(err, tilescout.ErrUnavailable) && ctx.Err() == nil {
		for _, v := range l.all() {
			v.forget()
		}
		s, err = e.scoresOnce(ctx, l, x)
	}
	return s, err
}

func (e *Engine) scoresOnce(ctx context.Context, l *layer, x expression) (*Scores, error) {
	var frames []*frame
	key := scoreKey{layer: l.info.ID, version: l.info.Version, question: x.key()}
	defer func() {
		for _, f := range frames {
			f.release()
		}
	}()
	for _, v := range l.all() {
		f, err := v.acquire(ctx)
		if err != nil {
			return nil, fmt.Errorf("layer %q: %w", l.info.ID, err)
		}
		frames = append(frames, f)
		at := len(frames) - 1
		if v == l.windows {
			at = len(key.generation) - 1
		}
		key.generation[at] = f.generation
	}
	return e.scores.Get(ctx, key, func(ctx context.Context) (*Scores, error) {
		defer e.scanned(l, "scan", frames...)()
		out := &Scores{Zoom: l.zooms[0], codes: frames[0].codes, extent: frames[0].extent}
		values := make([][]float32, len(frames))
		for i, f := range frames {
			var err error
			if values[i], err = e.evaluate(ctx, l, f, x, out); err != nil {
				return nil, err
			}
		}
		out.values = values[0]
		if l.windows != nil {
			last := len(frames) - 1
			fuseWindows(out.values, values[last], l.windowRows(frames[last], frames[0]))
		}
		if len(l.views) > 1 {
			fuseParents(out.values, frames[0].codes, values[1], frames[1].codes)
		}
		return out, nil
	})
}

// siblingShare is how strongly a parent's evidence follows its tiles' own: 0 gives each tile all of it.
const siblingShare = .3

// fuseParents raises each tile's score to ρ times its parent's, shared out among the parent's tiles by what they
// show themselves: p = max(p, ρ·p_parent·(p/p_best)^siblingShare), p_best the best of the four. A parent does not know
// which of its tiles holds the object; a sibling that shows nothing of it must not be raised as one that shows
// half of it. Both lists are in Morton order, so siblings are neighbours and one walk serves.
func fuseParents(values []float32, codes []uint64, parents []float32, parentCodes []uint64) {
	j := 0
	for i := 0; i < len(codes); {
		up := codes[i] >> 2
		end, best := i, float32(0)
		for ; end < len(codes) && codes[end]>>2 == up; end++ {
			best = max(best, values[end])
		}
		for j < len(parentCodes) && parentCodes[j] < up {
			j++
		}
		if j < len(parentCodes) && parentCodes[j] == up && best > 0 && parentWeight*parents[j] > 0 {
			for k := i; k < end; k++ {
				share := math.Pow(float64(values[k]/best), siblingShare)
				values[k] = max(values[k], float32(parentWeight*float64(parents[j])*share))
			}
		}
		i = end
	}
}

// evaluate scores all rows of a frame: any of the alternatives 1−Π(1−p), all terms of one min p.
func (e *Engine) evaluate(ctx context.Context, l *layer, f *frame, x expression, out *Scores) ([]float32, error) {
	var negatives [][]float32
	var avoid [][]float32 // pictures to keep away from
	for _, t := range x.not {
		if t.isTile() {
			v, err := e.embedding(ctx, l, t.tile)
			if err != nil {
				return nil, fmt.Errorf("not tile %s: %w", tileName(t.tile), err)
			}
			avoid = append(avoid, v)
			continue
		}
		p, err := e.prompt(ctx, t.phrase)
		if err != nil {
			return nil, err
		}
		out.addUnknown(p.unknown)
		if p.embedding != nil {
			negatives = append(negatives, p.embedding)
		}
	}
	result := make([]float32, len(f.codes))
	for _, all := range x.any {
		alternative := make([]float32, len(f.codes))
		for i, t := range all {
			values, err := e.evaluateTerm(ctx, l, f, t, negatives, out)
			if err != nil {
				return nil, err
			}
			if t.weight != 1 {
				for j, p := range values {
					values[j] = float32(math.Pow(float64(p), t.weight))
				}
			}
			if i == 0 {
				alternative = values
				continue
			}
			for j, p := range values {
				alternative[j] = min(alternative[j], p)
			}
		}
		if len(x.any) == 1 {
			result = alternative
			continue
		}
		for j, p := range alternative {
			result[j] = 1 - (1-result[j])*(1-p)
		}
	}
	for _, v := range avoid {
		likeness := make([]float32, len(f.codes))
		if err := f.likeness(ctx, v, e.model.Dimension, likeness); err != nil {
			return nil, err
		}
		for j, p := range likeness {
			result[j] *= 1 - p
		}
	}
	return result, nil
}

func (e *Engine) evaluateTerm(ctx context.Context, l *layer, f *frame, t term, negatives [][]float32, out *Scores) ([]float32, error) {
	values := make([]float32, len(f.codes))
	if t.isTile() {
		out.Known = true
		v, err := e.embedding(ctx, l, t.tile)
		if err != nil {
			return nil, fmt.Errorf("tile %s: %w", tileName(t.tile), err)
		}
		return values, f.likeness(ctx, v, e.model.Dimension, values)
	}
	p, err := e.prompt(ctx, t.phrase)
	if err != nil {
		return nil, err
	}
	out.addUnknown(p.unknown)
	out.addDescribed(p.described)
	if p.embedding == nil {
		return values, nil
	}
	out.Known = true
	synonym := e.concepts.synonymous(t.phrase, p.embedding, e.synonymLimit())
	if err := f.score(ctx, &e.concepts, p.embedding, synonym, negatives, values); err != nil {
		return nil, fmt.Errorf("score %q: %w", t.phrase, err)
	}
	return values, nil
}

func (s *Scores) addDescribed(list []encoder.Description) {
	for _, d := range list {
		if !slices.Contains(s.Described, d) {
			s.Described = append(s.Described, d)
		}
	}
}

func (s *Scores) addUnknown(words []string) {
	for _, w := range words {
		if !slices.Contains(s.Unknown, w) {
			s.Unknown = append(s.Unknown, w)
		}
	}
}

// synonymLimit is the cosine from which a concept means the same as a prompt.
func (e *Engine) synonymLimit() float64 {
	if c := e.model.Calibration.Synonym; c > 0 {
		return c
	}
	return .9
}

// likenessMiddle and likenessSlope put centred cosines of pictures on the 0…1 scale of scores: pictures of
// one kind lie above the middle, unrelated ones around zero.
const (
	likenessMiddle = .55
	likenessSlope  = 10
)

func likenessScore(cosine float64) float32 {
	return float32(1 / (1 + math.Exp(-likenessSlope*(cosine-likenessMiddle))))
}

// likeness scores rows by cos(v−μ, ref−μ), μ the layer's mean: what all pictures of a layer share would
// otherwise make every pair alike (SQ eq. 8).
func (f *frame) likeness(ctx context.Context, ref []float32, dimension int, out []float32) error {
	mean := f.meanEmbedding(dimension)
	query := make([]float32, len(ref))
	for i := range ref {
		query[i] = ref[i] - mean[i]
	}
	if !normalize(query) {
		return nil // a layer of one picture: nothing tells its tiles apart
	}
	// cos(v−μ, r) = (v·r − μ·r) / |v−μ|, and |v−μ|² = 1 − 2 v·μ + |μ|².
	s := f.snapshot
	muR, muMu := dot(mean, query), dot(mean, mean)
	n := len(f.codes)
	a, b := make([]float32, n), make([]float32, n)
	queries, err := queriesOf(s, query, mean)
	if err == nil {
		err = s.ScanMany(ctx, queries, 0, n, [][]float32{a, b})
	}
	if err != nil {
		return fmt.Errorf("compare pictures: %w", err)
	}
	for i := range n {
		length := math.Sqrt(max(1e-9, 1-2*float64(b[i])+muMu))
		out[i] = likenessScore((float64(a[i]) - muR) / length)
	}
	return nil
}

// Rank is a tile's place among all scores of the layer at or above floor, from 1; 0 if it is not among them.
func (s *Scores) Rank(t maptile.Tile, floor float64) int {
	own, ok := s.At(t)
	if !ok || float64(own) < floor {
		return 0
	}
	s.orderOnce.Do(func() {
		s.order = slices.Clone(s.values)
		slices.Sort(s.order)
	})
	i, found := slices.BinarySearch(s.order, own)
	for found && i+1 < len(s.order) && s.order[i+1] == own {
		i++
	}
	return len(s.order) - i
}

// Check says what is wrong with the prompts of a question, nil if nothing is.
func Check(prompts, not []string) error {
	_, err := parse(prompts, not)
	return err
}
