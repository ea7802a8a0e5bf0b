package search_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/plugin/search"
)

// renamed is a board under another name.
type renamed struct {
	*board
	id string
}

func (r renamed) Info() tilescout.LayerInfo {
	info := r.board.Info()
	info.ID = r.id
	return info
}

// TestReplace: a layer that stays keeps what it has embedded, a set with a bad layer changes nothing.
func TestReplace(t *testing.T) {
	kept := newBoard()
	e := openEngine(t, t.TempDir(), kept, search.LayerOptions{})
	if _, err := e.Index(t.Context(), "board", search.IndexOptions{}); err != nil {
		t.Fatal(err)
	}
	before, asked := e.Revision("board"), kept.asked.Load()
	other := &renamed{newBoard(), "other"}
	set := []search.Searchable{{Tiles: other}, {Tiles: kept}}
	if err := e.Replace(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	if got := e.Layers(); !slices.Equal(got, []string{"other", "board"}) {
		t.Errorf("layers %v", got)
	}
	if e.Revision("board") != before || kept.asked.Load() != asked {
		t.Error("the layer that stays was opened anew")
	}
	if _, err := e.Search(context.Background(), search.Query{Layer: "board", Prompts: []string{"red"}, Limit: 1}); err != nil {
		t.Error(err)
	}
	bad := search.LayerOptions{Zooms: []maptile.Zoom{29}}
	for name, set := range map[string][]search.Searchable{
		"zoom":  {{Tiles: kept}, {Tiles: &renamed{newBoard(), "third"}, Options: bad}},
		"twice": {{Tiles: kept}, {Tiles: newBoard()}},
	} {
		if err := e.Replace(t.Context(), set); !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("%s: %v, want ErrBadInput", name, err)
		}
		if got := e.Layers(); !slices.Equal(got, []string{"other", "board"}) {
			t.Errorf("%s: layers are now %v", name, got)
		}
	}
	if err := e.Replace(t.Context(), nil); err != nil || len(e.Layers()) != 0 {
		t.Errorf("none: %v, layers %v", err, e.Layers())
	}
	if _, err := e.Search(context.Background(), search.Query{Layer: "board", Prompts: []string{"red"}}); !errors.Is(err, tilescout.ErrNotFound) {
		t.Errorf("a layer that is gone: %v, want ErrNotFound", err)
	}
}
