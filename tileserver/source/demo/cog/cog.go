// Package cog writes Cloud-Optimized GeoTIFF: JPEG tiles of 512 pixels, overviews by halves down to one tile,
// all directories before the data, the smallest overview's data first.
package cog

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/tilescout/tilescout"
)

// TileSide is the side of a tile in pixels.
const TileSide = 512

// maxPixels bounds the size of an image: compressed tiles and a quarter-size copy are held in memory.
const maxPixels = 1 << 29

// Image is what gets written: RGB rows on demand.
type Image interface {
	// Size in pixels.
	Size() (width, height int)
	// Rows puts n rows from y on into dst, three bytes a pixel. It is called once for every row, in order.
	Rows(ctx context.Context, y, n int, dst []byte) error
}

// Options say where the image lies and how it is packed.
type Options struct {
	EPSG      int                   // of a projected CRS in metres
	West      float64               // easting of the outer left edge
	North     float64               // northing of the outer upper edge
	PixelSize float64               // metres of the CRS a pixel
	Quality   int                   // JPEG; 0 means 88
	Text      string                // ImageDescription, ASCII
	Copyright string                // ASCII
	Progress  func(done, total int) // after every row of tiles; may be nil
}

// level is one directory: the image or an overview.
type level struct {
	width, height int
	tiles         [][]byte // compressed, row-major
}

func (l *level) across() int { return (l.width + TileSide - 1) / TileSide }
func (l *level) down() int   { return (l.height + TileSide - 1) / TileSide }

// Write encodes src as one classic TIFF to w. Memory: one row of tiles, an RGB copy at half size (which the
// overviews come from), and the compressed tiles. Errors: ErrBadInput for a size or option out of range, what
// src or w return, or ctx's.
func Write(ctx context.Context, w io.Writer, src Image, o Options) error {
	width, height := src.Size()
	if width < 1 || height < 1 || width > 1<<20 || height > 1<<20 || width*height > maxPixels {
		return fmt.Errorf("cog: image of %d×%d pixels: %w", width, height, tilescout.ErrBadInput)
	}
	if o.PixelSize <= 0 || o.EPSG < 1 || o.EPSG > 65535 {
		return fmt.Errorf("cog: EPSG %d, pixel size %g: %w", o.EPSG, o.PixelSize, tilescout.ErrBadInput)
	}
	quality := cmp.Or(o.Quality, 88)
	full := &level{width: width, height: height}
	hw, hh := (width+1)/2, (height+1)/2
	half := make([]byte, hw*hh*3)
	rows := full.down()
	strip := make([]byte, width*min(TileSide, height)*3)
	for k := range rows {
		y := k * TileSide
		n := min(TileSide, height-y)
		part := strip[:width*n*3]
		if err := src.Rows(ctx, y, n, part); err != nil {
			return fmt.Errorf("cog: rows %d…%d: %w", y, y+n, err)
		}
		tiles, err := encodeRow(ctx, part, width, n, quality)
		if err != nil {
			return err
		}
		full.tiles = append(full.tiles, tiles...)
		halve(part, width, n, half[y/2*hw*3:])
		if o.Progress != nil {
			o.Progress(k+1, rows)
		}
	}
	levels := []*level{full}
	for pix, pw, ph := half, hw, hh; max(levels[len(levels)-1].width, levels[len(levels)-1].height) > TileSide; {
		l := &level{width: pw, height: ph}
		for y := 0; y < ph; y += TileSide {
			n := min(TileSide, ph-y)
			tiles, err := encodeRow(ctx, pix[y*pw*3:(y+n)*pw*3], pw, n, quality)
			if err != nil {
				return err
			}
			l.tiles = append(l.tiles, tiles...)
		}
		levels = append(levels, l)
		nw, nh := (pw+1)/2, (ph+1)/2
		next := make([]byte, nw*nh*3)
		halve(pix, pw, ph, next)
		pix, pw, ph = next, nw, nh
	}
	return assemble(w, levels, o)
}

// halve averages 2×2 pixels; an odd last row or column stands for itself.
func halve(src []byte, w, h int, dst []byte) {
	hw := (w + 1) / 2
	for y := 0; y < h; y += 2 {
		a := src[y*w*3:]
		b := src[min(y+1, h-1)*w*3:]
		out := dst[y/2*hw*3:]
		for x := 0; x < w; x += 2 {
			i, j := x*3, min(x+1, w-1)*3
			for k := range 3 {
				out[x/2*3+k] = byte((int(a[i+k]) + int(a[j+k]) + int(b[i+k]) + int(b[j+k]) + 2) / 4)
			}
		}
	}
}

// encodeRow compresses one row of tiles of h ≤ TileSide pixels; edge tiles are filled by repeating the edge.
func encodeRow(ctx context.Context, pix []byte, w, h, quality int) ([][]byte, error) {
	out := make([][]byte, (w+TileSide-1)/TileSide)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for k := range out {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			m := image.NewRGBA(image.Rect(0, 0, TileSide, TileSide))
			for y := range TileSide {
				row := pix[min(y, h-1)*w*3:]
				dst := m.Pix[y*m.Stride : (y+1)*m.Stride]
				for x := range TileSide {
					s := min(k*TileSide+x, w-1) * 3
					dst[4*x], dst[4*x+1], dst[4*x+2], dst[4*x+3] = row[s], row[s+1], row[s+2], 255
				}
			}
			var b bytes.Buffer
			if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: quality}); err != nil {
				return fmt.Errorf("cog: encode a tile: %w", err)
			}
			out[k] = b.Bytes()
			return nil
		})
	}
	return out, g.Wait()
}
