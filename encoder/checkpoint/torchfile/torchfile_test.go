package torchfile_test

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/tilescout/tilescout/encoder/checkpoint/torchfile"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

// Views, shared storages, scalars, parameters and every element type, as torch.save wrote them in both formats.
func TestTricky(t *testing.T) {
	var want map[string]struct {
		DType  string    `json:"dtype"`
		Shape  []int     `json:"shape"`
		Values []float64 `json:"values"`
	}
	raw, err := os.ReadFile(sourcetest.Shared(t, "clip", "torch_tricky.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	for name, format := range map[string]string{"torch_tricky.pt": torchfile.Zip, "torch_tricky_legacy.pt": torchfile.Legacy} {
		t.Run(name, func(t *testing.T) {
			raw, err := os.ReadFile(sourcetest.Shared(t, "clip", name))
			if err != nil {
				t.Fatal(err)
			}
			f, err := torchfile.Read(bytes.NewReader(raw), int64(len(raw)))
			if err != nil {
				t.Fatal(err)
			}
			if f.Format != format || len(f.Tensors) != len(want) {
				t.Errorf("%s with %d tensors, want %s with %d", f.Format, len(f.Tensors), format, len(want))
			}
			for key, w := range want {
				got, ok := f.Tensors[key]
				if !ok {
					t.Errorf("no tensor %s", key)
					continue
				}
				if got.Type().String() != w.DType || !slices.Equal(got.Shape(), w.Shape) {
					t.Errorf("%s is %s %v, want %s %v", key, got.Type(), got.Shape(), w.DType, w.Shape)
				}
				values, err := got.Append(nil)
				if err != nil {
					t.Errorf("%s: %v", key, err)
				}
				if !slices.EqualFunc(values, w.Values, func(a float32, b float64) bool { return a == float32(b) }) {
					t.Errorf("%s = %v, want %v", key, values, w.Values)
				}
			}
		})
	}
}
