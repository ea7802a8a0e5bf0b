package pmtiles

import "github.com/tilescout/tilescout/internal/reject"

// The reasons for which an archive is refused. Each is a tilescout.ErrBadInput.
var (
	ErrMagic         = reject.New("pmtiles", "ErrMagic", "no PMTiles archive")
	ErrVersion       = reject.New("pmtiles", "ErrVersion", "version not read")
	ErrTruncated     = reject.New("pmtiles", "ErrTruncated", "the file is cut short")
	ErrSectionRange  = reject.New("pmtiles", "ErrSectionRange", "a section lies outside the file")
	ErrRootSize      = reject.New("pmtiles", "ErrRootSize", "root directory of a size that cannot be")
	ErrMetadata      = reject.New("pmtiles", "ErrMetadata", "metadata cannot be read")
	ErrCompression   = reject.New("pmtiles", "ErrCompression", "compression cannot be read")
	ErrVectorTiles   = reject.New("pmtiles", "ErrVectorTiles", "holds vector tiles; imagery is needed: render them to raster tiles first")
	ErrTileType      = reject.New("pmtiles", "ErrTileType", "tiles of a type that is not read")
	ErrZoom          = reject.New("pmtiles", "ErrZoom", "zooms that cannot be")
	ErrDirectorySize = reject.New("pmtiles", "ErrDirectorySize", "a directory is over its limits")
	ErrDirectory     = reject.New("pmtiles", "ErrDirectory", "a directory is damaged")
	ErrTileID        = reject.New("pmtiles", "ErrTileID", "tile ids are not in order")
	ErrRunLength     = reject.New("pmtiles", "ErrRunLength", "a run reaches beyond its zoom or into the next entry")
	ErrEntryRange    = reject.New("pmtiles", "ErrEntryRange", "an entry points outside its section")
	ErrLeafDepth     = reject.New("pmtiles", "ErrLeafDepth", "leaf directories are nested too deep")
	ErrTileSize      = reject.New("pmtiles", "ErrTileSize", "a tile is over the size limit")
	ErrEmpty         = reject.New("pmtiles", "ErrEmpty", "has no tiles")
)
