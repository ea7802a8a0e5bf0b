//go:build !cgo

package onnxruntime

import (
	"context"
	"time"
)

// Runtime is the loaded library; a program built without cgo has none.
type Runtime struct {
	Path    string
	Version string
}

// Session is one model made ready to run.
type Session struct{ Device string }

// Output is where Run writes one output.
type Output struct {
	Shape []int64
	Data  []float32
}

func errNoCgo() error {
	return unavailable("this binary was built with CGO_ENABLED=0; rebuild with cgo and a C compiler.")
}

// Load fails: the library is called through cgo.
func Load(string) (*Runtime, error) { return nil, errNoCgo() }

// NewSession fails: the library is called through cgo.
func (*Runtime) NewSession([]byte, SessionOptions) (*Session, error) { return nil, errNoCgo() }

// Close does nothing.
func (*Session) Close() error { return nil }

// Run fails: the library is called through cgo.
func Run[T uint8 | int64 | float32](context.Context, *Session, []T, []int64, []Output, time.Duration) error {
	return errNoCgo()
}
