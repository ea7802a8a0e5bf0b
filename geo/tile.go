package geo

import (
	"fmt"
	"math"
	"strconv"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
)

const (
	// MaxZoom is the deepest zoom: a Morton code of 60 bits, cells of 4 cm.
	MaxZoom maptile.Zoom = 30
	// MaxLat is the latitude where WebMercatorQuad ends, in degrees: atan(sinh(π)).
	MaxLat = 85.05112877980659
	// EarthRadius is the sphere of Web Mercator and the semi-major axis of WGS 84, in metres.
	EarthRadius = 6378137.0
)

// ParseTile returns the tile that three path segments name. Only plain decimals are accepted (no sign, no
// leading zero), so that each tile has one URL. A segment that is no such number is ErrBadInput; a zoom above
// MaxZoom or a column or row outside the grid is ErrOutOfRange.
func ParseTile(z, x, y string) (maptile.Tile, error) {
	var n [3]uint64
	for i, s := range []string{z, x, y} {
		v, err := parseDecimal(s)
		if err != nil {
			return maptile.Tile{}, fmt.Errorf("tile: %s %.20q is not a whole number from 0: %w",
				[]string{"zoom", "column", "row"}[i], s, err)
		}
		n[i] = v
	}
	if n[0] > uint64(MaxZoom) {
		return maptile.Tile{}, fmt.Errorf("tile %s/%s/%s: zoom is above %d: %w", clip(z), clip(x), clip(y), MaxZoom, tilescout.ErrOutOfRange)
	}
	if side := uint64(1) << n[0]; n[1] >= side || n[2] >= side {
		return maptile.Tile{}, fmt.Errorf("tile %s/%s/%s: column and row must be below %d: %w", clip(z), clip(x), clip(y), side, tilescout.ErrOutOfRange)
	}
	return maptile.New(uint32(n[1]), uint32(n[2]), maptile.Zoom(n[0])), nil
}

// parseDecimal reads digits only; a number too long for 64 bits is the largest one, hence out of any range.
func parseDecimal(s string) (uint64, error) {
	if s == "" || (len(s) > 1 && s[0] == '0') {
		return 0, tilescout.ErrBadInput
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, tilescout.ErrBadInput
		}
	}
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return math.MaxUint64, nil
	}
	return v, nil
}

// clip shortens what a stranger wrote before it goes into an error text.
func clip(s string) string {
	if len(s) > 20 {
		return s[:20] + "…"
	}
	return s
}

// Bound returns the tile's box in degrees. Neighbours share their edges bit for bit.
func Bound(t maptile.Tile) orb.Bound {
	return orb.Bound{
		Min: orb.Point{lonOf(uint64(t.X), t.Z), latOf(uint64(t.Y)+1, t.Z)},
		Max: orb.Point{lonOf(uint64(t.X)+1, t.Z), latOf(uint64(t.Y), t.Z)},
	}
}

// lonOf is the longitude of the grid line west of column x.
func lonOf(x uint64, z maptile.Zoom) float64 {
	return math.Ldexp(float64(x), -int(z))*360 - 180
}

// latOf is the latitude of the grid line north of row y.
func latOf(y uint64, z maptile.Zoom) float64 {
	return math.Atan(math.Sinh(math.Pi*(1-2*math.Ldexp(float64(y), -int(z))))) * 180 / math.Pi
}

// fraction is the position in tiles from the north-west corner of the grid; y is clamped to the grid.
func fraction(lon, lat float64, z maptile.Zoom) (x, y float64) {
	n := math.Ldexp(1, int(z))
	lat = max(-MaxLat, min(MaxLat, lat))
	return (lon/360 + 0.5) * n, (0.5 - math.Asinh(math.Tan(lat*math.Pi/180))/(2*math.Pi)) * n
}

// GroundResolution returns metres per pixel on the ground at latitude lat (degrees) of a tile of size pixels a side.
func GroundResolution(lat float64, z maptile.Zoom, size int) float64 {
	return math.Cos(lat*math.Pi/180) * 2 * math.Pi * EarthRadius / (float64(size) * math.Ldexp(1, int(z)))
}

// ZoomFor returns the fractional zoom at which a 256-pixel tile has the given metres per pixel on the ground
// at latitude lat; it is the inverse of GroundResolution and may be negative or above MaxZoom.
func ZoomFor(lat, metersPerPixel float64) float64 {
	return math.Log2(GroundResolution(lat, 0, 256) / metersPerPixel)
}
