package kinds_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/kinds"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

const (
	wmtsDocument = `<Capabilities xmlns:ows="http://www.opengis.net/ows/1.1"><Contents><Layer><ows:Title>By WMTS</ows:Title><ows:Identifier>a</ows:Identifier><Format>image/png</Format>
<TileMatrixSetLink><TileMatrixSet>q</TileMatrixSet></TileMatrixSetLink><ResourceURL format="image/png" resourceType="tile" template="/tiles/{TileMatrix}/{TileRow}/{TileCol}"/></Layer>
<TileMatrixSet><ows:Identifier>q</ows:Identifier><ows:SupportedCRS>EPSG:3857</ows:SupportedCRS><TileMatrix><ows:Identifier>0</ows:Identifier><ScaleDenominator>559082264.0287178</ScaleDenominator>
<TopLeftCorner>-20037508.34 20037508.34</TopLeftCorner><TileWidth>256</TileWidth><TileHeight>256</TileHeight><MatrixWidth>1</MatrixWidth><MatrixHeight>1</MatrixHeight></TileMatrix></TileMatrixSet></Contents></Capabilities>`
	wmsDocument = `<?xml version="1.0"?><WMS_Capabilities version="1.3.0"><Capability><Request><GetMap><Format>image/jpeg</Format></GetMap></Request>
<Layer><Name>a</Name><Title>By WMS</Title><CRS>EPSG:3857</CRS></Layer></Capability></WMS_Capabilities>`
	arcgisDocument = `{"mapName": "By ArcGIS", "tileInfo": {"rows": 256, "cols": 256, "format": "PNG", "origin": {"x": -20037508.34, "y": 20037508.34}, "spatialReference": {"latestWkid": 3857},
"lods": [{"level": 0, "resolution": 156543.033928, "scale": 591657527}]}}`
)

// TestOpenWhatIsBehind is one address after the other that somebody pastes.
func TestOpenWhatIsBehind(t *testing.T) {
	picture := sourcetest.Paint(maptile.Tile{}, 256)
	pages := map[string]string{
		"/wmts": wmtsDocument, "/wms": wmsDocument, "/tiles.json": `{"name": "By TileJSON", "tiles": ["/tiles/{z}/{y}/{x}"], "maxzoom": 0}`,
		"/html": "<!doctype html><title>Map</title>", "/text": "hello", "/svg": "<svg/>", "/exception": "<ServiceExceptionReport><ServiceException>Missing REQUEST</ServiceException></ServiceExceptionReport>",
		"/photo.png": string(picture), "/city.tif": "II*\x00\x08\x00\x00\x00", "/empty": "",
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch text, ok := pages[r.URL.Path]; {
		case ok && r.Header.Get("Authorization") != "Bearer s3cr3t":
			w.WriteHeader(http.StatusUnauthorized)
		case ok && r.URL.Query().Get("REQUEST") != "GetMap":
			fmt.Fprint(w, text)
		case strings.HasSuffix(r.URL.Path, "/MapServer") && r.URL.Query().Get("f") == "json":
			fmt.Fprint(w, arcgisDocument)
		case strings.HasPrefix(r.URL.Path, "/tiles/"), strings.Contains(r.URL.Path, "/MapServer/tile/"), r.URL.Query().Get("REQUEST") == "GetMap":
			w.Write(picture)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	for _, c := range []struct{ prefix, path, title, err string }{
		{"", "/wmts", "By WMTS", ""},
		{"", "/wmts?SERVICE=WMTS&REQUEST=GetCapabilities#layer=a", "By WMTS", ""},
		{"wmts+", "/wmts", "By WMTS", ""},
		{"", "/wms?request=GetCapabilities&service=WMS", "By WMS", ""},
		{"wms+", "/wms?layers=a", "By WMS", ""},
		{"", "/tiles.json", "By TileJSON", ""},
		{"", "/rest/services/City/MapServer/", "By ArcGIS", ""},
		{"", "/html", "", "an HTML page; for tiles write {z}, {x} and {y}"},
		{"", "/text?key=SECRET", "", "the answer is a body of 5 bytes; known are"},
		{"", "/empty", "", "an empty body"},
		{"", "/svg", "", "the document is <svg>"},
		{"", "/exception", "", "the server says: Missing REQUEST"},
		{"", "/photo.png", "", "single picture"},
		{"", "/city.tif", "", "does not support range requests"},
		{"", "/none", "", "no such document (404)"},
		{"wms+", "/wmts", "", "write wmts+https://"},
		{"wmts+", "/wms", "", "write wms+https://"},
		{"wmts+", "/html", "", "not WMTS capabilities"},
	} {
		spec := source.Spec{ID: "t", Source: c.prefix + server.URL + c.path, Headers: map[string]string{"Authorization": "Bearer ${T}"}}
		o := kinds.Options{}
		o.XYZ.LookupEnv = func(string) (string, bool) { return "s3cr3t", true }
		src, err := kinds.Open(t.Context(), spec, o)
		if c.err != "" {
			if src != nil || !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "SECRET") {
				t.Errorf("%s%s: %v, %v, want ErrBadInput with %q", c.prefix, c.path, src, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s%s: %v", c.prefix, c.path, err)
			continue
		}
		if got := src.Info().Title; got != c.title {
			t.Errorf("%s%s: title %q, want %q", c.prefix, c.path, got, c.title)
		}
		if _, err := src.Tile(t.Context(), maptile.New(0, 0, 0)); err != nil {
			t.Errorf("%s%s: %v", c.prefix, c.path, err)
		}
		src.Close()
	}
}

func TestOpenRemotePMTiles(t *testing.T) {
	path := sourcetest.Shared(t, "geo", "pmtiles", "world_satellite_jpg.pmtiles")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, err := os.Open(path)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		http.ServeContent(w, r, "world.pmtiles", time.Unix(1e9, 0), f)
	}))
	defer server.Close()
	src, err := kinds.Open(t.Context(), source.Spec{ID: "t", Source: server.URL + "/world"}, kinds.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if pic, err := src.Tile(t.Context(), maptile.New(1, 1, 3)); err != nil || pic.MediaType != tilescout.JPEG || len(pic.Data) != 22078 {
		t.Errorf("Tile = %d bytes of %q, %v, want 22078 of JPEG", len(pic.Data), pic.MediaType, err)
	}
	// The guard stands before files too.
	if _, err := kinds.Open(t.Context(), source.Spec{ID: "t", Source: strings.Replace(server.URL, "127.0.0.1", "127.0.0.1.nip.invalid", 1)}, kinds.Options{}); err == nil {
		t.Error("a name of nowhere opens")
	}
}
