package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout/plugin/search"
	"github.com/tilescout/tilescout/tileserver/source/demo"
)

// binary is the program as `make build` leaves it: what a user runs, without the race detector.
func binary(t testing.TB) string {
	t.Helper()
	path, err := filepath.Abs("../../bin/tilescout")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("bin/tilescout is not there: run make build")
	}
	return path
}

// runBinary runs the program; its stderr is the test's log.
func runBinary(t testing.TB, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tilescout %v: %v\n%s", args, err, stderr.String())
	}
	return out
}

// scoresOf are the scores of all tiles that the program ranks for a prompt.
func scoresOf(t testing.TB, data, source, prompt string) map[maptile.Tile]float64 {
	t.Helper()
	var answer struct {
		Matches []struct {
			Tile  string
			Score float64
		}
	}
	out := runBinary(t, "search", prompt, "-s", source, "--data", data, "-o", "json", "-n", "10000", "--threshold", "1e-30", "--quiet")
	if err := json.Unmarshal(out, &answer); err != nil {
		t.Fatal(err)
	}
	scores := map[maptile.Tile]float64{}
	for i, m := range answer.Matches {
		tile, err := search.ParseTileName(m.Tile)
		if err != nil {
			t.Fatal(err)
		}
		scores[tile] = m.Score - 1e-9*float64(i) // ranks break ties of rounded scores
	}
	return scores
}

// demoConcepts must be found on the demo scene.
var demoConcepts = []string{"stadium", "airport", "harbor", "storage tanks", "parking lot", "forest", "bridge", "baseball field"}

// TestDemoAveragePrecision prints the average precision of each concept over the demo scene's tiles and holds it to 0.8.
// Tiles at the edge of an object, which may be called either way, do not count.
func TestDemoAveragePrecision(t *testing.T) {
	if testing.Short() {
		t.Skip("draws and embeds the demo scene")
	}
	binary(t)
	data := t.TempDir()
	scene := drawDemo(t, data)
	truth, err := demo.ReadTruth(scene.Truth)
	if err != nil {
		t.Fatal(err)
	}
	mean := 0.0
	for _, concept := range demoConcepts {
		scores := scoresOf(t, data, scene.Image, concept)
		var list []judged
		for tile, score := range scores {
			if a := demo.AnswerOf(demo.Labels(truth, tile), concept); a != demo.Ignore {
				list = append(list, judged{score, a == demo.Positive})
			}
		}
		ap, positives := averagePrecision(list)
		t.Logf("%-16s AP %.3f  (%d of %d tiles)", concept, ap, positives, len(list))
		if ap < .8 {
			t.Errorf("%s: average precision %.3f on the demo scene, want ≥ 0.8", concept, ap)
		}
		mean += ap / float64(len(demoConcepts))
	}
	t.Logf("%-16s AP %.3f", "mean", mean)
}

// drawDemo has the program draw its scene, in the folder where the demo command looks for it.
func drawDemo(t testing.TB, data string) demo.Scene {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t), "demo", "--draw-only", "--data", data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("draw: %v", err)
	}
	image := strings.TrimSpace(string(out))
	return demo.Scene{Image: image, Truth: strings.TrimSuffix(image, ".tif") + ".geojson"}
}
