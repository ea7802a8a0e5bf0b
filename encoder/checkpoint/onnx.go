package checkpoint

import (
	"fmt"
	"path/filepath"
)

// ONNXFolder is a folder that somebody else exported to ONNX already.
type ONNXFolder struct {
	Layout string // immich, rclip, optimum, transformers.js or files
	Image  string // path of the graph with the image tower
	Text   string // path of the graph with the text tower; the same as Image where one graph holds both
}

// ONNXFiles returns the known layouts, best first: full precision before what loses some of it. Paths are relative, with slashes.
func ONNXFiles() []ONNXFolder {
	return []ONNXFolder{
		{"immich", "visual/model.onnx", "textual/model.onnx"},
		{"rclip", "visual.onnx", "textual.onnx"},
		{"transformers.js", "onnx/vision_model.onnx", "onnx/text_model.onnx"},
		{"transformers.js", "onnx/vision_model_fp16.onnx", "onnx/text_model_fp16.onnx"},
		{"transformers.js", "onnx/vision_model_quantized.onnx", "onnx/text_model_quantized.onnx"},
		{"transformers.js", "onnx/vision_model_uint8.onnx", "onnx/text_model_uint8.onnx"},
		{"transformers.js", "onnx/vision_model_int8.onnx", "onnx/text_model_int8.onnx"},
		{"optimum", "vision_model.onnx", "text_model.onnx"},
		{"optimum", "image_encoder/model.onnx", "text_encoder/model.onnx"},
		{"optimum", "vision_encoder/model.onnx", "text_encoder/model.onnx"},
		{"files", "clip-visual.onnx", "clip-textual.onnx"},
		{"files", "image.onnx", "text.onnx"},
		{"optimum", "model.onnx", "model.onnx"},
		{"transformers.js", "onnx/model.onnx", "onnx/model.onnx"},
	}
}

// FindONNX recognises the layouts of immich, rclip, optimum and transformers.js, and any two files of the usual names.
// What the graphs take and give is decided by who loads them, by rank and element type. A folder without them is ErrFolder.
func FindONNX(dir string) (ONNXFolder, error) {
	for _, f := range ONNXFiles() {
		f.Image, f.Text = filepath.Join(dir, filepath.FromSlash(f.Image)), filepath.Join(dir, filepath.FromSlash(f.Text))
		if isFile(f.Image) && isFile(f.Text) {
			return f, nil
		}
	}
	return ONNXFolder{}, fmt.Errorf("%s: no pair of image and text graphs in ONNX: %w", dir, ErrFolder)
}
