package geotiff_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout/geo/geotiff"
)

// gdal runs a program of GDAL.
func gdal(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// warp is gdalwarp's picture of a box as pixel-interleaved bands, the last one alpha.
func warp(t *testing.T, path string, b orb.Bound, width, height int, method string) (pix []byte, bands int) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.bip")
	gdal(t, "gdalwarp", "-q", "-overwrite", "-t_srs", "EPSG:3857", "-et", "0", "-r", method, "-dstalpha",
		"-ts", strconv.Itoa(width), strconv.Itoa(height), "-te", fmt.Sprintf("%.12f", b.Min[0]), fmt.Sprintf("%.12f", b.Min[1]), fmt.Sprintf("%.12f", b.Max[0]), fmt.Sprintf("%.12f", b.Max[1]),
		"-of", "ENVI", "-co", "INTERLEAVE=BIP", path, out)
	pix, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if len(pix)%(width*height) != 0 {
		t.Fatalf("gdalwarp wrote %d bytes", len(pix))
	}
	return pix, len(pix) / (width * height)
}

// inside is the part of a 256-px tile that lies within a box, in whole pixels. GDAL takes the scale of its kernel
// from the sizes of its source and target windows, which says little when the target is half empty.
func inside(tile maptile.Tile, b orb.Bound) (bound orb.Bound, width, height int) {
	m := mercator(tile)
	px := (m.Max[0] - m.Min[0]) / 256
	x0, x1 := math.Max(0, math.Ceil((b.Min[0]-m.Min[0])/px)), math.Min(256, math.Floor((b.Max[0]-m.Min[0])/px))
	y0, y1 := math.Max(0, math.Ceil((m.Max[1]-b.Max[1])/px)), math.Min(256, math.Floor((m.Max[1]-b.Min[1])/px))
	return orb.Bound{Min: orb.Point{m.Min[0] + x0*px, m.Max[1] - y1*px}, Max: orb.Point{m.Min[0] + x1*px, m.Max[1] - y0*px}}, int(x1 - x0), int(y1 - y0)
}

// TestAgainstGDAL renders the reference tiles and their parents beside gdalwarp: the nearest pixel is to be the
// same one, bilinear to differ by at most 1 on average.
func TestAgainstGDAL(t *testing.T) {
	for _, program := range []string{"gdalwarp", "gdal_translate"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no GDAL to compare with: %v", err)
		}
	}
	for _, c := range referenceTiles {
		t.Run(filepath.Base(c.file), func(t *testing.T) {
			t.Parallel()
			f := openData(t, c.file)
			path := dataFile(t, c.file)
			if f.Info().AlphaIsInfrared { // GDAL trusts the tag
				rgb := filepath.Join(t.TempDir(), "rgb.vrt")
				gdal(t, "gdal_translate", "-q", "-of", "VRT", "-b", "1", "-b", "2", "-b", "3", path, rgb)
				path = rgb
			}
			for _, tile := range []maptile.Tile{c.tile, c.tile.Parent()} {
				for method, r := range map[string]geotiff.Resampling{"near": geotiff.Nearest, "bilinear": geotiff.Bilinear} {
					if method == "near" && tile != c.tile {
						continue // which overview and which of several pixels is a matter of taste there
					}
					box, w, h := mercator(tile), 256, 256
					if method == "bilinear" {
						box, w, h = inside(tile, f.Info().Mercator)
					}
					img, err := f.Render(context.Background(), box, w, h, r)
					if err != nil {
						t.Fatal(err)
					}
					want, bands := warp(t, path, box, w, h, method)
					both, onlyOurs, onlyGDAL, differ := 0, 0, 0, 0
					sum := [3]float64{}
					for k := range w * h {
						ours, theirs := img.Pix[4*k+3] > 0, want[bands*(k+1)-1] > 0
						switch {
						case ours && !theirs:
							onlyOurs++
						case theirs && !ours:
							onlyGDAL++
						case ours:
							both++
							worst := 0.0
							for s := range sum {
								g := want[bands*k+s%(bands-1)]
								if bands == 2 {
									g = want[bands*k]
								}
								d := math.Abs(float64(img.Pix[4*k+s]) - float64(g))
								sum[s] += d
								worst = math.Max(worst, d)
							}
							if worst > 2 {
								differ++
							}
						}
					}
					if both == 0 {
						t.Fatalf("%v %s: nothing to compare: %d only ours, %d only GDAL's", tile, method, onlyOurs, onlyGDAL)
					}
					mean := math.Max(sum[0], math.Max(sum[1], sum[2])) / float64(both)
					if testing.Verbose() {
						t.Logf("%v %s: %d pixels, mean difference %.3f, %d differ by more than 2, coverage +%d -%d", tile, method, both, mean, differ, onlyOurs, onlyGDAL)
					}
					if onlyOurs+onlyGDAL > 30+both/500 {
						t.Errorf("%v %s: coverage differs, %d pixels only ours, %d only GDAL's of %d", tile, method, onlyOurs, onlyGDAL, both)
					}
					if method == "near" && differ > both/1000 {
						t.Errorf("%v near: %d of %d pixels are other ones", tile, differ, both)
					}
					if mean > 1 {
						t.Errorf("%v %s: mean difference %.2f", tile, method, mean)
					}
				}
			}
		})
	}
}

// TestWideAgainstGDAL renders samples of 16 bits beside gdalwarp, whose samples are stretched here as the file says.
func TestWideAgainstGDAL(t *testing.T) {
	if _, err := exec.LookPath("gdalwarp"); err != nil {
		t.Skipf("no GDAL to compare with: %v", err)
	}
	for _, c := range []struct {
		file string
		tile maptile.Tile
	}{
		{"cog/landsat_uint16_3band_32617.tif", maptile.At(orb.Point{-80.07, 33.17}, 8)},
		{"cog/dateline_32660_uint16.tif", maptile.At(orb.Point{179.99, 51.7}, 8)},
		{"cog/dateline_32660_uint16.tif", maptile.At(orb.Point{-179.99, 51.7}, 8)},
	} {
		t.Run(fmt.Sprintf("%s %v", filepath.Base(c.file), c.tile), func(t *testing.T) {
			// The whole range: where values are cut off before they are mixed, as tiles are, GDAL's mix is another.
			f := openDataWith(t, c.file, geotiff.Options{Stretch: []geotiff.Range{{Min: 0, Max: 65535}}})
			in := f.Info()
			box := mercator(c.tile)
			img, err := f.Render(context.Background(), box, 256, 256, geotiff.Bilinear)
			if err != nil {
				t.Fatal(err)
			}
			want, bytesPerPixel := warp(t, dataFile(t, c.file), box, 256, 256, "bilinear")
			bands := bytesPerPixel/2 - 1
			both, onlyOne, sum := 0, 0, 0.0
			for k := range 256 * 256 {
				theirs := want[2*k*(bands+1):]
				visible := theirs[2*bands] != 0 || theirs[2*bands+1] != 0
				if visible != (img.Pix[4*k+3] > 0) {
					onlyOne++
					continue
				}
				if !visible {
					continue
				}
				both++
				for i, r := range in.Stretch {
					v := float64(int(theirs[2*i]) | int(theirs[2*i+1])<<8)
					shown := math.Max(0, math.Min(255, (v-r.Min)/(r.Max-r.Min)*255))
					sum += math.Abs(shown-float64(img.Pix[4*k+i])) / float64(len(in.Stretch))
				}
			}
			if both < 1000 || onlyOne > 30+both/200 {
				t.Fatalf("%d pixels in both, %d in one only", both, onlyOne)
			}
			if mean := sum / float64(both); mean > 1 {
				t.Errorf("mean difference %.2f over %d pixels, want at most 1", mean, both)
			}
		})
	}
}
