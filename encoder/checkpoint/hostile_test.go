package checkpoint_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/encoder/checkpoint/hostile"
)

// read opens a file and reads all of its tensors.
func read(ctx context.Context, path string) error {
	c, err := checkpoint.Open(ctx, path, checkpoint.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Check(ctx)
}

// Every hostile file is refused as bad input in one line, soon, and without much memory.
func TestHostile(t *testing.T) {
	dir := t.TempDir()
	n := 0
	for name, data := range hostile.Files() {
		n++
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // a guard against a hang, no measure
		err := read(ctx, path)
		cancel()
		runtime.ReadMemStats(&after)
		if !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("%s: %v, want bad input", name, err)
			continue
		}
		if text := err.Error(); strings.ContainsAny(text, "\n\x00") || len(text) > 500 {
			t.Errorf("%s: no clear line: %.600q", name, text)
		}
		if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 128+4*uint64(len(data))>>20 {
			t.Errorf("%s of %d bytes took %d MB", name, len(data), mb)
		}
	}
	if n < 40 {
		t.Errorf("%d files, want at least 40", n)
	}
	if _, err := os.Stat("/tmp/tilescout-hostile"); err == nil {
		t.Error("a checkpoint ran a command")
	}
}

// writers are the formats in which the package hostile writes a sound model.
var writers = map[string]struct {
	name, format string
	write        func([]hostile.Array) []byte
}{
	"safetensors": {"model.safetensors", "safetensors", hostile.Safetensors},
	"zip":         {"pytorch_model.bin", "pytorch zip", hostile.Torch},
	"script":      {"model.pt", "openai torchscript", hostile.Script},
	"legacy":      {"pytorch_model.bin", "pytorch legacy", hostile.Legacy},
	"flax":        {"flax_model.msgpack", "flax msgpack", hostile.Flax},
}

// The sound model in every format gives the values that were written.
func TestSound(t *testing.T) {
	for name, w := range writers {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, w.name), w.write(hostile.Model()), 0o644); err != nil {
				t.Fatal(err)
			}
			c := open(t, dir, checkpoint.Options{})
			if c.Format() != w.format {
				t.Errorf("Format() = %q, want %q", c.Format(), w.format)
			}
			for _, a := range hostile.Model() {
				got, err := c.Float32(a.Name, nil)
				if err != nil || !slices.Equal(got, a.Values) || !slices.Equal(c.Shape(a.Name), a.Shape) {
					t.Errorf("%s %v differs from what was written %v (%v)", a.Name, c.Shape(a.Name), a.Shape, err)
				}
			}
		})
	}
}

// A file that ends early is refused, wherever it ends.
func TestTruncated(t *testing.T) {
	for name, w := range writers {
		t.Run(name, func(t *testing.T) {
			raw := w.write(hostile.Model())
			path := filepath.Join(t.TempDir(), w.name)
			for i := range 30 {
				n := len(raw) * i / 30
				if i > 15 {
					n = len(raw) - 1 - (i-15)*(i-15)
				}
				if err := os.WriteFile(path, raw[:n], 0o644); err != nil {
					t.Fatal(err)
				}
				if err := read(t.Context(), path); !errors.Is(err, tilescout.ErrBadInput) {
					t.Errorf("%d of %d bytes: %v, want bad input", n, len(raw), err)
				}
			}
		})
	}
}
