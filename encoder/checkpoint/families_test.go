package checkpoint_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/encoder/checkpoint/hostile"
	"github.com/tilescout/tilescout/encoder/checkpoint/tensor"
)

// save writes files into a new folder.
func save(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// openCLIP renames the sound model as open_clip has it: query, key and value in one, projections transposed.
func openCLIP(prefix string) []hostile.Array {
	byName := map[string]hostile.Array{}
	for _, a := range hostile.Model() {
		byName[a.Name] = a
	}
	all := []hostile.Array{{Name: prefix + "logit_scale", Shape: []int{}, Values: []float32{2.5}}}
	put := func(to, from string) {
		a := byName[from]
		all = append(all, hostile.Array{Name: prefix + to, Shape: a.Shape, Values: a.Values})
	}
	turned := func(to, from string) {
		a := byName[from]
		rows, columns := a.Shape[0], a.Shape[1]
		b := hostile.Array{Name: prefix + to, Shape: []int{columns, rows}, Values: make([]float32, len(a.Values))}
		for i, v := range a.Values {
			b.Values[i%columns*rows+i/columns] = v
		}
		all = append(all, b)
	}
	put("token_embedding.weight", "text_model.embeddings.token_embedding.weight")
	put("positional_embedding", "text_model.embeddings.position_embedding.weight")
	turned("text_projection", "text_projection.weight")
	turned("visual.proj", "visual_projection.weight")
	put("visual.class_embedding", "vision_model.embeddings.class_embedding")
	put("visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight")
	put("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight")
	for _, end := range []string{".weight", ".bias"} {
		put("ln_final"+end, "text_model.final_layer_norm"+end)
		put("visual.ln_pre"+end, "vision_model.pre_layrnorm"+end)
		put("visual.ln_post"+end, "vision_model.post_layernorm"+end)
		for to, from := range map[string]string{"": "text_model", "visual.": "vision_model"} {
			to, from := to+"transformer.resblocks.0.", from+".encoder.layers.0."
			put(to+"ln_1"+end, from+"layer_norm1"+end)
			put(to+"ln_2"+end, from+"layer_norm2"+end)
			put(to+"mlp.c_fc"+end, from+"mlp.fc1"+end)
			put(to+"mlp.c_proj"+end, from+"mlp.fc2"+end)
			put(to+"attn.out_proj"+end, from+"self_attn.out_proj"+end)
			q, k, v := byName[from+"self_attn.q_proj"+end], byName[from+"self_attn.k_proj"+end], byName[from+"self_attn.v_proj"+end]
			shape := slices.Clone(q.Shape)
			shape[0] *= 3
			all = append(all, hostile.Array{Name: prefix + to + "attn.in_proj_" + end[1:], Shape: shape, Values: slices.Concat(q.Values, k.Values, v.Values)})
		}
	}
	return all
}

// sound compares a checkpoint with the sound model.
func sound(t *testing.T, c *checkpoint.Checkpoint) {
	t.Helper()
	for _, a := range hostile.Model() {
		got, err := c.Float32(a.Name, nil)
		if err != nil || !slices.Equal(got, a.Values) {
			t.Errorf("%s differs (%v)", a.Name, err)
		}
	}
}

func TestFamilies(t *testing.T) {
	remove := func(all []hostile.Array, name string) []hostile.Array {
		return slices.DeleteFunc(all, func(a hostile.Array) bool { return a.Name == name })
	}
	buffers := func(all []hostile.Array) []hostile.Array { // in OpenAI's archives
		for _, name := range []string{"input_resolution", "context_length", "vocab_size"} {
			all = append(all, hostile.Array{Name: name, Shape: []int{}, Values: []float32{8}})
		}
		return all
	}
	custom := openCLIP("")
	for i, a := range custom {
		if strings.HasPrefix(a.Name, "transformer") || strings.HasPrefix(a.Name, "token") || a.Name == "positional_embedding" || strings.HasPrefix(a.Name, "ln_final") || a.Name == "text_projection" {
			custom[i].Name = "text." + a.Name
		}
	}
	for name, c := range map[string]struct {
		file             string
		data             []byte
		format           string
		activation, from string
	}{
		"RemoteCLIP":              {"RemoteCLIP-ViT-B-32.pt", hostile.Torch(openCLIP("")), "open_clip pytorch zip", checkpoint.QuickGELU, "guess"},
		"trained in parallel":     {"epoch_9.pt", hostile.Torch(openCLIP("module.")), "open_clip pytorch zip", checkpoint.QuickGELU, "guess"},
		"compiled":                {"epoch_9.pt", hostile.Torch(openCLIP("module._orig_mod.")), "open_clip pytorch zip", checkpoint.QuickGELU, "guess"},
		"before 1.6":              {"ViT.pt", hostile.Legacy(openCLIP("")), "open_clip pytorch legacy", checkpoint.QuickGELU, "guess"},
		"laion":                   {"ViT-B-32-laion2b_s34b_b79k.safetensors", hostile.Safetensors(openCLIP("")), "open_clip safetensors", checkpoint.GELU, "guess"},
		"OpenAI":                  {"ViT-B-32.pt", hostile.Script(buffers(openCLIP(""))), "open_clip openai torchscript", checkpoint.QuickGELU, "format"},
		"custom text":             {"x.safetensors", hostile.Safetensors(custom), "open_clip safetensors", checkpoint.QuickGELU, "guess"},
		"transformers, no config": {"x.safetensors", hostile.Safetensors(hostile.Model()), "safetensors", checkpoint.QuickGELU, "format"},
	} {
		t.Run(name, func(t *testing.T) {
			k := open(t, save(t, map[string][]byte{c.file: c.data}), checkpoint.Options{})
			a := k.Architecture()
			if a.Kind != checkpoint.ViT || a.ImageSize != 8 || a.TextContext != 24 || a.EOS != 513 {
				t.Errorf("%+v", a)
			}
			if k.Format() != c.format || a.Activation != c.activation || a.ActivationFrom != c.from {
				t.Errorf("%q, %s by %s, want %q, %s by %s", k.Format(), a.Activation, a.ActivationFrom, c.format, c.activation, c.from)
			}
			sound(t, k)
		})
	}
	t.Run("a missing position table", func(t *testing.T) {
		_, err := checkpoint.Open(t.Context(), save(t, map[string][]byte{"x.pt": hostile.Torch(remove(openCLIP(""), "positional_embedding"))}), checkpoint.Options{})
		if !errors.Is(err, checkpoint.ErrMissing) {
			t.Error(err)
		}
	})
}

// Long-CLIP: the first 20 positions of one table, the others of the other.
func TestLongCLIP(t *testing.T) {
	all := openCLIP("")
	i := slices.IndexFunc(all, func(a hostile.Array) bool { return a.Name == "positional_embedding" })
	stretched := hostile.Array{Name: "positional_embedding_res", Shape: all[i].Shape, Values: make([]float32, len(all[i].Values))}
	for k := range stretched.Values {
		stretched.Values[k] = float32(k)
	}
	c := open(t, save(t, map[string][]byte{"longclip-B.pt": hostile.Torch(append(all, stretched))}), checkpoint.Options{})
	got, err := c.Float32("text_model.embeddings.position_embedding.weight", nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := slices.Concat(all[i].Values[:20*64], stretched.Values[20*64:]); !slices.Equal(got, want) {
		t.Error("the tables are not put together after 20 rows")
	}
	if a := c.Architecture(); !a.Extended || a.Activation != checkpoint.QuickGELU || a.ActivationFrom != "format" {
		t.Errorf("%+v", a)
	}
}

// resnet is a ModifiedResNet of one block a stage, width 2, with the sound model's text tower.
func resnet() []hostile.Array {
	all := slices.DeleteFunc(openCLIP(""), func(a hostile.Array) bool { return strings.HasPrefix(a.Name, "visual.") })
	add := func(name string, shape ...int) {
		n := 1
		for _, s := range shape {
			n *= s
		}
		all = append(all, hostile.Array{Name: "visual." + name, Shape: shape, Values: make([]float32, n)})
	}
	norm := func(name string, n int) {
		for _, part := range []string{"weight", "bias", "running_mean", "running_var"} {
			add(name+"."+part, n)
		}
		add(name + ".num_batches_tracked")
	}
	add("conv1.weight", 1, 3, 3, 3)
	add("conv2.weight", 1, 1, 3, 3)
	add("conv3.weight", 2, 1, 3, 3)
	norm("bn1", 1)
	norm("bn2", 1)
	norm("bn3", 2)
	in := 2
	for stage := range 4 {
		n := 2 << stage
		p := "layer" + string(rune('1'+stage)) + ".0."
		add(p+"conv1.weight", n, in, 1, 1)
		add(p+"conv2.weight", n, n, 3, 3)
		add(p+"conv3.weight", 4*n, n, 1, 1)
		add(p+"downsample.0.weight", 4*n, in, 1, 1)
		norm(p+"bn1", n)
		norm(p+"bn2", n)
		norm(p+"bn3", 4*n)
		norm(p+"downsample.1", 4*n)
		in = 4 * n
	}
	add("attnpool.positional_embedding", 5, in)
	for _, which := range []string{"q", "k", "v"} {
		add("attnpool."+which+"_proj.weight", in, in)
		add("attnpool."+which+"_proj.bias", in)
	}
	add("attnpool.c_proj.weight", 16, in)
	add("attnpool.c_proj.bias", 16)
	return all
}

func TestResNet(t *testing.T) {
	c := open(t, save(t, map[string][]byte{"RN.pt": hostile.Torch(resnet())}), checkpoint.Options{})
	a := c.Architecture()
	if a.Kind != checkpoint.ResNet || a.Stages != [4]int{1, 1, 1, 1} || a.Width != 2 || a.ImageSize != 64 || a.Heads != 1 || a.Dimension != 16 {
		t.Errorf("%+v", a)
	}
	if got := c.Shape("visual.layer4.0.downsample.0.weight"); !slices.Equal(got, []int{64, 32, 1, 1}) {
		t.Errorf("downsample has shape %v", got)
	}
	broken := slices.DeleteFunc(resnet(), func(a hostile.Array) bool { return a.Name == "visual.bn2.running_var" })
	if _, err := checkpoint.Open(t.Context(), save(t, map[string][]byte{"RN.pt": hostile.Torch(broken)}), checkpoint.Options{}); !errors.Is(err, checkpoint.ErrMissing) {
		t.Errorf("without a variance: %v", err)
	}
}

// What the files beside the weights may say, and what not.
func TestSideFiles(t *testing.T) {
	weights := hostile.Safetensors(hostile.Model())
	open2 := hostile.Safetensors(openCLIP(""))
	const sizes = `"hidden_size":64,"intermediate_size":64,"num_hidden_layers":1,"num_attention_heads":2`
	config := func(text, vision string) []byte {
		return []byte(`{"model_type":"clip","projection_dim":16,"text_config":{"vocab_size":514,"max_position_embeddings":24,"eos_token_id":2,` + sizes + text + `},"vision_config":{"image_size":8,"patch_size":4,` + sizes + vision + `}}`)
	}
	for name, c := range map[string]struct {
		files map[string][]byte
		kind  error
		hint  string
	}{
		"right":              {map[string][]byte{"model.safetensors": weights, "config.json": config("", "")}, nil, ""},
		"another model's":    {map[string][]byte{"model.safetensors": weights, "config.json": []byte(`{"model_type":"clip"}`)}, tensor.ErrShape, "different models"},
		"heads":              {map[string][]byte{"model.safetensors": weights, "config.json": config(`,"num_attention_heads":7`, "")}, checkpoint.ErrConfig, "7 heads"},
		"activation":         {map[string][]byte{"model.safetensors": weights, "config.json": config("", `,"hidden_act":"swish"`)}, checkpoint.ErrUnsupported, "swish"},
		"end token":          {map[string][]byte{"model.safetensors": weights, "config.json": config(`,"eos_token_id":9999`, "")}, checkpoint.ErrConfig, "9999"},
		"other kind":         {map[string][]byte{"model.safetensors": weights, "config.json": []byte(`{"model_type":"siglip"}`)}, checkpoint.ErrUnsupported, "siglip"},
		"no JSON":            {map[string][]byte{"model.safetensors": weights, "config.json": []byte(`<html>`)}, checkpoint.ErrConfig, "config.json"},
		"a list":             {map[string][]byte{"model.safetensors": weights, "config.json": []byte(`[]`)}, checkpoint.ErrConfig, "config.json"},
		"too large":          {map[string][]byte{"model.safetensors": weights, "config.json": make([]byte, 2<<20)}, checkpoint.ErrConfig, "larger"},
		"timm":               {map[string][]byte{"x.safetensors": open2, "open_clip_config.json": []byte(`{"model_cfg":{"embed_dim":16,"vision_cfg":{"timm_model_name":"vit"}}}`)}, checkpoint.ErrUnsupported, "timm"},
		"open_clip's":        {map[string][]byte{"x.safetensors": open2, "open_clip_config.json": []byte(`{"model_cfg":{"embed_dim":512}}`)}, tensor.ErrShape, "embed_dim"},
		"nothing":            {nil, checkpoint.ErrFolder, "no weights"},
		"two weight files":   {map[string][]byte{"a.pt": weights, "b.pt": weights}, checkpoint.ErrFolder, "name the one"},
		"index climbs":       {map[string][]byte{"model.safetensors.index.json": []byte(`{"weight_map":{"a":"../x.safetensors"}}`)}, checkpoint.ErrConfig, "beside"},
		"index without file": {map[string][]byte{"model.safetensors.index.json": []byte(`{"weight_map":{"a":"x.safetensors"}}`)}, checkpoint.ErrFolder, "x.safetensors"},
		"index lies": {map[string][]byte{"model.safetensors.index.json": []byte(`{"weight_map":{"a":"x.safetensors"}}`), "x.safetensors": weights},
			tilescout.ErrBadInput, "index"},
		"ready ONNX": {map[string][]byte{"visual.onnx": {1}, "textual.onnx": {1}}, checkpoint.ErrONNX, "ONNX"},
	} {
		t.Run(name, func(t *testing.T) {
			k, err := checkpoint.Open(t.Context(), save(t, c.files), checkpoint.Options{})
			if k != nil {
				defer k.Close()
			}
			if !errors.Is(err, c.kind) {
				t.Fatalf("%v, want %v", err, c.kind)
			}
			if err != nil && (!errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), c.hint) || strings.Contains(err.Error(), "\n")) {
				t.Errorf("%v, want one line that says %q", err, c.hint)
			}
		})
	}
	if _, err := checkpoint.Open(t.Context(), filepath.Join(t.TempDir(), "none"), checkpoint.Options{}); !errors.Is(err, tilescout.ErrNotFound) {
		t.Errorf("nothing there: %v", err)
	}
	if _, err := checkpoint.Open(t.Context(), save(t, map[string][]byte{"a.pt": weights}), checkpoint.Options{Activation: "relu"}); !errors.Is(err, tilescout.ErrBadInput) {
		t.Errorf("unknown activation: %v", err)
	}
}

func TestPreprocessing(t *testing.T) {
	for name, c := range map[string]struct {
		file, text           string
		resize, filter, crop string
		edge                 int
		mean                 float64
	}{
		"old form":    {"preprocessor_config.json", `{"size":8,"crop_size":8,"resample":3,"image_mean":[0.5,0.5,0.5]}`, "shortest", "bicubic", "floor", 8, 0.5},
		"new form":    {"preprocessor_config.json", `{"size":{"shortest_edge":9},"crop_size":{"height":8,"width":8},"resample":2}`, "shortest", "bilinear", "floor", 9, 0.48145466},
		"open_clip":   {"open_clip_config.json", `{"preprocess_cfg":{"mean":[0.5,0.5,0.5],"resize_mode":"squash","interpolation":"bilinear"}}`, "squash", "bilinear", "round", 8, 0.5},
		"nonsense":    {"preprocessor_config.json", `{"image_mean":[0,-1],"resample":77}`, "shortest", "bicubic", "floor", 8, 0.48145466},
		"none at all": {"x.json", ``, "shortest", "bicubic", "floor", 8, 0.48145466},
	} {
		t.Run(name, func(t *testing.T) {
			k := open(t, save(t, map[string][]byte{"model.safetensors": hostile.Safetensors(hostile.Model()), c.file: []byte(c.text)}), checkpoint.Options{})
			p := k.Preprocessing()
			if p.Size != 8 || p.Edge != c.edge || p.Resize != c.resize || p.Filter != c.filter || p.Crop != c.crop || p.Mean[0] != c.mean {
				t.Errorf("%+v", p)
			}
		})
	}
}

func TestFindONNX(t *testing.T) {
	for layout, files := range map[string][]string{
		"immich": {"visual/model.onnx", "textual/model.onnx"}, "rclip": {"visual.onnx", "textual.onnx"},
		"optimum": {"model.onnx"}, "transformers.js": {"onnx/vision_model_quantized.onnx", "onnx/text_model_quantized.onnx"},
	} {
		dir := t.TempDir()
		for _, f := range files {
			path := filepath.Join(dir, filepath.FromSlash(f))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := checkpoint.FindONNX(dir)
		if err != nil || got.Layout != layout || got.Image != filepath.Join(dir, filepath.FromSlash(files[0])) {
			t.Errorf("%s: %+v, %v", layout, got, err)
		}
	}
	if _, err := checkpoint.FindONNX(t.TempDir()); !errors.Is(err, checkpoint.ErrFolder) {
		t.Errorf("empty folder: %v", err)
	}
}
