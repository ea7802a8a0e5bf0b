package encoder_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"image"
	"image/color"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/bundled"
	"github.com/tilescout/tilescout/encoder/encodertest"
)

func openTiny(t testing.TB) *encoder.Encoder {
	t.Helper()
	dir := t.TempDir()
	encodertest.WriteModel(t, dir)
	return open(t, dir)
}

func openBundled(t testing.TB) *encoder.Encoder {
	t.Helper()
	if _, err := fs.Stat(bundled.FS(), "model.json"); err != nil {
		t.Skip("the bundled model has not been made yet: ", err)
	}
	return open(t, "bundled")
}

func open(t testing.TB, model string) *encoder.Encoder {
	t.Helper()
	e, err := encoder.Open(t.Context(), encoder.Options{Model: model, Library: encodertest.Library(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func TestFake(t *testing.T)    { encodertest.Run(t, encodertest.Fake{}) }
func TestTiny(t *testing.T)    { encodertest.Run(t, openTiny(t)) }
func TestBundled(t *testing.T) { encodertest.Run(t, openBundled(t)) }

// TestGolden: the bundled model gives the embeddings that its training wrote down.
func TestGolden(t *testing.T) {
	e := openBundled(t)
	raw, err := fs.ReadFile(bundled.FS(), "golden.json")
	if err != nil {
		t.Skip("no golden file: ", err)
	}
	var golden struct {
		Images []struct {
			PNG       string    `json:"png"`
			Embedding []float32 `json:"embedding"`
		} `json:"images"`
		Texts []struct {
			Prompt    string    `json:"prompt"`
			Embedding []float32 `json:"embedding"`
		} `json:"texts"`
	}
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Images) == 0 || len(golden.Texts) == 0 {
		t.Fatal("golden.json holds no images or no texts")
	}
	for i, g := range golden.Images {
		png, err := base64.StdEncoding.DecodeString(g.PNG)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := e.Images(t.Context(), []tilescout.Picture{{Data: png, MediaType: tilescout.PNG}}, encoder.Interactive)
		if err != nil {
			t.Fatal(err)
		}
		if c := cosine(rows[0], g.Embedding); c < 0.9999 {
			t.Errorf("image %d: cosine %.6f, want ≥ 0.9999", i, c)
		}
	}
	for _, g := range golden.Texts {
		texts, err := e.Texts(t.Context(), []string{g.Prompt})
		if err != nil {
			t.Fatal(err)
		}
		if c := cosine(texts[0].Embedding, g.Embedding); c < 0.9999 {
			t.Errorf("prompt %q: cosine %.6f, want ≥ 0.9999", g.Prompt, c)
		}
	}
}

func cosine(a, b []float32) float64 {
	var dot, aa, bb float64
	for i := range a {
		dot += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	return dot / math.Sqrt(aa*bb)
}

// TestOpenBroken: a model folder that is not as it should be gives one line that says what and what to do.
func TestOpenBroken(t *testing.T) {
	edit := func(old, new string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, "model.json")
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(raw), old) {
				t.Fatalf("model.json does not hold %s", old)
			}
			overwrite(t, path, []byte(strings.Replace(string(raw), old, new, 1)))
		}
	}
	file := func(name, content string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) { overwrite(t, filepath.Join(dir, name), []byte(content)) }
	}
	cases := []struct {
		name  string
		spoil func(t *testing.T, dir string)
		kind  error
		says  string
	}{
		{"no manifest", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "model.json")) }, tilescout.ErrUnavailable, "no model.json"},
		{"manifest is HTML", file("model.json", "<html>"), tilescout.ErrBadInput, "not the JSON of a model"},
		{"format of the future", edit(`"format":1`, `"format":2`), tilescout.ErrBadInput, "format 2 is not known"},
		{"unknown key", edit(`"format":1`, `"format":1,"colour":"red"`), tilescout.ErrBadInput, "colour"},
		{"dimension 0", edit(`"dimension":8`, `"dimension":0`), tilescout.ErrBadInput, "dimension is 0"},
		{"wrong dimension", edit(`"dimension":8`, `"dimension":9`), tilescout.ErrBadInput, "does not run"},
		{"wrong size", edit(`"size":16`, `"size":32`), tilescout.ErrBadInput, "does not run"},
		{"huge size", edit(`"size":16`, `"size":100000`), tilescout.ErrBadInput, "image.size"},
		{"resize", edit(`"squash"`, `"stretch"`), tilescout.ErrBadInput, "image.resize is stretch"},
		{"path out of the folder", edit(`"image.onnx"`, `"../image.onnx"`), tilescout.ErrBadInput, "image.file"},
		{"graph missing", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "image.onnx")) }, tilescout.ErrBadInput, "image.onnx"},
		{"graph is a folder", func(t *testing.T, dir string) {
			os.Remove(filepath.Join(dir, "image.onnx"))
			os.Mkdir(filepath.Join(dir, "image.onnx"), 0o755)
		}, tilescout.ErrBadInput, "regular file"},
		{"graph changed", file("image.onnx", "garbage"), tilescout.ErrBadInput, "checksum mismatch"},
		{"vocabulary", file("vocab.json", `{"pad":0,"unknown":0,"words":["a"],"aliases":{}}`), tilescout.ErrBadInput, "vocab.json"},
		{"concepts", file("concepts.json", `[]`), tilescout.ErrBadInput, "concepts.json"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			lib := ""
			if strings.HasPrefix(c.says, "does not run") {
				lib = encodertest.Library(t)
			}
			dir := t.TempDir()
			encodertest.WriteModel(t, dir)
			c.spoil(t, dir)
			_, err := encoder.Open(t.Context(), encoder.Options{Model: dir, Library: lib})
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Open = %v, want one line with %q, kind %v", err, c.says, c.kind)
			}
		})
	}
	if _, err := encoder.Open(t.Context(), encoder.Options{Model: "/no/such/folder"}); !errors.Is(err, tilescout.ErrUnavailable) {
		t.Errorf("Open of no folder = %v, want %v", err, tilescout.ErrUnavailable)
	}
}

func overwrite(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestOpenNoLibrary: a model alone is not enough, and the error says what to do.
func TestOpenNoLibrary(t *testing.T) {
	dir := t.TempDir()
	encodertest.WriteModel(t, dir)
	missing := filepath.Join(dir, "libnothing.so")
	_, err := encoder.Open(t.Context(), encoder.Options{Model: dir, Library: missing})
	if !errors.Is(err, tilescout.ErrUnavailable) || !strings.Contains(err.Error(), missing) || !strings.Contains(err.Error(), "tilescout runtime install") {
		t.Errorf("Open = %v, want %v naming the path and the way out", err, tilescout.ErrUnavailable)
	}
}

func TestDigest(t *testing.T) {
	dir := t.TempDir()
	encodertest.WriteModel(t, dir)
	first := open(t, dir).Model()
	if again := open(t, dir).Model(); again.Digest != first.Digest {
		t.Errorf("digest changes between two opens: %s, %s", first.Digest, again.Digest)
	}
	concepts := filepath.Join(dir, "concepts.json")
	overwrite(t, concepts, []byte(`{"version":1,"concepts":[]}`))
	if other := open(t, dir).Model(); other.Digest == first.Digest {
		t.Error("another concepts.json, the same digest")
	}
}

func TestDevice(t *testing.T) {
	lib := encodertest.Library(t)
	dir := t.TempDir()
	encodertest.WriteModel(t, dir)
	for _, device := range []string{"cuda", "tensorrt", "coreml", "directml", "openvino"} {
		e, err := encoder.Open(t.Context(), encoder.Options{Model: dir, Library: lib, Device: device})
		if err == nil { // a machine that has it
			if got := e.Model().Provider; got != device {
				t.Errorf("device %s runs on %s", device, got)
			}
			e.Close()
			continue
		}
		for _, part := range []string{"provider " + device + ": not available", "--device"} {
			if !errors.Is(err, tilescout.ErrUnavailable) || !strings.Contains(err.Error(), part) {
				t.Errorf("Open on %s = %v, want %q in it", device, err, part)
			}
		}
	}
	if _, err := encoder.Open(t.Context(), encoder.Options{Model: dir, Library: lib, Device: "abacus"}); !errors.Is(err, tilescout.ErrBadInput) {
		t.Errorf("Open on abacus = %v, want %v", err, tilescout.ErrBadInput)
	}
	var notices []string
	e, err := encoder.Open(t.Context(), encoder.Options{Model: dir, Library: lib, Device: "auto", Notice: func(s string) { notices = append(notices, s) }})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if e.Model().Provider == "cpu" && len(notices) != 2 {
		t.Errorf("auto fell back to the CPU with notices %q, want one for cuda and one for coreml", notices)
	}
}

func TestTextsReport(t *testing.T) {
	e := openTiny(t)
	texts, err := e.Texts(t.Context(), []string{"Stadium Foo's bar", "a a a a a a a", "car park"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := texts[0].Unknown, []string{"Foo's", "bar"}; !slices.Equal(got, want) {
		t.Errorf("unknown words %q, want %q", got, want)
	}
	if texts[0].Truncated || !texts[1].Truncated || texts[2].Truncated {
		t.Error("only the second prompt is longer than the context")
	}
	for _, prompt := range []string{"!!!", strings.Repeat("x", 10_000), "\xff\xfe"} {
		if _, err := e.Texts(t.Context(), []string{prompt}); !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("Texts(%.10q) = %v, want %v", prompt, err, tilescout.ErrBadInput)
		}
	}
}

// TestBusy: past the queue's length the answer is ErrBusy at once, and everything accepted is answered.
func TestBusy(t *testing.T) {
	e := openTiny(t)
	pic := encodertest.PNG(image.NewGray(image.Rect(0, 0, 8, 8)))
	var wg sync.WaitGroup
	var mu sync.Mutex
	answered, busy := 0, 0
	for range 60 {
		wg.Go(func() {
			pics := slices.Repeat([]tilescout.Picture{pic}, 20)
			rows, err := e.Images(context.Background(), pics, encoder.Interactive)
			mu.Lock()
			defer mu.Unlock()
			var each encoder.PictureErrors
			if err != nil && !errors.As(err, &each) {
				t.Error(err)
			}
			for i, row := range rows {
				switch {
				case row != nil:
					answered++
				case errors.Is(each[i], tilescout.ErrBusy):
					busy++
				default:
					t.Error(each[i])
				}
			}
		})
	}
	wg.Wait()
	if answered+busy != 1200 || answered == 0 {
		t.Errorf("%d answered and %d busy, want 1200 in all", answered, busy)
	}
	s := e.Stats()
	if s.Images != int64(answered) || s.QueuedInteractive != 0 || s.ImageBatches == 0 {
		t.Errorf("Stats() = %+v, want %d images and an empty queue", s, answered)
	}
}

// TestCloseUnderLoad: calls under way end with an error, none hangs.
func TestCloseUnderLoad(t *testing.T) {
	e := openTiny(t)
	pic := encodertest.JPEG(encodertest.Tile(color.NRGBA{80, 90, 100, 255}, 1))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				_, err := e.Images(context.Background(), slices.Repeat([]tilescout.Picture{pic}, 5), encoder.Background)
				if err == nil {
					_, err = e.Texts(context.Background(), []string{"stadium"})
				}
				if err != nil {
					if !errors.Is(err, tilescout.ErrUnavailable) {
						t.Errorf("after Close: %v, want %v", err, tilescout.ErrUnavailable)
					}
					return
				}
			}
		})
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}
