package remote

import (
	"context"
	"errors"
)

// flight is one request under way for a run of blocks.
type flight struct {
	first, last int64
	done        chan struct{} // closed once blocks and err are set
	blocks      [][]byte
	err         error
}

// block returns block k. What is missing from k to wanted is fetched with it in one request, up to maxRun blocks; a
// block that another reader is fetching is waited for.
func (f *File) block(ctx context.Context, k, wanted int64) ([]byte, error) {
	for {
		if f.ctx.Err() != nil {
			return nil, f.ctx.Err()
		}
		// The cache's own single flight is by block; ours is by run, so the load joins or starts one.
		b, err := f.o.Cache.Get(ctx, Key{f.key, k}, func(load context.Context) ([]byte, error) {
			return f.load(load, k, wanted)
		})
		// Another reader's run that we joined may have ended with that reader.
		if errors.Is(err, context.Canceled) && ctx.Err() == nil && f.ctx.Err() == nil {
			continue
		}
		return b, err
	}
}

func (f *File) load(ctx context.Context, k, wanted int64) ([]byte, error) {
	f.mu.Lock()
	if fl, ok := f.flights[k]; ok {
		f.mu.Unlock()
		select {
		case <-fl.done:
			if fl.err != nil {
				return nil, fl.err
			}
			return fl.blocks[k-fl.first], nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	fl := &flight{first: k, last: k, done: make(chan struct{})}
	f.flights[k] = fl
	for fl.last < min(wanted, k+maxRun-1, f.blocks()-1) {
		next := fl.last + 1
		if _, held := f.o.Cache.Peek(Key{f.key, next}); held || f.flights[next] != nil {
			break
		}
		f.flights[next] = fl
		fl.last = next
	}
	f.mu.Unlock()

	fl.err = errors.New("remote: request ended its goroutine")
	defer func() {
		f.mu.Lock()
		for i := fl.first; i <= fl.last; i++ {
			delete(f.flights, i)
		}
		f.mu.Unlock()
		close(fl.done)
	}()
	fl.blocks, fl.err = f.fetch(ctx, fl.first, fl.last)
	if fl.err != nil {
		return nil, fl.err
	}
	// The first block is kept by the caller's Get.
	for i, b := range fl.blocks[1:] {
		f.o.Cache.Add(Key{f.key, fl.first + 1 + int64(i)}, b)
	}
	return fl.blocks[0], nil
}

// fetch asks for a run of blocks, and again where that may help.
func (f *File) fetch(ctx context.Context, first, last int64) ([][]byte, error) {
	if err := f.slots.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer f.slots.Release(1)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(f.ctx, stop)()
	backoff := f.o.Backoff
	for try := 1; ; try++ {
		data, err := f.request(ctx, first, last)
		if err == nil {
			return split(data), nil
		}
		if errors.Is(err, ErrChanged) {
			f.changed.Store(true)
		}
		var again *retry
		if !errors.As(err, &again) || try == maxTries {
			return nil, err
		}
		if sleep(ctx, again.wait(backoff)) != nil {
			return nil, err
		}
		backoff *= 2
	}
}

// split cuts a run into blocks. Each has memory of its own, so that one that stays in the cache does not hold the run.
func split(data []byte) [][]byte {
	var out [][]byte
	for len(data) > 0 {
		n := min(len(data), blockSize)
		out = append(out, append(make([]byte, 0, n), data[:n]...))
		data = data[n:]
	}
	return out
}
