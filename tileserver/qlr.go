package tileserver

import (
	"bytes"
	_ "embed"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/template"

	"github.com/gorilla/mux"
	"github.com/paulmach/orb/project"
)

// qlrText is the form in which QGIS writes layer definitions, reduced to what it needs to read.
//
//go:embed qlr.tmpl
var qlrText string

// qlrLayer is one layer of a definition, topmost first.
type qlrLayer struct {
	ID, Name    string
	Type        string // "raster" or "vector"
	Provider    string // "wms" or "ogr"
	Source      string
	Opacity     float64
	Lon, Merc   [4]float64 // extent in EPSG:4326 and EPSG:3857
	Attribution string
}

// getQLR answers /qgis/{layer}.qlr: the imagery, and with ?q= the overlay and the matches above it.
func (s *site) getQLR(w http.ResponseWriter, r *http.Request) error {
	l, err := s.layer(r, mux.Vars(r)["layer"])
	if err != nil {
		return err
	}
	entryOf(r).layer = l.info.ID
	q, err := prompts(r)
	if err != nil {
		return err
	}
	merc := project.Bound(l.bound, project.WGS84.ToMercator)
	base := qlrLayer{
		Lon:         [4]float64{l.bound.Min[0], l.bound.Min[1], l.bound.Max[0], l.bound.Max[1]},
		Merc:        [4]float64{merc.Min[0], merc.Min[1], merc.Max[0], merc.Max[1]},
		Attribution: l.credit, Opacity: 1,
	}
	var layers []qlrLayer
	if q = forQGIS(q); len(q) > 0 && s.semantic(l) {
		name := strings.Join(q, ", ")
		carried := url.Values{"q": q}
		if not := forQGIS(r.URL.Query()["not"]); len(not) > 0 {
			carried["not"] = not
		}
		if secret := entryOf(r).secret; secret != "" {
			carried.Set("key", secret)
		}
		matches := base
		matches.ID, matches.Name, matches.Type, matches.Provider = "matches", "Matches: "+name, "vector", "ogr"
		matches.Source = s.URL(r, "/search/"+l.info.ID) + "?" + plusToSpace(carried.Encode()) + "&limit=1000"
		overlay := base
		overlay.ID, overlay.Name, overlay.Type, overlay.Provider = "overlay", "Where: "+name, "raster", "wms"
		carried.Set("rev", s.promptRev(l))
		overlay.Source = xyzSource(s.URL(r, "/overlay/"+l.info.ID+"/{z}/{x}/{y}.png"), carried, 0, int(l.info.MaxZoom))
		overlay.Opacity = .7
		layers = append(layers, matches, overlay)
	}
	imagery := base
	imagery.ID, imagery.Name, imagery.Type, imagery.Provider = "imagery", l.info.Title, "raster", "wms"
	template, _, _ := strings.Cut(s.template(r, l), "?")
	query := url.Values{"rev": {l.rev()}}
	if secret := entryOf(r).secret; secret != "" {
		query.Set("key", secret)
	}
	imagery.Source = xyzSource(template, query, int(l.info.MinZoom), int(l.info.MaxZoom))
	layers = append(layers, imagery)
	for i := range layers {
		// QGIS wants ids that differ between files too.
		layers[i].ID = fmt.Sprintf("tilescout_%s_%s_%s", strings.ReplaceAll(l.info.ID, "-", "_"), layers[i].ID, shorten(layers[i].Source))
	}
	var out bytes.Buffer
	if err := qlrTemplate.Execute(&out, layers); err != nil {
		return fmt.Errorf("write layer definition: %w", err)
	}
	w.Header().Set("Content-Disposition", `attachment; filename="`+l.info.ID+`.qlr"`)
	sendDocument(w, r, "application/x-qgis-layer-definition", out.Bytes())
	return nil
}

var qlrTemplate = template.Must(template.New("qlr").Funcs(template.FuncMap{
	"xml": func(s string) string {
		var b strings.Builder
		_ = xml.EscapeText(&b, []byte(s)) // a Builder does not fail
		return b.String()
	},
	"num": func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) },
}).Parse(qlrText))

// forQGIS returns prompts without the characters that QGIS would take apart in a layer's URL: it decodes once too
// often or too rarely, by version. The encoder reads them as blanks anyway.
func forQGIS(prompts []string) []string {
	clean := strings.NewReplacer("&", " ", "%", " ", "#", " ", "+", " ", "=", " ", "?", " ", ";", " ", "{", " ", "}", " ")
	var out []string
	for _, p := range prompts {
		if p = strings.Join(strings.Fields(clean.Replace(p)), " "); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// xyzSource returns the data source of an XYZ layer: the whole URL encoded once as the value of url=, & as %26.
func xyzSource(template string, query url.Values, minZoom, maxZoom int) string {
	u := template
	sep := "?"
	for _, name := range []string{"q", "not", "rev", "key"} {
		for _, v := range query[name] {
			u += sep + name + "=" + v
			sep = "&"
		}
	}
	escaped := strings.NewReplacer("%3A", ":", "%2F", "/", "%3F", "?").Replace(plusToSpace(url.QueryEscape(u)))
	return fmt.Sprintf("type=xyz&url=%s&zmax=%d&zmin=%d", escaped, maxZoom, minZoom)
}

// plusToSpace writes blanks as %20: QGIS sends a plus as it is.
func plusToSpace(escaped string) string { return strings.ReplaceAll(escaped, "+", "%20") }
