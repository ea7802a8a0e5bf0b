package cogwrite

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"sync"

	"github.com/klauspost/compress/zlib"
)

// packer is what packing a block needs, whose tables outweigh the block.
type packer struct {
	out bytes.Buffer
	z   *zlib.Writer
	row [BlockSide * 4]byte

	rgba *image.RGBA // of JPEG; nil until then
}

var packers = sync.Pool{New: func() any {
	z, err := zlib.NewWriterLevel(io.Discard, zlib.DefaultCompression)
	if err != nil {
		panic(err) // only for a level that is not defined
	}
	return &packer{z: z}
}}

// store packs a block and puts it into the spool.
func (p *pyramid) store(k, x, y int, img *image.NRGBA) error {
	c := packers.Get().(*packer)
	defer packers.Put(c)
	c.out.Reset()
	l := p.levels[k]
	var err error
	if p.o.Quality > 0 {
		err = c.lossy(img, min(BlockSide, l.width-x*BlockSide), min(BlockSide, l.height-y*BlockSide), p.o.Quality)
	} else {
		err = c.exact(img)
	}
	if err != nil {
		return fmt.Errorf("cogwrite: pack a block: %w", err)
	}
	n := c.out.Len()
	p.mu.Lock()
	at := p.end
	p.end += int64(n)
	l.blocks[y*l.across()+x] = place{at, uint32(n)}
	p.mu.Unlock()
	if _, err := p.spool.WriteAt(c.out.Bytes(), at); err != nil {
		return fmt.Errorf("cogwrite: spool a block: %w", err)
	}
	return nil
}

// exact packs by Deflate, with horizontal differences (predictor 2).
func (c *packer) exact(img *image.NRGBA) error {
	c.z.Reset(&c.out)
	for line := range BlockSide {
		src := img.Pix[line*img.Stride:][:BlockSide*4]
		copy(c.row[:4], src)
		for i := 4; i < len(c.row); i++ {
			c.row[i] = src[i] - src[i-4]
		}
		if _, err := c.z.Write(c.row[:]); err != nil {
			return err
		}
	}
	return c.z.Close()
}

// lossy packs as JPEG. Of the block wide × high pixels are of the picture; the rest repeats the edge, which would
// otherwise ring into it.
func (c *packer) lossy(img *image.NRGBA, wide, high, quality int) error {
	if c.rgba == nil {
		c.rgba = image.NewRGBA(image.Rect(0, 0, BlockSide, BlockSide))
	}
	for y := range BlockSide {
		src, dst := img.Pix[min(y, high-1)*img.Stride:], c.rgba.Pix[y*c.rgba.Stride:][:BlockSide*4]
		for x := range BlockSide {
			s, d := src[4*min(x, wide-1):][:4], dst[4*x:][:4]
			a := uint16(s[3])
			d[0], d[1], d[2], d[3] = byte(uint16(s[0])*a/255), byte(uint16(s[1])*a/255), byte(uint16(s[2])*a/255), 255
		}
	}
	return jpeg.Encode(&c.out, c.rgba, &jpeg.Options{Quality: quality})
}
