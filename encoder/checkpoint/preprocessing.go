package checkpoint

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
)

// Preprocessing is how a picture becomes the image tower's input: resized, cropped in the middle to a square, divided by
// 255, and then (value − Mean) / Std for each channel.
type Preprocessing struct {
	Size   int        // pixels a side of the input
	Edge   int        // pixels of the shortest edge after resizing, before the crop; usually Size
	Mean   [3]float64 // red, green, blue
	Std    [3]float64
	Resize string // shortest: the shortest edge to Edge, then the crop; squash: both edges to Size; longest: padded
	Filter string // bicubic, bilinear, box, nearest or lanczos, as Pillow has them
	Crop   string // where the middle is: floor (transformers) or round (open_clip, half to even)
	From   string // the file that said so, or "default"
}

// Values of OpenAI's models (clip/clip.py), which most others keep.
var (
	clipMean = [3]float64{0.48145466, 0.4578275, 0.40821073}
	clipStd  = [3]float64{0.26862954, 0.26130258, 0.27577711}
)

// processorConfig is preprocessor_config.json in both of its forms.
type processorConfig struct {
	Size     sizeValue `json:"size"`
	Crop     sizeValue `json:"crop_size"`
	Mean     []float64 `json:"image_mean"`
	Std      []float64 `json:"image_std"`
	Resample *int      `json:"resample"`
}

// sizeValue is a number of pixels that configs write as 224, [224, 224], {"shortest_edge": 224} or {"height": 224, "width": 224}.
type sizeValue int

// UnmarshalJSON implements json.Unmarshaler.
func (s *sizeValue) UnmarshalJSON(raw []byte) error {
	var n *int
	if json.Unmarshal(raw, &n) == nil {
		*s = sizeValue(or(n, 0))
		return nil
	}
	var list []int
	if json.Unmarshal(raw, &list) == nil {
		if len(list) == 0 || slices.Min(list) != slices.Max(list) {
			return fmt.Errorf("size %.40s is not square", raw)
		}
		*s = sizeValue(list[0])
		return nil
	}
	var named struct {
		Shortest int `json:"shortest_edge"`
		Height   int `json:"height"`
		Width    int `json:"width"`
	}
	if err := json.Unmarshal(raw, &named); err != nil {
		return fmt.Errorf("size %.40s: %w", raw, err)
	}
	if named.Height != named.Width {
		return fmt.Errorf("size %.40s is not square", raw)
	}
	*s = sizeValue(max(named.Shortest, named.Height))
	return nil
}

// filters by Pillow's number.
var filters = map[int]string{0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box"}

// preprocessing is what the side files say; CLIP's own values where they are silent.
func (c *configs) preprocessing(a Architecture) Preprocessing {
	p := Preprocessing{Size: a.ImageSize, Edge: a.ImageSize, Mean: clipMean, Std: clipStd, Resize: "shortest", Filter: "bicubic", Crop: "floor", From: "default"}
	if o := c.openCLIP; o != nil {
		p.From, p.Crop = "open_clip_config.json", "round"
		p.Mean, p.Std = triple(o.Preprocess.Mean, p.Mean), triple(o.Preprocess.Std, p.Std)
		if f := o.Preprocess.Interpolation; slices.Contains([]string{"bicubic", "bilinear"}, f) {
			p.Filter = f
		}
		if m := o.Preprocess.ResizeMode; slices.Contains([]string{"squash", "longest"}, m) {
			p.Resize = m
		}
		return p
	}
	if f := c.processor; f != nil {
		p.From = "preprocessor_config.json"
		p.Mean, p.Std = triple(f.Mean, p.Mean), triple(f.Std, p.Std)
		if f.Crop == 0 || int(f.Crop) == p.Size { // a size for other inputs than the tower's is none of ours
			if f.Size > 0 && int(f.Size) >= p.Size {
				p.Edge = int(f.Size)
			}
		}
		if name, ok := filters[or(f.Resample, 3)]; ok {
			p.Filter = name
		}
	}
	return p
}

// triple returns given if it is three usable values.
func triple(given []float64, otherwise [3]float64) [3]float64 {
	if len(given) != 3 || slices.ContainsFunc(given, func(v float64) bool { return !(v > 0 && v <= 1) }) {
		return otherwise
	}
	return [3]float64(given)
}

// Tokenizer says which vocabulary belongs to a checkpoint.
type Tokenizer struct {
	Folder   string   // for bpe.Load; "" if there is no vocabulary beside the weights
	Files    []string // base names of the vocabulary's files
	Cleaning string   // by whose rules text is cleaned: hf or openclip
}

// vocabularies are the files in which a vocabulary comes, best first.
var vocabularies = [][]string{{"vocab.json", "merges.txt"}, {"tokenizer.json"}, {"merges.txt"}, {"bpe_simple_vocab_16e6.txt.gz"}}

// findTokenizer looks for a vocabulary beside the weights. The rules are those of transformers wherever the file came
// from, but where a folder is open_clip's through and through.
func findTokenizer(l location, dialect string) Tokenizer {
	t := Tokenizer{Cleaning: "hf"}
	if dialect == "open_clip" {
		t.Cleaning = "openclip"
	}
	for _, files := range vocabularies {
		all := true
		for _, name := range files {
			all = all && isFile(filepath.Join(l.dir, name))
		}
		if all {
			t.Folder, t.Files = l.dir, files
			return t
		}
	}
	return t
}
