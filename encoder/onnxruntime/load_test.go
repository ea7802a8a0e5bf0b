package onnxruntime

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tilescout/tilescout"
)

func env(values map[string]string) func(string) string {
	return func(k string) string { return values[k] }
}

// empty keeps the machine's own libraries out of a search.
func empty(t *testing.T) Search {
	return Search{Getenv: env(nil), WorkDir: t.TempDir(), System: []string{}}
}

func TestFind(t *testing.T) {
	put := func(dir, name string) string {
		t.Helper()
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("x"), 0o755); err != nil {
			t.Fatal(err)
		}
		path, _ = filepath.EvalSymlinks(path)
		return path
	}
	names := libraryNames(runtime.GOOS)
	base := t.TempDir()
	flag := put(filepath.Join(base, "flag"), names[0])
	fromEnv := put(filepath.Join(base, "env"), names[0])
	config := put(filepath.Join(base, "config"), "any-name.so")
	data := put(InstallDir(filepath.Join(base, "data"), runtime.GOOS, runtime.GOARCH), names[0])
	system := put(filepath.Join(base, "system"), names[len(names)-1])
	put(filepath.Join(base, "repo"), "go.mod")
	node := nodeModules(filepath.Join(base, "repo"))[1]
	inNode := put(node, names[0])

	all := Search{
		Flag: flag, Getenv: env(map[string]string{"TILESCOUT_ONNXRUNTIME": filepath.Dir(fromEnv), "ORT_DYLIB_PATH": config}),
		Config: config, DataDir: filepath.Join(base, "data"), WorkDir: filepath.Join(base, "repo"), System: []string{filepath.Dir(system)},
	}
	// In the order of the search: each step takes the best place away.
	steps := []struct {
		want string
		drop func(*Search)
	}{
		{flag, func(s *Search) { s.Flag = "" }},
		{fromEnv, func(s *Search) { s.Getenv = env(map[string]string{"ORT_DYLIB_PATH": config}) }},
		{config, func(s *Search) { s.Getenv = env(nil) }},
		{config, func(s *Search) { s.Config = "" }},
		{data, func(s *Search) { s.DataDir = "" }},
		{inNode, func(s *Search) { s.WorkDir = base }},
		{system, func(s *Search) { s.System = []string{} }},
	}
	for i, step := range steps {
		got, err := Find(all)
		if err != nil || got != step.want {
			t.Errorf("step %d: Find = %s, %v, want %s", i, got, err, step.want)
		}
		step.drop(&all)
	}
	_, err := Find(all)
	for _, part := range []string{"shared library not found. Looked in: ", `Run "tilescout runtime install"`, "--onnxruntime / TILESCOUT_ONNXRUNTIME"} {
		if !errors.Is(err, tilescout.ErrUnavailable) || !strings.Contains(err.Error(), part) {
			t.Errorf("Find of nothing = %v, want %q in it", err, part)
		}
	}
	// A named place is never skipped, though the data folder has one.
	for _, bad := range []string{filepath.Join(base, "nowhere.so"), filepath.Join(base, "repo")} {
		_, err := Find(Search{Flag: bad, Getenv: env(nil), DataDir: filepath.Join(base, "data")})
		if !errors.Is(err, tilescout.ErrUnavailable) || !strings.Contains(err.Error(), bad) {
			t.Errorf("Find with --onnxruntime %s = %v, want an error that names it", bad, err)
		}
	}
}

func TestLoadWrong(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.so")
	if err := os.WriteFile(text, []byte("not a library"), 0o644); err != nil {
		t.Fatal(err)
	}
	// An ELF header of another machine (RISC-V), enough for its reader.
	header := make([]byte, 64)
	copy(header, "\x7fELF\x02\x01\x01")
	header[16], header[18], header[20], header[52], header[54], header[58] = 3, 243, 1, 64, 56, 64
	foreign := filepath.Join(dir, "foreign.so")
	if err := os.WriteFile(foreign, header, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{text, foreign} {
		_, err := Load(path)
		if want := "is not a " + runtime.GOOS + "/" + runtime.GOARCH + " library"; !errors.Is(err, tilescout.ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("Load(%s) = %v, want %q", filepath.Base(path), err, want)
		}
	}
	if _, err := Load(filepath.Join(dir, "gone.so")); !errors.Is(err, tilescout.ErrUnavailable) {
		t.Errorf("Load of a missing file = %v, want %v", err, tilescout.ErrUnavailable)
	}
}

// TestLoadOld: a library that knows only older versions of the C API, and one that is not ONNX Runtime at all.
func TestLoadOld(t *testing.T) {
	cc, err := exec.LookPath("cc")
	if err != nil || runtime.GOOS == "windows" {
		t.Skip("no C compiler to build a stand-in with")
	}
	const old = `
static const void *get_api(unsigned version) { return 0; }
static const char *get_version(void) { return "1.23.2"; }
static struct { const void *(*api)(unsigned); const char *(*version)(void); } base = { get_api, get_version };
const void *OrtGetApiBase(void) { return &base; }`
	cases := []struct{ name, source, says string }{
		{"old", old, "is too old: Tilescout needs ONNX Runtime 1.24 or newer (C API 24)"},
		{"other", "int answer(void) { return 42; }", "is no ONNX Runtime library"},
	}
	for _, c := range cases {
		dir := t.TempDir()
		source, library := filepath.Join(dir, "a.c"), filepath.Join(dir, "lib"+c.name+".so")
		if err := os.WriteFile(source, []byte(c.source), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(cc, "-shared", "-fPIC", "-o", library, source).CombinedOutput(); err != nil {
			t.Skipf("the C compiler does not work: %s", out)
		}
		if _, err := Load(library); !errors.Is(err, tilescout.ErrUnavailable) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("Load(%s) = %v, want %q", c.name, err, c.says)
		}
	}
}

// TestWatchdog: a run that takes too long is ended by the library.
func TestWatchdog(t *testing.T) {
	s := loopSession(t)
	began := time.Now()
	out := []Output{{Shape: []int64{1}, Data: make([]float32, 1)}}
	err := Run(context.Background(), s, []int64{1 << 62}, []int64{1}, out, 50*time.Millisecond)
	if !errors.Is(err, tilescout.ErrUnavailable) || !strings.Contains(err.Error(), "stopped after 50ms") {
		t.Errorf("Run of an endless loop = %v after %v, want it stopped", err, time.Since(began))
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := Run(ctx, s, []int64{1 << 62}, []int64{1}, out, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("Run with a context that ends = %v, want %v", err, context.Canceled)
	}
	// The session is none the worse for it.
	if err := Run(context.Background(), s, []int64{3}, []int64{1}, out, time.Minute); err != nil || out[0].Data[0] != 3 {
		t.Errorf("Run of three turns = %v, %v, want 3", out[0].Data, err)
	}
}

func loopSession(t *testing.T) *Session {
	t.Helper()
	path, err := Find(Search{})
	if err != nil {
		t.Skip(err)
	}
	rt, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := rt.NewSession(loopModel(), SessionOptions{Input: "turns", Outputs: []string{"count"}, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
