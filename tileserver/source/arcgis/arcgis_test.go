package arcgis_test

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/arcgis"
	"github.com/tilescout/tilescout/tileserver/source/pyramid"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
	"github.com/tilescout/tilescout/tileserver/source/upstream"
	"github.com/tilescout/tilescout/tileserver/source/upstream/upstreamtest"
)

// description is what services say of themselves; wkid, origin, resolution at level 0, extent.
func description(wkid int, x, y, resolution float64, extent [4]float64, rest string) string {
	var levels []string
	for z := range 12 {
		r := math.Ldexp(resolution, -z)
		levels = append(levels, fmt.Sprintf(`{"level": %d, "resolution": %.12g, "scale": %.6f}`, z, r, r*3779.5275590551))
	}
	return fmt.Sprintf(`{"currentVersion": 10.91, "mapName": "City", "copyrightText": "City &amp; <b>Land</b> <script>1</script>", "description": "<p>A map</p>", "singleFusedMapCache": true%s,
"tileInfo": {"rows": 256, "cols": 256, "dpi": 96, "format": "PNG24", "origin": {"x": %f, "y": %f}, "spatialReference": {"wkid": 0, "latestWkid": %d}, "lods": [%s]},
"fullExtent": {"xmin": %f, "ymin": %f, "xmax": %f, "ymax": %f, "spatialReference": {"wkid": %d}}}`,
		rest, x, y, wkid, strings.Join(levels, ","), extent[0], extent[1], extent[2], extent[3], wkid)
}

var tilePath = regexp.MustCompile(`^/arcgis/rest/services/City/MapServer/tile/(\d+)/(\d+)/(\d+)$`)

func serve(t *testing.T, text string, wkid int, x, y, resolution float64, world upstreamtest.World) *upstreamtest.Service {
	crs, err := geo.CRSByEPSG(wkid)
	if err != nil {
		t.Fatal(err)
	}
	return upstreamtest.Serve(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "MapServer") && r.URL.Query().Get("f") == "json" {
			fmt.Fprint(w, text)
			return
		}
		m := tilePath.FindStringSubmatch(r.URL.Path)
		if m == nil {
			http.NotFound(w, r)
			return
		}
		z, _ := strconv.Atoi(m[1])
		row, _ := strconv.Atoi(m[2])
		col, _ := strconv.Atoi(m[3])
		side := math.Ldexp(resolution, -z) * 256
		w.Write(world.Draw(crs, x+float64(col)*side, y-float64(row)*side, side/256, side/256, 256, 256))
	})
}

func open(t testing.TB, s *upstreamtest.Service, query string) (*pyramid.Source, error) {
	t.Helper()
	spec := source.Spec{ID: "test", Source: s.URL + "/arcgis/rest/services/City/MapServer" + query}
	src, err := arcgis.Open(t.Context(), spec, upstream.Options{LookupEnv: func(string) (string, bool) { return "s3cr3t", true }})
	if err == nil {
		t.Cleanup(func() { src.Close() })
	}
	return src, err
}

func TestPixels(t *testing.T) {
	for _, c := range []struct {
		name             string
		wkid             int
		x, y, resolution float64
		extent           [4]float64
		exact            bool
	}{
		{"web mercator", 3857, -20037508.342787, 20037508.342787, 156543.03392800014, [4]float64{1e6, 6e6, 2e6, 7e6}, true},
		{"old origin of a country", 3857, -20037700, 30198300, 100000, [4]float64{1e6, 6e6, 2e6, 7e6}, false},
		{"UTM", 25832, -5120900, 9998100, 10000, [4]float64{3e5, 5.2e6, 8e5, 6e6}, false},
		{"degrees", 4326, -400, 400, 0.5, [4]float64{5, 45, 15, 55}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			const zoom = 10
			world := upstreamtest.World{Period: 360.0 / 1024}
			s := serve(t, description(c.wkid, c.x, c.y, c.resolution, c.extent, ""), c.wkid, c.x, c.y, c.resolution, world)
			src, err := open(t, s, "")
			if err != nil {
				t.Fatal(err)
			}
			tile := maptile.At(orb.Point{11, 49.5}, zoom)
			pic, err := src.Tile(t.Context(), tile)
			if err != nil {
				t.Fatal(err)
			}
			tolerance := 8.0
			if c.exact {
				tolerance = 1
			}
			if opaque := world.Check(t, pic, tile, tolerance); opaque != 256*256 {
				t.Errorf("%d pixels are opaque", opaque)
			}
			info := src.Info()
			if info.Title != "City" || info.Description != "A map" || info.Attribution != "City &amp; Land" || info.Bound.Min[0] < 2 || info.Bound.Max[0] > 19 {
				t.Errorf("Info() = %+v", info)
			}
			asked := len(s.Asked())
			if _, err := src.Tile(t.Context(), maptile.At(orb.Point{60, 10}, zoom)); !errors.Is(err, tilescout.ErrNotFound) || len(s.Asked()) != asked {
				t.Errorf("tile outside of the extent: %v, asked %v", err, s.Asked()[asked:])
			}
		})
	}
}

func TestTokenAndScales(t *testing.T) {
	s := serve(t, description(3857, -20037508.342787, 20037508.342787, 156543.03392800014, [4]float64{-2e7, -2e7, 2e7, 2e7}, `, "minScale": 36978595.474472, "maxScale": 1155581.108577`),
		3857, -20037508.342787, 20037508.342787, 156543.03392800014, upstreamtest.World{Period: 10})
	src, err := open(t, s, "?token=${T}")
	if err != nil {
		t.Fatal(err)
	}
	if info := src.Info(); info.MinZoom != 4 || info.MaxZoom != 9 {
		t.Errorf("zooms %d to %d, want 4 to 9", info.MinZoom, info.MaxZoom)
	}
	if _, err := src.Tile(t.Context(), maptile.New(5, 6, 4)); err != nil {
		t.Fatal(err)
	}
	if asked := s.Asked(); asked[len(asked)-1] != "/arcgis/rest/services/City/MapServer/tile/4/6/5?token=s3cr3t" {
		t.Errorf("asked for %v", asked)
	}
}

func TestConformance(t *testing.T) {
	s := serve(t, description(3857, -20037508.342787, 20037508.342787, 156543.03392800014, [4]float64{1e6, 6e6, 2e6, 7e6}, ""),
		3857, -20037508.342787, 20037508.342787, 156543.03392800014, upstreamtest.World{Period: 10})
	src, err := open(t, s, "/")
	if err != nil {
		t.Fatal(err)
	}
	sourcetest.Run(t, src, maptile.At(orb.Point{11, 49.5}, 10), maptile.At(orb.Point{60, 10}, 10))
}

func TestRefuses(t *testing.T) {
	good := description(3857, 0, 0, 1, [4]float64{0, 0, 1, 1}, "")
	for text, want := range map[string]string{
		`{"error": {"code": 499, "message": "Token Required"}}`:               "Token Required (499)",
		`{"currentVersion": 11, "layers": []}`:                                "wms+https://",
		strings.Replace(good, "PNG24", "LERC", 1):                             "heights",
		strings.Replace(good, `"latestWkid": 3857`, `"latestWkid": 54009`, 1): "54009",
		`<html>`: "invalid character",
	} {
		s := upstreamtest.Serve(t, nil, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, text) })
		_, err := open(t, s, "")
		if !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want ErrBadInput with %q", text, err, want)
		}
	}
}

// FuzzService: whatever the description, it opens or is ErrBadInput in one line.
func FuzzService(f *testing.F) {
	f.Add([]byte(description(3857, -20037508.342787, 20037508.342787, 156543.03392800014, [4]float64{1e6, 6e6, 2e6, 7e6}, `, "minScale": 1`)))
	f.Add([]byte(description(25832, -5120900, 9998100, 10000, [4]float64{3e5, 5.2e6, 8e5, 6e6}, "")))
	base, err := url.Parse("https://h.example/MapServer?f=json")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		src, err := arcgis.OpenDocument(source.Spec{ID: "fuzz", Source: "https://h.example/MapServer"}, upstream.Document{Data: data, URL: base}, upstream.Options{})
		if err != nil {
			if !errors.Is(err, tilescout.ErrBadInput) || strings.ContainsAny(err.Error(), "\n\x00") {
				t.Fatalf("%q, want ErrBadInput in one line", err)
			}
			return
		}
		defer src.Close()
		if info := src.Info(); info.MinZoom > info.MaxZoom || info.MaxZoom > source.MaxZoom {
			t.Fatalf("Info() = %+v", info)
		}
	})
}
