// Package geotiff serves tiles rendered from a GeoTIFF file, Cloud-Optimized or not, with the overviews (.ovr) and
// the mask (.msk) beside it.
//
//	src, err := geotiff.Open(ctx, "harbour.tif", tilescout.LayerInfo{ID: "harbour"})
//	defer src.Close()
//	pic, err := src.Tile(ctx, maptile.New(8389, 5420, 14))
package geotiff

import (
	"cmp"
	"context"
	"fmt"
	"image"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/geo/geotiff"
	"github.com/tilescout/tilescout/tileserver/source"
)

// Options of a file; the zero value works.
type Options struct {
	Quality  int           // of JPEG tiles, 1–100; 0 means 88
	PNG      bool          // encode opaque tiles as PNG too, not as JPEG
	Nearest  bool          // take the nearest pixel instead of mixing neighbours; for maps and classes
	Deadline time.Duration // for one tile; 0 means 5 s
	File     geotiff.Options

	Files        int // of a mosaic; 0 means 50,000
	OpenFiles    int // of a mosaic at the same time, each with up to two beside it; 0 means 64
	FilesPerTile int // zooms of which a tile would need more are none of the layer's; 0 means 64
}

// For returns the options with what spec says of bands and stretch.
func (o Options) For(spec source.Spec) Options {
	o.File.Bands, o.File.Stretch = spec.Bands, nil
	for i := 0; i+1 < len(spec.Stretch); i += 2 {
		o.File.Stretch = append(o.File.Stretch, geotiff.Range{Min: spec.Stretch[i], Max: spec.Stretch[i+1]})
	}
	return o
}

func (o *Options) setDefaults() {
	o.Quality = cmp.Or(min(max(o.Quality, 0), 100), 88)
	o.Deadline = cmp.Or(o.Deadline, 5*time.Second)
	o.Files = cmp.Or(max(o.Files, 0), 50_000)
	o.OpenFiles, o.FilesPerTile = cmp.Or(max(o.OpenFiles, 0), 64), cmp.Or(max(o.FilesPerTile, 0), 64)
}

// maxZoom is the deepest zoom that a file is said to have detail at: centimetres.
const maxZoom = 22

// Source is an open GeoTIFF. Nobody may write to the file while it is open.
type Source struct {
	o       Options
	info    tilescout.LayerInfo
	encoder encoder

	mu     sync.RWMutex // held for reading while a tile is rendered
	raster *raster      // guarded by mu; nil once closed
}

var (
	_ source.Source   = (*Source)(nil)
	_ source.Sized    = (*Source)(nil)
	_ source.Changing = (*Source)(nil)
)

// Open opens the file at path with default options. Of info, ID, title, description and attribution are kept, and
// the zooms if MaxZoom is given; the rest is found in the file. A file that is no GeoTIFF, or of a kind that is not
// read, is ErrBadInput.
func Open(ctx context.Context, path string, info tilescout.LayerInfo) (*Source, error) {
	return OpenWith(ctx, path, info, Options{})
}

// OpenWith is Open with options.
func OpenWith(ctx context.Context, path string, info tilescout.LayerInfo, o Options) (*Source, error) {
	o.setDefaults()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r, err := openRaster(path, o.File)
	if err != nil {
		return nil, fmt.Errorf("geotiff %s: %w", path, err)
	}
	return newSource(r, filepath.Base(path), info, o), nil
}

// OpenObject is OpenWith for a file that lies elsewhere, a Cloud-Optimized GeoTIFF best; name is its file name. The
// source closes the object, also if it does not open.
func OpenObject(ctx context.Context, object Object, name string, info tilescout.LayerInfo, o Options) (*Source, error) {
	o.setDefaults()
	if err := ctx.Err(); err != nil {
		object.Close()
		return nil, err
	}
	r, err := openObject(object, o.File)
	if err != nil {
		object.Close()
		return nil, fmt.Errorf("geotiff %s: %w", name, err)
	}
	return newSource(r, name, info, o), nil
}

func newSource(r *raster, name string, info tilescout.LayerInfo, o Options) *Source {
	s := &Source{o: o, info: info, raster: r}
	in := r.file.Info()
	if s.info.Title == "" {
		s.info.Title = strings.TrimSuffix(name, filepath.Ext(name))
	}
	s.info.Bound = layerBound(in.Bound)
	if s.info.MaxZoom == 0 {
		s.info.MaxZoom = nativeZoom(in)
		// Zooms of which a tile would need too much of a file without overviews are none of the layer's.
		if c := r.file.Coarsest(256); !math.IsInf(c, 1) {
			s.info.MinZoom = min(s.info.MaxZoom, maptile.Zoom(max(0, math.Ceil(math.Log2(2*geo.Half/256/c)))))
		}
	}
	o.describe(&s.info, r.sum)
	return s
}

// nativeZoom is the first zoom at least as fine as the file; a file cut on the grid of a zoom has that zoom.
func nativeZoom(in geotiff.Info) maptile.Zoom {
	native := math.Log2(2 * geo.Half / 256 / in.MetersPerPixel)
	return maptile.Zoom(max(0, min(maxZoom, math.Ceil(native-0.05))))
}

// describe fills in what follows from the options and the fingerprint of the content.
func (o Options) describe(info *tilescout.LayerInfo, sum uint64) {
	info.TileSize = 256
	info.MediaType = "" // JPEG inside, PNG along the edges
	if o.PNG {
		info.MediaType = tilescout.PNG
	}
	h := xxhash.New()
	fmt.Fprintf(h, "render 2 %x %d %v %v %v %v", sum, o.Quality, o.PNG, o.Nearest, o.File.Bands, o.File.Stretch)
	info.Version = fmt.Sprintf("%016x", h.Sum64())
}

// layerBound brings a file's box into ±180°. A box across that meridian cannot be said in one orb.Bound; it becomes
// the whole belt, so that nobody who covers it with tiles misses a part.
func layerBound(b orb.Bound) orb.Bound {
	if b.Max[0] > 180+1e-9 {
		b.Min[0], b.Max[0] = -180, 180
	}
	b.Max[0] = min(b.Max[0], 180)
	b.Min[1], b.Max[1] = max(b.Min[1], -90), min(b.Max[1], 90)
	return b
}

// Info describes the layer.
func (s *Source) Info() tilescout.LayerInfo { return s.info }

// Outdated tells whether the file, behind a URL, has been replaced since it was opened.
func (s *Source) Outdated() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.raster != nil && s.raster.changed != nil && s.raster.changed()
}

// Close closes the file when tiles being rendered are done. A second Close does nothing.
func (s *Source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.raster == nil {
		return nil
	}
	err := s.raster.Close()
	s.raster = nil
	return err
}

// Tile returns the tile rendered at 256 pixels a side: JPEG if it is opaque, PNG if not. A tile with no valid pixel
// is ErrNotFound; a file found damaged under it ErrBadInput; one that takes longer than the deadline ErrBusy.
func (s *Source) Tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	return s.TileSized(ctx, t, 256)
}

// TileSized is Tile at 256 or 512 pixels a side.
func (s *Source) TileSized(ctx context.Context, t maptile.Tile, size int) (tilescout.Picture, error) {
	pic, err := s.tile(ctx, t, size)
	if err != nil {
		return tilescout.Picture{}, fmt.Errorf("geotiff: layer %s, tile %d/%d/%d: %w", s.info.ID, t.Z, t.X, t.Y, err)
	}
	return pic, nil
}

func (s *Source) tile(ctx context.Context, t maptile.Tile, size int) (tilescout.Picture, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.raster == nil {
		return tilescout.Picture{}, fmt.Errorf("closed: %w", tilescout.ErrUnavailable)
	}
	return s.o.render(ctx, &s.encoder, s.info, t, size, func(ctx context.Context) (*image.NRGBA, time.Time, error) {
		img, err := s.raster.file.Render(ctx, mercator(t), size, size, s.o.resampling())
		return img, s.raster.modified, err
	})
}

func (o Options) resampling() geotiff.Resampling {
	if o.Nearest {
		return geotiff.Nearest
	}
	return geotiff.Bilinear
}

// render draws a tile within the deadline and encodes it.
func (o Options) render(ctx context.Context, e *encoder, info tilescout.LayerInfo, t maptile.Tile, size int,
	draw func(context.Context) (*image.NRGBA, time.Time, error)) (tilescout.Picture, error) {
	var none tilescout.Picture
	if size != 256 && size != 512 {
		return none, fmt.Errorf("%d pixels a side, want 256 or 512: %w", size, tilescout.ErrBadInput)
	}
	if !source.InGrid(t, info.MinZoom, info.MaxZoom) {
		return none, tilescout.ErrOutOfRange
	}
	if err := ctx.Err(); err != nil {
		return none, err
	}
	limited, cancel := context.WithTimeout(ctx, o.Deadline)
	defer cancel()
	img, modified, err := draw(limited)
	if err != nil {
		switch {
		case ctx.Err() != nil:
			return none, ctx.Err()
		case limited.Err() != nil:
			return none, fmt.Errorf("not ready after %v; overviews make it fast: gdaladdo FILE: %w", o.Deadline, tilescout.ErrBusy)
		}
		return none, err
	}
	data, mediaType, err := e.encode(img, o)
	if err != nil {
		return none, err
	}
	if data == nil {
		return none, fmt.Errorf("nothing there: %w", tilescout.ErrNotFound)
	}
	return tilescout.Picture{Data: data, MediaType: mediaType, ETag: source.ETag(data), Modified: modified}, nil
}

// mercator is the tile's box in EPSG:3857 metres.
func mercator(t maptile.Tile) orb.Bound {
	side := math.Ldexp(2*geo.Half, -int(t.Z))
	x, y := -geo.Half+float64(t.X)*side, geo.Half-float64(t.Y)*side
	return orb.Bound{Min: orb.Point{x, y - side}, Max: orb.Point{x + side, y}}
}
