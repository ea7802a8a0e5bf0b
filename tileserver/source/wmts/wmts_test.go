package wmts_test

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/pyramid"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
	"github.com/tilescout/tilescout/tileserver/source/upstream"
	"github.com/tilescout/tilescout/tileserver/source/upstream/upstreamtest"
	"github.com/tilescout/tilescout/tileserver/source/wmts"
)

func document(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(sourcetest.Shared(t, "geo", "capabilities", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func crs(t testing.TB, code int) geo.CRS {
	t.Helper()
	c, err := geo.CRSByEPSG(code)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func open(t testing.TB, s *upstreamtest.Service, change func(*source.Spec)) (*pyramid.Source, error) {
	t.Helper()
	spec := source.Spec{ID: "test", Source: "wmts+" + s.URL + "/capabilities.xml"}
	if change != nil {
		change(&spec)
	}
	src, err := wmts.Open(t.Context(), spec, upstream.Options{})
	if err == nil {
		t.Cleanup(func() { src.Close() })
	}
	return src, err
}

// grid answers tiles of a pyramid that the test knows from elsewhere than the document.
type grid struct {
	crs         geo.CRS
	x, y        float64 // corner
	resolution  float64 // at matrix 0, halved at each
	size        int
	cols, rows  func(z int) int // tiles that exist
	world       upstreamtest.World
	path        *regexp.Regexp // (matrix)/(row)/(col), or nil for KVP
	colFirst    bool
	wantInQuery map[string]string
}

func (g grid) ServeHTTP(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var parts []string
		if g.path != nil {
			m := g.path.FindStringSubmatch(r.URL.Path)
			if m == nil {
				t.Errorf("asked for %s", r.URL)
				http.Error(w, "no", http.StatusBadRequest)
				return
			}
			parts = m[1:]
		} else {
			parts = []string{upstreamtest.Query(r, "TILEMATRIX"), upstreamtest.Query(r, "TILEROW"), upstreamtest.Query(r, "TILECOL")}
		}
		for name, want := range g.wantInQuery {
			if got := upstreamtest.Query(r, name); got != want {
				t.Errorf("%s = %q in %s, want %q", name, got, r.URL, want)
			}
		}
		var n [3]int
		for i, p := range parts {
			var err error
			if n[i], err = strconv.Atoi(p); err != nil {
				t.Errorf("asked for %s", r.URL)
			}
		}
		z, row, col := n[0], n[1], n[2]
		if g.colFirst {
			row, col = col, row
		}
		if row < 0 || col < 0 || col >= g.cols(z) || row >= g.rows(z) {
			t.Errorf("asked outside of the grid: %s", r.URL)
			http.NotFound(w, r)
			return
		}
		res := math.Ldexp(g.resolution, -z)
		side := res * float64(g.size)
		w.Write(g.world.Draw(g.crs, g.x+float64(col)*side, g.y-float64(row)*side, res, res, g.size, g.size))
	}
}

func square(z int) int { return 1 << z }

// TestRealDocuments opens every document of the shared data and looks at the pixels of one tile, whose colours say
// where on the earth they are. The grids are those that their services publish, not what was parsed.
func TestRealDocuments(t *testing.T) {
	mercator := grid{crs: crs(t, 3857), x: -geo.Half, y: geo.Half, resolution: 2 * geo.Half / 256, size: 256, cols: square, rows: square}
	with := func(g grid, change func(*grid)) grid { change(&g); return g }
	degrees := grid{crs: crs(t, 4326), x: -180, y: 90, resolution: 360.0 / 512, size: 256, cols: func(z int) int { return 2 << z }, rows: square}
	gibs := grid{crs: crs(t, 4326), x: -180, y: 90, resolution: 0.5625, size: 512,
		cols: func(z int) int { return int(math.Ceil(640 / 512.0 * math.Exp2(float64(z)))) },
		rows: func(z int) int { return int(math.Ceil(320 / 512.0 * math.Exp2(float64(z)))) }}
	for _, c := range []struct {
		name     string
		document string
		change   func(*source.Spec)
		grid     grid
		at       orb.Point
		zoom     maptile.Zoom
		zooms    [2]maptile.Zoom // that the layer has
		exact    bool            // passed on, not drawn
	}{
		{"basemap.at by REST, row before column", "wmts_basemap_at.xml", func(s *source.Spec) { s.Layer = "geolandbasemap" },
			with(mercator, func(g *grid) {
				g.path = regexp.MustCompile(`/geolandbasemap/normal/google3857/(\d+)/(\d+)/(\d+)\.png$`)
			}),
			orb.Point{16.37, 48.21}, 14, [2]maptile.Zoom{0, 20}, true},
		{"basemap.at by fragment and title", "wmts_basemap_at.xml", func(s *source.Spec) { s.Source += "#layer=bmaporthofoto30cm&format=jpeg" },
			with(mercator, func(g *grid) {
				g.path = regexp.MustCompile(`/bmaporthofoto30cm/normal/google3857/(\d+)/(\d+)/(\d+)\.jpeg$`)
			}), orb.Point{16.37, 48.21}, 17, [2]maptile.Zoom{0, 20}, true},
		{"ArcGIS", "wmts_arcgis.xml", nil,
			with(mercator, func(g *grid) {
				g.path = regexp.MustCompile(`/tile/1\.0\.0/Demographics_USA_Population_Density/default/GoogleMapsCompatible/(\d+)/(\d+)/(\d+)\.png$`)
			}),
			orb.Point{-100, 40}, 6, [2]maptile.Zoom{0, 18}, true},
		{"ArcGIS by another set", "wmts_arcgis.xml", func(s *source.Spec) { s.MatrixSet = "default028mm" },
			with(mercator, func(g *grid) { g.path = regexp.MustCompile(`/default/default028mm/(\d+)/(\d+)/(\d+)\.png$`) }),
			orb.Point{-100, 40}, 6, [2]maptile.Zoom{0, 13}, true},
		{"NASA by KVP, 512 px, degrees on a sphere", "wmts_nasa_gibs.xml", func(s *source.Spec) { s.Layer = "MODIS_Terra_CorrectedReflectance_TrueColor" },
			with(gibs, func(g *grid) {
				g.wantInQuery = map[string]string{"layer": "MODIS_Terra_CorrectedReflectance_TrueColor", "style": "default", "service": "WMTS", "version": "1.0.0"}
			}), orb.Point{151, -33}, 6, [2]maptile.Zoom{0, 9}, false},
		{"EOX", "wmts_eox_s2maps.xml", func(s *source.Spec) { s.Layer = "s2cloudless_3857" }, mercator, orb.Point{16, 48}, 9, [2]maptile.Zoom{0, 18}, true},
		{"EOX in degrees, latitude first", "wmts_eox_s2maps.xml", func(s *source.Spec) { s.Layer = "s2cloudless" }, degrees, orb.Point{16, 48}, 9, [2]maptile.Zoom{0, 18}, false},
		{"limits, another origin and scale", "wmts_matrixset_limits.xml", nil,
			with(mercator, func(g *grid) {
				g.x, g.y, g.resolution = 0, 4000000, 13950892.857142857*0.00028
				g.cols = func(z int) int { return 4 << min(z, 1) << max(z-1, 0) }
				g.rows, g.colFirst = g.cols, true
				g.path = regexp.MustCompile(`/wmts/wide_at_low_zoom/subset/(\d+)/(\d+)/(\d+)\.png$`)
			}), orb.Point{22, 12}, 6, [2]maptile.Zoom{0, 7}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			tile := maptile.At(c.at, c.zoom)
			c.grid.world = upstreamtest.World{Period: 360 / math.Exp2(float64(c.zoom))}
			s := upstreamtest.Serve(t, document(t, c.document), nil)
			s.Handler = c.grid.ServeHTTP(t)
			if c.grid.path == nil && c.document == "wmts_eox_s2maps.xml" {
				c.grid.path = regexp.MustCompile(`/default/(?:g|WGS84|GoogleMapsCompatible)/(\d+)/(\d+)/(\d+)\.jpg$`)
				s.Handler = c.grid.ServeHTTP(t)
			}
			src, err := open(t, s, c.change)
			if err != nil {
				t.Fatal(err)
			}
			info := src.Info()
			if got := [2]maptile.Zoom{info.MinZoom, info.MaxZoom}; got != c.zooms {
				t.Errorf("zooms %v, want %v", got, c.zooms)
			}
			pic, err := src.Tile(t.Context(), tile)
			if err != nil {
				t.Fatal(err)
			}
			tolerance := 8.0
			if c.exact {
				tolerance = 1
			}
			if opaque := c.grid.world.Check(t, pic, tile, tolerance); opaque < 200*200 {
				t.Errorf("%d pixels are opaque", opaque)
			}
			if c.exact && len(s.Asked()) != 1 {
				t.Errorf("%d requests for one tile: %v", len(s.Asked()), s.Asked())
			}
			t.Logf("%s: %d requests, title %q, credit %q, bound %v", info.Version[:4], len(s.Asked()), info.Title, info.Attribution, info.Bound)
		})
	}
}

func TestChoices(t *testing.T) {
	s := upstreamtest.Serve(t, document(t, "wmts_basemap_at.xml"), http.NotFound)
	for _, c := range []struct {
		change func(*source.Spec)
		want   string
	}{
		{nil, "there are 7 layers, choose one with layer: geolandbasemap, "},
		{func(s *source.Spec) { s.Layer = "orthofoto" }, `no layer "orthofoto"; there are: geolandbasemap`},
		{func(s *source.Spec) { s.Layer, s.Style = "geolandbasemap", "dark" }, `no style "dark"; there are: normal`},
		{func(s *source.Spec) { s.Layer, s.MatrixSet = "geolandbasemap", "x" }, `no tile matrix set "x"; there are: google3857`},
		{func(s *source.Spec) { s.Layer, s.Format = "geolandbasemap", "tiff" }, `no format "tiff"; there are: image/png`},
		{func(s *source.Spec) { s.Layer, s.Dimensions = "geolandbasemap", map[string]string{"time": "2020"} }, `no dimension "time"; there are: none`},
		{func(s *source.Spec) { s.Source = strings.Replace(s.Source, "capabilities", "nothing", 1) }, "no such document (404)"},
	} {
		_, err := open(t, s, c.change)
		if !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want ErrBadInput with %q", err, c.want)
		}
	}
}

const small = `<?xml version="1.0" encoding="ISO-8859-1"?>
<!DOCTYPE Capabilities SYSTEM "http://169.254.169.254/x.dtd">
<wmts:Capabilities xmlns:wmts="http://www.opengis.net/wmts/1.0" xmlns:o="http://www.opengis.net/ows/1.1" xmlns:xlink="http://www.w3.org/1999/xlink">
<o:ServiceProvider><o:ProviderName>Stadt K` + "\xf6" + `ln &amp; Umland</o:ProviderName></o:ServiceProvider>
%s<wmts:Contents>
<wmts:Layer><o:Title>Luftbild</o:Title><o:Identifier>a b</o:Identifier>
<o:WGS84BoundingBox><o:LowerCorner>-180 -80</o:LowerCorner><o:UpperCorner>180 80</o:UpperCorner></o:WGS84BoundingBox>
<wmts:Style><o:Identifier>plain</o:Identifier></wmts:Style><wmts:Style isDefault="true"><o:Title>Bright one</o:Title><o:Identifier>bright</o:Identifier></wmts:Style>
<wmts:Format>image/tiff</wmts:Format><wmts:Format>image/png</wmts:Format>
<wmts:Dimension><o:Identifier>Time</o:Identifier><wmts:Default>2024</wmts:Default><wmts:Value>2023</wmts:Value><wmts:Value>2024</wmts:Value></wmts:Dimension>
<wmts:TileMatrixSetLink><wmts:TileMatrixSet>quad</wmts:TileMatrixSet></wmts:TileMatrixSetLink>
%s</wmts:Layer>
<wmts:TileMatrixSet><o:Identifier>quad</o:Identifier><o:SupportedCRS>EPSG:3857</o:SupportedCRS>%s</wmts:TileMatrixSet>
</wmts:Contents></wmts:Capabilities>`

func matrices(size int, zooms ...int) string {
	var b strings.Builder
	for _, z := range zooms {
		fmt.Fprintf(&b, `<TileMatrix><Identifier>m:%d</Identifier><ScaleDenominator>%f</ScaleDenominator><TopLeftCorner>-20037508.34 20037508.34</TopLeftCorner>
<TileWidth>%d</TileWidth><TileHeight>%d</TileHeight><MatrixWidth>%d</MatrixWidth><MatrixHeight>%d</MatrixHeight></TileMatrix>`,
			z, 2*geo.Half/float64(size)/0.00028/math.Exp2(float64(z)), size, size, 1<<z, 1<<z)
	}
	return b.String()
}

const kvp = `<o:OperationsMetadata><o:Operation name="GetTile"><o:DCP><o:HTTP><o:Get xlink:href="%s"/></o:HTTP></o:DCP></o:Operation></o:OperationsMetadata>`

// TestAddresses is how a tile is asked for: REST and KVP, odd placeholders, dimensions, styles, keys.
func TestAddresses(t *testing.T) {
	rest := func(template string) string {
		return `<wmts:ResourceURL format="image/png" resourceType="tile" template="` + template + `"/>`
	}
	for _, c := range []struct {
		name, ops, resource string
		change              func(*source.Spec)
		want                string
	}{
		{"lower case", "", rest("HOST/t/{layer}/{style}/{time}/{tilematrixset}/{tilematrix}/{tilerow}/{tilecol}.png"), nil, "/t/a%20b/bright/2024/quad/m:2/1/3.png"},
		{"in the query", "", rest("HOST/t?l={Layer}&amp;m={TileMatrix}&amp;r={TileRow}&amp;c={TileCol}&amp;t={Time}"), func(s *source.Spec) { s.Dimensions = map[string]string{"TIME": "2023"} }, "/t?l=a%20b&m=m:2&r=1&c=3&t=2023"},
		{"relative", "", rest("tiles/{TileMatrix}/{TileRow}/{TileCol}"), nil, "/tiles/m:2/1/3"},
		{"key of the operator", "", rest("HOST/{TileMatrix}/{TileRow}/{TileCol}"), func(s *source.Spec) { s.Source += "?key=${KEY}#style=Bright+one" }, "/m:2/1/3?key=s3cr3t"},
		{"KVP", fmt.Sprintf(kvp, "HOST/kvp?map=a"), "", func(s *source.Spec) { s.Source += "?time=2023&key=${KEY}&style=plain" },
			"/kvp?map=a&key=s3cr3t&SERVICE=WMTS&REQUEST=GetTile&VERSION=1.0.0&LAYER=a%20b&STYLE=plain&FORMAT=image/png&TILEMATRIXSET=quad&Time=2023&TILEMATRIX=m:2&TILEROW=1&TILECOL=3"},
		{"REST that is not understood beside KVP", fmt.Sprintf(kvp, "HOST/kvp?"), rest("HOST/{Elevation}/{TileMatrix}/{TileRow}/{TileCol}"), nil,
			"/kvp?SERVICE=WMTS&REQUEST=GetTile&VERSION=1.0.0&LAYER=a%20b&STYLE=bright&FORMAT=image/png&TILEMATRIXSET=quad&Time=2024&TILEMATRIX=m:2&TILEROW=1&TILECOL=3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			picture := sourcetest.Paint(maptile.Tile{}, 512)
			var s *upstreamtest.Service
			s = upstreamtest.Serve(t, nil, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/doc.xml" {
					fmt.Fprint(w, strings.ReplaceAll(fmt.Sprintf(small, c.ops, c.resource, matrices(512, 0, 1, 2)), "HOST", s.URL))
					return
				}
				w.Write(picture)
			})
			spec := source.Spec{ID: "test", Source: "wmts+" + s.URL + "/doc.xml"}
			if c.change != nil {
				c.change(&spec)
			}
			src, err := wmts.Open(t.Context(), spec, upstream.Options{LookupEnv: func(name string) (string, bool) { return "s3cr3t", name == "KEY" }})
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			info := src.Info()
			if info.TileSize != 512 || info.MaxZoom != 2 || info.MediaType != tilescout.PNG || info.Title != "Luftbild" || info.Attribution != "Stadt Köln &amp; Umland" {
				t.Errorf("Info() = %+v", info)
			}
			if _, err := src.Tile(t.Context(), maptile.New(3, 1, 2)); err != nil {
				t.Fatal(err)
			}
			asked := s.Asked()
			if got := asked[len(asked)-1]; got != c.want {
				t.Errorf("asked for %s\nwant      %s", got, c.want)
			}
		})
	}
}

func TestConformance(t *testing.T) {
	for _, c := range []struct{ name, document, layer string }{
		{"passed on", "wmts_basemap_at.xml", "geolandbasemap"},
		{"drawn", "wmts_eox_s2maps.xml", "s2cloudless"},
	} {
		t.Run(c.name, func(t *testing.T) {
			picture := sourcetest.Paint(maptile.Tile{}, 256)
			s := upstreamtest.Serve(t, document(t, c.document), func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "/WGS84/") || strings.Contains(r.URL.Path, "/8/") {
					w.Write(picture)
					return
				}
				http.NotFound(w, r)
			})
			src, err := open(t, s, func(s *source.Spec) {
				s.Layer = c.layer
				s.MaxZoom = 8
				s.MinZoom = 3
				s.Bounds = []float64{9, 46, 18, 50}
			})
			if err != nil {
				t.Fatal(err)
			}
			sourcetest.Run(t, src, maptile.At(orb.Point{16, 48}, 8), maptile.At(orb.Point{-100, 48}, 7))
		})
	}
}

func TestLimits(t *testing.T) {
	var s *upstreamtest.Service
	s = upstreamtest.Serve(t, document(t, "wmts_matrixset_limits.xml"), func(w http.ResponseWriter, r *http.Request) {
		w.Write(sourcetest.Paint(maptile.Tile{}, 256))
	})
	src, err := open(t, s, func(s *source.Spec) { s.Bounds = []float64{-180, -85, 180, 85} })
	if err != nil {
		t.Fatal(err)
	}
	// Matrix 2 ends at column 11, row 11: 3 906 250 × 12 / 4 metres from the corner.
	for _, p := range []orb.Point{{-1, 10}, {179, 10}, {20, 60}, {20, -60}} {
		if _, err := src.Tile(t.Context(), maptile.At(p, 7)); !errors.Is(err, tilescout.ErrNotFound) {
			t.Errorf("tile at %v: %v, want ErrNotFound", p, err)
		}
	}
	if n := len(s.Asked()); n != 0 {
		t.Errorf("%d requests outside of the limits: %v", n, s.Asked())
	}
}
