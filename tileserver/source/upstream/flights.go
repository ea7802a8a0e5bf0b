package upstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/tilescout/tilescout"
)

// ErrClosed is the answer of a source after Close.
var ErrClosed = fmt.Errorf("the source is closed: %w", tilescout.ErrUnavailable)

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
	lingers bool // waited for by itself: those who came first have been served something older
	over    bool // its fetch has ended
}

// errPatience: the caller's patience is over, the flight goes on.
var errPatience = errors.New("not there yet")

// do returns what fetch returns; equal keys at the same time share one fetch. After patience, if that is not 0, it
// returns errPatience and the fetch goes on without its callers.
func (f *flights) do(ctx context.Context, key string, limit, patience time.Duration, fetch func(context.Context) (tilescout.Picture, error)) (tilescout.Picture, error) {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return tilescout.Picture{}, ErrClosed
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
			return tilescout.Picture{}, ErrClosed
		}
		defer f.running.Done()
		f.took(fl)
		defer f.landed(key, fl)
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
	if patience > 0 && !fl.lingers && !fl.over {
		fl.lingers = true
		fl.waiting++
	}
	f.mu.Unlock()
	defer f.leave(key, fl)

	var over <-chan time.Time
	if patience > 0 {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case r := <-ch:
		return f.result(ctx, r)
	case <-over:
		return tilescout.Picture{}, errPatience
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
		return tilescout.Picture{}, ErrClosed
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

func (f *flights) took(fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl.over = false
}

// landed ends the flight's waiting for itself.
func (f *flights) landed(key string, fl *flight) {
	f.mu.Lock()
	lingers := fl.lingers
	fl.lingers, fl.over = false, true
	f.mu.Unlock()
	if lingers {
		f.leave(key, fl)
	}
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
