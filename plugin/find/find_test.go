package find_test

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/png"
	"testing"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/plugin/find"
	"github.com/tilescout/tilescout/plugin/search"
)

// pixels lays tile 17/x/y at 32·x, 32·y of a photograph of 128×128.
func pixels(t maptile.Tile) image.Rectangle {
	x, y := int(t.X)*32, int(t.Y)*32
	return image.Rect(x, y, x+32, y+32).Intersect(image.Rect(0, 0, 128, 128))
}

func TestRegions(t *testing.T) {
	got := find.Regions([]search.Area{
		{Tiles: []maptile.Tile{{X: 1, Y: 1, Z: 17}, {X: 2, Y: 1, Z: 17}}, ScoreMax: .87654},
		{Tiles: []maptile.Tile{{X: 9, Y: 9, Z: 17}}, ScoreMax: .8}, // beside the photograph
		{Tiles: []maptile.Tile{{X: 0, Y: 3, Z: 17}}, ScoreMax: .5},
	}, pixels)
	if len(got) != 2 {
		t.Fatalf("%d regions, want 2", len(got))
	}
	if r := got[0]; r.Rank != 1 || r.Score != .8765 || r.X != 32 || r.Y != 32 || r.Width != 64 || r.Height != 32 {
		t.Errorf("first region %+v, want rank 1, .8765 at 32,32 of 64×32", r)
	}
	if got[1].Rank != 2 {
		t.Errorf("second region has rank %d: ranks must have no gap", got[1].Rank)
	}
}

func TestDraw(t *testing.T) {
	photo := image.NewNRGBA(image.Rect(0, 0, 128, 128))
	for i := range photo.Pix {
		photo.Pix[i] = 200
		if i%4 == 3 {
			photo.Pix[i] = 255
		}
	}
	regions := find.Regions([]search.Area{{Tiles: []maptile.Tile{{X: 1, Y: 1, Z: 17}, {X: 2, Y: 2, Z: 17}}, ScoreMax: .9}}, pixels)
	var b bytes.Buffer
	if err := find.Draw(&b, photo, regions, tilescout.PNG); err != nil {
		t.Fatal(err)
	}
	m, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	at := func(x, y int) color.NRGBA { return color.NRGBAModel.Convert(m.At(x, y)).(color.NRGBA) }
	if c := at(80, 80); c != (color.NRGBA{200, 200, 200, 255}) {
		t.Errorf("inside %v, want it untouched", c)
	}
	if c := at(5, 5); c.R != 150 {
		t.Errorf("outside %v, want it dimmed by a quarter", c)
	}
	if c := at(95, 80); c != (color.NRGBA{208, 28, 139, 255}) {
		t.Errorf("on the border %v, want the line", c)
	}
	if photo.Pix[0] != 200 {
		t.Error("Draw wrote to the photograph")
	}
	if err := find.Draw(&b, photo, regions, "image/gif"); !errors.Is(err, tilescout.ErrBadInput) {
		t.Errorf("Draw as GIF: %v, want ErrBadInput", err)
	}
}
