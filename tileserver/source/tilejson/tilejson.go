// Package tilejson serves the tiles that a TileJSON document (versions 1 to 3) describes.
//
//	src, err := tilejson.Open(ctx, source.Spec{ID: "city", Source: "https://host/tiles.json"}, upstream.Options{})
//	defer src.Close()
package tilejson

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"strings"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout/internal/reject"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/upstream"
	"github.com/tilescout/tilescout/tileserver/source/xyz"
)

// Reasons to refuse a document.
var (
	ErrTileJSON = reject.New("tilejson", "ErrTileJSON", "not a TileJSON that can be used")
	ErrVector   = reject.New("tilejson", "ErrVector", "these are vector tiles; pictures are needed")
)

const maxTemplates = 64

// document is what is read of a TileJSON. Optional members of a wrong type are left out; many servers have some.
type document struct {
	name, description, attribution, scheme string
	tiles                                  []string
	minZoom, maxZoom                       int // -1: not given
	bounds                                 []float64
	size                                   int
}

// members are what is read of a document, each looked at on its own.
type members struct {
	Name         json.RawMessage `json:"name"`
	Description  json.RawMessage `json:"description"`
	Attribution  json.RawMessage `json:"attribution"`
	Scheme       json.RawMessage `json:"scheme"`
	Format       json.RawMessage `json:"format"`
	Tiles        json.RawMessage `json:"tiles"`
	VectorLayers json.RawMessage `json:"vector_layers"`
	MinZoom      json.RawMessage `json:"minzoom"`
	MaxZoom      json.RawMessage `json:"maxzoom"`
	Bounds       json.RawMessage `json:"bounds"`
	TileSize     json.RawMessage `json:"tileSize"` // of no standard, but common
}

// Open fetches the document and opens its tiles. ErrBadInput: spec or the document is not what it should be, or names
// tiles that must not be asked for. ErrUpstream: the server failed.
func Open(ctx context.Context, spec source.Spec, o upstream.Options) (*xyz.Source, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	address, client, err := upstream.Dial(spec, o)
	if err != nil {
		return nil, err
	}
	d, err := client.Document(ctx, address.URL.String())
	if err != nil {
		return nil, fmt.Errorf("layer %s: TileJSON: %w", spec.ID, err)
	}
	return openDocument(ctx, spec, address, d, client)
}

// OpenDocument is Open for a document that has been fetched already.
func OpenDocument(ctx context.Context, spec source.Spec, d upstream.Document, o upstream.Options) (*xyz.Source, error) {
	address, client, err := upstream.Dial(spec, o)
	if err != nil {
		return nil, err
	}
	return openDocument(ctx, spec, address, d, client)
}

func openDocument(ctx context.Context, spec source.Spec, address upstream.Address, d upstream.Document, client *upstream.Client) (*xyz.Source, error) {
	fail := func(err error) (*xyz.Source, error) {
		return nil, fmt.Errorf("layer %s: TileJSON: %w", spec.ID, err)
	}
	doc, err := parse(d.Data, d.Limits)
	if err != nil {
		return fail(err)
	}
	filled := doc.fill(spec)
	if err := filled.Validate(); err != nil {
		return fail(err)
	}
	var templates []*xyz.Template
	for _, text := range doc.tiles {
		t, err := template(filled, text, address, d.URL, client)
		if err != nil {
			return fail(err)
		}
		templates = append(templates, t)
	}
	src, err := xyz.New(ctx, filled, templates, client)
	if err != nil {
		return fail(err)
	}
	return src, nil
}

// template reads one template of the document. It is a stranger's: no environment variable is put into it, and all
// hosts that it can have are looked at.
func template(spec source.Spec, text string, address upstream.Address, base *url.URL, client *upstream.Client) (*xyz.Template, error) {
	text, err := upstream.Resolve(base, text)
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, pair := range address.Own(text) {
		if name, _, _ := strings.Cut(pair, "="); upstream.SecretName(name) {
			keys = append(keys, pair)
		}
	}
	spec.Source = upstream.Append(text, keys)
	t, err := xyz.ParseTemplate(spec, nil)
	if err != nil {
		return nil, err
	}
	scheme, _, _ := strings.Cut(text, "://")
	for _, host := range t.Hosts() {
		if err := client.CheckURL(&url.URL{Scheme: strings.ToLower(scheme), Host: host}); err != nil {
			return nil, fmt.Errorf("tiles at %s: %w", t.Shown(maptile.Tile{}), err)
		}
	}
	return t, nil
}

// parse reads a document. All errors are ErrBadInput.
func parse(data []byte, limits upstream.DocumentLimits) (document, error) {
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff")))
	if err := limits.Check(data); err != nil {
		return document{}, err
	}
	var m members
	if err := json.Unmarshal(data, &m); err != nil {
		return document{}, fmt.Errorf("%s: %w", upstream.Text(err.Error(), 120), ErrTileJSON)
	}
	get := func(raw json.RawMessage, v any) bool {
		return len(raw) > 0 && len(raw) < 64<<10 && json.Unmarshal(raw, v) == nil
	}
	d := document{minZoom: -1, maxZoom: -1}
	get(m.Name, &d.name)
	get(m.Description, &d.description)
	get(m.Attribution, &d.attribution)
	get(m.Scheme, &d.scheme)
	var format string
	get(m.Format, &format)
	vector := len(m.VectorLayers) > 2 && m.VectorLayers[0] == '[' // more than []
	if !get(m.Tiles, &d.tiles) || len(d.tiles) == 0 {
		return document{}, fmt.Errorf(`"tiles" is no list of URL templates: %w`, ErrTileJSON)
	}
	if len(d.tiles) > maxTemplates {
		return document{}, fmt.Errorf("%d templates, at most %d are read: %w", len(d.tiles), maxTemplates, ErrTileJSON)
	}
	path, _, _ := strings.Cut(d.tiles[0], "?")
	if f := strings.ToLower(format); f == "pbf" || f == "mvt" || strings.HasSuffix(path, ".pbf") || strings.HasSuffix(path, ".mvt") || vector && f == "" && !raster(path) {
		return document{}, ErrVector
	}
	for _, zoom := range []struct {
		name string
		raw  json.RawMessage
		to   *int
	}{{"minzoom", m.MinZoom, &d.minZoom}, {"maxzoom", m.MaxZoom, &d.maxZoom}} {
		var z float64
		if !get(zoom.raw, &z) {
			continue
		}
		if z != math.Trunc(z) || z < 0 || z > 40 {
			return document{}, fmt.Errorf("%s is %v, not one of 0 to 30: %w", zoom.name, z, ErrTileJSON)
		}
		*zoom.to = int(min(z, float64(source.MaxZoom)))
	}
	if d.minZoom >= 0 && d.maxZoom >= 0 && d.minZoom > d.maxZoom {
		return document{}, fmt.Errorf("minzoom %d is above maxzoom %d: %w", d.minZoom, d.maxZoom, ErrTileJSON)
	}
	if d.scheme != "tms" {
		d.scheme = "" // all else is xyz, as the standard has it
	}
	var size float64
	if get(m.TileSize, &size) {
		if size == 256 || size == 512 {
			d.size = int(size)
		}
	}
	get(m.Bounds, &d.bounds)
	d.bounds = sensible(d.bounds)
	return d, nil
}

func raster(path string) bool {
	for _, ending := range []string{".png", ".jpg", ".jpeg", ".webp"} {
		if strings.HasSuffix(strings.ToLower(path), ending) {
			return true
		}
	}
	return false
}

// sensible returns bounds within the world, nil where they say nothing that can be believed.
func sensible(b []float64) []float64 {
	if len(b) != 4 {
		return nil
	}
	for i, most := range []float64{180, 90, 180, 90} {
		if math.IsNaN(b[i]) || math.Abs(b[i]) > 2*most {
			return nil
		}
		b[i] = min(max(b[i], -most), most)
	}
	if b[1] >= b[3] || b[0] == b[2] {
		return nil
	}
	return b
}

// fill puts what the document says where spec says nothing.
func (d document) fill(spec source.Spec) source.Spec {
	spec.Title = cmp.Or(spec.Title, upstream.Text(d.name, 200))
	spec.Description = cmp.Or(spec.Description, upstream.Text(d.description, 2000))
	spec.Attribution = cmp.Or(spec.Attribution, source.SafeAttribution(d.attribution))
	spec.Scheme = cmp.Or(spec.Scheme, d.scheme)
	spec.TileSize = cmp.Or(spec.TileSize, d.size)
	if spec.TileSize == 0 && strings.Contains(d.tiles[0], "@2x") {
		spec.TileSize = 512
	}
	if spec.MaxZoom == 0 && d.maxZoom > 0 {
		spec.MaxZoom = d.maxZoom
	}
	if spec.MinZoom == 0 && d.minZoom > 0 {
		spec.MinZoom = d.minZoom
		if spec.MaxZoom > 0 {
			spec.MinZoom = min(spec.MinZoom, spec.MaxZoom)
		}
	}
	if len(spec.Bounds) == 0 {
		spec.Bounds = d.bounds
	}
	return spec
}
