// Package picture serves a photograph that has no place on the earth as a layer of tiles, so that one can search
// inside it: its pixels are laid on the map one to one at zoom 17, from longitude 0 and latitude 0 to the south-east.
//
//	src, err := picture.Open(ctx, "harbour.jpg", tilescout.LayerInfo{ID: "harbour"}, picture.Options{})
package picture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"
	"golang.org/x/image/draw"
	_ "golang.org/x/image/webp" // decoder

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/budget"
	"github.com/tilescout/tilescout/internal/reject"
	"github.com/tilescout/tilescout/tileserver/source"
)

// ErrTooLarge refuses a picture whose pixels would not fit into memory.
var ErrTooLarge = reject.New("picture", "ErrPictureTooLarge", "the picture has too many pixels")

const (
	// Zoom is where one pixel of the picture is one pixel of a tile: at the equator 1.2 m on the ground, which is
	// about what models of aerial scenes were trained on.
	Zoom maptile.Zoom = 17
	side              = 256
	// first is the column and row of the tile at longitude 0, latitude 0.
	first = 1 << (Zoom - 1)
)

// Options are the limits; the zero value works.
type Options struct {
	MaxPixels int64          // 0 means 40 million: about 210 MB while the layer is open
	MaxBytes  int64          // of the file; 0 means 256 MiB
	Memory    *budget.Budget // of pictures being decoded; nil has no bound. The open layer itself is not of it
}

// Source is an open picture. It is safe for concurrent use.
type Source struct {
	info   tilescout.LayerInfo
	width  int
	height int

	mu     sync.RWMutex // guards levels
	levels []*image.NRGBA
}

// Open decodes a PNG, JPEG or WebP file. Errors are tilescout.ErrBadInput. info gives what the file cannot say.
func Open(ctx context.Context, path string, info tilescout.LayerInfo, o Options) (*Source, error) {
	if o.MaxPixels <= 0 {
		o.MaxPixels = 40_000_000
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 256 << 20
	}
	stat, err := os.Stat(path)
	if err != nil {
		var at *fs.PathError
		errors.As(err, &at)
		return nil, fmt.Errorf("picture %s: %v: %w", path, at.Err, tilescout.ErrBadInput)
	}
	if stat.Size() > o.MaxBytes {
		return nil, fmt.Errorf("picture %s: %d MB, at most %d MB: %w", path, stat.Size()>>20, o.MaxBytes>>20, ErrTooLarge)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("picture %s: %v: %w", path, err, tilescout.ErrBadInput)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	head, err := source.Header(data)
	if err != nil {
		return nil, fmt.Errorf("picture %s: %w", path, err)
	}
	if n := int64(head.Width) * int64(head.Height); n > o.MaxPixels {
		return nil, fmt.Errorf("picture %s: %d×%d pixels, at most %d million (make a GeoTIFF of it: gdal_translate): %w",
			path, head.Width, head.Height, o.MaxPixels/1_000_000, ErrTooLarge)
	}
	// As the format holds it, as NRGBA and a third for the smaller levels.
	release, err := o.Memory.Share(ctx, int64(head.Width)*int64(head.Height)*10)
	if err != nil {
		return nil, fmt.Errorf("picture %s: %w", path, err)
	}
	defer release()
	m, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("picture %s: %v: %w", path, err, tilescout.ErrBadInput)
	}
	s := &Source{width: m.Bounds().Dx(), height: m.Bounds().Dy()}
	full := image.NewNRGBA(image.Rect(0, 0, s.width, s.height))
	draw.Draw(full, full.Rect, m, m.Bounds().Min, draw.Src)
	s.levels = append(s.levels, full)
	for z := Zoom; z > 0 && max(full.Rect.Dx(), full.Rect.Dy()) > side; z-- {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		half := image.NewNRGBA(image.Rect(0, 0, (full.Rect.Dx()+1)/2, (full.Rect.Dy()+1)/2))
		draw.BiLinear.Scale(half, half.Rect, full, full.Rect, draw.Src, nil)
		s.levels = append(s.levels, half)
		full = half
	}
	if info.Title == "" {
		info.Title = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	}
	info.MinZoom, info.MaxZoom = Zoom-maptile.Zoom(len(s.levels)-1), Zoom
	info.TileSize, info.Version = side, source.ETag(data)
	info.Bound = orb.Bound{Min: orb.Point{0, Place(0, float64(s.height)).Lat()}, Max: orb.Point{Place(float64(s.width), 0).Lon(), 0}}
	s.info = info
	return s, nil
}

// Place is where pixel (x, y), counted from the picture's upper left corner, lies on the map, in degrees.
func Place(x, y float64) orb.Point {
	const world = side << Zoom
	lon := x / world * 360
	lat := math.Atan(math.Sinh(-2*math.Pi*y/world)) * 180 / math.Pi
	return orb.Point{lon, lat}
}

// Pixels is the part of the picture that a tile shows, in pixels of the picture.
func (s *Source) Pixels(t maptile.Tile) image.Rectangle {
	if t.Z > Zoom { // part of a tile of the last zoom
		n := side >> (t.Z - Zoom)
		x, y := int(t.X)-first<<(t.Z-Zoom), int(t.Y)-first<<(t.Z-Zoom)
		return image.Rect(x*n, y*n, x*n+n, y*n+n).Intersect(image.Rect(0, 0, s.width, s.height))
	}
	n := side << (Zoom - t.Z)
	x, y := int(t.X)-first>>(Zoom-t.Z), int(t.Y)-first>>(Zoom-t.Z)
	return image.Rect(x*n, y*n, x*n+n, y*n+n).Intersect(image.Rect(0, 0, s.width, s.height))
}

// Image is the whole picture. Nobody writes to it; nil after Close.
func (s *Source) Image() *image.NRGBA {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.levels == nil {
		return nil
	}
	return s.levels[0]
}

// Info implements source.Source.
func (s *Source) Info() tilescout.LayerInfo { return s.info }

// Close implements source.Source.
func (s *Source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.levels = nil
	return nil
}

// Tile implements source.Source: JPEG inside the picture, PNG with transparency at its edges.
func (s *Source) Tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	if err := ctx.Err(); err != nil {
		return tilescout.Picture{}, err
	}
	if !source.InGrid(t, s.info.MinZoom, s.info.MaxZoom) {
		return tilescout.Picture{}, fmt.Errorf("tile %d/%d/%d: zooms %d to %d: %w", t.Z, t.X, t.Y, s.info.MinZoom, s.info.MaxZoom, tilescout.ErrOutOfRange)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.levels == nil {
		return tilescout.Picture{}, fmt.Errorf("layer %s is closed: %w", s.info.ID, tilescout.ErrUnavailable)
	}
	depth := Zoom - t.Z
	level := s.levels[depth]
	x, y := int(t.X)-first>>depth, int(t.Y)-first>>depth
	window := image.Rect(x*side, y*side, x*side+side, y*side+side)
	inside := window.Intersect(level.Rect)
	if inside.Empty() {
		return tilescout.Picture{}, fmt.Errorf("tile %d/%d/%d lies beside the picture: %w", t.Z, t.X, t.Y, tilescout.ErrNotFound)
	}
	tile := image.NewNRGBA(image.Rect(0, 0, side, side))
	draw.Draw(tile, inside.Sub(window.Min), level, inside.Min, draw.Src)
	var out bytes.Buffer
	var err error
	mediaType := tilescout.PNG
	if tile.Opaque() {
		mediaType = tilescout.JPEG
		err = jpeg.Encode(&out, opaque{tile}, &jpeg.Options{Quality: 92})
	} else {
		err = png.Encode(&out, tile)
	}
	if err != nil {
		return tilescout.Picture{}, fmt.Errorf("tile %d/%d/%d: encode: %w", t.Z, t.X, t.Y, err)
	}
	return tilescout.Picture{Data: out.Bytes(), MediaType: mediaType, ETag: source.ETag(out.Bytes())}, nil
}

// opaque lets the JPEG encoder take an NRGBA without a premultiplied copy.
type opaque struct{ *image.NRGBA }

// ColorModel implements image.Image.
func (opaque) ColorModel() color.Model { return color.NRGBAModel }
