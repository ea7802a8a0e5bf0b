package search_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/png"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache/index"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/plugin/search"
)

// board is a layer of 8×8 one-coloured tiles at zoom 10 and their parents: grey, but for what is set.
type board struct {
	version string
	colours map[maptile.Tile]color.Color
	asked   atomic.Int64
	forbid  bool
	fail    maptile.Tile
}

const boardZoom = 10

func at(x, y uint32) maptile.Tile { return maptile.New(512+x, 340+y, boardZoom) }

func (b *board) Info() tilescout.LayerInfo {
	nw, se := geo.Bound(at(0, 0)), geo.Bound(at(7, 7))
	return tilescout.LayerInfo{
		ID: "board", Title: "Board", Version: b.version, TileSize: 256, MinZoom: boardZoom - 1, MaxZoom: boardZoom,
		Bound: orb.Bound{Min: orb.Point{nw.Min[0], se.Min[1]}, Max: orb.Point{se.Max[0], nw.Max[1]}},
	}
}

func (b *board) Bulk() error {
	if b.forbid {
		return tilescout.ErrForbidden
	}
	return nil
}

func (b *board) Tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	b.asked.Add(1)
	if err := ctx.Err(); err != nil {
		return tilescout.Picture{}, err
	}
	if t == b.fail {
		return tilescout.Picture{}, tilescout.ErrUpstream
	}
	if t.Z == boardZoom && t == at(7, 7) {
		return tilescout.Picture{}, tilescout.ErrNotFound
	}
	c, ok := b.colours[t]
	if !ok {
		c = color.Gray{128}
	}
	img := image.NewNRGBA(image.Rect(0, 0, 8, 8))
	for i := 0; i < len(img.Pix); i += 4 {
		r, g, bl, _ := c.RGBA()
		img.Pix[i], img.Pix[i+1], img.Pix[i+2], img.Pix[i+3] = uint8(r>>8), uint8(g>>8), uint8(bl>>8), 255
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		return tilescout.Picture{}, err
	}
	return tilescout.Picture{Data: out.Bytes(), MediaType: tilescout.PNG}, nil
}

var (
	red   = color.NRGBA{255, 0, 0, 255}
	green = color.NRGBA{0, 255, 0, 255}
)

func newBoard() *board {
	return &board{version: "1", fail: maptile.New(0, 0, 0), colours: map[maptile.Tile]color.Color{
		at(2, 3): red, at(3, 3): red, at(6, 1): red, at(0, 7): green,
	}}
}

func openEngine(t *testing.T, dir string, tiles search.Tiles, o search.LayerOptions) *search.Engine {
	t.Helper()
	store, err := index.Open(dir, index.Options{MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := search.New(t.Context(), encodertest.Fake{Dim: 32, Unknown: []string{"zorp"}}, store, search.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Add(t.Context(), tiles, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close(); store.Close() })
	return engine
}

var oneZoom = search.LayerOptions{Zooms: []maptile.Zoom{boardZoom}, Overlap: 1}

func TestIndexAndSearch(t *testing.T) {
	b := newBoard()
	engine := openEngine(t, t.TempDir(), b, oneZoom)
	var last search.Progress
	report, err := engine.Index(t.Context(), "board", search.IndexOptions{Progress: func(p search.Progress) { last = p }})
	if err != nil {
		t.Fatal(err)
	}
	if report.New != 63 || report.Blank != 1 || report.Failed != 0 || last.Done != 64 || last.Total != 64 {
		t.Fatalf("Index = %+v, last progress %+v, want 63 new, 1 blank, 64 of 64", report, last)
	}
	asked := b.asked.Load()
	if again, err := engine.Index(t.Context(), "board", search.IndexOptions{}); err != nil || again.New != 0 || b.asked.Load() != asked {
		t.Fatalf("second Index = %+v, %v, asked %d tiles again, want nothing to do", again, err, b.asked.Load()-asked)
	}
	a, err := engine.Search(t.Context(), search.Query{Layer: "board", Prompts: []string{"red"}, Limit: 3})
	if err != nil {
		t.Fatal(err)
	}
	want := map[maptile.Tile]bool{at(2, 3): true, at(3, 3): true, at(6, 1): true}
	for i, m := range a.Matches {
		if !want[m.Tile] || m.Rank != i+1 {
			t.Errorf("match %d = %v rank %d, want a red tile", i, m.Tile, m.Rank)
		}
		if m.Score < a.Matches[2].Score || m.Score > 1 || math.IsNaN(m.Similarity) {
			t.Errorf("match %d: score %v, similarity %v", i, m.Score, m.Similarity)
		}
	}
	if len(a.Matches) != 3 || a.Embedded != 63 || a.Total != 64 {
		t.Errorf("answer = %d matches, %d of %d embedded, want 3, 63 of 64", len(a.Matches), a.Embedded, a.Total)
	}
}

// The score vector must be the formula of eq. 3, computed here the slow way.
func TestScoreIsSoftmaxAgainstVocabulary(t *testing.T) {
	engine := openEngine(t, t.TempDir(), newBoard(), oneZoom)
	if _, err := engine.Index(t.Context(), "board", search.IndexOptions{}); err != nil {
		t.Fatal(err)
	}
	scores, err := engine.Scores(t.Context(), "board", []string{"red"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	fake := encodertest.Fake{Dim: 32}
	model := fake.Model()
	scale := model.Calibration.Scale
	if scale <= 0 {
		scale = model.LogitScale
	}
	texts := func(s string) []float32 {
		out, err := fake.Texts(t.Context(), []string{s})
		if err != nil {
			t.Fatal(err)
		}
		return out[0].Embedding
	}
	dot := func(a, b []float32) (s float64) {
		for i := range a {
			s += float64(a[i]) * float64(b[i])
		}
		return s
	}
	ask := texts("red")
	for _, tile := range []maptile.Tile{at(2, 3), at(0, 7), at(5, 5)} {
		p, err := newBoard().Tile(t.Context(), tile)
		if err != nil {
			t.Fatal(err)
		}
		v, err := fake.Images(t.Context(), []tilescout.Picture{p}, encoder.Interactive)
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		own := scale * dot(v[0], ask)
		for _, c := range model.Concepts {
			e := texts(c.Phrase)
			limit := model.Calibration.Synonym
			if limit <= 0 {
				limit = .9
			}
			if dot(e, ask) >= limit || c.Phrase == "red" {
				continue
			}
			sum += math.Exp(scale*dot(v[0], e) - own)
		}
		want := 1 / (1 + sum)
		got, ok := scores.At(tile)
		if !ok || math.Abs(float64(got)-want) > .03 {
			t.Errorf("score of %v = %v, want %v", tile, got, want)
		}
	}
}

func TestSearchRefusesBadInput(t *testing.T) {
	engine := openEngine(t, t.TempDir(), newBoard(), oneZoom)
	long := string(bytes.Repeat([]byte("a"), 10<<10))
	for name, q := range map[string]search.Query{
		"empty prompt":      {Layer: "board", Prompts: []string{" "}},
		"no prompt":         {Layer: "board"},
		"10 kB prompt":      {Layer: "board", Prompts: []string{long}},
		"control character": {Layer: "board", Prompts: []string{"sta\x00dium"}},
		"broken UTF-8":      {Layer: "board", Prompts: []string{"sta\xffdium"}},
		"only negatives":    {Layer: "board", Prompts: []string{"-red"}},
		"threshold":         {Layer: "board", Prompts: []string{"red"}, Threshold: 2},
		"NaN threshold":     {Layer: "board", Prompts: []string{"red"}, Threshold: math.NaN()},
		"limit":             {Layer: "board", Prompts: []string{"red"}, Limit: -1},
		"weight":            {Layer: "board", Prompts: []string{"red^0"}},
		"tile":              {Layer: "board", Prompts: []string{"tile:1/2"}},
	} {
		if _, err := engine.Search(t.Context(), q); !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("%s: Search = %v, want ErrBadInput", name, err)
		}
	}
	if _, err := engine.Search(t.Context(), search.Query{Layer: "nowhere", Prompts: []string{"red"}}); !errors.Is(err, tilescout.ErrNotFound) {
		t.Errorf("unknown layer: %v, want ErrNotFound", err)
	}
	for _, script := range []string{"стадион", "体育场", "ملعب", "🏟"} {
		if _, err := engine.Search(t.Context(), search.Query{Layer: "board", Prompts: []string{script}}); err != nil && !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("prompt %q: %v", script, err)
		}
	}
}

func TestUnknownWordIsReportedNotGuessed(t *testing.T) {
	engine := openEngine(t, t.TempDir(), newBoard(), oneZoom)
	if _, err := engine.Index(t.Context(), "board", search.IndexOptions{}); err != nil {
		t.Fatal(err)
	}
	a, err := engine.Search(t.Context(), search.Query{Layer: "board", Prompts: []string{"zorp"}})
	if err != nil {
		t.Fatal(err)
	}
	if a.Verdict != search.VerdictNone || len(a.Matches) != 0 || len(a.Unknown) != 1 {
		t.Errorf("answer = verdict %s, %d matches, unknown %v, want none, 0, [zorp]", a.Verdict, len(a.Matches), a.Unknown)
	}
}

func TestNegativesAndAlternatives(t *testing.T) {
	engine := openEngine(t, t.TempDir(), newBoard(), oneZoom)
	if _, err := engine.Index(t.Context(), "board", search.IndexOptions{}); err != nil {
		t.Fatal(err)
	}
	score := func(tile maptile.Tile, prompts, not []string) float32 {
		s, err := engine.Scores(t.Context(), "board", prompts, not)
		if err != nil {
			t.Fatal(err)
		}
		v, ok := s.At(tile)
		if !ok {
			t.Fatalf("tile %v has no score", tile)
		}
		return v
	}
	alone := score(at(2, 3), []string{"red"}, nil)
	if got := score(at(2, 3), []string{"red"}, []string{"red"}); got >= alone/2 {
		t.Errorf("red but not red = %v, red alone %v", got, alone)
	}
	if got := score(at(0, 7), []string{"red", "green"}, nil); got < score(at(0, 7), []string{"green"}, nil) {
		t.Errorf("red or green on the green tile = %v, less than green alone", got)
	}
	if got, want := score(at(2, 3), []string{"red AND green"}, nil), score(at(2, 3), []string{"green"}, nil); got != want {
		t.Errorf("red AND green on a red tile = %v, want the smaller %v", got, want)
	}
	if got := score(at(2, 3), []string{"red"}, []string{"tile:10/514/343"}); got >= alone/2 {
		t.Errorf("red but not like this red tile = %v, red alone %v", got, alone)
	}
}

func TestOnDemandOnce(t *testing.T) {
	b := newBoard()
	engine := openEngine(t, t.TempDir(), b, oneZoom)
	done := make(chan error)
	for range 1000 {
		go func() {
			_, err := engine.Fill(t.Context(), "board", at(2, 3), 10*time.Second)
			done <- err
		}()
	}
	for range 1000 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if got := b.asked.Load(); got != 1 {
		t.Errorf("1,000 looks at one cold tile fetched it %d times, want once (R4)", got)
	}
	if !engine.Looked("board", at(2, 3)) {
		t.Error("the tile is not embedded")
	}
}

func TestFailedTileIsNotAskedAgainAtOnce(t *testing.T) {
	b := newBoard()
	b.fail = at(1, 1)
	engine := openEngine(t, t.TempDir(), b, oneZoom)
	for range 5 {
		if _, err := engine.Fill(t.Context(), "board", at(1, 1), 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.asked.Load(); got != 1 {
		t.Errorf("a failing tile was fetched %d times, want once in 30 s", got)
	}
	report, err := engine.Index(t.Context(), "board", search.IndexOptions{})
	if err != nil || report.Failed != 1 || len(report.Failures) != 1 || report.Failures[0].Tile != at(1, 1) {
		t.Errorf("Index = %+v, %v, want one failure, named", report, err)
	}
}

func TestParentFusion(t *testing.T) {
	b := newBoard()
	b.colours[at(4, 4).Parent()] = red
	engine := openEngine(t, t.TempDir(), b, search.LayerOptions{})
	if _, err := engine.Index(t.Context(), "board", search.IndexOptions{}); err != nil {
		t.Fatal(err)
	}
	s, err := engine.Scores(t.Context(), "board", []string{"red"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	parent, _ := s.At(at(4, 4))
	own, _ := s.At(at(2, 3))
	other, _ := s.At(at(1, 0))
	if !(parent > other && parent < own && math.Abs(float64(parent)-.8*float64(own)) < .02) {
		t.Errorf("under a red parent %v, red itself %v, neither %v: want .8 of the red one", parent, own, other)
	}
}

func TestNothingStale(t *testing.T) {
	dir := t.TempDir()
	first := newBoard()
	func() {
		store, err := index.Open(dir, index.Options{MinFree: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		engine, err := search.New(t.Context(), encodertest.Fake{Dim: 32}, store, search.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer engine.Close()
		if err := engine.Add(t.Context(), first, oneZoom); err != nil {
			t.Fatal(err)
		}
		if _, err := engine.Index(t.Context(), "board", search.IndexOptions{}); err != nil {
			t.Fatal(err)
		}
	}()
	second := newBoard()
	second.version = "2"
	engine := openEngine(t, dir, second, oneZoom)
	state, err := engine.State("board", nil)
	if err != nil || state.Embedded != 0 || state.State != "empty" {
		t.Errorf("a new version of the source starts with %+v, %v, want an empty index", state, err)
	}
}

func TestForbiddenBulk(t *testing.T) {
	b := newBoard()
	b.forbid = true
	engine := openEngine(t, t.TempDir(), b, oneZoom)
	if _, err := engine.Index(t.Context(), "board", search.IndexOptions{}); !errors.Is(err, tilescout.ErrForbidden) || b.asked.Load() != 0 {
		t.Errorf("Index of a source that forbids it = %v after %d fetches, want ErrForbidden after none", err, b.asked.Load())
	}
}

// A look from far above asks a source that forbids bulk fetching for nothing; a look at the tiles themselves may.
func TestForbiddenBulkFromAbove(t *testing.T) {
	b := newBoard()
	b.forbid = true
	engine := openEngine(t, t.TempDir(), b, oneZoom)
	far := at(0, 0).Parent().Parent().Parent()
	p, err := engine.Fill(t.Context(), "board", far, time.Second)
	if err != nil || b.asked.Load() != 0 || p.Missing == 0 {
		t.Errorf("Fill from three zooms above = %+v, %v after %d fetches, want tiles missing after none", p, err, b.asked.Load())
	}
	if _, err := engine.Fill(t.Context(), "board", at(2, 3), 5*time.Second); err != nil || b.asked.Load() != 1 {
		t.Errorf("Fill of one tile = %v after %d fetches, want one", err, b.asked.Load())
	}
}

func TestSimilarAndClassify(t *testing.T) {
	engine := openEngine(t, t.TempDir(), newBoard(), oneZoom)
	if _, err := engine.Index(t.Context(), "board", search.IndexOptions{}); err != nil {
		t.Fatal(err)
	}
	tile := at(2, 3)
	a, err := engine.Similar(t.Context(), "board", search.Like{Tile: &tile}, nil, 2, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range a.Matches {
		if m.Tile != at(3, 3) && m.Tile != at(6, 1) {
			t.Errorf("like a red tile: %v, want the other red tiles", m.Tile)
		}
	}
	labels, err := engine.ClassifyTile(t.Context(), "board", tile, []string{"green", "red", "blue"}, "{}")
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, l := range labels {
		sum += l.Probability
	}
	if labels[0].Label != "red" || math.Abs(sum-1) > 1e-9 {
		t.Errorf("labels of a red tile = %v, want red first, sum 1", labels)
	}
	if _, err := engine.ClassifyTile(t.Context(), "board", tile, []string{"red"}, ""); !errors.Is(err, tilescout.ErrBadInput) {
		t.Errorf("one label: %v, want ErrBadInput", err)
	}
}

func TestAreasMergeNeighbours(t *testing.T) {
	engine := openEngine(t, t.TempDir(), newBoard(), oneZoom)
	if _, err := engine.Index(t.Context(), "board", search.IndexOptions{}); err != nil {
		t.Fatal(err)
	}
	s, err := engine.Scores(t.Context(), "board", []string{"red"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, _ := s.At(at(2, 3))
	areas, _, err := engine.Areas(t.Context(), search.Query{Layer: "board", Prompts: []string{"red"}, Threshold: float64(p) * .95})
	if err != nil {
		t.Fatal(err)
	}
	if len(areas) != 2 || len(areas[0].Tiles)+len(areas[1].Tiles) != 3 {
		t.Fatalf("%d areas, want one of two tiles and one of one", len(areas))
	}
	for _, a := range areas {
		if ring := a.Outline[0][0]; ring.Orientation() != orb.CCW || len(ring) < 5 {
			t.Errorf("outline %v is not a counter-clockwise ring", ring)
		}
	}
}

func TestBoxCutsMatches(t *testing.T) {
	engine := openEngine(t, t.TempDir(), newBoard(), oneZoom)
	if _, err := engine.Index(t.Context(), "board", search.IndexOptions{}); err != nil {
		t.Fatal(err)
	}
	b := geo.Bound(at(6, 1))
	box := geo.BBox{West: b.Min[0], South: b.Min[1], East: b.Max[0], North: b.Max[1]}
	a, err := engine.Search(t.Context(), search.Query{Layer: "board", Prompts: []string{"red"}, Box: &box})
	if err != nil || len(a.Matches) != 1 || a.Matches[0].Tile != at(6, 1) || a.Total != 1 {
		t.Errorf("red in the box of one tile = %v of %d, %v, want that tile", a.Matches, a.Total, err)
	}
}

// TestWorldIsNotIndexed: an upstream without bounds has billions of tiles; a job over them is refused at once.
func TestWorldIsNotIndexed(t *testing.T) {
	engine := openEngine(t, t.TempDir(), &world{}, search.LayerOptions{})
	if _, err := engine.Index(t.Context(), "world", search.IndexOptions{}); !errors.Is(err, tilescout.ErrBadInput) {
		t.Errorf("Index of the world = %v, want ErrBadInput", err)
	}
	if _, err := engine.EstimateIndex(t.Context(), "world", search.IndexOptions{}); !errors.Is(err, tilescout.ErrBadInput) {
		t.Errorf("EstimateIndex of the world = %v, want ErrBadInput", err)
	}
	// Across 180°, a box of a few tiles is found on both sides.
	box := geo.BBox{West: 179.999, South: 0, East: -179.999, North: .001}
	if n, err := engine.JobSize("world", &box); err != nil || n < 2 || n > 20 {
		t.Errorf("JobSize across 180° = %d, %v, want a few tiles", n, err)
	}
	report, err := engine.Index(t.Context(), "world", search.IndexOptions{Box: &box})
	if err != nil || report.New < 2 {
		t.Fatalf("Index across 180° = %+v, %v", report, err)
	}
	a, err := engine.Search(t.Context(), search.Query{Layer: "world", Prompts: []string{"grey"}, Box: &box, Threshold: 1e-9})
	if err != nil {
		t.Fatal(err)
	}
	east, west := 0, 0
	for _, m := range a.Matches {
		if m.Tile.X == 0 {
			west++
		} else {
			east++
		}
	}
	if east == 0 || west == 0 {
		t.Errorf("search across 180° found %d tiles east and %d west of it, want both", east, west)
	}
}

type world struct{ board }

func (*world) Info() tilescout.LayerInfo {
	return tilescout.LayerInfo{ID: "world", Version: "1", MinZoom: 0, MaxZoom: 19, Bound: maptile.New(0, 0, 0).Bound()}
}
