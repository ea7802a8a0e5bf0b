package eval

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Presence is how well the verdict tells a view that holds a thing from one that does not: views of Tiles tiles,
// True of them right or none, drawn with a fixed seed for every label.
type Presence struct {
	Tiles      int     `json:"tiles"`
	True       int     `json:"true_tiles"`
	Views      int     `json:"views"` // of each kind
	AUROC      float64 `json:"auroc"` // of the best tile's score
	AUROCTop3  float64 `json:"auroc_top3"`
	Found      float64 `json:"match_present"` // share of views with the thing that the stored thresholds call a match
	FalseAlarm float64 `json:"match_absent"`
	WeakFound  float64 `json:"weak_present"` // called weak or match
	WeakAlarm  float64 `json:"weak_absent"`
}

// Size of the simulated views, as in TARGETS A6 and docs/evaluation.md.
const (
	viewTiles  = 200
	viewTrue   = 3
	viewRounds = 8
	viewSeed   = 1
	leastTiles = 50 // below that a view says nothing
)

// presence simulates views from the scores of each label: columns[c][i] is the score of picture i for label c.
func presence(columns [][]judged, v verdict) *Presence {
	rng := rand.New(rand.NewPCG(viewSeed, viewSeed))
	out := Presence{Tiles: viewTiles, True: viewTrue}
	var best, top3 []judged
	count := func(p *float64, yes bool) {
		if yes {
			*p++
		}
	}
	for _, list := range columns {
		var own, rest []float64
		for _, j := range list {
			if j.right {
				own = append(own, j.score)
			} else {
				rest = append(rest, j.score)
			}
		}
		tiles := min(viewTiles, len(rest))
		if len(own) < viewTrue || tiles < leastTiles {
			continue
		}
		out.Tiles = min(out.Tiles, tiles)
		for round := range 2 * viewRounds {
			present := round%2 == 1
			var view []float64
			if present {
				view = sample(rng, own, viewTrue)
			}
			view = append(view, sample(rng, rest, tiles-len(view))...)
			slices.Sort(view)
			n := len(view)
			max, mean := view[n-1], (view[n-1]+view[n-2]+view[n-3])/3
			best, top3 = append(best, judged{max, present}), append(top3, judged{mean, present})
			match, weak := v.match(max, mean), v.match(max, mean) || max >= v.weak
			if present {
				count(&out.Found, match)
				count(&out.WeakFound, weak)
			} else {
				out.Views++
				count(&out.FalseAlarm, match)
				count(&out.WeakAlarm, weak)
			}
		}
	}
	if out.Views == 0 {
		return nil
	}
	for _, p := range []*float64{&out.Found, &out.FalseAlarm, &out.WeakFound, &out.WeakAlarm} {
		*p /= float64(out.Views)
	}
	out.AUROC, out.AUROCTop3 = auroc(best), auroc(top3)
	return &out
}

// verdict is the rule of docs/search.md with a model's thresholds.
type verdict struct{ best, top3, weak float64 }

func (v verdict) match(best, top3 float64) bool { return best >= v.best || top3 >= v.top3 }

// corrected takes a prior's penalty off a score's logit.
func corrected(p, penalty float64) float64 {
	if penalty <= 0 {
		return p
	}
	p = min(max(p, 1e-6), 1-1e-6)
	return 1 / (1 + math.Exp(penalty-math.Log(p/(1-p))))
}

// sample draws n of a list without putting back.
func sample(rng *rand.Rand, list []float64, n int) []float64 {
	out := make([]float64, n)
	for i, k := range rng.Perm(len(list))[:n] {
		out[i] = list[k]
	}
	return out
}
