package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

// inside runs the program in this process.
func inside(t testing.TB, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, err bytes.Buffer
	status = run(t.Context(), args, strings.NewReader(""), &out, &err)
	return out.String(), err.String(), status
}

// evalFolder is a few one-coloured pictures of two classes, with a line for each.
func evalFolder(t testing.TB) (dir, jsonl string) {
	t.Helper()
	dir = t.TempDir()
	var lines string
	for i := range 6 {
		class := []string{"forest", "desert"}[i%2]
		name := fmt.Sprintf("%s_%d.png", class, i)
		if err := os.MkdirAll(filepath.Join(dir, "set"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "set", name), pngOf(plain(uint8(90+60*(i%2)+i))), 0o644); err != nil {
			t.Fatal(err)
		}
		lines += fmt.Sprintf(`{"file":%q,"class":%q,"captions":["a %s"]}`+"\n", name, class, class)
	}
	jsonl = filepath.Join(dir, "set.jsonl")
	if err := os.WriteFile(jsonl, []byte(lines), 0o644); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "set"), jsonl
}

// TestEvalBadInput needs no model: what is wrong with the data is said before one is looked for.
func TestEvalBadInput(t *testing.T) {
	dir, jsonl := evalFolder(t)
	var evil bytes.Buffer
	w := tar.NewWriter(&evil)
	if err := w.WriteHeader(&tar.Header{Name: "../evil.png", Typeflag: tar.TypeReg, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	w.Close()
	for _, c := range []struct {
		name string
		args []string
		says []string
	}{
		{"nothing", []string{"zeroshot"}, []string{"--scores"}},
		{"an unknown measurement", []string{"beauty"}, []string{"beauty"}},
		{"no such file", []string{"zeroshot", "nowhere.jsonl"}, []string{"nowhere.jsonl"}},
		{"an empty folder", []string{"zeroshot", t.TempDir()}, []string{"nothing to measure"}},
		{"one label", []string{"zeroshot", dir, "--labels", "forest"}, []string{"two"}},
		{"a labels file of one label", []string{"zeroshot", dir, "--labels", write(t, "l.tsv", "forest\tthe woods\n")}, []string{"l.tsv", "two"}},
		{"a label twice", []string{"zeroshot", dir, "--labels", write(t, "l.tsv", "forest\ndesert\nforest\n")}, []string{"l.tsv line 3", "line 1"}},
		{"a label never seen", []string{"zeroshot", jsonl, "--labels", "forest,desert,stadium"}, []string{"stadium", "--keep-unseen"}},
		{"a class without a label", []string{"zeroshot", jsonl, "--labels", "forest,stadium"}, []string{"set.jsonl line 2", "desert"}},
		{"a line that is not JSON", []string{"zeroshot", write(t, "x.jsonl", "{\"file\":\"a.png\",\"class\":\"a\"}\nhello\n"), "--labels", "a,b"}, []string{"x.jsonl line 2"}},
		{"a tar with a path outside", []string{"zeroshot", jsonl, "--images", write(t, "evil.tar", evil.String())}, []string{"evil.tar", "entry 1", "outside"}},
		{"a picture that is missing", []string{"retrieval", jsonl, "--images", t.TempDir()}, []string{"set.jsonl line 1", "forest_0.png"}},
		{"a template without a place", []string{"zeroshot", jsonl, "--template", "a photo"}, []string{"a photo"}},
		{"scores and scenes", []string{"zeroshot", jsonl, "--scores", "x.tsv"}, []string{"not both"}},
		{"scores and a template", []string{"zeroshot", "--scores", "x.tsv", "--template", "{}"}, []string{"--template"}},
		{"scores that are none", []string{"zeroshot", "--scores", write(t, "s.tsv", "a\tb\n")}, []string{"s.tsv line 1"}},
		{"a format", []string{"zeroshot", jsonl, "-o", "xml"}, []string{"xml"}},
		{"an unknown class in the search", []string{"search", jsonl, "--labels", "forest,stadium"}, []string{"desert"}},
		{"an unknown class under disturbances", []string{"robust", jsonl, "--labels", "forest,stadium"}, []string{"desert"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			stdout, stderr, status := inside(t, append([]string{"eval"}, c.args...)...)
			if status != statusBadInput || stdout != "" || strings.Count(strings.TrimSpace(stderr), "\n") > 0 {
				t.Errorf("status %d, stdout %q, stderr %q; want 2, nothing and one line", status, stdout, stderr)
			}
			for _, word := range c.says {
				if !strings.Contains(stderr, word) {
					t.Errorf("%q: no word about %q", stderr, word)
				}
			}
		})
	}
}

func TestEvalScores(t *testing.T) {
	file := sourcetest.Shared(t, "clip", "clip_rsicd_baseline.tsv")
	stdout, stderr, status := inside(t, "eval", "zeroshot", "--scores", file, "-o", "table")
	if status != statusDone {
		t.Fatalf("status %d: %s", status, stderr)
	}
	for _, figure := range []string{"0.5755", "0.7429", "0.8218", "0.9309"} {
		if !strings.Contains(stdout, figure) {
			t.Errorf("no %s in\n%s", figure, stdout)
		}
	}
}

// TestEvalCommands runs each measurement with the bundled model, in each form.
func TestEvalCommands(t *testing.T) {
	lib := encodertest.Library(t)
	dir, jsonl := evalFolder(t)
	saved := filepath.Join(t.TempDir(), "saved.tsv")
	for _, args := range [][]string{
		{"zeroshot", dir, "--save-scores", saved}, {"zeroshot", jsonl, "--labels", "forest,desert", "--template", "a photo of a {}", "--tta", "8"},
		{"retrieval", jsonl}, {"search", jsonl, "--labels", "forest,desert"}, {"robust", jsonl, "--limit", "2", "--curve", "gsd"},
	} {
		t.Run(args[0], func(t *testing.T) {
			stdout, stderr, status := inside(t, append(append([]string{"eval"}, args...), "-o", "json", "--onnxruntime", lib, "--data", t.TempDir())...)
			var v map[string]any
			if err := json.Unmarshal([]byte(stdout), &v); status != statusDone || err != nil || v["model"] == nil {
				t.Errorf("status %d, %v, %s", status, err, stderr)
			}
		})
	}
	stdout, stderr, status := inside(t, "eval", "zeroshot", "--scores", saved, "-o", "csv")
	if status != statusDone || strings.Count(stdout, "\n") != 3 {
		t.Errorf("the saved scores: status %d, %s, %s", status, stdout, stderr)
	}
	if err := os.WriteFile(filepath.Join(dir, "forest_9.png"), []byte("no picture"), 0o644); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, status = inside(t, "eval", "zeroshot", dir, "--onnxruntime", lib, "--data", t.TempDir())
	if status != statusBadInput || stdout != "" || !strings.Contains(stderr, "forest_9.png") || !strings.HasPrefix(stderr, "tilescout: ") {
		t.Errorf("a picture that is none: status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
}
