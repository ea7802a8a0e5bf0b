// Package remote reads a file behind a URL by HTTP ranges, so that an archive or a Cloud-Optimized GeoTIFF can be opened
// where it lies: a few blocks of 64 KiB are fetched, kept and shared, never the whole file.
//
//	f, err := remote.Open(ctx, "https://host/city.tif", remote.Options{})
//	defer f.Close()
//	n, err := f.ReadAt(header, 0)
//
// What is read belongs to one version of the file: its ETag, date and length are held against every answer, and a file
// that changes under the reader is ErrChanged, never a mix of two.
package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/sync/semaphore"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache"
)

const (
	blockSize    = 64 << 10 // bytes; requests begin and end on multiples of it
	maxRun       = 16       // blocks in one request
	maxRedirects = 3
	maxHeader    = 64 << 10 // bytes of an answer's header
)

// ErrChanged: the file is no longer the one that was opened; open it anew. It is a tilescout.ErrUpstream.
var ErrChanged = fmt.Errorf("the remote file has changed since it was opened, reopen it: %w", tilescout.ErrUpstream)

// Key names a block of a file.
type Key struct {
	file  string // address and version
	block int64
}

// Cache holds blocks of many files, bounded by bytes.
type Cache = cache.Cache[Key, []byte]

// NewCache returns a cache of at most so many bytes; share it among the files of a program.
func NewCache(bytes int64) *Cache {
	return cache.New(bytes, func(_ Key, b []byte) int { return len(b) + 256 })
}

// Options of a file; the zero value works.
type Options struct {
	// Transport makes the requests: the place of the guard against private networks. nil means one of its own with
	// time limits, direct or by the proxy of the environment given in Proxy.
	Transport http.RoundTripper
	Proxy     func(*http.Request) (*url.URL, error) // of the default Transport; nil connects directly

	Header      http.Header   // sent to the host of the URL, not to one that it redirects to
	UserAgent   string        // "" means Tilescout's own
	Cache       *Cache        // nil means one of 32 MiB for this file alone
	Concurrency int           // requests in flight; 0 means 8
	Timeout     time.Duration // of one read with its retries; 0 means 20 s
	Backoff     time.Duration // before the first retry, twice as long before the second; 0 means 200 ms
}

// setDefaults returns the transport that it has made, if it has.
func (o *Options) setDefaults() (own *http.Transport) {
	o.UserAgent = cmp.Or(o.UserAgent, "Tilescout (+https://github.com/tilescout/tilescout)")
	if o.Cache == nil {
		o.Cache = NewCache(32 << 20)
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 8
	}
	o.Timeout = cmp.Or(o.Timeout, 20*time.Second)
	o.Backoff = cmp.Or(o.Backoff, 200*time.Millisecond)
	if o.Transport == nil {
		dialer := &net.Dialer{Timeout: 3 * time.Second}
		own = &http.Transport{
			Proxy: o.Proxy, DialContext: dialer.DialContext, TLSHandshakeTimeout: 5 * time.Second,
			ResponseHeaderTimeout: 10 * time.Second, MaxResponseHeaderBytes: maxHeader,
			MaxIdleConnsPerHost: o.Concurrency, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true, DisableCompression: true,
		}
		o.Transport = own
	}
	return own
}

// File is a remote file of known length and version. It is safe for concurrent use.
type File struct {
	o        Options
	url      string
	shown    string // the address without what may be secret, for messages
	client   *http.Client
	own      *http.Transport // nil if the transport is the caller's
	size     int64
	etag     string // strong validator as it was sent, with its quotes; "" if there is none
	modified string // Last-Modified as it was sent
	key      string
	slots    *semaphore.Weighted
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	changed  atomic.Bool // an answer was of another version

	mu      sync.Mutex
	flights map[int64]*flight // guarded by mu: by block
}

// Open asks for the first block and learns length and version. ErrBadInput: not an address, no such file, or a server
// that cannot serve ranges; ErrUpstream: the server failed or refused.
func Open(ctx context.Context, address string, o Options) (*File, error) {
	own := o.setDefaults()
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("remote: the address is not one of http:// or https://: %w", tilescout.ErrBadInput)
	}
	for name, values := range o.Header {
		for _, v := range values {
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(v) {
				return nil, fmt.Errorf("remote: header %q holds characters that HTTP forbids: %w", name, tilescout.ErrBadInput)
			}
		}
	}
	f := &File{o: o, url: u.String(), shown: u.Scheme + "://" + u.Host + u.EscapedPath(), slots: semaphore.NewWeighted(int64(o.Concurrency)), flights: map[int64]*flight{}}
	f.own = own
	f.client = &http.Client{Transport: o.Transport, CheckRedirect: f.checkRedirect}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.size = -1
	limited, stop := context.WithTimeout(ctx, o.Timeout)
	defer stop()
	first, err := f.fetch(limited, 0, 0)
	if err != nil {
		err = f.cause(ctx, err)
		f.Close()
		return nil, fmt.Errorf("remote %s: %w", f.shown, err)
	}
	o.Cache.Add(Key{f.key, 0}, first[0])
	return f, nil
}

// Size returns the length of the file in bytes.
func (f *File) Size() int64 { return f.size }

// ETag returns the file's strong validator without quotes; "" if the server gives none.
func (f *File) ETag() string {
	if len(f.etag) < 2 {
		return ""
	}
	return f.etag[1 : len(f.etag)-1]
}

// Modified returns when the file was last changed; zero if the server does not say.
func (f *File) Modified() time.Time {
	t, err := http.ParseTime(f.modified)
	if err != nil {
		return time.Time{}
	}
	return t
}

// Version is a text that differs between versions of the file, as far as the server tells them apart.
func (f *File) Version() string { return fmt.Sprintf("%d %s %s", f.size, f.etag, f.modified) }

// Changed tells whether a read has failed with ErrChanged: what is kept can still be read, nothing else.
func (f *File) Changed() bool { return f.changed.Load() }

// Close ends requests under way. Reads after it are ErrUnavailable. Blocks stay in a shared cache until they age.
func (f *File) Close() error {
	f.cancel()
	if f.own != nil {
		f.own.CloseIdleConnections()
	}
	return nil
}

// ReadAt implements io.ReaderAt within Options.Timeout.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	return f.ReadAtContext(context.Background(), p, off)
}

// ReadAtContext is ReadAt that ends with ctx. A short read at the end of the file is io.EOF; a server that fails is
// ErrUpstream, a changed file ErrChanged.
func (f *File) ReadAtContext(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("remote %s: offset %d: %w", f.shown, off, tilescout.ErrBadInput)
	}
	if off >= f.size {
		return 0, io.EOF
	}
	want := p[:min(int64(len(p)), f.size-off)]
	if len(want) == 0 {
		return 0, nil
	}
	limited, stop := context.WithTimeout(ctx, f.o.Timeout)
	defer stop()
	n := 0
	last := (off + int64(len(want)) - 1) / blockSize
	for n < len(want) {
		at := off + int64(n)
		b, err := f.block(limited, at/blockSize, last)
		if err != nil {
			return n, fmt.Errorf("remote %s: read %d bytes at %d: %w", f.shown, len(want), off, f.cause(ctx, err))
		}
		n += copy(want[n:], b[at%blockSize:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// cause gives the ends of our own clocks and of the file their kinds; the caller's end stays its own.
func (f *File) cause(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case f.ctx.Err() != nil:
		return fmt.Errorf("closed: %w", tilescout.ErrUnavailable)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %v: %w", f.o.Timeout, tilescout.ErrUpstream)
	}
	return err
}

// blocks is the number of blocks of the file.
func (f *File) blocks() int64 {
	if f.size < 0 {
		return math.MaxInt64
	}
	return (f.size + blockSize - 1) / blockSize
}
