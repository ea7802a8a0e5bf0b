package search_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/png"
	"slices"
	"testing"

	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache/index"
	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/plugin/search"
)

// cut is a board with a red square of a tile's size on the corner of four tiles, grey around it.
type cut struct{ *board }

func (c cut) Tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	if _, err := c.board.Tile(ctx, t); err != nil {
		return tilescout.Picture{}, err
	}
	m := image.NewNRGBA(image.Rect(0, 0, 8, 8))
	for y := range 8 {
		for x := range 8 {
			// In eighths of a tile from the north-west of the board.
			gx, gy := 8*(int(t.X)-512)+x, 8*(int(t.Y)-340)+y
			m.SetNRGBA(x, y, color.NRGBA{128, 128, 128, 255})
			if gx >= 20 && gx < 28 && gy >= 36 && gy < 44 {
				m.SetNRGBA(x, y, red)
			}
		}
	}
	var b bytes.Buffer
	err := png.Encode(&b, m)
	return tilescout.Picture{Data: b.Bytes(), MediaType: tilescout.PNG}, err
}

// What a corner of the grid cuts into four is found in full by the window over the corner, at exactly its tiles.
func TestWindowsFindWhatTheGridCuts(t *testing.T) {
	scores := map[int]*search.Scores{}
	for _, overlap := range []int{1, 2} {
		b := cut{newBoard()}
		engine := openEngine(t, t.TempDir(), b, search.LayerOptions{Zooms: []maptile.Zoom{boardZoom}, Overlap: overlap})
		if s, err := engine.State("board", nil); err != nil || s.Total != 64 {
			t.Errorf("overlap %d: before a job %d tiles, %v, want 64: those who only look need no windows", overlap, s.Total, err)
		}
		report, err := engine.Index(t.Context(), "board", search.IndexOptions{})
		if err != nil {
			t.Fatal(err)
		}
		// 8 × 8 tiles have 7 × 8 borders each way and 7 × 7 corners.
		want := 64
		if overlap == 2 {
			want += 7*8 + 8*7 + 7*7
		}
		if report.Total != want || report.Done != want || report.Failed != 0 {
			t.Fatalf("overlap %d: %+v, want %d of %d", overlap, report.Progress, want, want)
		}
		if s, err := engine.State("board", nil); err != nil || s.State != "ready" || s.Total != want || s.Embedded != want {
			t.Errorf("overlap %d: state %+v, %v", overlap, s, err)
		}
		asked := b.asked.Load()
		if again, err := engine.Index(t.Context(), "board", search.IndexOptions{}); err != nil || again.New != 0 || b.asked.Load() != asked {
			t.Errorf("overlap %d: second Index = %+v, %v, asked %d tiles again", overlap, again.Progress, err, b.asked.Load()-asked)
		}
		if scores[overlap], err = engine.Scores(t.Context(), "board", []string{"red"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	plain := openEngine(t, t.TempDir(), newBoard(), oneZoom)
	if _, err := plain.Index(t.Context(), "board", search.IndexOptions{}); err != nil {
		t.Fatal(err)
	}
	uncut, err := plain.Scores(t.Context(), "board", []string{"red"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	whole, _ := uncut.At(at(2, 3)) // a red tile
	quarters := []maptile.Tile{at(2, 4), at(3, 4), at(2, 5), at(3, 5)}
	for y := range uint32(8) {
		for x := range uint32(8) {
			if at(x, y) == at(7, 7) {
				continue // holds nothing
			}
			without, _ := scores[1].At(at(x, y))
			with, ok := scores[2].At(at(x, y))
			switch quarter := slices.Contains(quarters, at(x, y)); {
			case !ok || with < without:
				t.Errorf("tile %d,%d: %v with windows, %v without", x, y, with, without)
			case quarter && (with < .799*whole || without > .7*whole):
				t.Errorf("quarter %d,%d: %v with windows, %v without, want .8 of the %v of a red tile", x, y, with, without, whole)
			case !quarter && with > .7*whole:
				t.Errorf("tile %d,%d shows nothing red: %v, a red tile has %v", x, y, with, whole)
			}
		}
	}
}

// Windows made once are used by whoever opens the layer without saying so, even where they would not be made unasked.
func TestWindowsAreFoundAgain(t *testing.T) {
	dir := t.TempDir()
	for i, overlap := range []int{2, 0} {
		b := cut{newBoard()}
		b.forbid = i == 1
		store, err := index.Open(dir, index.Options{MinFree: -1})
		if err != nil {
			t.Fatal(err)
		}
		engine, err := search.New(t.Context(), encodertest.Fake{Dim: 32}, store, search.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := engine.Add(t.Context(), b, search.LayerOptions{Zooms: []maptile.Zoom{boardZoom}, Overlap: overlap}); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if _, err := engine.Index(t.Context(), "board", search.IndexOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if s, err := engine.State("board", nil); err != nil || s.Total != 225 || s.Embedded != 225 {
			t.Errorf("opened %d: %d of %d, %v, want all 225 tiles and windows", i, s.Embedded, s.Total, err)
		}
		if stale, err := engine.Stale(); err != nil || len(stale) > 0 {
			t.Errorf("Stale = %v, %v: windows in use are not stale", stale, err)
		}
		engine.Close()
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWindowsAndBadInput(t *testing.T) {
	forbidden := cut{newBoard()}
	forbidden.forbid = true
	for name, c := range map[string]struct {
		tiles   search.Tiles
		overlap int
		kind    error
	}{
		"three":             {cut{newBoard()}, 3, tilescout.ErrBadInput},
		"bulk is forbidden": {forbidden, 2, tilescout.ErrForbidden},
	} {
		engine := openEngine(t, t.TempDir(), newBoard(), oneZoom)
		err := engine.Replace(t.Context(), []search.Searchable{{Tiles: c.tiles, Options: search.LayerOptions{Zooms: []maptile.Zoom{boardZoom}, Overlap: c.overlap}}})
		if !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v", name, err, c.kind)
		}
	}
	engine := openEngine(t, t.TempDir(), forbidden, search.LayerOptions{Zooms: []maptile.Zoom{boardZoom}})
	if s, _ := engine.State("board", nil); s.Total != 64 {
		t.Errorf("a source that must not be read as a whole has %d tiles and windows, want 64", s.Total)
	}
}

// A tile that fails keeps the windows over it waiting; they are made once it is there.
func TestWindowsOfAFailedTile(t *testing.T) {
	b := cut{newBoard()}
	b.fail = at(3, 3)
	engine := openEngine(t, t.TempDir(), b, search.LayerOptions{Zooms: []maptile.Zoom{boardZoom}, Overlap: 2})
	report, err := engine.Index(t.Context(), "board", search.IndexOptions{})
	if err != nil || report.Failed != 1 || len(report.Failures) != 1 || report.Done+report.Failed != report.Total || report.Total != 225-8 {
		t.Fatalf("Index = %+v, %v, want one failure and the 8 windows over it left out", report, err)
	}
	b.fail = maptile.New(0, 0, 0)
	if report, err = engine.Index(t.Context(), "board", search.IndexOptions{}); err != nil || report.New != 9 || report.Done != 225 {
		t.Errorf("second Index = %+v, %v, want the tile and its 8 windows", report, err)
	}
}

// A new model embeds the windows of the old one too before it takes its place.
func TestSucceedWithWindows(t *testing.T) {
	b, store := cut{newBoard()}, openStore(t, t.TempDir())
	engines := map[int]*search.Engine{}
	for _, dim := range []int{16, 32} {
		e, err := search.New(t.Context(), encodertest.Fake{Dim: dim}, store, search.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		if err := e.Add(t.Context(), b, search.LayerOptions{Zooms: []maptile.Zoom{boardZoom}, Overlap: 2}); err != nil {
			t.Fatal(err)
		}
		engines[dim] = e
	}
	if _, err := engines[16].Index(t.Context(), "board", search.IndexOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := engines[32].Succeed(t.Context(), engines[16], search.SucceedOptions{}); err != nil {
		t.Fatal(err)
	}
	if s, err := engines[32].State("board", nil); err != nil || s.Embedded != 225 {
		t.Errorf("the new model has embedded %d of %d, %v, want all 225", s.Embedded, s.Total, err)
	}
}
