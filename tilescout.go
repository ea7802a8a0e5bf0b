package tilescout

import (
	"errors"
	"time"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"
)

// The kinds of error. Every error that crosses a package boundary wraps exactly one of them, or is a
// failure of our own; one table maps them to a problem+json status, one to an exit status.
var (
	// ErrNotFound: the name or place is valid, nothing is there. For a tile: in range, without content.
	ErrNotFound = errors.New("not found")
	// ErrOutOfRange: a tile outside the zooms or the grid of its layer.
	ErrOutOfRange = errors.New("out of range")
	// ErrBadInput: a file, parameter or config that is not what it should be.
	ErrBadInput = errors.New("bad input")
	// ErrUpstream: a server that we depend on failed, answered nonsense or was too slow.
	ErrUpstream = errors.New("upstream failed")
	// ErrBusy: a bounded queue is full; the same call may work a little later.
	ErrBusy = errors.New("busy")
	// ErrUnavailable: a part of the program is not there (no model loaded, index locked elsewhere).
	ErrUnavailable = errors.New("unavailable")
	// ErrForbidden: the operator or the terms of an upstream do not allow it.
	ErrForbidden = errors.New("forbidden")
)

// Media types of pictures.
const (
	PNG  = "image/png"
	JPEG = "image/jpeg"
	WebP = "image/webp"
)

// Picture is one tile image as bytes, in the encoding its source holds. Data is frozen: nobody writes to it.
type Picture struct {
	Data      []byte
	MediaType string        // image/png, image/jpeg or image/webp, sniffed from Data
	ETag      string        // strong validator without quotes; "" if the source has none
	Modified  time.Time     // zero if unknown
	MaxAge    time.Duration // how long the origin lets us keep it; 0 means it did not say
	Stale     Stale         // zero unless it is shown although its time is over
}

// Stale says of a picture that its origin could not be asked whether it still holds, so what is kept of it is shown.
type Stale struct {
	Stored  time.Time // when it was fetched or last vouched for
	Expired time.Time // when its time was over; zero: it is not stale
}

// Older returns the one of two that has been stale for longer; the zero value has not been at all.
func (s Stale) Older(t Stale) Stale {
	if s.Expired.IsZero() || !t.Expired.IsZero() && t.Expired.Before(s.Expired) {
		return t
	}
	return s
}

// Size is the picture's weight in a cache, in bytes.
func (p Picture) Size() int { return len(p.Data) + 128 }

// LayerInfo is what a layer of tiles says of itself. Tiles are WebMercatorQuad.
type LayerInfo struct {
	ID          string // [a-z0-9][a-z0-9_-]{0,62}
	Title       string
	Description string
	Attribution string // plain text or sanitised HTML links
	Bound       orb.Bound
	MinZoom     maptile.Zoom
	MaxZoom     maptile.Zoom // the last zoom with detail of its own
	TileSize    int          // pixels a side of a tile as the source holds it: 256 or 512
	MediaType   string       // of most tiles; "" if mixed
	Version     string       // fingerprint of the content: other content, other version
}
