package source_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/jpeg"
	"image/png"
	"os"
	"strings"
	"testing"

	"github.com/deepteams/webp"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

// encoded returns one picture of each format, width × height pixels.
func encoded(t testing.TB, width, height int) map[string][]byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, width, height))
	for i := range img.Pix {
		img.Pix[i] = uint8(i * i >> 4)
	}
	var p, j, w bytes.Buffer
	if err := errors.Join(png.Encode(&p, img), jpeg.Encode(&j, img, nil), webp.Encode(&w, img, nil)); err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{tilescout.PNG: p.Bytes(), tilescout.JPEG: j.Bytes(), tilescout.WebP: w.Bytes()}
}

func TestCheck(t *testing.T) {
	for mediaType, data := range encoded(t, 64, 32) {
		if got := source.Sniff(data); got != mediaType {
			t.Errorf("Sniff(%s) = %q", mediaType, got)
		}
		want := source.Shape{MediaType: mediaType, Width: 64, Height: 32}
		if got, err := source.Check(data, source.Limits{}); err != nil || got != want {
			t.Errorf("Check(%s) = %+v, %v, want %+v", mediaType, got, err, want)
		}
		if _, err := source.Check(append(bytes.Clone(data), "trailing"...), source.Limits{}); err != nil {
			t.Errorf("Check(%s with trailing bytes): %v", mediaType, err)
		}
		for n := range data {
			if shape, err := source.Check(data[:n], source.Limits{}); !errors.Is(err, tilescout.ErrBadInput) {
				t.Fatalf("Check(%s cut at %d of %d) = %+v, %v, want ErrBadInput", mediaType, n, len(data), shape, err)
			}
		}
	}
}

func TestCheckLimits(t *testing.T) {
	small := encoded(t, 300, 20)[tilescout.PNG]
	claim := func(width, height uint32) []byte { // a PNG header that promises much
		data := bytes.Clone(small)
		binary.BigEndian.PutUint32(data[16:], width)
		binary.BigEndian.PutUint32(data[20:], height)
		return data
	}
	for _, c := range []struct {
		name string
		data []byte
		l    source.Limits
		text string
	}{
		{"wide for its limit", small, source.Limits{MaxSide: 299}, "300 × 20"},
		{"heavy for its limit", small, source.Limits{MaxBytes: len(small) - 1}, "over the limit"},
		{"default side", encoded(t, 1025, 8)[tilescout.PNG], source.Limits{}, "1025"},
		{"hard side", encoded(t, 4097, 8)[tilescout.JPEG], source.Limits{MaxSide: 1 << 20}, "4097"},
		{"default weight", append(bytes.Clone(small), make([]byte, 8<<20)...), source.Limits{}, "over the limit of 8388608"},
		{"bomb", claim(20000, 20000), source.Limits{}, ""},
		{"zero", claim(0, 0), source.Limits{}, ""},
	} {
		if _, err := source.Check(c.data, c.l); !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want ErrBadInput with %q", c.name, err, c.text)
		}
	}
	for _, good := range []struct {
		width int
		l     source.Limits
	}{{1024, source.Limits{}}, {4096, source.Limits{MaxSide: 4096}}} {
		if _, err := source.Check(encoded(t, good.width, 8)[tilescout.PNG], good.l); err != nil {
			t.Errorf("%d px with %+v: %v", good.width, good.l, err)
		}
	}
}

func TestCheckRealFiles(t *testing.T) {
	for _, name := range []string{"truncated.png", "truncated.jpg"} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(sourcetest.Shared(t, "geo", "broken", name))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := source.Check(data, source.Limits{}); !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), "cut short") {
				t.Errorf("Check: %v, want cut short", err)
			}
		})
	}
}

func TestDescribe(t *testing.T) {
	for data, want := range map[string]string{
		"":                                      "an empty body",
		"\ufeff \n<!DOCTYPE HTML><p>secret</p>": "an HTML page",
		"<!-- hi --><html>":                     "an XML document",
		"<?xml version='1.0'?><ServiceException/>": "an XML document",
		`{"error": "secret"}`:                      "a JSON document",
		"GIF89a":                                   "a GIF",
		"\x1f\x8b\x08":                             "gzip data",
		"II*\x00":                                  "a TIFF",
		"\x00\x00\x00\x1cftypavif":                 "an AVIF or video file",
		"secret":                                   "a body of 6 bytes",
	} {
		if got := source.Describe([]byte(data)); got != want {
			t.Errorf("Describe(%q) = %q, want %q", data, got, want)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, data := range encoded(f, 16, 8) {
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Add([]byte("\xff\xd8\xff\xff\xff\xd9"))
	f.Add([]byte("\x89PNG\r\n\x1a\n\xff\xff\xff\xffIDAT"))
	f.Add([]byte("RIFF\xff\xff\xff\xffWEBPVP8X"))
	f.Fuzz(func(t *testing.T, data []byte) {
		shape, err := source.Check(data, source.Limits{})
		if err != nil {
			if !errors.Is(err, tilescout.ErrBadInput) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("Check: %q", err)
			}
			return
		}
		if shape.MediaType != source.Sniff(data) || shape.Width < 1 || shape.Width > 1024 || shape.Height < 1 || shape.Height > 1024 {
			t.Fatalf("Check = %+v", shape)
		}
		if c, _, err := image.DecodeConfig(bytes.NewReader(data)); err == nil && (c.Width != shape.Width || c.Height != shape.Height) {
			t.Fatalf("Check = %+v, the decoder says %d × %d", shape, c.Width, c.Height)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	for mediaType, data := range encoded(b, 256, 256) {
		b.Run(mediaType, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := source.Check(data, source.Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestCheckAllocates nothing: it looks at each tile that is served.
func TestCheckAllocates(t *testing.T) {
	for mediaType, data := range encoded(t, 64, 64) {
		if n := testing.AllocsPerRun(100, func() { _, _ = source.Check(data, source.Limits{}) }); n > 0 {
			t.Errorf("Check(%s) allocates %v times", mediaType, n)
		}
	}
}
