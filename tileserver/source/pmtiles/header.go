package pmtiles

import (
	"encoding/binary"
	"fmt"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout/tileserver/source"
)

const (
	headerSize = 127
	magic      = "PMTiles"

	// rootEnd is where the root directory ends at the latest: a client gets header and root with one request.
	rootEnd       = 16384
	maxRoot       = rootEnd - headerSize
	maxTile       = 8 << 20 // where nobody says otherwise
	coordinateOne = 1e7     // positions are degrees × 10⁷
)

// Compressions of directories, metadata and tiles (spec v3 §3.4).
const (
	compressionUnknown = iota
	compressionNone
	compressionGzip
	compressionBrotli
	compressionZstd
)

// Tile types (spec v3 §3.5).
const (
	typeUnknown = iota
	typeMVT
	typePNG
	typeJPEG
	typeWebP
	typeAVIF
	typeMLT
)

// section is a range of the file in bytes.
type section struct{ offset, length uint64 }

func (s section) end() uint64 { return s.offset + s.length }

// header is the fixed first part of an archive. Offsets are from the start of the file.
type header struct {
	root, metadata, leaves, tiles section

	addressed, entries, contents uint64 // numbers of tiles, directory entries, distinct contents; 0 means unknown

	clustered           bool
	internalCompression uint8
	tileCompression     uint8
	tileType            uint8
	minZoom, maxZoom    uint8
	west, south         int32 // degrees × 10⁷
	east, north         int32
	centerZoom          uint8
	centerLon           int32
	centerLat           int32

	limits DirectoryLimits // not of the file: what its directories may take
}

// parseHeader reads the 127 bytes of an archive of size bytes. A header that names a place outside the file is refused.
func parseHeader(b []byte, size int64) (header, error) {
	if len(b) < len(magic)+1 || string(b[:len(magic)]) != magic {
		return header{}, fmt.Errorf("not a PMTiles archive, it is %s: %w", source.Describe(b), ErrMagic)
	}
	if v := b[len(magic)]; v != 3 {
		return header{}, fmt.Errorf("PMTiles version %d, only 3 is read: convert it with pmtiles convert: %w", v, ErrVersion)
	}
	if len(b) < headerSize {
		return header{}, fmt.Errorf("%d bytes of the header's %d: %w", len(b), headerSize, ErrTruncated)
	}
	u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	i32 := func(at int) int32 { return int32(binary.LittleEndian.Uint32(b[at:])) }
	at := func(i int) section { return section{u64(i), u64(i + 8)} }
	h := header{
		root: at(8), metadata: at(24), leaves: at(40), tiles: at(56),
		addressed: u64(72), entries: u64(80), contents: u64(88),
		clustered: b[96] == 1, internalCompression: b[97], tileCompression: b[98], tileType: b[99],
		minZoom: b[100], maxZoom: b[101], west: i32(102), south: i32(106), east: i32(110), north: i32(114),
		centerZoom: b[118], centerLon: i32(119), centerLat: i32(123),
	}
	return h, h.check(uint64(max(size, 0)))
}

func (h *header) check(size uint64) error {
	for _, s := range []struct {
		name string
		section
	}{{"root directory", h.root}, {"metadata", h.metadata}, {"leaf directories", h.leaves}, {"tile data", h.tiles}} {
		if s.length == 0 && s.name != "root directory" {
			continue // an offset of nothing means nothing
		}
		if s.end() < s.offset || s.end() > size {
			return fmt.Errorf("%s (%d bytes at %d) is not inside the file of %d bytes (a download that broke off?): %w", s.name, s.length, s.offset, size, ErrSectionRange)
		}
		if s.offset < headerSize {
			return fmt.Errorf("%s begins inside the header: %w", s.name, ErrSectionRange)
		}
	}
	if h.root.length == 0 || h.root.length > maxRoot {
		return fmt.Errorf("root directory of %d bytes, 1 to %d may be: %w", h.root.length, maxRoot, ErrRootSize)
	}
	if err := readable(h.internalCompression); err != nil {
		return fmt.Errorf("directories: %w", err)
	}
	switch h.tileType {
	case typeMVT, typeMLT:
		return ErrVectorTiles
	case typeAVIF:
		return fmt.Errorf("AVIF tiles, read are PNG, JPEG and WebP: %w", ErrTileType)
	case typeUnknown, typePNG, typeJPEG, typeWebP: // the bytes of each tile decide
	default:
		return fmt.Errorf("tile type %d is not known: %w", h.tileType, ErrTileType)
	}
	if h.tileCompression != compressionUnknown {
		if err := readable(h.tileCompression); err != nil {
			return fmt.Errorf("tiles: %w", err)
		}
	}
	if h.minZoom > h.maxZoom || h.maxZoom > uint8(source.MaxZoom) {
		return fmt.Errorf("zooms %d to %d are not within 0 to %d: %w", h.minZoom, h.maxZoom, source.MaxZoom, ErrZoom)
	}
	return nil
}

// readable tells whether a compression is one that is read.
func readable(c uint8) error {
	switch c {
	case compressionNone, compressionGzip, compressionZstd:
		return nil
	case compressionUnknown:
		return fmt.Errorf("compression unknown: %w", ErrCompression)
	case compressionBrotli:
		return fmt.Errorf("compression brotli, read are none, gzip and zstd: %w", ErrCompression)
	}
	return fmt.Errorf("compression %d is not known: %w", c, ErrCompression)
}

// bytes is the header as it is stored.
func (h *header) bytes() []byte {
	b := make([]byte, 0, headerSize)
	b = append(append(b, magic...), 3)
	le := binary.LittleEndian
	for _, v := range []uint64{
		h.root.offset, h.root.length, h.metadata.offset, h.metadata.length, h.leaves.offset, h.leaves.length,
		h.tiles.offset, h.tiles.length, h.addressed, h.entries, h.contents,
	} {
		b = le.AppendUint64(b, v)
	}
	clustered := uint8(0)
	if h.clustered {
		clustered = 1
	}
	b = append(b, clustered, h.internalCompression, h.tileCompression, h.tileType, h.minZoom, h.maxZoom)
	for _, v := range []int32{h.west, h.south, h.east, h.north} {
		b = le.AppendUint32(b, uint32(v))
	}
	b = append(b, h.centerZoom)
	b = le.AppendUint32(b, uint32(h.centerLon))
	return le.AppendUint32(b, uint32(h.centerLat))
}

// bound returns the box that the header gives, where it encloses something of the Mercator world.
func (h *header) bound() (orb.Bound, bool) {
	w := source.World
	b := orb.Bound{
		Min: orb.Point{max(float64(h.west)/coordinateOne, w.Min.X()), max(float64(h.south)/coordinateOne, w.Min.Y())},
		Max: orb.Point{min(float64(h.east)/coordinateOne, w.Max.X()), min(float64(h.north)/coordinateOne, w.Max.Y())},
	}
	return b, b.Min.X() < b.Max.X() && b.Min.Y() < b.Max.Y()
}

func (h *header) setBound(b orb.Bound, z maptile.Zoom) {
	fixed := func(v float64) int32 { return int32(v*coordinateOne + 0.5*sign(v)) }
	h.west, h.south, h.east, h.north = fixed(b.Min.X()), fixed(b.Min.Y()), fixed(b.Max.X()), fixed(b.Max.Y())
	c := b.Center()
	h.centerZoom, h.centerLon, h.centerLat = uint8(z), fixed(c.X()), fixed(c.Y())
}

func sign(v float64) float64 {
	if v < 0 {
		return -1
	}
	return 1
}
