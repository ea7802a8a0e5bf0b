package main

import (
	"math"
	"slices"
	"testing"
)

// judged is a tile's score and whether it shows what was asked for.
type judged struct {
	score float64
	right bool
}

// averagePrecision is Σ P@k·rel_k / R over the list, best score first.
func averagePrecision(list []judged) (ap float64, positives int) {
	slices.SortFunc(list, func(a, b judged) int {
		switch {
		case a.score > b.score:
			return -1
		case a.score < b.score:
			return 1
		}
		return 0
	})
	for k, j := range list {
		if j.right {
			positives++
			ap += float64(positives) / float64(k+1)
		}
	}
	if positives == 0 {
		return math.NaN(), 0
	}
	return ap / float64(positives), positives
}

func TestAveragePrecision(t *testing.T) {
	list := []judged{{.9, true}, {.8, false}, {.7, true}, {.1, false}}
	if ap, n := averagePrecision(list); n != 2 || math.Abs(ap-(1+2./3)/2) > 1e-12 {
		t.Errorf("average precision = %v of %d, want 5/6 of 2", ap, n)
	}
}

func median(values []float64) float64 {
	v := slices.Clone(values)
	slices.Sort(v)
	return v[len(v)/2]
}
