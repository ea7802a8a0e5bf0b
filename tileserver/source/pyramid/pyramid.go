// Package pyramid serves the tiles of a remote pyramid in any tile matrix set: as they are where its grid is that of web
// maps, else drawn anew from those that lie under a tile. WMTS and ArcGIS caches are such pyramids.
//
//	src, err := pyramid.Open(pyramid.Layer{Spec: spec, Set: set, URL: url, Shown: shown, Host: host}, client)
//	defer src.Close()
package pyramid

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/internal/budget"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/resample"
	"github.com/tilescout/tilescout/tileserver/source/upstream"
)

// Cell is one tile of the remote grid.
type Cell struct {
	Matrix   int // index in Set.Matrices
	Col, Row int64
}

// Layer is what a document says about one layer.
type Layer struct {
	Spec     source.Spec
	Info     tilescout.LayerInfo // what the document says; Spec has precedence
	Set      Set
	Bounds   []orb.Bound // degrees; none: wherever the set is
	Identity string      // other content, other identity; without secrets
	Host     string      // of the tiles
	URL      func(Cell) string
	Shown    func(Cell) string // URL as people may see it
}

// Source is an open layer. Safe for concurrent use.
type Source struct {
	layer   Layer
	info    tilescout.LayerInfo
	bounds  []orb.Bound
	direct  map[maptile.Zoom]direct
	fetcher *upstream.Fetcher
	limits  source.Limits
	memory  *budget.Budget // of pictures being decoded

	decoded  *cache.Cache[Cell, decoded]
	rendered *resample.Tiles
}

var (
	_ source.Source      = (*Source)(nil)
	_ source.BulkLimited = (*Source)(nil)
)

const (
	decodedBytes  = 48 << 20
	renderedBytes = 16 << 20
	maxZoom       = 22 // that a resampled layer is said to have detail at
)

// Open returns the source of a layer that is asked through client; it sends nothing. A set that cannot be used is
// ErrBadInput.
func Open(l Layer, client *upstream.Client) (*Source, error) {
	if len(l.Set.Matrices) == 0 {
		return nil, fmt.Errorf("layer %s: tile matrix set %s has no usable matrix: %w", l.Spec.ID, l.Set.ID, tilescout.ErrBadInput)
	}
	s := &Source{
		layer: l, direct: l.Set.direct(), limits: client.Limits(), memory: client.Memory(),
		decoded:  cache.New(decodedBytes, func(_ Cell, d decoded) int { return d.size() }),
		rendered: resample.NewTiles(renderedBytes),
	}
	if err := s.describe(); err != nil {
		return nil, fmt.Errorf("layer %s: %w", l.Spec.ID, err)
	}
	var err error
	s.fetcher, err = client.NewFetcher(l.Spec, l.Host, s.info.Version)
	return s, err
}

func (s *Source) describe() error {
	l := s.layer
	info := l.Spec.Info()
	s.bounds = l.Spec.BoundList()
	if len(s.bounds) == 0 {
		if s.bounds = l.Bounds; len(s.bounds) == 0 {
			s.bounds = l.Set.bounds()
		}
		for i, b := range s.bounds {
			if i == 0 {
				info.Bound = b
			} else {
				info.Bound = info.Bound.Union(b)
			}
		}
	}
	if len(s.bounds) == 0 {
		info.Bound = source.World
	}
	info.Bound.Min[1], info.Bound.Max[1] = max(info.Bound.Min[1], -90), min(info.Bound.Max[1], 90)
	info.Title = cmp.Or(info.Title, l.Info.Title, l.Spec.ID)
	info.Description = cmp.Or(info.Description, l.Info.Description)
	info.Attribution = cmp.Or(info.Attribution, source.SafeAttribution(l.Info.Attribution))
	least, most := s.zooms(info.Bound)
	if l.Spec.MinZoom > 0 {
		least = max(least, maptile.Zoom(l.Spec.MinZoom))
	}
	if l.Spec.MaxZoom > 0 {
		most = maptile.Zoom(l.Spec.MaxZoom)
	}
	if least > most {
		return fmt.Errorf("tile matrix set %s has zooms %d to %d only: %w", l.Set.ID, least, most, tilescout.ErrBadInput)
	}
	info.MinZoom, info.MaxZoom = least, most
	info.TileSize = 256
	if d, ok := s.direct[most]; ok {
		info.TileSize = l.Set.Matrices[d.matrix].TileWidth
	}
	info.MediaType = ""
	if s.allDirect(least, most) {
		info.MediaType = l.Info.MediaType
	}
	h := sha256.Sum256([]byte("pyramid 1 " + l.Identity + " " + l.Spec.Version))
	info.Version = hex.EncodeToString(h[:16])
	s.info = info
	return nil
}

func (s *Source) allDirect(least, most maptile.Zoom) bool {
	for z := least; z <= most; z++ {
		if _, ok := s.direct[z]; !ok {
			return false
		}
	}
	return true
}

// zooms returns those that the pyramid has detail for: its own where its grid is that of web maps, else from the one
// where a tile needs few of its tiles to the one that shows its finest pixels.
func (s *Source) zooms(bound orb.Bound) (least, most maptile.Zoom) {
	if 2*len(s.direct) >= len(s.layer.Set.Matrices) {
		least = source.MaxZoom
		for z := range s.direct {
			least, most = min(least, z), max(most, z)
		}
		return least, most
	}
	fine := s.layer.Set.finest()
	// Half a zoom of blur is less of a loss than four times the tiles.
	for most < maxZoom && s.view(bound.Center(), most, 256).Resolution() > fine*1.4 {
		most++
	}
	for least < most && !s.reaches(bound, least) {
		least++
	}
	return least, most
}

// reaches tells whether a tile of zoom z needs few enough tiles of the pyramid, in the middle and the corners of bound.
func (s *Source) reaches(b orb.Bound, z maptile.Zoom) bool {
	for _, p := range []orb.Point{b.Center(), b.Min, b.Max, {b.Min[0], b.Max[1]}, {b.Max[0], b.Min[1]}} {
		v := s.view(p, z, 256)
		fits, any := false, false
		for i, m := range s.layer.Set.Matrices {
			_, empty, ok := m.window(i, v.Rect())
			any = any || !empty
			fits = fits || ok && !empty
		}
		if any && !fits {
			return false
		}
	}
	return true
}

// Info describes the layer.
func (s *Source) Info() tilescout.LayerInfo { return s.info }

// Stats counts since Open: requests sent, and tiles answered from an expired entry because the upstream failed.
func (s *Source) Stats() (requests, stale int64) { return s.fetcher.Stats() }

// Bulk tells whether a whole area may be fetched.
func (s *Source) Bulk() error { return upstream.Bulk(s.layer.Spec, s.layer.Host) }

// Close ends what is being fetched.
func (s *Source) Close() error { return s.fetcher.Close() }

// Tile returns the picture of t. ErrNotFound: outside of the layer's bounds or limits, or the upstream has nothing there.
func (s *Source) Tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	pic, err := s.tile(ctx, t)
	if err != nil {
		return tilescout.Picture{}, fmt.Errorf("layer %s, tile %d/%d/%d: %w", s.info.ID, t.Z, t.X, t.Y, err)
	}
	return pic, nil
}

func (s *Source) tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	if err := s.fetcher.Admits(ctx, t, s.info, s.bounds); err != nil {
		return tilescout.Picture{}, err
	}
	d, ok := s.direct[t.Z]
	if !ok {
		return s.drawn(ctx, t)
	}
	cell := Cell{d.matrix, int64(t.X) - d.col, int64(t.Y) - d.row}
	if !s.layer.Set.Matrices[d.matrix].holds(cell.Col, cell.Row) {
		return tilescout.Picture{}, fmt.Errorf("outside the limits of matrix %s: %w", s.layer.Set.Matrices[d.matrix].ID, tilescout.ErrNotFound)
	}
	return s.fetch(ctx, cell)
}

func (s *Source) fetch(ctx context.Context, c Cell) (tilescout.Picture, error) {
	return s.fetcher.Picture(ctx, upstream.Request{
		Key:   fmt.Sprintf("%s/%d/%d", s.layer.Set.Matrices[c.Matrix].ID, c.Col, c.Row),
		URL:   func() string { return s.layer.URL(c) },
		Shown: func() string { return s.layer.Shown(c) },
	})
}

// Degrees turns a box of the CRS into degrees; ok is false where the projection has no answer.
func Degrees(crs geo.CRS, x0, y0, x1, y1 float64) (b orb.Bound, ok bool) {
	b = orb.Bound{Min: orb.Point{math.Inf(1), math.Inf(1)}, Max: orb.Point{math.Inf(-1), math.Inf(-1)}}
	const steps = 20
	for i := 0; i <= steps; i++ {
		for j := 0; j <= steps; j++ {
			if i > 0 && i < steps && j > 0 && j < steps {
				continue
			}
			lon, lat := crs.Inverse(x0+(x1-x0)*float64(i)/steps, y0+(y1-y0)*float64(j)/steps)
			if math.IsNaN(lon+lat) || math.IsInf(lon+lat, 0) {
				return orb.Bound{}, false
			}
			b = b.Extend(orb.Point{min(max(lon, -180), 180), min(max(lat, -90), 90)})
		}
	}
	return b, true
}
