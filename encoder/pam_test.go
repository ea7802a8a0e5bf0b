package encoder

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/png"
	"testing"

	"github.com/tilescout/tilescout"
)

// An uncompressed picture is the same pixels as its PNG, transparent ones too.
func TestUncompressed(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 37, 21))
	for y := range 21 {
		for x := range 37 {
			m.SetNRGBA(x, y, color.NRGBA{uint8(7 * x), uint8(11 * y), uint8(x * y), uint8(255 - 200*(x/30))})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	want, err := Decode(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(Uncompressed(m).Data)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Pix, want.Pix) {
		t.Error("pixels differ from those of the PNG")
	}
	if _, err := Decode(Uncompressed(image.NewNRGBA(image.Rect(0, 0, 4, 4))).Data); !errors.Is(err, ErrNoData) {
		t.Errorf("nothing opaque: %v", err)
	}
}

func TestUncompressedBad(t *testing.T) {
	good := Uncompressed(image.NewNRGBA(image.Rect(0, 0, 4, 4))).Data
	for name, data := range map[string][]byte{
		"cut":       good[:len(good)-1],
		"longer":    append(bytes.Clone(good), 0),
		"no header": []byte("P7\n"),
		"negative":  bytes.Replace(good, []byte("WIDTH 4"), []byte("WIDTH -4"), 1),
		"huge":      bytes.Replace(good, []byte("WIDTH 4"), []byte("WIDTH 400000000000"), 1),
		"grey":      bytes.Replace(good, []byte("DEPTH 4"), []byte("DEPTH 1"), 1),
	} {
		if _, err := Decode(data); !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("%s: %v, want bad input", name, err)
		}
	}
}
