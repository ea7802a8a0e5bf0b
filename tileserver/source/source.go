// Package source says what a source of tiles is: something that opens from a Spec, answers one picture per tile and
// tells its bound and zooms. Each kind (xyz, mbtiles, geotiff, demo) is a sub-folder; package kinds chooses among them.
//
// A picture is passed on as the bytes that the origin holds; Check looks at them before anybody decodes them.
package source

import (
	"context"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
)

// Source is where the tiles of one layer come from. All methods are safe for concurrent use.
//
// Abilities that only some kinds have are interfaces of their own, asked for by assertion: Sized, BulkLimited,
// Patchwork, Changing.
type Source interface {
	// Tile returns the picture of t. ErrOutOfRange: t lies outside the grid or the zooms of Info. ErrNotFound: t is in
	// range but has no content (a hole, outside the bound). ErrUpstream: a remote origin failed. ErrBusy: too many
	// tiles are waiting. ErrBadInput: what is stored for t is not a picture. A cancelled context is its own error.
	Tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error)
	// Info describes the layer; it is the same for the whole life of the source.
	Info() tilescout.LayerInfo
	// Close frees files and connections. Tile after Close is an error (ErrUnavailable), never a panic.
	Close() error
}

// Sized is a source that renders: it draws a tile at the size asked for (256 or 512 px a side) instead of scaling.
type Sized interface {
	TileSized(ctx context.Context, t maptile.Tile, size int) (tilescout.Picture, error)
}

// BulkLimited is a source whose origin may not allow that all tiles of an area are fetched, as indexing does.
// Bulk returns nil where that is allowed, else ErrForbidden with the reason and what the operator can do.
// A source without this ability may be read in bulk.
type BulkLimited interface {
	Bulk() error
}

// Patchwork is a source made of many files: one that fails leaves a hole and not the layer, so somebody must be told.
type Patchwork interface {
	Files() int       // that make it up
	Skipped() []error // why others were left out when it was opened
	Failed() int64    // times that a file failed in a tile
}

// Changing is a source that may find out, as it reads, that its file is no longer the one that was opened. It goes on
// with what it has and otherwise fails; since Info stays the same for a source's whole life, it is opened anew for that.
type Changing interface {
	Outdated() bool
}

// Outdated tells whether s is a Changing whose file has been replaced.
func Outdated(s any) bool {
	c, ok := s.(Changing)
	return ok && c.Outdated()
}

// Bulk tells whether all tiles of an area may be fetched from s.
func Bulk(s any) error {
	if b, ok := s.(BulkLimited); ok {
		return b.Bulk()
	}
	return nil
}

// TMSRow returns the row of t counted from the south, as the TMS scheme and MBTiles do: 2^z − 1 − y.
func TMSRow(t maptile.Tile) uint32 { return uint32(1)<<t.Z - 1 - t.Y }

// MaxZoom is the deepest zoom that any source answers: above it a column no longer fits comfortably into 32 bits.
const MaxZoom maptile.Zoom = 30

// InGrid tells whether t exists in WebMercatorQuad at a zoom from least to most.
func InGrid(t maptile.Tile, least, most maptile.Zoom) bool {
	return t.Z <= MaxZoom && t.Z >= least && t.Z <= most && t.X < 1<<t.Z && t.Y < 1<<t.Z
}

// InBounds tells whether t has ground in one of bounds, in degrees; with none it always has.
func InBounds(t maptile.Tile, bounds []orb.Bound) bool {
	if len(bounds) == 0 {
		return true
	}
	tile := t.Bound()
	for _, b := range bounds {
		// Touching edges share no ground.
		if tile.Min.X() < b.Max.X() && tile.Max.X() > b.Min.X() && tile.Min.Y() < b.Max.Y() && tile.Max.Y() > b.Min.Y() {
			return true
		}
	}
	return false
}
