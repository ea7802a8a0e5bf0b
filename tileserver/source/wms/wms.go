// Package wms serves layers of a WMS 1.1.1 or 1.3.0 as tiles: one GetMap for each, with a gutter that is cut off, in
// EPSG:3857 where the service has it, else drawn from another coordinate reference system.
//
//	spec := source.Spec{ID: "ortho", Source: "wms+https://host/wms?map=ortho", Layer: "rgb", Format: "jpeg"}
//	src, err := wms.Open(ctx, spec, upstream.Options{})
//	defer src.Close()
package wms

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"image/draw"
	"math"
	"net/url"
	"strconv"
	"strings"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/internal/budget"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/resample"
	"github.com/tilescout/tilescout/tileserver/source/upstream"
)

// settings may stand in the query of the source as well as behind its #.
var settings = []string{"layer", "layers", "style", "styles", "format", "crs", "srs", "gutter", "transparent", "service", "request", "version", "width", "height", "bbox"}

// Source is an open layer. Safe for concurrent use.
type Source struct {
	spec    source.Spec
	info    tilescout.LayerInfo
	bounds  []orb.Bound
	ask     request
	limits  source.Limits
	memory  *budget.Budget // of pictures being decoded
	fetcher *upstream.Fetcher
	drawn   *resample.Tiles
}

var (
	_ source.Source      = (*Source)(nil)
	_ source.BulkLimited = (*Source)(nil)
)

// Open fetches the capabilities and opens the layer of spec. ErrBadInput: spec or the document is not what it should be;
// a layer, style, CRS or format that is not there is answered with those that are. ErrUpstream: the server failed.
func Open(ctx context.Context, spec source.Spec, o upstream.Options) (*Source, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	address, client, err := upstream.Dial(spec, o, settings...)
	if err != nil {
		return nil, err
	}
	document := address.URL.String()
	if !strings.HasSuffix(strings.ToLower(address.URL.Path), ".xml") {
		document = upstream.With(address.URL, "SERVICE", "WMS", "REQUEST", "GetCapabilities", "VERSION", cmp.Or(address.Options["version"], "1.3.0"))
	}
	d, err := client.Document(ctx, document)
	if err != nil {
		return nil, fmt.Errorf("layer %s: WMS capabilities: %w", spec.ID, err)
	}
	return openDocument(spec, address, d, client)
}

// OpenDocument is Open for capabilities that have been fetched already.
func OpenDocument(spec source.Spec, d upstream.Document, o upstream.Options) (*Source, error) {
	address, client, err := upstream.Dial(spec, o, settings...)
	if err != nil {
		return nil, err
	}
	return openDocument(spec, address, d, client)
}

func openDocument(spec source.Spec, address upstream.Address, d upstream.Document, client *upstream.Client) (*Source, error) {
	c, err := parse(d.Data, d.Limits)
	if err != nil {
		return nil, fmt.Errorf("layer %s: WMS capabilities: %w", spec.ID, err)
	}
	s := &Source{spec: spec, limits: client.Limits(), memory: client.Memory(), drawn: resample.NewTiles(16 << 20)}
	if err := s.describe(c, address, d.URL, client); err != nil {
		return nil, fmt.Errorf("layer %s: WMS: %w", spec.ID, err)
	}
	s.fetcher, err = client.NewFetcher(spec, strings.ToLower(s.ask.base.Host), s.info.Version)
	return s, err
}

func (s *Source) describe(c *capabilities, address upstream.Address, base *url.URL, client *upstream.Client) error {
	options := address.Options
	layers, err := c.find(cmp.Or(s.spec.Layer, options["layers"], options["layer"]))
	if err != nil {
		return err
	}
	if s.ask, err = newRequest(c, layers, s.spec, address, base); err != nil {
		return err
	}
	if err := client.CheckURL(s.ask.base); err != nil {
		return fmt.Errorf("GetMap address of the document: %w", err)
	}
	s.ask.shown = client.Shown
	l := layers[0].last()
	s.info = s.spec.Info()
	s.info.Title = cmp.Or(s.info.Title, upstream.Text(cmp.Or(l.Title, l.Name), 200))
	s.info.Description = cmp.Or(s.info.Description, upstream.Text(l.Abstract, 2000))
	if s.info.Attribution == "" {
		title, href := layers[0].attribution()
		s.info.Attribution = source.SafeAttribution(`<a href="` + source.TextAttribution(href) + `">` + source.TextAttribution(upstream.Text(title, 200)) + `</a>`)
	}
	if s.bounds = s.spec.BoundList(); len(s.bounds) == 0 {
		s.bounds = layers[0].bounds()
		for _, p := range layers[1:] {
			s.bounds = append(s.bounds, p.bounds()...)
		}
		s.info.Bound = source.World
		for i, b := range s.bounds {
			if i == 0 {
				s.info.Bound = b
			} else {
				s.info.Bound = s.info.Bound.Union(b)
			}
		}
	}
	s.info.TileSize = s.ask.size
	least, most := s.ask.zooms(layers)
	s.info.MinZoom = max(s.info.MinZoom, least)
	if s.spec.MaxZoom == 0 {
		s.info.MaxZoom = max(most, s.info.MinZoom)
	}
	if s.passed() {
		s.info.MediaType = plainType(s.ask.format)
	}
	h := sha256.Sum256([]byte("wms 1 " + address.Written + "\n" + s.ask.identity() + "\n" + s.spec.Version))
	s.info.Version = hex.EncodeToString(h[:16])
	return nil
}

// passed tells whether answers are passed on as they are.
func (s *Source) passed() bool { return s.ask.gutter == 0 && s.ask.crs.EPSG == 3857 }

// Info describes the layer.
func (s *Source) Info() tilescout.LayerInfo { return s.info }

// Stats counts since Open: requests sent, and tiles answered from an expired entry because the upstream failed.
func (s *Source) Stats() (requests, stale int64) { return s.fetcher.Stats() }

// Bulk tells whether a whole area may be fetched.
func (s *Source) Bulk() error { return upstream.Bulk(s.spec, s.ask.base.Host) }

// Close ends what is being fetched.
func (s *Source) Close() error { return s.fetcher.Close() }

// Tile returns the picture of t. ErrNotFound: outside of the layer's bounds, or wholly transparent. ErrUpstream: the
// server failed; what an exception of its says is in the text.
func (s *Source) Tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	pic, err := s.tile(ctx, t)
	if err != nil {
		return tilescout.Picture{}, fmt.Errorf("wms: layer %s, tile %d/%d/%d: %w", s.info.ID, t.Z, t.X, t.Y, err)
	}
	return pic, nil
}

func (s *Source) tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	if err := s.fetcher.Admits(ctx, t, s.info, s.bounds); err != nil {
		return tilescout.Picture{}, err
	}
	v := resample.View{Tile: t, Size: s.ask.size, CRS: s.ask.crs}
	m, ok := s.ask.mapOf(v)
	if !ok {
		return tilescout.Picture{}, fmt.Errorf("outside of %s: %w", s.ask.crsName, tilescout.ErrNotFound)
	}
	if s.passed() {
		return s.fetch(ctx, t, m)
	}
	pic, err := s.drawn.Get(ctx, t, func(ctx context.Context) (*image.NRGBA, resample.Life, error) { return s.draw(ctx, v, m) })
	if err != nil && s.fetcher.Closed() && ctx.Err() == nil {
		err = upstream.ErrClosed
	}
	return pic, err
}

func (s *Source) fetch(ctx context.Context, t maptile.Tile, m getMap) (tilescout.Picture, error) {
	return s.fetcher.Picture(ctx, upstream.Request{
		Key:   fmt.Sprintf("%d/%d/%d", t.Z, t.X, t.Y),
		URL:   func() string { return s.ask.url(m) },
		Shown: func() string { return s.ask.shown(s.ask.url(m)) },
	})
}

// draw cuts the gutter off, or draws the tile from another coordinate reference system.
func (s *Source) draw(ctx context.Context, v resample.View, m getMap) (*image.NRGBA, resample.Life, error) {
	pic, err := s.fetch(ctx, v.Tile, m)
	if err != nil {
		return nil, resample.Life{}, err
	}
	img, err := resample.Decode(ctx, pic.Data, s.limits, s.memory)
	if err != nil {
		return nil, resample.Life{}, fmt.Errorf("%s: %w", strings.TrimSuffix(err.Error(), ": "+tilescout.ErrBadInput.Error()), tilescout.ErrUpstream)
	}
	if got := img.Rect.Size(); got != image.Pt(m.width, m.height) {
		return nil, resample.Life{}, fmt.Errorf("%d × %d pixels were asked for, %d × %d came: %w", m.width, m.height, got.X, got.Y, tilescout.ErrUpstream)
	}
	if s.ask.crs.EPSG == 3857 {
		out := image.NewNRGBA(image.Rect(0, 0, v.Size, v.Size))
		draw.Draw(out, out.Rect, img, image.Pt(m.gutter, m.gutter), draw.Src)
		return out, resample.LifeOf(pic), nil
	}
	return v.Draw(resample.Raster{
		Image: img, X: m.box.MinX, Y: m.box.MaxY,
		DX: (m.box.MaxX - m.box.MinX) / float64(m.width), DY: (m.box.MaxY - m.box.MinY) / float64(m.height),
	}), resample.LifeOf(pic), nil
}

// zooms returns those that the layers' scales allow; a scale says nothing of other systems than web maps' own.
func (r request) zooms(layers []path) (least, most maptile.Zoom) {
	const deepest = 19
	most = deepest
	if r.crs.EPSG != 3857 {
		return 0, most
	}
	scale0 := geo.WebMercatorQuad().Matrix(0, r.size).ScaleDenominator
	for _, p := range layers {
		if s, err := strconv.ParseFloat(strings.TrimSpace(p.last().MinScale), 64); err == nil && s > 0 && s < scale0 {
			most = min(most, maptile.Zoom(math.Floor(math.Log2(scale0/s)+1e-6)))
		}
		if s, err := strconv.ParseFloat(strings.TrimSpace(p.last().MaxScale), 64); err == nil && s > 0 && s < scale0 {
			least = max(least, maptile.Zoom(min(math.Ceil(math.Log2(scale0/s)-1e-6), deepest)))
		}
	}
	return min(least, most), most
}
