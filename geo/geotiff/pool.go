package geotiff

import (
	"cmp"
	"context"
	"fmt"
	"image"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"github.com/tilescout/tilescout/cache"
)

// Pool is what files share: the decoded blocks that are kept, and the memory that renders under way may hold together.
type Pool struct {
	blocks *cache.Cache[blockKey, *block]
	memory *semaphore.Weighted
	limit  int64 // of memory
	files  atomic.Uint64
}

// NewPool returns a pool that keeps cacheBytes of decoded blocks, 0 meaning 64 MiB, and lets renders hold memory bytes
// together, 0 meaning 256 MiB; others wait.
func NewPool(cacheBytes, memory int64) *Pool {
	memory = cmp.Or(memory, 256<<20)
	return &Pool{
		blocks: cache.New(cmp.Or(cacheBytes, 64<<20), func(_ blockKey, b *block) int { return int(b.size()) }),
		memory: semaphore.NewWeighted(memory), limit: memory,
	}
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
	n = min(n, f.pool.limit)
	if err := f.pool.memory.Acquire(ctx, n); err != nil {
		return nil, fmt.Errorf("geotiff: wait for memory: %w", err)
	}
	return func() { f.pool.memory.Release(n) }, nil
}
