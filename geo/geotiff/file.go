package geotiff

import (
	"context"
	"fmt"
	"image"
	"io"
	"math"
	"strconv"

	"github.com/paulmach/orb"

	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/internal/budget"
)

// Options are settings of a file; the zero value works.
type Options struct {
	Limits     Limits
	CacheBytes int64          // decoded blocks kept; 0 means 64 MiB
	Memory     *budget.Budget // of what renders under way hold; others wait. nil means 256 MiB of its own

	Pool *Pool  // shared with other files, in place of CacheBytes and Memory; nil means one of its own
	Name string // of this version of this file in the Pool; "" makes one up

	Bands   []int   // to show, counted from 1: one as grey or three as RGB; none means what the file says
	Stretch []Range // of the samples to 8 bits: for all bands or each; none means that 8 bits stay, others by percentiles
	Wide    []Range // in place of the percentiles, for files that are shown together

	Overviews *Sidecar // the .ovr file beside the image, if there is one
	Mask      *Sidecar // the .msk file beside the image, if there is one
}

// Sidecar is a second TIFF that belongs to the image.
type Sidecar struct {
	Reader io.ReaderAt
	Size   int64
}

// File is an open GeoTIFF. It is safe for concurrent use. It holds nothing that needs closing; the reader
// belongs to the caller.
type File struct {
	levels    []*level
	info      Info
	geoErr    error // why the file cannot be placed on the map
	inv       Transform
	turn      float64 // what the file's own x has more than one inside Info.Bound: whole turns of the earth
	codecs    codecs
	stretches []stretch // of the shown bands; nil where samples are shown as they are
	pool      *Pool
	name      string
}

// Info is what a file says of itself.
type Info struct {
	Width, Height   int // pixels
	Bands           int
	BlockW, BlockH  int
	Tiled, BigTIFF  bool
	Compression     int // TIFF's number
	Overviews       int
	Alpha, Mask     bool
	Bits            int // of a sample
	NoData          *float64
	Shown           []int   // bands, counted from 1
	Stretch         []Range // of the shown bands; nil where samples are shown as they are
	CRS             geo.CRS
	Transform       Transform // pixels → coordinates of the CRS
	Bound           orb.Bound // degrees, edges densified; the east is above 180 if the file crosses that meridian
	Mercator        orb.Bound // EPSG:3857 metres, cut at geo.MaxLat; the east as in Bound
	MetersPerPixel  float64   // of EPSG:3857 at the middle of the file, the finer axis
	AlphaIsInfrared bool      // the fourth band is tagged alpha but is plainly none; it is not used as such
}

// Open reads the header and the directories of a TIFF of size bytes. Errors are one of the package's kinds.
// A file without coordinate reference system opens, so that its pixels can be read; Render then fails with
// what Georeference returns.
func Open(r io.ReaderAt, size int64, o Options) (*File, error) {
	o.Limits.setDefaults()
	if o.Pool == nil {
		o.Pool = NewPool(o.CacheBytes, o.Memory)
	}
	f := &File{pool: o.Pool, name: o.Name}
	f.codecs.memory, f.codecs.window = uint64(o.Limits.BlockBytes), uint64(o.Limits.Window)
	if f.name == "" {
		f.name = "#" + strconv.FormatUint(o.Pool.files.Add(1), 10)
	}
	w := &walker{r: r, size: size, limits: o.Limits}
	var overviews, mask *walker
	if o.Overviews != nil {
		overviews = &walker{r: o.Overviews.Reader, size: o.Overviews.Size, limits: o.Limits}
	}
	if o.Mask != nil {
		mask = &walker{r: o.Mask.Reader, size: o.Mask.Size, limits: o.Limits}
	}
	var err error
	if f.levels, err = buildLevels(w, overviews, mask); err != nil {
		return nil, fmt.Errorf("geotiff: %w", err)
	}
	l := f.levels[0]
	f.info = Info{
		Width: l.width, Height: l.height, Bands: int(l.Samples), BlockW: l.blockW, BlockH: l.blockH, Tiled: l.tiled,
		BigTIFF: w.big, Compression: int(l.Compression), Overviews: len(f.levels) - 1, Mask: l.mask != nil, Bits: int(l.bits()),
	}
	if l.hasNoData {
		f.info.NoData = &l.nodata
	}
	if l.alpha >= 0 && f.infrared() {
		f.info.AlphaIsInfrared = true
		for _, l := range f.levels {
			l.alpha = -1
		}
	}
	if len(o.Bands) > 0 {
		for _, l := range f.levels {
			if err := l.choose(o.Bands); err != nil {
				return nil, fmt.Errorf("geotiff: %w", err)
			}
		}
	}
	for _, b := range l.bands {
		f.info.Shown = append(f.info.Shown, b+1)
	}
	if err := f.chooseStretch(context.Background(), o.Stretch, o.Wide); err != nil {
		return nil, fmt.Errorf("geotiff: %w", err)
	}
	f.info.Alpha = l.alpha >= 0
	f.geoErr = f.locate()
	return f, nil
}

// Info returns what the file says of itself.
func (f *File) Info() Info { return f.info }

// Georeference returns nil if the file can be placed on the map, else why not.
func (f *File) Georeference() error { return f.geoErr }

// locate fills in the georeference.
func (f *File) locate() error {
	t := &f.levels[0].tags
	if onGrid := len(t.Transformation) >= 16 || len(t.PixelScale) >= 2; !onGrid && (len(t.TiePoints) > 6 || len(t.RPC) > 0) {
		_, err := transformOf(t, geoKeys{})
		return fmt.Errorf("geotiff: %w", err)
	}
	if len(t.GeoKeys) == 0 {
		return fmt.Errorf("geotiff: no GeoKeys; give the file a coordinate reference system with gdal_edit.py -a_srs EPSG:CODE: %w", ErrNoCRS)
	}
	keys, err := parseGeoKeys(t.GeoKeys, t.GeoDoubles, t.GeoASCII, f.levels[0].w.limits)
	if err != nil {
		return fmt.Errorf("geotiff: %w", err)
	}
	if f.info.CRS, err = keys.crs(); err != nil {
		return fmt.Errorf("geotiff: %w", err)
	}
	if f.info.Transform, err = transformOf(t, keys); err != nil {
		return fmt.Errorf("geotiff: %w", err)
	}
	f.inv, _ = f.info.Transform.invert()
	return f.bounds()
}

// bounds walks the edges of the file, densified, in degrees and in Web Mercator.
func (f *File) bounds() error {
	const steps = 21
	in := &f.info
	w, h := float64(in.Width), float64(in.Height)
	bound := orb.Bound{Min: orb.Point{math.Inf(1), math.Inf(1)}, Max: orb.Point{math.Inf(-1), math.Inf(-1)}}
	last := math.NaN()
	for edge := range 4 {
		for i := range steps {
			s := float64(i) / steps
			col, row := [4]float64{s * w, w, (1 - s) * w, 0}[edge], [4]float64{0, s * h, h, (1 - s) * h}[edge]
			lon, lat := in.CRS.Inverse(in.Transform.Apply(col, row))
			if math.IsNaN(lon) || math.IsNaN(lat) || math.Abs(lon) > 720 || math.Abs(lat) > 90.5 {
				return fmt.Errorf("geotiff: pixel %.0f,%.0f lies outside of what %s covers: %w", col, row, in.CRS.Name, ErrTagValue)
			}
			// Projected positions jump at 180°; a border does not.
			if !math.IsNaN(last) && !in.CRS.Geographic && in.CRS.EPSG != 3857 {
				lon += 360 * math.Round((last-lon)/360)
			}
			last = lon
			bound = orb.Bound{
				Min: orb.Point{math.Min(bound.Min[0], lon), math.Min(bound.Min[1], lat)},
				Max: orb.Point{math.Max(bound.Max[0], lon), math.Max(bound.Max[1], lat)},
			}
		}
	}
	if bound.Max[0]-bound.Min[0] > 360.01 {
		return fmt.Errorf("geotiff: the file is %.0f degrees wide: %w", bound.Max[0]-bound.Min[0], ErrTagValue)
	}
	turns := math.Floor((bound.Min[0] + 180 + 1e-9) / 360)
	bound.Min[0], bound.Max[0] = bound.Min[0]-360*turns, bound.Max[0]-360*turns
	switch {
	case in.CRS.Geographic:
		f.turn = 360 * turns
	case in.CRS.EPSG == 3857:
		f.turn = 2 * geo.Half * turns
	}
	in.Bound = bound
	mercator := mercatorCRS()
	x0, y0 := mercator.Forward(bound.Min[0], max(-geo.MaxLat, min(geo.MaxLat, bound.Min[1])))
	x1, y1 := mercator.Forward(bound.Max[0], max(-geo.MaxLat, min(geo.MaxLat, bound.Max[1])))
	in.Mercator = orb.Bound{Min: orb.Point{x0, y0}, Max: orb.Point{x1, y1}}
	if !(x0 < x1 && y0 < y1) {
		return fmt.Errorf("geotiff: the file lies beyond ±%.2f degrees of latitude, where Web Mercator ends: %w", geo.MaxLat, ErrTagValue)
	}
	// Length of one pixel to the right and one down, in Mercator metres at the middle.
	col, row := w/2, h/2
	at := func(c, r float64) (x, y float64) {
		lon, lat := in.CRS.Inverse(in.Transform.Apply(c, r))
		return mercator.Forward(lon, max(-geo.MaxLat, min(geo.MaxLat, lat)))
	}
	ax, ay := at(col, row)
	bx, by := at(col+1, row)
	cx, cy := at(col, row+1)
	wrap := func(d float64) float64 { return math.Remainder(d, 2*geo.Half) }
	in.MetersPerPixel = math.Hypot(wrap(bx-ax), by-ay)
	if down := math.Hypot(wrap(cx-ax), cy-ay); down > 0 && down < in.MetersPerPixel {
		in.MetersPerPixel = down
	}
	if !(in.MetersPerPixel > 0) {
		return fmt.Errorf("geotiff: pixels without size: %w", ErrTagValue)
	}
	return nil
}

// mercatorCRS is EPSG:3857, which always exists.
func mercatorCRS() geo.CRS {
	c, err := geo.CRSByEPSG(3857)
	if err != nil {
		panic(err) // unreachable: the code is in the table
	}
	return c
}

// infrared says whether the sample tagged alpha cannot be one: orthophotos with a near-infrared fourth band
// are often tagged so. Alpha is 0 or its maximum nearly everywhere, infrared hardly anywhere.
func (f *File) infrared() bool {
	const looks = 9
	l := f.levels[len(f.levels)-1]
	if l.alpha < 0 || l.Compression == compressionWebP || l.kind != kindU8 && l.kind != kindU16 {
		return false
	}
	release, err := f.reserve(context.Background(), l, image.Rectangle{})
	if err != nil {
		return false
	}
	defer release()
	var count [256]int
	total := 0
	for k := range looks {
		i, j := l.across*(k%3)/3, l.down*(k/3)/3
		plane, s, n := 0, l.alpha, l.blockW*l.rows(j)
		if l.planes > 1 {
			plane, s = l.alpha, 0
		}
		r, err := f.samples(context.Background(), l, i, j, plane)
		if err != nil || r == nil {
			continue
		}
		if r.img != nil {
			p := planeOf(r, s, n, fullRange)
			for k := range n {
				count[p.pix[k*p.step]]++
			}
		} else {
			spp, top := l.blockSamples(), 1<<l.bits()-1
			for k := range n {
				count[int(l.kind.value(r.pix, k*spp+s))*255/top]++
			}
		}
		total += n
	}
	distinct := 0
	for _, c := range count {
		if c > 0 {
			distinct++
		}
	}
	return distinct > 32 && (count[0]+count[255])*5 < total
}

// Pixels returns a window of the image as it is, level 0 being full resolution and higher levels the
// overviews; parts outside the image are transparent. Windows above the memory limit are ErrBlockTooLarge.
func (f *File) Pixels(ctx context.Context, levelIndex int, window image.Rectangle) (*image.NRGBA, error) {
	if levelIndex < 0 || levelIndex >= len(f.levels) {
		return nil, fmt.Errorf("geotiff: level %d of %d: %w", levelIndex, len(f.levels), ErrTagValue)
	}
	if need := int64(window.Dx()) * int64(window.Dy()) * 4; window.Empty() || !f.pool.fits(need) {
		return nil, fmt.Errorf("geotiff: window %v: %w", window, ErrBlockTooLarge)
	}
	l := f.levels[levelIndex]
	release, err := f.reserve(ctx, l, window)
	if err != nil {
		return nil, err
	}
	defer release()
	win, err := f.window(ctx, l, newGrid(l, 1, 1), window.Intersect(image.Rect(0, 0, l.width, l.height)))
	if err != nil {
		return nil, err
	}
	out := image.NewNRGBA(window)
	if win.empty {
		return out, nil
	}
	for y := win.rect.Min.Y; y < win.rect.Max.Y; y++ {
		copy(out.Pix[out.PixOffset(win.rect.Min.X, y):], win.pix[(y-win.rect.Min.Y)*win.stride:][:4*win.rect.Dx()])
	}
	return out, nil
}
