package tileserver

import (
	"bytes"
	"errors"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"testing"

	"github.com/tilescout/tilescout"
)

// FuzzConvert: what a source calls a picture is sent as another type and size, or refused with a kind.
func FuzzConvert(f *testing.F) {
	small := image.NewPaletted(image.Rect(0, 0, 4, 4), nil)
	small.Palette = append(small.Palette, image.Transparent, image.Black)
	for _, encode := range []func(*bytes.Buffer) error{
		func(b *bytes.Buffer) error { return png.Encode(b, small) },
		func(b *bytes.Buffer) error { return jpeg.Encode(b, small, nil) },
		func(b *bytes.Buffer) error { return gif.Encode(b, small, nil) },
	} {
		var b bytes.Buffer
		if err := encode(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes(), byte(0))
		f.Add(b.Bytes()[:b.Len()-3], byte(7))
	}
	f.Add([]byte("RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x03\xc0\x00\x00\x07\x10\x11\x11\x88\x88\xfe\x07\x00"), byte(4))
	f.Add([]byte("<svg onload=alert(1)>"), byte(1))
	types := []string{tilescout.PNG, tilescout.JPEG, tilescout.WebP}
	f.Fuzz(func(t *testing.T, data []byte, how byte) {
		p := tilescout.Picture{Data: data, MediaType: types[how%3]}
		if w, h, err := measure(p); err == nil && w*h > 1<<20 {
			return // the server takes its budget for these first; here they only cost time
		}
		typed := func(err error) {
			if err != nil && !errors.Is(err, tilescout.ErrUpstream) {
				t.Fatalf("error without a kind: %v", err)
			}
		}
		size := []int{256, 512}[how>>2&1]
		out, err := convert(p, types[how>>3%3], size)
		if typed(err); err == nil {
			if w, h, err := measure(tilescout.Picture{Data: out, MediaType: types[how>>3%3]}); err != nil || w != size || h != size {
				t.Errorf("converted to %d × %d, %v, want %d", w, h, err, size)
			}
		}
		_, err = stitch([4]*tilescout.Picture{&p, nil, &p, nil}, types[how>>3%3], 512)
		typed(err)
	})
}
