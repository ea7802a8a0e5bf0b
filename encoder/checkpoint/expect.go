package checkpoint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tilescout/tilescout/encoder/checkpoint/tensor"
)

// check returns the tensors that the architecture has, each with the shape that it gives it, and the names of the rest.
// A tensor that belongs to a tower without being one of CLIP's (a gate, a second norm) is refused: the model would run
// without it, and wrongly.
func check(all map[string]parts, a Architecture) (map[string]parts, []string, error) {
	expected := expect(a)
	used := make(map[string]parts, len(expected))
	for _, e := range expected {
		p, ok := all[e.name]
		if !ok {
			return nil, nil, fmt.Errorf("%s: %w", e.name, ErrMissing)
		}
		shape := p.shape()
		if e.name == "logit_scale" && slices.Equal(shape, []int{1}) {
			shape = []int{}
		}
		if !slices.Equal(shape, e.shape) {
			return nil, nil, fmt.Errorf("%s has shape %v where the other tensors and the config make it %v: %w", e.name, shape, e.shape, tensor.ErrShape)
		}
		for _, t := range p {
			if !t.Type().Float() {
				return nil, nil, fmt.Errorf("%s holds %s, not floats (a quantised checkpoint?): %w", e.name, t.Type(), tensor.ErrType)
			}
		}
		used[e.name] = p
	}
	var unused []string
	for name, p := range all {
		if _, ok := used[name]; ok {
			continue
		}
		if inTower(name) && p[0].Type().Float() && !strings.HasSuffix(name, ".num_batches_tracked") {
			return nil, nil, fmt.Errorf("%s is no part of a CLIP tower: %w", name, ErrUnsupported)
		}
		unused = append(unused, name)
	}
	slices.Sort(unused)
	return used, unused, nil
}

func inTower(name string) bool {
	for _, prefix := range []string{"vision_model.", "text_model.", "visual.", "transformer.", "visual_projection.", "text_projection."} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

type expectation struct {
	name  string
	shape []int
}

// expect lists what a checkpoint of an architecture holds.
func expect(a Architecture) []expectation {
	list := []expectation{
		{"logit_scale", []int{}},
		{"text_model.embeddings.token_embedding.weight", []int{a.Vocabulary, a.TextWidth}},
		{"text_model.embeddings.position_embedding.weight", []int{a.TextContext, a.TextWidth}},
		{"text_model.final_layer_norm.weight", []int{a.TextWidth}},
		{"text_model.final_layer_norm.bias", []int{a.TextWidth}},
		{"text_projection.weight", []int{a.Dimension, a.TextWidth}},
	}
	for i := range a.TextLayers {
		list = appendLayer(list, "text_model.encoder.layers."+strconv.Itoa(i)+".", a.TextWidth, a.TextMLP)
	}
	if a.Kind == ResNet {
		return appendResNet(list, a)
	}
	list = append(list,
		expectation{"vision_model.embeddings.class_embedding", []int{a.Width}},
		expectation{"vision_model.embeddings.patch_embedding.weight", []int{a.Width, 3, a.PatchSize, a.PatchSize}},
		expectation{"vision_model.embeddings.position_embedding.weight", []int{a.Positions, a.Width}},
		expectation{"vision_model.pre_layrnorm.weight", []int{a.Width}},
		expectation{"vision_model.pre_layrnorm.bias", []int{a.Width}},
		expectation{"vision_model.post_layernorm.weight", []int{a.Width}},
		expectation{"vision_model.post_layernorm.bias", []int{a.Width}},
		expectation{"visual_projection.weight", []int{a.Dimension, a.Width}},
	)
	for i := range a.Layers {
		list = appendLayer(list, "vision_model.encoder.layers."+strconv.Itoa(i)+".", a.Width, a.MLP)
	}
	return list
}

func appendLayer(list []expectation, prefix string, width, mlp int) []expectation {
	for _, which := range []string{"q", "k", "v", "out"} {
		list = append(list,
			expectation{prefix + "self_attn." + which + "_proj.weight", []int{width, width}},
			expectation{prefix + "self_attn." + which + "_proj.bias", []int{width}})
	}
	return append(list,
		expectation{prefix + "layer_norm1.weight", []int{width}}, expectation{prefix + "layer_norm1.bias", []int{width}},
		expectation{prefix + "layer_norm2.weight", []int{width}}, expectation{prefix + "layer_norm2.bias", []int{width}},
		expectation{prefix + "mlp.fc1.weight", []int{mlp, width}}, expectation{prefix + "mlp.fc1.bias", []int{mlp}},
		expectation{prefix + "mlp.fc2.weight", []int{width, mlp}}, expectation{prefix + "mlp.fc2.bias", []int{width}})
}

// appendResNet lists the image tower of openai/CLIP clip/model.py, class ModifiedResNet.
func appendResNet(list []expectation, a Architecture) []expectation {
	conv := func(name string, out, in, kernel int) {
		list = append(list, expectation{name + ".weight", []int{out, in, kernel, kernel}})
	}
	norm := func(name string, n int) {
		for _, part := range []string{"weight", "bias", "running_mean", "running_var"} {
			list = append(list, expectation{name + "." + part, []int{n}})
		}
	}
	w := a.Width
	stem := [][2]int{{w / 2, 3}, {w / 2, w / 2}, {w, w / 2}}
	for i, s := range stem {
		n := strconv.Itoa(i + 1)
		conv("visual.conv"+n, s[0], s[1], 3)
		norm("visual.bn"+n, s[0])
	}
	in := w
	for stage, blocks := range a.Stages {
		planes := w << stage
		for b := range blocks {
			p := fmt.Sprintf("visual.layer%d.%d.", stage+1, b)
			conv(p+"conv1", planes, in, 1)
			norm(p+"bn1", planes)
			conv(p+"conv2", planes, planes, 3)
			norm(p+"bn2", planes)
			conv(p+"conv3", 4*planes, planes, 1)
			norm(p+"bn3", 4*planes)
			if b == 0 { // its stride or its channels differ from the block's
				conv(p+"downsample.0", 4*planes, in, 1)
				norm(p+"downsample.1", 4*planes)
			}
			in = 4 * planes
		}
	}
	list = append(list, expectation{"visual.attnpool.positional_embedding", []int{a.Positions, in}})
	for _, which := range []string{"q", "k", "v", "c"} {
		out := in
		if which == "c" {
			out = a.Dimension
		}
		list = append(list,
			expectation{"visual.attnpool." + which + "_proj.weight", []int{out, in}},
			expectation{"visual.attnpool." + which + "_proj.bias", []int{out}})
	}
	return list
}
