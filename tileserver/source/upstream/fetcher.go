package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"
	"golang.org/x/time/rate"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/diskcache"
)

// Request is one picture of an upstream.
type Request struct {
	Key   string        // names the picture within its layer: z/x/y
	URL   func() string // its address; called only when it is asked for
	Shown func() string // its address as people may see it
}

// Fetcher fetches the pictures of one layer: few at once, each once however many wait for it, kept as long as the
// headers say and then asked for by its validator, from what is kept while the upstream fails. Safe for concurrent use.
type Fetcher struct {
	client   *Client
	spec     source.Spec
	o        Options
	version  string
	host     *host
	rate     *rate.Limiter
	fallback time.Duration // how long an answer is kept that does not say
	missing  *lru.Cache[string, missing]
	flights  flights
	worked   atomic.Bool  // a picture has come since the start
	requests atomic.Int64 // sent
	stale    atomic.Int64 // answered from an expired entry because the upstream failed

	mu         sync.Mutex // guards all below
	refusal    error      // the upstream refused us
	refusedFor time.Time  // until then
}

// missing is a picture that is not asked for again for a while.
type missing struct {
	err   error
	until time.Time
}

const (
	maxMissing     = 16384 // pictures remembered as missing or failed
	acceptPictures = "image/webp,image/png,image/jpeg,image/*;q=0.5,*/*;q=0.1"
)

// NewFetcher returns the fetcher of a layer. host names the upstream that its limits and its circuit breaker belong to,
// with * for what changes from picture to picture; version is the layer's, under which pictures are kept.
func (c *Client) NewFetcher(spec source.Spec, host, version string) (*Fetcher, error) {
	f := &Fetcher{
		client: c, spec: spec, o: c.o, version: version, fallback: dayLong,
		host: c.o.Hosts.get(host, spec.MaxConcurrency),
		rate: rate.NewLimiter(rate.Inf, 0),
	}
	if spec.MaxRPS > 0 {
		f.rate = rate.NewLimiter(rate.Limit(spec.MaxRPS), 1)
	}
	if IsOSM(host) {
		f.fallback = osmLifetime
	}
	var err error
	if f.missing, err = lru.New[string, missing](maxMissing); err != nil {
		return nil, fmt.Errorf("layer %s: %w", spec.ID, err)
	}
	return f, nil
}

// Stats counts since the start: requests sent, and pictures answered from an expired entry because the upstream failed.
func (s *Fetcher) Stats() (requests, stale int64) { return s.requests.Load(), s.stale.Load() }

// Closed tells whether Close has been called; ErrClosed is what Picture returns then.
func (s *Fetcher) Closed() bool { return s.flights.isClosed() }

// Admits says why a tile of a layer need not be asked for at all: ErrOutOfRange beside its grid or zooms, ErrNotFound
// outside its bounds, ErrClosed after Close, or ctx has ended. nil: ask.
func (s *Fetcher) Admits(ctx context.Context, t maptile.Tile, info tilescout.LayerInfo, bounds []orb.Bound) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !source.InGrid(t, info.MinZoom, info.MaxZoom):
		return fmt.Errorf("zooms are %d to %d: %w", info.MinZoom, info.MaxZoom, tilescout.ErrOutOfRange)
	case s.Closed():
		return ErrClosed
	case !source.InBounds(t, bounds):
		return fmt.Errorf("outside the layer's bounds: %w", tilescout.ErrNotFound)
	}
	return nil
}

// Close ends what is being fetched and returns when it has ended.
func (s *Fetcher) Close() error {
	s.flights.close()
	s.client.Close()
	return nil
}

// Picture returns a picture, from the disk cache while it is fresh. Equal keys at the same time are fetched once;
// a caller who leaves fails nobody else, and the fetch ends when the last has left. ErrNotFound: the upstream has none.
// ErrUpstream: it failed, and nothing is kept. ErrBusy: too many wait. ErrUnavailable: after Close.
func (s *Fetcher) Picture(ctx context.Context, r Request) (tilescout.Picture, error) {
	if err := ctx.Err(); err != nil {
		return tilescout.Picture{}, err
	}
	if s.Closed() {
		return tilescout.Picture{}, ErrClosed
	}
	known := s.cached(r.Key)
	if known != nil && time.Now().Before(known.Expires) {
		return picture(*known), nil
	}
	if m, ok := s.missing.Get(r.Key); ok && time.Now().Before(m.until) {
		return s.orStale(known, m.err)
	}
	var patience time.Duration
	if known != nil && !known.NoStale {
		patience = s.o.StaleAfter
	}
	pic, err := s.flights.do(ctx, r.Key, s.o.TotalTimeout, patience, func(ctx context.Context) (tilescout.Picture, error) {
		return s.refresh(ctx, r)
	})
	if errors.Is(err, errPatience) {
		return s.orStale(known, tilescout.ErrUpstream)
	}
	return pic, err
}

func (s *Fetcher) cached(key string) *diskcache.Entry {
	if s.o.Cache == nil {
		return nil
	}
	if e, ok := s.o.Cache.Get(s.cacheKey(key)); ok {
		return &e
	}
	return nil
}

func (s *Fetcher) cacheKey(key string) string { return s.version + " " + key }

// refresh asks the upstream for r and keeps the answer. It runs once for all who wait for it.
func (s *Fetcher) refresh(ctx context.Context, r Request) (tilescout.Picture, error) {
	known := s.cached(r.Key) // again: who was here before may just have stored it
	if known != nil && time.Now().Before(known.Expires) {
		return picture(*known), nil
	}
	a, err := s.fetch(ctx, r, known)
	now := time.Now()
	if err != nil {
		err = s.explain(r, err)
		s.remember(r, err, now)
		return s.orStale(known, err)
	}
	s.missing.Remove(r.Key)
	f := freshnessOf(a.header, now, s.fallback)
	if s.spec.CacheTTL > f.lifetime {
		f.lifetime, f.store = s.spec.CacheTTL, true
	}
	e := diskcache.Entry{
		MediaType: a.mediaType, ETag: a.header.Get("ETag"), LastModified: a.header.Get("Last-Modified"),
		Stored: now, Expires: now.Add(f.lifetime), Stated: f.stated, NoStale: f.noStale, Data: a.data,
	}
	if a.unchanged {
		e.MediaType, e.Data = known.MediaType, known.Data
		e.ETag, e.LastModified = cmp.Or(e.ETag, known.ETag), cmp.Or(e.LastModified, known.LastModified)
	}
	if s.o.Cache != nil {
		if f.store {
			s.o.Cache.Put(s.cacheKey(r.Key), e)
		} else {
			s.o.Cache.Delete(s.cacheKey(r.Key))
		}
	}
	return picture(e), nil
}

// explain says which address failed; its keys are masked.
func (s *Fetcher) explain(r Request, err error) error {
	if errors.Is(err, tilescout.ErrUpstream) {
		return &failure{err: fmt.Errorf("GET %s: %w", r.Shown(), err), asked: wasAsked(err)}
	}
	return err
}

func wasAsked(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.asked
}

// remember keeps a tile that is missing or failed from being asked for again at once. Failures in which nobody was
// asked are cheap to repeat.
func (s *Fetcher) remember(r Request, err error, now time.Time) {
	var ttl time.Duration
	switch {
	case errors.Is(err, tilescout.ErrNotFound):
		ttl = s.o.MissingTTL
		if s.o.Cache != nil {
			s.o.Cache.Delete(s.cacheKey(r.Key))
		}
	case errors.Is(err, tilescout.ErrUpstream) && wasAsked(err):
		ttl = s.o.FailureTTL
	default:
		return
	}
	s.missing.Add(r.Key, missing{err: err, until: now.Add(ttl*9/10 + rand.N(ttl/5+1))})
}

// staleAge is how long clients may keep a tile that is shown only because the upstream fails.
const staleAge = time.Minute

// orStale returns the expired entry in place of a failure of the upstream, if there is one and it may be used.
func (s *Fetcher) orStale(known *diskcache.Entry, err error) (tilescout.Picture, error) {
	failed := errors.Is(err, tilescout.ErrUpstream) || errors.Is(err, tilescout.ErrBusy)
	if known == nil || known.NoStale || !failed {
		return tilescout.Picture{}, err
	}
	s.stale.Add(1)
	s.host.stale.Add(1)
	pic := picture(*known)
	pic.MaxAge, pic.Stale = staleAge, tilescout.Stale{Stored: known.Stored, Expired: known.Expires}
	return pic, nil
}

// picture turns an entry into what callers get. Its ETag is of the bytes: an upstream's own may change without them.
func picture(e diskcache.Entry) tilescout.Picture {
	pic := tilescout.Picture{Data: e.Data, MediaType: e.MediaType, ETag: source.ETag(e.Data)}
	if modified, err := http.ParseTime(e.LastModified); err == nil {
		pic.Modified = modified
	}
	if e.Stated {
		pic.MaxAge = max(time.Until(e.Expires), time.Second)
	}
	return pic
}

// block stops all requests for a while: an upstream that refuses us means it, and asking on makes it worse.
func (s *Fetcher) block(code int) error {
	err := fmt.Errorf("upstream refuses us with %d (key, User-Agent or terms of use?), it is asked again after %v: %w", code, s.o.BlockTime, tilescout.ErrUpstream)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusal, s.refusedFor = err, time.Now().Add(s.o.BlockTime)
	return err
}

func (s *Fetcher) blocked() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refusal != nil && time.Now().Before(s.refusedFor) {
		return s.refusal
	}
	s.refusal = nil
	return nil
}

// Bulk tells whether a whole area may be fetched from host for the layer of spec: on our own network always, elsewhere
// where the operator says that the terms allow it. If not, the error is ErrForbidden and says what the operator can do.
func Bulk(spec source.Spec, host string) error {
	terms := ""
	if spec.TermsURL != "" {
		terms = " (" + spec.TermsURL + ")"
	}
	switch {
	case IsOSM(host) && (!spec.AllowBulk || spec.Permission == ""):
		return fmt.Errorf("layer %s: the tile usage policy of OpenStreetMap (https://operations.osmfoundation.org/policies/tiles/) forbids bulk downloading, "+
			"and indexing an area is that; use imagery of your own, or set allowBulk: true and permission: who allowed it in writing and when: %w", spec.ID, tilescout.ErrForbidden)
	case spec.AllowBulk, local(HostName(host)):
		return nil
	}
	return fmt.Errorf("layer %s: indexing fetches every tile of an area from %s; if its terms of use%s allow that, set allowBulk: true for this layer: %w", spec.ID, host, terms, tilescout.ErrForbidden)
}

// local tells whether a host is this machine or in a private network, by its name alone.
func local(name string) bool {
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && (ip.IsLoopback() || ip.IsPrivate())
}
