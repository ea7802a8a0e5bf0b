// Package cogwrite writes a Cloud-Optimized GeoTIFF: blocks of 512 pixels, RGBA in Deflate without loss or, if asked for,
// opaque in JPEG; overviews by halves down to one block, directories before the data, the smallest overview's data first. Memory does not grow with
// the picture: blocks are made, halved and packed in the order of a quadtree and wait in a spool file.
//
//	err := cogwrite.Write(ctx, out, spool, 4096, 2048, block, cogwrite.Options{EPSG: 3857, PixelSize: 0.6})
package cogwrite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/tilescout/tilescout"
)

// BlockSide is the side of a block in pixels.
const BlockSide = 512

// maxBlocks bounds what is remembered of blocks: 16 bytes each.
const maxBlocks = 1 << 23

// Options say where the picture lies; EPSG and PixelSize are needed.
type Options struct {
	EPSG        int     // of a projected CRS in metres
	West, North float64 // of the outer corner, in metres of the CRS
	PixelSize   float64 // metres of the CRS a pixel

	Quality     int                   // of JPEG, 1 to 100, which has no alpha: what is transparent gets black. 0 means Deflate
	Description string                // ImageDescription
	Copyright   string                //
	Parallel    int                   // blocks made at once; 0 means 4
	Progress    func(done, total int) // blocks of full size; calls do not overlap; may be nil
}

// Block returns the picture of the block in column x and row y, BlockSide pixels a side; pixels beyond the edge of the
// whole are ignored. nil means that nothing is there. It may be called from several goroutines at once, never twice for
// one block.
type Block func(ctx context.Context, x, y int) (*image.NRGBA, error)

// Spool holds packed blocks until all sizes are known: an empty *os.File that the caller removes.
type Spool interface {
	io.WriterAt
	io.ReaderAt
}

// level is one directory: the picture or an overview.
type level struct {
	width, height int
	blocks        []place // row-major
}

// place is where a packed block lies in the spool; a length of 0 is a block without content.
type place struct {
	offset int64
	length uint32
}

func (l *level) across() int { return (l.width + BlockSide - 1) / BlockSide }
func (l *level) down() int   { return (l.height + BlockSide - 1) / BlockSide }

// Write encodes a picture of width × height pixels to w. Errors: ErrBadInput for a size or an option out of range, what
// block, w or spool return, or ctx's.
func Write(ctx context.Context, w io.Writer, spool Spool, width, height int, block Block, o Options) error {
	o.Parallel = cmp.Or(max(o.Parallel, 0), 4)
	if width < 1 || height < 1 || width > math.MaxInt32 || height > math.MaxInt32 || (width/BlockSide+1)*(height/BlockSide+1) > maxBlocks {
		return fmt.Errorf("cogwrite: picture of %d × %d pixels, at most %d blocks of %d pixels may be: %w", width, height, maxBlocks, BlockSide, tilescout.ErrBadInput)
	}
	if !(o.PixelSize > 0) || o.EPSG < 1 || o.EPSG > math.MaxUint16 || o.Quality < 0 || o.Quality > 100 {
		return fmt.Errorf("cogwrite: EPSG %d, pixel size %g, quality %d: %w", o.EPSG, o.PixelSize, o.Quality, tilescout.ErrBadInput)
	}
	p := &pyramid{spool: spool, block: block, o: o, slots: semaphore.NewWeighted(int64(o.Parallel - 1))}
	for {
		l := &level{width: width, height: height}
		l.blocks = make([]place, l.across()*l.down())
		p.levels = append(p.levels, l)
		if max(width, height) <= BlockSide {
			break
		}
		width, height = (width+1)/2, (height+1)/2
	}
	p.total = len(p.levels[0].blocks)
	img, err := p.node(ctx, len(p.levels)-1, 0, 0)
	if err != nil {
		return err
	}
	p.free(img)
	return p.assemble(ctx, w)
}

// pyramid is the work of one Write.
type pyramid struct {
	levels []*level
	spool  Spool
	block  Block
	o      Options
	slots  *semaphore.Weighted // goroutines beside the first
	images sync.Pool

	mu    sync.Mutex
	end   int64 // of the spool; guarded by mu, as done
	done  int
	total int
}

func (p *pyramid) image() *image.NRGBA {
	if img, ok := p.images.Get().(*image.NRGBA); ok {
		clear(img.Pix)
		return img
	}
	return image.NewNRGBA(image.Rect(0, 0, BlockSide, BlockSide))
}

func (p *pyramid) free(img *image.NRGBA) {
	if img != nil {
		p.images.Put(img)
	}
}

// node makes and stores block (x, y) of level k and all beneath it; nil if nothing is there.
func (p *pyramid) node(ctx context.Context, k, x, y int) (*image.NRGBA, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var img *image.NRGBA
	var err error
	if k == 0 {
		img, err = p.leaf(ctx, x, y)
	} else {
		img, err = p.halved(ctx, k, x, y)
	}
	if err != nil || img == nil {
		return nil, err
	}
	return img, p.store(k, x, y, img)
}

func (p *pyramid) leaf(ctx context.Context, x, y int) (*image.NRGBA, error) {
	made, err := p.block(ctx, x, y)
	if err != nil {
		return nil, fmt.Errorf("cogwrite: block %d, %d: %w", x, y, err)
	}
	var img *image.NRGBA
	if made != nil {
		if made.Rect.Dx() != BlockSide || made.Rect.Dy() != BlockSide {
			return nil, fmt.Errorf("cogwrite: block %d, %d of %v pixels: %w", x, y, made.Rect.Size(), tilescout.ErrBadInput)
		}
		l := p.levels[0]
		wide, high := min(BlockSide, l.width-x*BlockSide), min(BlockSide, l.height-y*BlockSide)
		img = p.image()
		for row := range high { // what lies beyond the edge stays transparent
			copy(img.Pix[row*img.Stride:][:wide*4], made.Pix[row*made.Stride:][:wide*4])
		}
		if blank(img) {
			p.free(img)
			img = nil
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	if p.o.Progress != nil {
		p.o.Progress(p.done, p.total)
	}
	return img, nil
}

func blank(img *image.NRGBA) bool {
	for i := 3; i < len(img.Pix); i += 4 {
		if img.Pix[i] != 0 {
			return false
		}
	}
	return true
}

// halved makes a block of an overview from the four beneath it.
func (p *pyramid) halved(ctx context.Context, k, x, y int) (*image.NRGBA, error) {
	below := p.levels[k-1]
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	img := p.image()
	any := [4]bool{}
	for i := range 4 {
		cx, cy := 2*x+i%2, 2*y+i/2
		if cx >= below.across() || cy >= below.down() {
			continue
		}
		part := func() error {
			child, err := p.node(ctx, k-1, cx, cy)
			if err != nil || child == nil {
				return err
			}
			any[i] = true
			halve(child, img, i%2*BlockSide/2, i/2*BlockSide/2,
				min(BlockSide, below.width-cx*BlockSide), min(BlockSide, below.height-cy*BlockSide))
			p.free(child)
			return nil
		}
		if i < 3 && p.slots.TryAcquire(1) {
			g.Go(func() error {
				defer p.slots.Release(1)
				return part()
			})
		} else if err := part(); err != nil {
			stop()
			if other := g.Wait(); other != nil && errors.Is(err, context.Canceled) {
				err = other // which ended this part
			}
			return nil, err
		}
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if any == [4]bool{} {
		p.free(img)
		return nil, nil
	}
	return img, nil
}

// halve averages 2 × 2 pixels of src, of which wide × high count, into dst from (x, y) on. Colours weigh by their alpha,
// so that what is transparent lends no colour to an edge.
func halve(src, dst *image.NRGBA, x, y, wide, high int) {
	for row := 0; row < high; row += 2 {
		out := dst.Pix[(y+row/2)*dst.Stride+4*x:]
		rows := min(2, high-row)
		for col := 0; col < wide; col += 2 {
			cols := min(2, wide-col)
			var r, g, b, a uint32
			for dy := range rows {
				line := src.Pix[(row+dy)*src.Stride+4*col:]
				for dx := range cols {
					q := line[4*dx : 4*dx+4]
					w := uint32(q[3])
					r, g, b, a = r+uint32(q[0])*w, g+uint32(q[1])*w, b+uint32(q[2])*w, a+w
				}
			}
			if a == 0 {
				continue
			}
			n := uint32(rows * cols)
			q := out[col*2 : col*2+4]
			q[0], q[1], q[2], q[3] = uint8((r+a/2)/a), uint8((g+a/2)/a), uint8((b+a/2)/a), uint8((a+n/2)/n)
		}
	}
}
