package geotiff_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"image"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tilescout/tilescout/geo/geotiff"
)

// gdalPython returns a Python that has GDAL's bindings, or skips the test.
func gdalPython(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(name, "-c", "from osgeo import gdal").Run() == nil {
			return name
		}
	}
	t.Skip("no Python with GDAL's bindings (osgeo) to write the files")
	return ""
}

// TestRandomFilesAgainstGDAL lets GDAL write 210 files of random form (type × bits × compression × predictor × layout ×
// byte order × container × bands) and reads every sample of them: the same numbers as GDAL reads, JPEG and lossy WebP
// within 2.
func TestRandomFilesAgainstGDAL(t *testing.T) {
	python, dir := gdalPython(t), t.TempDir()
	const count = 210
	cmd := exec.Command(python, filepath.Join("testdata", "random_tiffs.py"), dir, "210", "20240611")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	list, err := cmd.Output()
	if err != nil {
		t.Fatalf("write the files: %v\n%s", err, stderr.Bytes())
	}
	n := 0
	for lines := bufio.NewScanner(bytes.NewReader(list)); lines.Scan(); n++ {
		var c struct {
			Name, Type           string
			Width, Height, Bands int
			Lossy                bool
			Options              []string
		}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		form := c.Type + " " + strings.Join(c.Options, " ")
		data, err := os.ReadFile(filepath.Join(dir, c.Name+".tif"))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(filepath.Join(dir, c.Name+".raw"))
		if err != nil {
			t.Fatal(err)
		}
		f, err := openBytes(data)
		if err != nil {
			t.Errorf("%s: %v", form, err)
			continue
		}
		if in := f.Info(); in.Width != c.Width || in.Height != c.Height || in.Bands != c.Bands {
			t.Errorf("%s: %d × %d × %d, want %d × %d × %d", form, in.Width, in.Height, in.Bands, c.Width, c.Height, c.Bands)
			continue
		}
		whole := image.Rect(0, 0, c.Width, c.Height)
		tolerance := 0.0
		if c.Lossy {
			tolerance = 2
		}
		for b := range c.Bands {
			got, err := f.Values(context.Background(), 0, b+1, whole)
			if err != nil {
				t.Errorf("%s: band %d: %v", form, b+1, err)
				break
			}
			if bad := differ(got, raw[8*b*len(got):], tolerance); bad >= 0 {
				t.Errorf("%s: band %d, pixel %d,%d = %v, GDAL reads %v", form, b+1, bad%c.Width, bad/c.Width, got[bad],
					math.Float64frombits(binary.LittleEndian.Uint64(raw[8*(b*len(got)+bad):])))
				break
			}
		}
		checkStretched(t, form, f, raw, tolerance)
	}
	if n != count {
		t.Errorf("%d files, want %d", n, count)
	}
}

// differ returns the first place where values and the doubles in raw are further apart than allowed; -1 for none.
func differ(values []float64, raw []byte, tolerance float64) int {
	for i, v := range values {
		want := math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:]))
		if math.Abs(v-want) > tolerance {
			return i
		}
	}
	return -1
}

// checkStretched holds the picture of a file against its samples, brought to 8 bits by what the file says of itself.
func checkStretched(t *testing.T, form string, f *geotiff.File, raw []byte, tolerance float64) {
	t.Helper()
	in := f.Info()
	img, err := f.Pixels(context.Background(), 0, image.Rect(0, 0, in.Width, in.Height))
	if err != nil {
		t.Errorf("%s: %v", form, err)
		return
	}
	n := in.Width * in.Height
	white := strings.Contains(form, "MINISWHITE")
	for c, band := range in.Shown {
		r := geotiff.Range{Max: math.Exp2(float64(in.Bits)) - 1}
		if in.Stretch != nil {
			r = in.Stretch[c]
		} else if strings.HasPrefix(form, "Byte") == false || in.Bits > 8 {
			t.Errorf("%s: no stretch of %d bits", form, in.Bits)
			return
		}
		for i := range n {
			v := math.Float64frombits(binary.LittleEndian.Uint64(raw[8*((band-1)*n+i):]))
			want := math.Max(0, math.Min(255, (v-r.Min)/(r.Max-r.Min)*255))
			if white {
				want = 255 - want
			}
			if got := float64(img.Pix[4*i+c]); math.Abs(got-want) > tolerance+1 && img.Pix[4*i+3] == 255 {
				t.Errorf("%s: pixel %d,%d of band %d shows %v, want %.1f of sample %v in %v", form, i%in.Width, i/in.Width, band, got, want, v, r)
				return
			}
		}
	}
}
