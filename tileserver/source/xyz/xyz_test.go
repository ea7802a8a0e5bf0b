package xyz_test

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/diskcache"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
	"github.com/tilescout/tilescout/tileserver/source/xyz"
)

// upstream is a loopback tile server that counts what it is asked.
type upstream struct {
	*httptest.Server
	requests atomic.Int64
}

func serve(t testing.TB, h http.HandlerFunc) *upstream {
	t.Helper()
	u := &upstream{}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.requests.Add(1)
		h(w, r)
	}))
	t.Cleanup(u.Close)
	return u
}

// quick retries without delay. Its time limits are for a machine that does much else at once; impatient is for tests
// that wait for them.
func quick() xyz.Options {
	return xyz.Options{HeaderTimeout: time.Minute, TotalTimeout: time.Minute, DialTimeout: time.Minute, Backoff: time.Millisecond}
}

func impatient() xyz.Options {
	return xyz.Options{HeaderTimeout: 100 * time.Millisecond, TotalTimeout: time.Minute, Backoff: time.Millisecond}
}

func open(t testing.TB, template string, o xyz.Options, change ...func(*source.Spec)) *xyz.Source {
	t.Helper()
	spec := source.Spec{ID: "test", Source: template}
	for _, c := range change {
		c(&spec)
	}
	src, err := xyz.Open(context.Background(), spec, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

func cache(t testing.TB) *diskcache.Cache {
	t.Helper()
	c, err := diskcache.Open(t.TempDir(), diskcache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const template = "/{z}/{x}/{y}.png"

var (
	tile    = maptile.New(1, 0, 1)
	picture = sourcetest.Paint(tile, 256)
)

func ok(w http.ResponseWriter, _ *http.Request) { w.Write(picture) }

func TestConformance(t *testing.T) {
	for _, withCache := range []bool{false, true} {
		t.Run(fmt.Sprintf("cache %v", withCache), func(t *testing.T) {
			u := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/3/2/5.png" {
					http.NotFound(w, r)
					return
				}
				w.Header().Set("Cache-Control", "max-age=60")
				w.Write(picture)
			})
			var o xyz.Options
			if withCache {
				o.Cache = cache(t)
			}
			src := open(t, u.URL+template, o, func(s *source.Spec) { s.MinZoom, s.MaxZoom = 2, 5 })
			sourcetest.Run(t, src, maptile.New(2, 5, 3), maptile.New(0, 0, 3))
		})
	}
}

// serveZip answers z/x/y.ext from a zip of such files.
func serveZip(t *testing.T, name string) *upstream {
	z, err := zip.OpenReader(sourcetest.Shared(t, "geo", "xyz", name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { z.Close() })
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		f, err := z.Open(strings.TrimPrefix(r.URL.Path, "/"))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		defer f.Close()
		io.Copy(w, f)
	})
}

func TestConformanceRealTiles(t *testing.T) {
	for _, c := range []struct {
		file, ext       string
		least, most     int
		present, absent maptile.Tile
	}{
		{"world_satellite_xyz_z0-3.zip", ".jpg", 0, 4, maptile.New(1, 1, 3), maptile.New(0, 0, 4)},
		{"kampala_houses_xyz_z19-20.zip", ".png", 19, 20, maptile.New(309614, 261632, 19), maptile.New(0, 0, 19)},
	} {
		t.Run(c.file, func(t *testing.T) {
			u := serveZip(t, c.file)
			src := open(t, u.URL+"/{z}/{x}/{y}"+c.ext, xyz.Options{Cache: cache(t)}, func(s *source.Spec) { s.MinZoom, s.MaxZoom = c.least, c.most })
			sourcetest.Run(t, src, c.present, c.absent)
		})
	}
}

// TestBadUpstreams holds the answers that are no tile.
func TestBadUpstreams(t *testing.T) {
	body := func(data []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.Write(data) }
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			io.WriteString(w, "<html>sorry</html>")
		}
	}
	silent := func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(30 * time.Second):
		}
	}
	for _, c := range []struct {
		name     string
		handler  http.HandlerFunc
		want     error
		text     string
		requests int64 // 0: not counted
	}{
		{"HTML", body([]byte("<!DOCTYPE html><html><body>Welcome</body></html>")), tilescout.ErrUpstream, "an HTML page", 1},
		{"JSON", body([]byte(`{"error":"no"}`)), tilescout.ErrUpstream, "a JSON document", 1},
		{"empty", body(nil), tilescout.ErrUpstream, "an empty body", 1},
		{"GIF", body([]byte("GIF89a......")), tilescout.ErrUpstream, "a GIF", 1},
		{"404", status(404), tilescout.ErrNotFound, "404", 1},
		{"410", status(410), tilescout.ErrNotFound, "410", 1},
		{"204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, tilescout.ErrNotFound, "204", 1},
		{"400", status(400), tilescout.ErrUpstream, "400", 1},
		{"500", status(500), tilescout.ErrUpstream, "500", 3},
		{"304 unasked", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }, tilescout.ErrUpstream, "304", 1},
		{"403", status(403), tilescout.ErrUpstream, "refuses us with 403", 1},
		{"418", status(418), tilescout.ErrUpstream, "refuses us with 418", 1},
		{"silence", silent, tilescout.ErrUpstream, "no answer in time", 0},
		{"half a PNG", body(picture[:len(picture)/2]), tilescout.ErrUpstream, "cut short", 1},
		{"shorter than promised", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			w.Write(picture)
		}, tilescout.ErrUpstream, "breaks off", 3},
		{"cut connection", func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, tilescout.ErrUpstream, "", 0},
		{"slow body", func(w http.ResponseWriter, r *http.Request) {
			for _, b := range picture {
				if r.Context().Err() != nil {
					return
				}
				w.Write([]byte{b})
				w.(http.Flusher).Flush()
				time.Sleep(20 * time.Millisecond)
			}
		}, tilescout.ErrUpstream, "no answer", 0},
		{"huge body", func(w http.ResponseWriter, _ *http.Request) {
			w.Write(picture)
			for range 9 << 10 {
				if _, err := w.Write(make([]byte, 1024)); err != nil {
					return
				}
			}
		}, tilescout.ErrUpstream, "more than 8388608 bytes", 1},
		{"huge promise", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99999999999")
			w.Write(picture)
		}, tilescout.ErrUpstream, "99999999999 bytes", 1},
		{"gzip bomb", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(bomb(t))
		}, tilescout.ErrUpstream, "more than 8388608 bytes", 1},
		{"unknown encoding", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "br")
			w.Write(picture)
		}, tilescout.ErrUpstream, "encoding", 1},
		{"wide picture", body(sourcetest.Paint(tile, 1025)), tilescout.ErrUpstream, "1025", 1},
		{"redirect loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, tilescout.ErrUpstream, "more than 3", 4},
		{"redirect to a file", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		}, tilescout.ErrUpstream, "redirect refused", 1},
		{"redirect to nowhere", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(302) }, tilescout.ErrUpstream, "", 0},
		{"huge header", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("a", 1<<20))
			w.Write(picture)
		}, tilescout.ErrUpstream, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			u := serve(t, c.handler)
			o := quick()
			switch c.name {
			case "silence":
				o = impatient()
			case "slow body":
				o.TotalTimeout = 300 * time.Millisecond
			}
			o.Cache = cache(t)
			o.FailureTTL = time.Hour // "at once" below may take a slow machine a while
			src := open(t, u.URL+template+"?key=SECRET", o)
			_, err := src.Tile(t.Context(), tile)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("Tile: %v, want %v with %q", err, c.want, c.text)
			}
			if got := u.requests.Load(); c.requests != 0 && got != c.requests {
				t.Errorf("%d requests, want %d", got, c.requests)
			}
			if err != nil && (strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), "\n")) {
				t.Errorf("error shows the key or has two lines: %q", err)
			}
			if n := o.Cache.Stats().Entries; n != 0 {
				t.Errorf("%d entries in the disk cache, want none", n)
			}
			// It is remembered for a moment: the next client does not ask again.
			before := u.requests.Load()
			if _, again := src.Tile(t.Context(), tile); !errors.Is(again, c.want) {
				t.Errorf("Tile again: %v, want %v", again, c.want)
			}
			if got := u.requests.Load(); got != before {
				t.Errorf("asked again at once")
			}
		})
	}
}

func TestTruncatedRealFiles(t *testing.T) {
	for _, name := range []string{"truncated.png", "truncated.jpg"} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(sourcetest.Shared(t, "geo", "broken", name))
			if err != nil {
				t.Fatal(err)
			}
			u := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(data) })
			o := quick()
			o.Cache = cache(t)
			_, err = open(t, u.URL+template, o).Tile(t.Context(), tile)
			if !errors.Is(err, tilescout.ErrUpstream) || !strings.Contains(err.Error(), "cut short") || o.Cache.Stats().Entries != 0 {
				t.Errorf("Tile: %v, %d cached, want ErrUpstream, cut short, none", err, o.Cache.Stats().Entries)
			}
		})
	}
}

// TestWrongContentType: bytes count, not what the server calls them.
func TestWrongContentType(t *testing.T) {
	u := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Write(picture)
	})
	pic, err := open(t, u.URL+template, xyz.Options{}).Tile(t.Context(), tile)
	if err != nil || pic.MediaType != tilescout.PNG {
		t.Errorf("Tile = %q, %v, want image/png", pic.MediaType, err)
	}
}

func TestNoServer(t *testing.T) {
	u := serve(t, ok)
	u.Close()
	_, err := open(t, u.URL+template, quick()).Tile(t.Context(), tile)
	if !errors.Is(err, tilescout.ErrUpstream) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("Tile: %v, want ErrUpstream and why", err)
	}
}

func TestRetriesUntilItWorks(t *testing.T) {
	var n atomic.Int64
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) < 3 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		ok(w, r)
	})
	if _, err := open(t, u.URL+template, quick()).Tile(t.Context(), tile); err != nil {
		t.Errorf("Tile: %v, want the third answer", err)
	}
}

func TestRetryAfter(t *testing.T) {
	for _, c := range []struct {
		after    string
		requests int64
		works    bool
	}{{"0", 2, true}, {"1", 2, true}, {"3600", 1, false}} {
		t.Run(c.after, func(t *testing.T) {
			t.Parallel()
			var first atomic.Int64
			u := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if first.CompareAndSwap(0, time.Now().UnixNano()) {
					w.Header().Set("Retry-After", c.after)
					w.WriteHeader(http.StatusTooManyRequests)
					return
				}
				if waited := time.Since(time.Unix(0, first.Load())); c.after == "1" && waited < time.Second {
					t.Errorf("asked again after %v, want at least 1 s", waited)
				}
				ok(w, r)
			})
			src := open(t, u.URL+template, quick())
			_, err := src.Tile(t.Context(), tile)
			if (err == nil) != c.works || u.requests.Load() != c.requests {
				t.Errorf("Tile: %v after %d requests, want success %v after %d", err, u.requests.Load(), c.works, c.requests)
			}
			if !c.works {
				// The host is left alone, not only the tile.
				if _, err := src.Tile(t.Context(), maptile.New(0, 0, 1)); !errors.Is(err, tilescout.ErrUpstream) || u.requests.Load() != 1 {
					t.Errorf("another tile: %v, %d requests, want ErrUpstream without asking", err, u.requests.Load())
				}
			}
		})
	}
}

func TestRefusedStopsAll(t *testing.T) {
	u := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	src := open(t, u.URL+template, quick())
	for x := range uint32(20) {
		if _, err := src.Tile(t.Context(), maptile.New(x, 0, 5)); !errors.Is(err, tilescout.ErrUpstream) {
			t.Errorf("Tile: %v, want ErrUpstream", err)
		}
	}
	if got := u.requests.Load(); got != 1 {
		t.Errorf("%d requests after a refusal, want 1", got)
	}
}

func TestMissingObjectIsNoRefusal(t *testing.T) {
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/1/") {
			ok(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>`)
	})
	src := open(t, u.URL+template, quick())
	if _, err := src.Tile(t.Context(), tile); err != nil {
		t.Fatal(err)
	}
	if _, err := src.Tile(t.Context(), maptile.New(0, 0, 2)); !errors.Is(err, tilescout.ErrNotFound) {
		t.Errorf("Tile: %v, want ErrNotFound", err)
	}
	if _, err := src.Tile(t.Context(), maptile.New(0, 0, 1)); err != nil {
		t.Errorf("Tile after a missing object: %v, want a picture", err)
	}
}

func TestCircuitBreaker(t *testing.T) {
	u := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	src := open(t, u.URL+template, quick())
	for x := range uint32(20) {
		if _, err := src.Tile(t.Context(), maptile.New(x, 0, 5)); !errors.Is(err, tilescout.ErrUpstream) {
			t.Errorf("Tile: %v, want ErrUpstream", err)
		}
	}
	if got := u.requests.Load(); got != 5 {
		t.Errorf("%d requests to a failing host, want 5", got)
	}
}
