package cog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tilescout/tilescout"
)

// ramp is an image whose pixels tell their place: red grows with x, green with y.
type ramp struct{ w, h int }

func (r ramp) Size() (int, int) { return r.w, r.h }

func (r ramp) Rows(_ context.Context, y, n int, dst []byte) error {
	for j := range n {
		for x := range r.w {
			o := (j*r.w + x) * 3
			dst[o], dst[o+1], dst[o+2] = byte(x*255/r.w), byte((y+j)*255/r.h), 90
		}
	}
	return nil
}

var where = Options{EPSG: 3857, West: 1000, North: 2000, PixelSize: 0.5, Quality: 95}

// dir is a directory as read back.
type dir struct {
	at   int
	tags map[uint16][]uint32
}

// parse reads the directories of a little-endian classic TIFF; SHORT and LONG values only.
func parse(t *testing.T, b []byte) []dir {
	t.Helper()
	le := binary.LittleEndian
	if string(b[:4]) != "II*\x00" {
		t.Fatalf("header % x", b[:4])
	}
	var out []dir
	for at := le.Uint32(b[4:]); at != 0; {
		d := dir{int(at), map[uint16][]uint32{}}
		n := int(le.Uint16(b[at:]))
		last := uint16(0)
		for i := range n {
			e := b[int(at)+2+12*i:]
			tag, kind, count := le.Uint16(e), le.Uint16(e[2:]), int(le.Uint32(e[4:]))
			if tag <= last {
				t.Errorf("tag %d after %d: not in order", tag, last)
			}
			last = tag
			size := map[uint16]int{typeASCII: 1, typeShort: 2, typeLong: 4, typeRational: 8, typeDouble: 8}[kind]
			v := e[8:]
			if size*count > 4 {
				v = b[le.Uint32(e[8:]):]
			}
			for k := range count {
				switch kind {
				case typeShort:
					d.tags[tag] = append(d.tags[tag], uint32(le.Uint16(v[2*k:])))
				case typeLong:
					d.tags[tag] = append(d.tags[tag], le.Uint32(v[4*k:]))
				}
			}
		}
		out = append(out, d)
		at = le.Uint32(b[int(at)+2+12*n:])
	}
	return out
}

func TestWriteLayout(t *testing.T) {
	for _, tc := range []struct {
		name   string
		w, h   int
		levels int
	}{
		{"one tile", 512, 512, 1},
		{"smaller than a tile", 100, 37, 1},
		{"one pixel over", 513, 512, 2},
		{"odd", 1301, 777, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var buf bytes.Buffer
			if err := Write(context.Background(), &buf, ramp{tc.w, tc.h}, where); err != nil {
				t.Fatal(err)
			}
			b := buf.Bytes()
			dirs := parse(t, b)
			if len(dirs) != tc.levels {
				t.Fatalf("%d directories, want %d", len(dirs), tc.levels)
			}
			firstData, before := len(b), len(b)+1
			for i, d := range dirs {
				w, h := int(d.tags[256][0]), int(d.tags[257][0])
				if i == 0 && (w != tc.w || h != tc.h) {
					t.Errorf("image is %d×%d", w, h)
				}
				if i > 0 && (d.tags[254][0] != 1 || w != (int(dirs[i-1].tags[256][0])+1)/2) {
					t.Errorf("overview %d: subfile %v, width %d", i, d.tags[254], w)
				}
				want := ((w + 511) / 512) * ((h + 511) / 512)
				if len(d.tags[324]) != want || len(d.tags[325]) != want {
					t.Fatalf("level %d: %d offsets, %d sizes, want %d", i, len(d.tags[324]), len(d.tags[325]), want)
				}
				for k, off := range d.tags[324] {
					n := d.tags[325][k]
					tile := b[off : off+n]
					if got := binary.LittleEndian.Uint32(b[off-4:]); got != n {
						t.Errorf("level %d tile %d: leader %d, size %d", i, k, got, n)
					}
					if !bytes.Equal(b[off+n:off+n+4], tile[n-4:]) {
						t.Errorf("level %d tile %d: trailer differs", i, k)
					}
					m, err := jpeg.Decode(bytes.NewReader(tile))
					if err != nil || m.Bounds().Dx() != 512 || m.Bounds().Dy() != 512 {
						t.Fatalf("level %d tile %d: %v", i, k, err)
					}
					across := (w + 511) / 512
					x, y := k%across*512+20, k/across*512+20 // a pixel inside the image for these sizes
					if x < w && y < h {
						r, g, bl, _ := m.At(20, 20).RGBA()
						if wr, wg := x*255/w, y*255/h; abs(int(r>>8)-wr) > 8 || abs(int(g>>8)-wg) > 8 || abs(int(bl>>8)-90) > 8 {
							t.Errorf("level %d tile %d: colour %d %d %d, want about %d %d 90", i, k, r>>8, g>>8, bl>>8, wr, wg)
						}
					}
				}
				firstData = min(firstData, int(d.tags[324][0]))
				// The smaller a level, the earlier its data.
				if off := int(d.tags[324][0]); off >= before {
					t.Errorf("level %d: data at %d, not before %d", i, off, before)
				} else {
					before = off
				}
			}
			if last := dirs[len(dirs)-1]; last.at >= firstData {
				t.Errorf("directory at %d after data at %d", last.at, firstData)
			}
		})
	}
}

func abs(v int) int { return max(v, -v) }

type failing struct{ after int }

func (f *failing) Write(p []byte) (int, error) {
	if f.after--; f.after < 0 {
		return 0, os.ErrClosed
	}
	return len(p), nil
}

func TestWriteErrors(t *testing.T) {
	ctx := context.Background()
	for _, src := range []ramp{{0, 5}, {5, -1}, {1 << 21, 4}, {1 << 20, 1 << 20}} {
		if err := Write(ctx, &bytes.Buffer{}, src, where); !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("%v: %v", src, err)
		}
	}
	if err := Write(ctx, &bytes.Buffer{}, ramp{9, 9}, Options{EPSG: 3857}); !errors.Is(err, tilescout.ErrBadInput) {
		t.Errorf("pixel size 0: %v", err)
	}
	for n := range 3 {
		if err := Write(ctx, &failing{n}, ramp{600, 600}, where); !errors.Is(err, os.ErrClosed) {
			t.Errorf("writer that fails after %d: %v", n, err)
		}
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := Write(gone, &bytes.Buffer{}, ramp{600, 600}, where); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestGDALReadsIt(t *testing.T) {
	gdalinfo, err := exec.LookPath("gdalinfo")
	if err != nil {
		t.Skip("gdalinfo is not on PATH")
	}
	path := filepath.Join(t.TempDir(), "ramp.tif")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(context.Background(), f, ramp{1301, 777}, where); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(gdalinfo, "-checksum", path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"LAYOUT=COG", "Overviews: 651x389, 326x195", "Block=512x512", `ID["EPSG",3857]`, "Origin = (1000.000000000000000,2000.000000000000000)", "Pixel Size = (0.500000000000000,-0.500000000000000)"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("gdalinfo does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(string(out), "ERROR") || strings.Contains(string(out), "Warning") {
		t.Errorf("gdalinfo complains:\n%s", out)
	}
}
