package cogwrite

import (
	"bytes"
	"fmt"
	"image"
	"io"
	"sync"

	"github.com/klauspost/compress/zlib"
)

// packer is what packing a block needs, whose tables outweigh the block.
type packer struct {
	out bytes.Buffer
	z   *zlib.Writer
	row [BlockSide * 4]byte
}

var packers = sync.Pool{New: func() any {
	z, err := zlib.NewWriterLevel(io.Discard, zlib.DefaultCompression)
	if err != nil {
		panic(err) // only for a level that is not defined
	}
	return &packer{z: z}
}}

// store packs a block with horizontal differences (predictor 2) and puts it into the spool.
func (p *pyramid) store(k, x, y int, img *image.NRGBA) error {
	c := packers.Get().(*packer)
	defer packers.Put(c)
	c.out.Reset()
	c.z.Reset(&c.out)
	for line := range BlockSide {
		src := img.Pix[line*img.Stride:][:BlockSide*4]
		copy(c.row[:4], src)
		for i := 4; i < len(c.row); i++ {
			c.row[i] = src[i] - src[i-4]
		}
		if _, err := c.z.Write(c.row[:]); err != nil {
			return fmt.Errorf("cogwrite: pack a block: %w", err)
		}
	}
	if err := c.z.Close(); err != nil {
		return fmt.Errorf("cogwrite: pack a block: %w", err)
	}
	n := c.out.Len()
	p.mu.Lock()
	at := p.end
	p.end += int64(n)
	l := p.levels[k]
	l.blocks[y*l.across()+x] = place{at, uint32(n)}
	p.mu.Unlock()
	if _, err := p.spool.WriteAt(c.out.Bytes(), at); err != nil {
		return fmt.Errorf("cogwrite: spool a block: %w", err)
	}
	return nil
}
