package geotiff

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
)

// level is one image of the file: the full resolution, an overview or a mask.
type level struct {
	tags
	w              *walker // of the file that holds it: the image's, or a sidecar's
	width, height  int
	blockW, blockH int
	across, down   int // blocks
	planes         int // 1, or the samples of a band-separate image
	tiled          bool
	split          bool // one uncompressed strip, read as several
	colourSamples  int
	alpha          int // index of the alpha sample, -1 for none
	associated     bool
	nodata         int // -1 for none
	offsets        lazyArray
	counts         lazyArray
	mask           *level
	index          int // number in File.levels; masks have that of their image
}

// buildLevels pairs the directories: the first is the image, reduced ones are overviews, and masks go to the
// image of their size. Sidecars bring more of either.
func buildLevels(w *walker, overviews, mask *walker) ([]*level, error) {
	images, masks, err := readLevels(w)
	if err != nil {
		return nil, err
	}
	if len(images) == 0 {
		return nil, fmt.Errorf("no image besides masks: %w", ErrUnsupported)
	}
	main, levels := images[0], images[:1]
	if overviews != nil {
		more, moreMasks, err := readLevels(overviews)
		if err != nil {
			return nil, fmt.Errorf("overviews beside the file: %w", err)
		}
		for _, l := range more {
			l.SubfileType |= 1
		}
		images, masks = append(images, more...), append(masks, moreMasks...)
	}
	if mask != nil {
		more, moreMasks, err := readLevels(mask)
		if err != nil {
			return nil, fmt.Errorf("mask beside the file: %w", err)
		}
		masks = append(append(masks, more...), moreMasks...)
	}
	for _, l := range images[1:] {
		if l.SubfileType&1 != 0 && l.width <= main.width && l.height <= main.height && l.Samples == main.Samples {
			l.alpha, l.associated, l.nodata = main.alpha, main.associated, main.nodata
			levels = append(levels, l)
		}
	}
	for i, l := range levels {
		l.index = i
		for _, m := range masks {
			if m.width == l.width && m.height == l.height && m.Samples == 1 && l.mask == nil {
				m.index, l.mask = i, m
			}
		}
	}
	return levels, nil
}

// readLevels reads every directory of a file that is an image or a mask.
func readLevels(w *walker) (images, masks []*level, err error) {
	dirs, err := w.directories()
	if err != nil {
		return nil, nil, err
	}
	for i, d := range dirs {
		t, err := tagsOf(d)
		if err == nil {
			err = t.check(w.limits)
		}
		var l *level
		if err == nil {
			l, err = newLevel(w, d, t)
		}
		switch {
		case err != nil && len(images) > 0 && errors.Is(err, ErrUnsupported):
			// A thumbnail in some old compression does not spoil the file.
		case err != nil:
			return nil, nil, fmt.Errorf("directory %d: %w", i, err)
		case t.SubfileType&4 != 0 || t.Photometric == photoMask:
			masks = append(masks, l)
		default:
			images = append(images, l)
		}
	}
	return images, masks, nil
}

func newLevel(w *walker, d *directory, t tags) (*level, error) {
	l := &level{tags: t, w: w, width: int(t.Width), height: int(t.Height), alpha: -1, nodata: -1}
	l.tiled = t.TileWidth != 0 || t.TileHeight != 0
	offsets, counts := d.arrays[tagStripOffsets], d.arrays[tagStripByteCounts]
	if l.tiled {
		side := uint64(w.limits.BlockSide)
		if t.TileWidth == 0 || t.TileHeight == 0 {
			return nil, fmt.Errorf("tile of %d × %d pixels: %w", t.TileWidth, t.TileHeight, ErrTagValue)
		}
		if t.TileWidth > side || t.TileHeight > side {
			return nil, fmt.Errorf("tile of %d × %d pixels, at most %d a side: %w", t.TileWidth, t.TileHeight, side, ErrBlockTooLarge)
		}
		l.blockW, l.blockH = int(t.TileWidth), int(t.TileHeight)
		if tiles := d.arrays[tagTileOffsets]; tiles.count > 0 {
			offsets, counts = tiles, d.arrays[tagTileByteCounts]
		}
	} else {
		if t.RowsPerStrip == 0 {
			return nil, fmt.Errorf("strips of 0 rows: %w", ErrTagValue)
		}
		l.blockW, l.blockH = l.width, int(min(t.RowsPerStrip, t.Height))
	}
	l.planes = 1
	if t.Planar == 2 {
		l.planes = int(t.Samples)
	}
	if !l.tiled && t.Compression == compressionNone && l.planes == 1 && l.blockH == l.height {
		// Whole image in one strip: rows can be read apart.
		l.split = true
		l.blockH = int(max(1, min(int64(l.height), (256<<10)/l.rowBytes())))
	}
	// Counted as what it becomes, 4 bytes a pixel, or as stored if that is more.
	if n := max(l.rowBytes(), 4*int64(l.blockW)) * int64(l.blockH); n > w.limits.BlockBytes {
		return nil, fmt.Errorf("a tile or strip decodes to %d MiB, at most %d; convert with gdal_translate -of COG: %w",
			n>>20, w.limits.BlockBytes>>20, ErrBlockTooLarge)
	}
	l.across = (l.width + l.blockW - 1) / l.blockW
	l.down = (l.height + l.blockH - 1) / l.blockH
	blocks := uint64(l.across) * uint64(l.down) * uint64(l.planes)
	if l.split {
		blocks = 1
	}
	if offsets.count != blocks {
		return nil, fmt.Errorf("%d offsets for %d tiles or strips: %w", offsets.count, blocks, ErrOffsetCount)
	}
	if counts.count != blocks && (counts.count != 0 || t.Compression != compressionNone) {
		return nil, fmt.Errorf("%d byte counts for %d tiles or strips: %w", counts.count, blocks, ErrOffsetCount)
	}
	l.offsets.array, l.counts.array = offsets, counts
	l.roles()
	return l, nil
}

// roles finds out which sample means what.
func (l *level) roles() {
	n := int(l.Samples)
	first := n - len(l.ExtraSamples)
	for i, e := range l.ExtraSamples {
		if e == 1 || e == 2 {
			l.alpha, l.associated = first+i, e == 1
			break
		}
	}
	switch l.Photometric {
	case photoRGB, yCbCr:
		l.colourSamples = 3
	case cmyk:
		l.colourSamples = 4
	default:
		l.colourSamples = 1
		// Sensors' tools write orthophotos as "grey" with further bands: show the first three.
		if l.Photometric == blackIsZero && n >= 3 && l.alpha != 1 && l.alpha != 2 {
			l.colourSamples = 3
		}
	}
	if l.alpha >= 0 && l.alpha < l.colourSamples {
		l.alpha = -1
	}
	if s := strings.Trim(l.NoData, " \x00\n"); s != "" {
		if v, err := strconv.ParseFloat(s, 64); err == nil && v == math.Trunc(v) && v >= 0 && v < float64(uint64(1)<<l.bits()) {
			l.nodata = int(v)
		}
	}
}

// rowBytes is the length of one decoded row of a block of one plane.
func (l *level) rowBytes() int64 {
	return (int64(l.blockW)*int64(l.blockSamples())*int64(l.bits()) + 7) / 8
}

// blockSamples is the number of samples in a pixel of a stored block.
func (l *level) blockSamples() int {
	if l.Planar == 2 {
		return 1
	}
	return int(l.Samples)
}

// rows is the height of a stored block: a last strip is as short as the image, a last tile is padded.
func (l *level) rows(j int) int {
	if l.tiled {
		return l.blockH
	}
	return min(l.blockH, l.height-j*l.blockH)
}

// extent returns where the stored bytes of a block lie; a length of 0 is a block that was never written.
func (l *level) extent(i, j, plane int) (at, length int64, err error) {
	if l.split {
		at, length, err = l.stored(0)
		if err != nil || length == 0 {
			return 0, 0, err
		}
		from, n := int64(j)*int64(l.blockH)*l.rowBytes(), int64(l.rows(j))*l.rowBytes()
		if from+n > length {
			return 0, 0, fmt.Errorf("strip of %d bytes for %d: %w", length, l.rowBytes()*int64(l.height), ErrBlockSize)
		}
		return at + from, n, nil
	}
	return l.stored(uint64(plane*l.down+j)*uint64(l.across) + uint64(i))
}

func (l *level) stored(k uint64) (at, length int64, err error) {
	o, err := l.offsets.get(l.w, k)
	if err != nil {
		return 0, 0, err
	}
	n := uint64(l.rowBytes()) * uint64(l.blockH)
	if l.split {
		n = uint64(l.rowBytes()) * uint64(l.height)
	}
	if l.counts.count > 0 {
		if n, err = l.counts.get(l.w, k); err != nil {
			return 0, 0, err
		}
	} else if !l.tiled && !l.split {
		n = uint64(l.rowBytes()) * uint64(l.rows(int(k)/l.across%l.down))
	}
	if o == 0 || n == 0 {
		return 0, 0, nil
	}
	if o < 8 || o > uint64(l.w.size) || n > uint64(l.w.size)-o {
		return 0, 0, fmt.Errorf("%d bytes at %d: %w", n, o, ErrBlockRange)
	}
	if n > uint64(l.w.limits.BlockBytes) && !l.split {
		return 0, 0, fmt.Errorf("%d compressed bytes: %w", n, ErrBlockTooLarge)
	}
	return int64(o), int64(n), nil
}

// lazyArray is an offset array that is read when first asked for, if it is small, and element by element if not.
type lazyArray struct {
	array
	mu   sync.Mutex
	held []byte // guarded by mu
}

const residentArray = 1 << 20 // bytes

func (a *lazyArray) get(w *walker, k uint64) (uint64, error) {
	if k >= a.count {
		return 0, fmt.Errorf("block %d of %d: %w", k, a.count, ErrOffsetCount)
	}
	if a.data != nil {
		return uintOf(a.data[int64(k)*a.width:], int(a.width), w.order), nil
	}
	size := int64(a.count) * a.width
	if size > residentArray {
		var b [8]byte
		if err := w.readAt(b[:a.width], a.at+int64(k)*a.width); err != nil {
			return 0, err
		}
		return uintOf(b[:], int(a.width), w.order), nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held == nil {
		b := make([]byte, size)
		if err := w.readAt(b, a.at); err != nil {
			return 0, err
		}
		a.held = b
	}
	return uintOf(a.held[int64(k)*a.width:], int(a.width), w.order), nil
}
