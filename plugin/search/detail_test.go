package search_test

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"testing"

	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache/index"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/plugin/search"
)

// quarters embeds the four quarters of a picture as pictures of their own.
type quarters struct{ encodertest.Fake }

func (quarters) Side() int { return 2 }

func (q quarters) Cells(ctx context.Context, pictures []tilescout.Picture) ([][][]float32, error) {
	var out [][][]float32
	for _, p := range pictures {
		m, err := png.Decode(bytes.NewReader(p.Data))
		if err != nil {
			return nil, err
		}
		side := m.Bounds().Dx() / 2
		var parts []tilescout.Picture
		for i := range 4 {
			cut := image.NewNRGBA(image.Rect(0, 0, side, side))
			draw.Draw(cut, cut.Rect, m, image.Pt(i%2*side, i/2*side), draw.Src)
			parts = append(parts, encodePNG(cut))
		}
		rows, err := q.Images(ctx, parts, encoder.Interactive)
		if err != nil {
			return nil, err
		}
		out = append(out, rows)
	}
	return out, nil
}

func encodePNG(m image.Image) tilescout.Picture {
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		panic(err)
	}
	return tilescout.Picture{Data: b.Bytes(), MediaType: tilescout.PNG}
}

// cornered is a board on which one red tile is green but for its south-western quarter.
type cornered struct{ *board }

var corner = at(4, 4)

func (c cornered) Tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	if t != corner {
		return c.board.Tile(ctx, t)
	}
	m := image.NewNRGBA(image.Rect(0, 0, 8, 8))
	draw.Draw(m, m.Rect, image.NewUniform(color.NRGBA{200, 40, 40, 255}), image.Point{}, draw.Src)
	draw.Draw(m, image.Rect(0, 4, 4, 8), image.NewUniform(red), image.Point{}, draw.Src)
	draw.Draw(m, image.Rect(4, 0, 8, 4), image.NewUniform(green), image.Point{}, draw.Src)
	return encodePNG(m), nil
}

func openDetailed(t *testing.T, open func(context.Context) (search.DenseEncoder, error)) *search.Engine {
	t.Helper()
	store, err := index.Open(t.TempDir(), index.Options{MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	fake := encodertest.Fake{Dim: 32}
	engine, err := search.New(t.Context(), steep{fake}, store, search.Options{Dense: open})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close(); store.Close() })
	if err := engine.Add(t.Context(), cornered{newBoard()}, oneZoom); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Index(t.Context(), "board", search.IndexOptions{}); err != nil {
		t.Fatal(err)
	}
	return engine
}

// steep is the fake with a scale at which its colours exclude one another.
type steep struct{ encodertest.Fake }

func (s steep) Model() encoder.Model {
	m := s.Fake.Model()
	m.Calibration.Scale, m.Calibration.Floor, m.Calibration.Seed, m.Calibration.Synonym = 12, .1, .2, .99
	return m
}

func TestDetailFollowsTheParts(t *testing.T) {
	engine := openDetailed(t, func(context.Context) (search.DenseEncoder, error) { return quarters{encodertest.Fake{Dim: 32}}, nil })
	coarse, err := engine.Scores(t.Context(), "board", []string{"red"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	own, ok := coarse.At(corner)
	if !ok || own < .1 {
		t.Fatalf("the mixed tile scores %.3f, want it above the floor: the test's picture is wrong", own)
	}
	fine, err := engine.Detail(t.Context(), "board", []string{"red"}, nil, corner)
	if err != nil {
		t.Fatal(err)
	}
	if fine.Zoom != boardZoom+1 {
		t.Fatalf("zoom %d, want %d: two cells a side are one zoom", fine.Zoom, boardZoom+1)
	}
	part := func(x, y uint32) float32 {
		p, ok := fine.At(maptile.New(2*corner.X+x, 2*corner.Y+y, boardZoom+1))
		if !ok {
			t.Fatalf("part %d,%d has no score", x, y)
		}
		return p
	}
	if best := part(0, 1); best != own {
		t.Errorf("the red quarter scores %.3f, want its tile's %.3f", best, own)
	}
	if low := part(1, 0); low > own/3 {
		t.Errorf("the green quarter scores %.3f of %.3f, want far less", low, own)
	}
	for _, tile := range []maptile.Tile{at(2, 3), at(0, 0)} { // not next to the tile that was asked for
		if _, ok := fine.At(maptile.New(2*tile.X, 2*tile.Y, boardZoom+1)); ok && tile == at(0, 0) {
			t.Errorf("tile %v was scored though it is far away", tile)
		}
	}
	// A tile below the floor keeps its own score in all parts.
	grey, _ := coarse.At(at(5, 5))
	if p, ok := fine.At(maptile.New(2*at(5, 5).X, 2*at(5, 5).Y, boardZoom+1)); !ok || p != grey {
		t.Errorf("a part of a grey tile scores %v (%t), want %v", p, ok, grey)
	}
}

func TestDetailFarAboveTheIndexIsCoarse(t *testing.T) {
	engine := openDetailed(t, func(context.Context) (search.DenseEncoder, error) { return quarters{encodertest.Fake{Dim: 32}}, nil })
	up := maptile.New(corner.X>>4, corner.Y>>4, boardZoom-4)
	s, err := engine.Detail(t.Context(), "board", []string{"red"}, nil, up)
	if err != nil || s.Zoom != boardZoom {
		t.Fatalf("Detail = zoom %d, %v, want the index zoom", s.Zoom, err)
	}
}

func TestDetailedAreaIsSmaller(t *testing.T) {
	engine := openDetailed(t, func(context.Context) (search.DenseEncoder, error) { return quarters{encodertest.Fake{Dim: 32}}, nil })
	box := geo.Bound(corner)
	q := search.Query{Layer: "board", Prompts: []string{"red"}, Box: &geo.BBox{
		West: box.Min[0] + 1e-6, South: box.Min[1] + 1e-6, East: box.Max[0] - 1e-6, North: box.Max[1] - 1e-6}}
	whole, _, err := engine.Areas(t.Context(), q)
	if err != nil || len(whole) != 1 {
		t.Fatalf("Areas = %v, %v, want one", whole, err)
	}
	q.Detail = true
	parts, _, err := engine.Areas(t.Context(), q)
	if err != nil || len(parts) != 1 {
		t.Fatalf("detailed Areas = %v, %v, want one", parts, err)
	}
	if parts[0].AreaM2 >= .9*whole[0].AreaM2 {
		t.Errorf("the detailed area has %.0f m², the tile %.0f: want less", parts[0].AreaM2, whole[0].AreaM2)
	}
	if parts[0].Within != corner || parts[0].Best.Z != boardZoom+1 {
		t.Errorf("best part %v within %v, want a part of %v", parts[0].Best, parts[0].Within, corner)
	}
}

func TestDetailWithoutDenseOutput(t *testing.T) {
	engine := openDetailed(t, nil)
	s, err := engine.Detail(t.Context(), "board", []string{"red"}, nil, corner)
	if err != nil || s.Zoom != boardZoom {
		t.Errorf("Detail = zoom %d, %v, want the tiles' own scores", s.Zoom, err)
	}
}
