package export

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"os"
	"runtime"
	"sync/atomic"

	"github.com/paulmach/orb/maptile"
	"golang.org/x/image/draw"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/geo/cogwrite"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/resample"
)

// canvas is where the tiles of one zoom lie in one picture. Columns count on past the end of the grid, so that bounds on
// both sides of 180° are one picture.
type canvas struct {
	zoom           maptile.Zoom
	x0, y0, x1, y1 uint32 // tiles, both ends inside
	side           int    // pixels of a tile
}

func canvasOf(o Options, side int) (canvas, error) {
	c := canvas{zoom: o.Most, x0: math.MaxUint32, y0: math.MaxUint32, side: 256}
	if side == cogwrite.BlockSide {
		c.side = side
	}
	for i, b := range o.Bounds {
		nw, se, ok := geo.CoverCorners(b, o.Most)
		if !ok {
			continue
		}
		if i > 0 && o.Bounds[i-1].Max.X() == 180 && b.Min.X() == -180 { // as geo.BBox.Bounds parts a box
			nw.X, se.X = nw.X+1<<o.Most, se.X+1<<o.Most
		}
		c.x0, c.y0 = min(c.x0, nw.X), min(c.y0, nw.Y)
		c.x1, c.y1 = max(c.x1, se.X), max(c.y1, se.Y)
	}
	if c.x0 > c.x1 {
		return c, fmt.Errorf("the bounds hold no tile: %w", tilescout.ErrBadInput)
	}
	// A box of the whole world next to 180° would show its seam twice.
	c.x1 = min(c.x1, c.x0+1<<o.Most-1)
	if n := (int(c.x1-c.x0) + 1) * (int(c.y1-c.y0) + 1); n > MaxTiles {
		return c, fmt.Errorf("more than %d million tiles: give a lower zoom or a smaller box: %w", MaxTiles/1_000_000, tilescout.ErrBadInput)
	}
	return c, nil
}

// Picture writes the tiles of zoom o.Most as one Cloud-Optimized GeoTIFF in EPSG:3857, without loss and with overviews
// of its own; o.Least is not looked at. As with Archive the file is there whole or not at all, and no content is
// transparent. Memory does not grow with the picture; as much disk as the file takes is needed a second time.
func Picture(ctx context.Context, path string, info tilescout.LayerInfo, tile func(context.Context, maptile.Tile) (tilescout.Picture, error), o Options) (Report, error) {
	var report Report
	if o.Most > 24 {
		return report, fmt.Errorf("zoom %d: from 0 to 24: %w", o.Most, tilescout.ErrBadInput)
	}
	c, err := canvasOf(o, info.TileSize)
	if err != nil {
		return report, err
	}
	part, err := begin(path, o.Force)
	if err != nil {
		return report, err
	}
	defer os.Remove(part.Name())
	defer part.Close()
	spool, err := begin(path, true)
	if err != nil {
		return report, err
	}
	defer os.Remove(spool.Name())
	defer spool.Close()

	var tiles, empty atomic.Int64
	paint := func(ctx context.Context, x, y int) (*image.NRGBA, error) {
		n := cogwrite.BlockSide / c.side
		out := image.NewNRGBA(image.Rect(0, 0, cogwrite.BlockSide, cogwrite.BlockSide))
		for i := range n * n {
			column, row := c.x0+uint32(x*n+i%n), c.y0+uint32(y*n+i/n)
			if column > c.x1 || row > c.y1 {
				continue
			}
			t := maptile.New(column%(1<<c.zoom), row, c.zoom)
			p, err := tile(ctx, t)
			if errors.Is(err, tilescout.ErrNotFound) {
				empty.Add(1)
				continue
			}
			if err == nil {
				err = lay(ctx, out, image.Pt(i%n*c.side, i/n*c.side), c.side, p)
			}
			if err != nil {
				return nil, fmt.Errorf("tile %d/%d/%d: %w", t.Z, t.X, t.Y, err)
			}
			tiles.Add(1)
		}
		return out, nil
	}
	size := 2 * geo.Half / math.Ldexp(float64(c.side), int(c.zoom))
	err = cogwrite.Write(ctx, part, spool, (int(c.x1-c.x0)+1)*c.side, (int(c.y1-c.y0)+1)*c.side, paint, cogwrite.Options{
		EPSG: 3857, PixelSize: size,
		West: -geo.Half + float64(c.x0)*float64(c.side)*size, North: geo.Half - float64(c.y0)*float64(c.side)*size,
		Description: info.Title, Copyright: source.PlainAttribution(info.Attribution),
		Parallel: 2 * runtime.GOMAXPROCS(0), Progress: o.Progress,
	})
	report.Tiles, report.Empty = int(tiles.Load()), int(empty.Load())
	if err != nil {
		return report, fmt.Errorf("export to %s: %w", path, err)
	}
	if report.Tiles == 0 {
		return report, fmt.Errorf("export to %s: no tile within the bounds has content: %w", path, tilescout.ErrBadInput)
	}
	report.Bytes, err = publish(part, path)
	return report, err
}

// lay puts a tile's picture into a block, scaled if the origin has other sizes here and there.
func lay(ctx context.Context, block *image.NRGBA, at image.Point, side int, p tilescout.Picture) error {
	img, err := resample.Decode(ctx, p.Data, source.Limits{MaxSide: source.HardMaxSide}, nil)
	if err != nil {
		return err
	}
	place := image.Rectangle{Min: at, Max: at.Add(image.Pt(side, side))}
	if img.Rect.Dx() != side || img.Rect.Dy() != side {
		draw.CatmullRom.Scale(block, place, img, img.Rect, draw.Src, nil)
		return nil
	}
	// Not draw.Draw, which goes through colours with their alpha multiplied in and loses what is nearly transparent.
	for y := range side {
		copy(block.Pix[block.PixOffset(at.X, at.Y+y):][:4*side], img.Pix[y*img.Stride:][:4*side])
	}
	return nil
}
