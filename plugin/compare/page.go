package compare

import (
	"context"
	_ "embed" // for the page
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/plugin/search"
)

//go:embed page.html
var pageText string

// maxTiles bounds the tiles that the page's map has, each with its imagery and an overlay a prompt and model.
const maxTiles = 64

// Overlay draws the transparent tile of a prompt; plugin.SavedLayer is one.
type Overlay interface {
	Tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error)
}

// Map is what the page shows beside the report.
type Map struct {
	Imagery search.Tiles
	A, B    func(prompt string) Overlay
	Box     *geo.BBox // nil means the whole layer
}

// page is what the template reads.
type page struct {
	Report
	Title, Attribution string
	Width, Height      int  // pixels of the map
	Cut                bool // the map shows the middle only
	Tiles              []image
	Overlays           []overlays
}

type image struct {
	X, Y int // pixels
	Data template.URL
}

// overlays are those of one prompt, and where the best tiles lie.
type overlays struct {
	Prompt
	Key            int
	TilesA, TilesB []image
	MarksA, MarksB []mark
}

// mark is the place of a tile on the map, in pixels.
type mark struct {
	Rank             int
	Score            string
	Tile             string
	Left, Top, Width string
	Both             bool // the other model names it too
}

// HTML writes a page that shows the report with both overlays side by side over the imagery. It loads nothing.
func (r Report) HTML(ctx context.Context, w io.Writer, m Map) error {
	p, err := r.page(ctx, m)
	if err != nil {
		return err
	}
	t, err := template.New("page").Funcs(template.FuncMap{
		"number": number, "verdict": verdict, "percent": func(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) },
		"score": func(v float64) string { return fmt.Sprintf("%.2f", v) },
	}).Parse(pageText)
	if err != nil {
		return fmt.Errorf("page: %w", err)
	}
	if err := t.Execute(w, p); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

func (r Report) page(ctx context.Context, m Map) (page, error) {
	info := m.Imagery.Info()
	p := page{Report: r, Title: info.Title, Attribution: info.Attribution}
	if p.Title == "" {
		p.Title = r.Layer
	}
	grid, cut, err := gridOf(info, m.Box)
	if err != nil {
		return p, err
	}
	p.Cut, p.Width, p.Height = cut, grid.width, grid.height
	if p.Tiles, err = grid.pictures(ctx, m.Imagery); err != nil {
		return p, fmt.Errorf("imagery: %w", err)
	}
	for i, prompt := range r.Prompts {
		o := overlays{Prompt: prompt, Key: i}
		if o.TilesA, err = grid.pictures(ctx, m.A(prompt.Prompt)); err == nil {
			o.TilesB, err = grid.pictures(ctx, m.B(prompt.Prompt))
		}
		if err != nil {
			return p, fmt.Errorf("overlay of %q: %w", prompt.Prompt, err)
		}
		o.MarksA, o.MarksB = grid.marks(prompt.A.Best, prompt.B.Best), grid.marks(prompt.B.Best, prompt.A.Best)
		p.Overlays = append(p.Overlays, o)
	}
	return p, nil
}

// grid is the tiles of the page's map, which begins dx and dy pixels inside them.
type grid struct {
	origin        maptile.Tile
	columns, rows int
	dx, dy        int
	width, height int
}

// gridOf is the deepest zoom at which the layer, or the box, has at most maxTiles tiles; if the layer has none so shallow,
// the middle of its first zoom.
func gridOf(info tilescout.LayerInfo, box *geo.BBox) (g grid, cut bool, err error) {
	bound := info.Bound
	if box != nil {
		for _, b := range box.Bounds() {
			if b.Intersects(bound) {
				bound = orb.Bound{
					Min: orb.Point{max(b.Min[0], bound.Min[0]), max(b.Min[1], bound.Min[1])},
					Max: orb.Point{min(b.Max[0], bound.Max[0]), min(b.Max[1], bound.Max[1])},
				}
				break // a box over 180° shows its first part
			}
		}
	}
	for z := int(info.MaxZoom); z >= int(info.MinZoom); z-- {
		lo, hi, ok := geo.CoverCorners(bound, maptile.Zoom(z))
		if !ok {
			return g, false, fmt.Errorf("the box lies outside layer %q: %w", info.ID, tilescout.ErrBadInput)
		}
		g = grid{origin: lo, columns: int(hi.X-lo.X) + 1, rows: int(hi.Y-lo.Y) + 1}
		if g.columns*g.rows <= maxTiles {
			g.crop(bound)
			return g, false, nil
		}
	}
	const side = 8
	c, r := min(g.columns, side), min(g.rows, side)
	g.origin.X += uint32((g.columns - c) / 2)
	g.origin.Y += uint32((g.rows - r) / 2)
	g.columns, g.rows = c, r
	g.width, g.height = 256*c, 256*r
	return g, true, nil
}

// crop leaves of the map what lies in the bound.
func (g *grid) crop(bound orb.Bound) {
	pixel := func(lon, lat float64) (x, y int) {
		f := maptile.Fraction(orb.Point{lon, lat}, g.origin.Z)
		x, y = int(256*(f[0]-float64(g.origin.X))), int(256*(f[1]-float64(g.origin.Y)))
		return min(max(x, 0), 256*g.columns), min(max(y, 0), 256*g.rows)
	}
	var right, bottom int
	g.dx, g.dy = pixel(bound.Min[0], bound.Max[1])
	right, bottom = pixel(bound.Max[0], bound.Min[1])
	g.width, g.height = max(1, right-g.dx), max(1, bottom-g.dy)
}

// pictures are the tiles of the grid that there are, as data addresses.
func (g grid) pictures(ctx context.Context, from Overlay) ([]image, error) {
	var out []image
	for y := range g.rows {
		for x := range g.columns {
			pic, err := from.Tile(ctx, maptile.New(g.origin.X+uint32(x), g.origin.Y+uint32(y), g.origin.Z))
			if errors.Is(err, tilescout.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			data := "data:" + pic.MediaType + ";base64," + base64.StdEncoding.EncodeToString(pic.Data)
			out = append(out, image{x*256 - g.dx, y*256 - g.dy, template.URL(data)})
		}
	}
	return out, nil
}

// marks are the places of the best tiles that lie on the map.
func (g grid) marks(best, other []Tile) []mark {
	both := map[maptile.Tile]bool{}
	for _, t := range other {
		both[t.At] = true
	}
	var out []mark
	for i, t := range best {
		scale := 1.
		for z := t.At.Z; z > g.origin.Z; z-- {
			scale /= 2
		}
		for z := t.At.Z; z < g.origin.Z; z++ {
			scale *= 2
		}
		left, top := (float64(t.At.X)*scale-float64(g.origin.X))*256, (float64(t.At.Y)*scale-float64(g.origin.Y))*256
		if left < 0 || top < 0 || left >= float64(g.columns*256) || top >= float64(g.rows*256) {
			continue
		}
		px := func(v float64) string { return fmt.Sprintf("%.1f", v) }
		out = append(out, mark{i + 1, fmt.Sprintf("%.2f", t.Score), t.Tile, px(left - float64(g.dx)), px(top - float64(g.dy)), px(scale * 256), both[t.At]})
	}
	return out
}
