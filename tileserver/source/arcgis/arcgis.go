// Package arcgis serves the tile cache of an ArcGIS MapServer or ImageServer, as its JSON description has it:
// https://host/arcgis/rest/services/City/MapServer → …/tile/{level}/{row}/{column}.
//
//	src, err := arcgis.Open(ctx, source.Spec{ID: "city", Source: "https://host/arcgis/rest/services/City/MapServer"}, upstream.Options{})
//	defer src.Close()
package arcgis

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"math"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/paulmach/orb"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/internal/reject"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/pyramid"
	"github.com/tilescout/tilescout/tileserver/source/upstream"
)

// Reasons to refuse a description.
var (
	ErrService = reject.New("arcgis", "ErrService", "not an ArcGIS service that can be used")
	ErrNoCache = reject.New("arcgis", "ErrNoCache", "the service has no tile cache")
)

const maxLevels = 64

type service struct {
	Error *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
	Name        string    `json:"name"`
	MapName     string    `json:"mapName"`
	Description string    `json:"description"`
	Copyright   string    `json:"copyrightText"`
	MinScale    float64   `json:"minScale"`
	MaxScale    float64   `json:"maxScale"`
	FullExtent  *extent   `json:"fullExtent"`
	Extent      *extent   `json:"extent"` // of an ImageServer
	TileInfo    *tileInfo `json:"tileInfo"`
}

type tileInfo struct {
	Rows   int    `json:"rows"` // pixels
	Cols   int    `json:"cols"`
	Format string `json:"format"`
	Origin struct {
		X float64 `json:"x"`
		Y float64 `json:"y"`
	} `json:"origin"`
	Reference reference `json:"spatialReference"`
	Levels    []struct {
		Level      int     `json:"level"`
		Resolution float64 `json:"resolution"`
		Scale      float64 `json:"scale"`
	} `json:"lods"`
}

type reference struct {
	ID     int `json:"wkid"`
	Latest int `json:"latestWkid"`
}

func (r reference) crs() (geo.CRS, error) { return geo.CRSByEPSG(cmp.Or(r.Latest, r.ID)) }

type extent struct {
	XMin, YMin, XMax, YMax float64
	Reference              reference `json:"spatialReference"`
}

var serverPath = regexp.MustCompile(`(?i)/(MapServer|ImageServer)/?$`)

// Is tells whether an address looks like that of a service.
func Is(u *url.URL) bool { return serverPath.MatchString(u.Path) }

// Description returns the address of a service's description.
func Description(u *url.URL) string {
	trimmed := *u
	trimmed.Path, trimmed.RawPath = strings.TrimSuffix(u.Path, "/"), ""
	return upstream.With(&trimmed, "f", "json")
}

// Open fetches the description and opens the cache. ErrBadInput: there is no cache, or none that can be used.
// ErrUpstream: the server failed.
func Open(ctx context.Context, spec source.Spec, o upstream.Options) (*pyramid.Source, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	address, client, err := upstream.Dial(spec, o, "f")
	if err != nil {
		return nil, err
	}
	d, err := client.Document(ctx, Description(address.URL))
	if err != nil {
		return nil, fmt.Errorf("layer %s: ArcGIS service: %w", spec.ID, err)
	}
	return openDocument(spec, address, d, client)
}

// OpenDocument is Open for a description that has been fetched already.
func OpenDocument(spec source.Spec, d upstream.Document, o upstream.Options) (*pyramid.Source, error) {
	address, client, err := upstream.Dial(spec, o, "f")
	if err != nil {
		return nil, err
	}
	return openDocument(spec, address, d, client)
}

func openDocument(spec source.Spec, address upstream.Address, d upstream.Document, client *upstream.Client) (*pyramid.Source, error) {
	s, err := parse(d.Data, d.Limits)
	if err != nil {
		return nil, fmt.Errorf("layer %s: ArcGIS service: %w", spec.ID, err)
	}
	set, err := s.set()
	if err != nil {
		return nil, fmt.Errorf("layer %s: ArcGIS service: %w", spec.ID, err)
	}
	base := *address.URL
	base.Path = strings.TrimSuffix(base.Path, "/")
	at := func(c pyramid.Cell) string {
		u := base
		u.Path += "/tile/" + set.Matrices[c.Matrix].ID + "/" + strconv.FormatInt(c.Row, 10) + "/" + strconv.FormatInt(c.Col, 10)
		u.RawPath = ""
		return u.String()
	}
	return pyramid.Open(pyramid.Layer{
		Spec: spec, Set: set, Bounds: s.bounds(), Host: strings.ToLower(base.Host),
		Info: tilescout.LayerInfo{
			Title:       upstream.Text(cmp.Or(s.Name, s.MapName), 200),
			Description: upstream.Text(source.PlainAttribution(s.Description), 2000),
			Attribution: html.UnescapeString(s.Copyright),
			MediaType:   mediaType(s.TileInfo.Format),
		},
		Identity: "arcgis\n" + address.Written,
		URL:      at, Shown: func(c pyramid.Cell) string { return client.Shown(at(c)) },
	}, client)
}

func parse(data []byte, limits upstream.DocumentLimits) (*service, error) {
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff")))
	if err := limits.Check(data); err != nil {
		return nil, err
	}
	s := &service{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("%s: %w", upstream.Text(err.Error(), 120), ErrService)
	}
	switch {
	case s.Error != nil:
		return nil, fmt.Errorf("the server answers: %s (%d): %w", upstream.Text(s.Error.Message, 120), s.Error.Code, ErrService)
	case s.TileInfo == nil:
		return nil, fmt.Errorf("its WMS may do: wms+https://…/arcgis/services/NAME/MapServer/WMSServer: %w", ErrNoCache)
	case len(s.TileInfo.Levels) == 0 || len(s.TileInfo.Levels) > maxLevels:
		return nil, fmt.Errorf("%d levels: %w", len(s.TileInfo.Levels), ErrService)
	case strings.Contains(strings.ToUpper(s.TileInfo.Format), "LERC"):
		return nil, fmt.Errorf("its tiles are heights (%.20s), not pictures: %w", s.TileInfo.Format, ErrService)
	}
	return s, nil
}

// set returns the grid of the cache.
func (s *service) set() (pyramid.Set, error) {
	t := s.TileInfo
	crs, err := t.Reference.crs()
	if err != nil {
		return pyramid.Set{}, fmt.Errorf("tiles are in a coordinate reference system that is not known (wkid %d): %w", cmp.Or(t.Reference.Latest, t.Reference.ID), ErrService)
	}
	set := pyramid.Set{ID: "cache", CRS: crs}
	full, known := s.extentIn(crs.EPSG)
	for _, l := range t.Levels {
		const slack = 1.001 // scales are rounded
		if s.MinScale > 0 && l.Scale > s.MinScale*slack || s.MaxScale > 0 && l.Scale > 0 && l.Scale*slack < s.MaxScale {
			continue
		}
		m := pyramid.Matrix{
			ID: strconv.Itoa(l.Level), Resolution: l.Resolution, X: t.Origin.X, Y: t.Origin.Y,
			TileWidth: t.Cols, TileHeight: t.Rows, MaxCol: 1<<31 - 1, MaxRow: 1<<31 - 1,
		}
		if l.Level < 0 || !m.Valid() {
			continue
		}
		w, h := m.Resolution*float64(m.TileWidth), m.Resolution*float64(m.TileHeight)
		if known {
			clamp := func(v float64) int64 { return int64(math.Max(0, math.Min(v, 1<<31-1))) }
			m.MinCol, m.MaxCol = clamp(math.Floor((full.XMin-m.X)/w)), clamp(math.Ceil((full.XMax-m.X)/w)-1)
			m.MinRow, m.MaxRow = clamp(math.Floor((m.Y-full.YMax)/h)), clamp(math.Ceil((m.Y-full.YMin)/h)-1)
		}
		if m.Valid() {
			set.Matrices = append(set.Matrices, m)
		}
	}
	if len(set.Matrices) == 0 {
		return pyramid.Set{}, fmt.Errorf("no usable level: %w", ErrService)
	}
	return set, nil
}

// extentIn returns where the service is, if it says so in the system of its tiles.
func (s *service) extentIn(epsg int) (extent, bool) {
	e := cmp.Or(s.FullExtent, s.Extent)
	if e == nil || !(e.XMax > e.XMin && e.YMax > e.YMin) {
		return extent{}, false
	}
	crs, err := e.Reference.crs()
	return *e, err == nil && crs.EPSG == epsg
}

// bounds returns where the service is in degrees, none where it does not say so in a known way.
func (s *service) bounds() []orb.Bound {
	e := cmp.Or(s.FullExtent, s.Extent)
	if e == nil || !(e.XMax > e.XMin && e.YMax > e.YMin) {
		return nil
	}
	crs, err := e.Reference.crs()
	if err != nil {
		return nil
	}
	b, ok := pyramid.Degrees(crs, e.XMin, e.YMin, e.XMax, e.YMax)
	if !ok || b.IsEmpty() {
		return nil
	}
	return []orb.Bound{b}
}

func mediaType(format string) string {
	switch f := strings.ToUpper(format); {
	case strings.HasPrefix(f, "PNG"):
		return tilescout.PNG
	case f == "JPEG" || f == "JPG":
		return tilescout.JPEG
	}
	return "" // MIXED
}
