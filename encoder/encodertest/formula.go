package encodertest

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tilescout/tilescout/encoder/checkpoint"
)

// Formula is a checkpoint whose tensors a formula gives: of any architecture, at any size, without a file.
type Formula struct {
	Architecture checkpoint.Architecture
	shapes       map[string][]int
}

// Shape is the shape of a tensor.
func (w Formula) Shape(name string) []int { return w.shapes[name] }

// Float32 gives the weights that encoder/graph/testdata/make_golden.py gives transformers and open_clip: splitmix64 of the name's hash
// and the index, scaled by powers of two so that every step is exact in both languages.
func (w Formula) Float32(name string, dst []float32) ([]float32, error) {
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
	state := h.Sum64()
	scale, shift := formulaRule(name, shape, n)
	v := dst[:0]
	for range n {
		state += 0x9E3779B97F4A7C15
		z := state
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		z ^= z >> 31
		u := float32(float32(z>>40)*(1./(1<<23))) - 1
		v = append(v, float32(u*scale)+shift)
	}
	return v, nil
}

func formulaRule(name string, shape []int, n int) (scale, shift float32) {
	switch {
	case strings.HasSuffix(name, "running_var"), len(shape) == 1 && strings.HasSuffix(name, ".weight"):
		return .25, 1 // norms
	case len(shape) < 2:
		return .0625, 0
	case strings.Contains(name, "embedding") && !strings.Contains(name, "patch"):
		return .5, 0
	}
	scale = 1
	for scale*scale*float32(n/shape[0]) > 2 {
		scale /= 2
	}
	return scale, 0
}

// NewFormula has the tensors of an architecture.
func NewFormula(a checkpoint.Architecture) Formula {
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
		return Formula{a, s}
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
	return Formula{a, s}
}

// WriteFolder writes the checkpoint as transformers does: config.json, model.safetensors, and a vocabulary for it.
func (w Formula) WriteFolder(t testing.TB, dir string) {
	t.Helper()
	a := w.Architecture
	config, err := json.Marshal(map[string]any{
		"model_type": "clip", "projection_dim": a.Dimension,
		"text_config": map[string]any{"vocab_size": a.Vocabulary, "hidden_size": a.TextWidth, "intermediate_size": a.TextMLP, "num_hidden_layers": a.TextLayers,
			"num_attention_heads": a.TextHeads, "max_position_embeddings": a.TextContext, "hidden_act": a.TextActivation, "eos_token_id": a.EOS, "bos_token_id": a.BOS},
		"vision_config": map[string]any{"hidden_size": a.Width, "intermediate_size": a.MLP, "num_hidden_layers": a.Layers, "num_attention_heads": a.Heads,
			"image_size": a.ImageSize, "patch_size": a.PatchSize, "hidden_act": a.Activation},
	})
	if err != nil {
		t.Fatal(err)
	}
	merges := bytePairs(a.Vocabulary - 2 - 512)
	for name, data := range map[string][]byte{"config.json": config, "merges.txt": []byte(merges)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w.writeTensors(t, filepath.Join(dir, "model.safetensors"))
}

// writeTensors writes a safetensors file, tensor by tensor.
func (w Formula) writeTensors(t testing.TB, path string) {
	t.Helper()
	type entry struct {
		Type    string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	header, at := map[string]entry{}, 0
	names := slices.Sorted(maps.Keys(w.shapes))
	for _, name := range names {
		n := 4
		for _, d := range w.shapes[name] {
			n *= d
		}
		header[name] = entry{"F32", w.shapes[name], [2]int{at, at + n}}
		at += n
	}
	raw, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	out := bufio.NewWriterSize(file, 1<<20)
	out.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(raw))))
	out.Write(raw)
	var values []float32
	for _, name := range names {
		if values, err = w.Float32(name, values); err != nil {
			t.Fatal(err)
		}
		var b [4]byte
		for _, v := range values {
			binary.LittleEndian.PutUint32(b[:], math.Float32bits(v))
			out.Write(b[:])
		}
	}
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
}

// bytePairs is a list of n merges that makes a valid vocabulary: pairs of letters, then pairs of those.
func bytePairs(n int) string {
	var b strings.Builder
	b.WriteString("#version: 0.2\n")
	letters := "abcdefghijklmnopqrstuvwxyz0123456789"
	words := make([]string, 0, len(letters)*len(letters))
	for _, x := range letters {
		for _, y := range letters {
			words = append(words, string(x)+string(y))
			if n > 0 {
				fmt.Fprintf(&b, "%c %c\n", x, y)
			}
			n--
		}
	}
	for _, x := range words {
		for _, y := range words {
			if n <= 0 {
				return b.String()
			}
			fmt.Fprintf(&b, "%s %s\n", x, y)
			n--
		}
	}
	return b.String()
}
