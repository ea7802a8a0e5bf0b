package geotiff_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tilescout/tilescout/geo/geotiff"
)

// TestTransparencyAgainstGDAL: nodata values of every type, NaN, alpha, masks inside and beside the file and blocks that
// were never written hide the pixels that GDAL hides.
func TestTransparencyAgainstGDAL(t *testing.T) {
	python, dir := gdalPython(t), t.TempDir()
	if out, err := exec.Command(python, filepath.Join("testdata", "transparent.py"), dir).CombinedOutput(); err != nil {
		t.Fatalf("write the files: %v\n%s", err, out)
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.tif"))
	if err != nil || len(paths) != 26 {
		t.Fatalf("%d files: %v", len(paths), err)
	}
	files := map[*warped]*geotiff.File{}
	var jobs []*warped
	for _, path := range paths {
		f := openWhole(t, path)
		if err := f.Georeference(); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		job := warpJob(path, f.Info().Mercator, f.Info().Width, f.Info().Height, "near")
		jobs, files[job] = append(jobs, job), f
	}
	warp(t, jobs)
	for _, job := range jobs {
		img, err := files[job].Render(context.Background(), files[job].Info().Mercator, job.Width, job.Height, geotiff.Nearest)
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(job.Path), err)
			continue
		}
		hidden, wrong := 0, 0
		for k := range job.Width * job.Height {
			pixel := job.pix[job.bands*k : job.bands*(k+1)]
			theirs := bytes.ContainsFunc(pixel[len(pixel)-files[job].Info().Bits/8:], func(r rune) bool { return r != 0 })
			if !theirs {
				hidden++
			}
			if theirs != (img.Pix[4*k+3] > 0) {
				wrong++
			}
		}
		if wrong > 0 || hidden == 0 && filepath.Base(job.Path) != "nodata_byte_one_band.tif" {
			t.Errorf("%s: %d of %d pixels are hidden by GDAL, %d differ", filepath.Base(job.Path), hidden, job.Width*job.Height, wrong)
		}
		if files[job].Info().Overviews == 0 {
			continue
		}
		img, err = files[job].Render(context.Background(), files[job].Info().Mercator, job.Width/2, job.Height/2, geotiff.Nearest)
		if err != nil {
			t.Fatal(err)
		}
		if a := img.NRGBAAt(35, 25).A; a != 0 {
			t.Errorf("%s: the overview shows what the mask hides", filepath.Base(job.Path))
		}
	}
}

// openWhole opens a file with the mask and overviews beside it.
func openWhole(t *testing.T, path string) *geotiff.File {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var o geotiff.Options
	if side, err := os.ReadFile(path + ".msk"); err == nil {
		o.Mask = &geotiff.Sidecar{Reader: bytes.NewReader(side), Size: int64(len(side))}
	}
	if side, err := os.ReadFile(path + ".ovr"); err == nil {
		o.Overviews = &geotiff.Sidecar{Reader: bytes.NewReader(side), Size: int64(len(side))}
	}
	f, err := geotiff.Open(bytes.NewReader(data), int64(len(data)), o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
