package tileserver

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
)

// The document of WMTS 1.0.0. Clients match element names with their prefix as text (QGIS), so prefixes are part of
// the names here; the order is the schema's. GIS reference §3 says which client breaks without which element.
type capabilities struct {
	XMLName        xml.Name      `xml:"Capabilities"`
	NS             string        `xml:"xmlns,attr"`
	NSOWS          string        `xml:"xmlns:ows,attr"`
	NSXLink        string        `xml:"xmlns:xlink,attr"`
	NSXSI          string        `xml:"xmlns:xsi,attr"`
	SchemaLocation string        `xml:"xsi:schemaLocation,attr"`
	Version        string        `xml:"version,attr"`
	Service        service       `xml:"ows:ServiceIdentification"`
	Operations     []operation   `xml:"ows:OperationsMetadata>ows:Operation"`
	Layers         []wmtsLayer   `xml:"Contents>Layer"`
	Set            tileMatrixSet `xml:"Contents>TileMatrixSet"`
	Metadata       link          `xml:"ServiceMetadataURL"`
}

type service struct {
	Title       string `xml:"ows:Title"`
	Type        string `xml:"ows:ServiceType"`
	TypeVersion string `xml:"ows:ServiceTypeVersion"`
}

type operation struct {
	Name string `xml:"name,attr"`
	Get  get    `xml:"ows:DCP>ows:HTTP>ows:Get"`
}

type get struct {
	HREF       string     `xml:"xlink:href,attr"`
	Constraint constraint `xml:"ows:Constraint"`
}

type constraint struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"ows:AllowedValues>ows:Value"`
}

type link struct {
	HREF string `xml:"xlink:href,attr"`
}

type wmtsLayer struct {
	Title       string        `xml:"ows:Title"`
	Abstract    string        `xml:"ows:Abstract,omitempty"`
	Box         box           `xml:"ows:WGS84BoundingBox"`
	ID          string        `xml:"ows:Identifier"`
	Style       style         `xml:"Style"`
	Formats     []string      `xml:"Format"`
	InfoFormats []string      `xml:"InfoFormat"`
	Link        matrixSetLink `xml:"TileMatrixSetLink"`
	Resources   []resourceURL `xml:"ResourceURL"`
}

type box struct {
	Lower string `xml:"ows:LowerCorner"`
	Upper string `xml:"ows:UpperCorner"`
}

type style struct {
	Default bool   `xml:"isDefault,attr"`
	Title   string `xml:"ows:Title"`
	ID      string `xml:"ows:Identifier"`
}

type matrixSetLink struct {
	Set    string         `xml:"TileMatrixSet"`
	Limits []matrixLimits `xml:"TileMatrixSetLimits>TileMatrixLimits"`
}

type matrixLimits struct {
	Matrix string `xml:"TileMatrix"`
	MinRow uint32 `xml:"MinTileRow"`
	MaxRow uint32 `xml:"MaxTileRow"`
	MinCol uint32 `xml:"MinTileCol"`
	MaxCol uint32 `xml:"MaxTileCol"`
}

func (m matrixLimits) holds(t maptile.Tile) bool {
	return t.Y >= m.MinRow && t.Y <= m.MaxRow && t.X >= m.MinCol && t.X <= m.MaxCol
}

type resourceURL struct {
	Format   string `xml:"format,attr"`
	Type     string `xml:"resourceType,attr"`
	Template string `xml:"template,attr"`
}

type tileMatrixSet struct {
	Title    string       `xml:"ows:Title"`
	ID       string       `xml:"ows:Identifier"`
	CRS      string       `xml:"ows:SupportedCRS"`
	ScaleSet string       `xml:"WellKnownScaleSet"`
	Matrices []tileMatrix `xml:"TileMatrix"`
}

type tileMatrix struct {
	ID      string `xml:"ows:Identifier"`
	Scale   string `xml:"ScaleDenominator"`
	TopLeft string `xml:"TopLeftCorner"`
	Width   int    `xml:"TileWidth"`
	Height  int    `xml:"TileHeight"`
	Columns uint64 `xml:"MatrixWidth"`
	Rows    uint64 `xml:"MatrixHeight"`
}

// getCapabilities answers GetCapabilities. With a prompt (?q=…) each imagery layer is followed by one that shows where it matches.
func (s *site) getCapabilities(w http.ResponseWriter, r *http.Request) error {
	q, err := prompts(r)
	if err != nil {
		return err
	}
	carried := url.Values{}
	if len(q) > 0 && len(s.options.Register) > 0 {
		carried["q"] = q
		if not := r.URL.Query()["not"]; len(not) > 0 {
			carried["not"] = not
		}
	}
	metadata := s.URL(r, s.path(routeWMTSDoc))
	if len(carried) > 0 {
		metadata += "?" + carried.Encode()
	}
	metadata = withKey(r, metadata)
	doc := capabilities{
		NS: "http://www.opengis.net/wmts/1.0", NSOWS: "http://www.opengis.net/ows/1.1", NSXLink: "http://www.w3.org/1999/xlink",
		NSXSI:          "http://www.w3.org/2001/XMLSchema-instance",
		SchemaLocation: "http://www.opengis.net/wmts/1.0 http://schemas.opengis.net/wmts/1.0/wmtsGetCapabilities_response.xsd",
		Version:        "1.0.0",
		Service:        service{s.options.Title, "OGC WMTS", "1.0.0"},
		Metadata:       link{metadata},
	}
	kvp := s.URL(r, s.path(routeWMTS)) + "?"
	if changes := len(carried) > 0 || s.anyDynamic(); changes {
		// Clients keep tiles by URL whatever the headers say, and KVP tiles have no other place for the revision.
		v := url.Values{"rev": {s.rev()}}
		for name, values := range carried {
			v[name] = values
		}
		kvp += v.Encode() + "&"
	}
	if keyed := withKey(r, kvp); keyed != kvp {
		kvp = strings.Replace(keyed, "?&", "?", 1) + "&"
	}
	for _, name := range []string{"GetCapabilities", "GetTile", "GetFeatureInfo"} {
		doc.Operations = append(doc.Operations, operation{name, get{kvp, constraint{"GetEncoding", "KVP"}}})
	}
	deepest := maptile.Zoom(0)
	for _, l := range s.order {
		if !s.mayList(r, l) {
			continue
		}
		doc.Layers = append(doc.Layers, s.wmtsLayer(r, l))
		deepest = max(deepest, l.info.MaxZoom)
		if len(carried) > 0 && s.semantic(l) {
			doc.Layers = append(doc.Layers, s.wmtsMatches(r, l, carried))
		}
	}
	doc.Set = newMatrixSet(deepest)
	body, err := xml.MarshalIndent(doc, "", "  ")
	if err != nil {
		return fmt.Errorf("write capabilities: %w", err)
	}
	sendDocument(w, r, "text/xml; charset=utf-8", append([]byte(xml.Header), append(body, '\n')...))
	return nil
}

func (s *site) wmtsLayer(r *http.Request, l *layer) wmtsLayer {
	out := wmtsLayer{
		Title: l.info.Title, Abstract: strings.TrimSpace(l.info.Description + "\n" + l.credit),
		Box: newBox(l.bound), ID: l.info.ID,
		Style: style{true, styleName, styleName}, Formats: l.formats(),
		Link: matrixSetLink{Set: matrixSet},
	}
	for z := l.info.MinZoom; z <= l.info.MaxZoom; z++ {
		if m, ok := l.limits(z); ok {
			out.Link.Limits = append(out.Link.Limits, m)
		}
	}
	tile := []string{"layer", l.info.ID, "style", styleName, "tms", matrixSet, "z", "{TileMatrix}", "y", "{TileRow}", "x", "{TileCol}"}
	for _, f := range infoFormats {
		out.InfoFormats = append(out.InfoFormats, f.mediaType)
		path := s.path(routeWMTSFeature, append(tile, "j", "{J}", "i", "{I}", "ext", f.ext)...)
		out.Resources = append(out.Resources, resourceURL{f.mediaType, "FeatureInfo", withKey(r, s.URL(r, path))})
	}
	// OpenLayers takes the first Format but the last tile template: the layer's own encoding is both.
	formats := l.formats()
	for i := len(formats) - 1; i >= 0; i-- {
		path := s.path(routeWMTSTile, append(tile, "ext", extensionOf(formats[i]))...)
		out.Resources = append(out.Resources, resourceURL{formats[i], "tile", withKey(r, withRev(s.URL(r, path), l.rev()))})
	}
	return out
}

// wmtsMatches is the layer of matches of the prompts in carried.
func (s *site) wmtsMatches(r *http.Request, l *layer, carried url.Values) wmtsLayer {
	out := s.wmtsLayer(r, l)
	out.ID = l.info.ID + matchesSuffix
	out.Title = fmt.Sprintf("%s: %s", l.info.Title, strings.Join(carried["q"], ", "))
	out.Abstract = "Where " + l.info.Title + " matches the prompt."
	out.Formats, out.InfoFormats = []string{tilescout.PNG}, nil
	query := "?rev=" + url.QueryEscape(s.promptRev(l)) + "&" + carried.Encode()
	path := s.path(routeWMTSTile, "layer", out.ID, "style", styleName, "tms", matrixSet,
		"z", "{TileMatrix}", "y", "{TileRow}", "x", "{TileCol}", "ext", "png")
	out.Resources = []resourceURL{{tilescout.PNG, "tile", withKey(r, s.URL(r, path)+query)}}
	return out
}

// limits returns the block of tiles that covers the layer at a zoom; false outside its zooms.
func (l *layer) limits(z maptile.Zoom) (matrixLimits, bool) {
	if z < l.info.MinZoom || z > l.info.MaxZoom {
		return matrixLimits{}, false
	}
	west := orb.Bound{Min: l.bound.Min, Max: orb.Point{l.bound.Min[0], l.bound.Max[1]}}
	rows := geo.CoverCount(west, z)
	for first := range geo.Cover(l.bound, z) {
		columns := geo.CoverCount(l.bound, z) / rows
		return matrixLimits{Matrix: strconv.Itoa(int(z)), MinRow: first.Y, MaxRow: first.Y + uint32(rows) - 1,
			MinCol: first.X, MaxCol: first.X + uint32(columns) - 1}, true
	}
	return matrixLimits{}, false
}

func newBox(b orb.Bound) box {
	corner := func(p orb.Point) string {
		return strconv.FormatFloat(p[0], 'f', -1, 64) + " " + strconv.FormatFloat(p[1], 'f', -1, 64)
	}
	return box{corner(b.Min), corner(b.Max)}
}

func newMatrixSet(deepest maptile.Zoom) tileMatrixSet {
	set := geo.WebMercatorQuad()
	out := tileMatrixSet{Title: set.Title, ID: set.ID, CRS: set.CRS, ScaleSet: set.WellKnownScaleSet}
	for z := range deepest + 1 {
		m := set.Matrix(z, 256)
		out.Matrices = append(out.Matrices, tileMatrix{
			ID: m.ID, Scale: strconv.FormatFloat(m.ScaleDenominator, 'f', -1, 64),
			// One single blank: QGIS splits there and nowhere else.
			TopLeft: strconv.FormatFloat(m.TopLeft[0], 'f', 7, 64) + " " + strconv.FormatFloat(m.TopLeft[1], 'f', 7, 64),
			Width:   m.TileWidth, Height: m.TileHeight, Columns: m.Width, Rows: m.Height,
		})
	}
	return out
}

// rev is the revision of everything, for URLs that serve all layers.
func (s *site) rev() string {
	var all strings.Builder
	for _, l := range s.order {
		all.WriteString(l.info.ID + "=" + l.rev() + "/" + s.promptRev(l) + "\n")
	}
	return shorten(all.String())
}

func (s *site) anyDynamic() bool {
	for _, l := range s.order {
		if l.Dynamic {
			return true
		}
	}
	return false
}
