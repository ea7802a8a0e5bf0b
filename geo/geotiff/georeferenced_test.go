package geotiff_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paulmach/orb"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/geo/geotiff"
)

// TestGeoreferencesAgainstGDAL renders files that GDAL has placed in every way (turned, sheared, mirrored, south up, by
// pixel centres, across 180°) beside gdalwarp, and reads the refusals of those that have no place on the map.
func TestGeoreferencesAgainstGDAL(t *testing.T) {
	python, dir := gdalPython(t), t.TempDir()
	if out, err := exec.Command(python, filepath.Join("testdata", "georeferenced.py"), dir).CombinedOutput(); err != nil {
		t.Fatalf("write the files: %v\n%s", err, out)
	}
	refusals := map[string]struct {
		kind error
		text string
	}{
		"bad_gcps": {geotiff.ErrControlPoints, "gdalwarp -t_srs"}, "bad_gcps_no_crs": {geotiff.ErrControlPoints, "gdalwarp -t_srs"}, "bad_rpc": {geotiff.ErrControlPoints, "gdalwarp -rpc"},
		"bad_no_crs": {geotiff.ErrNoCRS, "gdal_edit.py -a_srs"}, "bad_no_place": {geotiff.ErrNoCRS, "-a_ullr"},
		"bad_mars": {geotiff.ErrOtherPlanet, "3396190 m"}, "bad_moon": {geotiff.ErrOtherPlanet, "gdal_translate -a_srs"},
		"bad_own_system": {geotiff.ErrNoCRS, "gdalwarp -t_srs"}, "bad_krovak": {tilescout.ErrBadInput, "gdalwarp -t_srs"},
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.tif"))
	if err != nil || len(paths) != 24 {
		t.Fatalf("%d files: %v", len(paths), err)
	}
	files := map[*warped]*geotiff.File{}
	var jobs []*warped
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".tif")
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := openBytes(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		err = f.Georeference()
		if want, ok := refusals[name]; ok {
			if !errors.Is(err, want.kind) || !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), want.text) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: Georeference() = %v, want %v with %q", name, err, want.kind, want.text)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		m := f.Info().Mercator
		boxes := []orb.Bound{m}
		if m.Max[0] > geo.Half { // each side of 180° by itself: GDAL fills one of them
			boxes = []orb.Bound{
				{Min: m.Min, Max: orb.Point{geo.Half, m.Max[1]}},
				{Min: orb.Point{-geo.Half, m.Min[1]}, Max: orb.Point{m.Max[0] - 2*geo.Half, m.Max[1]}},
			}
		}
		for _, box := range boxes {
			for _, method := range []string{"near", "bilinear"} {
				job := warpJob(path, box, 200, 180, method)
				files[job] = f
				jobs = append(jobs, job)
			}
		}
	}
	warp(t, jobs)
	for _, job := range jobs {
		how := geotiff.Bilinear
		if job.Method == "near" {
			how = geotiff.Nearest
		}
		t.Run(filepath.Base(job.Path)+" "+job.Method, func(t *testing.T) {
			box := orb.Bound{Min: orb.Point{job.Box[0], job.Box[1]}, Max: orb.Point{job.Box[2], job.Box[3]}}
			img, err := files[job].Render(context.Background(), box, job.Width, job.Height, how)
			if err != nil {
				t.Fatal(err)
			}
			differences(t, img, job)
		})
	}
}
