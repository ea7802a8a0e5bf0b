package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestModelCompare compares the bundled model with itself under another name: they agree in all.
func TestModelCompare(t *testing.T) {
	tiles, data, other := smallMosaic(t), t.TempDir(), otherModel(t, "other")
	indexed(t, tiles, data, "bundled")
	page := filepath.Join(t.TempDir(), "page.html")
	var r struct {
		A, B        struct{ ID string }
		Shared      float64
		Correlation *float64
		Prompts     []struct {
			Prompt     string
			Shared, Of int
		}
	}
	args := []string{"model", "compare", "bundled", other, "-s", tiles, "--data", data}
	if err := json.Unmarshal(runBinary(t, append(args, "--prompt", "forest", "--prompt", "storage tanks", "--out", page, "-o", "json")...), &r); err != nil {
		t.Fatal(err)
	}
	if r.B.ID != "other" || len(r.Prompts) != 2 || r.Shared != 1 || r.Correlation == nil || *r.Correlation < .999 {
		t.Errorf("a model and itself: %+v", r)
	}
	html, err := os.ReadFile(page)
	if err != nil || !strings.Contains(string(html), "storage tanks") {
		t.Errorf("the page: %v, %d bytes", err, len(html))
	}
	if err := json.Unmarshal(runBinary(t, append(args, "-o", "json")...), &r); err != nil || len(r.Prompts) == 0 {
		t.Errorf("without prompts: %+v, %v", r, err)
	}
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"one model":      {[]string{"model", "compare", "bundled"}, "2 arg"},
		"the same model": {[]string{"model", "compare", "bundled", "bundled", "-s", tiles, "--data", data}, "are the same model"},
		"empty prompt":   {append(args, "--prompt", " "), "empty"},
		"bad output":     {append(args, "-o", "xml"), "xml"},
		"bad box":        {append(args, "--bbox", "1,2"), "1,2"},
		"no such layer":  {append(args, "--layer", "moon"), "moon"},
	} {
		_, log, status := call(t, c.args...)
		if status != 2 || !strings.Contains(log, c.says) || strings.Count(strings.TrimSpace(log), "\n") > 0 {
			t.Errorf("%s: status %d, want 2 and one line with %q: %s", name, status, c.says, log)
		}
	}
	if _, log, status := call(t, "model", "compare", "bundled", "/no/such/folder", "-s", tiles, "--data", data); status == 0 || !strings.Contains(log, "/no/such/folder") {
		t.Errorf("a model that is not there: %d, %s", status, log)
	}
}
