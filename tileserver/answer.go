package tileserver

import (
	"context"
	"errors"
	"fmt"
	"image"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/paulmach/orb/maptile"
	"golang.org/x/sync/errgroup"

	"github.com/tilescout/tilescout"
)

// tileKey is the identity of one answer. It is made of checked values, never of a URL.
type tileKey struct {
	layer, version string
	tile           maptile.Tile
	mediaType      string
	size           int // pixels
}

// answer is one tile as it goes out. Frozen.
type answer struct {
	data     []byte
	etag     string // with quotes
	maxAge   time.Duration
	modified time.Time
	stale    tilescout.Stale
	empty    bool
	expires  time.Time // when the server's own copy ends
}

func (a answer) weight(tileKey, int) int { return len(a.data) + 256 }

// keep is how long the server hands out its own copy of a tile before it asks the source again; keepEmpty the same
// for "nothing there" (SEC reference §3: negative cache 60 s).
const (
	keep      = 5 * time.Minute
	keepEmpty = time.Minute
)

// loadLimit bounds the making of one tile, waiting in queues included.
const loadLimit = 40 * time.Second

// raw is what a source gave for one tile: one picture, or four children.
type raw struct {
	picture  tilescout.Picture
	children *[4]*tilescout.Picture
	hash     uint64
	untouch  bool // picture goes out as it is
}

// etag identifies the answer before it is converted, so that a 304 costs no conversion.
func (r raw) etag(k tileKey) string {
	if r.untouch {
		return fmt.Sprintf(`"%016x"`, r.hash)
	}
	return fmt.Sprintf(`"%016x-%s-%s-%d"`, r.hash, conversion, extensionOf(k.mediaType), k.size)
}

// decoded is how many bytes the pixels of r take while it is made a tile of that size: its pictures, four bytes a
// pixel, and the tile itself twice, drawn and encoded. What has no header that tells its size is refused later.
func (r raw) decoded(size int) int64 {
	pictures := []*tilescout.Picture{&r.picture}
	if r.children != nil {
		pictures = r.children[:]
	}
	sum := int64(size) * int64(size) * 8
	for _, p := range pictures {
		if p == nil {
			continue
		}
		if w, h, err := measure(*p); err == nil {
			sum += int64(w) * int64(h) * 4
		}
	}
	return sum
}

// tile returns the answer of k, from the server's memory where it may, and says whether it was there.
// ifNoneMatch lets it stop before a conversion: then the answer has an ETag that matches and no data.
func (s *site) tile(ctx context.Context, l *layer, k tileKey, ifNoneMatch string) (answer, bool, error) {
	if l.Dynamic {
		a, err := s.load(ctx, l, k, ifNoneMatch)
		return a, false, err
	}
	if a, ok := s.tiles.Peek(k); ok {
		if time.Now().Before(a.expires) {
			a, err := s.tiles.Get(ctx, k, func(ctx context.Context) (answer, error) { return s.load(ctx, l, k, "") })
			return a, true, err
		}
		s.forget(k)
	}
	// Before anything is made for it: of ten times what can be done, nine are refused.
	if gate := s.admission.gates[l.class()]; gate.full() && !s.tiles.Has(k) {
		return answer{}, false, gate.refuse(reasonFull, "too many requests at once")
	}
	if ifNoneMatch != "" {
		// Not through the cache: an answer without data is good for this client only.
		if a, err := s.load(ctx, l, k, ifNoneMatch); err == nil && len(a.data) == 0 {
			return a, false, nil
		} else if err == nil {
			s.tiles.Add(k, a)
			return a, false, nil
		}
	}
	a, err := s.tiles.Get(ctx, k, func(ctx context.Context) (answer, error) { return s.load(ctx, l, k, "") })
	return a, false, err
}

// held says whether k would be answered from memory.
func (s *site) held(k tileKey) bool {
	a, ok := s.tiles.Peek(k)
	return ok && time.Now().Before(a.expires)
}

// weight is how many places a tile takes while it is made: one of 512 pixels is four of 256.
func (k tileKey) weight() int { return max(1, k.size*k.size>>16) }

// forget drops k if it is held and over its time. One at a time, so that of many callers who see it stale none
// drops the load that the first of them has started.
func (s *site) forget(k tileKey) {
	s.forgetting.Lock()
	defer s.forgetting.Unlock()
	if a, ok := s.tiles.Peek(k); ok && !time.Now().Before(a.expires) {
		s.tiles.Remove(k)
	}
}

// load asks the source and makes the answer, inside the gates.
func (s *site) load(ctx context.Context, l *layer, k tileKey, ifNoneMatch string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, loadLimit)
	defer cancel()
	class := l.class()
	leave, err := s.admission.gates[class].enter(ctx, k.weight())
	if err != nil {
		return answer{}, err
	}
	defer leave()
	began := time.Now()
	src, err := l.fetch(ctx, k)
	if class != Render { // the network is done with, the processors are not
		leave()
	}
	s.metrics.source(l, time.Since(began), err)
	if errors.Is(err, tilescout.ErrNotFound) {
		a, err := s.empties.of(k.mediaType, k.size)
		a.expires = time.Now().Add(keepEmpty)
		return a, err
	}
	if errors.Is(err, tilescout.ErrBadInput) { // in the file, not in the request
		err = fmt.Errorf("%w: %s", tilescout.ErrUpstream, err.Error())
	}
	if err != nil {
		return answer{}, fmt.Errorf("layer %s: tile %d/%d/%d: %w", k.layer, k.tile.Z, k.tile.X, k.tile.Y, err)
	}
	a := answer{etag: src.etag(k), maxAge: src.picture.MaxAge, modified: src.picture.Modified, stale: src.picture.Stale, expires: time.Now().Add(keep)}
	if a.maxAge > 0 && a.maxAge < keep {
		a.expires = time.Now().Add(a.maxAge)
	}
	if src.untouch {
		a.data = src.picture.Data
		return a, nil
	}
	if ifNoneMatch != "" && matches(ifNoneMatch, a.etag) {
		return a, nil
	}
	if class != Render {
		leave, err := s.admission.gates[Render].enter(ctx, k.weight())
		if err != nil {
			return answer{}, err
		}
		defer leave()
	}
	if err := s.computing.Acquire(ctx, 1); err != nil {
		return answer{}, fmt.Errorf("layer %s: tile %d/%d/%d: wait for a processor: %w", k.layer, k.tile.Z, k.tile.X, k.tile.Y, err)
	}
	defer s.computing.Release(1)
	release, err := s.budget.Acquire(ctx, src.decoded(k.size))
	if err != nil {
		return answer{}, fmt.Errorf("layer %s: tile %d/%d/%d: %w", k.layer, k.tile.Z, k.tile.X, k.tile.Y, err)
	}
	defer release()
	if src.children != nil {
		a.data, err = stitch(*src.children, k.mediaType, k.size)
	} else {
		a.data, err = convert(src.picture, k.mediaType, k.size)
	}
	if err != nil {
		return answer{}, fmt.Errorf("layer %s: tile %d/%d/%d: %w", k.layer, k.tile.Z, k.tile.X, k.tile.Y, err)
	}
	return a, nil
}

// fetch asks the source for what k is made of: a picture of the size if it renders to size, its picture if that is
// large enough, else the four children if the layer goes deeper, else its picture all the same.
func (l *layer) fetch(ctx context.Context, k tileKey) (raw, error) {
	if l.sizer != nil && k.size != l.info.TileSize {
		p, err := l.sizer.TileSized(ctx, k.tile, k.size)
		return single(p, k, err)
	}
	if k.size > l.info.TileSize && k.tile.Z < l.info.MaxZoom {
		r, err := l.fetchChildren(ctx, k)
		if !errors.Is(err, tilescout.ErrNotFound) {
			return r, err
		}
	}
	p, err := l.Tiles.Tile(ctx, k.tile)
	return single(p, k, err)
}

func single(p tilescout.Picture, k tileKey, err error) (raw, error) {
	if err != nil {
		return raw{}, err
	}
	ok, err := fits(p, k.mediaType, k.size)
	if err != nil {
		return raw{}, err
	}
	return raw{picture: p, hash: xxhash.Sum64(p.Data), untouch: ok}, nil
}

// fetchChildren returns the four tiles below k.tile; ErrNotFound if none of them has content.
func (l *layer) fetchChildren(ctx context.Context, k tileKey) (raw, error) {
	r := raw{children: new([4]*tilescout.Picture)}
	group, ctx := errgroup.WithContext(ctx)
	for i := range r.children {
		child := maptile.New(k.tile.X<<1|uint32(i%2), k.tile.Y<<1|uint32(i/2), k.tile.Z+1)
		group.Go(func() error {
			p, err := l.Tiles.Tile(ctx, child)
			if errors.Is(err, tilescout.ErrNotFound) {
				return nil
			}
			r.children[i] = &p
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return raw{}, err
	}
	digest, some := xxhash.New(), false
	for i, p := range r.children {
		_, _ = digest.WriteString(strconv.Itoa(i)) // never fails
		if p == nil {
			continue
		}
		some = true
		_, _ = digest.Write(p.Data)
		if p.MaxAge != 0 && (r.picture.MaxAge == 0 || p.MaxAge < r.picture.MaxAge) {
			r.picture.MaxAge = p.MaxAge
		}
		r.picture.Stale = r.picture.Stale.Older(p.Stale)
		if p.Modified.After(r.picture.Modified) {
			r.picture.Modified = p.Modified
		}
	}
	if !some {
		return raw{}, fmt.Errorf("no children: %w", tilescout.ErrNotFound)
	}
	r.hash = digest.Sum64()
	return r, nil
}

type emptyKey struct {
	mediaType string
	size      int
}

// empties are the constant answers for "in range, nothing there": transparent, white as JPEG, each made when first
// asked for. The PNG is RGBA and not a palette, since GDAL fixes four bands from metadata (GIS reference §12).
type empties struct {
	mu   sync.Mutex
	made map[emptyKey]answer // guarded by mu
}

func (e *empties) of(mediaType string, size int) (answer, error) {
	k := emptyKey{mediaType, size}
	e.mu.Lock()
	defer e.mu.Unlock()
	if a, ok := e.made[k]; ok {
		return a, nil
	}
	data, err := encode(image.NewNRGBA(image.Rect(0, 0, size, size)), mediaType)
	if err != nil {
		return answer{}, fmt.Errorf("empty tile: %w", err)
	}
	if e.made == nil {
		e.made = map[emptyKey]answer{}
	}
	e.made[k] = answer{data: data, etag: fmt.Sprintf(`"empty-%s-%d"`, extensionOf(mediaType), size), empty: true}
	return e.made[k], nil
}

// matches says whether the value of If-None-Match names etag (RFC 9110 §13.1.2, weak comparison).
func matches(ifNoneMatch, etag string) bool {
	for part := range strings.SplitSeq(ifNoneMatch, ",") {
		part = strings.TrimPrefix(strings.TrimSpace(part), "W/")
		if part == etag || part == "*" {
			return true
		}
	}
	return false
}

// send writes a whole body with its validator, or 304.
func send(w http.ResponseWriter, r *http.Request, mediaType, etag string, data []byte) {
	h := w.Header()
	h.Set("ETag", etag)
	if matches(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(len(data)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(data) // a client that left needs no answer
	}
}

// sendDocument is send for metadata made for this request, kept for a minute.
func sendDocument(w http.ResponseWriter, r *http.Request, mediaType string, data []byte) {
	w.Header().Set("Cache-Control", "public, max-age=60")
	send(w, r, mediaType, fmt.Sprintf(`"%016x"`, xxhash.Sum64(data)), data)
}
