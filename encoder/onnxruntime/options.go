package onnxruntime

import (
	"fmt"
	"strings"

	"github.com/tilescout/tilescout"
)

// SessionOptions says how a model is run.
type SessionOptions struct {
	Input    string            // name of the model's one input
	Outputs  []string          // names of the outputs to compute
	Threads  int               // threads of one run; 0 lets the library choose: all cores
	Device   string            // cpu, auto, cuda, tensorrt, coreml, directml, openvino or webgpu; "" is cpu
	Provider map[string]string // options passed to the execution provider as they are
	Folder   string            // where the model's weights file lies; "" if it has all weights inside
	Notice   func(line string) // called when "auto" falls back; may be nil
}

// candidates are the devices to try, in order.
func candidates(device string) ([]string, error) {
	switch device {
	case "", "cpu":
		return []string{"cpu"}, nil
	case "auto":
		return []string{"cuda", "coreml", "cpu"}, nil
	case "cuda", "tensorrt", "coreml", "directml", "openvino", "webgpu":
		return []string{device}, nil
	}
	return nil, fmt.Errorf("onnxruntime: device %q: want one of %s: %w", device, strings.Join(Devices(), ", "), tilescout.ErrBadInput)
}

// checkOptions refuses options that nothing would read.
func checkOptions(o SessionOptions) error {
	if o.Device != "" && o.Device != "cpu" {
		return nil
	}
	for key := range o.Provider {
		return fmt.Errorf("onnxruntime: the option %.40q is for an execution provider: name one with --device: %w", key, tilescout.ErrBadInput)
	}
	return nil
}

// Devices are the names that a session accepts.
func Devices() []string {
	return []string{"cpu", "auto", "cuda", "tensorrt", "coreml", "directml", "openvino", "webgpu"}
}
