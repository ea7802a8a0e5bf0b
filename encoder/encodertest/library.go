package encodertest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tilescout/tilescout/encoder/onnxruntime"
)

// Library returns the ONNX Runtime library that tests run with: what the usual search finds, else what "make build" put
// into bin/lib of the source tree. A test on a machine without one is skipped.
func Library(t testing.TB) string {
	t.Helper()
	path, err := onnxruntime.Find(onnxruntime.Search{})
	if err == nil {
		return path
	}
	for dir, e := os.Getwd(); e == nil; dir = filepath.Dir(dir) {
		if _, e := os.Stat(filepath.Join(dir, "go.mod")); e == nil {
			if path, e := onnxruntime.Find(onnxruntime.Search{Flag: filepath.Join(dir, "bin", "lib")}); e == nil {
				return path
			}
			break
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	t.Skip(err)
	return ""
}
