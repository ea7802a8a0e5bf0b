package ready_test

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/convert"
	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/encoder/ready"
)

// Exporters write older opsets, whose operators have other forms: what comes before and behind a tower has the tower's.
func TestOpsets(t *testing.T) {
	library := encodertest.Library(t)
	const side, n = 32, 5
	matrix := make([]float32, 3*side*side*n)
	for i := range matrix {
		matrix[i] = float32((i*7919)%201-100) / 100
	}
	picture := drawing(t, 5)
	for _, opset := range []uint64{9, 11, 13, 17} {
		dir, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
		image, text := ready.Linear(side, matrix)
		write(t, filepath.Join(dir, "visual.onnx"), ready.ModelOf(opset, image))
		write(t, filepath.Join(dir, "textual.onnx"), ready.ModelOf(opset, text))
		write(t, filepath.Join(dir, "preprocessor_config.json"), []byte(processor))
		vocabulary(t, dir)
		m, err := ready.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		report, err := convert.Ready(t.Context(), m, out, convert.Options{ID: "linear"})
		if err != nil {
			t.Fatal(err)
		}
		pixels, err := encoder.Pixels(report.Manifest.Image, picture.Data)
		if err != nil {
			t.Fatal(err)
		}
		want := make([]float32, n)
		for i, v := range pixels {
			c, at := i%3, i/3
			for j := range n {
				want[j] += float32((float64(v)/255-mean[c])/std[c]) * matrix[(c*side*side+at)*n+j]
			}
		}
		images, texts := embed(t, out, library, []tilescout.Picture{picture}, []string{"ab"})
		if c := cosine(images[0], want); c < .99999 {
			t.Errorf("opset %d: picture: cosine %.6f", opset, c)
		}
		if c := math.Abs(cosine(texts[0], matrix[:n])); c < .99999 {
			t.Errorf("opset %d: prompt: cosine %.6f", opset, c)
		}
	}
}
