//go:build cgo

package onnxruntime

import (
	"strings"
	"sync"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/tilescout/tilescout"
)

// Runtime is the loaded library. All values are handles to the same process-wide environment.
type Runtime struct {
	Path    string // absolute path of the library
	Version string // as the library says it
}

// environment is the state that the C library forces on the process: at most one library, loaded once, never unloaded
// (sessions and tensors would point into freed code).
var environment struct {
	sync.Mutex // guards loaded; also serialises the creation of sessions, whose concurrent safety is disputed upstream
	loaded     *Runtime
}

// Load loads the library at path, or returns the one already loaded from there. A process can hold one library only.
// Errors wrap tilescout.ErrUnavailable and say what to do.
func Load(path string) (*Runtime, error) {
	environment.Lock()
	defer environment.Unlock()
	if rt := environment.loaded; rt != nil {
		if rt.Path != path {
			return nil, &Error{
				Text: "onnxruntime: " + rt.Path + " is loaded already and a process can hold one library only; start again to use " + path + ".",
				Kind: tilescout.ErrUnavailable,
			}
		}
		return rt, nil
	}
	if err := checkHeader(path); err != nil {
		return nil, err
	}
	ort.SetSharedLibraryPath(path)
	if err := ort.InitializeEnvironment(ort.WithLogLevelError()); err != nil {
		return nil, explainLoad(path, err)
	}
	environment.loaded = &Runtime{Path: path, Version: ort.GetVersion()}
	return environment.loaded, nil
}

// explainLoad turns the binding's words into ours.
func explainLoad(path string, err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "API base: 2"): // the library does not know C API 24
		return errTooOld(path)
	case containsAny(text, "wrong ELF class", "invalid ELF header", "incompatible architecture", "not a valid Win32 application"):
		return errWrongPlatform(path)
	case strings.Contains(text, "OrtGetApiBase"):
		return unavailable("%s is no ONNX Runtime library: it has no OrtGetApiBase.", path)
	}
	return unavailable("load %s: %v", path, err)
}

func containsAny(s string, parts ...string) bool {
	for _, p := range parts {
		if strings.Contains(s, p) {
			return true
		}
	}
	return false
}
