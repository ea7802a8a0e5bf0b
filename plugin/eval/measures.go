package eval

import (
	"math"
	"slices"
)

// Interval is Wilson's 95 % interval of a share.
type Interval [2]float64

// wilson returns the interval of a share seen n times (Wilson 1927).
func wilson(share float64, n int) Interval {
	if n == 0 {
		return Interval{0, 1}
	}
	const z = 1.96
	m := float64(n)
	middle := (share + z*z/(2*m)) / (1 + z*z/m)
	half := z * math.Sqrt(share*(1-share)/m+z*z/(4*m*m)) / (1 + z*z/m)
	return Interval{max(0, middle-half), min(1, middle+half)}
}

// judged is a score and whether it belongs to a right answer.
type judged struct {
	score float64
	right bool
}

// bestFirst sorts by score; equal ones keep their order.
func bestFirst(list []judged) {
	slices.SortStableFunc(list, func(a, b judged) int {
		switch {
		case a.score > b.score:
			return -1
		case a.score < b.score:
			return 1
		}
		return 0
	})
}

// averagePrecision is Σ P@k·rel_k / R, best score first. Equal scores share the precision at the end of their group, so
// that the order in which they came plays no part. NaN if nothing is right.
func averagePrecision(list []judged) float64 {
	list = slices.Clone(list)
	bestFirst(list)
	found, sum := 0, 0.0
	for i := 0; i < len(list); {
		end, right := i, 0
		for ; end < len(list) && list[end].score == list[i].score; end++ {
			if list[end].right {
				right++
			}
		}
		found += right
		sum += float64(right) * float64(found) / float64(end)
		i = end
	}
	if found == 0 {
		return math.NaN()
	}
	return sum / float64(found)
}

// auroc is the chance that a right one scores above a wrong one; ties count half.
func auroc(list []judged) float64 {
	list = slices.Clone(list)
	bestFirst(list)
	slices.Reverse(list)
	below, sum, rights := 0.0, 0.0, 0.0
	for i := 0; i < len(list); {
		right, wrong := 0.0, 0.0
		end := i
		for ; end < len(list) && list[end].score == list[i].score; end++ {
			if list[end].right {
				right++
			} else {
				wrong++
			}
		}
		sum += right * (below + wrong/2)
		below, rights = below+wrong, rights+right
		i = end
	}
	return sum / (rights * below) // NaN if one kind is missing
}

// eceBins is the number of bins of equal mass.
const eceBins = 15

// Bin is one bin of a reliability diagram.
type Bin struct {
	N          int     `json:"n"`
	Confidence float64 `json:"confidence"` // mean
	Accuracy   float64 `json:"accuracy"`
}

// calibrationError is Σ n_b/n·|acc_b − conf_b| over bins of equal mass (Naeini et al. 2015; Nixon et al. 2019).
func calibrationError(list []judged) (ece float64, bins []Bin) {
	list = slices.Clone(list)
	bestFirst(list)
	slices.Reverse(list)
	for b := range eceBins {
		part := list[b*len(list)/eceBins : (b+1)*len(list)/eceBins]
		if len(part) == 0 {
			continue
		}
		bin := Bin{N: len(part), Accuracy: shareRight(part)}
		for _, j := range part {
			bin.Confidence += j.score / float64(len(part))
		}
		bins = append(bins, bin)
		ece += float64(len(part)) / float64(len(list)) * math.Abs(bin.Accuracy-bin.Confidence)
	}
	return ece, bins
}

// shareRight is the share of right ones.
func shareRight(list []judged) float64 {
	n := 0
	for _, j := range list {
		if j.right {
			n++
		}
	}
	return float64(n) / float64(len(list))
}
