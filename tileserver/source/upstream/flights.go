package xyz

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/paulmach/orb/maptile"
	"golang.org/x/sync/singleflight"

	"github.com/tilescout/tilescout"
)

var errClosed = fmt.Errorf("the source is closed: %w", tilescout.ErrUnavailable)

// flights fetches equal tiles once. A flight has a context of its own, which ends with its time limit, with the last
// caller who waits for it, or with close. The zero value is ready.
type flights struct {
	group   singleflight.Group
	running sync.WaitGroup

	mu     sync.Mutex // guards all below
	wanted map[string]*flight
	closed bool
}

type flight struct {
	ctx     context.Context
	cancel  context.CancelFunc
	waiting int
}

func (f *flights) do(ctx context.Context, t maptile.Tile, limit time.Duration, fetch func(context.Context) (tilescout.Picture, error)) (tilescout.Picture, error) {
	key := fmt.Sprintf("%d/%d/%d", t.Z, t.X, t.Y)
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return tilescout.Picture{}, errClosed
	}
	fl := f.wanted[key]
	if fl == nil {
		if f.wanted == nil {
			f.wanted = map[string]*flight{}
		}
		fl = &flight{}
		fl.ctx, fl.cancel = context.WithCancel(context.WithoutCancel(ctx))
		f.wanted[key] = fl
	}
	fl.waiting++
	// Under the lock: nobody can end this flight between our joining its count and our joining the group.
	ch := f.group.DoChan(key, func() (pic any, err error) {
		if !f.start() {
			return tilescout.Picture{}, errClosed
		}
		defer f.running.Done()
		defer func() {
			// Decoders read what strangers sent; a panic of theirs in this goroutine would end the program.
			if r := recover(); r != nil {
				err = fmt.Errorf("reading the answer panicked: %v: %w", r, tilescout.ErrUpstream)
			}
		}()
		limited, cancel := context.WithTimeout(fl.ctx, limit)
		defer cancel()
		return fetch(limited)
	})
	f.mu.Unlock()
	defer f.leave(key, fl)

	select {
	case r := <-ch:
		return f.result(ctx, r)
	case <-ctx.Done():
		return tilescout.Picture{}, ctx.Err()
	}
}

func (f *flights) result(ctx context.Context, r singleflight.Result) (tilescout.Picture, error) {
	switch {
	case r.Err == nil:
		return r.Val.(tilescout.Picture), nil
	case ctx.Err() != nil:
		return tilescout.Picture{}, ctx.Err()
	case f.isClosed():
		return tilescout.Picture{}, errClosed
	}
	return tilescout.Picture{}, r.Err
}

// start counts a running fetch, unless the source is closed.
func (f *flights) start() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.running.Add(1)
	return true
}

// leave takes one caller off; the last one ends the flight, and whoever comes after starts a new one.
func (f *flights) leave(key string, fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl.waiting--
	if fl.waiting > 0 {
		return
	}
	fl.cancel()
	if f.wanted[key] == fl {
		delete(f.wanted, key)
		f.group.Forget(key)
	}
}

func (f *flights) isClosed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// close ends all flights and waits for them.
func (f *flights) close() {
	f.mu.Lock()
	f.closed = true
	for _, fl := range f.wanted {
		fl.cancel()
	}
	f.mu.Unlock()
	f.running.Wait()
}
