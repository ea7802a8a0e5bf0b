package tileserver

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/gorilla/mux"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
)

// tileJSON is TileJSON 3.0.0 of a raster layer; vector_layers is required by it and empty.
type tileJSON struct {
	TileJSON     string     `json:"tilejson"`
	Name         string     `json:"name"`
	Description  string     `json:"description,omitempty"`
	Version      string     `json:"version"`
	Attribution  string     `json:"attribution,omitempty"`
	Scheme       string     `json:"scheme"`
	Tiles        []string   `json:"tiles"`
	MinZoom      int        `json:"minzoom"`
	MaxZoom      int        `json:"maxzoom"`
	Bounds       [4]float64 `json:"bounds"`
	Center       [3]float64 `json:"center"`
	VectorLayers []struct{} `json:"vector_layers"`
	// Keys of ours, as the specification lets us.
	ID       string `json:"id"`
	Format   string `json:"format"` // file extension
	TileSize int    `json:"tilesize"`
	Rev      string `json:"rev"`
}

// getTileJSON answers /tiles/{layer}.json.
func (s *site) getTileJSON(w http.ResponseWriter, r *http.Request) error {
	l, err := s.layer(r, mux.Vars(r)["layer"])
	if err != nil {
		return err
	}
	entryOf(r).layer = l.info.ID
	b := l.bound
	doc := tileJSON{
		TileJSON: "3.0.0", Name: l.info.Title, Description: l.info.Description, Version: "1.0.0",
		Attribution: l.info.Attribution, Scheme: "xyz", Tiles: []string{s.template(r, l)},
		MinZoom: int(l.info.MinZoom), MaxZoom: int(l.info.MaxZoom),
		Bounds: [4]float64{b.Min[0], b.Min[1], b.Max[0], b.Max[1]}, Center: center(l),
		VectorLayers: []struct{}{}, ID: l.info.ID, Format: extensionOf(l.mediaType()), TileSize: 256, Rev: l.rev(),
	}
	return sendJSON(w, r, doc)
}

// template returns the absolute XYZ template of a layer with its current revision.
func (s *site) template(r *http.Request, l *layer) string {
	return withKey(r, s.URL(r, "/"+s.relativeTemplate(l)))
}

// relativeTemplate is template from the root of the server, for documents that lie there.
func (s *site) relativeTemplate(l *layer) string {
	path := s.path(routeTile, "layer", l.info.ID, "z", "{z}", "x", "{x}", "y", "{y}", "ext", extensionOf(l.mediaType()))
	return withRev(strings.TrimPrefix(path, "/"), l.rev())
}

// center returns the middle of a layer and a zoom at which its bound is about three tiles wide.
func center(l *layer) [3]float64 {
	mid := l.bound.Center()
	z := l.info.MinZoom
	for z < l.info.MaxZoom && geo.CoverCount(l.bound, z) < 9 {
		z++
	}
	return [3]float64{mid[0], mid[1], float64(z)}
}

// layerEntry is one element of /layers.
type layerEntry struct {
	ID          string            `json:"id"`
	Title       string            `json:"title"`
	Description string            `json:"description,omitempty"`
	Attribution string            `json:"attribution,omitempty"`
	Bounds      [4]float64        `json:"bounds"` // west, south, east, north
	Center      [3]float64        `json:"center"` // longitude, latitude, zoom
	MinZoom     int               `json:"minzoom"`
	MaxZoom     int               `json:"maxzoom"`
	Tiles       string            `json:"tiles"`    // XYZ template, relative to this document
	TileSize    int               `json:"tileSize"` // pixels a side of those tiles
	Format      string            `json:"format"`   // file extension of most tiles
	Rev         string            `json:"rev"`
	Over        string            `json:"over,omitempty"` // of a saved search: the layer beneath
	Index       any               `json:"index"`
	Links       map[string]string `json:"links"`
}

// getLayers answers /layers: the layers in the order of the config.
func (s *site) getLayers(w http.ResponseWriter, r *http.Request) error {
	out := []layerEntry{}
	none := map[string]any{"state": "unavailable", "zooms": []int{}, "embedded": 0, "total": 0}
	for _, l := range s.order {
		if !s.mayList(r, l) {
			continue
		}
		b := l.bound
		e := layerEntry{
			ID: l.info.ID, Title: l.info.Title, Description: l.info.Description, Attribution: l.info.Attribution,
			Bounds: [4]float64{b.Min[0], b.Min[1], b.Max[0], b.Max[1]}, Center: center(l),
			MinZoom: int(l.info.MinZoom), MaxZoom: int(l.info.MaxZoom), Tiles: withKey(r, s.relativeTemplate(l)), TileSize: 256,
			Format: extensionOf(l.mediaType()), Rev: l.rev(), Over: l.Over, Index: none,
			Links: map[string]string{
				"tiles":    s.template(r, l),
				"tilejson": withKey(r, s.URL(r, s.path(routeTileJSON, "layer", l.info.ID))),
				"wmts":     withKey(r, s.URL(r, s.path(routeWMTSDoc))),
				"qgis":     withKey(r, s.URL(r, s.path(routeQLR, "layer", l.info.ID))),
			},
		}
		if s.semantic(l) {
			e.Links["search"] = withKey(r, s.URL(r, "/search/"+l.info.ID))
			e.Links["overlay"] = withKey(r, s.URL(r, "/overlay/"+l.info.ID+".json"))
			if s.options.State != nil {
				if state := s.options.State(l.info.ID); state != nil {
					e.Index = state
				}
			}
		}
		out = append(out, e)
	}
	return sendJSON(w, r, map[string][]layerEntry{"layers": out})
}

// semantic says whether prompts can be asked over the layer: somebody mounted the routes, and it is imagery.
func (s *site) semantic(l *layer) bool { return len(s.options.Register) > 0 && l.Over == "" }

// promptRev is the revision of prompt answers over a layer.
func (s *site) promptRev(l *layer) string {
	if s.options.Revision != nil {
		return s.options.Revision(l.info.ID)
	}
	return l.rev()
}

func sendJSON(w http.ResponseWriter, r *http.Request, doc any) error {
	data, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	sendDocument(w, r, "application/json", append(data, '\n'))
	return nil
}

// prompts returns the q parameters of a request, for URLs that carry them on.
func prompts(r *http.Request) ([]string, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("query: %w: %w", tilescout.ErrBadInput, err)
	}
	return values["q"], nil
}
