package hub_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder/hub"
)

var weights = strings.Repeat("0123456789abcdef", 40_000) // 640 kB

// stored is where the weights are, after the redirect.
const stored = "/owner/clip/model.safetensors"

// published is a model with everything that people leave beside the weights.
func published(t *testing.T) *server {
	s := newServer(t)
	for path, content := range map[string]string{
		"config.json": `{"model_type":"clip"}`, "merges.txt": "#version: 0.2\ni n\n", "vocab.json": "{}", "tokenizer.json": strings.Repeat("t", 5000),
		"preprocessor_config.json": `{"size":224}`, "README.md": "# model", "tf_model.h5": "keras", "training_args.bin": "pickle", "onnx/model.onnx": "graph",
	} {
		s.add("owner/clip", path, content, false)
	}
	s.add("owner/clip", "model.safetensors", weights, true)
	s.add("owner/clip", "pytorch_model.bin", weights+"bin", true)
	s.add("owner/clip", "flax_model.msgpack", weights+"flax", true)
	return s
}

func options(t *testing.T, s *server) hub.Options {
	return hub.Options{Dir: t.TempDir(), Endpoint: s.URL, Pause: time.Millisecond, Stall: 300 * time.Millisecond}
}

func get(t *testing.T, name string, o hub.Options) hub.Model {
	t.Helper()
	m, err := hub.Get(t.Context(), name, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func paths(m hub.Model) []string {
	var list []string
	for _, f := range m.Files {
		list = append(list, f.Path)
	}
	slices.Sort(list)
	return list
}

// check compares the files in a model's folder with what the server has.
func check(t *testing.T, s *server, m hub.Model) {
	t.Helper()
	for _, f := range m.Files {
		raw, err := os.ReadFile(filepath.Join(m.Folder, filepath.FromSlash(f.Path)))
		if err != nil || string(raw) != s.files[m.ID][f.Path] {
			t.Errorf("%s: %d bytes (%v), want the %d of the server", f.Path, len(raw), err, len(s.files[m.ID][f.Path]))
		}
	}
	if len(s.leaks) > 0 {
		t.Errorf("the token went to another host: %v", s.leaks)
	}
}

// clean checks that nothing is half there.
func clean(t *testing.T, dir string) {
	t.Helper()
	if models, err := hub.List(dir); err != nil || len(models) > 0 {
		t.Errorf("List after a failure = %v, %v", models, err)
	}
	found, _ := filepath.Glob(filepath.Join(dir, "hub", "*", "*"))
	if len(found) > 0 {
		t.Errorf("left behind: %v", found)
	}
}

func TestGet(t *testing.T) {
	s := published(t)
	s.private, s.pageSize = true, 3
	o := options(t, s)
	o.Token = secret
	var last int64
	m, err := hub.Get(t.Context(), "owner/clip", o, func(file string, done, total int64) {
		if file == "model.safetensors" {
			last = done
		}
		if done > total {
			t.Errorf("%s: %d of %d bytes", file, done, total)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"config.json", "merges.txt", "model.safetensors", "preprocessor_config.json", "vocab.json"}
	if got := paths(m); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if m.Commit != commit || m.Folder != filepath.Join(o.Dir, "hub", "owner", "clip") || last != int64(len(weights)) {
		t.Errorf("commit %s in %s, %d bytes", m.Commit, m.Folder, last)
	}
	check(t, s, m)
	if raw, _ := os.ReadFile(filepath.Join(m.Folder, "tilescout-model.json")); strings.Contains(string(raw), secret) {
		t.Error("the token is in the manifest")
	}

	t.Run("again", func(t *testing.T) {
		s.requests = nil
		if again := get(t, "owner/clip", o); !slices.Equal(paths(again), paths(m)) {
			t.Errorf("got %v", paths(again))
		}
		for _, r := range s.requests {
			if strings.Contains(r, "resolve") {
				t.Errorf("asked for %s, which was there", r)
			}
		}
	})
	t.Run("revision shares files", func(t *testing.T) {
		s.requests = nil
		v2 := get(t, "owner/clip@v2", o)
		check(t, s, v2)
		if slices.ContainsFunc(s.requests, func(r string) bool { return strings.Contains(r, "model.safetensors") }) {
			t.Error("weights that were there came again")
		}
		a, _ := os.Stat(filepath.Join(m.Folder, "model.safetensors"))
		b, _ := os.Stat(filepath.Join(v2.Folder, "model.safetensors"))
		if !os.SameFile(a, b) {
			t.Error("two models keep the same weights twice")
		}
	})
	t.Run("force", func(t *testing.T) {
		s.requests = nil
		o := o
		o.Force = true
		check(t, s, get(t, "owner/clip", o))
		if !slices.ContainsFunc(s.requests, func(r string) bool { return strings.Contains(r, "model.safetensors") }) {
			t.Error("nothing came again")
		}
	})
	t.Run("list, find, remove", func(t *testing.T) {
		models, err := hub.List(o.Dir)
		if err != nil || len(models) != 2 || models[0].Name() != "owner/clip" || models[1].Name() != "owner/clip@v2" {
			t.Fatalf("List = %v, %v", models, err)
		}
		if freed, err := hub.Remove(t.Context(), o.Dir, "owner/clip"); err != nil || freed != 0 {
			t.Errorf("Remove of one of two freed %d, %v", freed, err)
		}
		found, err := hub.Find(o.Dir, "owner/clip@v2")
		if err != nil {
			t.Fatal(err)
		}
		check(t, s, found)
		if freed, err := hub.Remove(t.Context(), o.Dir, "owner/clip@v2"); err != nil || freed != models[1].Size() {
			t.Errorf("Remove of the last freed %d, %v, want %d", freed, err, models[1].Size())
		}
		if _, err := hub.Remove(t.Context(), o.Dir, "owner/clip"); !errors.Is(err, tilescout.ErrNotFound) {
			t.Errorf("Remove of nothing: %v", err)
		}
		clean(t, o.Dir)
	})
}

func TestChoice(t *testing.T) {
	for name, c := range map[string]struct {
		files []string
		file  string
		want  []string
		err   error
	}{
		"flax before nothing": {[]string{"flax_model.msgpack", "config.json", "tokenizer.json"}, "", []string{"config.json", "flax_model.msgpack", "tokenizer.json"}, nil},
		"bin before flax":     {[]string{"flax_model.msgpack", "pytorch_model.bin", "merges.txt"}, "", []string{"merges.txt", "pytorch_model.bin"}, nil},
		"open_clip": {[]string{"open_clip_config.json", "open_clip_model.safetensors", "open_clip_pytorch_model.bin", "merges.txt"}, "",
			[]string{"merges.txt", "open_clip_config.json", "open_clip_model.safetensors"}, nil},
		"bare file":             {[]string{"RS5M_ViT-B-32.pt"}, "", []string{"RS5M_ViT-B-32.pt"}, nil},
		"several bare files":    {[]string{"a.pt", "b.pt"}, "", nil, tilescout.ErrBadInput},
		"one of several":        {[]string{"a.pt", "b.pt"}, "b.pt", []string{"b.pt"}, nil},
		"one that is not there": {[]string{"a.pt"}, "c.pt", nil, tilescout.ErrNotFound},
		"transformers.js": {[]string{"onnx/vision_model.onnx", "onnx/text_model.onnx", "onnx/vision_model_q4.onnx", "onnx/vision_model.onnx_data", "config.json", "tokenizer.json"}, "",
			[]string{"config.json", "onnx/text_model.onnx", "onnx/vision_model.onnx", "onnx/vision_model.onnx_data", "tokenizer.json"}, nil},
		"immich": {[]string{"visual/model.onnx", "textual/model.onnx", "textual/tokenizer.json", "visual/preprocess_cfg.json", "config.json"}, "",
			[]string{"config.json", "textual/model.onnx", "textual/tokenizer.json", "visual/model.onnx", "visual/preprocess_cfg.json"}, nil},
		"nothing to read": {[]string{"README.md", "model.gguf"}, "", nil, tilescout.ErrBadInput},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			for _, f := range c.files {
				s.add("owner/x", f, "content of "+f, strings.Contains(f, "model"))
			}
			o := options(t, s)
			o.File = c.file
			m, err := hub.Get(t.Context(), "owner/x", o, nil)
			if !errors.Is(err, c.err) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if got := paths(m); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if err == nil {
				check(t, s, m)
			}
		})
	}
}

func TestShards(t *testing.T) {
	s := newServer(t)
	s.add("owner/big", "model.safetensors.index.json", `{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors","c":"model-00001-of-00002.safetensors"}}`, false)
	s.add("owner/big", "model-00001-of-00002.safetensors", weights, true)
	s.add("owner/big", "model-00002-of-00002.safetensors", weights+"2", true)
	s.add("owner/big", "merges.txt", "#version: 0.2\ni n\n", false)
	m := get(t, "owner/big", options(t, s))
	if len(m.Files) != 4 {
		t.Errorf("got %v", paths(m))
	}
	check(t, s, m)

	delete(s.files["owner/big"], "model-00002-of-00002.safetensors")
	o := options(t, s)
	if _, err := hub.Get(t.Context(), "owner/big", o, nil); !errors.Is(err, tilescout.ErrUpstream) {
		t.Errorf("a shard is missing: %v", err)
	}
	clean(t, o.Dir)
}
