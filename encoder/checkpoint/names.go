package checkpoint

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tilescout/tilescout/encoder/checkpoint/tensor"
)

// names is a checkpoint under canonical names.
type names struct {
	tensors  map[string]parts
	dialect  string // "" for transformers and flax, else whose names the file has: open_clip
	extended bool
}

func (n *names) has(name string) bool { _, ok := n.tensors[name]; return ok }

// want returns the shape of a tensor that has to be there with so many axes.
func (n *names) want(name string, axes int) ([]int, error) {
	p, ok := n.tensors[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, ErrMissing)
	}
	shape := p.shape()
	if len(shape) != axes {
		return nil, fmt.Errorf("%s has shape %v, want %d axes: %w", name, shape, axes, tensor.ErrShape)
	}
	return shape, nil
}

// layers counts the layers whose names start with prefix and a number: the highest number and one.
func (n *names) layers(prefix string) int {
	count := 0
	for name := range n.tensors {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		number, _, _ := strings.Cut(rest, ".")
		if i, err := strconv.Atoi(number); err == nil && i >= count && i < tensor.MaxTensors {
			count = i + 1
		}
	}
	return count
}

// wrappers that training programs put before every name.
var wrappers = []string{"module.", "_orig_mod.", "model.", "clip.", "params."}

// canonical renames the tensors of a file. Whose names it has shows in the names themselves.
func canonical(file map[string]tensor.Tensor) (*names, error) {
	file = unwrap(file)
	has := func(name string) bool { _, ok := file[name]; return ok }
	switch {
	case has("vision_model.head.probe") || has("vision_model/head/probe") || has("logit_bias"):
		return nil, fmt.Errorf("a SigLIP model (sigmoid scores, pooling head, SentencePiece vocabulary): %w", ErrUnsupported)
	case hasPrefix(file, "visual.trunk."):
		return nil, fmt.Errorf("image tower from timm (visual.trunk): %w", ErrUnsupported)
	case has("text_model.embeddings.token_embedding.embedding"):
		return fromFlax(file)
	case has("visual.conv1.weight"):
		return fromOpenCLIP(file)
	case has("text_model.embeddings.token_embedding.weight") && has("vision_model.embeddings.patch_embedding.weight"):
		return fromTransformers(file)
	case hasPrefix(file, "text_model.") || hasPrefix(file, "vision_model."):
		return nil, fmt.Errorf("one tower only: the model needs its image and its text tower: %w", ErrMissing)
	}
	some := slices.Sorted(maps.Keys(file))
	return nil, fmt.Errorf("%d tensors, none named as in CLIP (first: %.60q): %w", len(file), strings.Join(some[:min(len(some), 1)], ""), ErrUnsupported)
}

func hasPrefix(file map[string]tensor.Tensor, prefix string) bool {
	for name := range file {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// unwrap cuts a prefix that all names share.
func unwrap(file map[string]tensor.Tensor) map[string]tensor.Tensor {
	for range wrappers { // module._orig_mod. and the like
		for _, prefix := range wrappers {
			all := len(file) > 0
			for name := range file {
				all = all && strings.HasPrefix(name, prefix)
			}
			if !all {
				continue
			}
			cut := make(map[string]tensor.Tensor, len(file))
			for name, t := range file {
				cut[name[len(prefix):]] = t
			}
			file = cut
		}
	}
	return file
}

func fromTransformers(file map[string]tensor.Tensor) (*names, error) {
	n := &names{tensors: make(map[string]parts, len(file))}
	for name, t := range file {
		n.tensors[name] = parts{t}
	}
	return n, nil
}

// fromFlax undoes flax's layout: a linear layer's kernel is [in, out], a convolution's [height, width, in, out].
func fromFlax(file map[string]tensor.Tensor) (*names, error) {
	n := &names{tensors: make(map[string]parts, len(file))}
	for name, t := range file {
		stem, last := "", name
		if i := strings.LastIndexByte(name, '.'); i >= 0 {
			stem, last = name[:i+1], name[i+1:]
		}
		switch {
		case last == "kernel" && len(t.Shape()) == 2:
			name, t = stem+"weight", t.Permute(1, 0)
		case last == "kernel" && len(t.Shape()) == 4:
			name, t = stem+"weight", t.Permute(3, 2, 0, 1)
		case last == "kernel":
			return nil, fmt.Errorf("%s has shape %v: %w", name, t.Shape(), tensor.ErrShape)
		case last == "scale" || last == "embedding":
			name = stem + "weight"
		}
		if n.has(name) {
			return nil, fmt.Errorf("%s: %w", name, tensor.ErrDuplicate)
		}
		n.tensors[name] = parts{t}
	}
	return n, nil
}

// longKept is the number of positions that Long-CLIP leaves as they were (its model_longclip.py: mask1).
const longKept = 20

// flat are the names of open_clip outside the layers.
var flat = map[string]string{
	"logit_scale":                 "logit_scale",
	"token_embedding.weight":      "text_model.embeddings.token_embedding.weight",
	"positional_embedding":        "text_model.embeddings.position_embedding.weight",
	"ln_final.weight":             "text_model.final_layer_norm.weight",
	"ln_final.bias":               "text_model.final_layer_norm.bias",
	"text_projection":             "text_projection.weight", // transposed
	"text_projection.weight":      "text_projection.weight",
	"visual.class_embedding":      "vision_model.embeddings.class_embedding",
	"visual.conv1.weight":         "vision_model.embeddings.patch_embedding.weight",
	"visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
	"visual.ln_pre.weight":        "vision_model.pre_layrnorm.weight",
	"visual.ln_pre.bias":          "vision_model.pre_layrnorm.bias",
	"visual.ln_post.weight":       "vision_model.post_layernorm.weight",
	"visual.ln_post.bias":         "vision_model.post_layernorm.bias",
	"visual.proj":                 "visual_projection.weight", // transposed
}

// layered are the names of open_clip inside a layer.
var layered = map[string]string{
	"attn.out_proj": "self_attn.out_proj", "ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
}

// fromOpenCLIP renames the tensors of openai/CLIP and open_clip, which agree on their names.
func fromOpenCLIP(file map[string]tensor.Tensor) (*names, error) {
	n := &names{tensors: make(map[string]parts, len(file)+64), dialect: "open_clip"}
	_, resnet := file["visual.attnpool.positional_embedding"]
	for name, t := range file {
		short := strings.TrimPrefix(name, "text.") // open_clip's custom_text models
		if err := n.rename(short, t, resnet); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return n, n.extend(file)
}

func (n *names) add(name string, p parts) error {
	if n.has(name) {
		return tensor.ErrDuplicate
	}
	n.tensors[name] = p
	return nil
}

func (n *names) rename(name string, t tensor.Tensor, resnet bool) error {
	if resnet && strings.HasPrefix(name, "visual.") {
		return n.add(name, parts{t})
	}
	if to, ok := flat[name]; ok {
		if name == "text_projection" || name == "visual.proj" {
			if len(t.Shape()) != 2 {
				return fmt.Errorf("shape %v: %w", t.Shape(), tensor.ErrShape)
			}
			t = t.Permute(1, 0)
		}
		return n.add(to, parts{t})
	}
	for _, tower := range []struct{ from, to string }{
		{"transformer.resblocks.", "text_model.encoder.layers."},
		{"visual.transformer.resblocks.", "vision_model.encoder.layers."},
	} {
		rest, ok := strings.CutPrefix(name, tower.from)
		if !ok {
			continue
		}
		number, part, _ := strings.Cut(rest, ".")
		return n.renameLayer(tower.to+number+".", part, t)
	}
	return n.add(name, parts{t}) // check decides whether it matters
}

func (n *names) renameLayer(to, part string, t tensor.Tensor) error {
	if part == "attn.in_proj_weight" || part == "attn.in_proj_bias" {
		if len(t.Shape()) == 0 || t.Shape()[0]%3 != 0 {
			return fmt.Errorf("shape %v is not query, key and value: %w", t.Shape(), tensor.ErrShape)
		}
		ending := ".weight"
		if part == "attn.in_proj_bias" {
			ending = ".bias"
		}
		rows := t.Shape()[0] / 3
		for i, which := range []string{"q", "k", "v"} {
			if err := n.add(to+"self_attn."+which+"_proj"+ending, parts{t.Rows(i*rows, (i+1)*rows)}); err != nil {
				return err
			}
		}
		return nil
	}
	stem, ending := part, ""
	if i := strings.LastIndexByte(part, '.'); i >= 0 {
		stem, ending = part[:i], part[i:]
	}
	if known, ok := layered[stem]; ok {
		stem = known
	}
	return n.add(to+stem+ending, parts{t})
}

// extend puts Long-CLIP's two position tables together: the first rows of one, the others of the other.
func (n *names) extend(file map[string]tensor.Tensor) error {
	stretched, ok := file["positional_embedding_res"]
	if !ok {
		return nil
	}
	const name = "text_model.embeddings.position_embedding.weight"
	shape, err := n.want(name, 2)
	if err != nil {
		return err
	}
	if !slices.Equal(shape, stretched.Shape()) || shape[0] <= longKept {
		return fmt.Errorf("position tables of %v and %v: %w", shape, stretched.Shape(), tensor.ErrShape)
	}
	n.tensors[name] = parts{n.tensors[name][0].Rows(0, longKept), stretched.Rows(longKept, shape[0])}
	delete(n.tensors, "positional_embedding_res")
	n.extended = true
	return nil
}
