package encoder_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/encodertest"
)

// withImageTower writes the tiny model with another image tower, its hash in the manifest corrected.
func withImageTower(t *testing.T, graph []byte) string {
	t.Helper()
	dir := t.TempDir()
	encodertest.WriteModel(t, dir)
	file, manifest := filepath.Join(dir, "image.onnx"), filepath.Join(dir, "model.json")
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, file, graph)
	overwrite(t, manifest, []byte(strings.Replace(string(raw), fmt.Sprintf("%x", sha256.Sum256(old)), fmt.Sprintf("%x", sha256.Sum256(graph)), 1)))
	return dir
}

// TestPreflight: a graph that could do more than an encoder must is refused before the library sees it; no library is
// needed to say so.
func TestPreflight(t *testing.T) {
	edit := func(f func(g *encodertest.Graph)) []byte {
		g := encodertest.TinyImage()
		f(&g)
		return g.Bytes()
	}
	good := encodertest.TinyImage().Bytes()
	external := encodertest.TinyImage()
	external.External = "../../weights.bin"
	cases := []struct {
		name  string
		graph []byte
		says  string
	}{
		{"empty", nil, "no ONNX model"},
		{"text", []byte("<!DOCTYPE html><html><body>Not found</body></html>"), "no ONNX model"},
		{"cut off", good[:len(good)-100], "no ONNX model"},
		{"other domain", edit(func(g *encodertest.Graph) { g.Domains = []string{"com.example.evil"} }), `domain "com.example.evil"`},
		{"operator of another domain", edit(func(g *encodertest.Graph) { g.Nodes[0].Domain = "evil" }), `domain "evil"`},
		{"loop", edit(func(g *encodertest.Graph) { g.Nodes[0].Op = "Loop" }), "control flow operator Loop"},
		{"if", edit(func(g *encodertest.Graph) { g.Nodes[1].Op = "If" }), "control flow operator If"},
		{"scan", edit(func(g *encodertest.Graph) { g.Nodes[1].Op = "Scan" }), "control flow operator Scan"},
		{"no operators", edit(func(g *encodertest.Graph) { g.Nodes = nil }), "no ONNX model"},
		{"float input", edit(func(g *encodertest.Graph) { g.InputElem = 1 }), `want "pixels" with element type 2`},
		{"flat input", edit(func(g *encodertest.Graph) { g.InputShape = []int64{-1, 768} }), "4 axes"},
		{"other name", edit(func(g *encodertest.Graph) { g.Input = "image" }), `want "pixels"`},
		{"weights elsewhere", external.Bytes(), "weights lie in another file"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := encoder.Open(t.Context(), encoder.Options{Model: withImageTower(t, c.graph), Library: "/nowhere"})
			if !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "image.onnx") {
				t.Errorf("Open = %v, want %q, kind %v", err, c.says, tilescout.ErrBadInput)
			}
		})
	}
	// What passes goes on to the library, which here is missing.
	allowed := edit(func(g *encodertest.Graph) { g.Domains = []string{"ai.onnx", "com.microsoft"} })
	if _, err := encoder.Open(t.Context(), encoder.Options{Model: withImageTower(t, allowed), Library: "/nowhere"}); !errors.Is(err, tilescout.ErrUnavailable) {
		t.Errorf("Open of an allowed graph = %v, want only the library to be missing", err)
	}
	// Well-formed, but not what the library takes.
	unknown := edit(func(g *encodertest.Graph) { g.Nodes[0].Op = "Abracadabra" })
	_, err := encoder.Open(t.Context(), encoder.Options{Model: withImageTower(t, unknown), Library: encodertest.Library(t)})
	if !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), "Abracadabra") || strings.Contains(err.Error(), "\n") {
		t.Errorf("Open of an unknown operator = %v, want one line, kind %v", err, tilescout.ErrBadInput)
	}
}

// TestSoftmax: the example of CLIP's model card, softmax over logit scale times cosine.
func TestSoftmax(t *testing.T) {
	image := []float32{1, 0}
	labels := [][]float32{{1, 0}, {0, 1}, {float32(math.Sqrt(0.5)), float32(math.Sqrt(0.5))}}
	got := encoder.Softmax(2, image, labels)
	sum := math.Exp(2) + 1 + math.Exp(math.Sqrt2)
	for i, want := range []float64{math.Exp(2) / sum, 1 / sum, math.Exp(math.Sqrt2) / sum} {
		if math.Abs(got[i]-want) > 1e-6 {
			t.Errorf("Softmax()[%d] = %.6f, want %.6f", i, got[i], want)
		}
	}
	if big := encoder.Softmax(1e6, image, labels); big[0] != 1 || big[1] != 0 {
		t.Errorf("Softmax with a huge scale = %v, want 1, 0, 0", big)
	}
	if none := encoder.Softmax(1, image, nil); len(none) != 0 {
		t.Errorf("Softmax without labels = %v", none)
	}
}
