package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/tilescout/tilescout"
)

// FuzzConfigs: side files of a checkpoint are refused with a kind or leave an architecture and preprocessing that can
// be run: no size, mean or divisor that is nothing.
func FuzzConfigs(f *testing.F) {
	f.Add(`{"model_type":"clip","projection_dim":64,"text_config":{"hidden_act":"quick_gelu","eos_token_id":2,"layer_norm_eps":1e-5,"num_attention_heads":2},"vision_config":{"image_size":32,"patch_size":8}}`, "",
		`{"size":{"shortest_edge":32},"crop_size":{"height":32,"width":32},"image_mean":[0.5,0.5,0.5],"image_std":[0.2,0.2,0.2],"resample":3}`)
	f.Add("", `{"model_cfg":{"embed_dim":64,"quick_gelu":true,"vision_cfg":{"image_size":32,"layers":2,"width":64,"patch_size":8},"text_cfg":{"context_length":77,"vocab_size":514,"width":64,"heads":2,"layers":2}},"preprocess_cfg":{"mean":[0.4,0.4,0.4],"std":[0,0,0]}}`, "")
	f.Add(`{"model_cfg":{"embed_dim":-1,"vision_cfg":{"layers":[3,4,6,3]}}}`, `{"model_cfg":[]}`, `{"size":[8,9],"resample":-1}`)
	f.Add(`{"text_config":null,"vision_config":{"layer_norm_eps":-1}}`, `{}`, `{"size":"x","image_std":[1e999]}`)
	f.Add(`{"text_config_dict":{"num_attention_heads":0},"vision_config_dict":{"num_attention_heads":1e18}}`, `[`, `null`)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, transformers, openCLIP, processor string) {
		for name, content := range map[string]string{"config.json": transformers, "open_clip_config.json": openCLIP, "preprocessor_config.json": processor} {
			path := filepath.Join(dir, name)
			if content == "" {
				_ = os.Remove(path) // may not be there
			} else if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		typed := func(err error) {
			if err != nil && !errors.Is(err, tilescout.ErrBadInput) {
				t.Fatalf("error without a kind: %v", err)
			}
		}
		c, err := readConfigs(location{dir: dir})
		if typed(err); err != nil {
			return
		}
		a := Architecture{
			Kind: ViT, Dimension: 64, ImageSize: 32, PatchSize: 8, Width: 64, Layers: 2, Heads: 2, MLP: 256, Positions: 17,
			Vocabulary: 514, TextContext: 77, TextWidth: 64, TextLayers: 2, TextHeads: 2, TextMLP: 256, Norm: 1e-5, TextNorm: 1e-5,
			EOS: 513, BOS: 512, Pooling: PoolLargest, Activation: QuickGELU, TextActivation: QuickGELU,
		}
		err = c.apply(&a)
		if err == nil {
			err = a.validate()
		}
		if typed(err); err != nil {
			return
		}
		p := c.preprocessing(a)
		if p.Size < 1 || p.Edge < p.Size || a.Norm <= 0 || a.TextNorm <= 0 {
			t.Errorf("architecture %+v, preprocessing %+v", a, p)
		}
		for i, s := range p.Std {
			if !(s > 0) || !(p.Mean[i] >= 0) {
				t.Errorf("mean %v, std %v", p.Mean, p.Std)
			}
		}
	})
}

// FuzzShardIndex: an index names files beside it or is refused; it opens none elsewhere.
func FuzzShardIndex(f *testing.F) {
	f.Add(`{"weight_map":{"a":"one","b":"two","c":"one"}}`)
	f.Add(`{"weight_map":{"a":"../one"}}`)
	f.Add(`{"weight_map":{"a":"C:one","b":""}}`)
	f.Add(`{"weight_map":[1]}`)
	dir := f.TempDir()
	for _, name := range []string{"one", "two"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if err := os.WriteFile(filepath.Join(dir, "x.index.json"), []byte(raw), 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := location{dir: dir}.sharded("x.index.json")
		if err != nil {
			if !errors.Is(err, tilescout.ErrBadInput) {
				t.Fatalf("error without a kind: %v", err)
			}
			return
		}
		for _, path := range l.weights {
			if filepath.Dir(path) != dir {
				t.Errorf("shard %q", path)
			}
		}
	})
}
