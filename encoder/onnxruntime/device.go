//go:build cgo

package onnxruntime

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/tilescout/tilescout"
)

// appendProvider puts an execution provider before the CPU, which keeps the operators that the provider lacks (shape
// arithmetic mostly). A provider that cannot be had at all is an error.
func (rt *Runtime) appendProvider(so *ort.SessionOptions, device string, o SessionOptions) error {
	if device == "cpu" {
		return nil
	}
	// Looked for beforehand, because the library says what is missing to stderr only.
	for _, name := range providerFiles(device) {
		if _, err := os.Stat(filepath.Join(filepath.Dir(rt.Path), name)); err != nil {
			return rt.errProvider(device, fmt.Errorf("%s is missing", name))
		}
	}
	var err error
	switch device {
	case "cuda":
		var p *ort.CUDAProviderOptions
		if p, err = ort.NewCUDAProviderOptions(); err == nil {
			defer p.Destroy()
			if err = p.Update(o.Provider); err == nil {
				err = so.AppendExecutionProviderCUDA(p)
			}
		}
	case "tensorrt":
		var p *ort.TensorRTProviderOptions
		if p, err = ort.NewTensorRTProviderOptions(); err == nil {
			defer p.Destroy()
			if err = p.Update(o.Provider); err == nil {
				err = so.AppendExecutionProviderTensorRT(p)
			}
		}
	case "coreml":
		err = so.AppendExecutionProviderCoreMLV2(o.Provider)
	case "directml":
		id, bad := strconv.Atoi(cmp.Or(o.Provider["device_id"], "0"))
		if bad != nil {
			return fmt.Errorf("onnxruntime: directml: device_id %q is no number: %w", o.Provider["device_id"], tilescout.ErrBadInput)
		}
		// DirectML works with neither the memory pattern nor parallel execution.
		if err = so.SetMemPattern(false); err == nil {
			err = so.AppendExecutionProviderDirectML(id)
		}
	case "openvino":
		err = so.AppendExecutionProviderOpenVINO(o.Provider)
	case "webgpu":
		err = so.AppendExecutionProvider("WebGPU", o.Provider)
	}
	if err != nil {
		return rt.errProvider(device, err)
	}
	return nil
}

// providerFiles are the libraries that must lie beside the main one; none where the provider is built in.
func providerFiles(device string) []string {
	switch device {
	case "cuda", "tensorrt", "openvino":
	default:
		return nil
	}
	if runtime.GOOS == "windows" {
		return []string{"onnxruntime_providers_shared.dll", "onnxruntime_providers_" + device + ".dll"}
	}
	return []string{"libonnxruntime_providers_shared.so", "libonnxruntime_providers_" + device + ".so"}
}

// errProvider says why a device cannot be used and what would make it work.
func (rt *Runtime) errProvider(device string, reason error) error {
	title := map[string]string{"cuda": "CUDA", "tensorrt": "TensorRT", "coreml": "CoreML", "directml": "DirectML", "openvino": "OpenVINO", "webgpu": "WebGPU"}[device]
	var b strings.Builder
	fmt.Fprintf(&b, "provider %s: not available: %s. The loaded library %s (ONNX Runtime %s) has no working %s provider",
		device, strings.TrimSuffix(reason.Error(), "."), rt.Path, rt.Version, title)
	if files := providerFiles(device); files != nil {
		fmt.Fprintf(&b, ": expected %s in %s", strings.Join(files, " and "), filepath.Dir(rt.Path))
	}
	switch device {
	case "cuda":
		archive := "onnxruntime-linux-x64-gpu_cuda12-" + Version + ".tgz"
		if runtime.GOOS == "windows" {
			archive = "onnxruntime-win-x64-gpu_cuda12-" + Version + ".zip"
		}
		fmt.Fprintf(&b, ", CUDA 12 and cuDNN 9 on the library path. Install the GPU archive %s, or use --device cpu.", archive)
	case "tensorrt":
		b.WriteString(", TensorRT 10 (libnvinfer) on the library path. Use --device cuda or --device cpu.")
	default:
		b.WriteString(". Use --device cpu.")
	}
	return &Error{Text: b.String(), Kind: tilescout.ErrUnavailable}
}
