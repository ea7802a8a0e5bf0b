package torchfile_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tilescout/tilescout/encoder/checkpoint/torchfile"
)

// Files that the installed torch writes: state_dicts, whole modules, training checkpoints, TorchScript.
func TestTorch(t *testing.T) {
	python := cmp.Or(os.Getenv("TILESCOUT_TORCH_PYTHON"), "python3")
	if err := exec.Command(python, "-c", "import torch").Run(); err != nil {
		t.Skip("no torch: set TILESCOUT_TORCH_PYTHON to a Python that has it")
	}
	dir := t.TempDir()
	if out, err := exec.Command(python, "testdata/save.py", dir).CombinedOutput(); err != nil {
		t.Fatalf("save.py: %v\n%s", err, out)
	}
	var want map[string][]float64
	raw, err := os.ReadFile(filepath.Join(dir, "want.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ format, prefix string }{
		"state.pt": {torchfile.Zip, ""}, "protocol4.pt": {torchfile.Zip, ""}, "legacy.pt": {torchfile.Legacy, ""}, "module.pt": {torchfile.Zip, ""},
		"training.pt": {torchfile.Zip, "module."}, "scripted.pt": {torchfile.Script, ""}, "traced.pt": {torchfile.Script, ""},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			f, err := torchfile.Read(bytes.NewReader(raw), int64(len(raw)))
			if err != nil {
				t.Fatal(err)
			}
			if f.Format != c.format || len(f.Tensors) != len(want) {
				t.Errorf("%s with %d tensors, want %s with %d", f.Format, len(f.Tensors), c.format, len(want))
			}
			for key, w := range want {
				got, ok := f.Tensors[c.prefix+key]
				if !ok {
					t.Errorf("no %s", key)
					continue
				}
				values, err := got.Append(nil)
				if err != nil || !slices.EqualFunc(values, w, func(a float32, b float64) bool { return a == float32(b) }) {
					t.Errorf("%s = %v (%v), want %v", key, values, err, w)
				}
			}
		})
	}
}
