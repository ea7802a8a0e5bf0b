package index

import (
	"cmp"
	"slices"
)

// TopK returns the places of the k largest scores, largest first, equal ones in order of place. NaN is never taken.
func TopK(scores []float32, k int) []int {
	k = min(k, len(scores))
	if k <= 0 {
		return nil
	}
	heap := make([]int, 0, k) // the worst of the best so far is at 0
	better := func(a, b int) bool {
		return scores[a] > scores[b] || scores[a] == scores[b] && a < b
	}
	for i, x := range scores {
		switch {
		case x != x:
		case len(heap) < k:
			heap = append(heap, i)
			for at := len(heap) - 1; at > 0; {
				up := (at - 1) / 2
				if better(heap[at], heap[up]) {
					break
				}
				heap[at], heap[up] = heap[up], heap[at]
				at = up
			}
		case x > scores[heap[0]]:
			heap[0] = i
			for at := 0; ; {
				worst := at
				for _, down := range [2]int{2*at + 1, 2*at + 2} {
					if down < len(heap) && better(heap[worst], heap[down]) {
						worst = down
					}
				}
				if worst == at {
					break
				}
				heap[at], heap[worst] = heap[worst], heap[at]
				at = worst
			}
		}
	}
	slices.SortFunc(heap, func(a, b int) int {
		return cmp.Or(cmp.Compare(scores[b], scores[a]), cmp.Compare(a, b))
	})
	return heap
}
