package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// Sides is what the small files beside ready graphs say, where nothing can be told from tensors. What they do not say is 0.
type Sides struct {
	ImageSize int
	Context   int // tokens of a prompt
	Dimension int
	configs   configs
}

// flatConfig is open_clip's model_cfg as immich keeps it: config.json itself.
type flatConfig struct {
	Dimension int            `json:"embed_dim"`
	Vision    openCLIPVision `json:"vision_cfg"`
	Text      openCLIPText   `json:"text_cfg"`
}

// ReadSides reads config.json, open_clip_config.json, preprocessor_config.json and preprocess_cfg.json in a folder, and the
// last in its visual/ too. A model that is no CLIP is ErrUnsupported.
func ReadSides(dir string) (Sides, error) {
	c, err := readConfigs(location{dir: dir})
	if err != nil {
		return Sides{}, fmt.Errorf("%s: %w", dir, err)
	}
	s := Sides{configs: *c}
	if t := c.transformers; t != nil {
		if t.ModelType != "" && !strings.HasPrefix(t.ModelType, "clip") {
			return Sides{}, fmt.Errorf("%s: config.json: %w", dir, notCLIP(t.ModelType))
		}
		text, err := tower(t.Text, t.TextDict)
		if err != nil {
			return Sides{}, fmt.Errorf("%s: config.json: text_config: %w", dir, err)
		}
		vision, err := tower(t.Vision, t.VisionDict)
		if err != nil {
			return Sides{}, fmt.Errorf("%s: config.json: vision_config: %w", dir, err)
		}
		s.ImageSize, s.Context, s.Dimension = or(vision.ImageSize, 0), or(text.Context, 0), or(t.Projection, 0)
	}
	if o := c.openCLIP; o != nil {
		s.ImageSize, s.Context, s.Dimension = int(o.Model.Vision.ImageSize), o.Model.Text.Context, o.Model.Dimension
	}
	if err := s.flat(dir); err != nil {
		return Sides{}, fmt.Errorf("%s: %w", dir, err)
	}
	if s.ImageSize < 0 || s.Context < 0 || s.Dimension < 0 {
		return Sides{}, fmt.Errorf("%s: a negative size: %w", dir, ErrConfig)
	}
	return s, nil
}

// flat reads what immich's folders have instead.
func (s *Sides) flat(dir string) error {
	var f flatConfig
	raw, err := readSmall(filepath.Join(dir, "config.json"), maxConfig)
	if err == nil && json.Unmarshal(raw, &f) == nil && f.Dimension > 0 {
		s.ImageSize, s.Context, s.Dimension = int(f.Vision.ImageSize), f.Text.Context, f.Dimension
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, name := range []string{"preprocess_cfg.json", "visual/preprocess_cfg.json"} {
		raw, err := readSmall(filepath.Join(dir, filepath.FromSlash(name)), maxConfig)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		o := &openCLIPConfig{}
		if err == nil {
			err = json.Unmarshal(raw, &o.Preprocess)
		}
		if err != nil {
			return fmt.Errorf("%s: %v: %w", name, err, ErrConfig)
		}
		s.configs.openCLIP = o
		if s.ImageSize == 0 {
			s.ImageSize = int(o.Preprocess.Size)
		}
	}
	return nil
}

// Preprocessing is how a picture becomes an input of size pixels.
func (s Sides) Preprocessing(size int) Preprocessing {
	return s.configs.preprocessing(Architecture{ImageSize: size})
}

// FindTokenizer looks for a vocabulary in folders, the first that has one. OpenAI's list alone goes with open_clip's rules.
func FindTokenizer(dirs ...string) Tokenizer {
	for _, dir := range dirs {
		t := findTokenizer(location{dir: dir}, "")
		if t.Folder == "" {
			continue
		}
		if t.Files[0] == "bpe_simple_vocab_16e6.txt.gz" {
			t.Cleaning = "openclip"
		}
		return t
	}
	return Tokenizer{Cleaning: "hf"}
}

// notCLIP says what a model of another kind lacks.
func notCLIP(kind string) error {
	if strings.HasPrefix(kind, "siglip") {
		return fmt.Errorf("model_type %.40q: SigLIP is not read: its vocabulary is SentencePiece's, its text tower has no causal mask and its image tower pools by attention; take a CLIP: %w", kind, ErrUnsupported)
	}
	return fmt.Errorf("model_type %.40q, want clip: %w", kind, ErrUnsupported)
}
