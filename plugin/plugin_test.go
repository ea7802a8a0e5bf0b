package plugin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/paulmach/orb"
	"github.com/paulmach/orb/encoding/mvt"
	"github.com/paulmach/orb/geojson"
	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache/index"
	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/plugin"
	"github.com/tilescout/tilescout/plugin/search"
)

// patches is a layer of 8×8 one-coloured tiles at zoom 10: grey, two of them red.
type patches struct{}

func at(x, y uint32) maptile.Tile { return maptile.New(512+x, 340+y, 10) }

func (patches) Info() tilescout.LayerInfo {
	nw, se := geo.Bound(at(0, 0)), geo.Bound(at(7, 7))
	return tilescout.LayerInfo{
		ID: "patches", Title: "Patches", Version: "1", TileSize: 256, MinZoom: 9, MaxZoom: 10,
		Bound: orb.Bound{Min: orb.Point{nw.Min[0], se.Min[1]}, Max: orb.Point{se.Max[0], nw.Max[1]}},
	}
}

func (patches) Tile(_ context.Context, t maptile.Tile) (tilescout.Picture, error) {
	c := color.NRGBA{128, 128, 128, 255}
	if t == at(2, 3) || t == at(3, 3) {
		c = color.NRGBA{255, 0, 0, 255}
	}
	return tilescout.Picture{Data: onecolour(c), MediaType: tilescout.PNG}, nil
}

func onecolour(c color.NRGBA) []byte {
	img := image.NewNRGBA(image.Rect(0, 0, 4, 4))
	for i := 0; i < len(img.Pix); i += 4 {
		img.Pix[i], img.Pix[i+1], img.Pix[i+2], img.Pix[i+3] = c.R, c.G, c.B, c.A
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		panic(err)
	}
	return out.Bytes()
}

func serve(t testing.TB, indexed bool) (string, *search.Engine) {
	t.Helper()
	store, err := index.Open(t.TempDir(), index.Options{MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := search.New(t.Context(), encodertest.Fake{Dim: 32, Unknown: []string{"zorp"}}, store, search.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Add(t.Context(), patches{}, search.LayerOptions{Zooms: []maptile.Zoom{10}}); err != nil {
		t.Fatal(err)
	}
	if indexed {
		if _, err := engine.Index(t.Context(), "patches", search.IndexOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	router := mux.NewRouter()
	plugin.New(engine, plugin.WithImagery("tiles/{layer}/{z}/{x}/{y}.png"), plugin.WithWait(5*time.Second)).Register(router)
	server := httptest.NewServer(router)
	t.Cleanup(func() { server.Close(); engine.Close(); store.Close() })
	return server.URL, engine
}

func fetch(t testing.TB, method, address string, body io.Reader, header ...string) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequest(method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, data
}

func TestSearchAnswersRankedGeoJSON(t *testing.T) {
	base, _ := serve(t, true)
	res, body := fetch(t, "GET", base+"/search/patches?q=red&limit=2", nil)
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != plugin.GeoJSON || res.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Fatalf("status %d, headers %v", res.StatusCode, res.Header)
	}
	fc, err := geojson.UnmarshalFeatureCollection(body)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range fc.Features {
		tile := f.Properties.MustString("tile")
		if tile != "10/514/343" && tile != "10/515/343" {
			t.Errorf("feature %d is tile %s, want a red one", i, tile)
		}
		if f.ID != tile || f.Properties.MustInt("rank") != i+1 || f.Properties.MustString("thumbnail") != "tiles/patches/"+tile+".png" {
			t.Errorf("feature %d: id %v, properties %v", i, f.ID, f.Properties)
		}
		if ring := f.Geometry.(orb.Polygon)[0]; ring.Orientation() != orb.CCW {
			t.Errorf("feature %d is not wound as RFC 7946 wants", i)
		}
	}
	for _, member := range []string{"verdict", "model", "rev", "embedded", "total", "unknown", "overlay"} {
		if _, ok := fc.ExtraMembers[member]; !ok {
			t.Errorf("the collection lacks %q", member)
		}
	}
	if len(fc.Features) != 2 {
		t.Errorf("%d features, want 2", len(fc.Features))
	}
	again, _ := fetch(t, "GET", base+"/search/patches?q=red&limit=2", nil, "If-None-Match", res.Header.Get("ETag"))
	if again.StatusCode != 304 {
		t.Errorf("with the validator: status %d, want 304", again.StatusCode)
	}
	head, none := fetch(t, "HEAD", base+"/search/patches?q=red&limit=2", nil)
	if head.StatusCode != 200 || len(none) != 0 || head.ContentLength != int64(len(body)) {
		t.Errorf("HEAD: status %d, length %d, want 200, %d", head.StatusCode, head.ContentLength, len(body))
	}
}

func TestOverlayShowsWhatSearchFinds(t *testing.T) {
	base, engine := serve(t, true)
	for _, style := range []string{"heat", "grid", "outline"} {
		for z := maptile.Zoom(7); z <= 13; z++ {
			inside, outside := at(2, 3), at(6, 6)
			for inside.Z < z { // towards the middle, where the smooth field has its peak
				half := uint32(0)
				if inside.Z == 10 {
					half = 1
				}
				inside, outside = maptile.New(inside.X*2+half, inside.Y*2+half, inside.Z+1), maptile.New(outside.X*2+half, outside.Y*2+half, outside.Z+1)
			}
			for inside.Z > z {
				inside, outside = inside.Parent(), outside.Parent()
			}
			shown := opaque(t, base, inside, style)
			deepInside := style == "outline" && z > 11 // no border runs through the middle of a tile
			if shown == 0 && !deepInside {
				t.Errorf("%s at zoom %d: the red tile is not shown", style, z)
			}
			if z >= 10 {
				if n := opaque(t, base, outside, style); n != 0 {
					t.Errorf("%s at zoom %d: %d pixels shown on grey ground", style, z, n)
				}
			}
		}
	}
	res, _ := fetch(t, "GET", base+"/overlay/patches/10/514/343.png?q=red&threshold=0.2&rev="+engine.Revision("patches"), nil)
	if c := res.Header.Get("Cache-Control"); !strings.Contains(c, "immutable") {
		t.Errorf("with the current revision: Cache-Control %q, want immutable", c)
	}
	res, _ = fetch(t, "GET", base+"/overlay/patches/10/514/343.png?q=red&rev=old", nil)
	if c := res.Header.Get("Cache-Control"); c != "no-store" {
		t.Errorf("with an old revision: Cache-Control %q, want no-store", c)
	}
}

// opaque counts the pixels that an overlay tile shows. The threshold is just under the red tiles' score.
func opaque(t *testing.T, base string, tile maptile.Tile, style string) int {
	t.Helper()
	scores := struct {
		Max float64 `json:"max"`
	}{}
	_, body := fetch(t, "GET", base+"/search/patches?q=red&limit=1", nil)
	if err := json.Unmarshal(body, &scores); err != nil {
		t.Fatal(err)
	}
	v := url.Values{"q": {"red"}, "style": {style}, "threshold": {jsonNumber(scores.Max * .9)}}
	res, body := fetch(t, "GET", base+"/overlay/patches/"+name(tile)+".png?"+v.Encode(), nil)
	if res.StatusCode != 200 {
		t.Fatalf("overlay %s: %d %s", name(tile), res.StatusCode, body)
	}
	img, err := png.Decode(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	rgba, ok := img.(*image.NRGBA)
	if !ok || img.Bounds().Dx() != 256 {
		t.Fatalf("overlay is %T of %v, want RGBA of 256 pixels: GDAL fixes four bands", img, img.Bounds())
	}
	n := 0
	for i := 3; i < len(rgba.Pix); i += 4 {
		if rgba.Pix[i] > 0 {
			n++
		}
	}
	return n
}

func jsonNumber(v float64) string {
	b, _ := json.Marshal(v)
	return string(b)
}

func name(t maptile.Tile) string {
	b := strings.Builder{}
	for i, v := range []uint32{uint32(t.Z), t.X, t.Y} {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(jsonNumber(float64(v)))
	}
	return b.String()
}

func TestOverlayPendingUntilEmbedded(t *testing.T) {
	store, err := index.Open(t.TempDir(), index.Options{MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	engine, err := search.New(t.Context(), encodertest.Fake{Dim: 32}, store, search.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	if err := engine.Add(t.Context(), slowPatches{}, search.LayerOptions{Zooms: []maptile.Zoom{10}}); err != nil {
		t.Fatal(err)
	}
	router := mux.NewRouter()
	plugin.New(engine, plugin.WithWait(time.Millisecond)).Register(router)
	server := httptest.NewServer(router)
	defer server.Close()
	address := server.URL + "/overlay/patches/10/514/343.png?q=red"
	res, _ := fetch(t, "GET", address, nil)
	if res.Header.Get("Tilescout-Pending") != "1" || res.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("first look: pending %q, Cache-Control %q, want 1, no-store", res.Header.Get("Tilescout-Pending"), res.Header.Get("Cache-Control"))
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		res, _ = fetch(t, "GET", address, nil)
		if res.Header.Get("Tilescout-Pending") == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the tile is still pending after 20 s")
		}
	}
}

type slowPatches struct{ patches }

func (s slowPatches) Tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	select {
	case <-time.After(150 * time.Millisecond):
	case <-ctx.Done():
	}
	return s.patches.Tile(ctx, t)
}

func TestVectorTile(t *testing.T) {
	base, _ := serve(t, true)
	res, body := fetch(t, "GET", base+"/overlay/patches/8/128/85.mvt?q=red&threshold=0.1", nil)
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != plugin.MVT {
		t.Fatalf("status %d, %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
	layers, err := mvt.Unmarshal(body)
	if err != nil {
		t.Fatal(err)
	}
	if len(layers) != 1 || layers[0].Name != "matches" || layers[0].Version != 2 || len(layers[0].Features) == 0 {
		t.Fatalf("layers = %+v, want one called matches, version 2, with features", layers)
	}
	for _, f := range layers[0].Features {
		if f.ID == nil || f.Properties["tile"] == nil || f.Properties["score"] == nil {
			t.Errorf("feature %v: %v", f.ID, f.Properties)
		}
		ring := f.Geometry.(orb.Polygon)[0]
		area := 0.0
		for i := range ring[:len(ring)-1] {
			area += ring[i][0]*ring[i+1][1] - ring[i+1][0]*ring[i][1]
		}
		if area <= 0 {
			t.Errorf("exterior ring has area %v, MVT 2.1 wants it positive", area)
		}
	}
}

func TestBadInputIsAProblem(t *testing.T) {
	base, _ := serve(t, true)
	long := strings.Repeat("a", 10<<10)
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/search/nowhere?q=red", 404},
		{"GET", "/search/patches", 400},
		{"GET", "/search/patches?q=", 400},
		{"GET", "/search/patches?q=" + long, 400},
		{"GET", "/search/patches?q=a%00b", 400},
		{"GET", "/search/patches?q=a%ffb", 400},
		{"GET", "/search/patches?q=red&threshold=2", 400},
		{"GET", "/search/patches?q=red&threshold=NaN", 400},
		{"GET", "/search/patches?q=red&limit=0", 400},
		{"GET", "/search/patches?q=red&limit=1e9", 400},
		{"GET", "/search/patches?q=red&bbox=1,2,3", 400},
		{"GET", "/search/patches?q=red&geometry=circle", 400},
		{"GET", "/search/patches?q=%zz", 400},
		{"GET", "/overlay/patches/10/514/343.png", 400},
		{"GET", "/overlay/patches/10/5000/343.png?q=red", 404},
		{"GET", "/overlay/patches/30/0/0.png?q=red", 404},
		{"GET", "/overlay/patches/99999999999999999999/0/0.png?q=red", 404},
		{"GET", "/overlay/patches/10/514/343.png?q=red&style=fog", 400},
		{"GET", "/overlay/patches/10/514/343.png?q=red&color=12345", 400},
		{"GET", "/similar/patches", 400},
		{"GET", "/similar/patches?tile=1/2", 400},
		{"GET", "/similar/patches?point=200,0", 400},
		{"GET", "/similar/patches?point=0,0", 404},
		{"GET", "/classify/patches/10/514/343?labels=red", 400},
		{"GET", "/classify/patches/10/514/343?labels=red,green&template=none", 400},
		{"POST", "/classify?labels=red,green", 400},
		{"POST", "/index/patches", 400},
		{"GET", "/search/patches/tile/9/256/170?q=red", 404},
	} {
		res, body := fetch(t, c.method, base+c.path, nil)
		var problem struct {
			Status int
			Detail string
		}
		short := c.path[:min(len(c.path), 60)]
		if res.StatusCode != c.status {
			t.Errorf("%s %s = %d %s, want %d", c.method, short, res.StatusCode, body, c.status)
			continue
		}
		if res.Header.Get("Content-Type") != "application/problem+json" || json.Unmarshal(body, &problem) != nil || problem.Detail == "" {
			t.Errorf("%s %s: %s %s is no problem+json with a detail", c.method, short, res.Header.Get("Content-Type"), body)
		}
	}
	res, _ := fetch(t, "POST", base+"/similar/patches", strings.NewReader("%PDF-1.7 hello"))
	if res.StatusCode != 415 {
		t.Errorf("a PDF as picture = %d, want 415", res.StatusCode)
	}
	res, _ = fetch(t, "POST", base+"/similar/patches", bytes.NewReader(make([]byte, 9<<20)))
	if res.StatusCode != 413 {
		t.Errorf("9 MiB as picture = %d, want 413", res.StatusCode)
	}
}

func TestSimilarByPicture(t *testing.T) {
	base, _ := serve(t, true)
	res, body := fetch(t, "POST", base+"/similar/patches?limit=2", bytes.NewReader(onecolour(color.NRGBA{250, 5, 5, 255})))
	fc, err := geojson.UnmarshalFeatureCollection(body)
	if err != nil || res.StatusCode != 200 || len(fc.Features) != 2 {
		t.Fatalf("status %d, %v, %s", res.StatusCode, err, body)
	}
	if tile := fc.Features[0].Properties.MustString("tile"); tile != "10/514/343" && tile != "10/515/343" {
		t.Errorf("most like red is %s", tile)
	}
}

func TestUnavailableSaysWhy(t *testing.T) {
	router := mux.NewRouter()
	plugin.Unavailable(tilescout.ErrUnavailable).Register(router)
	server := httptest.NewServer(router)
	defer server.Close()
	res, _ := fetch(t, "GET", server.URL+"/search/patches?q=red", nil)
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("without a model: status %d, Retry-After %q, want 503 and a time", res.StatusCode, res.Header.Get("Retry-After"))
	}
}

func BenchmarkOverlayTile(b *testing.B) {
	base, engine := serve(b, true)
	rev := engine.Revision("patches")
	client := &http.Client{}
	for b.Loop() {
		res, err := client.Get(base + "/overlay/patches/9/257/171.png?q=red&rev=" + rev)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tiles/s")
}
