// Package export writes layers of tiles, imagery or overlays, and what was found in them to files that other programs open.
//
//	report, err := export.Archive(ctx, "city.pmtiles", info, source.Tile, export.Options{Bounds: bounds, Least: 12, Most: 18})
//	report, err := export.Picture(ctx, "city.tif", info, source.Tile, export.Options{Bounds: bounds, Most: 18})
//	bytes, err := export.Features(ctx, "stadiums.gpkg", "stadiums", collection, false)
package export

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"
	"golang.org/x/sync/errgroup"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/tileserver/source/mbtiles"
	"github.com/tilescout/tilescout/tileserver/source/pmtiles"
)

// MaxTiles bounds one archive: more is a mistake in the bounds or the zooms.
const MaxTiles = 20_000_000

// chunk is how many tiles are asked for side by side and then written in order.
const chunk = 64

// Options of an archive.
type Options struct {
	Bounds      []orb.Bound // degrees
	Least, Most maptile.Zoom
	Overlay     bool                  // what the archive says of itself: to be drawn over imagery
	Force       bool                  // replace a file that is there
	Progress    func(done, total int) // may be nil
}

// Report says what was written.
type Report struct {
	Tiles int   `json:"tiles"`
	Empty int   `json:"empty"` // in range without content
	Bytes int64 `json:"bytes"` // of the file
}

// writer is what both formats have in common.
type writer interface {
	Put(t maptile.Tile, data []byte) error
	Finish(info tilescout.LayerInfo) error
}

// Archive writes the tiles within the bounds and zooms as MBTiles or PMTiles, by the ending of path. Either the whole
// file is there in the end or what was there before: a failure, a full disk or the end of ctx leaves nothing behind.
// tile answers ErrNotFound for what has no content; any other error ends the export.
func Archive(ctx context.Context, path string, info tilescout.LayerInfo, tile func(context.Context, maptile.Tile) (tilescout.Picture, error), o Options) (Report, error) {
	var report Report
	kind := strings.ToLower(filepath.Ext(path))
	if kind != ".mbtiles" && kind != ".pmtiles" {
		return report, fmt.Errorf("export to %s: a file ending in .mbtiles or .pmtiles: %w", path, tilescout.ErrBadInput)
	}
	if o.Least > o.Most || o.Most > 24 {
		return report, fmt.Errorf("zooms %d to %d: from 0 to 24, the least first: %w", o.Least, o.Most, tilescout.ErrBadInput)
	}
	total := 0
	for z := o.Least; z <= o.Most; z++ {
		for _, b := range o.Bounds {
			total += geo.CoverCount(b, z)
		}
		if total > MaxTiles {
			return report, fmt.Errorf("more than %d million tiles: give fewer zooms or a smaller box: %w", MaxTiles/1_000_000, tilescout.ErrBadInput)
		}
	}
	part, err := begin(path, o.Force)
	if err != nil {
		return report, err
	}
	defer os.Remove(part.Name()) // after the rename there is nothing to remove
	defer part.Close()
	var w writer
	if kind == ".pmtiles" {
		w, err = pmtiles.NewWriter(part, pmtiles.WriterOptions{Overlay: o.Overlay})
	} else {
		var m *mbtiles.Writer
		if m, err = mbtiles.NewWriter(ctx, part.Name(), mbtiles.WriterOptions{Overlay: o.Overlay}); err == nil {
			defer m.Close()
			w = m
		}
	}
	if err != nil {
		return report, fmt.Errorf("export to %s: %w", path, err)
	}
	for z := o.Least; z <= o.Most; z++ {
		if err := report.write(ctx, w, pmtiles.Order(o.Bounds, z), tile, func() {
			if o.Progress != nil {
				o.Progress(report.Tiles+report.Empty, total)
			}
		}); err != nil {
			return report, fmt.Errorf("export to %s: %w", path, err)
		}
	}
	if report.Tiles == 0 {
		return report, fmt.Errorf("export to %s: no tile within the bounds has content: %w", path, tilescout.ErrBadInput)
	}
	info.MinZoom, info.MaxZoom = o.Least, o.Most
	if err := w.Finish(info); err != nil {
		return report, fmt.Errorf("export to %s: %w", path, err)
	}
	if m, ok := w.(*mbtiles.Writer); ok {
		if err := m.Close(); err != nil {
			return report, fmt.Errorf("export to %s: %w", path, err)
		}
	}
	report.Bytes, err = publish(part, path)
	return report, err
}

// write asks for tiles a chunk at a time, side by side, and puts them in their order.
func (r *Report) write(ctx context.Context, w writer, tiles func(func(maptile.Tile) bool), tile func(context.Context, maptile.Tile) (tilescout.Picture, error), progress func()) error {
	var batch []maptile.Tile
	var failure error
	flush := func() bool {
		pictures := make([]tilescout.Picture, len(batch))
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(2 * runtime.GOMAXPROCS(0))
		for i, t := range batch {
			g.Go(func() error {
				p, err := tile(ctx, t)
				if errors.Is(err, tilescout.ErrNotFound) {
					return nil
				}
				if err != nil {
					return fmt.Errorf("tile %d/%d/%d: %w", t.Z, t.X, t.Y, err)
				}
				pictures[i] = p
				return nil
			})
		}
		if failure = g.Wait(); failure != nil {
			return false
		}
		for i, p := range pictures {
			if p.Data == nil {
				r.Empty++
				continue
			}
			if failure = w.Put(batch[i], p.Data); failure != nil {
				return false
			}
			r.Tiles++
		}
		batch = batch[:0]
		progress()
		return true
	}
	for t := range tiles {
		if failure = ctx.Err(); failure != nil {
			return failure
		}
		if batch = append(batch, t); len(batch) == chunk && !flush() {
			return failure
		}
	}
	if len(batch) > 0 {
		flush()
	}
	return failure
}
