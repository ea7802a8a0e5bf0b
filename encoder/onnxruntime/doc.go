// Package onnxruntime finds, installs and loads the ONNX Runtime shared library and runs models with it.
//
// The C library keeps one environment per process; this package alone owns it. It is created by the first Load
// and stays until the process ends: other packages hold a *Runtime and the Sessions made from it.
//
//	path, err := onnxruntime.Find(onnxruntime.Search{DataDir: dir})
//	rt, err := onnxruntime.Load(path)
//	s, err := rt.NewSession(model, onnxruntime.SessionOptions{Input: "pixels", Outputs: []string{"embedding"}})
package onnxruntime

import (
	"fmt"
	"runtime"

	"github.com/tilescout/tilescout"
)

// Version is the release that Install takes and that the tests run with. It is the newest one whose archives have
// hashes confirmed by several independent sources and which exists in every channel that a build may use.
const Version = "1.29.0"

// oldest is the first release with C API 24, which the binding asks for.
const oldest = "1.24"

// Error is what a user is told when the library is not there or does not fit. Its text names the next step;
// it wraps one kind, mostly tilescout.ErrUnavailable, without repeating that kind in the text.
type Error struct {
	Text string
	Kind error
}

func (e *Error) Error() string { return e.Text }
func (e *Error) Unwrap() error { return e.Kind }

func unavailable(format string, args ...any) error {
	return &Error{Text: "onnxruntime: " + fmt.Sprintf(format, args...), Kind: tilescout.ErrUnavailable}
}

func errTooOld(path string) error {
	return unavailable(`%s is too old: Tilescout needs ONNX Runtime %s or newer (C API 24). Install %s with "tilescout runtime install".`,
		path, oldest, Version)
}

func errWrongPlatform(path string) error {
	return unavailable("%s is not a %s/%s library.", path, runtime.GOOS, runtime.GOARCH)
}

func errUnsupported(goos, goarch string) error {
	return unavailable("no official build for %s/%s; point --onnxruntime at your own build.", goos, goarch)
}
