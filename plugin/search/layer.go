package search

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache/index"
	"github.com/tilescout/tilescout/geo"
)

// BoundOption is a west, south, east, north box in degrees that may cross 180°.
type BoundOption = geo.BBox

// wantedResolution is the ground resolution in metres per pixel at which most concepts fit a tile
// (docs/search.md; measured sizes of RSICD-like scenes).
const wantedResolution = 1.2

// A layer of fewer tiles than fewTiles at that resolution is indexed deeper, down to finestResolution (m per pixel): finer
// pictures than models are trained on show parts of things.
const (
	fewTiles         = 12
	finestResolution = .25
)

// layer is one searchable layer: its tiles and its index at one or two zooms, deepest first.
type layer struct {
	info   tilescout.LayerInfo
	tiles  Tiles
	zooms  []maptile.Zoom
	bounds []orb.Bound
	views  []*view // one per zoom
	total  []int   // tiles per zoom inside bounds

	windows     *view // half a tile off the deepest zoom; nil if the layer has none
	windowTotal int
	tableMu     sync.Mutex // guards table
	table       *windowTable

	mu   sync.Mutex // guards rate
	rate float64    // tiles/s of the last indexing or filling
	busy int        // running index jobs
}

func (e *Engine) openLayer(ctx context.Context, tiles Tiles, o LayerOptions) (*layer, error) {
	info := tiles.Info()
	l := &layer{info: info, tiles: tiles, bounds: []orb.Bound{info.Bound}}
	if o.Bound != nil {
		l.bounds = intersect(o.Bound.Bounds(), info.Bound)
		if len(l.bounds) == 0 {
			return nil, fmt.Errorf("layer %q: index bounds lie outside the layer's own: %w", info.ID, tilescout.ErrBadInput)
		}
	}
	var err error
	if l.zooms, err = indexZooms(info, o.Zooms); err != nil {
		return nil, err
	}
	for _, z := range l.zooms {
		set, err := e.store.Set(ctx, index.Key{
			Layer: info.ID, Version: info.Version, Model: e.model.Digest,
			Preprocessing: e.model.Preprocessing, Zoom: z, Dimension: e.model.Dimension,
		})
		if err != nil {
			return nil, fmt.Errorf("layer %q: open the index of zoom %d: %w", info.ID, z, err)
		}
		l.views = append(l.views, newView(set, z, &e.concepts))
		n := 0
		for _, b := range l.bounds {
			n += geo.CoverCount(b, z)
		}
		l.total = append(l.total, n)
	}
	if err := e.openWindows(ctx, l, o.Overlap); err != nil {
		return nil, err
	}
	return l, nil
}

// indexZooms gives the zoom at which a pixel is nearest to wantedResolution, and its parent, within
// what the layer holds; or what the operator asked for, deepest first.
func indexZooms(info tilescout.LayerInfo, asked []maptile.Zoom) ([]maptile.Zoom, error) {
	if len(asked) > 0 {
		zooms := slices.Clone(asked)
		slices.Sort(zooms)
		slices.Reverse(zooms)
		zooms = slices.Compact(zooms)
		if len(zooms) > 2 || (len(zooms) == 2 && zooms[0] != zooms[1]+1) {
			return nil, fmt.Errorf("layer %q: index zooms %v: give one zoom, or one and its parent: %w", info.ID, asked, tilescout.ErrBadInput)
		}
		for _, z := range zooms {
			if z < info.MinZoom || z > info.MaxZoom {
				return nil, fmt.Errorf("layer %q: index zoom %d is outside the layer's zooms %d to %d: %w", info.ID, z, info.MinZoom, info.MaxZoom, tilescout.ErrBadInput)
			}
		}
		return zooms, nil
	}
	lat := info.Bound.Center().Lat()
	lat = math.Max(-80, math.Min(80, lat))
	z := maptile.Zoom(math.Round(math.Max(0, geo.ZoomFor(lat, wantedResolution))))
	z = min(max(z, info.MinZoom), info.MaxZoom)
	// A drone's picture of one yard would be a single tile: go deeper while that makes it a map.
	for z < info.MaxZoom && geo.CoverCount(info.Bound, z) < fewTiles && geo.GroundResolution(lat, z+1, 256) >= finestResolution {
		z++
	}
	if z > info.MinZoom {
		return []maptile.Zoom{z, z - 1}, nil
	}
	return []maptile.Zoom{z}, nil
}

func intersect(bounds []orb.Bound, with orb.Bound) []orb.Bound {
	var out []orb.Bound
	for _, b := range bounds {
		if b.Intersects(with) {
			out = append(out, orb.Bound{
				Min: orb.Point{max(b.Min[0], with.Min[0]), max(b.Min[1], with.Min[1])},
				Max: orb.Point{min(b.Max[0], with.Max[0]), min(b.Max[1], with.Max[1])},
			})
		}
	}
	return out
}

// level is the place of a zoom among the layer's index zooms.
func (l *layer) level(z maptile.Zoom) (int, bool) {
	i := slices.Index(l.zooms, z)
	return i, i >= 0
}

// inside says whether a tile of an index zoom touches the part of the layer that is indexed.
func (l *layer) inside(t maptile.Tile) bool {
	b := geo.Bound(t)
	for _, bound := range l.bounds {
		if b.Min[0] < bound.Max[0] && b.Max[0] > bound.Min[0] && b.Min[1] < bound.Max[1] && b.Max[1] > bound.Min[1] {
			return true
		}
	}
	return false
}

// State is how much of a layer, or of a view of it, is embedded.
type State struct {
	State    string         `json:"state"` // ready, building, partial, empty
	Zooms    []maptile.Zoom `json:"zooms"`
	Embedded int            `json:"embedded"` // tiles and windows looked at, those without content included
	Total    int            `json:"total"`
	Rate     float64        `json:"rate"` // tiles/s of the last filling
	Bytes    int64          `json:"bytes"`
	Model    string         `json:"model"`
	Version  string         `json:"version"`
	Corrupt  int            `json:"corrupt,omitempty"`
	View     *ViewState     `json:"view,omitempty"`
	Next     *Succession    `json:"next,omitempty"` // the model that is to follow; nil if none is

	Segments int   `json:"-"` // files of the index
	WALBytes int64 `json:"-"` // of them the log's
}

// ViewState is the share of a box that is embedded, at the deepest index zoom.
type ViewState struct {
	Embedded int `json:"embedded"`
	Total    int `json:"total"`
}

// State says how much of the layer is embedded; with a box, how much of that box too.
func (e *Engine) State(id string, box *geo.BBox) (State, error) {
	l, err := e.layer(id)
	if err != nil {
		return State{}, err
	}
	s := State{Zooms: l.zooms, Model: e.model.ID, Version: l.info.Version}
	for _, n := range l.total {
		s.Total += n
	}
	l.mu.Lock()
	s.Rate = l.rate
	busy := l.busy
	l.mu.Unlock()
	// Windows come with a job over the layer: one that fills as somebody looks is whole without them.
	if l.windows != nil && (busy > 0 || l.windows.set.Len() > 0) {
		s.Total += l.windowTotal
	}
	for _, v := range l.all() {
		st := v.set.Stats()
		s.Embedded += v.set.Len()
		s.Bytes += st.Bytes
		s.Corrupt += st.Corrupt
		s.Segments += st.Segments
		s.WALBytes += st.WALBytes
	}
	s.Embedded = min(s.Embedded, s.Total)
	switch {
	case busy > 0:
		s.State = "building"
	case s.Embedded >= s.Total:
		s.State = "ready"
	case s.Embedded == 0:
		s.State = "empty"
	default:
		s.State = "partial"
	}
	s.Next = e.heir.get(id)
	if box != nil {
		s.View = l.viewState(intersectAll(box.Bounds(), l.bounds))
	}
	return s, nil
}

func intersectAll(a, b []orb.Bound) []orb.Bound {
	var out []orb.Bound
	for _, with := range b {
		out = append(out, intersect(a, with)...)
	}
	return out
}

// maxCounted bounds the tiles that one count of a view looks at one by one.
const maxCounted = 1 << 16

func (l *layer) viewState(bounds []orb.Bound) *ViewState {
	v, z := l.views[0], l.zooms[0]
	out := &ViewState{}
	for _, b := range bounds {
		n := geo.CoverCount(b, z)
		out.Total += n
		if n > maxCounted {
			for _, r := range geo.Ranges([]orb.Bound{b}, z, 64) {
				out.Embedded += v.countRange(r.From, r.To)
			}
			out.Embedded = min(out.Embedded, out.Total)
			continue
		}
		for t := range geo.Cover(b, z) {
			if v.set.Has(geo.Morton(t)) {
				out.Embedded++
			}
		}
	}
	return out
}

// Revision changes whenever an answer about the layer can change: other pixels, other model, more tiles
// embedded. It goes into every URL of such an answer.
func (e *Engine) Revision(id string) string {
	l, err := e.layer(id)
	if err != nil {
		return ""
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n", l.info.Version, e.model.Digest, drawingVersion)
	for _, v := range l.all() {
		fmt.Fprintf(h, "%d %d\n", v.zoom, v.set.Generation())
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}

// drawingVersion is part of every revision: raise it when scores or drawings change for equal embeddings.
const drawingVersion = "2"

// LayerInfo returns what the layer says of itself.
func (e *Engine) LayerInfo(id string) (tilescout.LayerInfo, error) {
	l, err := e.layer(id)
	if err != nil {
		return tilescout.LayerInfo{}, err
	}
	return l.info, nil
}

// Zooms are the layer's index zooms, deepest first.
func (e *Engine) Zooms(id string) ([]maptile.Zoom, error) {
	l, err := e.layer(id)
	if err != nil {
		return nil, err
	}
	return slices.Clone(l.zooms), nil
}

// bulk asks the source whether fetching an area to embed it is allowed.
func (l *layer) bulk() error {
	if s, ok := l.tiles.(interface{ Bulk() error }); ok {
		if err := s.Bulk(); err != nil {
			if !errors.Is(err, tilescout.ErrForbidden) {
				err = fmt.Errorf("%w: %w", err, tilescout.ErrForbidden)
			}
			return err
		}
	}
	return nil
}
