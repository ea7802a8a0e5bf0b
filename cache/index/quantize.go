package index

import (
	"fmt"
	"math"

	"github.com/tilescout/tilescout"
)

// toHalf rounds to the nearest IEEE 754 half float, ties to even. |f| < 65504; an embedding's values are ≤ 1.
func toHalf(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	if b < 0x38800000 { // below 2^-14: subnormal, in steps of 2^-24
		return sign | uint16(math.RoundToEven(float64(math.Float32frombits(b))*(1<<24)))
	}
	b += 0xc8000fff + b>>13&1 // exponent bias 127 → 15, then round
	return sign | uint16(b>>13)
}

// fromHalf is exact; not for infinities and NaN, which are never stored.
func fromHalf(h uint16) float32 {
	f := math.Float32frombits(uint32(h&0x7fff)<<13) * 0x1p112 // the product puts the exponent bias right
	if h&0x8000 != 0 {
		return -f
	}
	return f
}

// Each dimension of a segment has one scale: int8 = round(x/scale), at most ±127; a query carries query·scale, so the
// scan pays nothing for it. Scales are a segment's own: they need no sample taken before the first row is known, and
// a merge takes better ones from the half floats, which lose nothing by being merged again and again.
type scaler struct {
	seen    int // rows looked at closely
	largest []float32
	nonzero []int
	top     []float32 // top·dimension largest magnitudes of the rows looked at, largest first
}

const (
	sampleRows = 4096 // rows of a segment that the quantile is taken from, evenly spread
	topValues  = sampleRows/1000 + 1
)

func newScaler(dimension int) *scaler {
	return &scaler{largest: make([]float32, dimension), nonzero: make([]int, dimension), top: make([]float32, dimension*topValues)}
}

func (s *scaler) add(row []float32, closely bool) {
	for d, x := range row {
		if x = max(x, -x); x > s.largest[d] {
			s.largest[d] = x
		}
		if !closely || x == 0 {
			continue
		}
		s.nonzero[d]++
		t := s.top[d*topValues : (d+1)*topValues]
		for i := topValues; i > 0 && x > t[i-1]; i-- {
			if i < topValues {
				t[i] = t[i-1]
			}
			t[i-1] = x
		}
	}
}

// scales returns a 127th of the range of each dimension: a quarter above the 99.9 % quantile of its magnitudes, so
// that a few outliers do not coarsen the rest, but never so little that one loses more than half of itself. (The bare
// quantile of search-quality reference §5.4 has twice the squared error on normally distributed values: TestPrecision.)
// Zeros do not count, and a quantile needs a thousand values: a dimension that is nearly always zero keeps the few.
func (s *scaler) scales() []float32 {
	out := make([]float32, len(s.largest))
	for d := range out {
		out[d] = s.largest[d] / 127
		if rank := s.nonzero[d] / 1000; rank > 0 {
			out[d] = min(max(1.25*s.top[d*topValues+rank], s.largest[d]/2), s.largest[d]) / 127
		}
	}
	return out
}

// quantize writes a row as int8, never −128; dst is as long as a padded row.
func quantize(dst []byte, row, scale []float32) {
	for d, x := range row {
		if scale[d] == 0 {
			dst[d] = 0
			continue
		}
		q := x / scale[d]
		if q < 0 {
			q -= 0.5
		} else {
			q += 0.5
		}
		dst[d] = byte(int8(max(-127, min(127, int32(q)))))
	}
	clear(dst[len(row):])
}

// Query is an embedding made ready to be scanned with, for the rows of one Snapshot.
type Query struct {
	snap      *Snapshot
	embedding []float32
	parts     []partQuery
}

// partQuery is the query in the scale of one segment: similarity ≈ factor · dot product of integers.
type partQuery struct {
	values []int16
	factor float32
}

// Quantize readies an embedding for scans of this snapshot. ErrBadInput where its length is not the dimension, or a
// value is not finite.
func (s *Snapshot) Quantize(embedding []float32) (Query, error) {
	if len(embedding) != s.set.key.Dimension {
		return Query{}, fmt.Errorf("index: an embedding of %d values for an index of %d: %w", len(embedding), s.set.key.Dimension, tilescout.ErrBadInput)
	}
	for _, x := range embedding {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return Query{}, fmt.Errorf("index: the embedding holds %v: %w", x, tilescout.ErrBadInput)
		}
	}
	q := Query{s, append([]float32{}, embedding...), make([]partQuery, len(s.parts))}
	for i, p := range s.parts {
		if p.seg != nil {
			q.parts[i] = quantizeQuery(embedding, p.seg.scale)
		}
	}
	return q, nil
}

func quantizeQuery(embedding, scale []float32) partQuery {
	h := header{dimension: uint32(len(embedding))}
	q := partQuery{values: make([]int16, h.stride())}
	var largest float64
	for d, x := range embedding {
		largest = max(largest, math.Abs(float64(x)*float64(scale[d])))
	}
	if largest == 0 {
		return q
	}
	top := float64(maxQuery(h.stride()))
	for d, x := range embedding {
		q.values[d] = int16(math.Round(float64(x) * float64(scale[d]) / largest * top))
	}
	q.factor = float32(largest / top)
	return q
}
