package encodertest

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tilescout/tilescout/encoder"
)

func sortModel(words []string, concepts []encoder.Concept) {
	slices.Sort(words)
	slices.SortFunc(concepts, func(a, b encoder.Concept) int { return strings.Compare(a.Phrase, b.Phrase) })
}

// Measures of the tiny model.
const (
	tinySize, tinyDim, tinyContext = 16, 8, 6
)

func tinyWords() []string {
	return []string{"<pad>", "<unk>", "a", "of", "stadium", "harbor", "parking", "lot", "forest", "city", "tank"}
}

// WriteModel writes a tiny but real model folder, random weights, for tests that need one but no meaning. The image tower
// is one matrix over 16 × 16 pixels, the text tower the mean of word embeddings.
func WriteModel(t testing.TB, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte) string {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x", sha256.Sum256(data))
	}
	marshal := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	image, text := write("image.onnx", tinyImageTower()), write("text.onnx", tinyTextTower())
	write("vocab.json", marshal(map[string]any{"pad": 0, "unknown": 1, "words": tinyWords(),
		"aliases": map[string]string{"harbour": "harbor", "car park": "parking lot"}}))
	write("concepts.json", marshal(map[string]any{"version": 1, "concepts": []encoder.Concept{
		{Phrase: "stadium", Size: 250, Synonyms: []string{"sports stadium"}, Suggest: true, Group: "sport"},
		{Phrase: "forest", Suggest: true, Group: "nature"}}}))
	write("model.json", marshal(map[string]any{
		"format": 1, "id": "tiny", "title": "Tiny test model", "licence": "none", "dimension": tinyDim, "logitScale": 20,
		"image": map[string]any{"file": "image.onnx", "sha256": image, "input": "pixels", "output": "embedding", "dense": "",
			"size": tinySize, "resize": "squash", "filter": "bicubic"},
		"text": map[string]any{"file": "text.onnx", "sha256": text, "input": "tokens", "output": "embedding",
			"context": tinyContext, "tokenizer": "words", "vocabulary": "vocab.json"},
		"templates": []string{"{}", "a {}"}, "concepts": "concepts.json",
		"calibration": encoder.Calibration{Scale: 1, Seed: .5, Floor: .3, Match: .7, Top3: .6, Weak: .4, Synonym: .9},
	}))
}

// Node is one operator of a Graph.
type Node struct {
	Op      string
	Domain  string
	Inputs  []string
	Outputs []string
	Ints    map[string]int64
	Lists   map[string][]int64
}

// Graph is an ONNX graph with one input and one output, for tests.
type Graph struct {
	Input       string
	InputElem   uint64  // TensorProto.DataType
	InputShape  []int64 // -1 is the batch axis
	OutputShape []int64
	Nodes       []Node
	Weights     map[string]Weight
	Domains     []string
	External    string // file that the weights claim to lie in; "" keeps them inside
}

// Weight is a constant tensor: floats, or int64s where Floats is nil.
type Weight struct {
	Shape  []int64
	Floats []float32
	Ints   []int64
}

// Bytes is the graph as an ONNX file: IR version 8, opset 17; the output is "embedding".
func (g Graph) Bytes() []byte {
	var graph []byte
	for _, n := range g.Nodes {
		var b []byte
		for _, s := range n.Inputs {
			b = str(b, 1, s)
		}
		for _, s := range n.Outputs {
			b = str(b, 2, s)
		}
		b = str(b, 4, n.Op)
		for name, v := range n.Ints {
			b = sub(b, 5, num(num(str(nil, 1, name), 3, v), 20, 2))
		}
		for name, list := range n.Lists {
			a := str(nil, 1, name)
			for _, v := range list {
				a = num(a, 8, v)
			}
			b = sub(b, 5, num(a, 20, 7))
		}
		if n.Domain != "" {
			b = str(b, 7, n.Domain)
		}
		graph = sub(graph, 1, b)
	}
	graph = str(graph, 2, "tiny")
	for name, w := range g.Weights {
		var b []byte
		for _, d := range w.Shape {
			b = num(b, 1, d)
		}
		if w.Floats != nil {
			b = num(b, 2, 1)
			var raw []byte
			for _, v := range w.Floats {
				raw = protowire.AppendFixed32(raw, math.Float32bits(v))
			}
			b = sub(b, 9, raw)
		} else {
			b = num(b, 2, 7)
			var raw []byte
			for _, v := range w.Ints {
				raw = protowire.AppendFixed64(raw, uint64(v))
			}
			b = sub(b, 9, raw)
		}
		if g.External != "" {
			b = num(sub(b, 13, str(str(nil, 1, "location"), 2, g.External)), 14, 1)
		}
		graph = sub(graph, 5, str(b, 8, name))
	}
	graph = sub(graph, 11, valueInfo(g.Input, g.InputElem, g.InputShape))
	graph = sub(graph, 12, valueInfo("embedding", 1, g.OutputShape))
	model := num(nil, 1, 8)
	model = sub(model, 8, num(str(nil, 1, ""), 2, 17))
	for _, d := range g.Domains {
		model = sub(model, 8, num(str(nil, 1, d), 2, 1))
	}
	return sub(model, 7, graph)
}

func valueInfo(name string, elem uint64, shape []int64) []byte {
	var dims []byte
	for _, d := range shape {
		if d < 0 {
			dims = sub(dims, 1, str(nil, 2, "batch"))
		} else {
			dims = sub(dims, 1, num(nil, 1, d))
		}
	}
	tensor := sub(num(nil, 1, int64(elem)), 2, dims)
	return sub(str(nil, 1, name), 2, sub(nil, 1, tensor))
}

func num(b []byte, field protowire.Number, v int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(v))
}

func str(b []byte, field protowire.Number, s string) []byte { return sub(b, field, []byte(s)) }

func sub(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

// TinyImage is the graph of the tiny model's image tower.
func TinyImage() Graph {
	const n = tinySize * tinySize * 3
	return Graph{
		Input: "pixels", InputElem: 2, InputShape: []int64{-1, tinySize, tinySize, 3}, OutputShape: []int64{-1, tinyDim},
		Nodes: []Node{
			{Op: "Cast", Inputs: []string{"pixels"}, Outputs: []string{"f"}, Ints: map[string]int64{"to": 1}},
			{Op: "Reshape", Inputs: []string{"f", "flat"}, Outputs: []string{"r"}},
			{Op: "MatMul", Inputs: []string{"r", "w"}, Outputs: []string{"m"}},
			{Op: "Add", Inputs: []string{"m", "bias"}, Outputs: []string{"s"}},
			{Op: "LpNormalization", Inputs: []string{"s"}, Outputs: []string{"embedding"}, Ints: map[string]int64{"axis": 1, "p": 2}},
		},
		Weights: map[string]Weight{
			"bias": {Shape: []int64{tinyDim}, Floats: random(tinyDim)},
			"flat": {Shape: []int64{2}, Ints: []int64{-1, n}},
			"w":    {Shape: []int64{n, tinyDim}, Floats: random(n * tinyDim)},
		},
	}
}

func tinyImageTower() []byte { return TinyImage().Bytes() }

func tinyTextTower() []byte {
	words := int64(len(tinyWords()))
	return Graph{
		Input: "tokens", InputElem: 7, InputShape: []int64{-1, tinyContext}, OutputShape: []int64{-1, tinyDim},
		Nodes: []Node{
			{Op: "Gather", Inputs: []string{"e", "tokens"}, Outputs: []string{"g"}, Ints: map[string]int64{"axis": 0}},
			{Op: "ReduceMean", Inputs: []string{"g"}, Outputs: []string{"m"}, Ints: map[string]int64{"keepdims": 0}, Lists: map[string][]int64{"axes": {1}}},
			{Op: "LpNormalization", Inputs: []string{"m"}, Outputs: []string{"embedding"}, Ints: map[string]int64{"axis": 1, "p": 2}},
		},
		Weights: map[string]Weight{"e": {Shape: []int64{words, tinyDim}, Floats: random(int(words) * tinyDim)}},
	}.Bytes()
}

func random(n int) []float32 {
	rng := rand.New(rand.NewPCG(7, uint64(n)))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}
