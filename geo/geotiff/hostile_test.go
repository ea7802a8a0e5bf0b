package geotiff_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo/geotiff"
	"github.com/tilescout/tilescout/geo/geotiff/hostile"
)

// use does with a file what a server would: open it, read pixels of each level, render it. It fails the test if
// an error lacks a kind. It returns the first error.
func use(t testing.TB, data []byte) error {
	t.Helper()
	f, err := openBytes(data)
	check := func(err error) error {
		if err != nil && !errors.Is(err, tilescout.ErrBadInput) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error without a kind: %v", err)
		}
		return err
	}
	if check(err) != nil {
		return err
	}
	in := f.Info()
	// A server sets a deadline too: small files may declare many large blocks.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var first error
	for level := range min(in.Overviews+1, 4) {
		w, h := min(in.Width, 300), min(in.Height, 300)
		_, err := f.Pixels(ctx, level, image.Rect(0, 0, w, h))
		if check(err) != nil && first == nil {
			first = err
		}
		if _, err := f.Pixels(ctx, level, image.Rect(in.Width/2, in.Height/2, in.Width/2+8, in.Height/2+8)); check(err) != nil && first == nil {
			first = err
		}
	}
	if f.Georeference() == nil {
		b := in.Mercator
		img, err := f.Render(ctx, b, 64, 64, geotiff.Bilinear)
		if check(err) == nil && img.Rect.Dx() != 64 {
			t.Fatalf("picture of %v", img.Rect)
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func TestBrokenFiles(t *testing.T) {
	files := map[string][]byte{}
	for _, name := range []string{
		"jpeg_cog_damaged.tif", "cmyk_jpeg_strips.tif", "old_style_jpeg.tif", "bomb_65535_samples.tif", "crash_jpeg_strip.tif",
		"bigtiff_rgb.tif", "tiled_planar_lzw.tiff", "truncated.png", "truncated.jpg", "corrupt_sqlite.mbtiles",
	} {
		b, err := os.ReadFile(dataFile(t, "broken/"+name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = b
	}
	z, err := zip.OpenReader(dataFile(t, "broken/tiff_fuzz_60.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for _, entry := range z.File {
		r, err := entry.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name] = b
	}
	good := 0
	for name, b := range files {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		err := use(t, b)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 256<<20 {
			t.Errorf("%s: %d MiB allocated", name, n>>20)
		}
		if took > 20*time.Second { // a hang, not a slow machine
			t.Errorf("%s: took %v", name, took)
		}
		if err == nil {
			good++
		}
		if testing.Verbose() {
			t.Logf("%-40.40s %8v %6d KiB %.120v", name, took.Round(time.Millisecond), (after.TotalAlloc-before.TotalAlloc)>>10, err)
		}
	}
	for name, want := range map[string]error{"jpeg_cog_damaged.tif": geotiff.ErrBlockRange, "old_style_jpeg.tif": geotiff.ErrUnsupported, "cmyk_jpeg_strips.tif": nil, "bigtiff_rgb.tif": nil} {
		if err := use(t, files[name]); !errors.Is(err, want) {
			t.Errorf("%s: error %v, want %v", name, err, want)
		}
	}
	if good == len(files) {
		t.Error("no broken file was found broken")
	}
}

// smallGood are three small files of different make.
func smallGood(t testing.TB) map[string][]byte {
	return map[string][]byte{
		"striped":  picture{width: 20, height: 9, samples: 3, epsg: 3857}.write(t),
		"tiled":    picture{width: 20, height: 20, samples: 4, epsg: 32632, compression: 8, tile: 16, big: true, overview: true, order: binary.BigEndian}.write(t),
		"jpegMask": picture{width: 32, height: 32, samples: 3, epsg: 4326, scale: [2]float64{0.01, 0.01}, origin: [2]float64{5, 50}, compression: 7, tile: 32, mask: true}.write(t),
	}
}

func TestEveryTruncation(t *testing.T) {
	for name, b := range smallGood(t) {
		if err := use(t, b); err != nil {
			t.Fatalf("%s: whole: %v", name, err)
		}
		failed := 0
		for n := range b {
			if use(t, b[:n]) != nil {
				failed++
			}
		}
		// The directory comes last in these files, so no part of one is a file.
		if failed < len(b)*9/10 {
			t.Errorf("%s: %d of %d truncations are errors", name, failed, len(b))
		}
	}
}

// TestShrinkingFile: a file that is cut off while it is open gives errors, not panics.
func TestShrinkingFile(t *testing.T) {
	for name, b := range smallGood(t) {
		r := &shrinking{Reader: bytes.NewReader(b)}
		f, err := geotiff.Open(r, int64(len(b)), geotiff.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r.gone = true
		if _, err := f.Render(context.Background(), f.Info().Mercator, 16, 16, geotiff.Bilinear); err == nil {
			t.Errorf("%s: no error from a file that is gone", name)
		}
	}
}

type shrinking struct {
	*bytes.Reader
	gone bool
}

func (s *shrinking) ReadAt(p []byte, at int64) (int, error) {
	if s.gone {
		return 0, io.EOF
	}
	return s.Reader.ReadAt(p, at)
}

// tag is one entry of a little-endian classic directory.
type tag struct {
	id, typ uint16
	count   uint32
	value   uint32
}

// ifd writes a file of one directory at offset 32; before it, from 8 on, lie bytes that may be pixels.
func ifd(next uint32, tags ...tag) []byte {
	b := append([]byte("II*\x00\x20\x00\x00\x00"), make([]byte, 24)...)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(tags)))
	for _, g := range tags {
		b = binary.LittleEndian.AppendUint16(b, g.id)
		b = binary.LittleEndian.AppendUint16(b, g.typ)
		b = binary.LittleEndian.AppendUint32(b, g.count)
		b = binary.LittleEndian.AppendUint32(b, g.value)
	}
	return binary.LittleEndian.AppendUint32(b, next)
}

func TestLimits(t *testing.T) {
	image8 := func(w, h uint32, more ...tag) []tag {
		return append([]tag{{256, 4, 1, w}, {257, 4, 1, h}, {258, 3, 1, 8}, {262, 3, 1, 1}}, more...)
	}
	strip := []tag{{273, 4, 1, 8}, {279, 4, 1, 4}, {278, 4, 1, 2}}
	with := func(base []tag, more ...tag) []tag { return append(append([]tag(nil), base...), more...) }
	var many []tag
	for i := range 600 {
		many = append(many, tag{uint16(1000 + i), 3, 1, 0})
	}
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"nothing", nil, geotiff.ErrNotTIFF},
		{"no directory", []byte("II*\x00\x00\x00\x00\x00"), geotiff.ErrNotTIFF},
		{"version 85", []byte("II\x55\x00\x08\x00\x00\x00"), geotiff.ErrNotTIFF},
		{"BigTIFF, offsets of 0 bytes", []byte("II+\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00"), geotiff.ErrNotTIFF},
		{"BigTIFF, offset 2^63", []byte("II+\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80"), geotiff.ErrTagValue},
		{"directory outside", []byte("II*\x00\xff\xff\xff\xff"), geotiff.ErrTagValue},
		{"directory in the header", []byte("II*\x00\x02\x00\x00\x00aaaaaaaaaaaa"), geotiff.ErrTagValue},
		{"no tags", ifd(0), geotiff.ErrTagCount},
		{"600 tags", ifd(0, many...), geotiff.ErrTagCount},
		{"own successor", ifd(32, with(image8(2, 2), strip...)...), geotiff.ErrIFDLoop},
		{"duplicate", ifd(0, tag{256, 4, 1, 2}, tag{256, 4, 1, 2}), geotiff.ErrTagDuplicate},
		{"count 2^32-1 of BYTE", ifd(0, tag{347, 7, 1<<32 - 1, 8}), geotiff.ErrTagValue},
		{"count 2^32-1 of DOUBLE", ifd(0, tag{33550, 12, 1<<32 - 1, 8}), geotiff.ErrTagValue},
		{"unknown type", ifd(0, tag{256, 99, 1, 2}), geotiff.ErrTagValue},
		{"width in ASCII", ifd(0, tag{256, 2, 1, 2}), geotiff.ErrTagValue},
		{"value outside", ifd(0, tag{33550, 12, 3, 1 << 20}), geotiff.ErrTagValue},
		{"0 pixels wide", ifd(0, with(image8(0, 2), strip...)...), geotiff.ErrTagValue},
		{"2^32-1 pixels wide", ifd(0, with(image8(1<<32-1, 2), strip...)...), geotiff.ErrTagValue},
		{"strips of 0 rows", ifd(0, image8(2, 2, tag{273, 4, 1, 8}, tag{279, 4, 1, 4}, tag{278, 4, 1, 0})...), geotiff.ErrTagValue},
		{"two strips, one offset", ifd(0, image8(2, 4, strip...)...), geotiff.ErrOffsetCount},
		{"no offsets", ifd(0, image8(2, 2)...), geotiff.ErrOffsetCount},
		{"tile of 0", ifd(0, image8(2, 2, tag{322, 4, 1, 0}, tag{323, 4, 1, 16}, tag{324, 4, 1, 8}, tag{325, 4, 1, 4})...), geotiff.ErrTagValue},
		{"tile of 2^31", ifd(0, image8(2, 2, tag{322, 4, 1, 1 << 31}, tag{323, 4, 1, 1 << 31}, tag{324, 4, 1, 8}, tag{325, 4, 1, 4})...), geotiff.ErrBlockTooLarge},
		{"60000 × 60000 in one strip", ifd(0, image8(60000, 60000, tag{259, 3, 1, 8}, tag{273, 4, 1, 8}, tag{279, 4, 1, 4}, tag{278, 4, 1, 60000})...), geotiff.ErrBlockTooLarge},
		{"65535 samples", ifd(0, image8(2, 2, with(strip, tag{277, 3, 1, 65535})...)...), geotiff.ErrUnsupported},
		{"17 bits", ifd(0, with([]tag{{256, 4, 1, 2}, {257, 4, 1, 2}, {258, 3, 1, 17}}, strip...)...), geotiff.ErrUnsupported},
		{"compression 34887", ifd(0, image8(2, 2, with(strip, tag{259, 3, 1, 34887})...)...), geotiff.ErrUnsupported},
		{"float", ifd(0, image8(2, 2, with(strip, tag{339, 3, 1, 3})...)...), geotiff.ErrUnsupported},
		{"strip outside", ifd(0, image8(2, 2, tag{273, 4, 1, 1 << 20}, tag{279, 4, 1, 4}, tag{278, 4, 1, 2})...), geotiff.ErrBlockRange},
		{"strip in the directory", ifd(0, image8(2, 2, tag{273, 4, 1, 40}, tag{279, 4, 1, 4}, tag{278, 4, 1, 2})...), geotiff.ErrBlockRange},
		{"SubIFD that is its own", ifd(0, with(image8(2, 2), append(strip, tag{330, 4, 1, 32})...)...), geotiff.ErrIFDLoop},
		{"SubIFD outside", ifd(0, with(image8(2, 2), append(strip, tag{330, 4, 1, 1 << 20})...)...), geotiff.ErrTagValue},
		{"strip too short", ifd(0, image8(2, 2, tag{273, 4, 1, 8}, tag{279, 4, 1, 3}, tag{278, 4, 1, 2})...), geotiff.ErrBlockSize},
		{"deflate of garbage", ifd(0, image8(2, 2, with(strip, tag{259, 3, 1, 8})...)...), geotiff.ErrBlockSize},
		{"JPEG of garbage", ifd(0, image8(2, 2, with(strip, tag{259, 3, 1, 7})...)...), geotiff.ErrJPEGHeader},
		{"whole", ifd(0, image8(2, 2, strip...)...), nil},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := use(t, c.data)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.want)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 {
			t.Errorf("%s: %d MiB allocated", c.name, n>>20)
		}
		if err != nil && (strings.Contains(err.Error(), "\n") || len(err.Error()) > 300) {
			t.Errorf("%s: error is not one short line: %q", c.name, err)
		}
	}
}

// TestDeflateBomb: a block that inflates to more than its size is an error and is not inflated further.
func TestDeflateBomb(t *testing.T) {
	b := picture{width: 16, height: 16, samples: 1, compression: 8, tile: 16}.write(t)
	bomb := deflate(t, make([]byte, 64<<20))
	// The tile lies between header and directory; another is appended and its tags pointed there.
	at := len(b)
	b = append(b, bomb...)
	patch := func(id uint16, value int) {
		dir := int(binary.LittleEndian.Uint32(b[4:]))
		for i := range int(binary.LittleEndian.Uint16(b[dir:])) {
			if e := b[dir+2+12*i:]; binary.LittleEndian.Uint16(e) == id {
				binary.LittleEndian.PutUint32(e[8:], uint32(value))
			}
		}
	}
	patch(324, at)
	patch(325, len(bomb))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := use(t, b)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, geotiff.ErrBlockSize) {
		t.Errorf("error %v, want ErrBlockSize", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
		t.Errorf("%d MiB allocated", n>>20)
	}
}

// TestHostileFiles: every file of the corpus opens, or is refused with a kind and in one line, within the bounds of
// memory. How long that takes is measured by cmd/hostile, which has a machine to itself.
func TestHostileFiles(t *testing.T) {
	n, refused := 0, 0
	for name, data := range hostile.Files() {
		n++
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		err := use(t, data)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if err != nil {
			refused++
			if strings.ContainsAny(err.Error(), "\n\x00") || len(err.Error()) > 400 {
				t.Errorf("%s: the error is no clear line: %.300q", name, err)
			}
		}
		// 4 × the 64 MiB that a block may be declared to have, for each of the handful of pictures that use asks for.
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<30 {
			t.Errorf("%s: %d MiB allocated", name, grown>>20)
		}
		if testing.Verbose() {
			t.Logf("%-45s %8d bytes %7v %7d KiB %.110v", name, len(data), took.Round(time.Millisecond), (after.TotalAlloc-before.TotalAlloc)>>10, err)
		}
	}
	if n < 150 || refused < n/2 {
		t.Errorf("%d files, %d of them refused; want at least 150 and most of them", n, refused)
	}
	for _, bigEndian := range []bool{false, true} {
		if err := use(t, hostile.Good(bigEndian)); err != nil {
			t.Errorf("the good one: %v", err)
		}
	}
}

func FuzzIFD(f *testing.F) {
	for _, b := range smallGood(f) {
		f.Add(b)
	}
	f.Add(ifd(8, tag{256, 4, 1, 2}))
	f.Add([]byte("MM\x00+\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10"))
	f.Fuzz(func(t *testing.T, b []byte) {
		use(t, b)
	})
}
