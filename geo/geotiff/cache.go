package geotiff

import (
	"context"
	"fmt"
	"image"
)

type blockKey struct {
	level int
	mask  bool
	i, j  int
}

// flight is a block that is being decoded.
type flight struct {
	done  chan struct{}
	block *block
	err   error
}

// block returns a decoded block from the cache, from a decode under way, or decodes it. A caller may leave
// with its context; the decode, which is bounded, goes on for the others.
func (f *File) block(ctx context.Context, l *level, mask bool, i, j int) (*block, error) {
	key := blockKey{l.index, mask, i, j}
	f.mu.Lock()
	if b, ok := f.blocks.Get(key); ok {
		f.mu.Unlock()
		return b, nil
	}
	if fl, ok := f.flights[key]; ok {
		f.mu.Unlock()
		select {
		case <-fl.done:
			return fl.block, fl.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	fl := &flight{done: make(chan struct{})}
	f.flights[key] = fl
	f.mu.Unlock()

	fl.block, fl.err = f.decode(context.WithoutCancel(ctx), l, mask, i, j)

	f.mu.Lock()
	delete(f.flights, key)
	if fl.err == nil {
		f.held += fl.block.size()
		f.blocks.Add(key, fl.block)
		for f.held > f.keep && f.blocks.Len() > 1 {
			f.blocks.RemoveOldest()
		}
	}
	f.mu.Unlock()
	close(fl.done)
	return fl.block, fl.err
}

// decode never panics: decoders of other libraries meet bytes here that no one has checked.
func (f *File) decode(ctx context.Context, l *level, mask bool, i, j int) (b *block, err error) {
	defer func() {
		if r := recover(); r != nil {
			b, err = nil, fmt.Errorf("decoder failed on level %d, block %d,%d: %v: %w", l.index, i, j, r, ErrBlockSize)
		}
	}()
	if mask {
		return f.decodeMask(l, i, j)
	}
	return f.decodeImage(ctx, l, i, j)
}

// reserve waits until the memory for a window of a level is free and returns what gives it back.
func (f *File) reserve(ctx context.Context, l *level, window image.Rectangle) (release func(), err error) {
	n := 4*int64(window.Dx())*int64(window.Dy()) + // the window
		2*(l.rowBytes()+4*int64(l.blockW))*int64(l.blockH)*int64(l.planes) // a block: stored, decoded, composed
	n = min(n, f.limit)
	if err := f.memory.Acquire(ctx, n); err != nil {
		return nil, fmt.Errorf("geotiff: wait for memory: %w", err)
	}
	return func() { f.memory.Release(n) }, nil
}
