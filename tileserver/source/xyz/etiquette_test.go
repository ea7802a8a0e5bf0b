package xyz_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/xyz"
)

func TestHeaders(t *testing.T) {
	var got http.Header
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		ok(w, r)
	})
	for _, c := range []struct {
		name   string
		change func(*source.Spec)
		want   map[string]string
	}{
		{"own", func(*source.Spec) {}, map[string]string{"User-Agent": "Tilescout/1.2 (+https://github.com/tilescout/tilescout)", "Referer": "", "Accept-Encoding": ""}},
		{"given", func(s *source.Spec) {
			s.UserAgent, s.Referer = "Agent/1", "https://map.example/"
			s.Headers = map[string]string{"authorization": "Bearer ${KEY}", "X-Api-Key": "${KEY}"}
		}, map[string]string{"User-Agent": "Agent/1", "Referer": "https://map.example/", "Authorization": "Bearer s3cr3t", "X-Api-Key": "s3cr3t"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := open(t, u.URL+template, xyz.Options{ProgramVersion: "1.2", LookupEnv: environment}, c.change)
			if _, err := src.Tile(t.Context(), tile); err != nil {
				t.Fatal(err)
			}
			for name, want := range c.want {
				if got.Get(name) != want {
					t.Errorf("%s = %q, want %q", name, got.Get(name), want)
				}
			}
		})
	}
}

func TestBadHeaders(t *testing.T) {
	for _, c := range []struct{ name, value, text string }{
		{"X-Key", "${NOT_THERE}", "NOT_THERE is not set"},
		{"X-Key", "${LINE}", "forbids"},
		{"X Key", "a", "forbids"},
		{"Range", "bytes=0-1", "set by Tilescout"},
		{"accept-encoding", "br", "set by Tilescout"},
	} {
		spec := source.Spec{ID: "t", Source: "https://h.example/{z}/{x}/{y}", Headers: map[string]string{c.name: c.value}}
		_, err := xyz.Open(t.Context(), spec, xyz.Options{LookupEnv: environment})
		if !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("header %q: %q: %v, want ErrBadInput with %q", c.name, c.value, err, c.text)
		}
	}
}

// TestRedirectKeepsSecrets: another host sees neither our headers nor, as Referer, the address with its key.
func TestRedirectKeepsSecrets(t *testing.T) {
	var got http.Header
	other := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		ok(w, r)
	})
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+"/t.png", http.StatusFound)
	})
	at, err := url.Parse(other.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(at.Port())
	if err != nil {
		t.Fatal(err)
	}
	src := open(t, u.URL+template+"?key=${KEY}", xyz.Options{LookupEnv: environment}, func(s *source.Spec) {
		s.AllowPorts = []int{port}
		s.Headers = map[string]string{"X-Api-Key": "${KEY}", "Authorization": "Bearer ${KEY}"}
	})
	if _, err := src.Tile(t.Context(), tile); err != nil {
		t.Fatal(err)
	}
	for name, values := range got {
		if strings.Contains(fmt.Sprint(values), "s3cr3t") {
			t.Errorf("the other host got %s: %q", name, values)
		}
	}
	if agent := got.Get("User-Agent"); !strings.HasPrefix(agent, "Tilescout/") {
		t.Errorf("User-Agent after a redirect = %q", agent)
	}
}

// TestConcurrency counts requests in flight.
func TestConcurrency(t *testing.T) {
	for _, c := range []struct {
		given int
		want  int64
	}{{0, 8}, {3, 3}} {
		t.Run(fmt.Sprint(c.given), func(t *testing.T) {
			t.Parallel()
			var now, most atomic.Int64
			full := make(chan struct{})
			fill := sync.OnceFunc(func() { close(full) })
			u := serve(t, func(w http.ResponseWriter, r *http.Request) {
				n := now.Add(1)
				defer now.Add(-1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				if n == c.want {
					fill()
				}
				select { // the first ones stay until as many are here as may be
				case <-full:
					time.Sleep(10 * time.Millisecond) // time for one too many to show up
				case <-time.After(9 * time.Second):
				}
				ok(w, r)
			})
			hosts := xyz.NewHosts()
			var wg sync.WaitGroup
			for layer := range 2 { // two layers of one host share its limit
				src := open(t, u.URL+template, xyz.Options{Hosts: hosts}, func(s *source.Spec) { s.MaxConcurrency, s.Version = c.given, fmt.Sprint(layer) })
				for x := range uint32(16) {
					wg.Go(func() {
						if _, err := src.Tile(t.Context(), maptile.New(x, 0, 5)); err != nil {
							t.Error(err)
						}
					})
				}
			}
			wg.Wait()
			if got := most.Load(); got != c.want {
				t.Errorf("%d requests at once, want %d", got, c.want)
			}
		})
	}
}

// TestQueueIsBounded: when the upstream hangs, callers are refused after a while instead of piling up.
func TestQueueIsBounded(t *testing.T) {
	u := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	src := open(t, u.URL+template, xyz.Options{QueueTimeout: 100 * time.Millisecond, TotalTimeout: time.Minute, HeaderTimeout: time.Minute})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var busy, left atomic.Int64
	var wg sync.WaitGroup
	for i := range uint32(400) {
		wg.Go(func() {
			_, err := src.Tile(ctx, maptile.New(i, 0, 9))
			switch {
			case errors.Is(err, tilescout.ErrBusy):
				if busy.Add(1) == 400-8 {
					cancel() // only those that were let in are left, and they hang
				}
			case errors.Is(err, context.Canceled):
				left.Add(1)
			default:
				t.Errorf("Tile: %v, want ErrBusy or context.Canceled", err)
			}
		})
	}
	wg.Wait()
	if busy.Load() != 400-8 || left.Load() != 8 {
		t.Errorf("%d refused, %d let in, want 392 and 8", busy.Load(), left.Load())
	}
}

func TestRate(t *testing.T) {
	u := serve(t, ok)
	src := open(t, u.URL+template, xyz.Options{}, func(s *source.Spec) { s.MaxRPS = 20 })
	start := time.Now()
	for x := range uint32(5) {
		if _, err := src.Tile(t.Context(), maptile.New(x, 0, 5)); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(start); took < 190*time.Millisecond {
		t.Errorf("5 tiles at 20 a second took %v, want at least 200 ms", took)
	}
}

func TestBounds(t *testing.T) {
	u := serve(t, ok)
	for _, c := range []struct {
		bounds []float64
		inside []maptile.Tile
		beside []maptile.Tile
	}{
		{[]float64{0, 0, 90, 66}, []maptile.Tile{maptile.New(2, 1, 2), maptile.New(0, 0, 0)}, []maptile.Tile{maptile.New(1, 1, 2), maptile.New(2, 2, 2), maptile.New(3, 1, 2)}},
		{[]float64{170, -20, -170, 20}, []maptile.Tile{maptile.New(0, 1, 2), maptile.New(3, 2, 2)}, []maptile.Tile{maptile.New(1, 1, 2), maptile.New(2, 2, 2)}},
	} {
		src := open(t, u.URL+template, xyz.Options{}, func(s *source.Spec) { s.Bounds = c.bounds })
		for _, in := range c.inside {
			if _, err := src.Tile(t.Context(), in); err != nil {
				t.Errorf("bounds %v: Tile(%v): %v", c.bounds, in, err)
			}
		}
		before := u.requests.Load()
		for _, out := range c.beside {
			if _, err := src.Tile(t.Context(), out); !errors.Is(err, tilescout.ErrNotFound) {
				t.Errorf("bounds %v: Tile(%v): %v, want ErrNotFound", c.bounds, out, err)
			}
		}
		if u.requests.Load() != before {
			t.Errorf("bounds %v: asked for tiles outside", c.bounds)
		}
	}
}

func TestBulk(t *testing.T) {
	for _, c := range []struct {
		template   string
		allow      bool
		permission string
		want       error
		text       string
	}{
		{"https://tile.openstreetmap.org/{z}/{x}/{y}.png", false, "", tilescout.ErrForbidden, "policy"},
		{"https://{s}.tile.openstreetmap.org/{z}/{x}/{y}.png", false, "", tilescout.ErrForbidden, "policy"},
		{"https://TILE.OpenStreetMap.org.:443/{z}/{x}/{y}.png", true, "", tilescout.ErrForbidden, "permission"},
		{"https://tile.openstreetmap.org/{z}/{x}/{y}.png", false, "somebody", tilescout.ErrForbidden, "allowBulk"},
		{"https://tile.openstreetmap.org/{z}/{x}/{y}.png", true, "OSMF operations, 2026-01-02", nil, ""},
		{"https://notopenstreetmap.org/{z}/{x}/{y}.png", true, "", nil, ""},
		{"https://tiles.example/{z}/{x}/{y}.png", false, "", tilescout.ErrForbidden, "allowBulk: true"},
		{"https://tiles.example/{z}/{x}/{y}.png", true, "", nil, ""},
		{"http://localhost:9000/{z}/{x}/{y}.png", false, "", nil, ""},
		{"http://127.0.0.1:9000/{z}/{x}/{y}.png", false, "", nil, ""},
		{"http://[::1]:9000/{z}/{x}/{y}.png", false, "", nil, ""},
		{"http://192.168.1.5/{z}/{x}/{y}.png", false, "", nil, ""},
	} {
		src := open(t, c.template, xyz.Options{}, func(s *source.Spec) { s.AllowBulk, s.Permission = c.allow, c.permission })
		err := source.Bulk(src)
		if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("Bulk of %s, allowBulk %v, permission %q: %v, want %v with %q", c.template, c.allow, c.permission, err, c.want, c.text)
		}
	}
}

func TestOSMInfo(t *testing.T) {
	info := open(t, "https://tile.openstreetmap.org/{z}/{x}/{y}.png", xyz.Options{}).Info()
	if !strings.Contains(info.Attribution, "OpenStreetMap contributors") || info.MaxZoom != 19 || info.Title != "tile.openstreetmap.org" {
		t.Errorf("Info() = %+v, want OSM's attribution, zoom 19, its host as title", info)
	}
}
