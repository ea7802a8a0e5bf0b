package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

// TestExportMatches writes what a prompt finds in each format; without a prompt there is nothing to write.
func TestExportMatches(t *testing.T) {
	mosaic, dir, data := smallMosaic(t), t.TempDir(), t.TempDir()
	for _, name := range []string{"m.geojson", "m.gpkg", "m.parquet"} {
		out := filepath.Join(dir, name)
		stdout, stderr, status := call(t, "export", mosaic, "--q", "stadium", "--out", out, "--data", data)
		if status != 0 && strings.Contains(stderr, "onnxruntime") {
			t.Skipf("no model here: %s", stderr)
		}
		var report struct{ Matches, Bytes int }
		if err := json.Unmarshal([]byte(stdout), &report); err != nil || status != 0 || report.Matches == 0 || report.Bytes == 0 {
			t.Fatalf("export to %s: status %d, %q, %q, want matches and their bytes", name, status, stdout, stderr)
		}
		if _, stderr, status := call(t, "export", mosaic, "--q", "stadium", "--out", out, "--data", data); status != 2 {
			t.Errorf("export over %s: status %d, %q, want 2", name, status, stderr)
		}
	}
	if stdout, stderr, status := call(t, "export", sourcetest.Shared(t, "geo", "mbtiles", "kampala_houses_jpg.mbtiles"), "--q", "houses",
		"--out", filepath.Join(dir, "heat.tif"), "--data", data); status != 0 {
		t.Errorf("overlay as a picture: status %d, %q, %q", status, stdout, stderr)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 4 {
		t.Errorf("left %v, %v, want the four files", entries, err)
	}
}

// TestExport writes imagery and reads it back as a layer; what it cannot do is one line and leaves nothing.
func TestExport(t *testing.T) {
	mosaic, dir, data := smallMosaic(t), t.TempDir(), t.TempDir()
	for _, name := range []string{"copy.mbtiles", "copy.pmtiles", "copy.tif"} {
		out := filepath.Join(dir, name)
		stdout, stderr, status := call(t, "export", mosaic, "--out", out, "--data", data)
		var report struct{ Tiles int }
		if err := json.Unmarshal([]byte(stdout), &report); err != nil || status != 0 || report.Tiles < 9 {
			t.Fatalf("export to %s: status %d, %q, %q, want at least nine tiles", name, status, stdout, stderr)
		}
		again := filepath.Join(dir, "again-"+name)
		if _, stderr, status := call(t, "export", out, "--out", again, "--data", data); status != 0 {
			t.Errorf("what was exported does not open: status %d, %q", status, stderr)
		}
	}
	full := filepath.Join(dir, "copy.mbtiles")
	for name, args := range map[string][]string{
		"there already": {mosaic, "--out", full},
		"no file":       {mosaic},
		"ending":        {mosaic, "--out", filepath.Join(dir, "x.zip")},
		"no prompt":     {mosaic, "--out", filepath.Join(dir, "x.geojson")},
		"no prompt 2":   {mosaic, "--out", filepath.Join(dir, "x.gpkg")},
		"no folder":     {mosaic, "--out", filepath.Join(dir, "none", "x.tif")},
		"zooms":         {mosaic, "--out", filepath.Join(dir, "x.pmtiles"), "--zoom", "18-12"},
		"box":           {mosaic, "--out", filepath.Join(dir, "x.pmtiles"), "--bbox", "1,2,3"},
		"no content":    {mosaic, "--out", filepath.Join(dir, "x.pmtiles"), "--bbox", "-10,-10,-9.99,-9.99"},
	} {
		stdout, stderr, status := call(t, append(append([]string{"export"}, args...), "--data", data)...)
		if status != 2 || stdout != "" || strings.Count(strings.TrimSpace(stderr), "\n") != 0 {
			t.Errorf("%s: status %d, %q, %q, want 2 and one line", name, status, stdout, stderr)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 6 {
		t.Errorf("left %v, %v, want the six files", entries, err)
	}
}
