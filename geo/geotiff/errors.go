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

// Limits bound what a file may ask for. The zero value of a field means its default; what is above the hard bound means
// that bound (docs/operations.md lists both).
type Limits struct {
	IFDs       int   // image directories in the file; default 256
	Tags       int   // tags in a directory; default 512
	TagBytes   int64 // bytes of all tag values held in memory; default 64 MiB
	ValueBytes int64 // bytes of one tag value that is no offset array; default 1 MiB
	GeoKeys    int   // default 4096
	TextBytes  int   // bytes of the text of GeoKeys; default 64 KiB
	BlockSide  int   // width and height of a tile, pixels; default 8192. A strip may be as wide as the image
	BlockBytes int64 // bytes of a tile or strip, compressed or decoded; default 64 MiB
	Samples    int   // of a pixel; default 64
	TableBytes int   // bytes of JPEG tables; default 64 KiB
	Scans      int   // of a JPEG; default 64
	Window     int64 // bytes that a ZSTD block may look back; default 8 MiB
	Render     int64 // bytes of the decoded blocks that one picture may need; default 512 MiB
}

const (
	maxSamples = 64 // no limit may be above it
	maxSide    = 1<<31 - 1
)

func (l *Limits) setDefaults() {
	setLimit(&l.IFDs, 256, 4096)
	setLimit(&l.Tags, 512, 4096)
	setLimit(&l.TagBytes, 64<<20, 1<<30)
	setLimit(&l.ValueBytes, 1<<20, 64<<20)
	setLimit(&l.GeoKeys, 4096, 1<<16-1)
	setLimit(&l.TextBytes, 64<<10, 1<<20)
	setLimit(&l.BlockSide, 8192, 65536)
	setLimit(&l.BlockBytes, 64<<20, 256<<20)
	setLimit(&l.Samples, maxSamples, maxSamples)
	setLimit(&l.TableBytes, 64<<10, 1<<20)
	setLimit(&l.Scans, 64, 1000)
	setLimit(&l.Window, 8<<20, 128<<20)
	setLimit(&l.Render, 512<<20, 16<<30)
}

func setLimit[T int | int64](v *T, usual, most T) {
	if *v <= 0 {
		*v = usual
	}
	*v = min(*v, most)
}
