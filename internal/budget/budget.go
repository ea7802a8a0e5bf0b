// Package budget is one bound on the memory that decoders hold at the same time, whatever format they decode.
//
//	b := budget.New(256 << 20)
//	release, err := b.Acquire(ctx, declared)
//	if err != nil {
//		return err // the work would never fit, or the wait was too long
//	}
//	defer release()
//
// Who decodes says beforehand how many bytes the result will take, from a header that was checked; see SEC reference §1.3.
package budget

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"github.com/tilescout/tilescout"
)

// Budget is a number of bytes that may be in flight. Safe for concurrent use. A nil Budget has no bound.
type Budget struct {
	total int64
	free  *semaphore.Weighted
	used  atomic.Int64
	peak  atomic.Int64
}

// Default is what a server gives to decoding if nobody says: 256 MiB, or a quarter of a smaller memory limit.
// limit is the process's memory limit in bytes; 0 means none.
func Default(limit int64) int64 {
	if limit > 0 {
		return min(256<<20, limit/4)
	}
	return 256 << 20
}

// New returns a budget of that many bytes.
func New(bytes int64) *Budget {
	return &Budget{total: bytes, free: semaphore.NewWeighted(bytes)}
}

// Acquire waits until n bytes are free and returns what gives them back, which may be called twice. More than there
// is in all is ErrBadInput at once: it would never fit. A context that ends meanwhile is ErrBusy with the context's error.
func (b *Budget) Acquire(ctx context.Context, n int64) (release func(), err error) {
	if b == nil || n <= 0 {
		return func() {}, nil
	}
	if n > b.total {
		return nil, fmt.Errorf("needs %d bytes decoded, more than the memory budget of %d: %w", n, b.total, tilescout.ErrBadInput)
	}
	if err := b.free.Acquire(ctx, n); err != nil {
		return nil, fmt.Errorf("wait for %d bytes of the memory budget: %w: %w", n, tilescout.ErrBusy, err)
	}
	now := b.used.Add(n)
	for {
		old := b.peak.Load()
		if now <= old || b.peak.CompareAndSwap(old, now) {
			break
		}
	}
	return sync.OnceFunc(func() {
		b.used.Add(-n)
		b.free.Release(n)
	}), nil
}

// Share is Acquire of n bytes, or of all that there are where n is more: for work that was bounded elsewhere and is then
// done alone.
func (b *Budget) Share(ctx context.Context, n int64) (release func(), err error) {
	if b != nil {
		n = min(n, b.total)
	}
	return b.Acquire(ctx, n)
}

// Usage returns bytes in flight now, the most there ever were, and the bound. A nil Budget has none of them.
func (b *Budget) Usage() (now, peak, total int64) {
	if b == nil {
		return 0, 0, 0
	}
	return b.used.Load(), b.peak.Load(), b.total
}
