package reference

import (
	"context"
	"fmt"
	"math"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder/checkpoint"
)

// Images runs the image tower on pictures of size × size pixels: float32 [3, size, size], normalised. positions says how
// position embeddings are interpolated where size is not that of the training: transformers or open_clip.
func Images(ctx context.Context, w Weights, a checkpoint.Architecture, size int, positions string, pixels [][]float32) ([]Picture, error) {
	for _, p := range pixels {
		if len(p) != 3*size*size {
			return nil, fmt.Errorf("reference: picture of %d values, want 3 × %d × %d: %w", len(p), size, size, tilescout.ErrBadInput)
		}
	}
	if len(pixels) == 0 {
		return nil, nil
	}
	t := &tower{ctx: ctx, w: w}
	if a.Kind == checkpoint.ResNet {
		return t.resnet(a, size, positions, pixels)
	}
	return t.vit(a, size, positions, pixels)
}

func (t *tower) vit(a checkpoint.Architecture, size int, way string, pixels [][]float32) ([]Picture, error) {
	p, width := a.PatchSize, a.Width
	side := size / p
	if side < 1 || side*p != size {
		return nil, fmt.Errorf("reference: size %d is no multiple of the patch size %d: %w", size, p, tilescout.ErrBadInput)
	}
	kernel := t.get("vision_model.embeddings.patch_embedding.weight", width*3*p*p)
	class := t.get("vision_model.embeddings.class_embedding", width)
	trained := a.ImageSize / p
	positions := t.get("vision_model.embeddings.position_embedding.weight", (1+trained*trained)*width)
	if side != trained {
		positions = interpolate(positions, trained, side, width, way)
	}
	x := make([]matrix, len(pixels))
	for n, in := range pixels {
		// The convolution, patch by patch: its window in the order of the kernel, channel by channel.
		windows := newMatrix(side*side, 3*p*p)
		for i := range windows.rows {
			top, left, at := i/side*p, i%side*p, 0
			for c := range 3 {
				for y := range p {
					copy(windows.row(i)[at:at+p], in[(c*size+top+y)*size+left:])
					at += p
				}
			}
		}
		patches := multiply(windows, kernel, make([]float32, width), width)
		x[n] = newMatrix(1+patches.rows, width)
		copy(x[n].row(0), class)
		copy(x[n].v[width:], patches.v)
		for i := range x[n].v {
			x[n].v[i] += positions[i]
		}
	}
	x = t.norm(x, "vision_model.pre_layrnorm", a.Norm)
	layer := func(i int) string { return fmt.Sprintf("vision_model.encoder.layers.%d", i) }
	for i := range a.Layers - 1 {
		x = t.block(x, layer(i), a.Heads, a.MLP, a.Norm, a.Activation, nil)
	}
	last := layer(a.Layers - 1)
	patches := t.patches(x, last, a, side)
	x = t.block(x, last, a.Heads, a.MLP, a.Norm, a.Activation, nil)
	for i := range x {
		x[i] = matrix{1, width, x[i].row(0)}
	}
	x = t.project(x, a)
	if t.err != nil {
		return nil, t.err
	}
	out := make([]Picture, len(x))
	for i := range x {
		out[i] = picture(x[i], patches[i])
	}
	return out, nil
}

func (t *tower) project(x []matrix, a checkpoint.Architecture) []matrix {
	return t.linear(t.norm(x, "vision_model.post_layernorm", a.Norm), "visual_projection", a.Dimension, false)
}

// patches are those of NACLIP: in the last block keys attend to keys, with a Gaussian of the distance added to the
// logits; no residual, no MLP (Hajimiri et al. 2025, "reduced").
func (t *tower) patches(x []matrix, layer string, a checkpoint.Architecture, side int) []matrix {
	y := t.norm(x, layer+".layer_norm1", a.Norm)
	k := t.linear(y, layer+".self_attn.k_proj", a.Width, true)
	v := t.linear(y, layer+".self_attn.v_proj", a.Width, true)
	z := attention(k, k, v, a.Heads, func(i, j int) float64 {
		if i == 0 || j == 0 {
			return 0
		}
		dy, dx := float64((i-1)/side-(j-1)/side), float64((i-1)%side-(j-1)%side)
		return math.Exp(-(dx*dx + dy*dy) / (2 * 5 * 5))
	})
	z = t.linear(z, layer+".self_attn.out_proj", a.Width, true)
	for i := range z {
		z[i] = matrix{z[i].rows - 1, z[i].width, z[i].v[z[i].width:]}
	}
	return t.project(z, a)
}

func picture(embedding, patches matrix) Picture {
	p := Picture{Embedding: unit(embedding.row(0))}
	for i := range patches.rows {
		p.Patches = append(p.Patches, unit(patches.row(i)))
	}
	return p
}

// interpolate evaluates the bicubic surface through a grid of position embeddings at the centres of another grid, value
// by value. "open_clip" widens the kernel where the grid shrinks and takes a = -0.5; otherwise a = -0.75, and what lies
// beyond the border is the border's (torch.nn.functional.interpolate with and without antialias).
func interpolate(table []float32, from, to, width int, way string) []float32 {
	out := make([]float32, (1+to*to)*width)
	copy(out, table[:width])
	scale := float64(from) / float64(to)
	weight := func(i, j int) float64 { // of old position j, which may lie outside, for new position i
		center := (float64(i)+.5)*scale - .5
		if way == "open_clip" {
			return keys(-.5, (float64(j)-center)/max(scale, 1))
		}
		return keys(-.75, float64(j)-center)
	}
	reach := int(2*max(scale, 1)) + 2
	for y := range to {
		for x := range to {
			sum := make([]float64, width)
			var total float64
			cy, cx := int(float64(y)*scale), int(float64(x)*scale)
			for j := cy - reach; j <= cy+reach+1; j++ {
				for i := cx - reach; i <= cx+reach+1; i++ {
					w := weight(y, j) * weight(x, i)
					inside := j >= 0 && i >= 0 && j < from && i < from
					if w == 0 || way == "open_clip" && !inside {
						continue
					}
					total += w
					row := min(max(j, 0), from-1)*from + min(max(i, 0), from-1)
					for c := range sum {
						sum[c] += w * float64(table[(1+row)*width+c])
					}
				}
			}
			for c, v := range sum {
				out[(1+y*to+x)*width+c] = float32(v / total)
			}
		}
	}
	return out
}

// keys is the cubic convolution kernel (Keys 1981).
func keys(a, t float64) float64 {
	t = math.Abs(t)
	if t <= 1 {
		return (a+2)*t*t*t - (a+3)*t*t + 1
	}
	if t < 2 {
		return a*t*t*t - 5*a*t*t + 8*a*t - 4*a
	}
	return 0
}
