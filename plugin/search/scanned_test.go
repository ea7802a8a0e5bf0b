package search_test

import (
	"slices"
	"testing"

	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout/cache/index"
	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/plugin/search"
)

// TestScanned: whoever wants to know is told of each pass over the rows, and of none that an answer in memory saved.
func TestScanned(t *testing.T) {
	store, err := index.Open(t.TempDir(), index.Options{MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	var passes []search.Scan
	engine, err := search.New(t.Context(), encodertest.Fake{Dim: 32}, store, search.Options{Scanned: func(s search.Scan) { passes = append(passes, s) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close(); store.Close() })
	if err := engine.Add(t.Context(), newBoard(), search.LayerOptions{Zooms: []maptile.Zoom{boardZoom}}); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Index(t.Context(), "board", search.IndexOptions{}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second finds the scores in memory
		if _, err := engine.Scores(t.Context(), "board", []string{"red"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	tile := at(2, 3)
	if _, err := engine.Similar(t.Context(), "board", search.Like{Tile: &tile}, nil, 3, 0); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, p := range passes {
		paths = append(paths, p.Path)
		if p.Layer != "board" || p.Rows < 63 || p.Took <= 0 {
			t.Errorf("told of %+v, want 63 rows or more of board", p)
		}
	}
	if want := []string{"scan", "similar"}; !slices.Equal(paths, want) {
		t.Errorf("passes %v, want %v", paths, want)
	}
}
