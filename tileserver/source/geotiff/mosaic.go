package geotiff

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"
	"golang.org/x/sync/errgroup"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/geo/geotiff"
	"github.com/tilescout/tilescout/tileserver/source"
)

const (
	sampledFiles = 16 // that are measured for a stretch in common
	retryAfter   = time.Minute
)

// Mosaic is many GeoTIFFs shown as one layer, the newest on top. They may have different reference systems. Files are
// opened when a tile needs them, a bounded number at a time; one that fails leaves a hole and not the layer.
type Mosaic struct {
	o       Options
	info    tilescout.LayerInfo
	members []member // newest first
	tree    tree     // over their boxes
	skipped []error
	encoder encoder
	rasters rasters

	mu     sync.RWMutex // held for reading while a tile is rendered
	closed bool         // guarded by mu
	failed atomic.Int64 // files that failed in a tile
	stale  atomic.Bool  // a file was replaced
}

var (
	_ source.Source    = (*Mosaic)(nil)
	_ source.Sized     = (*Mosaic)(nil)
	_ source.Patchwork = (*Mosaic)(nil)
	_ source.Changing  = (*Mosaic)(nil)
)

// member is one file of a mosaic, by what its header says.
type member struct {
	path     string
	modified time.Time
	sum      uint64
	mercator orb.Bound // EPSG:3857 metres, the east beyond the world's edge if it crosses 180°
	bound    orb.Bound // degrees, as the layer's
	zoom     maptile.Zoom
	failed   *atomic.Int64 // when it last failed, in Unix nanoseconds
}

// OpenMosaic opens the files that source names: a folder with all below it, a pattern (ortho/*.tif), or paths with
// commas between. Of info, ID, title, description and attribution are kept, and the zooms if MaxZoom is given. Files
// that cannot be read are left out, see Skipped; none that can is ErrBadInput.
func OpenMosaic(ctx context.Context, sources string, info tilescout.LayerInfo, o Options) (*Mosaic, error) {
	o.setDefaults()
	paths, err := list(ctx, sources, o.Files)
	if err != nil {
		return nil, err
	}
	if o.File.Pool == nil { // one for all files
		o.File.Pool = geotiff.NewPool(o.File.CacheBytes, o.File.Memory)
	}
	m := &Mosaic{o: o, info: info, rasters: newRasters(o.OpenFiles)}
	if err := m.measure(ctx, paths); err != nil {
		return nil, err
	}
	if err := m.scan(ctx, paths); err != nil {
		return nil, fmt.Errorf("mosaic %s: %w", sources, err)
	}
	m.describe(sources)
	return m, nil
}

// measure fixes one stretch for samples of more than 8 bits, the median of those that some of the files would have by
// themselves, so that they show alike.
func (m *Mosaic) measure(ctx context.Context, paths []string) error {
	if len(m.o.File.Stretch) > 0 {
		return nil
	}
	var found [][]geotiff.Range
	for k := range min(len(paths), sampledFiles) {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, err := openRaster(paths[k*len(paths)/min(len(paths), sampledFiles)], m.o.File)
		if err != nil {
			continue // scan says why
		}
		if s := r.file.Info().Stretch; s != nil {
			found = append(found, s)
		}
		r.Close()
	}
	if len(found) == 0 {
		return nil
	}
	for c := range found[0] {
		var lo, hi []float64
		for _, s := range found {
			lo, hi = append(lo, s[c%len(s)].Min), append(hi, s[c%len(s)].Max)
		}
		slices.Sort(lo)
		slices.Sort(hi)
		r := geotiff.Range{Min: lo[len(lo)/2], Max: hi[len(hi)/2]}
		if !(r.Min < r.Max) {
			r = found[0][c]
		}
		m.o.File.Wide = append(m.o.File.Wide, r)
	}
	return nil
}

// scan reads the headers of all files.
func (m *Mosaic) scan(ctx context.Context, paths []string) error {
	var mu sync.Mutex // guards m.members and m.skipped
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for _, path := range paths {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			o := m.o.File
			if len(o.Wide) == 0 && len(o.Stretch) == 0 {
				// None of those measured needs a stretch; measuring each of the others would read pixels of all.
				o.Wide = []geotiff.Range{{Min: 0, Max: 65535}}
			}
			r, err := openRaster(path, o)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				m.skipped = append(m.skipped, fmt.Errorf("%s: %w", path, err))
				return nil
			}
			defer r.Close()
			in := r.file.Info()
			m.members = append(m.members, member{
				path: path, modified: r.modified, sum: r.sum, mercator: in.Mercator, bound: layerBound(in.Bound), zoom: nativeZoom(in), failed: new(atomic.Int64),
			})
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	slices.SortFunc(m.skipped, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	if len(m.members) == 0 {
		return fmt.Errorf("none of %d files can be read; the first: %w", len(paths), m.skipped[0])
	}
	// The newest first, then by name, the last on top: names of deliveries count upwards.
	slices.SortFunc(m.members, func(a, b member) int {
		return cmp.Or(b.modified.Compare(a.modified), cmp.Compare(b.path, a.path))
	})
	return nil
}

func (m *Mosaic) describe(sources string) {
	sum := xxhash.New()
	bound, finest := m.members[0].bound, maptile.Zoom(0)
	boxes := make([]orb.Bound, len(m.members))
	for i, f := range m.members {
		fmt.Fprintf(sum, "%s %x\n", f.path, f.sum)
		bound, finest = bound.Union(f.bound), max(finest, f.zoom)
		boxes[i] = f.mercator
	}
	if len(m.o.File.Wide) > 0 {
		fmt.Fprintf(sum, "%v", m.o.File.Wide)
	}
	m.tree = newTree(boxes)
	if m.info.Title == "" {
		m.info.Title = titleOf(sources)
	}
	m.info.Bound = bound
	if m.info.MaxZoom == 0 {
		m.info.MaxZoom = finest
		m.info.MinZoom = m.leastZoom()
	}
	m.o.describe(&m.info, sum.Sum64())
}

// leastZoom is the first zoom of which no tile needs too many files.
func (m *Mosaic) leastZoom() maptile.Zoom {
	if len(m.members) <= m.o.FilesPerTile {
		return 0
	}
	for z := range m.info.MaxZoom {
		most := 0
		count := map[maptile.Tile]int{}
		for _, f := range m.members {
			nw, se, ok := geo.CoverCorners(f.bound, z)
			for x := nw.X; ok && x <= se.X && most <= m.o.FilesPerTile; x++ {
				for y := nw.Y; y <= se.Y; y++ {
					t := maptile.New(x, y, z)
					count[t]++
					most = max(most, count[t])
				}
			}
		}
		if most <= m.o.FilesPerTile {
			return z
		}
	}
	return m.info.MaxZoom
}

// Info describes the layer.
func (m *Mosaic) Info() tilescout.LayerInfo { return m.info }

// Files is the number of files that make up the layer.
func (m *Mosaic) Files() int { return len(m.members) }

// Skipped says of the files that were left out when the layer was opened why that was, in order of their names.
func (m *Mosaic) Skipped() []error { return slices.Clone(m.skipped) }

// Outdated tells whether one of the files was replaced since the layer was opened.
func (m *Mosaic) Outdated() bool { return m.stale.Load() }

// Failed counts the files that failed while tiles were rendered.
func (m *Mosaic) Failed() int64 { return m.failed.Load() }

// Close closes the files when tiles being rendered are done. A second Close does nothing.
func (m *Mosaic) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return m.rasters.close()
}

// Tile is Source.Tile of all files together.
func (m *Mosaic) Tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	return m.TileSized(ctx, t, 256)
}

// TileSized is Tile at 256 or 512 pixels a side.
func (m *Mosaic) TileSized(ctx context.Context, t maptile.Tile, size int) (tilescout.Picture, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	err := error(tilescout.ErrUnavailable)
	if !m.closed {
		var pic tilescout.Picture
		pic, err = m.o.render(ctx, &m.encoder, m.info, t, size, func(ctx context.Context) (*image.NRGBA, time.Time, error) {
			return m.draw(ctx, t, size)
		})
		if err == nil {
			return pic, nil
		}
	}
	return tilescout.Picture{}, fmt.Errorf("geotiff: layer %s, tile %d/%d/%d: %w", m.info.ID, t.Z, t.X, t.Y, err)
}

// draw lays the files under one another, the newest first, until nothing shows through.
func (m *Mosaic) draw(ctx context.Context, t maptile.Tile, size int) (*image.NRGBA, time.Time, error) {
	box := mercator(t)
	var out *image.NRGBA
	var modified time.Time
	var first error
	for n, i := range m.tree.hits(box) {
		if n == m.o.FilesPerTile {
			break
		}
		f := &m.members[i]
		if time.Since(time.Unix(0, f.failed.Load())) < retryAfter {
			continue
		}
		img, err := m.render(ctx, f, box, size)
		switch {
		case ctx.Err() != nil:
			return nil, modified, ctx.Err()
		case err != nil:
			f.failed.Store(time.Now().UnixNano())
			m.failed.Add(1)
			first = errors.Join(first, err)
			continue
		case modified.Before(f.modified):
			modified = f.modified
		}
		if out == nil {
			out = img
		} else {
			under(out, img)
		}
		if solid(out) {
			break
		}
	}
	if out == nil {
		if first != nil {
			return nil, modified, oneLine(first)
		}
		out = image.NewNRGBA(image.Rect(0, 0, size, size))
	}
	return out, modified, nil
}

func oneLine(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()[0]
	}
	return err
}

func (m *Mosaic) render(ctx context.Context, f *member, box orb.Bound, size int) (*image.NRGBA, error) {
	r, release, err := m.rasters.get(f.path, func() (*raster, error) {
		r, err := openRaster(f.path, m.o.File)
		if err == nil && r.sum != f.sum {
			m.stale.Store(true)
			err = errors.Join(r.Close(), fmt.Errorf("the file has changed; reload the layer: %w", tilescout.ErrUnavailable))
			r = nil
		}
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	defer release()
	img, err := r.file.Render(ctx, box, size, size, m.o.resampling())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	return img, nil
}

// under puts a picture below another, in place of what is transparent there.
func under(top, bottom *image.NRGBA) {
	for k := 0; k < len(top.Pix); k += 4 {
		t, b := top.Pix[k:k+4:k+4], bottom.Pix[k:k+4:k+4]
		switch {
		case t[3] == 255 || b[3] == 0:
		case t[3] == 0:
			copy(t, b)
		default:
			below := int(b[3]) * (255 - int(t[3])) // of 255²
			alpha := int(t[3])*255 + below
			for s := range 3 {
				t[s] = byte((int(t[s])*int(t[3])*255 + int(b[s])*below + alpha/2) / alpha)
			}
			t[3] = byte((alpha + 127) / 255)
		}
	}
}

func solid(img *image.NRGBA) bool {
	for k := 3; k < len(img.Pix); k += 4 {
		if img.Pix[k] != 255 {
			return false
		}
	}
	return true
}

func titleOf(sources string) string {
	name := strings.TrimRight(sources, `/\`)
	if i := strings.LastIndexAny(name, `/\`); i >= 0 && !strings.ContainsAny(name, ",*?[") {
		name = name[i+1:]
	}
	return name
}
