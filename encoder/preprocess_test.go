package encoder

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder/reference"
)

// shared finds a file of the shared test data, which lies beside the source tree.
func shared(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			path := filepath.Join(filepath.Dir(dir), "shared", "data", filepath.FromSlash(name))
			if _, err := os.Stat(path); err != nil {
				t.Skipf("no shared test data: %v", err)
			}
			return path
		}
	}
	t.Skip("no go.mod above the package")
	return ""
}

// pattern draws the pictures of the golden file.
func pattern(kind, w, h int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	on := func(b bool) uint8 {
		if b {
			return 255
		}
		return 0
	}
	for y := range h {
		for x := range w {
			var c color.NRGBA
			switch kind {
			case 0:
				c = color.NRGBA{uint8(3*x + 5*y), uint8(7*x + y*y/16), uint8(x*x/32 + 11*y), 255}
			case 1:
				c = color.NRGBA{on((x/8+y/8)%2 == 0), on(x/3%2 == 0), on(y/5%2 == 0), 255}
			case 2:
				c = color.NRGBA{uint8(255 * x / max(w-1, 1)), uint8(255 * y / max(h-1, 1)), uint8(255 * (x + y) / max(w+h-2, 1)), 255}
			case 3:
				v := 2654435761*uint32(x) + 40503*uint32(y) + 97*uint32(x)*uint32(y)
				v ^= v >> 15
				v *= 2246822519
				v ^= v >> 13
				c = color.NRGBA{uint8(v), uint8(v >> 8), uint8(v >> 16), 255}
			}
			m.SetNRGBA(x, y, c)
		}
	}
	return m
}

// TestPillow: every case of the golden file, made with Pillow 13, byte for byte.
func TestPillow(t *testing.T) {
	raw, err := os.ReadFile(shared(t, "clip/clip_preprocess.json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			W, H, Pattern int
			Source        string `json:"src_sha256"`
			Shortest      string `json:"sha256"`
			Rounded       string `json:"sha256_crop_round"`
			Squash        string `json:"squash_sha256"`
			Box           string `json:"box_sha256"`
			Bilinear      string `json:"bilinear_sha256"`
		}
	}
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) == 0 {
		t.Fatal("no cases")
	}
	for _, c := range golden.Cases {
		m := pattern(c.Pattern, c.W, c.H)
		s := &scratch{}
		if err := s.load(m, false); err != nil {
			t.Fatal(err)
		}
		rgb := make([]byte, 3*c.W*c.H)
		packRGB(rgb, s.pixels.pix)
		if got := sum(rgb); got != c.Source {
			t.Fatalf("%d×%d pattern %d: the test's own picture differs", c.W, c.H, c.Pattern)
		}
		ways := []struct{ resize, filter, want string }{
			{"shortest", "bicubic", c.Shortest}, {"squash", "bicubic", c.Squash}, {"shortest", "box", c.Box}, {"shortest", "bilinear", c.Bilinear},
			{"shortest-crop", "bicubic", c.Shortest}, {"shortest-crop-round", "bicubic", cmp.Or(c.Rounded, c.Shortest)},
		}
		for _, way := range ways {
			if way.want == "" {
				continue
			}
			t.Run(fmt.Sprintf("%dx%d pattern %d %s %s", c.W, c.H, c.Pattern, way.resize, way.filter), func(t *testing.T) {
				r := newResizer(preprocessing{Size: 224, Resize: way.resize, Filter: way.filter})
				out := make([]byte, 224*224*3)
				r.resize(out, &s.pixels, s)
				if got := sum(out); got != way.want {
					t.Errorf("sha256 %s, want %s", got, way.want)
				}
				plain, err := reference.Resize{Size: 224, Mode: way.resize, Filter: way.filter}.Pixels(m)
				if err != nil {
					t.Fatal(err)
				}
				if got := sum(plain); got != way.want {
					t.Errorf("the plain resize: sha256 %s, want %s", got, way.want)
				}
			})
		}
	}
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// TestPasses: the passes in assembly give the bytes of those in Go, for all lengths and taps.
func TestPasses(t *testing.T) {
	if !accelerated {
		t.Skip("no assembly on this machine")
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		in, out := 1+rng.IntN(300), 1+rng.IntN(300)
		k := newKernel(kernelKey{[]string{"bicubic", "bilinear", "box"}[rng.IntN(3)], in, out, 0, out})
		src := make([]byte, 4*in+slack)
		for i := range src {
			src[i] = byte(rng.Uint32())
			if rng.IntN(2) == 0 {
				src[i] = byte(rng.IntN(2)) * 255 // the extremes overshoot
			}
		}
		got, want := make([]byte, 4*out+slack), make([]byte, 4*out+slack)
		horizontal(got, src, k)
		horizontalGo(want, src, k)
		for i := range 4 * out {
			if i%4 != 3 && got[i] != want[i] {
				t.Fatalf("horizontal %d → %d, %d taps: byte %d is %d, want %d", in, out, k.taps, i, got[i], want[i])
			}
		}
		width := 4 * (1 + rng.IntN(70))
		rows := make([]byte, width*(in+1)+slack)
		for i := range rows {
			rows[i] = byte(rng.Uint32())
		}
		got, want = make([]byte, width+slack), make([]byte, width+slack)
		y := rng.IntN(out)
		coef := k.coef[y*k.taps:][:min(k.taps, in-int(k.first[y]))]
		vertical(got, rows[int(k.first[y])*width:], coef, width, width)
		verticalGo(want, rows[int(k.first[y])*width:], coef, width, width)
		if !bytes.Equal(got[:width], want[:width]) {
			t.Fatalf("vertical %d → %d, width %d differs", in, out, width)
		}
	}
}

// TestColourPasses: the colour step in assembly gives the bytes of that in Go.
func TestColourPasses(t *testing.T) {
	if !accelerated {
		t.Skip("no assembly on this machine")
	}
	rng := rand.New(rand.NewPCG(3, 4))
	bytesOf := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	for n := 1; n < 120; n++ {
		near, far := bytesOf(n), bytesOf(n)
		got, want := make([]int16, n+2), make([]int16, n+2)
		blend(got, near, far)
		blendGo(want, near, far, 0)
		if !slices.Equal(got, want) {
			t.Fatalf("blend of %d differs", n)
		}
		for _, round := range [][2]int16{{8, 7}, {8, 8}, {4, 8}} {
			wide, wanted := make([]uint8, 2*n), make([]uint8, 2*n)
			widen(wide, got, round[0], round[1])
			widenGo(wanted, got, round[0], round[1], 0)
			if !bytes.Equal(wide, wanted) {
				t.Fatalf("widen of %d differs", n)
			}
		}
		luma, cb, cr := bytesOf(n), bytesOf(n), bytesOf(n)
		rgb, wanted := make([]byte, 4*n), make([]byte, 4*n)
		fullRange(rgb, luma, cb, cr)
		fullRangeGo(wanted, luma, cb, cr)
		if !bytes.Equal(rgb, wanted) {
			t.Fatalf("fullRange of %d differs", n)
		}
	}
}

// TestPictureKinds: the same picture through every kind of PNG gives the same pixels.
func TestPictureKinds(t *testing.T) {
	src := pattern(2, 64, 48)
	grey := image.NewGray(src.Rect)
	web := image.NewPaletted(src.Rect, nil)
	for i := range 216 {
		web.Palette = append(web.Palette, color.NRGBA{uint8(i % 6 * 51), uint8(i / 6 % 6 * 51), uint8(i / 36 * 51), 255})
	}
	deep := image.NewNRGBA64(src.Rect)
	for y := range 48 {
		for x := range 64 {
			c := src.NRGBAAt(x, y)
			grey.SetGray(x, y, color.Gray{c.R})
			web.Set(x, y, c)
			deep.Set(x, y, c)
		}
	}
	for _, m := range []image.Image{src, grey, web, deep} {
		t.Run(fmt.Sprintf("%T", m), func(t *testing.T) {
			var file bytes.Buffer
			if err := png.Encode(&file, m); err != nil {
				t.Fatal(err)
			}
			s := &scratch{}
			if err := s.decode(file.Bytes()); err != nil {
				t.Fatal(err)
			}
			for y := range 48 {
				for x := range 64 {
					want := color.NRGBAModel.Convert(m.At(x, y)).(color.NRGBA)
					got := s.pixels.pix[4*(y*64+x):]
					if got[0] != want.R || got[1] != want.G || got[2] != want.B {
						t.Fatalf("(%d, %d) = %v, want %v", x, y, got[:3], want)
					}
				}
			}
		})
	}
}

func TestTransparency(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 4, 4))
	s := &scratch{}
	if err := s.load(m, false); !errors.Is(err, ErrNoData) || !errors.Is(err, tilescout.ErrNotFound) {
		t.Errorf("fully transparent: %v, want ErrNoData", err)
	}
	m.SetNRGBA(0, 0, color.NRGBA{200, 100, 50, 255})
	m.SetNRGBA(1, 0, color.NRGBA{100, 100, 50, 255})
	m.SetNRGBA(2, 0, color.NRGBA{255, 255, 255, 0}) // its colour must not shine through
	if err := s.load(m, false); err != nil {
		t.Fatal(err)
	}
	want := [][3]byte{{200, 100, 50}, {100, 100, 50}, {150, 100, 50}, {150, 100, 50}}
	for x, c := range want {
		if got := [3]byte(s.pixels.pix[4*x:]); got != c {
			t.Errorf("pixel %d = %v, want %v", x, got, c)
		}
	}
	p := image.NewPaletted(image.Rect(0, 0, 2, 1), color.Palette{color.NRGBA{0, 0, 0, 0}, color.NRGBA{9, 8, 7, 255}})
	if err := s.load(p, false); !errors.Is(err, ErrNoData) {
		t.Errorf("transparent palette: %v, want ErrNoData", err)
	}
}

// TestHostile: nothing that claims to be a picture allocates by its claim, panics or is taken for one.
func TestHostile(t *testing.T) {
	var good, photo bytes.Buffer
	png.Encode(&good, pattern(3, 20, 20))
	jpeg.Encode(&photo, pattern(0, 20, 20), nil)
	bomb := append([]byte{}, good.Bytes()...)
	copy(bomb[16:], []byte{0, 0, 0x4e, 0x20, 0, 0, 0x4e, 0x20}) // 20000 × 20000
	crc := crc32IEEE(bomb[12:29])
	copy(bomb[29:], crc[:])
	scans := append([]byte{}, photo.Bytes()...)
	scans = append(scans[:len(scans)-2], bytes.Repeat([]byte{0xff, 0xda}, 200)...)
	cases := map[string][]byte{
		"nothing": {}, "bomb": bomb, "scans": scans, "too large": append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, maxPictureBytes)...),
		"GIF": []byte("GIF89a\x01\x00\x01\x00\x00"), "RIFF": []byte("RIFF\x00\x00\x00\x00WEBPVP8 "),
	}
	for name, data := range cases {
		if err := (&scratch{}).decode(data); !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("%s: %v, want %v", name, err, tilescout.ErrBadInput)
		}
	}
	for _, file := range [][]byte{good.Bytes(), photo.Bytes()} {
		for n := range len(file) - 12 { // a PNG needs nothing of its last chunk
			if err := (&scratch{}).decode(file[:n]); !errors.Is(err, tilescout.ErrBadInput) {
				t.Fatalf("the first %d of %d bytes: %v, want %v", n, len(file), err, tilescout.ErrBadInput)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	var b bytes.Buffer
	png.Encode(&b, pattern(1, 9, 7))
	f.Add(b.Bytes())
	var j bytes.Buffer
	jpeg.Encode(&j, pattern(0, 17, 9), nil)
	f.Add(j.Bytes())
	f.Add(Uncompressed(image.NewNRGBA(image.Rect(0, 0, 3, 2))).Data)
	r := newResizer(preprocessing{Size: 16, Resize: "shortest", Filter: "bicubic"})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &scratch{}
		err := s.decode(data)
		switch {
		case err == nil:
			r.resize(make([]byte, 16*16*3), &s.pixels, s)
		case !errors.Is(err, tilescout.ErrBadInput) && !errors.Is(err, ErrNoData):
			t.Errorf("decode: %v has no kind", err)
		}
	})
}

func crc32IEEE(b []byte) (sum [4]byte) {
	binary.BigEndian.PutUint32(sum[:], crc32.ChecksumIEEE(b))
	return sum
}
