package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/gorilla/mux"
	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache/index"
	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/plugin/search"
	"github.com/tilescout/tilescout/tileserver"
	"github.com/tilescout/tilescout/tileserver/config"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

// red1 is a tile of the test layer that is red; the others are grey.
var red1 = maptile.New(17, 10, 5)

func plainPNG(c color.NRGBA) []byte {
	img := image.NewNRGBA(image.Rect(0, 0, 256, 256))
	for i := 0; i < len(img.Pix); i += 4 {
		img.Pix[i], img.Pix[i+1], img.Pix[i+2], img.Pix[i+3] = c.R, c.G, c.B, c.A
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// contractServer is the whole server over a layer in memory and an encoder that needs no library.
func contractServer(t *testing.T, publicURL string) *tileserver.Server {
	t.Helper()
	tiles := map[maptile.Tile][]byte{}
	for x := uint32(16); x < 20; x++ {
		for y := uint32(8); y < 12; y++ {
			c := color.NRGBA{128, 128, 128, 255}
			if maptile.New(x, y, 5) == red1 {
				c = color.NRGBA{255, 0, 0, 255}
			}
			tiles[maptile.New(x, y, 5)] = plainPNG(c)
		}
	}
	memory, err := sourcetest.NewMemory("city", tiles)
	if err != nil {
		t.Fatal(err)
	}
	store, err := index.Open(t.TempDir(), index.Options{MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := search.New(t.Context(), encodertest.Fake{Dim: 32}, store, search.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close(); store.Close() })
	if err := engine.Add(t.Context(), memory, search.LayerOptions{Zooms: []maptile.Zoom{5}}); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Index(t.Context(), "city", search.IndexOptions{}); err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.PublicURL = publicURL
	cfg.Layers = []config.Layer{{Spec: source.Spec{ID: "city", Source: "memory"}}}
	cfg.Searches = []config.Search{{ID: "reds", Layer: "city", Q: []string{"red"}}}
	p := &parts{sources: []source.Source{memory}, brain: brain{engine: engine}, store: store}
	if p.plugin, err = newPlugin(t.Context(), cfg, engine); err != nil {
		t.Fatal(err)
	}
	server, err := p.server(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return server
}

func contract(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(tilescout.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatalf("openapi.yaml: %v", err)
	}
	return doc
}

var variablePattern = regexp.MustCompile(`\{([a-z]+):(?:[^{}]|\{[^{}]*\})*\}`)

// path is a route's template without the patterns of its variables.
func path(route *mux.Route) string {
	template, err := route.GetPathTemplate()
	if err != nil {
		return ""
	}
	return variablePattern.ReplaceAllString(template, "{$1}")
}

// TestContractListsEveryRoute walks the router: what the server answers and what the document promises are one list.
func TestContractListsEveryRoute(t *testing.T) {
	doc := contract(t)
	server := contractServer(t, "")
	served := map[string]bool{}
	err := server.Router().Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		methods, err := route.GetMethods()
		if err != nil {
			return fmt.Errorf("route %s takes any method", path(route))
		}
		for _, m := range methods {
			if m == http.MethodHead || m == http.MethodOptions {
				continue
			}
			served[m+" "+path(route)] = true
			item := doc.Paths.Value(path(route))
			if item == nil || item.GetOperation(m) == nil {
				t.Errorf("%s %s is served but not in openapi.yaml", m, path(route))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for p, item := range doc.Paths.Map() {
		for m := range item.Operations() {
			if !served[m+" "+p] {
				t.Errorf("%s %s is in openapi.yaml but not served", m, p)
			}
		}
	}
}

// TestContractHoldsForAnswers asks every operation of the document, rightly and wrongly, and validates what comes back.
func TestContractHoldsForAnswers(t *testing.T) {
	doc := contract(t)
	server := contractServer(t, "")
	web := httptest.NewServer(server.Handler())
	defer web.Close()
	seen := map[string]bool{}
	for _, c := range []struct {
		method, url string
		status      int
		body        []byte
	}{
		{"GET", "/layers", 200, nil},
		{"GET", "/tiles/city.json", 200, nil},
		{"GET", "/tiles/nowhere.json", 404, nil},
		{"GET", "/tiles/city/5/17/10.png", 200, nil},
		{"GET", "/tiles/city/5/17/10.jpg", 200, nil},
		{"GET", "/tiles/city/5/17/10.webp", 200, nil},
		{"GET", "/tiles/city/5/17/10@2x.png", 200, nil},
		{"GET", "/tiles/city/5/0/0.png", 200, nil},
		{"GET", "/tiles/city/5/99/10.png", 404, nil},
		{"GET", "/tiles/city/5/x/10.png", 400, nil},
		{"GET", "/tiles/reds/5/17/10.png", 200, nil},
		{"GET", "/wmts?SERVICE=WMTS&REQUEST=GetCapabilities", 200, nil},
		{"GET", "/wmts?service=WMTS&request=GetTile&version=1.0.0&layer=city&style=default&format=image/png&tilematrixset=WebMercatorQuad&tilematrix=5&tilerow=10&tilecol=17", 200, nil},
		{"GET", "/wmts?service=WMTS&request=GetTile", 400, nil},
		{"GET", "/wmts/1.0.0/WMTSCapabilities.xml", 200, nil},
		{"GET", "/wmts/1.0.0/city/default/WebMercatorQuad/5/10/17.png", 200, nil},
		{"GET", "/wmts/1.0.0/city/default/WebMercatorQuad/5/10/17/7/7.json", 200, nil},
		{"GET", "/qgis/city.qlr?q=red", 200, nil},
		{"GET", "/search/city?q=red", 200, nil},
		{"GET", "/search/city?q=red&geometry=area&threshold=0.1", 200, nil},
		{"GET", "/search/city?q=red&geometry=point&bbox=170,-10,-170,10", 200, nil},
		{"GET", "/search/city", 400, nil},
		{"GET", "/search/city?q=red&threshold=7", 400, nil},
		{"GET", "/search/nowhere?q=red", 404, nil},
		{"GET", "/search/city/tile/5/17/10?q=red", 200, nil},
		{"GET", "/overlay/city.json?q=red", 200, nil},
		{"GET", "/overlay/city/5/17/10.png?q=red&style=grid", 200, nil},
		{"GET", "/overlay/city/5/17/10.png", 400, nil},
		{"GET", "/overlay/city/5/17/10.mvt?q=red", 200, nil},
		{"GET", "/similar/city?tile=5/17/10", 200, nil},
		{"GET", "/similar/city?point=500,0", 400, nil},
		{"POST", "/similar/city?limit=3", 200, plainPNG(color.NRGBA{255, 0, 0, 255})},
		{"POST", "/similar/city", 415, []byte("not a picture")},
		{"GET", "/classify/city/5/17/10?labels=red,green", 200, nil},
		{"GET", "/classify/city/5/17/10?labels=red", 400, nil},
		{"POST", "/classify?labels=red,green", 200, plainPNG(color.NRGBA{255, 0, 0, 255})},
		{"GET", "/index/city?bbox=0,0,45,60", 200, nil},
		{"POST", "/index/city?bbox=0,0,45,60", 202, nil},
		{"POST", "/index/city", 400, nil},
		{"GET", "/suggest?q=re", 200, nil},
		{"GET", "/suggest?layer=city", 200, nil},
		{"GET", "/model", 200, nil},
		{"GET", "/healthz", 200, nil},
		{"GET", "/readyz", 200, nil},
		{"GET", "/metrics", 200, nil},
		{"POST", "/admin/reload", 401, nil},
		{"GET", "/openapi.yaml", 200, nil},
		{"GET", "/", 200, nil},
	} {
		short := c.method + " " + c.url[:min(len(c.url), 70)]
		request, err := http.NewRequest(c.method, web.URL+c.url, bytes.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if c.body != nil {
			request.Header.Set("Content-Type", "image/png")
		}
		var match mux.RouteMatch
		if !server.Router().Match(request, &match) || match.Route == nil {
			t.Errorf("%s: no route", short)
			continue
		}
		p := path(match.Route)
		item := doc.Paths.Value(p)
		if item == nil || item.GetOperation(c.method) == nil {
			t.Errorf("%s: %s is not in the document", short, p)
			continue
		}
		seen[c.method+" "+p] = true
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if answer.StatusCode != c.status {
			t.Errorf("%s = %d, want %d: %.300s", short, answer.StatusCode, c.status, body)
			continue
		}
		input := &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{
				Request: request,
				Route:   &routers.Route{Spec: doc, Path: p, PathItem: item, Method: c.method, Operation: item.GetOperation(c.method)},
			},
			Status: answer.StatusCode, Header: answer.Header,
			Options: &openapi3filter.Options{IncludeResponseStatus: true, ExcludeResponseBody: !isJSON(answer.Header.Get("Content-Type"))},
		}
		input.SetBodyBytes(body)
		if err := openapi3filter.ValidateResponse(context.Background(), input); err != nil {
			t.Errorf("%s: %.600v", short, err)
		}
		media := strings.TrimSpace(strings.Split(answer.Header.Get("Content-Type"), ";")[0])
		if !declared(item.GetOperation(c.method), answer.StatusCode, media) {
			t.Errorf("%s answers %s with status %d, which the document does not list", short, media, answer.StatusCode)
		}
		if c.status >= 400 && !strings.HasPrefix(c.url, "/wmts") && media != "application/problem+json" {
			t.Errorf("%s: an error as %s, want problem+json", short, media)
		}
	}
	for p, item := range doc.Paths.Map() {
		for m := range item.Operations() {
			if !seen[m+" "+p] {
				t.Errorf("%s %s is in the document and was not asked here", m, p)
			}
		}
	}
}

// TestMetricsAreDocumented: every family that the server shows has its row in docs/operations.md.
func TestMetricsAreDocumented(t *testing.T) {
	web := httptest.NewServer(contractServer(t, "").Handler())
	defer web.Close()
	docs, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	getBytes(t, web.URL+"/tiles/city/5/17/10.png")
	n := 0
	for line := range strings.Lines(string(getBytes(t, web.URL+"/metrics"))) {
		name, ok := strings.CutPrefix(line, "# TYPE tilescout_")
		if !ok {
			continue
		}
		n++
		if name = "tilescout_" + strings.Fields(name)[0]; !bytes.Contains(docs, []byte("`"+name+"`")) {
			t.Errorf("%s has no row", name)
		}
	}
	if n < 25 {
		t.Errorf("%d families were looked at", n)
	}
}

// TestPublicURL: behind a proxy every absolute URL is the public one, the overlay's too.
func TestPublicURL(t *testing.T) {
	const public = "https://maps.example.org/scout"
	web := httptest.NewServer(contractServer(t, public).Handler())
	defer web.Close()
	for _, path := range []string{"/tiles/city.json", "/overlay/city.json?q=red"} {
		var doc struct{ Tiles []string }
		getJSON(t, web.URL+path, &doc)
		if len(doc.Tiles) == 0 || !strings.HasPrefix(doc.Tiles[0], public+"/") {
			t.Errorf("%s names %v, want addresses under %s", path, doc.Tiles, public)
		}
	}
}

func isJSON(contentType string) bool {
	return slices.Contains([]string{"application/json", "application/geo+json", "application/problem+json"}, strings.Split(contentType, ";")[0])
}

func declared(op *openapi3.Operation, status int, media string) bool {
	response := op.Responses.Status(status)
	if response == nil {
		response = op.Responses.Default()
	}
	if response == nil {
		return false
	}
	return response.Value.Content.Get(media) != nil
}

func init() {
	for _, media := range []string{"application/geo+json", "application/problem+json"} {
		openapi3filter.RegisterBodyDecoder(media, openapi3filter.JSONBodyDecoder)
	}
}
