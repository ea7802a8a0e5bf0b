package geo

import (
	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"
)

// CoverCorners returns the north-western and south-eastern tiles of Cover(b, z), both inside; false if
// the bound covers nothing.
func CoverCorners(b orb.Bound, z maptile.Zoom) (northWest, southEast maptile.Tile, ok bool) {
	r, ok := tileRect(b, z)
	return maptile.New(r.x0, r.y0, z), maptile.New(r.x1, r.y1, z), ok
}
