package graph_test

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/tilescout/tilescout/encoder/checkpoint"
)

// randomWeights is a checkpoint with seeded random tensors in the shapes of an architecture.
type randomWeights struct{ shapes map[string][]int }

func (w randomWeights) Shape(name string) []int { return w.shapes[name] }

func (w randomWeights) Float32(name string, dst []float32) ([]float32, error) {
	shape, ok := w.shapes[name]
	if !ok {
		return nil, fmt.Errorf("no tensor %s", name)
	}
	n := 1
	for _, d := range shape {
		n *= d
	}
	h := fnv.New64a()
	h.Write([]byte(name))
	rng := rand.New(rand.NewPCG(3, h.Sum64()))
	scale, shift := 1/math.Sqrt(float64(n/shape[0])), 0.
	switch {
	case strings.Contains(name, "norm") && strings.HasSuffix(name, ".weight"), strings.Contains(name, "bn") && strings.HasSuffix(name, ".weight"), strings.HasSuffix(name, "downsample.1.weight"):
		scale, shift = .2, 1
	case strings.HasSuffix(name, "running_var"):
		scale, shift = .1, 1
	case len(shape) == 1:
		scale = .1
	case strings.Contains(name, "embedding"):
		scale = .5
	}
	v := dst[:0]
	for range n {
		v = append(v, float32(rng.NormFloat64()*scale+shift))
	}
	if strings.HasSuffix(name, "running_var") {
		for i := range v {
			v[i] = max(v[i], .1)
		}
	}
	return v, nil
}

// randomCheckpoint has the tensors of an architecture.
func randomCheckpoint(a checkpoint.Architecture) randomWeights {
	s := map[string][]int{"logit_scale": {}}
	transformer := func(prefix string, layers, width, mlp int) {
		for i := range layers {
			layer := fmt.Sprintf("%s%d.", prefix, i)
			for _, p := range []string{"q", "k", "v", "out"} {
				s[layer+"self_attn."+p+"_proj.weight"], s[layer+"self_attn."+p+"_proj.bias"] = []int{width, width}, []int{width}
			}
			s[layer+"mlp.fc1.weight"], s[layer+"mlp.fc1.bias"] = []int{mlp, width}, []int{mlp}
			s[layer+"mlp.fc2.weight"], s[layer+"mlp.fc2.bias"] = []int{width, mlp}, []int{width}
			for _, n := range []string{"layer_norm1", "layer_norm2"} {
				s[layer+n+".weight"], s[layer+n+".bias"] = []int{width}, []int{width}
			}
		}
	}
	norm := func(name string, width int) { s[name+".weight"], s[name+".bias"] = []int{width}, []int{width} }
	s["text_model.embeddings.token_embedding.weight"] = []int{a.Vocabulary, a.TextWidth}
	s["text_model.embeddings.position_embedding.weight"] = []int{a.TextContext, a.TextWidth}
	transformer("text_model.encoder.layers.", a.TextLayers, a.TextWidth, a.TextMLP)
	norm("text_model.final_layer_norm", a.TextWidth)
	s["text_projection.weight"] = []int{a.Dimension, a.TextWidth}
	if a.Kind == checkpoint.ViT {
		grid := a.ImageSize / a.PatchSize
		s["vision_model.embeddings.class_embedding"] = []int{a.Width}
		s["vision_model.embeddings.patch_embedding.weight"] = []int{a.Width, 3, a.PatchSize, a.PatchSize}
		s["vision_model.embeddings.position_embedding.weight"] = []int{1 + grid*grid, a.Width}
		norm("vision_model.pre_layrnorm", a.Width)
		norm("vision_model.post_layernorm", a.Width)
		transformer("vision_model.encoder.layers.", a.Layers, a.Width, a.MLP)
		s["visual_projection.weight"] = []int{a.Dimension, a.Width}
		return randomWeights{s}
	}
	conv := func(name, bn string, out, in, k int) {
		s[name+".weight"] = []int{out, in, k, k}
		for _, p := range []string{"weight", "bias", "running_mean", "running_var"} {
			s[bn+"."+p] = []int{out}
		}
	}
	conv("visual.conv1", "visual.bn1", a.Width/2, 3, 3)
	conv("visual.conv2", "visual.bn2", a.Width/2, a.Width/2, 3)
	conv("visual.conv3", "visual.bn3", a.Width, a.Width/2, 3)
	in := a.Width
	for stage, blocks := range a.Stages {
		width := a.Width << stage
		for i := range blocks {
			name := fmt.Sprintf("visual.layer%d.%d", stage+1, i)
			conv(name+".conv1", name+".bn1", width, in, 1)
			conv(name+".conv2", name+".bn2", width, width, 3)
			conv(name+".conv3", name+".bn3", 4*width, width, 1)
			if i == 0 {
				conv(name+".downsample.0", name+".downsample.1", 4*width, in, 1)
			}
			in = 4 * width
		}
	}
	pool := "visual.attnpool."
	width, grid := 32*a.Width, a.ImageSize/32
	s[pool+"positional_embedding"] = []int{1 + grid*grid, width}
	for _, p := range []string{"q", "k", "v"} {
		s[pool+p+"_proj.weight"], s[pool+p+"_proj.bias"] = []int{width, width}, []int{width}
	}
	s[pool+"c_proj.weight"], s[pool+"c_proj.bias"] = []int{a.Dimension, width}, []int{a.Dimension}
	return randomWeights{s}
}
