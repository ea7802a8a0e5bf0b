package upstream_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/diskcache"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
	"github.com/tilescout/tilescout/tileserver/source/upstream"
)

// faults are the ways in which an upstream fails (R5).
func faults(picture []byte) map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"500": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"503 with Retry-After": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(503)
		},
		"429":            func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) },
		"silence":        func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"cut connection": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"truncated body": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(picture)))
			w.Write(picture[:len(picture)/2])
		},
		"truncated picture": func(w http.ResponseWriter, _ *http.Request) { w.Write(picture[:len(picture)/2]) },
		"HTML with 200":     func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<!doctype html><title>Login</title>") },
		"wrong content type": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "image/png")
			io.WriteString(w, `{"error": 1}`)
		},
		"exception with 200": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `<ServiceException>no</ServiceException>`)
		},
		"endless body": func(w http.ResponseWriter, r *http.Request) { endless(w, r, picture) },
		"slow body": func(w http.ResponseWriter, r *http.Request) {
			for _, b := range picture {
				if _, err := w.Write([]byte{b}); err != nil || r.Context().Err() != nil {
					return
				}
				w.(http.Flusher).Flush()
				time.Sleep(10 * time.Millisecond)
			}
		},
	}
}

func endless(w http.ResponseWriter, r *http.Request, picture []byte) {
	for r.Context().Err() == nil {
		if _, err := w.Write(picture); err != nil {
			return
		}
	}
}

// TestFaults is R5: while the upstream fails in each way, what is kept is shown, marked by a short life; what is not
// kept is ErrUpstream; and when the upstream is well again, so are the tiles.
func TestFaults(t *testing.T) {
	picture := sourcetest.Paint(maptile.Tile{}, 256)
	for name, fault := range faults(picture) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ill atomic.Bool
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if ill.Load() {
					fault(w, r)
					return
				}
				w.Header().Set("Cache-Control", "max-age=0")
				w.Header().Set("ETag", `"`+r.URL.Path+`"`)
				w.Write(picture)
			}))
			t.Cleanup(server.Close) // parallel
			cache, err := diskcache.Open(t.TempDir(), diskcache.Options{})
			if err != nil {
				t.Fatal(err)
			}
			hosts := upstream.NewHosts()
			c := client(t, nil, upstream.Options{
				Hosts: hosts, Cache: cache, HeaderTimeout: 300 * time.Millisecond, TotalTimeout: time.Second, StaleAfter: 100 * time.Millisecond,
				FailureTTL: time.Millisecond, BlockTime: time.Millisecond,
			}, "127.0.0.1")
			f, err := c.NewFetcher(source.Spec{ID: "test"}, strings.TrimPrefix(server.URL, "http://"), "1")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			get := func(key string) (tilescout.Picture, error) {
				address := func() string { return server.URL + "/" + key + "?key=SECRET" }
				return f.Picture(t.Context(), upstream.Request{Key: key, URL: address, Shown: func() string { return upstream.RedactURL(address()) }})
			}
			for i := range 4 {
				if _, err := get(fmt.Sprint("kept ", i)); err != nil {
					t.Fatal(err)
				}
			}
			ill.Store(true)
			for i := range 4 {
				pic, err := get(fmt.Sprint("kept ", i))
				if err != nil || !bytes.Equal(pic.Data, picture) || pic.MaxAge == 0 || pic.MaxAge > time.Minute {
					t.Errorf("kept picture: %d bytes for %v, %v", len(pic.Data), pic.MaxAge, err)
				}
			}
			_, err = get("new")
			if !errors.Is(err, tilescout.ErrUpstream) || strings.Contains(err.Error(), "SECRET") || strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("picture that is not kept: %v, want ErrUpstream", err)
			}
			if _, stale := f.Stats(); stale < 4 {
				t.Errorf("%d stale pictures counted, want 4", stale)
			}
			status := hosts.Status()
			if len(status) != 1 || status[0].Stale < 4 || status[0].Requests < 5 {
				t.Errorf("Status() = %+v", status)
			}
			ill.Store(false)
			upstream.CloseCircuits(hosts) // half a minute later
			deadline := time.Now().Add(20 * time.Second)
			for {
				_, err = get("new")
				if err == nil || time.Now().After(deadline) {
					break
				}
				time.Sleep(20 * time.Millisecond)
			}
			if err != nil {
				t.Errorf("after the upstream is well again: %v", err)
			}
			if s := hosts.Status()[0]; s.Circuit != "closed" {
				t.Errorf("circuit is %s after success", s.Circuit)
			}
		})
	}
}

// TestSlowUpstreamIsShownLater: whoever has an old picture need not wait for the new one, and the new one comes all the
// same, once.
func TestSlowUpstreamIsShownLater(t *testing.T) {
	old, fresh := sourcetest.Paint(maptile.Tile{}, 256), sourcetest.Paint(maptile.Tile{Z: 1}, 256)
	var slow atomic.Bool
	var asked atomic.Int64
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=0")
		if !slow.Load() {
			w.Write(old)
			return
		}
		asked.Add(1)
		<-release
		w.Header().Set("Cache-Control", "max-age=600")
		w.Write(fresh)
	}))
	defer server.Close()
	cache, err := diskcache.Open(t.TempDir(), diskcache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, nil, upstream.Options{Cache: cache, StaleAfter: 10 * time.Millisecond, HeaderTimeout: time.Minute, TotalTimeout: time.Minute}, "127.0.0.1")
	f, err := c.NewFetcher(source.Spec{ID: "test"}, "h", "1")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	get := func() []byte {
		pic, err := f.Picture(t.Context(), upstream.Request{Key: "k", URL: func() string { return server.URL }, Shown: func() string { return "" }})
		if err != nil {
			t.Fatal(err)
		}
		return pic.Data
	}
	get()
	slow.Store(true)
	for range 5 {
		if !bytes.Equal(get(), old) {
			t.Error("the old picture is not shown meanwhile")
		}
	}
	close(release)
	deadline := time.Now().Add(20 * time.Second)
	for !bytes.Equal(get(), fresh) {
		if time.Now().After(deadline) {
			t.Fatal("the new picture never came")
		}
		time.Sleep(time.Millisecond)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times for the new picture, want once", n)
	}
}

// TestDocumentFaults: what may come in place of a document.
func TestDocumentFaults(t *testing.T) {
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		kind    error
		text    string
	}{
		{"404", http.NotFound, tilescout.ErrBadInput, "no such document (404)"},
		{"401", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, tilescout.ErrUpstream, "does it want a key"},
		{"500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, tilescout.ErrUpstream, "answered 500"},
		{"too large by promise", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "99999999999") }, upstream.ErrDocumentTooLarge, "the document is too long"},
		{"too large", func(w http.ResponseWriter, r *http.Request) { endless(w, r, make([]byte, 64<<10)) }, upstream.ErrDocumentTooLarge, "more than 10485760 bytes"},
		{"silence", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, tilescout.ErrUpstream, "no answer in time"},
		{"cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, tilescout.ErrUpstream, ""},
		{"loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", 302) }, tilescout.ErrUpstream, "more than 3 in a row"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(c.handler)
			defer server.Close()
			cl := client(t, nil, upstream.Options{HeaderTimeout: 200 * time.Millisecond, TotalTimeout: 5 * time.Second}, "127.0.0.1")
			_, err := cl.Document(t.Context(), server.URL+"/?key=SECRET")
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "SECRET") {
				t.Errorf("Document: %v, want %v with %q", err, c.kind, c.text)
			}
		})
	}
}
