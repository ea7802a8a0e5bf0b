package search

import (
	"context"
	"fmt"
	"image"
	"slices"
	"sync"

	"github.com/paulmach/orb/maptile"
	"golang.org/x/image/draw"
	"golang.org/x/sync/errgroup"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache/index"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/geo"
)

// A window is a picture of a tile's size that lies half a tile off the grid, to the east, the south or both: what a border
// cuts in two is whole in one of them. Together with the tiles they overlap by half, so that whatever is at most half a
// tile wide is whole somewhere (docs/search.md). A window is named by the quarter of a tile at its north-west corner, a
// tile of one zoom deeper.

// autoWindows is the number of tiles up to which a layer gets windows unless told otherwise: they take three times as
// many embeddings again, a minute for this many.
const autoWindows = 4096

// windowKind marks the sets of windows in the index, beside those of tiles.
const windowKind = "+half"

// wantsWindows says whether a layer has windows.
func (l *layer) wantsWindows(overlap int) (bool, error) {
	forbidden := l.bulk()
	switch {
	case overlap < 0 || overlap > 2:
		return false, fmt.Errorf("layer %q: index overlap %d: want 1 (tiles only) or 2 (and windows half a tile off): %w", l.info.ID, overlap, tilescout.ErrBadInput)
	case overlap == 2 && forbidden != nil:
		return false, fmt.Errorf("layer %q: index overlap 2 embeds all of the layer: %w", l.info.ID, forbidden)
	case l.zooms[0] >= geo.MaxZoom:
		return false, nil
	}
	return overlap == 2 || overlap == 0 && forbidden == nil && l.total[0] <= autoWindows, nil
}

// hasWindows says whether windows of the layer lie in the index, from a run that was told to make them.
func (e *Engine) hasWindows(l *layer) (bool, error) {
	sets, err := e.store.Sets()
	return slices.Contains(sets, e.windowKey(l)), err
}

// openWindows opens the set of the layer's windows, if it has them.
func (e *Engine) openWindows(ctx context.Context, l *layer, overlap int) error {
	wanted, err := l.wantsWindows(overlap)
	if err == nil && !wanted && overlap == 0 {
		wanted, err = e.hasWindows(l)
	}
	if err != nil || !wanted {
		return err
	}
	set, err := e.store.Set(ctx, e.windowKey(l))
	if err != nil {
		return fmt.Errorf("layer %q: open the index of its windows: %w", l.info.ID, err)
	}
	l.windows = newView(set, l.zooms[0]+1, &e.concepts)
	for _, b := range l.bounds {
		if lo, hi, ok := geo.CoverCorners(b, l.zooms[0]); ok {
			nx, ny := int(hi.X-lo.X)+1, int(hi.Y-lo.Y)+1
			l.windowTotal += (nx-1)*ny + nx*(ny-1) + (nx-1)*(ny-1)
		}
	}
	return nil
}

// Overlap is 2 where a layer has windows half a tile off beside its tiles, else 1.
func (e *Engine) Overlap(id string) (int, error) {
	l, err := e.layer(id)
	if err != nil || l.windows == nil {
		return 1, err
	}
	return 2, nil
}

func (e *Engine) windowKey(l *layer) index.Key {
	return index.Key{
		Layer: l.info.ID, Version: l.info.Version, Model: e.model.Digest,
		Preprocessing: e.model.Preprocessing + windowKind, Zoom: l.zooms[0] + 1, Dimension: e.model.Dimension,
	}
}

// all are the layer's views: of its zooms, deepest first, and of its windows.
func (l *layer) all() []*view {
	if l.windows == nil {
		return l.views
	}
	return append(l.views[:len(l.views):len(l.views)], l.windows)
}

// windowTiles are the two or four tiles that a window lies over, from the north-west, as Morton codes of the zoom above;
// columns go round at 180°.
func windowTiles(code uint64, z maptile.Zoom) (tiles [4]uint64, n int) {
	w := geo.FromMorton(code, z+1)
	t := maptile.New(w.X>>1, w.Y>>1, z)
	for dy := range w.Y&1 + 1 {
		for dx := range w.X&1 + 1 {
			tiles[n] = geo.Morton(maptile.New((t.X+dx)&(1<<z-1), t.Y+dy, z))
			n++
		}
	}
	return tiles, n
}

// windowsFrom are the windows whose north-western tile is t, where all of their tiles are the layer's.
func (l *layer) windowsFrom(t maptile.Tile) []uint64 {
	var out []uint64
	side := uint32(1) << t.Z
	for _, d := range [3][2]uint32{{1, 0}, {0, 1}, {1, 1}} {
		east, south := maptile.New((t.X+d[0])&(side-1), t.Y, t.Z), maptile.New(t.X, t.Y+d[1], t.Z)
		if t.Y+d[1] < side && l.inside(t) && l.inside(east) && l.inside(south) {
			out = append(out, geo.Morton(maptile.New(2*t.X+d[0], 2*t.Y+d[1], t.Z+1)))
		}
	}
	return out
}

// windowTable says which rows of a frame the windows of another lie over.
type windowTable struct {
	windows, tiles uint64 // generations
	rows           [][4]int32
}

// windowRows finds, once a generation, the rows under each window; -1 where a tile is not embedded.
func (l *layer) windowRows(windows, tiles *frame) [][4]int32 {
	l.tableMu.Lock()
	defer l.tableMu.Unlock()
	if t := l.table; t != nil && t.windows == windows.generation && t.tiles == tiles.generation {
		return t.rows
	}
	rows := make([][4]int32, len(windows.codes))
	for i, code := range windows.codes {
		under, n := windowTiles(code, l.zooms[0])
		for k := range rows[i] {
			rows[i][k] = -1
			if k < n {
				rows[i][k] = int32(tiles.row(under[k]))
			}
		}
	}
	l.table = &windowTable{windows.generation, tiles.generation, rows}
	return rows
}

// windowWeight is ρ of fuseWindows (docs/search.md has what others gave): in full, windows would also say twice as often
// that something is there which is not.
const windowWeight = .8

// fuseWindows raises tiles to what the windows over them show, shared out as a parent's score is, by what the tiles show
// themselves: p = max(p, ρ·p_window·p/p_best), p_best the best of the two or four tiles.
func fuseWindows(values, windows []float32, rows [][4]int32) {
	own := slices.Clone(values)
	for i, w := range windows {
		w *= windowWeight
		best := float32(0)
		for _, k := range rows[i] {
			if k >= 0 {
				best = max(best, own[k])
			}
		}
		if best <= 0 || w <= 0 {
			continue
		}
		for _, k := range rows[i] {
			if k >= 0 && values[k] < w {
				values[k] = max(values[k], w*own[k]/best)
			}
		}
	}
}

// windowBlock is the side in tiles of the squares whose windows are made together: a tile is read once for its square,
// and once more for each neighbour whose windows reach into it.
const windowBlock = 4

// blocks yields the squares of tiles that cover the layer or a box of it, each as its tiles.
func (l *layer) blocks(box *geo.BBox) func(func([]maptile.Tile) bool) {
	bounds := l.bounds
	if box != nil {
		bounds = intersectAll(box.Bounds(), l.bounds)
	}
	return func(yield func([]maptile.Tile) bool) {
		for _, b := range bounds {
			lo, hi, ok := geo.CoverCorners(b, l.zooms[0])
			if !ok {
				continue
			}
			for y := lo.Y; y <= hi.Y; y += windowBlock {
				for x := lo.X; x <= hi.X; x += windowBlock {
					var tiles []maptile.Tile
					for ty := y; ty <= min(hi.Y, y+windowBlock-1); ty++ {
						for tx := x; tx <= min(hi.X, x+windowBlock-1); tx++ {
							tiles = append(tiles, maptile.New(tx, ty, l.zooms[0]))
						}
					}
					if !yield(tiles) {
						return
					}
				}
			}
		}
	}
}

// missingWindows are those from the tiles that are not embedded; all counts the others too.
func (l *layer) missingWindows(tiles []maptile.Tile) (missing []uint64, all int) {
	for _, t := range tiles {
		for _, code := range l.windowsFrom(t) {
			all++
			if !l.windows.set.Has(code) {
				missing = append(missing, code)
			}
		}
	}
	return missing, all
}

// due leaves those windows whose tiles have all been looked at: what failed as a tile would fail again.
func (l *layer) due(codes []uint64) []uint64 {
	return slices.DeleteFunc(codes, func(code uint64) bool {
		under, n := windowTiles(code, l.zooms[0])
		return slices.ContainsFunc(under[:n], func(t uint64) bool { return !l.views[0].set.Has(t) })
	})
}

// embedWindows puts the windows together from the tiles that they lie over, and embeds them.
func (e *Engine) embedWindows(ctx context.Context, l *layer, codes []uint64, p encoder.Priority) ([]tileResult, error) {
	parts := l.decodeUnder(ctx, codes)
	results := make([]tileResult, len(codes))
	var rows []index.Row
	var batch []tilescout.Picture
	var at []int
	for i, code := range codes {
		picture, err := compose(code, l.zooms[0], parts)
		if err == nil {
			batch, at = append(batch, picture), append(at, i)
		}
		results[i].err = err
	}
	for k := 0; k < len(batch); k += jobBatch {
		to := min(k+jobBatch, len(batch))
		e.encodeInto(ctx, results, at[k:to], batch[k:to], p, func(i int) string {
			return "window from tile " + tileName(geo.FromMorton(codes[i]>>2, l.zooms[0]))
		})
	}
	for i, r := range results {
		switch {
		case r.embedding != nil:
			rows = append(rows, index.Row{Code: codes[i], Embedding: r.embedding})
		case isNoContent(r.err):
			rows = append(rows, index.Row{Code: codes[i], Blank: true})
		}
	}
	if len(rows) == 0 || ctx.Err() != nil {
		return results, ctx.Err()
	}
	if err := l.windows.set.Put(ctx, rows); err != nil {
		return results, fmt.Errorf("layer %q: keep embeddings: %w", l.info.ID, err)
	}
	return results, nil
}

// part is a decoded tile, or why there is none.
type part struct {
	image *image.RGBA
	err   error
}

// decodeUnder reads the tiles under the windows, each once.
func (l *layer) decodeUnder(ctx context.Context, codes []uint64) map[uint64]part {
	out := map[uint64]part{}
	for _, code := range codes {
		under, n := windowTiles(code, l.zooms[0])
		for _, t := range under[:n] {
			out[t] = part{}
		}
	}
	wanted := make([]uint64, 0, len(out))
	for t := range out {
		wanted = append(wanted, t)
	}
	var mu sync.Mutex // guards out
	var g errgroup.Group
	g.SetLimit(fetchers)
	for _, code := range wanted {
		g.Go(func() error {
			var p part
			switch picture, err := l.tiles.Tile(ctx, geo.FromMorton(code, l.zooms[0])); {
			case err != nil:
				p.err = err
			default:
				p.image, p.err = encoder.Decode(picture.Data)
			}
			mu.Lock()
			defer mu.Unlock()
			out[code] = p
			return nil
		})
	}
	_ = g.Wait() // the parts hold the errors
	return out
}

// compose lays the halves or quarters of tiles together; where a tile holds nothing the window is transparent.
// A window over nothing but such tiles is ErrNotFound.
func compose(code uint64, z maptile.Zoom, parts map[uint64]part) (tilescout.Picture, error) {
	w := geo.FromMorton(code, z+1)
	under, n := windowTiles(code, z)
	side := 0
	for _, t := range under[:n] {
		switch p := parts[t]; {
		case p.image != nil:
			side = max(side, p.image.Rect.Dx())
		case !isNoContent(p.err):
			return tilescout.Picture{}, fmt.Errorf("tile %s: %w", tileName(geo.FromMorton(t, z)), p.err)
		}
	}
	if side == 0 {
		return tilescout.Picture{}, fmt.Errorf("window over nothing: %w", tilescout.ErrNotFound)
	}
	out := image.NewNRGBA(image.Rect(0, 0, side, side))
	left, top := -int(w.X&1)*(side/2), -int(w.Y&1)*(side/2)
	for k, t := range under[:n] {
		m := parts[t].image
		if m == nil {
			continue
		}
		x, y := left, top
		if w.X&1 == 1 {
			x += k % 2 * side
			y += k / 2 * side
		} else {
			y += k * side
		}
		place := image.Rect(x, y, x+side, y+side)
		if m.Rect.Size() == place.Size() {
			draw.Draw(out, place, m, m.Rect.Min, draw.Src)
		} else {
			draw.CatmullRom.Scale(out, place, m, m.Rect, draw.Src, nil)
		}
	}
	return encoder.Uncompressed(out), nil
}
