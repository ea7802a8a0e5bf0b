package geotiff

import (
	"cmp"
	"context"
	"fmt"
	"image"
	"sync/atomic"

	"github.com/tilescout/tilescout/cache"
	"github.com/tilescout/tilescout/internal/budget"
)

// Pool is what files share: the decoded blocks that are kept, and the memory that renders under way may hold together.
type Pool struct {
	blocks *cache.Cache[blockKey, *block]
	memory *budget.Budget
	files  atomic.Uint64
}

// ownMemory is what renders may hold together where nobody gives them a budget.
const ownMemory = 256 << 20

// NewPool returns a pool that keeps cacheBytes of decoded blocks, 0 meaning 64 MiB, and whose renders take what they hold
// from memory, which other decoders may share; others wait. nil is a budget of its own, of 256 MiB.
func NewPool(cacheBytes int64, memory *budget.Budget) *Pool {
	if memory == nil {
		memory = budget.New(ownMemory)
	}
	return &Pool{
		blocks: cache.New(cmp.Or(cacheBytes, 64<<20), func(_ blockKey, b *block) int { return int(b.size()) }),
		memory: memory,
	}
}

// fits tells whether that many bytes may ever be held.
func (p *Pool) fits(n int64) bool {
	_, _, total := p.memory.Usage()
	return n <= total
}

type blockKey struct {
	file  string
	level int
	mask  bool
	i, j  int
}

// block returns a decoded block from the pool or decodes it. A caller may leave with its context; the decode ends when
// the last one has left.
func (f *File) block(ctx context.Context, l *level, mask bool, i, j int) (*block, error) {
	return f.pool.blocks.Get(ctx, blockKey{f.name, l.index, mask, i, j}, func(ctx context.Context) (*block, error) {
		return f.decode(ctx, l, mask, i, j)
	})
}

// decode never panics: decoders of other libraries meet bytes here that no one has checked.
func (f *File) decode(ctx context.Context, l *level, mask bool, i, j int) (b *block, err error) {
	defer func() {
		if r := recover(); r != nil {
			b, err = nil, fmt.Errorf("decoder failed on level %d, block %d,%d: %v: %w", l.index, i, j, r, ErrBlockSize)
		}
	}()
	if mask {
		return f.decodeMask(ctx, l, i, j)
	}
	return f.decodeImage(ctx, l, i, j)
}

// reserve waits until the memory for a window of a level is free and returns what gives it back.
func (f *File) reserve(ctx context.Context, l *level, window image.Rectangle) (release func(), err error) {
	n := 4*int64(window.Dx())*int64(window.Dy()) + // the window
		2*(l.rowBytes()+4*int64(l.blockW))*int64(l.blockH)*int64(l.planes) // a block: stored, decoded, composed
	release, err = f.pool.memory.Share(ctx, n)
	if err != nil {
		return nil, fmt.Errorf("geotiff: %w", err)
	}
	return release, nil
}
