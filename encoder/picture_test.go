package encoder_test

import (
	"errors"
	"image"
	"image/color"
	"testing"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/encodertest"
)

func TestDecode(t *testing.T) {
	want := encodertest.Tile(color.NRGBA{120, 90, 200, 255}, 4)
	got, err := encoder.Decode(encodertest.PNG(want).Data)
	if err != nil || got.Rect != want.Rect || !got.Opaque() {
		t.Fatalf("%v, %v", err, got.Rect)
	}
	for i := range want.Pix {
		if got.Pix[i] != want.Pix[i] {
			t.Fatalf("byte %d is %d, want %d", i, got.Pix[i], want.Pix[i])
		}
	}
	// Half of it transparent: that half takes the mean colour of the other.
	half := image.NewNRGBA(image.Rect(0, 0, 2, 1))
	half.SetNRGBA(0, 0, color.NRGBA{10, 20, 30, 255})
	if got, err = encoder.Decode(encodertest.PNG(half).Data); err != nil || got.RGBAAt(1, 0) != (color.RGBA{10, 20, 30, 255}) {
		t.Errorf("transparent pixel: %v, %v, want the mean colour", err, got)
	}
	for _, c := range []struct {
		data []byte
		kind error
	}{{nil, tilescout.ErrBadInput}, {[]byte("text"), tilescout.ErrBadInput}, {encodertest.PNG(image.NewNRGBA(image.Rect(0, 0, 4, 4))).Data, tilescout.ErrNotFound}} {
		if _, err := encoder.Decode(c.data); !errors.Is(err, c.kind) {
			t.Errorf("Decode(%.8q): %v, want %v", c.data, err, c.kind)
		}
	}
}
