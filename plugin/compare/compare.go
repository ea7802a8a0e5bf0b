// Package compare puts the answers of two models to the same prompts on the same layer side by side: as a table, and on
// a map.
//
//	report, err := compare.Run(ctx, old, new, "city", []string{"stadium", "harbor"}, nil)
//	err = report.Text(os.Stdout)
package compare

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/plugin/search"
)

// top is how many tiles of each answer are looked at.
const top = 20

// Report is the outcome.
type Report struct {
	Layer       string   `json:"layer"`
	A           Model    `json:"a"`
	B           Model    `json:"b"`
	Tiles       int      `json:"tiles"` // that both models have embedded
	Prompts     []Prompt `json:"prompts"`
	Shared      float64  `json:"shared"`      // mean share of the best tiles that both name, over the prompts with an answer
	Correlation *float64 `json:"correlation"` // mean over the prompts that have one
}

// Model is one of the two.
type Model struct {
	ID     string `json:"id"`
	Digest string `json:"digest"`
}

// Prompt is what both answer to one prompt.
type Prompt struct {
	Prompt      string   `json:"prompt"`
	Shared      int      `json:"shared"`      // tiles among the best of both
	Of          int      `json:"of"`          // of so many
	Correlation *float64 `json:"correlation"` // Spearman's, of the scores of all tiles; nil if one model gives all the same
	A           Answer   `json:"a"`
	B           Answer   `json:"b"`
}

// Answer is what one model says.
type Answer struct {
	Verdict search.Verdict `json:"verdict"`
	Max     float64        `json:"max"`
	Matched int            `json:"matched"` // tiles at or above the model's own threshold
	Unknown []string       `json:"unknown,omitempty"`
	Best    []Tile         `json:"best"`
}

// Tile is one of the best.
type Tile struct {
	Tile  string       `json:"tile"`
	Score float64      `json:"score"`
	At    maptile.Tile `json:"-"`
}

// Run asks both engines, each with a model of its own, the same prompts about a layer, or a box of it. Both must have
// embedded what is to count.
func Run(ctx context.Context, a, b *search.Engine, layer string, prompts []string, box *geo.BBox) (Report, error) {
	r := Report{Layer: layer, A: modelOf(a), B: modelOf(b)}
	if len(prompts) == 0 {
		return r, fmt.Errorf("compare: give a prompt: %w", tilescout.ErrBadInput)
	}
	sum, n, answered := 0., 0, 0
	for _, prompt := range prompts {
		p, tiles, err := ask(ctx, a, b, search.Query{Layer: layer, Prompts: []string{prompt}, Box: box, Limit: top})
		if err != nil {
			return r, fmt.Errorf("prompt %q: %w", prompt, err)
		}
		r.Tiles = tiles
		r.Prompts = append(r.Prompts, p)
		if p.Of > 0 {
			r.Shared += float64(p.Shared) / float64(p.Of)
			answered++
		}
		if p.Correlation != nil {
			sum, n = sum+*p.Correlation, n+1
		}
	}
	r.Shared = round(r.Shared / float64(max(1, answered)))
	if n > 0 {
		mean := round(sum / float64(n))
		r.Correlation = &mean
	}
	return r, nil
}

// Prompts are examples that the two models expect on a layer: of each in turn, at most n.
func Prompts(ctx context.Context, a, b *search.Engine, layer string, n int) []string {
	var out []string
	one, other := a.Suggest(ctx, layer, "", n), b.Suggest(ctx, layer, "", n)
	for i := range n {
		for _, list := range [][]search.Suggestion{one, other} {
			if i < len(list) && len(out) < n && !slices.Contains(out, list[i].Phrase) {
				out = append(out, list[i].Phrase)
			}
		}
	}
	return out
}

func modelOf(e *search.Engine) Model {
	m := e.Model()
	return Model{m.ID, m.Digest}
}

// ask compares one prompt and counts the tiles that both models scored.
func ask(ctx context.Context, a, b *search.Engine, q search.Query) (p Prompt, tiles int, err error) {
	p = Prompt{Prompt: q.Prompts[0]}
	if p.A, err = answer(ctx, a, q); err != nil {
		return p, 0, err
	}
	if p.B, err = answer(ctx, b, q); err != nil {
		return p, 0, err
	}
	in := map[maptile.Tile]bool{}
	for _, t := range p.A.Best {
		in[t.At] = true
	}
	for _, t := range p.B.Best {
		if in[t.At] {
			p.Shared++
		}
	}
	p.Of = max(len(p.A.Best), len(p.B.Best))
	x, y, err := pairs(ctx, a, b, q)
	if err != nil {
		return p, 0, err
	}
	if rho := spearman(x, y); !math.IsNaN(rho) {
		rho = round(rho)
		p.Correlation = &rho
	}
	return p, len(x), nil
}

func answer(ctx context.Context, e *search.Engine, q search.Query) (Answer, error) {
	whole, err := e.Search(ctx, q)
	if err != nil {
		return Answer{}, err
	}
	out := Answer{Verdict: whole.Verdict, Max: round(whole.Max), Matched: whole.Matched, Unknown: whole.Unknown, Best: []Tile{}}
	// The best tiles whatever the threshold: two models are compared where both are unsure, too.
	scores, err := e.Scores(ctx, q.Layer, q.Prompts, nil)
	if err != nil {
		return out, err
	}
	for t, s := range scores.Under(maptile.Tile{}) {
		if s > 0 && inside(t, q.Box) {
			out.Best = append(out.Best, Tile{fmt.Sprintf("%d/%d/%d", t.Z, t.X, t.Y), round(float64(s)), t})
		}
	}
	slices.SortStableFunc(out.Best, func(a, b Tile) int {
		switch {
		case a.Score > b.Score:
			return -1
		case a.Score < b.Score:
			return 1
		}
		return 0
	})
	out.Best = out.Best[:min(top, len(out.Best))]
	return out, nil
}

// pairs are the scores of the tiles that both models have scored.
func pairs(ctx context.Context, a, b *search.Engine, q search.Query) (x, y []float64, err error) {
	one, err := a.Scores(ctx, q.Layer, q.Prompts, nil)
	if err != nil {
		return nil, nil, err
	}
	other, err := b.Scores(ctx, q.Layer, q.Prompts, nil)
	if err != nil {
		return nil, nil, err
	}
	for t, s := range one.Under(maptile.Tile{}) {
		if o, ok := other.At(t); ok && inside(t, q.Box) {
			x, y = append(x, float64(s)), append(y, float64(o))
		}
	}
	return x, y, nil
}

func inside(t maptile.Tile, box *geo.BBox) bool {
	if box == nil {
		return true
	}
	bound := geo.Bound(t)
	for _, b := range box.Bounds() {
		if bound.Min[0] < b.Max[0] && bound.Max[0] > b.Min[0] && bound.Min[1] < b.Max[1] && bound.Max[1] > b.Min[1] {
			return true
		}
	}
	return false
}

// spearman is the correlation of the ranks of x and y, equal values sharing their mean rank; NaN where it has no sense.
func spearman(x, y []float64) float64 {
	a, b := ranks(x), ranks(y)
	mean := float64(len(x)-1) / 2
	var ab, aa, bb float64
	for i := range a {
		u, v := a[i]-mean, b[i]-mean
		ab, aa, bb = ab+u*v, aa+u*u, bb+v*v
	}
	return ab / math.Sqrt(aa*bb)
}

func ranks(x []float64) []float64 {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		switch {
		case x[i] < x[j]:
			return -1
		case x[i] > x[j]:
			return 1
		}
		return 0
	})
	out := make([]float64, len(x))
	for i := 0; i < len(order); {
		end := i
		for end < len(order) && x[order[end]] == x[order[i]] {
			end++
		}
		for _, k := range order[i:end] {
			out[k] = float64(i+end-1) / 2
		}
		i = end
	}
	return out
}

func round(v float64) float64 { return math.Round(v*1e4) / 1e4 }
