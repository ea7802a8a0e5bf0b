// Package xyz fetches tiles from an upstream that answers a URL template: XYZ, TMS or quadkey.
//
//	src, err := xyz.Open(ctx, source.Spec{ID: "city", Source: "https://tiles.example/{z}/{x}/{y}.jpg"}, xyz.Options{})
//	defer src.Close()
//	pic, err := src.Tile(ctx, maptile.New(1, 0, 1))
//
// It is a polite client: few requests at once, its own name, what it fetched is kept as long as the headers say and
// then asked for by its validator. It is a wary one too: an answer is checked before it is kept or passed on.
package xyz

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"path"
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

// Source is one upstream. Safe for concurrent use.
type Source struct {
	spec     source.Spec
	o        Options
	info     tilescout.LayerInfo
	bounds   []orb.Bound // none: everywhere
	template *Template
	header   http.Header
	client   *http.Client
	host     *host
	rate     *rate.Limiter
	fallback time.Duration // how long an answer is kept that does not say
	missing  *lru.Cache[maptile.Tile, missing]
	flights  flights
	worked   atomic.Bool  // a picture has come since Open
	requests atomic.Int64 // sent
	stale    atomic.Int64 // answered from an expired entry because the upstream failed

	mu         sync.Mutex // guards all below
	refusal    error      // the upstream refused us
	refusedFor time.Time  // until then
}

// missing is a tile that is not asked for again for a while.
type missing struct {
	err   error
	until time.Time
}

const maxMissing = 16384 // tiles remembered as missing or failed

var (
	_ source.Source      = (*Source)(nil)
	_ source.BulkLimited = (*Source)(nil)
)

// Open checks spec and returns its source; it sends nothing. What is wrong with spec is ErrBadInput.
func Open(_ context.Context, spec source.Spec, o Options) (*Source, error) {
	o.setDefaults()
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	if spec.TileSize == 0 && strings.Contains(spec.Source, "@2x") {
		spec.TileSize = 512
	}
	template, err := ParseTemplate(spec, o.LookupEnv)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", spec.ID, err)
	}
	own, err := ownHeaders(spec, o.LookupEnv)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w: %w", spec.ID, err, tilescout.ErrBadInput)
	}
	s := &Source{
		spec: spec, o: o, template: template, bounds: spec.BoundList(),
		header:   own.Clone(),
		client:   newClient(o, own),
		host:     o.Hosts.get(template.Host(), spec.MaxConcurrency),
		rate:     rate.NewLimiter(rate.Inf, 0),
		fallback: dayLong,
	}
	if s.header.Get("User-Agent") == "" {
		s.header.Set("User-Agent", userAgent(o.ProgramVersion))
	}
	if s.header.Get("Accept") == "" {
		s.header.Set("Accept", "image/webp,image/png,image/jpeg,image/*;q=0.5,*/*;q=0.1")
	}
	if spec.MaxRPS > 0 {
		s.rate = rate.NewLimiter(rate.Limit(spec.MaxRPS), 1)
	}
	if isOSM(template.Host()) {
		s.fallback = osmLifetime
	}
	s.missing, err = lru.New[maptile.Tile, missing](maxMissing)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", spec.ID, err)
	}
	s.describe()
	return s, nil
}

func (s *Source) describe() {
	s.info = s.spec.Info()
	s.info.Title = cmp.Or(s.info.Title, strings.TrimPrefix(hostName(s.template.Host()), "*."))
	if isOSM(s.template.Host()) {
		s.info.Attribution = cmp.Or(s.info.Attribution, `<a href="https://www.openstreetmap.org/copyright">© OpenStreetMap contributors</a>`)
	}
	s.info.MaxZoom = cmp.Or(s.info.MaxZoom, 19)
	s.info.TileSize = cmp.Or(s.info.TileSize, 256)
	if len(s.bounds) == 0 {
		s.info.Bound = source.World
	}
	file, _, _ := strings.Cut(s.spec.Source, "?")
	switch strings.ToLower(path.Ext(file)) {
	case ".png":
		s.info.MediaType = tilescout.PNG
	case ".jpg", ".jpeg":
		s.info.MediaType = tilescout.JPEG
	case ".webp":
		s.info.MediaType = tilescout.WebP
	}
	h := sha256.Sum256([]byte("xyz " + s.template.identity + " " + s.spec.Version))
	s.info.Version = hex.EncodeToString(h[:16])
}

// Info describes the layer. MediaType is what the template's extension promises.
func (s *Source) Info() tilescout.LayerInfo { return s.info }

// Stats counts since Open: requests sent, and tiles answered from an expired entry because the upstream failed.
func (s *Source) Stats() (requests, stale int64) { return s.requests.Load(), s.stale.Load() }

// Close ends what is being fetched and returns when it has ended.
func (s *Source) Close() error {
	s.flights.close()
	s.client.CloseIdleConnections()
	return nil
}

// Tile returns the picture of t, from the disk cache while it is fresh. Equal tiles at the same time are fetched once;
// a caller who leaves fails nobody else, and the fetch ends when the last has left.
func (s *Source) Tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	pic, err := s.tile(ctx, t)
	if err != nil {
		return tilescout.Picture{}, fmt.Errorf("xyz: layer %s, tile %d/%d/%d: %w", s.info.ID, t.Z, t.X, t.Y, err)
	}
	return pic, nil
}

func (s *Source) tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	switch {
	case ctx.Err() != nil:
		return tilescout.Picture{}, ctx.Err()
	case !source.InGrid(t, s.info.MinZoom, s.info.MaxZoom):
		return tilescout.Picture{}, fmt.Errorf("zooms are %d to %d: %w", s.info.MinZoom, s.info.MaxZoom, tilescout.ErrOutOfRange)
	case s.flights.isClosed():
		return tilescout.Picture{}, errClosed
	case !s.inBounds(t):
		return tilescout.Picture{}, fmt.Errorf("outside the layer's bounds: %w", tilescout.ErrNotFound)
	}
	known := s.cached(t)
	if known != nil && time.Now().Before(known.Expires) {
		return picture(*known), nil
	}
	if m, ok := s.missing.Get(t); ok && time.Now().Before(m.until) {
		return s.orStale(known, m.err)
	}
	return s.flights.do(ctx, t, s.o.TotalTimeout, func(ctx context.Context) (tilescout.Picture, error) {
		return s.refresh(ctx, t)
	})
}

func (s *Source) inBounds(t maptile.Tile) bool {
	if len(s.bounds) == 0 {
		return true
	}
	tile := t.Bound()
	for _, b := range s.bounds {
		// Touching edges share no ground.
		if tile.Min.X() < b.Max.X() && tile.Max.X() > b.Min.X() && tile.Min.Y() < b.Max.Y() && tile.Max.Y() > b.Min.Y() {
			return true
		}
	}
	return false
}

func (s *Source) key(t maptile.Tile) string {
	return fmt.Sprintf("%s %d/%d/%d", s.info.Version, t.Z, t.X, t.Y)
}

func (s *Source) cached(t maptile.Tile) *diskcache.Entry {
	if s.o.Cache == nil {
		return nil
	}
	if e, ok := s.o.Cache.Get(s.key(t)); ok {
		return &e
	}
	return nil
}

// refresh asks the upstream for t and keeps the answer. It runs once for all who wait for t.
func (s *Source) refresh(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	known := s.cached(t) // again: who was here before may just have stored it
	if known != nil && time.Now().Before(known.Expires) {
		return picture(*known), nil
	}
	a, err := s.fetch(ctx, t, known)
	now := time.Now()
	if err != nil {
		err = s.explain(t, err)
		s.remember(t, err, now)
		return s.orStale(known, err)
	}
	s.missing.Remove(t)
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
			s.o.Cache.Put(s.key(t), e)
		} else {
			s.o.Cache.Delete(s.key(t))
		}
	}
	return picture(e), nil
}

// explain says which address failed; its keys are masked.
func (s *Source) explain(t maptile.Tile, err error) error {
	if errors.Is(err, tilescout.ErrUpstream) {
		return &failure{err: fmt.Errorf("GET %s: %w", s.template.Shown(t), err), asked: wasAsked(err)}
	}
	return err
}

func wasAsked(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.asked
}

// remember keeps a tile that is missing or failed from being asked for again at once. Failures in which nobody was
// asked are cheap to repeat.
func (s *Source) remember(t maptile.Tile, err error, now time.Time) {
	var ttl time.Duration
	switch {
	case errors.Is(err, tilescout.ErrNotFound):
		ttl = s.o.MissingTTL
		if s.o.Cache != nil {
			s.o.Cache.Delete(s.key(t))
		}
	case errors.Is(err, tilescout.ErrUpstream) && wasAsked(err):
		ttl = s.o.FailureTTL
	default:
		return
	}
	s.missing.Add(t, missing{err: err, until: now.Add(ttl*9/10 + rand.N(ttl/5+1))})
}

// staleAge is how long clients may keep a tile that is shown only because the upstream fails.
const staleAge = time.Minute

// orStale returns the expired entry in place of a failure of the upstream, if there is one and it may be used.
func (s *Source) orStale(known *diskcache.Entry, err error) (tilescout.Picture, error) {
	failed := errors.Is(err, tilescout.ErrUpstream) || errors.Is(err, tilescout.ErrBusy)
	if known == nil || known.NoStale || !failed {
		return tilescout.Picture{}, err
	}
	s.stale.Add(1)
	pic := picture(*known)
	pic.MaxAge = staleAge
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
func (s *Source) block(code int) error {
	err := fmt.Errorf("upstream refuses us with %d (key, User-Agent or terms of use?), it is asked again after %v: %w", code, s.o.BlockTime, tilescout.ErrUpstream)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusal, s.refusedFor = err, time.Now().Add(s.o.BlockTime)
	return err
}

func (s *Source) blocked() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refusal != nil && time.Now().Before(s.refusedFor) {
		return s.refusal
	}
	s.refusal = nil
	return nil
}

// Bulk tells whether a whole area may be fetched: on our own network always, elsewhere where the operator says that
// the terms allow it.
func (s *Source) Bulk() error {
	host := s.template.Host()
	terms := ""
	if s.spec.TermsURL != "" {
		terms = " (" + s.spec.TermsURL + ")"
	}
	switch {
	case isOSM(host) && (!s.spec.AllowBulk || s.spec.Permission == ""):
		return fmt.Errorf("layer %s: the tile usage policy of OpenStreetMap (https://operations.osmfoundation.org/policies/tiles/) forbids bulk downloading, "+
			"and indexing an area is that; use imagery of your own, or set allowBulk: true and permission: who allowed it in writing and when: %w", s.info.ID, tilescout.ErrForbidden)
	case s.spec.AllowBulk, local(hostName(host)):
		return nil
	}
	return fmt.Errorf("layer %s: indexing fetches every tile of an area from %s; if its terms of use%s allow that, set allowBulk: true for this layer: %w", s.info.ID, host, terms, tilescout.ErrForbidden)
}

// local tells whether a host is this machine or in a private network, by its name alone.
func local(name string) bool {
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && (ip.IsLoopback() || ip.IsPrivate())
}
