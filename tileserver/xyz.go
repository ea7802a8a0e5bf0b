package tileserver

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/tileserver/source"
)

// getTile answers /tiles/{layer}/{z}/{x}/{y}[@2x].{ext}[?scheme=tms].
func (s *site) getTile(w http.ResponseWriter, r *http.Request) error {
	v := mux.Vars(r)
	l, err := s.layer(r, v["layer"])
	if err != nil {
		return err
	}
	mediaType, err := mediaTypeOf(v["ext"])
	if err != nil {
		return err
	}
	size := 256
	y, double := strings.CutSuffix(v["y"], "@2x")
	if double {
		size = 512
	}
	t, err := geo.ParseTile(v["z"], v["x"], y)
	if err != nil {
		return err
	}
	switch scheme := r.URL.Query().Get("scheme"); scheme {
	case "", "xyz":
	case "tms":
		t.Y = source.TMSRow(t)
	default:
		return fmt.Errorf("scheme %.20q: want xyz or tms: %w", scheme, tilescout.ErrBadInput)
	}
	return s.sendTile(w, r, l, t, mediaType, size, r.URL.Query().Get("rev") == l.rev())
}

// sendTile answers one tile. current says that the URL carries the revision that the layer has now.
func (s *site) sendTile(w http.ResponseWriter, r *http.Request, l *layer, t maptile.Tile, mediaType string, size int, current bool) error {
	e := entryOf(r)
	e.layer, e.tile = l.info.ID, fmt.Sprintf("%d/%d/%d", t.Z, t.X, t.Y)
	if t.Z < l.info.MinZoom || t.Z > l.info.MaxZoom {
		return fmt.Errorf("layer %s has zooms %d to %d, not %d: %w", l.info.ID, l.info.MinZoom, l.info.MaxZoom, t.Z, tilescout.ErrOutOfRange)
	}
	k := tileKey{layer: l.info.ID, version: l.info.Version, tile: t, mediaType: mediaType, size: size}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.options.Requests.TileTimeout))
	if l.Dynamic || !s.held(k) {
		if err := s.charge(w, r, costMade); err != nil {
			return err
		}
	}
	a, hit, err := s.tile(r.Context(), l, k, r.Header.Get("If-None-Match"))
	if err != nil {
		return err
	}
	e.cache = "miss"
	origin := l.origin()
	if hit {
		e.cache, origin = "hit", "cache"
	}
	h := w.Header()
	switch {
	case l.Dynamic && (!current || a.maxAge < 0):
		h.Set("Cache-Control", "no-store")
	case a.empty && l.Remote:
		// An upstream's "nothing there" may be a hole of today.
		h.Set("Cache-Control", "public, max-age=3600")
	default:
		h.Set("Cache-Control", maxAgeOf(a.maxAge, current))
	}
	if !a.stale.Expired.IsZero() {
		e.cache = "stale"
		sayStale(h, a, time.Now())
	}
	if !a.modified.IsZero() {
		h.Set("Last-Modified", a.modified.UTC().Format(http.TimeFormat))
	}
	send(w, r, mediaType, a.etag, a.data)
	s.metrics.tileBytes.WithLabelValues(l.info.ID, origin).Add(float64(len(a.data)))
	return nil
}

// sayStale tells clients that a tile is kept past its time because its origin could not be asked. RFC 9111 has taken the
// Warning field away; of what it left, Age tells how old the picture is, and Cache-Status (RFC 9211) has a negative ttl for
// an answer past its time and a place to say why. It names us and no host: upstreams are nobody's business.
func sayStale(h http.Header, a answer, now time.Time) {
	age := max(0, now.Sub(a.stale.Stored))
	h.Set("Age", strconv.FormatInt(int64(age/time.Second), 10))
	h.Set("Cache-Status", fmt.Sprintf("tilescout; hit; ttl=%d; detail=upstream-failed", -max(1, int64(now.Sub(a.stale.Expired)/time.Second))))
	// max-age counts from when the picture was fetched, as Age does: what is left of it is what the client may use.
	h.Set("Cache-Control", maxAgeOf(age+max(a.maxAge, time.Second), false))
}
