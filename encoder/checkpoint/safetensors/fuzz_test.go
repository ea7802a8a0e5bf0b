package safetensors_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder/checkpoint/hostile"
	"github.com/tilescout/tilescout/encoder/checkpoint/safetensors"
)

func FuzzSafetensorsHeader(f *testing.F) {
	f.Add(hostile.Safetensors(hostile.Model()[10:12]))
	for _, data := range hostile.Seeds(".safetensors") {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := safetensors.Read(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			if !errors.Is(err, tilescout.ErrBadInput) {
				t.Fatal(err)
			}
			return
		}
		for name, tensor := range all {
			if tensor.Len()*tensor.Type().Size() > len(data) {
				t.Fatalf("%q has %v in a file of %d bytes", name, tensor.Shape(), len(data))
			}
			if _, err := tensor.Append(nil); err != nil && !errors.Is(err, tilescout.ErrBadInput) {
				t.Fatal(err)
			}
		}
	})
}
