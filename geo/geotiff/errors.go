package geotiff

import "github.com/tilescout/tilescout/internal/reject"

// What can be wrong with a file. Each is also a tilescout.ErrBadInput.
var (
	ErrNotTIFF       = reject.New("tiff", "ErrNotTIFF", "not a TIFF file")
	ErrTooManyIFDs   = reject.New("tiff", "ErrTooManyIFDs", "too many image directories")
	ErrIFDLoop       = reject.New("tiff", "ErrIFDLoop", "image directories form a loop")
	ErrTagCount      = reject.New("tiff", "ErrTagCount", "number of tags in a directory is out of bounds")
	ErrTagDuplicate  = reject.New("tiff", "ErrTagDuplicate", "a tag appears twice in one directory")
	ErrTagValue      = reject.New("tiff", "ErrTagValue", "a tag has an impossible value")
	ErrTagBudget     = reject.New("tiff", "ErrTagBudget", "tags need more memory than allowed")
	ErrBlockTooLarge = reject.New("tiff", "ErrBlockTooLarge", "a tile or strip is larger than allowed")
	ErrUnsupported   = reject.New("tiff", "ErrUnsupported", "unsupported kind of TIFF")
	ErrOffsetCount   = reject.New("tiff", "ErrOffsetCount", "number of tile or strip offsets does not fit the image")
	ErrBlockRange    = reject.New("tiff", "ErrBlockRange", "a tile or strip lies outside the file")
	ErrBlockSize     = reject.New("tiff", "ErrBlockSize", "a tile or strip does not decode to its size")
	ErrJPEGHeader    = reject.New("tiff", "ErrJPEGHeader", "a JPEG tile or strip does not fit the image")
	ErrControlPoints = reject.New("tiff", "ErrControlPoints", "the pixels are not on a grid of the map")
	ErrOtherPlanet   = reject.New("tiff", "ErrOtherPlanet", "the file does not lie on the earth")
	ErrNoOverviews   = reject.New("tiff", "ErrNoOverviews", "too much of the file would have to be decoded for one picture")
	ErrNoCRS         = reject.New("tiff", "ErrNoCRS", "no coordinate reference system")
)

// Limits bound what a file may ask for. The zero value of a field means its default.
type Limits struct {
	IFDs       int   // image directories in the file; default 256
	Tags       int   // tags in a directory; default 512
	TagBytes   int64 // bytes of all tag values held in memory; default 64 MiB
	BlockSide  int   // width and height of a tile, pixels; default 8192. A strip may be as wide as the image
	BlockBytes int64 // bytes of a tile or strip, compressed or decoded; default 64 MiB
	Render     int64 // bytes of the decoded blocks that one picture may need; default 512 MiB
}

const (
	maxTagValue  = 1 << 20 // bytes of one tag that is no offset array
	maxGeoKeys   = 4096
	maxGeoASCII  = 64 << 10
	maxSamples   = 64
	maxSide      = 1<<31 - 1
	maxJPEGTable = 64 << 10
	maxJPEGScans = 64
)

func (l *Limits) setDefaults() {
	if l.IFDs <= 0 {
		l.IFDs = 256
	}
	l.IFDs = min(l.IFDs, 4096)
	if l.Tags <= 0 {
		l.Tags = 512
	}
	l.Tags = min(l.Tags, 4096)
	if l.TagBytes <= 0 {
		l.TagBytes = 64 << 20
	}
	l.TagBytes = min(l.TagBytes, 1<<30)
	if l.BlockSide <= 0 {
		l.BlockSide = 8192
	}
	l.BlockSide = min(l.BlockSide, 65536)
	if l.BlockBytes <= 0 {
		l.BlockBytes = 64 << 20
	}
	l.BlockBytes = min(l.BlockBytes, 256<<20)
	if l.Render <= 0 {
		l.Render = 512 << 20
	}
	l.Render = min(l.Render, 16<<30)
}
