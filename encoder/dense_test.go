package encoder_test

import (
	"errors"
	"image/color"
	"testing"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/encodertest"
)

// TestDense holds the bundled model's cells against its pooled embedding: their mean points where the whole picture does.
func TestDense(t *testing.T) {
	lib := encodertest.Library(t)
	d, err := encoder.OpenDense(t.Context(), encoder.Options{Library: lib})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	e, err := encoder.Open(t.Context(), encoder.Options{Library: lib})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var pics []tilescout.Picture
	for i := range 9 { // more than one run takes
		pics = append(pics, encodertest.PNG(encodertest.Tile(color.NRGBA{uint8(25 * i), 120, 90, 255}, uint64(i))))
	}
	cells, err := d.Cells(t.Context(), pics)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := e.Images(t.Context(), pics, encoder.Background)
	if err != nil {
		t.Fatal(err)
	}
	for i, grid := range cells {
		if len(grid) != d.Side()*d.Side() {
			t.Fatalf("picture %d has %d cells, want %d", i, len(grid), d.Side()*d.Side())
		}
		mean := 0.0
		for _, cell := range grid {
			for k, v := range cell {
				mean += float64(v) * float64(whole[i][k]) / float64(len(grid))
			}
		}
		if mean < .5 {
			t.Errorf("picture %d: mean cosine of its cells and the whole = %.3f, want ≥ .5", i, mean)
		}
	}
	if _, err := d.Cells(t.Context(), []tilescout.Picture{{Data: []byte("text")}}); !errors.Is(err, tilescout.ErrBadInput) {
		t.Errorf("Cells of no picture: %v, want %v", err, tilescout.ErrBadInput)
	}
}

func TestDenseWithout(t *testing.T) {
	if _, err := encoder.OpenDense(t.Context(), encoder.Options{Model: "nowhere"}); !errors.Is(err, tilescout.ErrUnavailable) {
		t.Errorf("OpenDense of no folder: %v, want %v", err, tilescout.ErrUnavailable)
	}
}
