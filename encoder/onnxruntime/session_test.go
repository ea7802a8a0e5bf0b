//go:build cgo

package onnxruntime

import (
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/tilescout/tilescout"
)

// A device that the library lacks is refused in one line: what is missing, where, and what else to do. Whether one works
// that is there, no test says: none was at hand. The file comes after load_test.go, which wants no library loaded.
func TestDevices(t *testing.T) {
	path, err := Find(Search{})
	if err != nil {
		t.Skip(err)
	}
	rt, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "linux" {
		t.Skip("other libraries have other devices built in")
	}
	if found, _ := filepath.Glob(filepath.Join(filepath.Dir(rt.Path), "libonnxruntime_providers_*")); len(found) > 0 {
		t.Skip("the library has devices: ", found)
	}
	folder := filepath.Dir(rt.Path)
	for name, c := range map[string]struct {
		device  string
		options map[string]string
		kind    error
		want    []string
	}{
		"cuda": {"cuda", nil, tilescout.ErrUnavailable, []string{"provider cuda: not available", "libonnxruntime_providers_shared.so is missing",
			rt.Path, rt.Version, "libonnxruntime_providers_cuda.so in " + folder, "CUDA 12 and cuDNN 9", "gpu_cuda12-" + Version + ".tgz", "--device cpu"}},
		"cuda with options": {"cuda", map[string]string{"device_id": "1", "use_tf32": "0"}, tilescout.ErrUnavailable, []string{"provider cuda"}},
		"tensorrt":          {"tensorrt", map[string]string{"trt_fp16_enable": "1"}, tilescout.ErrUnavailable, []string{"provider tensorrt", "providers_tensorrt.so", "libnvinfer", "--device cuda"}},
		"openvino":          {"openvino", nil, tilescout.ErrUnavailable, []string{"provider openvino", "providers_openvino.so in " + folder, "--device cpu"}},
		"coreml":            {"coreml", map[string]string{"ModelFormat": "MLProgram"}, tilescout.ErrUnavailable, []string{"provider coreml", "CoreML", "--device cpu"}},
		"directml":          {"directml", map[string]string{"device_id": "1"}, tilescout.ErrUnavailable, []string{"provider directml", "DirectML", "--device cpu"}},
		"directml's number": {"directml", map[string]string{"device_id": "first"}, tilescout.ErrBadInput, []string{`device_id "first" is no number`}},
		"unknown":           {"gpu", nil, tilescout.ErrBadInput, []string{`device "gpu"`, "cuda", "openvino"}},
		"options of none":   {"cpu", map[string]string{"device_id": "1"}, tilescout.ErrBadInput, []string{"device_id", "--device"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := rt.NewSession(loopModel(), SessionOptions{Input: "turns", Outputs: []string{"count"}, Device: c.device, Provider: c.options})
			if err == nil {
				s.Close()
			}
			if !errors.Is(err, c.kind) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("NewSession = %v, want %v in one line", err, c.kind)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q lacks %q", err, w)
				}
			}
		})
	}
	t.Run("auto", func(t *testing.T) {
		var lines []string
		s, err := rt.NewSession(loopModel(), SessionOptions{Input: "turns", Outputs: []string{"count"}, Device: "auto", Provider: map[string]string{"device_id": "0"},
			Notice: func(line string) { lines = append(lines, line) }})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if s.Device != "cpu" || len(lines) != 2 || !strings.Contains(lines[0], "cuda") || !strings.Contains(lines[1], "coreml") {
			t.Errorf("runs on %s, said %q", s.Device, lines)
		}
	})
}
