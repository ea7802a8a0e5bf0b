package pyramid

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"math"
	"sync"
	"time"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"
	"golang.org/x/sync/errgroup"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/tileserver/source/resample"
	"github.com/tilescout/tilescout/tileserver/source/upstream"
)

const (
	maxAcross = 8       // tiles of the pyramid under one of ours, in each direction
	maxWindow = 4 << 20 // of their pixels
	together  = 4       // fetched at once for one tile
)

// decoded is a tile of the pyramid as pixels; img is nil where there is none.
type decoded struct {
	img   *image.NRGBA
	life  resample.Life
	until time.Time
}

func (d decoded) size() int {
	if d.img == nil {
		return 128
	}
	return len(d.img.Pix) + 128
}

func (s *Source) view(p orb.Point, z maptile.Zoom, size int) resample.View {
	return resample.View{Tile: maptile.At(orb.Point{p[0], min(max(p[1], -geo.MaxLat), geo.MaxLat)}, z), Size: size, CRS: s.layer.Set.CRS}
}

// drawn returns a tile drawn from those of the pyramid.
func (s *Source) drawn(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	pic, err := s.rendered.Get(ctx, t, func(ctx context.Context) (*image.NRGBA, resample.Life, error) { return s.draw(ctx, t) })
	if err != nil && s.fetcher.Closed() && ctx.Err() == nil {
		err = upstream.ErrClosed
	}
	return pic, err
}

func (s *Source) draw(ctx context.Context, t maptile.Tile) (*image.NRGBA, resample.Life, error) {
	view := resample.View{Tile: t, Size: s.info.TileSize, CRS: s.layer.Set.CRS}
	w, ok := s.choose(view)
	if !ok {
		return nil, resample.Life{}, nil
	}
	tiles, life, err := s.tiles(ctx, w)
	if err != nil || len(tiles) == 0 {
		return nil, life, err
	}
	// Only now, with nothing left to wait for: who holds memory must not wait for a slow server, or for more memory.
	release, err := s.memory.Share(ctx, 4*(w.x1-w.x0)*(w.y1-w.y0)+4*int64(view.Size)*int64(view.Size))
	if err != nil {
		return nil, resample.Life{}, err
	}
	defer release()
	return view.Draw(s.raster(w, tiles)), life, nil
}

// window is a rectangle of pixels of one matrix, counted from its upper left corner.
type window struct {
	matrix         int
	x0, y0, x1, y1 int64
}

// choose takes the coarsest matrix that has a pixel for each of the tile's, or a coarser one where that would be too
// many, and the rectangle of it that the tile needs. ok is false where that is empty.
func (s *Source) choose(v resample.View) (w window, ok bool) {
	need, rect := v.Resolution(), v.Rect()
	if rect.Empty() {
		return window{}, false
	}
	var best window
	bestResolution, found := 0.0, false
	for i, m := range s.layer.Set.Matrices {
		w, empty, fits := m.window(i, rect)
		if empty || !fits {
			continue
		}
		fine := !(m.Resolution > need*1.1) // NaN: any will do
		wasFine := !(bestResolution > need*1.1)
		switch {
		case !found,
			fine && (!wasFine || m.Resolution > bestResolution),
			!fine && !wasFine && m.Resolution < bestResolution:
			best, bestResolution, found = w, m.Resolution, true
		}
	}
	return best, found
}

func (m Matrix) window(index int, r resample.Rect) (w window, empty, fits bool) {
	tw, th := int64(m.TileWidth), int64(m.TileHeight)
	clamp := func(v float64, least, most int64) int64 {
		return int64(math.Max(float64(least), math.Min(float64(most), v)))
	}
	span := func(least, most float64, from, to int64) (int64, int64) {
		a, b := clamp(math.Floor(least), from, to), clamp(math.Ceil(most), from, to)
		if a >= b {
			return 0, 0
		}
		const margin = 4 // pixels, for the kernel at the edges
		return max(a-margin, from), min(b+margin, to)
	}
	w.matrix = index
	w.x0, w.x1 = span((r.MinX-m.X)/m.Resolution, (r.MaxX-m.X)/m.Resolution, m.MinCol*tw, (m.MaxCol+1)*tw)
	w.y0, w.y1 = span((m.Y-r.MaxY)/m.Resolution, (m.Y-r.MinY)/m.Resolution, m.MinRow*th, (m.MaxRow+1)*th)
	if w.x0 >= w.x1 || w.y0 >= w.y1 {
		return window{}, true, true
	}
	across, down := (w.x1-1)/tw-w.x0/tw+1, (w.y1-1)/th-w.y0/th+1
	return w, false, across <= maxAcross && down <= maxAcross && (w.x1-w.x0)*(w.y1-w.y0) <= maxWindow
}

// tiles returns those under w that are there, and how long what is drawn from them may be kept.
func (s *Source) tiles(ctx context.Context, w window) (found map[Cell]*image.NRGBA, life resample.Life, err error) {
	m := s.layer.Set.Matrices[w.matrix]
	tw, th := int64(m.TileWidth), int64(m.TileHeight)
	found = map[Cell]*image.NRGBA{}
	var mu sync.Mutex // guards life and found
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(together)
	for row := w.y0 / th; row <= (w.y1-1)/th; row++ {
		for col := w.x0 / tw; col <= (w.x1-1)/tw; col++ {
			g.Go(func() error {
				cell := Cell{w.matrix, col, row}
				d, err := s.decode(ctx, cell)
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				life = life.And(d.life)
				if d.img != nil {
					found[cell] = d.img
				}
				return nil
			})
		}
	}
	err = g.Wait()
	return found, life, err
}

// raster puts tiles together where they lie in w.
func (s *Source) raster(w window, tiles map[Cell]*image.NRGBA) resample.Raster {
	m := s.layer.Set.Matrices[w.matrix]
	out := image.NewNRGBA(image.Rect(0, 0, int(w.x1-w.x0), int(w.y1-w.y0)))
	for c, img := range tiles {
		at := image.Pt(int(c.Col*int64(m.TileWidth)-w.x0), int(c.Row*int64(m.TileHeight)-w.y0))
		draw.Draw(out, image.Rectangle{at, at.Add(image.Pt(m.TileWidth, m.TileHeight))}, img, image.Point{}, draw.Src)
	}
	return resample.Raster{
		Image: out, DX: m.Resolution, DY: m.Resolution,
		X: m.X + float64(w.x0)*m.Resolution, Y: m.Y - float64(w.y0)*m.Resolution,
	}
}

// decode returns the pixels of a tile of the pyramid.
func (s *Source) decode(ctx context.Context, c Cell) (decoded, error) {
	if d, ok := s.decoded.Peek(c); ok && time.Now().After(d.until) {
		s.decoded.Remove(c)
	}
	return s.decoded.Get(ctx, c, func(ctx context.Context) (decoded, error) {
		pic, err := s.fetch(ctx, c)
		if errors.Is(err, tilescout.ErrNotFound) {
			return decoded{until: time.Now().Add(time.Minute)}, nil
		}
		if err != nil {
			return decoded{}, err
		}
		img, err := resample.Decode(ctx, pic.Data, s.limits, s.memory)
		if err != nil {
			return decoded{}, fmt.Errorf("%v: %w", err, tilescout.ErrUpstream)
		}
		m := s.layer.Set.Matrices[c.Matrix]
		if got := img.Rect.Size(); got != image.Pt(m.TileWidth, m.TileHeight) {
			return decoded{}, fmt.Errorf("the tile is %d × %d pixels, the capabilities say %d × %d: %w",
				got.X, got.Y, m.TileWidth, m.TileHeight, tilescout.ErrUpstream)
		}
		return decoded{img: img, life: resample.LifeOf(pic), until: time.Now().Add(resample.Lifetime(pic.MaxAge))}, nil
	})
}
