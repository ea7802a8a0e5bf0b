package verify_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/encoder/convert"
	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/encoder/graph"
	"github.com/tilescout/tilescout/encoder/verify"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

func converted(t *testing.T, o checkpoint.Options, precision graph.Precision) (dir string, c *checkpoint.Checkpoint) {
	t.Helper()
	c, err := checkpoint.Open(t.Context(), sourcetest.Shared(t, "clip", "tiny", "hf"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	dir = filepath.Join(t.TempDir(), "model")
	if _, err := convert.Convert(t.Context(), c, dir, convert.Options{ID: "tiny", Precision: precision}); err != nil {
		t.Fatal(err)
	}
	return dir, c
}

func run(t *testing.T, dir string, against *checkpoint.Checkpoint) map[string]verify.Check {
	t.Helper()
	checks, err := verify.Folder(t.Context(), dir, verify.Options{Encoder: encoder.Options{Library: encodertest.Library(t)}, Checkpoint: against})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]verify.Check{}
	for _, c := range checks {
		t.Logf("%-14s %-4s %s", c.Name, c.Result, c.Detail)
		if c.Result != verify.Pass && c.Result != verify.Skip && c.Do == "" {
			t.Errorf("%s: %s without saying what to do", c.Name, c.Result)
		}
		out[c.Name] = c
	}
	return out
}

func TestFolderPasses(t *testing.T) {
	encodertest.Library(t)
	for _, precision := range []graph.Precision{graph.Float32, graph.Float16} {
		dir, c := converted(t, checkpoint.Options{}, precision)
		for _, against := range []*checkpoint.Checkpoint{nil, c} {
			got := run(t, dir, against)
			for _, name := range []string{"files", "image tower", "dense output", "batches", "text tower", "preprocessing", "tokenizer", "activation", "logit scale"} {
				if got[name].Result != verify.Pass {
					t.Errorf("%s: %+v, want it to pass", name, got[name])
				}
			}
		}
	}
	got := run(t, filepath.Join("..", "bundled", "model"), nil)
	for name, c := range got {
		if c.Result == verify.Fail {
			t.Errorf("the bundled model: %s: %+v", name, c)
		}
	}
}

func TestFolderFails(t *testing.T) {
	encodertest.Library(t)
	edit := func(file, old, new string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, file)
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(raw, []byte(old)) {
				t.Fatalf("%s does not hold %q", file, old)
			}
			if err := os.WriteFile(path, bytes.Replace(raw, []byte(old), []byte(new), 1), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name, check, result string
		damage              func(*testing.T, string)
	}{
		{"a damaged weights file", "files", verify.Fail, func(t *testing.T, dir string) {
			path := filepath.Join(dir, "image.weights")
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			raw[len(raw)/2] ^= 0x40
			if err := os.WriteFile(path, raw, 0o644); err != nil {
				t.Fatal(err)
			}
		}},
		{"other weights under a right hash", "image tower", verify.Fail, func(t *testing.T, dir string) {
			path := filepath.Join(dir, "image.weights")
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			before := fmt.Sprintf("%x", sha256.Sum256(raw))
			for i := len(raw) / 2; i < len(raw)/2+4096; i++ {
				raw[i] = 0
			}
			if err := os.WriteFile(path, raw, 0o644); err != nil {
				t.Fatal(err)
			}
			edit("model.json", before, fmt.Sprintf("%x", sha256.Sum256(raw)))(t, dir)
		}},
		{"another resize", "preprocessing", verify.Fail, edit("model.json", `"shortest-crop"`, `"squash"`)},
		{"a guessed activation", "activation", verify.Warn, edit("model.json", `"activationFrom": "config"`, `"activationFrom": "guess"`)},
		{"other merges", "tokenizer", verify.Fail, func(t *testing.T, dir string) {
			path := filepath.Join(dir, "merges.txt")
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
			lines[len(lines)-1], lines[len(lines)-2] = "q z", "x q"
			if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(dir, "vocab.json")); err != nil {
				t.Fatal(err)
			}
			edit("model.json", `"vocabulary": "vocab.json"`, `"vocabulary": ""`)(t, dir)
		}},
		{"an absurd logit scale", "logit scale", verify.Warn, edit("model.json", `"logitScale": 12.`, `"logitScale": 1200.`)},
		{"int8 that lost its neighbours", "int8", verify.Fail, edit("model.json", `"precision": "fp32"`, `"precision": "int8", "int8": {"pictures": 99, "cosine": 0.99, "least": 0.9, "neighbours": 0.8}`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, _ := converted(t, checkpoint.Options{}, graph.Float32)
			c.damage(t, dir)
			if got := run(t, dir, nil)[c.check]; got.Result != c.result {
				t.Errorf("%s: %+v, want %s", c.check, got, c.result)
			}
		})
	}
}

// A folder made with the wrong activation does not hold against its checkpoint.
func TestWrongActivation(t *testing.T) {
	encodertest.Library(t)
	dir, _ := converted(t, checkpoint.Options{Activation: checkpoint.GELU}, graph.Float32)
	_, right := converted(t, checkpoint.Options{}, graph.Float32)
	got := run(t, dir, right)
	for _, name := range []string{"activation", "image tower", "text tower"} {
		if got[name].Result != verify.Fail {
			t.Errorf("%s: %+v, want %s", name, got[name], verify.Fail)
		}
	}
	if n := verify.Failed([]verify.Check{got["activation"], got["files"]}); n != 1 {
		t.Errorf("Failed = %d, want 1", n)
	}
}

func TestChecksAreJSON(t *testing.T) {
	raw, err := json.Marshal([]verify.Check{{Name: "a", Result: verify.Pass, Detail: "b"}})
	if err != nil || string(raw) != `[{"name":"a","result":"pass","detail":"b"}]` {
		t.Errorf("%s, %v", raw, err)
	}
}
