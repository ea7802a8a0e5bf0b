package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExport writes imagery and reads it back as a layer; what it cannot do is one line and leaves nothing.
func TestExport(t *testing.T) {
	mosaic, dir, data := smallMosaic(t), t.TempDir(), t.TempDir()
	for _, name := range []string{"copy.mbtiles", "copy.pmtiles"} {
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
	if err != nil || len(entries) != 4 {
		t.Errorf("left %v, %v, want the four files", entries, err)
	}
}
