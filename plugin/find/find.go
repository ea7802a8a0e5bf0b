// Package find says where in a photograph a thing is: in pixels, and drawn on it.
//
//	found := find.Regions(areas, photo.Pixels, 0)
//	err := find.Draw(w, photo.Image(), found, "image/jpeg")
package find

import (
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"math"

	"github.com/paulmach/orb/maptile"
	"golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/plugin/search"
)

// Region is a part of a photograph that matches, in pixels from its upper left corner.
type Region struct {
	Rank    int               `json:"rank"`
	Score   float64           `json:"score"` // of its best patch, 0…1
	X       int               `json:"x"`
	Y       int               `json:"y"`
	Width   int               `json:"width"`
	Height  int               `json:"height"`
	Patches []image.Rectangle `json:"-"`
}

// Regions turns areas of a layer into regions of its photograph; pixels says what part of it a tile shows. Areas that
// show nothing of the photograph are left out.
func Regions(areas []search.Area, pixels func(maptile.Tile) image.Rectangle) []Region {
	out := []Region{}
	for _, a := range areas {
		r := Region{Score: math.Round(a.ScoreMax*1e4) / 1e4}
		var around image.Rectangle
		for _, t := range a.Tiles {
			if p := pixels(t); !p.Empty() {
				r.Patches = append(r.Patches, p)
				around = around.Union(p)
			}
		}
		if around.Empty() {
			continue
		}
		r.X, r.Y, r.Width, r.Height = around.Min.X, around.Min.Y, around.Dx(), around.Dy()
		r.Rank = len(out) + 1
		out = append(out, r)
	}
	return out
}

// Draw writes the photograph with the regions outlined and numbered; what lies outside them is dimmed a little.
// mediaType is tilescout.PNG or tilescout.JPEG.
func Draw(w io.Writer, photo *image.NRGBA, regions []Region, mediaType string) error {
	out := image.NewNRGBA(photo.Rect)
	draw.Draw(out, out.Rect, photo, photo.Rect.Min, draw.Src)
	inside := image.NewAlpha(photo.Rect)
	for _, r := range regions {
		for _, p := range r.Patches {
			draw.Draw(inside, p.Intersect(inside.Rect), image.Opaque, image.Point{}, draw.Src)
		}
	}
	width := max(2, (photo.Rect.Dx()+photo.Rect.Dy())/700)
	dim(out, inside)
	for _, pass := range []struct {
		by   int
		line color.NRGBA
	}{{width + width/2 + 1, color.NRGBA{255, 255, 255, 255}}, {width, color.NRGBA{208, 28, 139, 255}}} {
		outline(out, inside, pass.by, pass.line)
	}
	if err := number(out, regions, 9*width); err != nil {
		return err
	}
	switch mediaType {
	case tilescout.PNG:
		return png.Encode(w, out)
	case tilescout.JPEG:
		return jpeg.Encode(w, out, &jpeg.Options{Quality: 90})
	}
	return fmt.Errorf("draw as %s: png or jpeg: %w", mediaType, tilescout.ErrBadInput)
}

// dim darkens what lies outside the regions by a quarter.
func dim(m *image.NRGBA, inside *image.Alpha) {
	for i, a := range inside.Pix {
		if a == 0 {
			p := m.Pix[4*i : 4*i+3 : 4*i+3]
			p[0], p[1], p[2] = p[0]-p[0]/4, p[1]-p[1]/4, p[2]-p[2]/4
		}
	}
}

// outline paints the pixels inside that have one outside within reach, along rows and columns.
func outline(m *image.NRGBA, inside *image.Alpha, reach int, c color.NRGBA) {
	b := inside.Rect
	in := func(x, y int) bool { return image.Pt(x, y).In(b) && inside.Pix[inside.PixOffset(x, y)] != 0 }
	spot := func(x, y int) {
		r := image.Rect(x-reach/2, y-reach/2, x+(reach+1)/2, y+(reach+1)/2)
		draw.Draw(m, r.Intersect(b), image.NewUniform(c), image.Point{}, draw.Src)
	}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if in(x, y) && !(in(x-1, y) && in(x+1, y) && in(x, y-1) && in(x, y+1)) {
				spot(x, y)
			}
		}
	}
}

// number writes each region's rank into its upper left corner, size pixels high.
func number(m *image.NRGBA, regions []Region, size int) error {
	parsed, err := opentype.Parse(gobold.TTF)
	if err != nil {
		return fmt.Errorf("font: %w", err)
	}
	face, err := opentype.NewFace(parsed, &opentype.FaceOptions{Size: float64(size), DPI: 72, Hinting: font.HintingFull})
	if err != nil {
		return fmt.Errorf("font: %w", err)
	}
	defer face.Close()
	for _, r := range regions {
		text := fmt.Sprint(r.Rank)
		wide := font.MeasureString(face, text).Ceil()
		at := image.Pt(r.X, r.Y)
		for _, p := range r.Patches { // the corner of the box may lie outside the region
			if p.Min.Y == r.Y {
				at = p.Min
				break
			}
		}
		badge := image.Rect(at.X, at.Y, at.X+wide+size/2, at.Y+size+size/4)
		draw.Draw(m, badge.Intersect(m.Rect), image.NewUniform(color.NRGBA{208, 28, 139, 255}), image.Point{}, draw.Src)
		d := font.Drawer{Dst: m, Src: image.White, Face: face, Dot: fixed.P(at.X+size/4, at.Y+size)}
		d.DrawString(text)
	}
	return nil
}
