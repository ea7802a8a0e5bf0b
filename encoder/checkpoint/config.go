package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"github.com/tilescout/tilescout/encoder/checkpoint/tensor"
)

// configs are the side files of a checkpoint; each may be missing.
type configs struct {
	transformers *transformersConfig
	openCLIP     *openCLIPConfig
	processor    *processorConfig
}

// transformersConfig is config.json of a CLIPModel. Only what decides on the graph is read; old files carry dozens of keys more.
type transformersConfig struct {
	ModelType  string                     `json:"model_type"`
	Projection *int                       `json:"projection_dim"`
	Text       map[string]json.RawMessage `json:"text_config"`
	Vision     map[string]json.RawMessage `json:"vision_config"`
	TextDict   map[string]json.RawMessage `json:"text_config_dict"` // older form; its values win
	VisionDict map[string]json.RawMessage `json:"vision_config_dict"`
	ModelCFG   json.RawMessage            `json:"model_cfg"` // then it is open_clip's
}

// towerConfig is one tower's part of it.
type towerConfig struct {
	Hidden       *int     `json:"hidden_size"`
	Intermediate *int     `json:"intermediate_size"`
	Layers       *int     `json:"num_hidden_layers"`
	Heads        *int     `json:"num_attention_heads"`
	Activation   *string  `json:"hidden_act"`
	Norm         *float64 `json:"layer_norm_eps"`
	ImageSize    *int     `json:"image_size"`
	PatchSize    *int     `json:"patch_size"`
	Vocabulary   *int     `json:"vocab_size"`
	Context      *int     `json:"max_position_embeddings"`
	BOS          *int     `json:"bos_token_id"`
	EOS          *int     `json:"eos_token_id"`
}

// openCLIPConfig is open_clip_config.json.
type openCLIPConfig struct {
	Model struct {
		Dimension int            `json:"embed_dim"`
		QuickGELU bool           `json:"quick_gelu"`
		Vision    openCLIPVision `json:"vision_cfg"`
		Text      openCLIPText   `json:"text_cfg"`
	} `json:"model_cfg"`
	Preprocess struct {
		Size          sizeValue `json:"size"`
		Mean          []float64 `json:"mean"`
		Std           []float64 `json:"std"`
		Interpolation string    `json:"interpolation"`
		ResizeMode    string    `json:"resize_mode"`
	} `json:"preprocess_cfg"`
}

type openCLIPVision struct {
	ImageSize  sizeValue       `json:"image_size"`
	Layers     json.RawMessage `json:"layers"` // a number, or four for a ResNet
	Width      int             `json:"width"`
	HeadWidth  int             `json:"head_width"`
	PatchSize  int             `json:"patch_size"`
	TimmModel  string          `json:"timm_model_name"`
	Attention  json.RawMessage `json:"attentional_pool"`
	ActKwargs  actKwargs       `json:"act_kwargs"`
	PoolType   string          `json:"pool_type"`
	FinalNorm  bool            `json:"final_ln_after_pool"`
	NoNormPre  bool            `json:"no_ln_pre"`
	PatchNorm  bool            `json:"input_patchnorm"`
	NormKwargs normKwargs      `json:"norm_kwargs"`
}

type openCLIPText struct {
	Context    int        `json:"context_length"`
	Vocabulary int        `json:"vocab_size"`
	Width      int        `json:"width"`
	Heads      int        `json:"heads"`
	Layers     int        `json:"layers"`
	HFModel    string     `json:"hf_model_name"`
	PoolType   string     `json:"pool_type"`
	NoCausal   bool       `json:"no_causal_mask"`
	EmbedCLS   bool       `json:"embed_cls"`
	EOS        *int       `json:"eos_id"`
	ActKwargs  actKwargs  `json:"act_kwargs"`
	NormKwargs normKwargs `json:"norm_kwargs"`
}

type actKwargs struct {
	Approximate string `json:"approximate"`
}

type normKwargs struct {
	Epsilon *float64 `json:"eps"`
}

// readConfigs reads the side files in the folder of the weights.
func readConfigs(l location) (*configs, error) {
	c := &configs{}
	for _, row := range []struct {
		name string
		into any
		set  func()
	}{
		{"config.json", &transformersConfig{}, nil},
		{"open_clip_config.json", &openCLIPConfig{}, nil},
		{"preprocessor_config.json", &processorConfig{}, nil},
	} {
		raw, err := readSmall(filepath.Join(l.dir, row.name), maxConfig)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = json.Unmarshal(raw, row.into)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %v: %w", row.name, err, ErrConfig)
		}
		switch v := row.into.(type) {
		case *transformersConfig:
			if v.ModelCFG == nil {
				c.transformers = v
				continue
			}
			c.openCLIP = &openCLIPConfig{} // some folders keep open_clip's under this name
			if err := json.Unmarshal(raw, c.openCLIP); err != nil {
				return nil, fmt.Errorf("%s: %v: %w", row.name, err, ErrConfig)
			}
		case *openCLIPConfig:
			c.openCLIP = v
		case *processorConfig:
			c.processor = v
		}
	}
	return c, nil
}

// apply takes over what shapes do not tell, and refuses a config that they contradict.
func (c *configs) apply(a *Architecture) error {
	if c.openCLIP != nil && c.openCLIP.Model.Dimension > 0 {
		if err := c.openCLIP.apply(a); err != nil {
			return fmt.Errorf("open_clip_config.json: %w", err)
		}
	}
	if c.transformers != nil && (c.openCLIP == nil || c.openCLIP.Model.Dimension == 0) {
		if err := c.transformers.apply(a); err != nil {
			return fmt.Errorf("config.json: %w", err)
		}
	}
	return nil
}

func (t *transformersConfig) apply(a *Architecture) error {
	if t.ModelType != "" && t.ModelType != "clip" {
		return notCLIP(t.ModelType)
	}
	text, err := tower(t.Text, t.TextDict)
	if err != nil {
		return fmt.Errorf("text_config: %w", err)
	}
	vision, err := tower(t.Vision, t.VisionDict)
	if err != nil {
		return fmt.Errorf("vision_config: %w", err)
	}
	// Defaults are those of CLIPConfig; a key that is not there has them, and shapes have to agree.
	if err := agree([]size{
		{"projection_dim", or(t.Projection, 512), a.Dimension},
		{"text hidden_size", or(text.Hidden, 512), a.TextWidth}, {"text intermediate_size", or(text.Intermediate, 2048), a.TextMLP},
		{"text num_hidden_layers", or(text.Layers, 12), a.TextLayers}, {"vocab_size", or(text.Vocabulary, 49408), a.Vocabulary},
		{"max_position_embeddings", or(text.Context, 77), a.TextContext},
		{"vision hidden_size", or(vision.Hidden, 768), a.Width}, {"vision intermediate_size", or(vision.Intermediate, 3072), a.MLP},
		{"vision num_hidden_layers", or(vision.Layers, 12), a.Layers},
		{"image_size", or(vision.ImageSize, 224), a.ImageSize}, {"patch_size", or(vision.PatchSize, 32), a.PatchSize},
	}); err != nil {
		return err
	}
	a.TextHeads, a.Heads = or(text.Heads, 8), or(vision.Heads, 12)
	if a.TextNorm, err = epsilon(text.Norm); err != nil {
		return err
	}
	if a.Norm, err = epsilon(vision.Norm); err != nil {
		return err
	}
	if a.TextActivation, err = activation(or(text.Activation, QuickGELU)); err != nil {
		return err
	}
	if a.Activation, err = activation(or(vision.Activation, QuickGELU)); err != nil {
		return err
	}
	a.ActivationFrom = "config"
	// 2 is what old configs say; transformers then takes the largest id (modeling_clip.py), as OpenAI does.
	if eos := or(text.EOS, 49407); eos != 2 {
		a.EOS, a.Pooling = eos, PoolEnd
		a.BOS = or(text.BOS, 49406)
	}
	return nil
}

func (o *openCLIPConfig) apply(a *Architecture) error {
	v, t := o.Model.Vision, o.Model.Text
	switch {
	case v.TimmModel != "":
		return fmt.Errorf("image tower %.60q from timm: %w", v.TimmModel, ErrUnsupported)
	case t.HFModel != "":
		return fmt.Errorf("text tower %.60q from transformers: %w", t.HFModel, ErrUnsupported)
	case t.NoCausal || t.EmbedCLS:
		return fmt.Errorf("text tower without causal mask or with a class token: %w", ErrUnsupported)
	case v.NoNormPre || v.PatchNorm || v.FinalNorm || v.PoolType != "" && v.PoolType != "tok":
		return fmt.Errorf("image tower with pool_type %.20q or other norms than CLIP's: %w", v.PoolType, ErrUnsupported)
	case t.PoolType != "" && t.PoolType != PoolLargest && t.PoolType != PoolEnd:
		return fmt.Errorf("text pool_type %.20q: %w", t.PoolType, ErrUnsupported)
	}
	sizes := []size{{"embed_dim", o.Model.Dimension, a.Dimension}}
	for _, s := range []size{
		{"text context_length", t.Context, a.TextContext}, {"text vocab_size", t.Vocabulary, a.Vocabulary}, {"text width", t.Width, a.TextWidth},
		{"text layers", t.Layers, a.TextLayers}, {"vision width", v.Width, a.Width}, {"image_size", int(v.ImageSize), a.ImageSize},
	} {
		if s.says != 0 {
			sizes = append(sizes, s)
		}
	}
	var layers int
	if a.Kind == ViT && json.Unmarshal(v.Layers, &layers) == nil && layers != 0 {
		sizes = append(sizes, size{"vision layers", layers, a.Layers})
	}
	if err := agree(sizes); err != nil {
		return err
	}
	if t.Heads > 0 {
		a.TextHeads = t.Heads
	}
	if a.Kind == ViT && v.HeadWidth > 0 {
		a.Heads = a.Width / v.HeadWidth
	}
	var err error
	if a.TextNorm, err = epsilon(t.NormKwargs.Epsilon); err != nil {
		return err
	}
	if a.Norm, err = epsilon(v.NormKwargs.Epsilon); err != nil {
		return err
	}
	a.Activation, a.TextActivation, a.ActivationFrom = o.activation(v.ActKwargs), o.activation(t.ActKwargs), "config"
	if t.PoolType == PoolEnd {
		a.EOS, a.Pooling = or(t.EOS, a.EOS), PoolEnd
		a.BOS = a.EOS - 1
	}
	return nil
}

func (o *openCLIPConfig) activation(k actKwargs) string {
	switch {
	case o.Model.QuickGELU:
		return QuickGELU
	case k.Approximate == "tanh":
		return TanhGELU
	}
	return GELU
}

// activation translates the names of transformers.
func activation(name string) (string, error) {
	switch name {
	case "quick_gelu":
		return QuickGELU, nil
	case "gelu":
		return GELU, nil
	case "gelu_pytorch_tanh", "gelu_new", "gelu_fast":
		return TanhGELU, nil
	}
	return "", fmt.Errorf("hidden_act %.40q: %w", name, ErrUnsupported)
}

func epsilon(given *float64) (float64, error) {
	e := or(given, 1e-5)
	if !(e > 0 && e < 0.1) {
		return 0, fmt.Errorf("layer norm epsilon %g: %w", e, ErrConfig)
	}
	return e, nil
}

// tower merges the two forms of a tower's config.
func tower(base, over map[string]json.RawMessage) (towerConfig, error) {
	merged := maps.Clone(base)
	if merged == nil {
		merged = make(map[string]json.RawMessage)
	}
	maps.Copy(merged, over)
	raw, err := json.Marshal(merged)
	if err != nil {
		return towerConfig{}, fmt.Errorf("%v: %w", err, ErrConfig)
	}
	var t towerConfig
	if err := json.Unmarshal(raw, &t); err != nil {
		return towerConfig{}, fmt.Errorf("%v: %w", err, ErrConfig)
	}
	return t, nil
}

type size struct {
	name       string
	says, have int
}

func agree(sizes []size) error {
	i := slices.IndexFunc(sizes, func(s size) bool { return s.says != s.have })
	if i < 0 {
		return nil
	}
	return fmt.Errorf("%s is %d there and %d in the weights; they belong to different models: %w", sizes[i].name, sizes[i].says, sizes[i].have, tensor.ErrShape)
}

func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
