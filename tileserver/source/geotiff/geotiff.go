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
	"errors"
	"fmt"
	"io"
	"math"
	"os"
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
}

// maxZoom is the deepest zoom that a file is said to have detail at: centimetres.
const maxZoom = 22

// Source is an open GeoTIFF. Nobody may write to the file while it is open.
type Source struct {
	o        Options
	info     tilescout.LayerInfo
	file     *geotiff.File
	modified time.Time
	encoder  encoder

	mu     sync.RWMutex // held for reading while a tile is rendered
	files  []*os.File   // guarded by mu; nil once closed
	closed bool         // guarded by mu
}

var (
	_ source.Source = (*Source)(nil)
	_ source.Sized  = (*Source)(nil)
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
	s := &Source{o: o, info: info}
	if err := s.open(path); err != nil {
		s.Close()
		return nil, fmt.Errorf("geotiff %s: %w", path, err)
	}
	return s, nil
}

func (s *Source) open(path string) error {
	sum := xxhash.New()
	main, size, err := s.openFile(path, sum)
	if err != nil {
		return err
	}
	if s.o.File.Overviews, err = s.sidecar(path+".ovr", sum); err != nil {
		return err
	}
	if s.o.File.Mask, err = s.sidecar(path+".msk", sum); err != nil {
		return err
	}
	if s.file, err = geotiff.Open(main, size, s.o.File); err != nil {
		return err
	}
	if err := s.file.Georeference(); err != nil {
		return err
	}
	fmt.Fprintf(sum, "render 2 %d %v %v %v %v", s.o.Quality, s.o.PNG, s.o.Nearest, s.o.File.Bands, s.o.File.Stretch)
	s.describe(path, fmt.Sprintf("%016x", sum.Sum64()))
	return nil
}

// sidecar opens the file at path, if there is one.
func (s *Source) sidecar(path string, sum io.Writer) (*geotiff.Sidecar, error) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil, nil
	}
	f, size, err := s.openFile(path, sum)
	if err != nil {
		return nil, fmt.Errorf("%s beside it: %w", filepath.Base(path), err)
	}
	return &geotiff.Sidecar{Reader: f, Size: size}, nil
}

// openFile opens a regular file and adds its size, time and first bytes to the fingerprint.
func (s *Source) openFile(path string, sum io.Writer) (*os.File, int64, error) {
	// A pipe or device would block or never end.
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", pathError(err), tilescout.ErrBadInput)
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("not a regular file: %w", tilescout.ErrBadInput)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", pathError(err), tilescout.ErrBadInput)
	}
	s.files = append(s.files, f)
	if s.modified.Before(info.ModTime()) {
		s.modified = info.ModTime()
	}
	fmt.Fprintf(sum, "%d %d;", info.Size(), info.ModTime().UnixNano())
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, 64<<10)); err != nil {
		return nil, 0, fmt.Errorf("read: %w", pathError(err))
	}
	return f, info.Size(), nil
}

// pathError drops the operation and the path, which the caller says already.
func pathError(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// describe fills in what the layer says of itself.
func (s *Source) describe(path, version string) {
	in := s.file.Info()
	if s.info.Title == "" {
		s.info.Title = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	}
	s.info.Bound = layerBound(in.Bound)
	if s.info.MaxZoom == 0 {
		// The first zoom at least as fine as the file; a file cut on the grid of a zoom has that zoom.
		native := math.Log2(2 * geo.Half / 256 / in.MetersPerPixel)
		s.info.MinZoom, s.info.MaxZoom = 0, maptile.Zoom(max(0, min(maxZoom, math.Ceil(native-0.05))))
	}
	s.info.TileSize = 256
	s.info.MediaType = "" // JPEG inside, PNG along the edges
	if s.o.PNG {
		s.info.MediaType = tilescout.PNG
	}
	s.info.Version = version
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

// Close closes the file when tiles being rendered are done. A second Close does nothing.
func (s *Source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var err error
	for _, f := range s.files {
		err = errors.Join(err, f.Close())
	}
	s.files = nil
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
	var none tilescout.Picture
	if size != 256 && size != 512 {
		return none, fmt.Errorf("%d pixels a side, want 256 or 512: %w", size, tilescout.ErrBadInput)
	}
	if !source.InGrid(t, s.info.MinZoom, s.info.MaxZoom) {
		return none, tilescout.ErrOutOfRange
	}
	if err := ctx.Err(); err != nil {
		return none, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return none, fmt.Errorf("closed: %w", tilescout.ErrUnavailable)
	}
	limited, cancel := context.WithTimeout(ctx, s.o.Deadline)
	defer cancel()
	how := geotiff.Bilinear
	if s.o.Nearest {
		how = geotiff.Nearest
	}
	img, err := s.file.Render(limited, mercator(t), size, size, how)
	if err != nil {
		if limited.Err() != nil && ctx.Err() == nil {
			return none, fmt.Errorf("not ready after %v; overviews make it fast: gdaladdo FILE: %w", s.o.Deadline, tilescout.ErrBusy)
		}
		return none, err
	}
	data, mediaType, err := s.encoder.encode(img, s.o)
	if err != nil {
		return none, err
	}
	if data == nil {
		return none, fmt.Errorf("nothing there: %w", tilescout.ErrNotFound)
	}
	return tilescout.Picture{Data: data, MediaType: mediaType, ETag: source.ETag(data), Modified: s.modified}, nil
}

// mercator is the tile's box in EPSG:3857 metres.
func mercator(t maptile.Tile) orb.Bound {
	side := math.Ldexp(2*geo.Half, -int(t.Z))
	x, y := -geo.Half+float64(t.X)*side, geo.Half-float64(t.Y)*side
	return orb.Bound{Min: orb.Point{x, y - side}, Max: orb.Point{x + side, y}}
}
