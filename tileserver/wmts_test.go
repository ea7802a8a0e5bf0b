package tileserver_test

import (
	"encoding/xml"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/mux"
	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver"
)

var update = flag.Bool("update", false, "rewrite golden files")

// overlays stands for the semantic part: it answers overlay tiles and says what it was asked.
func overlays(asked *[]string) func(*mux.Router) {
	return func(r *mux.Router) {
		r.HandleFunc("/overlay/{layer}/{z}/{x}/{y}.png", func(w http.ResponseWriter, r *http.Request) {
			*asked = append(*asked, r.URL.String())
			w.Header().Set("Content-Type", "image/png")
			_, _ = w.Write(paint(maptile.Tile{}, tilescout.PNG, 256).Data)
		}).Methods("GET", "HEAD")
	}
}

func two() []tileserver.Layer {
	stadiums := city()
	stadiums.info.ID, stadiums.info.Title, stadiums.info.MediaType, stadiums.info.MaxZoom = "stadiums", "Stadiums", tilescout.PNG, 12
	stadiums.info.Attribution, stadiums.info.Description = "", ""
	return []tileserver.Layer{{Tiles: city()}, {Tiles: stadiums, Dynamic: true, Over: "city"}}
}

func TestCapabilitiesGolden(t *testing.T) {
	var asked []string
	_, base := start(t, tileserver.Options{Layers: two(), PublicURL: "https://maps.example/scout",
		Register: []func(*mux.Router){overlays(&asked)}, Revision: func(string) string { return "r1" }})
	for name, path := range map[string]string{
		"capabilities":        "/wmts/1.0.0/WMTSCapabilities.xml",
		"capabilities_prompt": "/wmts/1.0.0/WMTSCapabilities.xml?q=tennis+court&q=a%26b&not=sea",
	} {
		r := ask(t, "GET", base+path)
		if r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/xml; charset=utf-8" {
			t.Fatalf("%s: status %d, %s", name, r.StatusCode, r.Header.Get("Content-Type"))
		}
		golden := "testdata/" + name + ".xml"
		if *update {
			if err := os.WriteFile(golden, r.body, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(r.body)); diff != "" {
			t.Errorf("%s (-want +got), -update rewrites it:\n%s", name, diff)
		}
	}
}

// document is what clients look for in capabilities, by name and order (GIS reference §3).
type document struct {
	XMLName    xml.Name `xml:"http://www.opengis.net/wmts/1.0 Capabilities"`
	Version    string   `xml:"version,attr"`
	Operations []struct {
		Name string `xml:"name,attr"`
		HREF struct {
			HREF string `xml:"http://www.w3.org/1999/xlink href,attr"`
		} `xml:"DCP>HTTP>Get"`
	} `xml:"OperationsMetadata>Operation"`
	Layers []struct {
		ID    string `xml:"Identifier"`
		Title string `xml:"Title"`
		Lower string `xml:"WGS84BoundingBox>LowerCorner"`
		Style []struct {
			Default bool   `xml:"isDefault,attr"`
			ID      string `xml:"Identifier"`
		} `xml:"Style"`
		Format []string `xml:"Format"`
		Limits []struct {
			Matrix int `xml:"TileMatrix"`
			MinRow int `xml:"MinTileRow"`
			MaxRow int `xml:"MaxTileRow"`
			MinCol int `xml:"MinTileCol"`
			MaxCol int `xml:"MaxTileCol"`
		} `xml:"TileMatrixSetLink>TileMatrixSetLimits>TileMatrixLimits"`
		Resources []struct {
			Format   string `xml:"format,attr"`
			Type     string `xml:"resourceType,attr"`
			Template string `xml:"template,attr"`
		} `xml:"ResourceURL"`
	} `xml:"Contents>Layer"`
	Matrices []struct {
		Scale   float64 `xml:"ScaleDenominator"`
		TopLeft string  `xml:"TopLeftCorner"`
	} `xml:"Contents>TileMatrixSet>TileMatrix"`
}

func TestCapabilities(t *testing.T) {
	_, base := start(t, tileserver.Options{Layers: two()})
	var doc document
	r := ask(t, "GET", base+"/wmts") // bare, as GDAL asks
	if err := xml.Unmarshal(r.body, &doc); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"<ows:Identifier>city</ows:Identifier>", "<Capabilities xmlns=", "<TopLeftCorner>-20037508.3427892 20037508.3427892</TopLeftCorner>",
		"<ScaleDenominator>559082264.0287178</ScaleDenominator>", "urn:ogc:def:crs:EPSG::3857", "urn:ogc:def:wkss:OGC:1.0:GoogleMapsCompatible", "City &amp; harbour", "© the survey"} {
		if !strings.Contains(string(r.body), text) {
			t.Errorf("capabilities lack %s", text)
		}
	}
	for _, o := range doc.Operations {
		if !strings.HasPrefix(o.HREF.HREF, base+"/wmts?") {
			t.Errorf("%s at %s", o.Name, o.HREF.HREF)
		}
	}
	if len(doc.Operations) != 3 || len(doc.Layers) != 2 || len(doc.Matrices) != 17 {
		t.Fatalf("%d operations, %d layers, %d matrices", len(doc.Operations), len(doc.Layers), len(doc.Matrices))
	}
	l := doc.Layers[0]
	if len(l.Style) != 1 || !l.Style[0].Default || l.Format[0] != "image/jpeg" || l.Lower != "4.3 51.85" {
		t.Errorf("layer = %+v", l)
	}
	if last := l.Resources[len(l.Resources)-1]; last.Type != "tile" || last.Format != "image/jpeg" {
		t.Errorf("last resource = %+v, want the layer's own format (OpenLayers takes it)", last)
	}
	// What the limits say is what the server does, at each corner and one tile past it.
	for _, m := range l.Limits {
		nw, se := maptile.At(orb.Point{harbour.Min[0], harbour.Max[1]}, maptile.Zoom(m.Matrix)), maptile.At(orb.Point{harbour.Max[0], harbour.Min[1]}, maptile.Zoom(m.Matrix))
		if int(nw.X) != m.MinCol || int(nw.Y) != m.MinRow || int(se.X) != m.MaxCol || int(se.Y) != m.MaxRow {
			t.Errorf("limits %+v, want columns %d to %d, rows %d to %d", m, nw.X, se.X, nw.Y, se.Y)
		}
	}
	m := l.Limits[len(l.Limits)-1]
	for _, resource := range l.Resources {
		for _, tc := range []struct{ row, col, status int }{{m.MinRow, m.MinCol, 200}, {m.MaxRow, m.MaxCol, 200}, {m.MaxRow + 1, m.MaxCol, 404}, {m.MinRow, m.MinCol - 1, 404}} {
			u := strings.NewReplacer("{TileMatrix}", fmt.Sprint(m.Matrix), "{TileRow}", fmt.Sprint(tc.row), "{TileCol}", fmt.Sprint(tc.col), "{I}", "3", "{J}", "255").Replace(resource.Template)
			got := ask(t, "GET", u)
			if got.StatusCode != tc.status {
				t.Errorf("%s: status %d, want %d", u, got.StatusCode, tc.status)
			}
			if tc.status == 200 && !strings.HasPrefix(got.Header.Get("Content-Type"), resource.Format) {
				t.Errorf("%s: %s, want %s", u, got.Header.Get("Content-Type"), resource.Format)
			}
		}
	}
}

func TestWMTSRequests(t *testing.T) {
	_, base := start(t, tileserver.Options{Layers: two()})
	tile := fmt.Sprintf("TILEMATRIX=12&TILEROW=%d&TILECOL=%d", inside.Y, inside.X)
	get := "SERVICE=WMTS&REQUEST=GetTile&VERSION=1.0.0&LAYER=city&STYLE=default&FORMAT=image/png&TILEMATRIXSET=WebMercatorQuad&"
	info := strings.Replace(get, "GetTile", "GetFeatureInfo", 1) + tile + "&I=10&J=20"
	without := func(name string) string {
		v, _ := url.ParseQuery(get + tile)
		v.Del(name)
		return v.Encode()
	}
	tests := map[string]struct {
		query  string
		status int
		says   string // in the body, or the media type
	}{
		"capabilities":              {"SERVICE=WMTS&REQUEST=GetCapabilities", 200, "<Capabilities"},
		"with accepted versions":    {"service=WMTS&request=GetCapabilities&acceptversions=2.0.0,1.0.0", 200, "<Capabilities"},
		"versions not spoken":       {"service=WMTS&request=GetCapabilities&AcceptVersions=2.0.0", 400, `exceptionCode="VersionNegotiationFailed"`},
		"QGIS":                      {get + tile, 200, "image/png"},
		"QGIS without style":        {strings.Replace(get, "STYLE=default", "STYLE=", 1) + tile, 200, "image/png"},
		"GDAL":                      {fmt.Sprintf("service=WMTS&request=GetTile&version=1.0.0&layer=city&style=default&format=image/jpeg&TileMatrixSet=WebMercatorQuad&TileMatrix=12&TileRow=%d&TileCol=%d", inside.Y, inside.X), 200, "image/jpeg"},
		"webp":                      {strings.Replace(get, "image/png", "image/webp", 1) + tile, 200, "image/webp"},
		"no format":                 {without("FORMAT"), 200, "image/jpeg"},
		"no version":                {without("VERSION"), 200, "image/png"},
		"no service":                {without("SERVICE"), 400, `exceptionCode="MissingParameterValue" locator="service"`},
		"no request":                {"SERVICE=WMTS", 400, `exceptionCode="MissingParameterValue" locator="request"`},
		"no layer":                  {without("LAYER"), 400, `exceptionCode="MissingParameterValue" locator="layer"`},
		"no row":                    {without("TILEROW"), 400, `exceptionCode="MissingParameterValue" locator="tilerow"`},
		"another service":           {"SERVICE=WMS&REQUEST=GetCapabilities", 400, `locator="service"`},
		"another request":           {"SERVICE=WMTS&REQUEST=GetMap", 501, `exceptionCode="OperationNotSupported"`},
		"another version":           {strings.Replace(get, "1.0.0", "2.0.0", 1) + tile, 400, `locator="version"`},
		"unknown layer":             {strings.Replace(get, "=city", "=moon", 1) + tile, 400, `exceptionCode="InvalidParameterValue" locator="layer"`},
		"layer in capitals":         {strings.Replace(get, "=city", "=CITY", 1) + tile, 400, `locator="layer"`},
		"unknown style":             {strings.Replace(get, "=default", "=dark", 1) + tile, 400, `locator="style"`},
		"unknown set":               {strings.Replace(get, "WebMercatorQuad", "WorldCRS84Quad", 1) + tile, 400, `locator="tilematrixset"`},
		"unknown format":            {strings.Replace(get, "image/png", "image/tiff", 1) + tile, 400, `locator="format"`},
		"row too large":             {get + "TILEMATRIX=12&TILEROW=4096&TILECOL=0", 400, `exceptionCode="TileOutOfRange"`},
		"outside the limits":        {get + "TILEMATRIX=12&TILEROW=0&TILECOL=0", 400, `exceptionCode="TileOutOfRange"`},
		"zoom of no matrix":         {get + "TILEMATRIX=17&TILEROW=0&TILECOL=0", 400, `exceptionCode="TileOutOfRange"`},
		"row not a number":          {get + "TILEMATRIX=12&TILEROW=x&TILECOL=0", 400, `exceptionCode="InvalidParameterValue"`},
		"markup comes back escaped": {strings.Replace(get, "=city", "=%3Cb%3E", 1) + tile, 400, `&lt;b&gt;`},
		"feature info":              {info + "&INFOFORMAT=application/json", 200, `"tile":"12/` + fmt.Sprint(inside.X)},
		"feature info as text":      {info + "&INFOFORMAT=text/plain", 200, "layer = city"},
		"feature info as HTML":      {info + "&INFOFORMAT=text/html", 200, "City &amp; harbour"},
		"feature info as GML":       {info + "&INFOFORMAT=application/gml", 400, `locator="infoformat"`},
		"pixel outside":             {strings.Replace(info, "I=10", "I=256", 1), 400, `exceptionCode="PointIJOutOfRange"`},
		"pixel not a number":        {strings.Replace(info, "I=10", "I=x", 1), 400, `locator="i"`},
		"matches without prompt":    {strings.Replace(get, "=city", "=city.matches", 1) + tile, 400, `locator="layer"`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r := ask(t, "GET", base+"/wmts?"+tc.query)
			if r.StatusCode != tc.status || !strings.Contains(r.Header.Get("Content-Type")+string(r.body), tc.says) {
				t.Errorf("status %d, want %d with %s: %.400s", r.StatusCode, tc.status, tc.says, r.body)
			}
			if tc.status >= 400 {
				if got := r.Header.Get("Content-Type"); got != "text/xml; charset=utf-8" {
					t.Errorf("exception as %s", got)
				}
				var any struct{}
				if err := xml.Unmarshal(r.body, &any); err != nil {
					t.Errorf("exception is not XML: %v", err)
				}
			}
		})
	}
	rest := func(path string) int { return ask(t, "GET", base+"/wmts/1.0.0/"+path).StatusCode }
	for path, want := range map[string]int{
		fmt.Sprintf("city/default/WebMercatorQuad/12/%d/%d.png", inside.Y, inside.X):           200,
		fmt.Sprintf("city/default/WebMercatorQuad/12/%d/%d/5/7.json", inside.Y, inside.X):      200,
		fmt.Sprintf("city/default/WebMercatorQuad/12/%d/%d/5/300.json", inside.Y, inside.X):    400,
		fmt.Sprintf("city/default/WebMercatorQuad/12/%d/%d/5/7.gml", inside.Y, inside.X):       404,
		fmt.Sprintf("city/default/WebMercatorQuad/12/%d/%d.png", inside.X, inside.Y):           404, // row and column swapped
		fmt.Sprintf("city/dark/WebMercatorQuad/12/%d/%d.png", inside.Y, inside.X):              404,
		fmt.Sprintf("city/default/Other/12/%d/%d.png", inside.Y, inside.X):                     404,
		fmt.Sprintf("moon/default/WebMercatorQuad/12/%d/%d.png", inside.Y, inside.X):           404,
		fmt.Sprintf("city/default/WebMercatorQuad/12/%d/%d.gif", inside.Y, inside.X):           404,
		"city/default/WebMercatorQuad/12/4096/0.png":                                           404,
		"city/default/WebMercatorQuad/17/0/0.png":                                              404,
		"city/default/WebMercatorQuad/x/0/0.png":                                               400,
		fmt.Sprintf("stadiums/default/WebMercatorQuad/12/%d/%d.png?rev=x", inside.Y, inside.X): 200,
	} {
		if got := rest(path); got != want {
			t.Errorf("%s: status %d, want %d", path, got, want)
		}
	}
}

func TestWMTSMatches(t *testing.T) {
	var asked []string
	rev := "r1"
	_, base := start(t, tileserver.Options{Layers: two(), Register: []func(*mux.Router){overlays(&asked)}, Revision: func(string) string { return rev }})
	var doc document
	r := ask(t, "GET", base+"/wmts?SERVICE=WMTS&REQUEST=GetCapabilities&q=tennis+court&q=a%26b&not=sea")
	if err := xml.Unmarshal(r.body, &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Layers) != 3 || doc.Layers[1].ID != "city.matches" || len(doc.Layers[1].Resources) != 1 {
		t.Fatalf("layers = %+v", doc.Layers)
	}
	const at = "TILEMATRIX=12&TILEROW=1354&TILECOL=2098"
	template := strings.NewReplacer("{TileMatrix}", "12", "{TileRow}", "1354", "{TileCol}", "2098").Replace(doc.Layers[1].Resources[0].Template)
	kvp := doc.Operations[1].HREF.HREF + "SERVICE=WMTS&REQUEST=GetTile&VERSION=1.0.0&LAYER=city.matches&STYLE=default&FORMAT=image%2Fpng&TILEMATRIXSET=WebMercatorQuad&" + at
	for _, u := range []string{template, kvp} {
		asked = nil
		if got := ask(t, "GET", u); got.StatusCode != 200 || got.Header.Get("Content-Type") != "image/png" {
			t.Errorf("%s: status %d: %s", u, got.StatusCode, got.body)
		}
		if want := "/overlay/city/12/2098/1354.png?not=sea&q=tennis+court&q=a%26b&rev=r1"; len(asked) != 1 || asked[0] != want {
			t.Errorf("%s asked the overlay for %q, want %q", u, asked, want)
		}
	}
	old := kvp
	rev = "r2"
	asked = nil
	ask(t, "GET", old)
	if len(asked) != 1 || strings.Contains(asked[0], "rev=r2") || !strings.Contains(asked[0], "rev=") {
		t.Errorf("an old URL asked the overlay for %q: it must not pass for the current one", asked)
	}
}
