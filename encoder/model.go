package encoder

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tilescout/tilescout"
)

// Model is what an encoder says of the model it runs.
type Model struct {
	ID            string
	Title         string
	Licence       string
	Digest        string // hex SHA-256 over the files of the model: other files, other digest
	Preprocessing string // id of the way from picture to input; embeddings of another way are not comparable
	InputSize     int    // pixels a side of the image tower's input
	Dimension     int    // length of an embedding
	LogitScale    float64
	Templates     []string  // prompts are put in place of {} and their embeddings averaged
	Concepts      []Concept // the background vocabulary against which scores are calibrated
	Calibration   Calibration
	Words         []string // the words that the text tower knows, sorted
	Provider      string   // execution provider that runs it: cpu, cuda, …
	Runtime       string   // version of ONNX Runtime
}

// Concept is one entry of the background vocabulary.
type Concept struct {
	Phrase   string   `json:"phrase"`
	Size     float64  `json:"size"` // metres across, as it is usually seen; 0 if it has none
	Synonyms []string `json:"synonyms"`
	Suggest  bool     `json:"suggest"` // offered for completion
	Group    string   `json:"group"`
}

// Calibration holds the constants that turn a cosine into a score.
type Calibration struct {
	Scale   float64 `json:"scale"`
	Seed    float64 `json:"seed"`
	Floor   float64 `json:"floor"`
	Match   float64 `json:"match"`
	Top3    float64 `json:"top3"`
	Weak    float64 `json:"weak"`
	Synonym float64 `json:"synonym"`
}

// Manifest is model.json, format 1.
type Manifest struct {
	Format      int           `json:"format"`
	ID          string        `json:"id"`
	Title       string        `json:"title"`
	Licence     string        `json:"licence"`
	Dimension   int           `json:"dimension"`
	LogitScale  float64       `json:"logitScale"`
	Image       ImageManifest `json:"image"`
	Text        TextManifest  `json:"text"`
	Templates   []string      `json:"templates"`
	Concepts    string        `json:"concepts"`
	Calibration Calibration   `json:"calibration"`
	Made        *Made         `json:"made,omitempty"`
}

// Made says how a converted model came about.
type Made struct {
	Architecture   string     `json:"architecture"`   // such as ViT-B/32
	Format         string     `json:"format"`         // of the checkpoint
	Activation     string     `json:"activation"`     // quick_gelu, gelu or gelu_tanh
	ActivationFrom string     `json:"activationFrom"` // config, format, option or guess
	Mean           [3]float64 `json:"mean"`           // folded into the graph
	Std            [3]float64 `json:"std"`
	Precision      string     `json:"precision"` // of the image tower
	Int8           *Int8      `json:"int8,omitempty"`
}

// Int8 is how an int8 image tower compares with the float one on the pictures it was calibrated with.
type Int8 struct {
	Pictures   int      `json:"pictures"`
	Cosine     float64  `json:"cosine"`          // mean
	Least      float64  `json:"least"`           // of the worst picture
	Neighbours float64  `json:"neighbours"`      // share of the ten nearest pictures that stay; 0 if there were too few
	Float      []string `json:"float,omitempty"` // products that stayed in float
}

// ImageManifest is the part of a Manifest that describes the image tower.
type ImageManifest struct {
	File    string      `json:"file"`
	SHA256  string      `json:"sha256"`
	Weights WeightsFile `json:"weights,omitzero"`
	Input   string      `json:"input"`  // uint8 [B, size, size, 3] RGB
	Output  string      `json:"output"` // float32 [B, dimension]
	Dense   string      `json:"dense"`  // float32 [B, cells, dimension], row-major; "" if the model has none
	Size    int         `json:"size"`
	Resize  string      `json:"resize"`         // squash | shortest-crop (or shortest) | shortest-crop-round
	Filter  string      `json:"filter"`         // bicubic | bilinear | box
	Edge    int         `json:"edge,omitempty"` // shortest: pixels of the shortest side before the crop; 0 is size
	// Batch is the number of pictures that a run takes, 1 or, as 0, any.
	Batch int `json:"batch,omitempty"`
}

// WeightsFile holds the large tensors of a graph that has them outside. The library maps it.
type WeightsFile struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
}

// TextManifest is the part of a Manifest that describes the text tower.
type TextManifest struct {
	File       string      `json:"file"`
	SHA256     string      `json:"sha256"`
	Weights    WeightsFile `json:"weights,omitzero"`
	Input      string      `json:"input"`            // int64 [B, context]; with tokenizer bpe [B, length], length at most context
	Output     string      `json:"output"`           // float32 [B, dimension]
	Context    int         `json:"context"`          // tokens of a prompt
	Tokenizer  string      `json:"tokenizer"`        // words | bpe
	Vocabulary string      `json:"vocabulary"`       // words: vocab.json; bpe: the ids, or tokenizer.json where there are no merges
	Merges     string      `json:"merges,omitempty"` // bpe: the file of merges
	Clean      string      `json:"clean,omitempty"`  // bpe: hf, the default, or openclip
	Batch      int         `json:"batch,omitempty"`  // prompts that a run takes, 1 or, as 0, any
	Whole      bool        `json:"whole,omitempty"`  // bpe: prompts are padded to the context
}

// Caps on what a model folder may hold. The graphs may be as large as a protobuf message can be.
const (
	maxManifest   = 1 << 20
	maxVocabulary = 16 << 20
	maxGraph      = 2<<30 - 1
	maxWeights    = 64 << 30
	maxInputSize  = 1024
	maxDimension  = 8192
	maxContext    = 1024
)

// folder is a model folder read and checked, before anything of it runs.
type folder struct {
	name       string // as the user named it
	dir        string // where it lies on disk; "" for the bundled one, which has no weights outside its graphs
	manifest   Manifest
	model      Model
	tokenizer  tokenizer
	image      []byte // the graph of the image tower
	text       []byte // the graph of the text tower
	preprocess preprocessing
}

// readFolder reads a model folder and checks it. name is used in error texts only.
// A folder without model.json is ErrUnavailable, one whose files are not what they should be ErrBadInput.
func readFolder(ctx context.Context, files fs.FS, name string) (*folder, error) {
	raw, err := readFile(files, "model.json", maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("model %s: no model.json in it; name a model folder, or \"bundled\": %w", name, tilescout.ErrUnavailable)
	}
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", name, err)
	}
	f := &folder{}
	if f.manifest, err = parseManifest(raw); err != nil {
		return nil, fmt.Errorf("model %s: model.json: %w", name, err)
	}
	m := f.manifest

	sums := map[string][sha256.Size]byte{"model.json": sha256.Sum256(raw)}
	read := func(file string) ([]byte, error) {
		data, err := readFile(files, file, maxVocabulary)
		if err != nil {
			return nil, fmt.Errorf("model %s: %s: %w", name, file, kindOr(err, tilescout.ErrBadInput))
		}
		sums[file] = sha256.Sum256(data)
		return data, nil
	}
	if f.tokenizer, err = newTokenizer(m.Text, read); err != nil {
		return nil, fmt.Errorf("model %s: %w", name, err)
	}
	concepts, err := readFile(files, m.Concepts, maxVocabulary)
	var list []Concept
	if err == nil {
		list, err = parseConcepts(concepts)
	}
	if err != nil {
		return nil, fmt.Errorf("model %s: %s: %w", name, m.Concepts, kindOr(err, tilescout.ErrBadInput))
	}
	sums[m.Concepts] = sha256.Sum256(concepts)
	for _, t := range []struct {
		file, sha256 string
		weights      WeightsFile
		tower        tower
		graph        *[]byte
	}{
		{m.Image.File, m.Image.SHA256, m.Image.Weights, tower{input: m.Image.Input, output: m.Image.Output, elem: elemUint8, rank: 4}, &f.image},
		{m.Text.File, m.Text.SHA256, m.Text.Weights, tower{input: m.Text.Input, output: m.Text.Output, elem: elemInt64, rank: 2}, &f.text},
	} {
		if t.weights.File != "" {
			size, sum, err := readWeights(ctx, files, t.weights)
			if err != nil {
				return nil, fmt.Errorf("model %s: %s: %w", name, t.weights.File, kindOr(err, tilescout.ErrBadInput))
			}
			t.tower.weights, t.tower.size = t.weights.File, size
			sums[t.weights.File] = sum
		}
		graph, err := readGraph(files, t.file, t.sha256, t.tower)
		if err != nil {
			return nil, fmt.Errorf("model %s: %s: %w", name, t.file, kindOr(err, tilescout.ErrBadInput))
		}
		*t.graph, sums[t.file] = graph, sha256.Sum256(graph)
	}

	f.preprocess = m.Image.preprocessing()
	f.model = Model{
		ID: m.ID, Title: m.Title, Licence: m.Licence,
		Digest:        digest(sums),
		Preprocessing: f.preprocess.ID(),
		InputSize:     m.Image.Size,
		Dimension:     m.Dimension,
		LogitScale:    m.LogitScale,
		Templates:     m.Templates,
		Concepts:      list,
		Calibration:   m.Calibration,
		Words:         f.tokenizer.known(),
	}
	return f, nil
}

// parseManifest reads model.json. An unknown key is an error: a setting that is ignored gives wrong embeddings.
func parseManifest(raw []byte) (Manifest, error) {
	var format struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(raw, &format); err != nil {
		return Manifest{}, fmt.Errorf("not the JSON of a model: %v: %w", err, tilescout.ErrBadInput)
	}
	if format.Format != 1 {
		return Manifest{}, fmt.Errorf("format %d is not known to this version of Tilescout, which reads format 1; export the model again or update Tilescout: %w", format.Format, tilescout.ErrBadInput)
	}
	var m Manifest
	if err := decodeStrict(raw, &m); err != nil {
		return Manifest{}, err
	}
	bad := func(key string, value any, want string) (Manifest, error) {
		return Manifest{}, fmt.Errorf("%s is %v, want %s: %w", key, value, want, tilescout.ErrBadInput)
	}
	switch {
	case m.ID == "":
		return bad("id", `""`, "a name")
	case m.Dimension < 1 || m.Dimension > maxDimension:
		return bad("dimension", m.Dimension, fmt.Sprintf("1 to %d", maxDimension))
	case !(m.LogitScale > 0) || math.IsInf(m.LogitScale, 0):
		return bad("logitScale", m.LogitScale, "a positive number (the factor itself, not its logarithm)")
	case m.Image.Size < 8 || m.Image.Size > maxInputSize:
		return bad("image.size", m.Image.Size, fmt.Sprintf("8 to %d pixels", maxInputSize))
	case !slices.Contains([]string{"squash", "shortest", "shortest-crop", "shortest-crop-round"}, m.Image.Resize):
		return bad("image.resize", m.Image.Resize, "squash, shortest-crop or shortest-crop-round")
	case m.Image.Edge != 0 && (m.Image.Edge < m.Image.Size || m.Image.Edge > 2*maxInputSize):
		return bad("image.edge", m.Image.Edge, "image.size or more")
	case filterOf(m.Image.Filter) == nil:
		return bad("image.filter", m.Image.Filter, "bicubic, bilinear or box")
	case m.Image.Batch != 0 && m.Image.Batch != 1 || m.Text.Batch != 0 && m.Text.Batch != 1:
		return bad("batch", max(m.Image.Batch, m.Text.Batch), "1, or none")
	case m.Text.Context < 1 || m.Text.Context > maxContext:
		return bad("text.context", m.Text.Context, fmt.Sprintf("1 to %d tokens", maxContext))
	case m.Text.Tokenizer != "words" && m.Text.Tokenizer != "bpe":
		return bad("text.tokenizer", m.Text.Tokenizer, "words or bpe")
	case m.Text.Clean != "" && m.Text.Clean != "hf" && m.Text.Clean != "openclip":
		return bad("text.clean", m.Text.Clean, "hf or openclip")
	case m.Image.Input == "" || m.Image.Output == "" || m.Text.Input == "" || m.Text.Output == "":
		return bad("input or output", `""`, "the name of a graph's input or output")
	case len(m.Templates) == 0:
		return bad("templates", "empty", `at least "{}"`)
	}
	for _, t := range m.Templates {
		if strings.Count(t, "{}") != 1 {
			return bad("templates", fmt.Sprintf("%q", t), "a text with one {}")
		}
	}
	local := map[string]string{"image.file": m.Image.File, "text.file": m.Text.File, "text.vocabulary": m.Text.Vocabulary, "concepts": m.Concepts}
	if m.Text.Tokenizer == "bpe" { // one of its two files is enough
		local["text.merges"] = m.Text.Merges
		for _, key := range []string{"text.vocabulary", "text.merges"} {
			if local[key] == "" && m.Text.Vocabulary+m.Text.Merges != "" {
				delete(local, key)
			}
		}
	}
	for key, w := range map[string]WeightsFile{"image.weights": m.Image.Weights, "text.weights": m.Text.Weights} {
		if w != (WeightsFile{}) {
			local[key] = w.File
		}
	}
	for key, file := range local {
		if !filepath.IsLocal(file) || strings.ContainsAny(file, `/\`) || file == "." {
			return bad(key, fmt.Sprintf("%q", file), "the name of a file in the model's folder")
		}
	}
	return m, nil
}

func parseConcepts(raw []byte) ([]Concept, error) {
	var file struct {
		Version  int       `json:"version"`
		Concepts []Concept `json:"concepts"`
	}
	if err := decodeStrict(raw, &file); err != nil {
		return nil, err
	}
	for i, c := range file.Concepts {
		if strings.TrimSpace(c.Phrase) == "" || c.Size < 0 {
			return nil, fmt.Errorf("concept %d has no phrase or a negative size: %w", i+1, tilescout.ErrBadInput)
		}
	}
	return file.Concepts, nil
}
