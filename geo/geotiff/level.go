package geotiff

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
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
	kind           sampleKind
	bands          []int // samples that are shown: 1 grey or palette, 3 RGB, 4 CMYK
	bandsByFile    bool  // nobody chose bands
	alpha          int   // index of the alpha sample, -1 for none
	associated     bool
	nodata         float64 // only with hasNoData; samples that are NaN mean it always
	hasNoData      bool
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
		if l.SubfileType&1 != 0 && l.width <= main.width && l.height <= main.height && l.Samples == main.Samples && l.kind == main.kind && l.bits() == main.bits() {
			l.alpha, l.associated, l.nodata, l.hasNoData, l.bands = main.alpha, main.associated, main.nodata, main.hasNoData, main.bands
			l.bandsByFile = main.bandsByFile
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
	if main.mask != nil {
		// An overview that nobody has masked would show what the picture hides.
		levels = slices.DeleteFunc(levels, func(l *level) bool { return l.mask == nil })
		for i, l := range levels {
			l.index, l.mask.index = i, i
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
		if d.depth > 0 {
			t.SubfileType |= 1
		}
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
	l := &level{tags: t, w: w, width: int(t.Width), height: int(t.Height), alpha: -1}
	var err error
	if l.kind, err = t.kindOfSamples(); err != nil {
		return nil, err
	}
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
	l.bandsByFile = true
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
		l.bands = []int{0, 1, 2}
	case cmyk:
		l.bands = []int{0, 1, 2, 3}
	default:
		l.bands = []int{0}
		// Sensors' tools write orthophotos as "grey" with further bands: show the first three.
		if l.Photometric == blackIsZero && n >= 3 && l.alpha != 1 && l.alpha != 2 {
			l.bands = []int{0, 1, 2}
		}
	}
	if slices.Contains(l.bands, l.alpha) {
		l.alpha = -1
	}
	if s := strings.Trim(l.NoData, " \x00\n"); s != "" {
		v, err := strconv.ParseFloat(s, 64)
		lo, hi := l.kind.full(l.bits())
		// A value that the type cannot hold marks no pixel.
		if err == nil && (l.kind.float() || v == math.Trunc(v) && v >= lo && v <= hi) {
			l.nodata, l.hasNoData = v, true
			if l.kind == kindF32 { // written with fewer digits than a double has
				l.nodata = float64(float32(v))
			}
		}
	}
}

// isNoData says whether a sample marks a pixel as empty.
func (l *level) isNoData(v float64) bool { return v != v || l.hasNoData && v == l.nodata }

// marksNoData says whether some value of the samples can mark a pixel as empty.
func (l *level) marksNoData() bool { return l.hasNoData || l.kind.float() }

// choose shows other bands, counted from 1: one as grey or three as red, green and blue.
func (l *level) choose(bands []int) error {
	switch {
	case len(bands) != 1 && len(bands) != 3:
		return fmt.Errorf("%d bands to show, want 1 or 3: %w", len(bands), ErrTagValue)
	case l.Photometric == palette || l.Photometric == cmyk:
		return fmt.Errorf("bands of a palette or CMYK picture cannot be chosen: %w", ErrUnsupported)
	}
	chosen := make([]int, len(bands))
	for i, b := range bands {
		if b < 1 || b > int(l.Samples) {
			return fmt.Errorf("band %d of %d: %w", b, l.Samples, ErrTagValue)
		}
		chosen[i] = b - 1
	}
	l.bands, l.bandsByFile = chosen, false
	if slices.Contains(l.bands, l.alpha) {
		l.alpha = -1
	}
	return nil
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

// written tells whether some plane of a block that is looked at was ever written.
func (l *level) written(ctx context.Context, i, j int) (bool, error) {
	for p := range l.planes {
		if l.planes > 1 && !l.needs(p) {
			continue
		}
		if _, n, err := l.extent(ctx, i, j, p); err != nil || n > 0 {
			return n > 0, err
		}
	}
	return false, nil
}

// extent returns where the stored bytes of a block lie; a length of 0 is a block that was never written.
func (l *level) extent(ctx context.Context, i, j, plane int) (at, length int64, err error) {
	if l.split {
		at, length, err = l.stored(ctx, 0)
		if err != nil || length == 0 {
			return 0, 0, err
		}
		from, n := int64(j)*int64(l.blockH)*l.rowBytes(), int64(l.rows(j))*l.rowBytes()
		if from+n > length {
			return 0, 0, fmt.Errorf("strip of %d bytes for %d: %w", length, l.rowBytes()*int64(l.height), ErrBlockSize)
		}
		return at + from, n, nil
	}
	return l.stored(ctx, uint64(plane*l.down+j)*uint64(l.across)+uint64(i))
}

func (l *level) stored(ctx context.Context, k uint64) (at, length int64, err error) {
	o, err := l.offsets.get(ctx, l.w, k)
	if err != nil {
		return 0, 0, err
	}
	n := uint64(l.rowBytes()) * uint64(l.blockH)
	if l.split {
		n = uint64(l.rowBytes()) * uint64(l.height)
	}
	if l.counts.count > 0 {
		if n, err = l.counts.get(ctx, l.w, k); err != nil {
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
	for _, d := range l.w.taken {
		if int64(o) < d[1] && d[0] < int64(o+n) {
			return 0, 0, fmt.Errorf("%d bytes at %d lie in a directory: %w", n, o, ErrBlockRange)
		}
	}
	if n > uint64(l.w.limits.BlockBytes) && !l.split {
		return 0, 0, fmt.Errorf("%d compressed bytes: %w", n, ErrBlockTooLarge)
	}
	return int64(o), int64(n), nil
}

// lazyArray is an offset array that is read when first asked for: whole if it is small, else a piece of it at a time.
type lazyArray struct {
	array
	mu    sync.Mutex
	held  []byte // guarded by mu
	first uint64 // guarded by mu: element that held begins with
}

const residentArray = 1 << 20 // bytes

func (a *lazyArray) get(ctx context.Context, w *walker, k uint64) (uint64, error) {
	if k >= a.count {
		return 0, fmt.Errorf("block %d of %d: %w", k, a.count, ErrOffsetCount)
	}
	if a.data != nil {
		return uintOf(a.data[int64(k)*a.width:], int(a.width), w.order), nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	width := uint64(a.width)
	if k < a.first || k-a.first >= uint64(len(a.held))/width {
		first, n := uint64(0), a.count
		if a.count*width > residentArray {
			const piece = 8 << 10 // elements
			first = k / piece * piece
			n = min(piece, a.count-first)
		}
		b := make([]byte, n*width)
		if err := w.readAtContext(ctx, b, a.at+int64(first*width)); err != nil {
			return 0, err
		}
		a.held, a.first = b, first
	}
	return uintOf(a.held[(k-a.first)*width:], int(a.width), w.order), nil
}
