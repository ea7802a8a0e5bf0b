package torchfile_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder/checkpoint/hostile"
	"github.com/tilescout/tilescout/encoder/checkpoint/torchfile"
)

// read reads all tensors of a file; whatever is wrong has to be bad input.
func read(t *testing.T, data []byte) {
	f, err := torchfile.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		if !errors.Is(err, tilescout.ErrBadInput) {
			t.Fatal(err)
		}
		return
	}
	left := 16 << 20 // a file may have the same storage in many tensors
	for name, tensor := range f.Tensors {
		if tensor.Len() > len(data)+1<<20 {
			t.Fatalf("%q has %v in a file of %d bytes", name, tensor.Shape(), len(data))
		}
		if left -= tensor.Len(); left < 0 {
			return
		}
		if _, err := tensor.Append(nil); err != nil && !errors.Is(err, tilescout.ErrBadInput) {
			t.Fatal(err)
		}
	}
}

func seeds(f *testing.F, of func(name string) bool) {
	for name, data := range hostile.Seeds(".pt") {
		if of(name) {
			f.Add(data)
		}
	}
}

// FuzzZip holds whole archives.
func FuzzZip(f *testing.F) {
	f.Add(hostile.Torch(hostile.Model()[10:12]))
	f.Add(hostile.Script(hostile.Model()[10:12]))
	seeds(f, func(name string) bool { return !strings.HasPrefix(name, "legacy") })
	f.Fuzz(read)
}

// FuzzLegacy holds files of five pickles.
func FuzzLegacy(f *testing.F) {
	f.Add(hostile.Legacy(hostile.Model()[10:12]))
	seeds(f, func(name string) bool { return strings.HasPrefix(name, "legacy") })
	f.Fuzz(read)
}

// FuzzPickle puts programs into an archive that is sound otherwise.
func FuzzPickle(f *testing.F) {
	for _, data := range [][]byte{hostile.Torch(hostile.Model()[10:12]), hostile.Script(hostile.Model()[10:12])} {
		f.Add(hostile.Program(data))
	}
	for _, data := range hostile.Seeds(".pt") {
		if program := hostile.Program(data); program != nil {
			f.Add(program)
		}
	}
	f.Fuzz(func(t *testing.T, program []byte) { read(t, hostile.Archive(program)) })
}
