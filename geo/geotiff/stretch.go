package geotiff

import (
	"context"
	"fmt"
	"image"
	"math"
	"slices"
)

// Range is what a stretch makes black and white.
type Range struct{ Min, Max float64 }

// stretch brings samples of one band to 8 bits.
type stretch struct {
	Range
	table []byte // of samples of one or two bytes: the result for each
}

func newStretch(r Range, k sampleKind, invert bool) stretch {
	s := stretch{Range: r}
	if invert { // white is zero
		s.Min, s.Max = r.Max, r.Min
	}
	if k.width() <= 2 {
		s.table = make([]byte, 1<<(8*k.width()))
		var b [2]byte
		for v := range s.table {
			b[0], b[1] = byte(v), byte(v>>8)
			s.table[v] = s.at(k.value(b[:], 0))
		}
	}
	return s
}

// at is the 8-bit value of a sample; NaN, which the caller takes out, is 0.
func (s *stretch) at(v float64) byte {
	x := (v-s.Min)/(s.Max-s.Min)*255 + 0.5
	switch {
	case x >= 255:
		return 255
	case x >= 0:
		return byte(x)
	}
	return 0
}

// Percentiles of the default stretch: the darkest and brightest hundredths are mostly clouds, shadows and mistakes.
const (
	lowPercentile  = 0.02
	highPercentile = 0.98

	sampleValues = 1 << 18 // of a band, at most
	samplePixels = 1 << 16 // that an overview must have to stand for the file
)

// chooseStretch fixes how samples become 8 bits for the life of the file, so that all tiles have one scale.
func (f *File) chooseStretch(ctx context.Context, given, wide []Range) error {
	l := f.levels[0]
	if len(given) > 1 && len(given) != len(l.bands) {
		return fmt.Errorf("stretch of %d bands where %d are shown: %w", len(given), len(l.bands), ErrTagValue)
	}
	for _, r := range append(slices.Clone(given), wide...) {
		if !(r.Min < r.Max) || math.IsInf(r.Max-r.Min, 0) {
			return fmt.Errorf("stretch from %v to %v: %w", r.Min, r.Max, ErrTagValue)
		}
	}
	if len(given) == 0 && l.kind == kindU8 || l.Photometric == palette {
		return nil
	}
	ranges := make([]Range, len(l.bands))
	switch {
	case len(given) == 1:
		for i := range ranges {
			ranges[i] = given[0]
		}
	case len(given) > 1:
		copy(ranges, given)
	case len(wide) > 0:
		for i := range ranges {
			ranges[i] = wide[i%len(wide)]
		}
	default:
		f.percentiles(ctx, ranges)
	}
	f.info.Stretch = ranges
	f.stretches = make([]stretch, len(ranges))
	for i, r := range ranges {
		f.stretches[i] = newStretch(r, l.kind, l.Photometric == whiteIsZero)
	}
	return nil
}

// percentiles measures the shown bands on a few blocks of an overview. What cannot be read leaves the type's range:
// a tile of it will say what is wrong.
func (f *File) percentiles(ctx context.Context, ranges []Range) {
	l := f.levels[0]
	for _, o := range f.levels[1:] {
		if o.width*o.height >= samplePixels && o.width <= l.width {
			l = o
		}
	}
	release, err := f.reserve(ctx, l, image.Rectangle{})
	if err != nil {
		return
	}
	defer release()
	blocks := sampledBlocks(l)
	step := 1
	for len(blocks)*l.blockW*l.blockH/step > sampleValues {
		step++
	}
	for c, band := range l.bands {
		var values []float64
		for _, at := range blocks {
			plane, s := 0, band
			if l.planes > 1 {
				plane, s = band, 0
			}
			r, err := f.samples(ctx, l, at[0], at[1], plane)
			if err != nil || r == nil || r.img != nil {
				continue
			}
			spp := l.blockSamples()
			w, h := min(l.blockW, l.width-at[0]*l.blockW), min(l.rows(at[1]), l.height-at[1]*l.blockH)
			for k := 0; k < w*h; k += step {
				v := l.kind.value(r.pix, (k/w*l.blockW+k%w)*spp+s)
				if !l.isNoData(v) && !math.IsInf(v, 0) {
					values = append(values, v)
				}
			}
		}
		lo, hi := l.kind.full(l.bits())
		if len(values) > 0 {
			slices.Sort(values)
			lo = values[int(lowPercentile*float64(len(values)-1))]
			hi = values[int(math.Ceil(highPercentile*float64(len(values)-1)))]
			if !(lo < hi) { // one colour all over: not black
				hi = lo + math.Max(1, math.Abs(lo))
			}
		}
		ranges[c] = Range{lo, hi}
	}
}

// sampledBlocks are blocks spread evenly over a level.
func sampledBlocks(l *level) [][2]int {
	const side = 4
	var out [][2]int
	for y := range min(side, l.down) {
		for x := range min(side, l.across) {
			out = append(out, [2]int{(2*x + 1) * l.across / (2 * min(side, l.across)), (2*y + 1) * l.down / (2 * min(side, l.down))})
		}
	}
	return out
}
