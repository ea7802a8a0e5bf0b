package remote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source/remote"
)

// content is a file of n bytes that are not alike.
func content(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// origin is a server of one file that can be made to fail.
type origin struct {
	*httptest.Server
	requests atomic.Int64
	mu       sync.Mutex
	data     []byte                                            // guarded by mu
	etag     string                                            // guarded by mu
	fault    func(w http.ResponseWriter, r *http.Request) bool // guarded by mu: true if it answered
}

func serve(t testing.TB, data []byte, etag string) *origin {
	o := &origin{data: data, etag: etag}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.requests.Add(1)
		o.mu.Lock()
		data, etag, fault := o.data, o.etag, o.fault
		o.mu.Unlock()
		if fault != nil && fault(w, r) {
			return
		}
		if etag != "" {
			w.Header().Set("ETag", etag)
		}
		w.Header().Set("Content-Type", "image/tiff")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	t.Cleanup(o.Close)
	return o
}

func (o *origin) set(change func(*origin)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change(o)
}

func quick() remote.Options { return remote.Options{Backoff: time.Millisecond} }

func open(t testing.TB, o *origin, opt remote.Options) *remote.File {
	t.Helper()
	f, err := remote.Open(context.Background(), o.URL+"/city.tif?key=secret", opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestReadsLikeTheFile(t *testing.T) {
	for _, n := range []int{1, 100, 64 << 10, 64<<10 + 1, 3<<20 + 7} {
		data := content(n)
		f := open(t, serve(t, data, `"v1"`), quick())
		if f.Size() != int64(n) || f.ETag() != "v1" {
			t.Fatalf("Size, ETag = %d, %q; want %d, v1", f.Size(), f.ETag(), n)
		}
		whole, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
		if err != nil || !bytes.Equal(whole, data) {
			t.Fatalf("%d bytes: read %d of them, error %v", n, len(whole), err)
		}
		r := rand.New(rand.NewPCG(3, uint64(n)))
		for range 50 {
			off := r.Int64N(int64(n))
			p := make([]byte, r.IntN(300<<10))
			got, err := f.ReadAt(p, off)
			want := data[off:min(int(off)+len(p), n)]
			if !bytes.Equal(p[:got], want) || (err == io.EOF) != (len(want) < len(p)) || err != nil && err != io.EOF {
				t.Fatalf("ReadAt(%d bytes, %d) of %d = %d, %v", len(p), off, n, got, err)
			}
		}
		if got, err := f.ReadAt(make([]byte, 1), int64(n)); got != 0 || err != io.EOF {
			t.Errorf("ReadAt at the end = %d, %v; want 0, EOF", got, err)
		}
		if _, err := f.ReadAt(make([]byte, 1), -1); !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("ReadAt before the start: %v", err)
		}
	}
}

func TestBlocksAreFetchedOnce(t *testing.T) {
	o := serve(t, content(8<<20), `"v1"`)
	f := open(t, o, quick())
	if n := o.requests.Load(); n != 1 {
		t.Fatalf("Open made %d requests, want 1", n)
	}
	if _, err := f.ReadAt(make([]byte, 1<<20), 100<<10); err != nil {
		t.Fatal(err)
	}
	// 17 blocks of which at most 16 come in one request.
	if n := o.requests.Load(); n != 3 {
		t.Errorf("1 MiB took %d requests, want 2", n-1)
	}
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if _, err := f.ReadAt(make([]byte, 200<<10), 4<<20); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := o.requests.Load(); n != 4 {
		t.Errorf("32 readers of one place took %d requests, want 1", n-3)
	}
	if _, err := f.ReadAt(make([]byte, 100), 4<<20+1000); err != nil || o.requests.Load() != 4 {
		t.Errorf("what is held was asked for again: %d requests, %v", o.requests.Load(), err)
	}
}

func TestCacheIsBounded(t *testing.T) {
	data := content(4 << 20)
	c := remote.NewCache(512 << 10)
	opt := quick()
	opt.Cache = c
	f := open(t, serve(t, data, `"v1"`), opt)
	for i := range 64 {
		p := make([]byte, 64<<10)
		if _, err := f.ReadAt(p, int64(i)<<16); err != nil || !bytes.Equal(p, data[i<<16:(i+1)<<16]) {
			t.Fatalf("block %d: %v", i, err)
		}
	}
	if s := c.Stats(); s.Bytes > 512<<10 || s.Evictions == 0 {
		t.Errorf("cache holds %d bytes after %d evictions, limit 524288", s.Bytes, s.Evictions)
	}
}

func TestOpenRefuses(t *testing.T) {
	answer := func(code int, header map[string]string, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			for k, v := range header {
				w.Header().Set(k, v)
			}
			w.WriteHeader(code)
			io.WriteString(w, body)
			return true
		}
	}
	for _, c := range []struct {
		name  string
		fault func(http.ResponseWriter, *http.Request) bool
		kind  error
		text  string
	}{
		{"no ranges", answer(200, nil, "II*\x00 and so on"), tilescout.ErrBadInput, "does not support range requests"},
		{"page", answer(200, nil, "  <!DOCTYPE html><html>"), tilescout.ErrBadInput, "an HTML page"},
		{"missing", answer(404, nil, "no"), tilescout.ErrBadInput, "no such file"},
		{"forbidden", answer(403, nil, "no"), tilescout.ErrUpstream, "403"},
		{"empty", answer(416, map[string]string{"Content-Range": "bytes */0"}, ""), tilescout.ErrBadInput, "empty"},
		{"5xx", answer(503, nil, "no"), tilescout.ErrUpstream, "503"},
		{"range without length", answer(206, map[string]string{"Content-Range": "bytes 0-9/*"}, "0123456789"), tilescout.ErrUpstream, "Content-Range"},
		{"no Content-Range", answer(206, nil, "0123456789"), tilescout.ErrUpstream, "Content-Range"},
		{"nonsense", answer(206, map[string]string{"Content-Range": "bytes 5-2/9"}, "0123456789"), tilescout.ErrUpstream, "Content-Range"},
		{"huge", answer(206, map[string]string{"Content-Range": "bytes 0-9/99999999999999999999"}, "0123456789"), tilescout.ErrUpstream, "Content-Range"},
		{"other range", answer(206, map[string]string{"Content-Range": "bytes 1-9/10"}, "123456789"), tilescout.ErrUpstream, "asked for"},
		{"fewer", answer(206, map[string]string{"Content-Range": "bytes 0-9/100"}, "0123456789"), tilescout.ErrUpstream, "asked for"},
		{"short body", answer(206, map[string]string{"Content-Range": "bytes 0-99/100"}, "0123456789"), tilescout.ErrUpstream, "breaks off"},
		{"long body", answer(206, map[string]string{"Content-Range": "bytes 0-4/5"}, "0123456789"), tilescout.ErrUpstream, "longer"},
		{"gzip", answer(206, map[string]string{"Content-Range": "bytes 0-9/10", "Content-Encoding": "gzip"}, "0123456789"), tilescout.ErrUpstream, "compresses"},
		{"multipart", answer(206, map[string]string{"Content-Range": "bytes 0-9/10", "Content-Type": "multipart/byteranges; boundary=x"}, "0123456789"), tilescout.ErrUpstream, "several"},
		{"redirects in a circle", func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "/again", http.StatusFound)
			return true
		}, tilescout.ErrUpstream, "redirect"},
		{"redirect to a file", func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
			return true
		}, tilescout.ErrUpstream, "redirect"},
		{"cut off", func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, tilescout.ErrUpstream, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := serve(t, nil, "")
			o.set(func(o *origin) { o.fault = c.fault })
			_, err := remote.Open(context.Background(), o.URL+"/city.tif?key=secret", quick())
			if !errors.Is(err, c.kind) || !strings.Contains(fmt.Sprint(err), c.text) || strings.Contains(fmt.Sprint(err), "secret") || strings.Contains(fmt.Sprint(err), "\n") {
				t.Errorf("Open: error %q, want %v with %q and no key", err, c.kind, c.text)
			}
			if n := o.requests.Load(); n > 4 {
				t.Errorf("%d requests", n)
			}
		})
	}
	for _, address := range []string{"", "city.tif", "ftp://host/x.tif", "http://", "http://[::1", "https://h\x00st/"} {
		if _, err := remote.Open(context.Background(), address, quick()); !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("Open(%q): error %v, want ErrBadInput", address, err)
		}
	}
}

func TestFaultsThatPass(t *testing.T) {
	data := content(1 << 20)
	for name, fault := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"500": func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(500); return true },
		"429": func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(429)
			return true
		},
		"aborted": func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
		"short": func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Range", "bytes 131072-196607/1048576")
			w.WriteHeader(206)
			w.Write(data[131072:140000])
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := serve(t, data, `"v1"`)
			f := open(t, o, quick())
			var faults atomic.Int64
			o.set(func(o *origin) {
				o.fault = func(w http.ResponseWriter, r *http.Request) bool {
					return faults.Add(1) <= 2 && fault(w, r)
				}
			})
			p := make([]byte, 1000)
			if _, err := f.ReadAt(p, 2<<16+500); err != nil || !bytes.Equal(p, data[2<<16+500:][:1000]) {
				t.Errorf("after two faults: %v", err)
			}
			o.set(func(o *origin) { o.fault = fault })
			before := o.requests.Load()
			if _, err := f.ReadAt(p, 9<<16); !errors.Is(err, tilescout.ErrUpstream) {
				t.Errorf("faults without end: error %v, want ErrUpstream", err)
			}
			if n := o.requests.Load() - before; n > 6 { // net/http itself repeats a request on a kept connection that breaks
				t.Errorf("%d requests for one read", n)
			}
			o.set(func(o *origin) { o.fault = nil })
			if _, err := f.ReadAt(p, 9<<16); err != nil || !bytes.Equal(p, data[9<<16:][:1000]) {
				t.Errorf("after the fault: %v", err) // errors are not kept
			}
		})
	}
}

func TestChangedFile(t *testing.T) {
	for _, c := range []struct {
		name   string
		etag   string
		change func(*origin)
	}{
		{"other ETag, If-Range heeded", `"v1"`, func(o *origin) { o.etag = `"v2"` }},
		{"other ETag, If-Range ignored", `"v1"`, func(o *origin) {
			o.fault = func(w http.ResponseWriter, r *http.Request) bool {
				w.Header().Set("ETag", `"v2"`)
				r.Header.Del("If-Range")
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(o.data))
				return true
			}
		}},
		{"other length", "", func(o *origin) { o.data = content(2 << 20) }},
		{"shorter than the range", "", func(o *origin) { o.data = content(10) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := serve(t, content(1<<20), c.etag)
			f := open(t, o, quick())
			o.set(c.change)
			_, err := f.ReadAt(make([]byte, 10), 5<<16)
			if !errors.Is(err, remote.ErrChanged) || !errors.Is(err, tilescout.ErrUpstream) {
				t.Errorf("ReadAt: error %v, want ErrChanged", err)
			}
			if !f.Changed() {
				t.Error("Changed() = false after ErrChanged")
			}
			if n := o.requests.Load(); n != 2 {
				t.Errorf("%d requests, want 2: a changed file is no passing fault", n)
			}
			again := open(t, o, quick())
			if again.Version() == f.Version() {
				t.Errorf("both versions are %q", f.Version())
			}
		})
	}
}

func TestWeakETagIsNoValidator(t *testing.T) {
	o := serve(t, content(1<<20), `W/"v1"`)
	f := open(t, o, quick())
	if _, err := f.ReadAt(make([]byte, 10), 5<<16); err != nil || f.ETag() != "" {
		t.Errorf("ETag %q, error %v", f.ETag(), err)
	}
}

func TestContextEndsARead(t *testing.T) {
	o := serve(t, content(1<<20), `"v1"`)
	opt := quick()
	opt.Timeout = 300 * time.Millisecond
	f := open(t, o, opt)
	hold := make(chan struct{})
	o.set(func(o *origin) {
		o.fault = func(_ http.ResponseWriter, r *http.Request) bool {
			select {
			case <-hold:
			case <-r.Context().Done():
			}
			return true
		}
	})
	defer close(hold)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := f.ReadAtContext(ctx, make([]byte, 10), 5<<16); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("caller's deadline: %v", err)
	}
	if _, err := f.ReadAt(make([]byte, 10), 5<<16); !errors.Is(err, tilescout.ErrUpstream) {
		t.Errorf("own deadline: %v, want ErrUpstream", err)
	}
	go func() { time.Sleep(20 * time.Millisecond); f.Close() }()
	if _, err := f.ReadAt(make([]byte, 10), 6<<16); !errors.Is(err, tilescout.ErrUnavailable) {
		t.Errorf("read while it is closed: %v, want ErrUnavailable", err)
	}
	if _, err := f.ReadAt(make([]byte, 10), 7<<16); !errors.Is(err, tilescout.ErrUnavailable) {
		t.Errorf("read after Close: %v, want ErrUnavailable", err)
	}
}

// A reader that leaves must not take down another that joined its request.
func TestLeaverTakesNobodyAlong(t *testing.T) {
	data := content(1 << 20)
	o := serve(t, data, `"v1"`)
	f := open(t, o, quick())
	arrived, release := make(chan struct{}, 8), make(chan struct{})
	o.set(func(o *origin) {
		o.fault = func(http.ResponseWriter, *http.Request) bool { arrived <- struct{}{}; <-release; return false }
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := f.ReadAtContext(ctx, make([]byte, 3<<16), 2<<16); !errors.Is(err, context.Canceled) {
			t.Errorf("leaver: %v", err)
		}
	})
	<-arrived
	p := make([]byte, 100)
	wg.Go(func() {
		if _, err := f.ReadAt(p, 3<<16); err != nil || !bytes.Equal(p, data[3<<16:][:100]) {
			t.Errorf("who stays: %v", err)
		}
	})
	time.Sleep(20 * time.Millisecond) // let it join
	cancel()
	time.Sleep(5 * time.Millisecond)
	close(release)
	wg.Wait()
}

func TestHeadersStayWithTheirHost(t *testing.T) {
	seen := make(chan http.Header, 4)
	other := serve(t, content(100), "")
	other.set(func(o *origin) {
		o.fault = func(_ http.ResponseWriter, r *http.Request) bool { seen <- r.Header; return false }
	})
	first := serve(t, nil, "")
	first.set(func(o *origin) {
		o.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("X-Key") != "secret" {
				t.Error("the header did not reach its host")
			}
			http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "localhost", 1)+"/moved.tif", http.StatusFound)
			return true
		}
	})
	opt := quick()
	opt.Header = http.Header{"X-Key": {"secret"}}
	f := open(t, first, opt)
	if f.Size() != 100 {
		t.Errorf("Size() = %d after a redirect", f.Size())
	}
	h := <-seen
	if h.Get("X-Key") != "" || h.Get("Referer") != "" {
		t.Errorf("another host was told %v", h)
	}
	if h.Get("Range") == "" || h.Get("User-Agent") == "" {
		t.Errorf("redirected without Range or User-Agent: %v", h)
	}
}
