package geotiff_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout/geo/geotiff"
)

// warped is a picture that GDAL makes: pixel-interleaved bands, the last one alpha.
type warped struct {
	Path   string     `json:"path"`
	Out    string     `json:"out"`
	Box    [4]float64 `json:"box"`
	Width  int        `json:"width"`
	Height int        `json:"height"`
	Method string     `json:"method"`
	RGB    bool       `json:"rgb"` // the first three bands only

	pix   []byte
	bands int // bytes of a pixel
}

func warpJob(path string, b orb.Bound, width, height int, method string) *warped {
	return &warped{Path: path, Box: [4]float64{b.Min[0], b.Min[1], b.Max[0], b.Max[1]}, Width: width, Height: height, Method: method}
}

// warp lets GDAL make all pictures in one process: starting one takes longer than warping.
func warp(t *testing.T, jobs []*warped) {
	t.Helper()
	python, dir := gdalPython(t), t.TempDir()
	var in bytes.Buffer
	encode := json.NewEncoder(&in)
	for i, j := range jobs {
		j.Out = filepath.Join(dir, fmt.Sprintf("%d.bip", i))
		if err := encode.Encode(j); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(python, filepath.Join("testdata", "warp.py"))
	cmd.Stdin = &in
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("warp: %v\n%s", err, out)
	}
	for _, j := range jobs {
		pix, err := os.ReadFile(j.Out)
		if err != nil {
			t.Fatal(err)
		}
		if len(pix) == 0 || len(pix)%(j.Width*j.Height) != 0 {
			t.Fatalf("GDAL wrote %d bytes", len(pix))
		}
		j.pix, j.bands = pix, len(pix)/(j.Width*j.Height)
	}
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
	type check struct {
		f      *geotiff.File
		file   string
		tile   maptile.Tile
		box    orb.Bound
		method geotiff.Resampling
		want   *warped
	}
	var checks []check
	var jobs []*warped
	for _, c := range referenceTiles {
		f := openData(t, c.file)
		for _, tile := range []maptile.Tile{c.tile, c.tile.Parent()} {
			for method, r := range map[string]geotiff.Resampling{"near": geotiff.Nearest, "bilinear": geotiff.Bilinear} {
				if method == "near" && tile != c.tile {
					continue // which overview and which of several pixels is a matter of taste there
				}
				box, w, h := mercator(tile), 256, 256
				if method == "bilinear" {
					box, w, h = inside(tile, f.Info().Mercator)
				}
				job := warpJob(dataFile(t, c.file), box, w, h, method)
				job.RGB = f.Info().AlphaIsInfrared // GDAL trusts the tag
				jobs = append(jobs, job)
				checks = append(checks, check{f, c.file, tile, box, r, job})
			}
		}
	}
	warp(t, jobs)
	for _, c := range checks {
		t.Run(fmt.Sprintf("%s %v %s", filepath.Base(c.file), c.tile, c.want.Method), func(t *testing.T) {
			img, err := c.f.Render(context.Background(), c.box, c.want.Width, c.want.Height, c.method)
			if err != nil {
				t.Fatal(err)
			}
			differences(t, img, c.want)
		})
	}
}

// differences holds a picture against GDAL's: the same coverage, nearest the same pixels, else at most 1 on average.
func differences(t *testing.T, img *image.NRGBA, want *warped) {
	t.Helper()
	both, onlyOurs, onlyGDAL, differ := 0, 0, 0, 0
	sum := [3]float64{}
	for k := range want.Width * want.Height {
		ours, theirs := img.Pix[4*k+3] > 0, want.pix[want.bands*(k+1)-1] > 0
		switch {
		case ours && !theirs:
			onlyOurs++
		case theirs && !ours:
			onlyGDAL++
		case ours:
			both++
			worst := 0.0
			for s := range sum {
				g := want.pix[want.bands*k+min(s, want.bands-2)]
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
		t.Fatalf("nothing to compare: %d pixels only ours, %d only GDAL's", onlyOurs, onlyGDAL)
	}
	mean := math.Max(sum[0], math.Max(sum[1], sum[2])) / float64(both)
	if testing.Verbose() {
		t.Logf("%d pixels, mean difference %.3f, %d differ by more than 2, coverage +%d -%d", both, mean, differ, onlyOurs, onlyGDAL)
	}
	if onlyOurs+onlyGDAL > 30+both/500 {
		t.Errorf("coverage differs, %d pixels only ours, %d only GDAL's of %d", onlyOurs, onlyGDAL, both)
	}
	if want.Method == "near" && differ > both/1000 {
		t.Errorf("%d of %d pixels are other ones", differ, both)
	}
	if mean > 1 {
		t.Errorf("mean difference %.2f", mean)
	}
}

// TestWideAgainstGDAL renders samples of 16 bits beside gdalwarp, whose samples are stretched here as the file says.
func TestWideAgainstGDAL(t *testing.T) {
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
			job := warpJob(dataFile(t, c.file), box, 256, 256, "bilinear")
			warp(t, []*warped{job})
			want, bands := job.pix, job.bands/2-1
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
