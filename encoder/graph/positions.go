package graph

import (
	"github.com/tilescout/tilescout/encoder/checkpoint"
	"math"
)

// positions returns the position embeddings [1+side², width], the class token's first, interpolated where the tower is
// written for another size than it was trained with.
func (b *builder) positions(a checkpoint.Architecture, o ImageOptions, side int) []float32 {
	trained := a.ImageSize / a.PatchSize
	table := b.load("vision_model.embeddings.position_embedding.weight", 1+trained*trained, a.Width)
	return Positions(table, trained, side, a.Width, o.Positions)
}

// Positions interpolates a table of position embeddings [1+from², width] to [1+to², width]. way "open_clip" is bicubic
// with antialiasing (a = -0.5), any other that of transformers, bicubic without (a = -0.75). The table is returned as it
// is where from equals to.
func Positions(table []float32, from, to, width int, way string) []float32 {
	if from == to {
		return table
	}
	kernel := resample(from, to, way == "open_clip")
	grid := table[width:]
	wide := make([]float64, from*to*width) // rows of the old grid, columns of the new
	for y := range from {
		for x, taps := range kernel {
			for _, t := range taps {
				for c := range width {
					wide[(y*to+x)*width+c] += t.weight * float64(grid[(y*from+t.at)*width+c])
				}
			}
		}
	}
	out := make([]float32, (1+to*to)*width)
	copy(out, table[:width])
	sum := make([]float64, width)
	for y, taps := range kernel {
		for x := range to {
			clear(sum)
			for _, t := range taps {
				for c := range width {
					sum[c] += t.weight * wide[(t.at*to+x)*width+c]
				}
			}
			for c, v := range sum {
				out[(1+y*to+x)*width+c] = float32(v)
			}
		}
	}
	return out
}

// sample is one input of an interpolated value.
type sample struct {
	at     int
	weight float64
}

// resample returns the inputs of each of to values interpolated from from, as torch's upsample_bicubic2d does it with
// align_corners=False.
func resample(from, to int, antialias bool) [][]sample {
	scale := float64(from) / float64(to)
	out := make([][]sample, to)
	if !antialias {
		for i := range out {
			at := (float64(i)+.5)*scale - .5
			first := math.Floor(at)
			for j := -1; j <= 2; j++ {
				k := min(max(int(first)+j, 0), from-1)
				out[i] = append(out[i], sample{k, cubic(-.75, at-first-float64(j))})
			}
		}
		return out
	}
	filterScale := max(scale, 1)
	support := 2 * filterScale
	for i := range out {
		center := (float64(i) + .5) * scale
		lo, hi := max(0, int(center-support+.5)), min(from, int(center+support+.5))
		var sum float64
		for k := lo; k < hi; k++ {
			w := cubic(-.5, (float64(k)-center+.5)/filterScale)
			out[i] = append(out[i], sample{k, w})
			sum += w
		}
		for k := range out[i] {
			out[i][k].weight /= sum
		}
	}
	return out
}

// cubic is the convolution kernel of Keys (1981).
func cubic(a, t float64) float64 {
	t = math.Abs(t)
	switch {
	case t < 1:
		return ((a+2)*t-(a+3))*t*t + 1
	case t < 2:
		return a * (((t-5)*t+8)*t - 4)
	}
	return 0
}
