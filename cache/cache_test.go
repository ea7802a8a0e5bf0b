package cache_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache"
)

func length(_ string, v []byte) int { return len(v) }

func give(v string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return []byte(v), nil }
}

func Example() {
	c := cache.New(1<<20, func(_ string, v string) int { return len(v) })
	v, err := c.Get(context.Background(), "stadium", func(context.Context) (string, error) { return "an embedding", nil })
	fmt.Println(v, err, c.Stats().Bytes)
	// Output: an embedding <nil> 12
}

func TestBytesBound(t *testing.T) {
	ctx := context.Background()
	c := cache.New(10, length)
	var out []string
	c.OnEvict = func(k string, v []byte) { out = append(out, k+"="+string(v)); c.Stats() } // would hang inside the lock
	get := func(k, v string) {
		t.Helper()
		got, err := c.Get(ctx, k, give(v))
		if err != nil || string(got) != v {
			t.Fatalf("Get(%s) = %q, %v, want %q", k, got, err, v)
		}
	}
	get("a", "aaaa")
	get("b", "bbbb")
	get("a", "aaaa") // a is now more recent than b
	get("c", "cccc")
	if _, ok := c.Peek("b"); ok {
		t.Error("b is held, want it evicted: it was the least recent")
	}
	get("big", "0123456789x") // heavier than the cache: handed out, evicts nobody
	if _, ok := c.Peek("big"); ok {
		t.Error("a value heavier than the cache is held")
	}
	c.Add("a", []byte("AAAAAA")) // replaced by a heavier one: exactly full
	want := cache.Stats{Hits: 1, Misses: 4, Evictions: 1, Entries: 2, Bytes: 10}
	if got := c.Stats(); got != want {
		t.Errorf("Stats() = %+v, want %+v", got, want)
	}
	c.Remove("a")
	c.Remove("absent")
	if got := c.Stats(); got.Entries != 1 || got.Bytes != 4 {
		t.Errorf("after Remove: %+v, want 1 entry of 4 bytes", got)
	}
	if got := strings.Join(out, " "); got != "b=bbbb" {
		t.Errorf("evicted %q, want b=bbbb", got)
	}
}

// One cold key, 1,000 callers: one load (target R4).
func TestHerd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cache.New(1<<20, length)
		var loads atomic.Int32
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				v, err := c.Get(context.Background(), "tile", func(context.Context) ([]byte, error) {
					loads.Add(1)
					time.Sleep(time.Second)
					return []byte("picture"), nil
				})
				if string(v) != "picture" || err != nil {
					t.Errorf("caller %d got %q, %v", i, v, err)
				}
			})
		}
		wg.Wait()
		if n := loads.Load(); n != 1 {
			t.Errorf("%d loads, want 1", n)
		}
		if s := c.Stats(); s.Misses != 1 || s.Hits != 999 {
			t.Errorf("Stats() = %+v, want 1 miss and 999 hits", s)
		}
	})
}

// The caller that started the load leaves: it alone fails, the values of its context stay.
func TestFirstCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type name struct{}
		c := cache.New(1<<20, length)
		load := func(ctx context.Context) ([]byte, error) {
			select {
			case <-time.After(time.Minute / 2):
				return []byte(ctx.Value(name{}).(string)), nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		first, cancel := context.WithCancel(context.WithValue(context.Background(), name{}, "of the first"))
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Get(first, "k", load); !errors.Is(err, context.Canceled) {
				t.Errorf("the caller that left got %v, want context.Canceled", err)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			v, err := c.Get(context.Background(), "k", load)
			if string(v) != "of the first" || err != nil {
				t.Errorf("the caller that stayed got %q, %v", v, err)
			}
		})
		synctest.Wait()
		cancel()
		wg.Wait()
		if s := c.Stats(); s.Misses != 1 {
			t.Errorf("%d loads, want 1", s.Misses)
		}
	})
}

func TestLastCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cache.New(1<<20, length)
		cancelled := make(chan struct{})
		slow := func(ctx context.Context) ([]byte, error) {
			<-ctx.Done()
			close(cancelled)
			time.Sleep(time.Second) // takes its time to stop
			return nil, ctx.Err()
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if _, err := c.Get(ctx, "k", slow); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v, want context.DeadlineExceeded", err)
				}
			})
		}
		wg.Wait()
		<-cancelled
		// Who comes next must not join the cancelled load.
		if v, err := c.Get(context.Background(), "k", give("new")); string(v) != "new" || err != nil {
			t.Errorf("Get after the cancelled load = %q, %v, want new", v, err)
		}
		time.Sleep(time.Minute)
		if v, ok := c.Peek("k"); !ok || string(v) != "new" {
			t.Errorf("held %q, %v after the cancelled load ended, want new", v, ok)
		}
	})
}

func TestLoadFails(t *testing.T) {
	boom := errors.New("boom")
	for name, tc := range map[string]struct {
		load func(context.Context) ([]byte, error)
		want string
		is   error
	}{
		"error":    {func(context.Context) ([]byte, error) { return []byte("x"), boom }, "boom", boom},
		"panic":    {func(context.Context) ([]byte, error) { panic("ouch") }, "ouch", nil},
		"goexit":   {func(context.Context) ([]byte, error) { runtime.Goexit(); return nil, nil }, "ended its goroutine", nil},
		"deadline": {func(ctx context.Context) ([]byte, error) { time.Sleep(time.Hour); return nil, nil }, "longer than 2s", tilescout.ErrBusy},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := cache.New(100, length)
				c.LoadTimeout = 2 * time.Second
				_, err := c.Get(context.Background(), "k", tc.load)
				if err == nil || !strings.Contains(err.Error(), tc.want) || (tc.is != nil && !errors.Is(err, tc.is)) {
					t.Fatalf("Get = %v, want an error with %q", err, tc.want)
				}
				time.Sleep(2 * time.Hour)
				c.Remove("k") // what the load that came too late brought
				if v, err := c.Get(context.Background(), "k", give("fine")); string(v) != "fine" || err != nil {
					t.Errorf("Get after the failure = %q, %v: errors must not be kept", v, err)
				}
			})
		})
	}
	c := cache.New(100, length)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Get(gone, "k", give("x")); !errors.Is(err, context.Canceled) || c.Stats().Misses != 0 {
		t.Errorf("Get with a cancelled context = %v, %+v, want context.Canceled and no load", err, c.Stats())
	}
}

// A value removed or replaced while it is loaded is not kept: it may be stale.
func TestChangedWhileLoading(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(c *cache.Cache[string, []byte])
		want   string
	}{
		"removed":  {func(c *cache.Cache[string, []byte]) { c.Remove("k") }, ""},
		"replaced": {func(c *cache.Cache[string, []byte]) { c.Add("k", []byte("new")) }, "new"},
	} {
		t.Run(name, func(t *testing.T) {
			c := cache.New(100, length)
			v, err := c.Get(context.Background(), "k", func(context.Context) ([]byte, error) {
				tc.change(c)
				return []byte("stale"), nil
			})
			if string(v) != "stale" || err != nil {
				t.Errorf("Get = %q, %v, want what was loaded", v, err)
			}
			if held, _ := c.Peek("k"); string(held) != tc.want {
				t.Errorf("held %q, want %q", held, tc.want)
			}
		})
	}
}

// Many goroutines on few keys of a small cache: the weight never passes the bound, each gets its own key's value.
func TestParallel(t *testing.T) {
	c := cache.New(64, length)
	c.OnEvict = func(k string, v []byte) {
		if !strings.HasPrefix(string(v), k) {
			t.Errorf("evicted %q under %q", v, k)
		}
	}
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for range 2000 {
				k := fmt.Sprint(r.IntN(20))
				ctx, cancel := context.WithCancel(context.Background())
				if r.IntN(4) == 0 {
					cancel()
				}
				switch v, err := c.Get(ctx, k, give(k+strings.Repeat("x", r.IntN(20)))); {
				case err != nil && !errors.Is(err, context.Canceled):
					t.Error(err)
				case err == nil && strings.TrimRight(string(v), "x") != k:
					t.Errorf("Get(%s) = %q", k, v)
				}
				cancel()
				if r.IntN(8) == 0 {
					c.Remove(k)
				}
				if s := c.Stats(); s.Bytes > 64 || s.Bytes < 0 {
					t.Errorf("holds %d bytes of 64", s.Bytes)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkHit(b *testing.B) {
	c := cache.New(1<<20, length)
	c.Add("k", make([]byte, 100))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Get(context.Background(), "k", nil); err != nil {
				b.Error(err)
			}
		}
	})
}
