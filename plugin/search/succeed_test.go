package search_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache/index"
	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/plugin/search"
)

// engineOf is an engine with a model of its own, the dimension of its embeddings, over a store that others use too.
func engineOf(t *testing.T, store *index.Store, dim int, tiles search.Tiles) *search.Engine {
	t.Helper()
	e, err := search.New(t.Context(), encodertest.Fake{Dim: dim}, store, search.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	if err := e.Add(t.Context(), tiles, oneZoom); err != nil {
		t.Fatal(err)
	}
	return e
}

func openStore(t *testing.T, dir string) *index.Store {
	t.Helper()
	store, err := index.Open(dir, index.Options{MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// part is the left half of the board.
func part() *geo.BBox {
	nw, se := geo.Bound(at(0, 0)), geo.Bound(at(3, 7))
	return &geo.BBox{West: nw.Min[0] + 1e-6, South: se.Min[1] + 1e-6, East: se.Max[0] - 1e-6, North: nw.Max[1] - 1e-6}
}

// TestSucceed: a new model embeds what the old one had, no more and nothing twice; the old one answers meanwhile.
func TestSucceed(t *testing.T) {
	b, store := newBoard(), openStore(t, t.TempDir())
	old := engineOf(t, store, 16, b)
	if _, err := old.Index(t.Context(), "board", search.IndexOptions{Box: part()}); err != nil {
		t.Fatal(err)
	}
	next := engineOf(t, store, 32, b)
	found, err := next.Predecessors(t.Context())
	if err != nil || len(found) != 1 || found[0] != (search.Predecessor{Digest: old.Model().Digest, Tiles: 32, Missing: 32}) {
		t.Fatalf("predecessors %+v, %v; want the old model with 32 tiles, all missing", found, err)
	}
	old = engineOf(t, store, 16, b) // Predecessors let go of its sets
	before, asked := old.Revision("board"), b.asked.Load()
	seen := false
	err = next.Succeed(t.Context(), old, search.SucceedOptions{Progress: func(layer string, s search.Succession) {
		state, err := old.State("board", nil)
		if err != nil || state.Next == nil || *state.Next != s {
			t.Errorf("state of the old engine: %+v, %v; want %+v in it", state.Next, err, s)
		}
		if a, err := old.Search(t.Context(), search.Query{Layer: "board", Prompts: []string{"red"}}); err != nil || len(a.Matches) == 0 {
			t.Errorf("a search meanwhile: %d matches, %v", len(a.Matches), err)
		}
		seen = seen || s.Embedded > 0 && s.Embedded < s.Total
	}})
	if err != nil || !seen {
		t.Errorf("Succeed = %v; progress seen: %t", err, seen)
	}
	if n := b.asked.Load() - asked; n != 32 {
		t.Errorf("%d tiles were fetched, want 32", n)
	}
	state, err := next.State("board", nil)
	if err != nil || state.Embedded != 32 {
		t.Errorf("the new engine knows %d tiles, %v; want 32", state.Embedded, err)
	}
	if s, err := old.State("board", nil); err != nil || s.Next != nil {
		t.Errorf("afterwards the old engine still tells of %+v, %v", s.Next, err)
	}
	if next.Revision("board") == before {
		t.Error("both models give the same revision")
	}
	if found, err := next.Predecessors(t.Context()); err != nil || len(found) != 0 {
		t.Errorf("predecessors afterwards: %+v, %v", found, err)
	}
}

// TestSucceedGoesOn: what was embedded before it was stopped is not embedded again; blank tiles are taken over unasked;
// what the old model looks at meanwhile is embedded too.
func TestSucceedGoesOn(t *testing.T) {
	b, store := newBoard(), openStore(t, t.TempDir())
	old, next := engineOf(t, store, 16, b), engineOf(t, store, 32, b)
	if _, err := old.Index(t.Context(), "board", search.IndexOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	err := next.Succeed(ctx, old, search.SucceedOptions{Progress: func(_ string, s search.Succession) {
		if s.Embedded > 10 {
			stop()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("stopped: %v", err)
	}
	state, err := next.State("board", nil)
	if err != nil || state.Embedded == 0 || state.Embedded == 64 {
		t.Fatalf("stopped with %d of 64 tiles, %v", state.Embedded, err)
	}
	asked := b.asked.Load()
	if err := next.Succeed(t.Context(), old, search.SucceedOptions{}); err != nil {
		t.Fatal(err)
	}
	if n, most := b.asked.Load()-asked, int64(64-state.Embedded); n > most {
		t.Errorf("%d tiles were fetched in the second go, at most %d were missing", n, most)
	}
	if state, err = next.State("board", nil); err != nil || state.Embedded != 64 {
		t.Errorf("%d of 64 tiles, %v", state.Embedded, err)
	}
}

// flaky fails for one tile until it is mended.
type flaky struct {
	*board
	broken atomic.Bool
}

func (f *flaky) Tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	if f.broken.Load() && t == at(1, 1) {
		return tilescout.Picture{}, tilescout.ErrUpstream
	}
	return f.board.Tile(ctx, t)
}

// TestSucceedWaitsForTheSource: with one tile missing of 64 the old model stays; once the source gives it, it is over.
func TestSucceedWaitsForTheSource(t *testing.T) {
	b, store := &flaky{board: newBoard()}, openStore(t, t.TempDir())
	old, next := engineOf(t, store, 16, b), engineOf(t, store, 32, b)
	if _, err := old.Index(t.Context(), "board", search.IndexOptions{}); err != nil {
		t.Fatal(err)
	}
	b.broken.Store(true)
	troubles := 0
	err := next.Succeed(t.Context(), old, search.SucceedOptions{Retry: time.Millisecond, Trouble: func(layer string, err error) {
		if !errors.Is(err, tilescout.ErrUpstream) {
			t.Errorf("trouble with %s: %v", layer, err)
		}
		if s, err := old.State("board", nil); err != nil || s.Next == nil || s.Next.Failed != 1 {
			t.Errorf("state %+v, %v; want one failed tile", s.Next, err)
		}
		if troubles++; troubles == 3 {
			b.broken.Store(false)
		}
	}})
	if err != nil || troubles != 3 {
		t.Errorf("Succeed = %v after %d troubles, want 3", err, troubles)
	}
}

// TestPredecessorsForbidden: what may not be fetched ahead delays nobody.
func TestPredecessorsForbidden(t *testing.T) {
	b, store := newBoard(), openStore(t, t.TempDir())
	old, next := engineOf(t, store, 16, b), engineOf(t, store, 32, b)
	if _, err := old.Index(t.Context(), "board", search.IndexOptions{}); err != nil {
		t.Fatal(err)
	}
	b.forbid = true
	asked := b.asked.Load()
	if err := next.Succeed(t.Context(), old, search.SucceedOptions{}); err != nil || b.asked.Load() != asked {
		t.Errorf("Succeed = %v, %d tiles fetched, want none", err, b.asked.Load()-asked)
	}
	if found, err := next.Predecessors(t.Context()); err != nil || len(found) != 0 {
		t.Errorf("predecessors %+v, %v; want none", found, err)
	}
}

// TestSucceedWindows: windows half a tile off are part of what the new model is to know.
func TestSucceedWindows(t *testing.T) {
	b, store := newBoard(), openStore(t, t.TempDir())
	both := search.LayerOptions{Zooms: []maptile.Zoom{boardZoom}, Overlap: 2}
	var engines []*search.Engine
	for _, dim := range []int{16, 32} {
		e, err := search.New(t.Context(), encodertest.Fake{Dim: dim}, store, search.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		if err := e.Add(t.Context(), b, both); err != nil {
			t.Fatal(err)
		}
		engines = append(engines, e)
	}
	old, next := engines[0], engines[1]
	if _, err := old.Index(t.Context(), "board", search.IndexOptions{}); err != nil {
		t.Fatal(err)
	}
	want, err := old.State("board", nil)
	if err != nil || want.Embedded <= 64 {
		t.Fatalf("the old model knows %d tiles and windows, %v; want more than 64", want.Embedded, err)
	}
	if err := next.Succeed(t.Context(), old, search.SucceedOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, err := next.State("board", nil); err != nil || got.Embedded != want.Embedded {
		t.Errorf("the new model knows %d tiles and windows, %v; want %d", got.Embedded, err, want.Embedded)
	}
}

// TestRelease: an engine that is done gives its part of the index back; the next one finds it on the disk.
func TestRelease(t *testing.T) {
	b, store := newBoard(), openStore(t, t.TempDir())
	old := engineOf(t, store, 16, b)
	if _, err := old.Index(t.Context(), "board", search.IndexOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := old.Search(t.Context(), search.Query{Layer: "board", Prompts: []string{"red"}}); err != nil {
		t.Fatal(err)
	}
	old.Close()
	old.Release()
	if state, err := engineOf(t, store, 16, b).State("board", nil); err != nil || state.Embedded < 64 {
		t.Errorf("opened again: %+v, %v; want 64 tiles", state, err)
	}
}
