package xyz_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/diskcache"
	"github.com/tilescout/tilescout/tileserver/source/xyz"
)

func bomb(t *testing.T) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(make([]byte, 9<<20)); err != nil {
		t.Fatal(err)
	}
	z.Close()
	return b.Bytes()
}

func TestGzippedAnswer(t *testing.T) {
	u := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		z.Write(picture)
		z.Close()
	})
	pic, err := open(t, u.URL+template, xyz.Options{}).Tile(t.Context(), tile)
	if err != nil || !bytes.Equal(pic.Data, picture) {
		t.Errorf("Tile = %d bytes, %v, want %d", len(pic.Data), err, len(picture))
	}
}

// TestCaching asks twice, under the headers of each case, and counts what reaches the upstream.
func TestCaching(t *testing.T) {
	date := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	for _, c := range []struct {
		name            string
		headers         map[string]string
		ttl             time.Duration
		requests        int64
		least, most     time.Duration // of Picture.MaxAge, first answer
		validatedSecond bool
	}{
		{"nothing said", nil, 0, 1, 0, 0, false},
		{"max-age", map[string]string{"Cache-Control": "public, max-age=600"}, 0, 1, 590 * time.Second, 600 * time.Second, false},
		{"max-age with age", map[string]string{"Cache-Control": "max-age=600", "Age": "500"}, 0, 1, 90 * time.Second, 100 * time.Second, false},
		{"too old already", map[string]string{"Cache-Control": "max-age=600", "Age": "600", "ETag": `"a"`}, 0, 2, time.Second, time.Second, true},
		{"s-maxage first", map[string]string{"Cache-Control": "max-age=1, s-maxage=600"}, 0, 1, 590 * time.Second, 600 * time.Second, false},
		{"expires", map[string]string{"Expires": date(time.Hour)}, 0, 1, 50 * time.Minute, time.Hour, false},
		{"expires 0", map[string]string{"Expires": "0", "ETag": `"a"`}, 0, 2, time.Second, time.Second, true},
		{"no-cache", map[string]string{"Cache-Control": "no-cache", "ETag": `W/"a"`}, 0, 2, time.Second, time.Second, true},
		{"last-modified", map[string]string{"Cache-Control": "max-age=0", "Last-Modified": date(-time.Hour)}, 0, 2, time.Second, time.Second, true},
		{"no-store", map[string]string{"Cache-Control": "no-store", "ETag": `"a"`}, 0, 2, time.Second, time.Second, false},
		{"private", map[string]string{"Cache-Control": "private, max-age=600"}, 0, 2, time.Second, time.Second, false},
		{"cookie", map[string]string{"Cache-Control": "max-age=600", "Set-Cookie": "a=b"}, 0, 2, time.Second, time.Second, false},
		{"ttl of the config", map[string]string{"Cache-Control": "no-store"}, time.Hour, 1, 59 * time.Minute, time.Hour, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var validated atomic.Bool
			u := serve(t, func(w http.ResponseWriter, r *http.Request) {
				for k, v := range c.headers {
					w.Header().Set(k, v)
				}
				tag, since := r.Header.Get("If-None-Match"), r.Header.Get("If-Modified-Since")
				if tag != "" && tag == c.headers["ETag"] || since != "" && since == c.headers["Last-Modified"] {
					validated.Store(true)
					w.WriteHeader(http.StatusNotModified)
					return
				}
				w.Write(picture)
			})
			src := open(t, u.URL+template, xyz.Options{Cache: cache(t)}, func(s *source.Spec) { s.CacheTTL = c.ttl })
			for i := range 2 {
				pic, err := src.Tile(t.Context(), tile)
				if err != nil || !bytes.Equal(pic.Data, picture) || pic.MediaType != tilescout.PNG {
					t.Fatalf("Tile = %d bytes of %q, %v", len(pic.Data), pic.MediaType, err)
				}
				if i == 0 && (pic.MaxAge < c.least || pic.MaxAge > c.most) {
					t.Errorf("MaxAge = %v, want %v to %v", pic.MaxAge, c.least, c.most)
				}
			}
			if got := u.requests.Load(); got != c.requests || validated.Load() != c.validatedSecond {
				t.Errorf("%d requests, validated %v, want %d, %v", got, validated.Load(), c.requests, c.validatedSecond)
			}
		})
	}
}

// TestStaleIfError: what was fetched once is shown while the upstream fails, unless it forbade that.
func TestStaleIfError(t *testing.T) {
	for _, c := range []struct {
		control string
		status  int
		want    error
	}{
		{"max-age=0", 500, nil},
		{"max-age=0", 403, nil},
		{"max-age=0, must-revalidate", 500, tilescout.ErrUpstream},
		{"max-age=0", 404, tilescout.ErrNotFound},
	} {
		t.Run(c.control+" "+http.StatusText(c.status), func(t *testing.T) {
			var down atomic.Bool
			u := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if down.Load() {
					w.WriteHeader(c.status)
					return
				}
				w.Header().Set("Cache-Control", c.control)
				ok(w, r)
			})
			o := quick()
			o.Cache = cache(t)
			src := open(t, u.URL+template, o)
			if pic, err := src.Tile(t.Context(), tile); err != nil || pic.Stale != (tilescout.Stale{}) {
				t.Fatalf("fresh: %+v, %v", pic.Stale, err)
			}
			down.Store(true)
			for range 2 { // asked, and remembered as failed
				pic, err := src.Tile(t.Context(), tile)
				if err == nil && (pic.Stale.Stored.IsZero() || pic.Stale.Expired.Before(pic.Stale.Stored)) {
					t.Errorf("what is kept past its time says %+v", pic.Stale)
				}
				if !errors.Is(err, c.want) || err == nil && (!bytes.Equal(pic.Data, picture) || pic.MaxAge > time.Minute) {
					t.Errorf("Tile = %d bytes for %v, %v, want %v", len(pic.Data), pic.MaxAge, err, c.want)
				}
			}
		})
	}
}

func TestRestartAndDamage(t *testing.T) {
	dir := t.TempDir()
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		ok(w, r)
	})
	for run := range 2 {
		c, err := diskcache.Open(dir, diskcache.Options{})
		if err != nil {
			t.Fatal(err)
		}
		src := open(t, u.URL+template, xyz.Options{Cache: c})
		if _, err := src.Tile(t.Context(), tile); err != nil {
			t.Fatal(err)
		}
		src.Close()
		c.Close()
		if got := u.requests.Load(); got != 1 {
			t.Errorf("run %d: %d requests, want 1", run, got)
		}
	}
}

// TestVersionKeepsCachesApart: another version of the same template must not see the other's tiles.
func TestVersionKeepsCachesApart(t *testing.T) {
	u := serve(t, ok)
	c := cache(t)
	for i, v := range []string{"", "2024", "2025"} {
		src := open(t, u.URL+template, xyz.Options{Cache: c}, func(s *source.Spec) { s.Version = v })
		if _, err := src.Tile(t.Context(), tile); err != nil {
			t.Fatal(err)
		}
		if got := u.requests.Load(); got != int64(i+1) {
			t.Errorf("version %q: %d requests, want %d", v, got, i+1)
		}
	}
}

func BenchmarkTile(b *testing.B) {
	u := serve(b, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		ok(w, r)
	})
	run := func(b *testing.B, src *xyz.Source, at func(i uint32) maptile.Tile) {
		b.ReportAllocs()
		for i := uint32(0); b.Loop(); i++ {
			if _, err := src.Tile(b.Context(), at(i)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tiles/s")
	}
	b.Run("disk cache", func(b *testing.B) {
		run(b, open(b, u.URL+template, xyz.Options{Cache: cache(b)}), func(i uint32) maptile.Tile { return maptile.New(i%16, i/16%16, 4) })
	})
	b.Run("loopback", func(b *testing.B) {
		run(b, open(b, u.URL+template, xyz.Options{}), func(i uint32) maptile.Tile { return maptile.New(i%16, i/16%16, 4) })
	})
}
