package geotiff

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"

	"github.com/google/tiff"
)

type tagKind int

const (
	kindNone tagKind = iota // not read
	kindInts
	kindDoubles
	kindASCII
	kindBytes
	kindOffsets // left in the file
)

const (
	tagSubIFDs         = 330
	tagStripOffsets    = 273
	tagStripByteCounts = 279
	tagTileOffsets     = 324
	tagTileByteCounts  = 325
)

func kindOf(id uint16) tagKind {
	switch id {
	case 254, 256, 257, 258, 259, 262, 266, 277, 278, 284, 317, 320, 322, 323, tagSubIFDs, 338, 339, 34735:
		return kindInts
	case 33550, 33922, 34264, 34736, 50844:
		return kindDoubles
	case 34737, 42113:
		return kindASCII
	case 347:
		return kindBytes
	case tagStripOffsets, tagStripByteCounts, tagTileOffsets, tagTileByteCounts:
		return kindOffsets
	}
	return kindNone
}

// long8 is BigTIFF's LONG8, declared here so that the library's BigTIFF parser is not linked in.
var long8 = tiff.NewFieldType(16, "LONG8", 8, false, nil,
	func(b []byte, o binary.ByteOrder) reflect.Value { return reflect.ValueOf(o.Uint64(b)) }, reflect.TypeFor[uint64]())

// tags are the values of a directory, defaults as in TIFF 6.0.
type tags struct {
	SubfileType  uint64   `tiff:"field,tag=254"`
	Width        uint64   `tiff:"field,tag=256"`
	Height       uint64   `tiff:"field,tag=257"`
	Bits         []uint64 `tiff:"field,tag=258"`
	Compression  uint64   `tiff:"field,tag=259"`
	Photometric  uint64   `tiff:"field,tag=262"`
	FillOrder    uint64   `tiff:"field,tag=266"`
	Samples      uint64   `tiff:"field,tag=277"`
	RowsPerStrip uint64   `tiff:"field,tag=278"`
	Planar       uint64   `tiff:"field,tag=284"`
	Predictor    uint64   `tiff:"field,tag=317"`
	ColorMap     []uint64 `tiff:"field,tag=320"`
	TileWidth    uint64   `tiff:"field,tag=322"`
	TileHeight   uint64   `tiff:"field,tag=323"`
	ExtraSamples []uint64 `tiff:"field,tag=338"`
	SampleFormat []uint64 `tiff:"field,tag=339"`
	JPEGTables   []byte   `tiff:"field,tag=347"`

	PixelScale     []float64 `tiff:"field,tag=33550"`
	TiePoints      []float64 `tiff:"field,tag=33922"`
	Transformation []float64 `tiff:"field,tag=34264"`
	GeoKeys        []uint64  `tiff:"field,tag=34735"`
	GeoDoubles     []float64 `tiff:"field,tag=34736"`
	GeoASCII       string    `tiff:"field,tag=34737"`
	RPC            []float64 `tiff:"field,tag=50844"`
	NoData         string    `tiff:"field,tag=42113"`
}

func tagsOf(d *directory) (tags, error) {
	t := tags{
		Bits: []uint64{1}, Compression: 1, Photometric: math.MaxUint64, FillOrder: 1, Samples: 1,
		RowsPerStrip: math.MaxUint32, Planar: 1, Predictor: 1, SampleFormat: []uint64{1},
	}
	if len(d.fields) == 0 {
		return t, fmt.Errorf("no tag of an image: %w", ErrTagValue)
	}
	if err := tiff.UnmarshalIFD(d, &t); err != nil {
		return t, fmt.Errorf("%w: %w", err, ErrTagValue)
	}
	return t, nil
}

// Compressions.
const (
	compressionNone     = 1
	compressionLZW      = 5
	compressionJPEG     = 7
	compressionDeflate  = 8
	compressionDeflate2 = 32946
	compressionPackBits = 32773
	compressionZSTD     = 50000
	compressionWebP     = 50001
)

var compressionNames = map[uint64]string{
	2: "CCITT RLE", 3: "CCITT Group 3", 4: "CCITT Group 4", 6: "old-style JPEG", 34712: "JPEG 2000",
	34887: "LERC", 34925: "LZMA", 50002: "JPEG XL",
}

// Photometric interpretations.
const (
	whiteIsZero = 0
	blackIsZero = 1
	photoRGB    = 2
	palette     = 3
	photoMask   = 4
	cmyk        = 5
	yCbCr       = 6
)

// check refuses what the package cannot decode, with sizes first, so that nothing is allocated for it.
func (t *tags) check(l Limits) error {
	if t.Width == 0 || t.Height == 0 || t.Width > maxSide || t.Height > maxSide {
		return fmt.Errorf("image of %d × %d pixels: %w", t.Width, t.Height, ErrTagValue)
	}
	if t.Samples == 0 || t.Samples > uint64(l.Samples) {
		return fmt.Errorf("%d samples per pixel: %w", t.Samples, ErrUnsupported)
	}
	for _, b := range t.Bits {
		if b != t.Bits[0] {
			return fmt.Errorf("samples of different width, %v bits: %w", t.Bits, ErrUnsupported)
		}
	}
	kind, err := t.kindOfSamples()
	if err != nil {
		return err
	}
	switch t.Compression {
	case compressionNone, compressionLZW, compressionDeflate, compressionDeflate2, compressionPackBits, compressionZSTD:
	case compressionJPEG, compressionWebP:
		if t.bits() != 8 || kind != kindU8 {
			return fmt.Errorf("JPEG or WebP of %d bits, format %d; convert with gdal_translate -co COMPRESS=DEFLATE: %w", t.bits(), t.SampleFormat[0], ErrUnsupported)
		}
	default:
		return fmt.Errorf("compression %d %s; convert with gdal_translate -of COG: %w", t.Compression, compressionNames[t.Compression], ErrUnsupported)
	}
	if t.FillOrder != 1 {
		return fmt.Errorf("reversed bit order: %w", ErrUnsupported)
	}
	if t.Planar != 1 && t.Planar != 2 {
		return fmt.Errorf("planar configuration %d: %w", t.Planar, ErrTagValue)
	}
	switch whole := t.bits() == uint64(8*kind.width()); {
	case t.Predictor == 1, t.Predictor == 2 && whole, t.Predictor == 3 && kind.float():
	default:
		return fmt.Errorf("predictor %d on %d bits, format %d: %w", t.Predictor, t.bits(), t.SampleFormat[0], ErrUnsupported)
	}
	if t.Photometric == math.MaxUint64 { // the tag is required; who leaves it out means grey or RGB
		t.Photometric = blackIsZero
		if t.Samples >= 3 {
			t.Photometric = photoRGB
		}
	}
	switch {
	case t.Photometric == photoRGB && t.Samples < 3, t.Photometric == cmyk && t.Samples < 4, t.Photometric == yCbCr && t.Samples < 3:
		return fmt.Errorf("photometric interpretation %d with %d samples: %w", t.Photometric, t.Samples, ErrTagValue)
	case t.Photometric == yCbCr && t.Compression != compressionJPEG && t.Compression != compressionWebP:
		return fmt.Errorf("YCbCr that is not JPEG: %w", ErrUnsupported)
	case t.Photometric == palette && uint64(len(t.ColorMap)) != 3<<t.bits():
		return fmt.Errorf("palette of %d values: %w", len(t.ColorMap), ErrTagValue)
	case t.Photometric == palette && t.bits() > 8, t.Photometric == cmyk && kind != kindU8, t.Photometric == cmyk && t.bits() != 8:
		return fmt.Errorf("palette or CMYK of %d bits; convert with gdal_translate -expand rgb: %w", t.bits(), ErrUnsupported)
	case t.Photometric > yCbCr:
		return fmt.Errorf("photometric interpretation %d; convert with gdal_translate -co PHOTOMETRIC=RGB: %w", t.Photometric, ErrUnsupported)
	}
	if t.Photometric == palette && uint64(len(t.ExtraSamples))+1 < t.Samples {
		return fmt.Errorf("palette with %d samples: %w", t.Samples, ErrUnsupported)
	}
	if uint64(len(t.ExtraSamples)) > t.Samples {
		return fmt.Errorf("%d extra of %d samples: %w", len(t.ExtraSamples), t.Samples, ErrTagValue)
	}
	if len(t.JPEGTables) > l.TableBytes {
		return fmt.Errorf("JPEG tables of %d bytes: %w", len(t.JPEGTables), ErrJPEGHeader)
	}
	return nil
}

func (t *tags) bits() uint64 { return t.Bits[0] }
