package search

import (
	"context"
	"slices"
	"strings"

	"github.com/paulmach/orb"
)

// Suggestion is a phrase that the model knows.
type Suggestion struct {
	Phrase string `json:"phrase"`
	Kind   string `json:"kind"` // concept or saved
	Known  bool   `json:"known"`
}

// Suggest completes what is being typed with concepts that the model knows: those that start with it
// first, then those with a word that does, then those that hold it. Nothing typed means examples that
// the layer holds, most frequent first; an unknown or empty layer means the vocabulary's own order.
func (e *Engine) Suggest(ctx context.Context, id, typed string, limit int) []Suggestion {
	if limit <= 0 {
		limit = 8
	}
	typed = Normalize(typed)
	if typed == "" {
		return e.examples(ctx, id, limit)
	}
	type ranked struct {
		phrase string
		order  int
	}
	var found []ranked
	for i, c := range e.concepts.all {
		best := -1
		for k, phrase := range append([]string{c.Phrase}, c.Synonyms...) {
			order := -1
			switch {
			case strings.HasPrefix(phrase, typed):
				order = 0
			case strings.Contains(" "+phrase, " "+typed):
				order = 1000
			case strings.Contains(phrase, typed):
				order = 2000
			}
			if order >= 0 {
				order += min(k, 1) * 500
				if best < 0 || order < best {
					best = order
				}
			}
		}
		if best >= 0 {
			found = append(found, ranked{c.Phrase, best + i})
		}
	}
	slices.SortFunc(found, func(a, b ranked) int { return a.order - b.order })
	var out []Suggestion
	for _, f := range found[:min(limit, len(found))] {
		out = append(out, Suggestion{Phrase: f.phrase, Kind: "concept", Known: true})
	}
	return out
}

func (e *Engine) examples(ctx context.Context, id string, limit int) []Suggestion {
	count := make([]float64, len(e.concepts.all))
	if l, err := e.layer(id); err == nil {
		if f, err := l.views[0].acquire(ctx); err == nil {
			for row := range f.sample() {
				count[f.backdrops[row].best[0]] += f.backdrops[row].probability()
			}
			f.release()
		}
	}
	order := make([]int, 0, len(count))
	for i, c := range e.concepts.all {
		if c.Suggest {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case count[a] > count[b]:
			return -1
		case count[a] < count[b]:
			return 1
		}
		return 0
	})
	var out []Suggestion
	for _, i := range order[:min(limit, len(order))] {
		out = append(out, Suggestion{Phrase: e.concepts.all[i].Phrase, Kind: "concept", Known: true})
	}
	return out
}

// related are the known concepts nearest to what was asked, without those that were asked for.
func (e *Engine) related(ctx context.Context, x expression) []string {
	type near struct {
		phrase string
		cosine float64
	}
	var all []near
	asked := x.phrases()
	for _, phrase := range asked {
		p, err := e.prompt(ctx, phrase)
		if err != nil || p.embedding == nil {
			continue
		}
		for _, c := range e.concepts.all {
			if c.Suggest && !slices.Contains(asked, c.Phrase) {
				all = append(all, near{c.Phrase, dot(c.embedding, p.embedding)})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b near) int {
		switch {
		case a.cosine > b.cosine:
			return -1
		case a.cosine < b.cosine:
			return 1
		}
		return 0
	})
	var out []string
	for _, n := range all {
		if len(out) < 4 && !slices.Contains(out, n.phrase) {
			out = append(out, n.phrase)
		}
	}
	return out
}

func pointBound(lon, lat float64) orb.Bound {
	p := orb.Point{lon, lat}
	return orb.Bound{Min: p, Max: p}
}
