package cogwrite

import (
	"context"
	"errors"
	"image"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tilescout/tilescout"
)

// world is a picture whose pixels are functions of their place, with a hole in the middle.
func world(_ context.Context, x, y int) (*image.NRGBA, error) {
	if x == 1 && y == 1 {
		return nil, nil
	}
	img := image.NewNRGBA(image.Rect(0, 0, BlockSide, BlockSide))
	for i := 0; i < len(img.Pix); i += 4 {
		px, py := x*BlockSide+i/4%BlockSide, y*BlockSide+i/4/BlockSide
		img.Pix[i], img.Pix[i+1], img.Pix[i+2], img.Pix[i+3] = uint8(px), uint8(py), uint8(px*py>>8), 255
	}
	return img, nil
}

func write(t *testing.T, width, height int, block Block, o Options) (string, error) {
	t.Helper()
	dir := t.TempDir()
	spool, err := os.Create(filepath.Join(dir, "spool"))
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	out, err := os.Create(filepath.Join(dir, "out.tif"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	return out.Name(), Write(t.Context(), out, spool, width, height, block, o)
}

var options = Options{EPSG: 3857, West: 1000000, North: 6000000, PixelSize: 2.5, Description: "a test", Copyright: "(c) nobody"}

// gdal runs a program of GDAL on a file.
func gdal(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("no %s", name)
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func TestGDAL(t *testing.T) {
	var last atomic.Int64
	o := options
	o.Progress = func(done, total int) {
		if int64(done) != last.Add(1) || total != 20 {
			t.Errorf("progress %d of %d", done, total)
		}
	}
	path, err := write(t, 2300, 1801, world, o)
	if err != nil {
		t.Fatal(err)
	}
	if last.Load() != 20 {
		t.Errorf("progress ended at %d of 20", last.Load())
	}
	info := gdal(t, "gdalinfo", path)
	for _, want := range []string{"Size is 2300, 1801", `ID["EPSG",3857]`, "Origin = (1000000.000000000000000,6000000.000000000000000)",
		"Pixel Size = (2.500000000000000,-2.500000000000000)", "Block=512x512", "ColorInterp=Alpha", "COMPRESSION=DEFLATE", "LAYOUT=COG",
		"Overviews: 1150x901, 575x451, 288x226", "TIFFTAG_IMAGEDESCRIPTION=a test", "TIFFTAG_COPYRIGHT=(c) nobody"} {
		if !strings.Contains(info, want) {
			t.Errorf("gdalinfo lacks %q:\n%s", want, info)
		}
	}
	for at, want := range map[string]string{"0 0": "0 0 0 255", "2299 1800": "251 8 36 255", "700 700": "0 0 0 0", "300 1500": "44 220 221 255"} {
		place := strings.Fields(at)
		if got := strings.Join(strings.Fields(gdal(t, "gdallocationinfo", "-valonly", path, place[0], place[1])), " "); got != want {
			t.Errorf("pixel %s = %s, want %s", at, got, want)
		}
	}
	// The mean of each overview is that of the whole, as far as halving by averages goes.
	script := `
import sys
from osgeo import gdal
gdal.UseExceptions()
d = gdal.Open(sys.argv[1])
for b in (1, 4):
    band = d.GetRasterBand(b)
    means = [band.ReadAsArray().mean()] + [band.GetOverview(i).ReadAsArray().mean() for i in range(band.GetOverviewCount())]
    assert len(means) == 4 and max(means) - min(means) < 1.5, means
sys.path.append("/usr/share/gdal")
try:
    from osgeo_utils.samples.validate_cloud_optimized_geotiff import validate
except ImportError:
    sys.exit(0)
warnings, errors, _ = validate(sys.argv[1], full_check=True)
assert not errors and not warnings, (errors, warnings)
`
	if exec.Command("/usr/bin/python3", "-c", "import osgeo, numpy").Run() != nil {
		t.Skip("no Python with GDAL")
	}
	if out, err := exec.Command("/usr/bin/python3", "-c", script, path).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestJPEG: opaque, a tenth of the size, close to what was drawn, also at an edge that is no block's.
func TestJPEG(t *testing.T) {
	smooth := func(_ context.Context, x, y int) (*image.NRGBA, error) {
		img := image.NewNRGBA(image.Rect(0, 0, BlockSide, BlockSide))
		for i := 0; i < len(img.Pix); i += 4 {
			px, py := x*BlockSide+i/4%BlockSide, y*BlockSide+i/4/BlockSide
			img.Pix[i], img.Pix[i+1], img.Pix[i+2], img.Pix[i+3] = uint8(px*255/1300), uint8(py*255/777), 90, 255
		}
		return img, nil
	}
	o := options
	o.Quality = 95
	path, err := write(t, 1301, 777, smooth, o)
	if err != nil {
		t.Fatal(err)
	}
	info := gdal(t, "gdalinfo", "-checksum", path)
	for _, want := range []string{"Size is 1301, 777", "LAYOUT=COG", "COMPRESSION=YCbCr JPEG", "Overviews: 651x389, 326x195", "Block=512x512"} {
		if !strings.Contains(info, want) {
			t.Errorf("gdalinfo lacks %q:\n%s", want, info)
		}
	}
	if strings.Contains(info, "ERROR") || strings.Contains(info, "Warning") || strings.Contains(info, "Alpha") {
		t.Errorf("gdalinfo complains:\n%s", info)
	}
	for at, want := range map[string][3]int{"0 0": {0, 0, 90}, "1300 776": {255, 254, 90}, "700 700": {137, 229, 90}} {
		place := strings.Fields(at)
		for i, text := range strings.Fields(gdal(t, "gdallocationinfo", "-valonly", path, place[0], place[1])) {
			if got, err := strconv.Atoi(text); err != nil || max(got-want[i], want[i]-got) > 4 {
				t.Errorf("pixel %s, band %d = %s, want about %d", at, i+1, text, want[i])
			}
		}
	}
}

func TestOneBlock(t *testing.T) {
	path, err := write(t, 1, 1, world, options)
	if err != nil {
		t.Fatal(err)
	}
	if info := gdal(t, "gdalinfo", path); !strings.Contains(info, "Size is 1, 1") || strings.Contains(info, "Overviews") {
		t.Errorf("gdalinfo:\n%s", info)
	}
}

func TestNothingThere(t *testing.T) {
	path, err := write(t, 3000, 1000, func(context.Context, int, int) (*image.NRGBA, error) { return nil, nil }, options)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(gdal(t, "gdallocationinfo", "-valonly", path, "5", "5")); strings.Join(got, " ") != "0 0 0 0" {
		t.Errorf("pixel = %v", got)
	}
}

// TestBig writes the directories of a file that is too long for 32-bit offsets; its blocks are random places in the
// spool that nobody reads.
func TestBig(t *testing.T) {
	p := &pyramid{o: options, spool: zeros{}}
	l := &level{width: 512 * 80, height: 512 * 64}
	l.blocks = make([]place, l.across()*l.down())
	for i := range l.blocks {
		l.blocks[i] = place{rand.Int64N(1 << 40), 1 << 20}
	}
	p.levels = []*level{l}
	path := filepath.Join(t.TempDir(), "big.tif")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := p.assemble(t.Context(), &sparse{f: f, keep: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	info := gdal(t, "gdalinfo", path)
	for _, want := range []string{"Size is 40960, 32768", "LAYOUT=COG", `ID["EPSG",3857]`} {
		if !strings.Contains(info, want) {
			t.Errorf("gdalinfo lacks %q:\n%s", want, info)
		}
	}
}

type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error)  { clear(p); return len(p), nil }
func (zeros) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// sparse writes the beginning of a file and then leaves holes.
type sparse struct {
	f    *os.File
	n    int64
	keep int64
}

func (s *sparse) Write(p []byte) (int, error) {
	if s.n < s.keep {
		if _, err := s.f.WriteAt(p, s.n); err != nil {
			return 0, err
		}
	}
	s.n += int64(len(p))
	return len(p), s.f.Truncate(s.n)
}

func TestRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		width, height int
		o             Options
	}{
		"no width": {0, 1, options}, "negative": {1, -1, options}, "too large": {1 << 30, 1 << 30, options},
		"quality": {1, 1, Options{EPSG: 3857, PixelSize: 1, Quality: 101}}, "no CRS": {1, 1, Options{PixelSize: 1}}, "no pixel size": {1, 1, Options{EPSG: 3857}},
	} {
		if _, err := write(t, c.width, c.height, world, c.o); !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("%s: %v, want ErrBadInput", name, err)
		}
	}
}

func TestFailingBlock(t *testing.T) {
	broken := errors.New("broken")
	var calls atomic.Int64
	_, err := write(t, 20000, 20000, func(_ context.Context, x, y int) (*image.NRGBA, error) {
		if calls.Add(1) == 10 {
			return nil, broken
		}
		return nil, nil
	}, options)
	if !errors.Is(err, broken) || calls.Load() > 100 {
		t.Errorf("Write: %v after %d blocks, want the block's error soon", err, calls.Load())
	}
}

func TestHalve(t *testing.T) {
	src, dst := image.NewNRGBA(image.Rect(0, 0, BlockSide, BlockSide)), image.NewNRGBA(image.Rect(0, 0, BlockSide, BlockSide))
	copy(src.Pix, []byte{200, 100, 0, 255, 9, 9, 9, 0, 50, 60, 70, 255})
	halve(src, dst, 256, 256, 3, 1)
	if got := [8]byte(dst.Pix[256*dst.Stride+256*4:]); got != [8]byte{200, 100, 0, 128, 50, 60, 70, 255} {
		t.Errorf("halve = %v", got)
	}
}
