// Package cache keeps what was costly to make, up to a number of bytes, and makes each thing once however many
// callers ask for it at the same time.
//
//	tiles := cache.New(256<<20, func(_ maptile.Tile, p tilescout.Picture) int { return p.Size() })
//	p, err := tiles.Get(ctx, t, func(ctx context.Context) (tilescout.Picture, error) {
//		return source.Tile(ctx, t)
//	})
//
// Values are frozen: whoever gets one shares it with everybody else and must not write to it.
package cache

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/tilescout/tilescout"
)

// errLeft is the cause of a load's cancellation after its last waiter has left.
var errLeft = errors.New("nobody waits for it any more")

// Cache is a least-recently-used cache bounded by bytes, with single flight. Safe for concurrent use.
type Cache[K comparable, V any] struct {
	// LoadTimeout ends a load that takes longer; 0 means one minute. Set it before the first use.
	LoadTimeout time.Duration
	// OnEvict is told of every value that leaves to make room; it runs outside the lock and may use the cache.
	// Values that are removed or replaced are not reported. Set it before the first use.
	OnEvict func(K, V)

	max  int64
	size func(K, V) int

	mu      sync.Mutex // guards all below
	lru     *simplelru.LRU[K, entry[V]]
	flights map[K]*flight[V]
	stats   Stats
}

type entry[V any] struct {
	value V
	bytes int64
}

// flight is one load under way.
type flight[V any] struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	waiters int           // guarded by Cache.mu
	done    chan struct{} // closed once value and err are set
	value   V
	err     error
}

// Stats are counts since New, and what is held now.
type Stats struct {
	Hits      uint64 // calls of Get answered from memory or by a load that was already under way
	Misses    uint64 // loads started by Get
	Evictions uint64 // values dropped to make room
	Entries   int
	Bytes     int64 // by the size function
}

// New returns a cache that holds values of at most maxBytes together, as size weighs them. A value heavier than
// that is handed out and not kept; maxBytes ≤ 0 keeps nothing and leaves the single flight.
func New[K comparable, V any](maxBytes int64, size func(K, V) int) *Cache[K, V] {
	// Bytes are the only bound, so the number of entries gets the largest one.
	lru, err := simplelru.NewLRU[K, entry[V]](math.MaxInt, nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &Cache[K, V]{max: maxBytes, size: size, lru: lru, flights: map[K]*flight[V]{}}
}

// Get returns the value of key, by load if it is not held. Callers that ask for the same key meanwhile wait for the
// same load. The load runs with the values of the first caller's context but not its cancellation: a caller whose
// own context ends leaves alone with that context's error, and the load is cancelled when the last one has left or
// after LoadTimeout (ErrBusy). Errors are handed to all who wait and are not kept; a panic in load is an error.
func (c *Cache[K, V]) Get(ctx context.Context, key K, load func(ctx context.Context) (V, error)) (V, error) {
	var none V
	c.mu.Lock()
	if e, ok := c.lru.Get(key); ok {
		c.stats.Hits++
		c.mu.Unlock()
		return e.value, nil
	}
	if err := ctx.Err(); err != nil {
		c.mu.Unlock()
		return none, err
	}
	f, ok := c.flights[key]
	if ok {
		c.stats.Hits++
		f.waiters++
	} else {
		c.stats.Misses++
		f = c.start(ctx, key, load)
	}
	c.mu.Unlock()

	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		c.leave(key, f)
		return none, ctx.Err()
	case <-f.ctx.Done():
	}
	// The load has ended, or its time is up; the first has precedence.
	select {
	case <-f.done:
		return f.value, f.err
	default:
		// A load that ignores its context holds its key, never its callers.
		return none, fmt.Errorf("cache: load: %w: %w", tilescout.ErrBusy, context.Cause(f.ctx))
	}
}

// start begins a load with one waiter. The caller holds mu.
func (c *Cache[K, V]) start(ctx context.Context, key K, load func(context.Context) (V, error)) *flight[V] {
	limit := c.LoadTimeout
	if limit <= 0 {
		limit = time.Minute
	}
	timed, stop := context.WithTimeoutCause(context.WithoutCancel(ctx), limit,
		fmt.Errorf("longer than %v: %w", limit, context.DeadlineExceeded))
	f := &flight[V]{waiters: 1, done: make(chan struct{})}
	f.ctx, f.cancel = context.WithCancelCause(timed)
	c.flights[key] = f
	go func() {
		defer stop()
		defer f.cancel(nil) // after land: a waiter that sees the context end sees done closed too
		f.err = errors.New("cache: load ended its goroutine")
		defer c.land(key, f)
		defer func() {
			if p := recover(); p != nil {
				f.err = fmt.Errorf("cache: load panicked: %v\n%s", p, debug.Stack())
			}
		}()
		f.value, f.err = load(f.ctx)
	}()
	return f
}

// land keeps the value of a load that nobody has made stale, and wakes who waits.
func (c *Cache[K, V]) land(key K, f *flight[V]) {
	var bytes int64
	if f.err == nil {
		bytes = c.weigh(key, f.value)
	}
	var out evicted[K, V]
	c.mu.Lock()
	if c.flights[key] == f {
		delete(c.flights, key)
		if f.err == nil {
			out = c.put(key, entry[V]{f.value, bytes})
		}
	}
	c.mu.Unlock()
	close(f.done)
	c.tell(out)
}

// leave takes one waiter off a load and cancels it after the last; who asks later starts another.
func (c *Cache[K, V]) leave(key K, f *flight[V]) {
	c.mu.Lock()
	f.waiters--
	last := f.waiters == 0
	if last && c.flights[key] == f {
		delete(c.flights, key)
	}
	c.mu.Unlock()
	if last {
		f.cancel(errLeft)
	}
}

// Peek returns the value of key if it is held, without making it more recent and without counting.
func (c *Cache[K, V]) Peek(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.lru.Peek(key)
	return e.value, ok
}

// Has says whether Get would find the value of key, or a load of it to wait for.
func (c *Cache[K, V]) Has(key K) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, flying := c.flights[key]
	return flying || c.lru.Contains(key)
}

// Add keeps a value. It replaces what is held; a load of the same key under way answers its callers and is not kept.
func (c *Cache[K, V]) Add(key K, value V) {
	bytes := c.weigh(key, value)
	c.mu.Lock()
	delete(c.flights, key)
	out := c.put(key, entry[V]{value, bytes})
	c.mu.Unlock()
	c.tell(out)
}

// Remove forgets key. A load of it under way answers its callers and is not kept.
func (c *Cache[K, V]) Remove(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.flights, key)
	c.drop(key)
}

// Stats returns the counts.
func (c *Cache[K, V]) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Entries = c.lru.Len()
	return s
}

type evicted[K comparable, V any] struct {
	keys   []K
	values []V
}

// put stores an entry and makes room for it. The caller holds mu.
func (c *Cache[K, V]) put(key K, e entry[V]) (out evicted[K, V]) {
	c.drop(key)
	if e.bytes > c.max {
		return out
	}
	c.lru.Add(key, e)
	c.stats.Bytes += e.bytes
	for c.stats.Bytes > c.max {
		k, old, ok := c.lru.RemoveOldest()
		if !ok {
			break
		}
		c.stats.Bytes -= old.bytes
		c.stats.Evictions++
		if c.OnEvict != nil {
			out.keys, out.values = append(out.keys, k), append(out.values, old.value)
		}
	}
	return out
}

// drop takes key out. The caller holds mu.
func (c *Cache[K, V]) drop(key K) {
	if old, ok := c.lru.Peek(key); ok {
		c.lru.Remove(key)
		c.stats.Bytes -= old.bytes
	}
}

// weigh asks size; an entry weighs at least one byte, so that no number of them fits.
func (c *Cache[K, V]) weigh(key K, value V) int64 { return int64(max(1, c.size(key, value))) }

func (c *Cache[K, V]) tell(out evicted[K, V]) {
	for i, k := range out.keys {
		c.OnEvict(k, out.values[i])
	}
}
