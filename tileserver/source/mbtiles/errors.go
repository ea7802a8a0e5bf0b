package mbtiles

import "github.com/tilescout/tilescout/internal/reject"

// The reasons for which a file is refused. Each is a tilescout.ErrBadInput.
var (
	ErrNotDatabase = reject.New("mbtiles", "ErrNotDatabase", "no SQLite database")
	ErrTruncated   = reject.New("mbtiles", "ErrTruncated", "the file is cut short (a download that broke off?)")
	ErrDamaged     = reject.New("mbtiles", "ErrDamaged", "the database cannot be read")
	ErrSchema      = reject.New("mbtiles", "ErrSchema", "no readable table or view tiles(zoom_level, tile_column, tile_row, tile_data)")
	ErrEmpty       = reject.New("mbtiles", "ErrEmpty", "has no tiles")
	ErrVectorTiles = reject.New("mbtiles", "ErrVectorTiles", "holds vector tiles (pbf), which are no pictures; render them to PNG or WebP tiles first")
	ErrSlow        = reject.New("mbtiles", "ErrSlow", "too slow (is there an index on tiles(zoom_level, tile_column, tile_row)?)")
	ErrTileType    = reject.New("mbtiles", "ErrTileType", "the stored tile is no blob")
	ErrTileSize    = reject.New("mbtiles", "ErrTileSize", "a stored value is over its limit")
	ErrTilePacking = reject.New("mbtiles", "ErrTilePacking", "the gzip'ed tile cannot be unpacked")
)
