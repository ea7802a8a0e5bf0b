package reference

import (
	"fmt"
	"math"

	"github.com/tilescout/tilescout/encoder/checkpoint"
)

// planes are the channels of one picture, each height × width.
type planes struct {
	channels, height, width int
	v                       []float32
}

// normEpsilon is that of torch's batch normalisation.
const normEpsilon = 1e-5

// resnet is ModifiedResNet of openai/CLIP (clip/model.py): a stem of three convolutions, average pooling where the
// stride is 2, and attention from the mean over all places instead of a last pooling.
func (t *tower) resnet(a checkpoint.Architecture, size int, way string, pixels [][]float32) ([]Picture, error) {
	x := make([]planes, len(pixels))
	for i, p := range pixels {
		x[i] = planes{3, size, size, p}
	}
	x = t.convolve(x, "visual.conv1", "visual.bn1", a.Width/2, 3, 2, true)
	x = t.convolve(x, "visual.conv2", "visual.bn2", a.Width/2, 3, 1, true)
	x = t.convolve(x, "visual.conv3", "visual.bn3", a.Width, 3, 1, true)
	x = pool(x, 2)
	for stage, blocks := range a.Stages {
		for i := range blocks {
			stride := 1
			if stage > 0 && i == 0 {
				stride = 2
			}
			x = t.bottleneck(x, fmt.Sprintf("visual.layer%d.%d", stage+1, i), a.Width<<stage, stride)
		}
	}
	return t.attentionPool(x, a, size, way)
}

func (t *tower) bottleneck(x []planes, name string, width, stride int) []planes {
	y := t.convolve(x, name+".conv1", name+".bn1", width, 1, 1, true)
	y = t.convolve(y, name+".conv2", name+".bn2", width, 3, 1, true)
	y = t.convolve(pool(y, stride), name+".conv3", name+".bn3", 4*width, 1, 1, false)
	if t.w.Shape(name+".downsample.0.weight") != nil {
		x = t.convolve(pool(x, stride), name+".downsample.0", name+".downsample.1", 4*width, 1, 1, false)
	}
	for n := range y {
		for i := range y[n].v {
			y[n].v[i] = max(0, y[n].v[i]+x[n].v[i])
		}
	}
	return y
}

// convolve is a convolution without bias, padded to keep its size, batch normalisation and perhaps ReLU.
func (t *tower) convolve(x []planes, name, norm string, out, k, stride int, relu bool) []planes {
	in := x[0].channels
	w := t.get(name+".weight", out*in*k*k)
	gamma, beta := t.get(norm+".weight", out), t.get(norm+".bias", out)
	mean, variance := t.get(norm+".running_mean", out), t.get(norm+".running_var", out)
	y := make([]planes, len(x))
	for n, m := range x {
		height, width := (m.height+stride-1)/stride, (m.width+stride-1)/stride
		windows := newMatrix(height*width, in*k*k)
		for i := range windows.rows {
			row := windows.row(i)
			for c := range in {
				for dy := range k {
					for dx := range k {
						sy, sx := i/width*stride+dy-k/2, i%width*stride+dx-k/2
						if sy >= 0 && sx >= 0 && sy < m.height && sx < m.width {
							row[(c*k+dy)*k+dx] = m.v[(c*m.height+sy)*m.width+sx]
						}
					}
				}
			}
		}
		sums := multiply(windows, w, make([]float32, out), out)
		y[n] = planes{out, height, width, make([]float32, out*height*width)}
		for i := range sums.rows {
			for o, v := range sums.row(i) {
				z := (float64(v)-float64(mean[o]))/math.Sqrt(float64(variance[o])+normEpsilon)*float64(gamma[o]) + float64(beta[o])
				if relu {
					z = max(0, z)
				}
				y[n].v[o*height*width+i] = float32(z)
			}
		}
	}
	return y
}

// pool averages squares of stride pixels a side.
func pool(x []planes, stride int) []planes {
	if stride == 1 {
		return x
	}
	y := make([]planes, len(x))
	for n, m := range x {
		height, width := m.height/stride, m.width/stride
		y[n] = planes{m.channels, height, width, make([]float32, m.channels*height*width)}
		for i := range y[n].v {
			c, py, px := i/(height*width), i/width%height, i%width
			var sum float64
			for dy := range stride {
				for dx := range stride {
					sum += float64(m.v[(c*m.height+py*stride+dy)*m.width+px*stride+dx])
				}
			}
			y[n].v[i] = float32(sum / float64(stride*stride))
		}
	}
	return y
}

func (t *tower) attentionPool(x []planes, a checkpoint.Architecture, size int, way string) ([]Picture, error) {
	const name = "visual.attnpool"
	width, side := 32*a.Width, size/32
	trained := a.ImageSize / 32
	positions := t.get(name+".positional_embedding", (1+trained*trained)*width)
	if side != trained {
		positions = interpolate(positions, trained, side, width, way)
	}
	tokens, places := make([]matrix, len(x)), make([]matrix, len(x))
	for n, m := range x {
		tokens[n], places[n] = newMatrix(1+side*side, width), newMatrix(side*side, width)
		for c := range width {
			var mean float64
			for i := range side * side {
				v := m.v[c*side*side+i]
				tokens[n].row(1 + i)[c], places[n].row(i)[c] = v, v
				mean += float64(v)
			}
			tokens[n].row(0)[c] = float32(mean / float64(side*side))
		}
		for i := range tokens[n].v {
			tokens[n].v[i] += positions[i]
		}
	}
	q := t.linear(tokens, name+".q_proj", width, true)
	for i := range q {
		q[i] = matrix{1, width, q[i].row(0)}
	}
	k := t.linear(tokens, name+".k_proj", width, true)
	v := t.linear(tokens, name+".v_proj", width, true)
	z := t.linear(attention(q, k, v, a.Heads, nil), name+".c_proj", a.Dimension, true)
	// Patches are embedded without attention and positions (Zhou et al. 2022).
	patches := t.linear(t.linear(places, name+".v_proj", width, true), name+".c_proj", a.Dimension, true)
	if t.err != nil {
		return nil, t.err
	}
	out := make([]Picture, len(x))
	for i := range out {
		out[i] = picture(z[i], patches[i])
	}
	return out, nil
}
