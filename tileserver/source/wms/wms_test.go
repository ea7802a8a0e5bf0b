package wms_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
	"github.com/tilescout/tilescout/tileserver/source/upstream"
	"github.com/tilescout/tilescout/tileserver/source/upstream/upstreamtest"
	"github.com/tilescout/tilescout/tileserver/source/wms"
)

func document(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(sourcetest.Shared(t, "geo", "capabilities", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// answer draws what GetMap asks for, with the order of axes as the standards have it: 1.1.1 always x first, 1.3.0 by the
// register, where 4326, 31467 and 3035 put north first and CRS:84, 3857, 25832 do not.
func answer(t *testing.T, world upstreamtest.World) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		get := func(name string) string { return upstreamtest.Query(r, name) }
		version := get("VERSION")
		system := get("SRS")
		if version == "1.3.0" {
			system = get("CRS")
		}
		code := 4326
		if system != "CRS:84" {
			code, _ = strconv.Atoi(strings.TrimPrefix(system, "EPSG:"))
		}
		crs, err := geo.CRSByEPSG(code)
		if err != nil || get("REQUEST") != "GetMap" || get("SERVICE") != "WMS" || get("LAYERS") == "" || !r.URL.Query().Has("STYLES") {
			t.Errorf("asked for %s", r.URL)
		}
		var b [4]float64
		if n, err := fmt.Sscanf(get("BBOX"), "%g,%g,%g,%g", &b[0], &b[1], &b[2], &b[3]); n != 4 || err != nil {
			t.Errorf("BBOX of %s: %v", r.URL, err)
		}
		if version == "1.3.0" && (system == "EPSG:4326" || system == "EPSG:3035") {
			b[0], b[1], b[2], b[3] = b[1], b[0], b[3], b[2]
		}
		width, _ := strconv.Atoi(get("WIDTH"))
		height, _ := strconv.Atoi(get("HEIGHT"))
		if width < 1 || height < 1 || width > 1024 || height > 1024 || b[0] >= b[2] || b[1] >= b[3] {
			t.Errorf("asked for %s", r.URL)
			return
		}
		w.Write(world.Draw(crs, b[0], b[3], (b[2]-b[0])/float64(width), (b[3]-b[1])/float64(height), width, height))
	}
}

func open(t testing.TB, s *upstreamtest.Service, change func(*source.Spec)) (*wms.Source, error) {
	t.Helper()
	spec := source.Spec{ID: "test", Source: "wms+" + s.URL + "/wms"}
	if change != nil {
		change(&spec)
	}
	src, err := wms.Open(t.Context(), spec, upstream.Options{})
	if err == nil {
		t.Cleanup(func() { src.Close() })
	}
	return src, err
}

const caps13 = `<?xml version="1.0"?><WMS_Capabilities version="1.3.0" xmlns="http://www.opengis.net/wms" xmlns:xlink="http://www.w3.org/1999/xlink">
<Service><Name>WMS</Name><Title>T</Title><MaxWidth>600</MaxWidth></Service>
<Capability><Request><GetMap><Format>image/gif</Format><Format>image/jpeg</Format><Format>image/png; mode=8bit</Format><Format>image/png</Format>
<DCPType><HTTP><Get><OnlineResource xlink:href="HOST/wms?map=x&amp;"/></Get></HTTP></DCPType></GetMap></Request>
<Layer><Title>root</Title>%s
<EX_GeographicBoundingBox><westBoundLongitude>0</westBoundLongitude><eastBoundLongitude>20</eastBoundLongitude><southBoundLatitude>45</southBoundLatitude><northBoundLatitude>55</northBoundLatitude></EX_GeographicBoundingBox>
<Style><Name>grey</Name><Title>Grey shades</Title></Style>
<Layer><Name>photo</Name><Title>Aerial photo</Title><Abstract>A &amp; B</Abstract>
<Attribution><Title>Survey &lt;b&gt;&lt;script&gt;x&lt;/script&gt;</Title><OnlineResource xlink:href="https://survey.example/"/></Attribution>
<Dimension name="time" units="ISO8601" default="2024">2022,2023, 2024</Dimension><Dimension name="run">1,2</Dimension>
<MaxScaleDenominator>5000000</MaxScaleDenominator></Layer>
<Layer opaque="1"><Name>base</Name><Title>Base</Title></Layer></Layer></Capability></WMS_Capabilities>`

func serve13(t *testing.T, systems string, handler http.HandlerFunc) *upstreamtest.Service {
	var s *upstreamtest.Service
	s = upstreamtest.Serve(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if strings.EqualFold(upstreamtest.Query(r, "REQUEST"), "GetMap") {
			handler(w, r)
			return
		}
		fmt.Fprint(w, strings.ReplaceAll(fmt.Sprintf(caps13, systems), "HOST", s.URL))
	})
	return s
}

// TestPixels asks in every system and version and looks at where the pixels of the tile say that they are.
func TestPixels(t *testing.T) {
	at := orb.Point{11, 48.3}
	for _, c := range []struct {
		name, systems string
		change        func(*source.Spec)
		want          string // in the request
		tolerance     float64
	}{
		{"web mercator first", `<CRS>EPSG:4326</CRS><CRS>EPSG:3857</CRS><CRS>CRS:84</CRS>`, nil, "CRS=EPSG:3857", 6},
		{"without gutter", `<CRS>EPSG:3857</CRS>`, func(s *source.Spec) { s.Gutter = -1 }, "WIDTH=256&HEIGHT=256", 1},
		{"with gutter", `<CRS>EPSG:3857</CRS>`, func(s *source.Spec) { s.Gutter = 40 }, "WIDTH=336&HEIGHT=336", 6},
		{"512 px and as much gutter as the service gives", `<CRS>EPSG:3857</CRS>`, func(s *source.Spec) { s.TileSize, s.Gutter = 512, 100 }, "WIDTH=600&HEIGHT=600", 6},
		{"degrees, latitude first", `<CRS>EPSG:4326</CRS>`, nil, "CRS=EPSG:4326&", 8},
		{"degrees, longitude first", `<CRS>EPSG:4326</CRS><CRS>CRS:84</CRS>`, nil, "CRS=CRS:84&", 8},
		{"UTM", `<CRS>EPSG:25832</CRS><CRS>EPSG:99999</CRS>`, nil, "CRS=EPSG:25832&", 8},
		{"Europe, north first", `<CRS>EPSG:25832 EPSG:3035</CRS>`, func(s *source.Spec) { s.CRS = "epsg:3035" }, "CRS=EPSG:3035&", 8},
		{"old name", `<CRS>EPSG:900913</CRS><CRS>EPSG:4326</CRS>`, nil, "CRS=EPSG:900913&", 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, z := range []maptile.Zoom{7, 13} {
				world := upstreamtest.World{Period: 360 / float64(uint(1)<<z)}
				s := serve13(t, c.systems, answer(t, world))
				src, err := open(t, s, func(s *source.Spec) {
					s.Layer = "photo"
					if c.change != nil {
						c.change(s)
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				tile := maptile.At(at, z)
				pic, err := src.Tile(t.Context(), tile)
				if err != nil {
					t.Fatal(err)
				}
				size := src.Info().TileSize
				if opaque := world.Check(t, pic, tile, c.tolerance); opaque != size*size {
					t.Errorf("%d of %d pixels are opaque", opaque, size*size)
				}
				if asked := s.Asked(); len(asked) != 2 || !strings.Contains(asked[1], c.want) || !strings.HasPrefix(asked[1], "/wms?map=x&SERVICE=WMS&") {
					t.Errorf("asked for %v, want one map with %q", asked, c.want)
				}
			}
		})
	}
}

func TestRealDocuments(t *testing.T) {
	for _, c := range []struct {
		document, layer string
		at              orb.Point
		want            []string
		title           string
	}{
		{"wms_1.1.1_jpl_onearth.xml", "global_mosaic", orb.Point{-80, 40}, []string{"VERSION=1.1.1&", "SRS=EPSG:4326&", "FORMAT=image/png&TRANSPARENT=TRUE"}, "WMS Global Mosaic, pan sharpened"},
		{"wms_1.3.0_nationalatlas.xml", "one_million", orb.Point{-100, 40}, []string{"VERSION=1.3.0&", "FORMAT=image/png&"}, "1 Million Scale WMS Layers from the National Atlas of the United States"},
	} {
		t.Run(c.document, func(t *testing.T) {
			const zoom = 6
			world := upstreamtest.World{Period: 360 / 64.0}
			s := upstreamtest.Serve(t, document(t, c.document), answer(t, world))
			src, err := open(t, s, func(s *source.Spec) { s.Layer = c.layer })
			if err != nil {
				t.Fatal(err)
			}
			tile := maptile.At(c.at, zoom)
			pic, err := src.Tile(t.Context(), tile)
			if err != nil {
				t.Fatal(err)
			}
			world.Check(t, pic, tile, 8)
			for _, want := range c.want {
				if asked := s.Asked(); len(asked) != 1 || !strings.Contains(asked[0], want) {
					t.Errorf("asked for %v, want %q in it", asked, want)
				}
			}
			if info := src.Info(); info.Title != c.title {
				t.Errorf("Info() = %+v", info)
			}
			if _, err := open(t, s, nil); !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), "choose with layer: "+c.layer+", ") {
				t.Errorf("without a layer: %v", err)
			}
		})
	}
}

func TestChoices(t *testing.T) {
	s := serve13(t, `<CRS>EPSG:3857</CRS>`, http.NotFound)
	for _, c := range []struct {
		change func(*source.Spec)
		want   string // in the error; with "?" in front in the request
	}{
		{nil, "there are 2 layers, choose with layer: photo, base"},
		{func(s *source.Spec) { s.Layer = "foto" }, `no layer "foto"; there are: photo, base`},
		{func(s *source.Spec) { s.Layer, s.Style = "photo", "dark" }, `no style "dark"; there are: grey`},
		{func(s *source.Spec) { s.Layer, s.Format = "photo", "tiff" }, "image/gif, image/jpeg"},
		{func(s *source.Spec) { s.Layer, s.CRS = "photo", "EPSG:25832" }, `not given in "EPSG:25832"`},
		{func(s *source.Spec) { s.Source += "#layers=photo&time=1999" }, `dimension time has no value "1999"; there are: 2022, 2023, 2024`},
		{func(s *source.Spec) { s.Source += "#layers=photo&depth=1" }, `no dimension "depth"; there are: run, time`},
		{func(s *source.Spec) { s.Source += "#layers=photo&gutter=999" }, `gutter "999"`},
		{func(s *source.Spec) { s.Source += "?layers=photo,base&styles=grey" }, "1 styles for 2 layers"},
		{func(s *source.Spec) { s.Source = strings.Replace(s.Source, "wms+http", "wms+ftp", 1) }, `scheme "ftp"`},
		{func(s *source.Spec) { s.Layer, s.Dimensions = "photo", map[string]string{"TIME": "2023", "run": "2"} }, "?DIM_RUN=2&TIME=2023"},
		{func(s *source.Spec) { s.Source += "?layers=photo,BASE&styles=Grey%20shades," }, "?LAYERS=photo,base&STYLES=grey,&"},
		{func(s *source.Spec) { s.Layer = "base" }, "?FORMAT=image/jpeg&BBOX"},
		{func(s *source.Spec) { s.Layer, s.Format = "photo", "jpg" }, "?FORMAT=image/jpeg&BBOX"},
	} {
		src, err := open(t, s, c.change)
		want, ok := strings.CutPrefix(c.want, "?")
		if !ok {
			if !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want ErrBadInput with %q", err, want)
			}
			continue
		}
		if err != nil {
			t.Error(err)
			continue
		}
		src.Tile(t.Context(), maptile.At(orb.Point{11, 48}, 12))
		if asked := s.Asked(); !strings.Contains(asked[len(asked)-1], want) {
			t.Errorf("asked for %s, want %q in it", asked[len(asked)-1], want)
		}
	}
}

// TestException: what the server says reaches the operator, without the key.
func TestException(t *testing.T) {
	s := serve13(t, `<CRS>EPSG:3857</CRS>`, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `<?xml version="1.0"?><ServiceExceptionReport><ServiceException code="LayerNotDefined"><![CDATA[Layer	is gone, token %s,
&lt;b&gt;]]></ServiceException></ServiceExceptionReport>`, upstreamtest.Query(r, "token"))
	})
	src, err := wms.Open(t.Context(), source.Spec{ID: "test", Layer: "photo", Source: "wms+" + s.URL + "/wms?token=${T}"},
		upstream.Options{LookupEnv: func(string) (string, bool) { return "s3cr3t/5", true }})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	_, err = src.Tile(t.Context(), maptile.At(orb.Point{11, 48}, 12))
	if !errors.Is(err, tilescout.ErrUpstream) || !strings.Contains(err.Error(), "upstream says: Layer is gone, token ***,") || strings.Contains(err.Error(), "s3cr3t") || strings.Contains(err.Error(), "\n") {
		t.Errorf("Tile: %v, want what the server says without its token", err)
	}
}

func TestInfo(t *testing.T) {
	s := serve13(t, `<CRS>EPSG:3857</CRS>`, http.NotFound)
	src, err := open(t, s, func(s *source.Spec) { s.Layer = "photo" })
	if err != nil {
		t.Fatal(err)
	}
	info := src.Info()
	if info.Title != "Aerial photo" || info.Description != "A & B" || info.Bound != (orb.Bound{Min: orb.Point{0, 45}, Max: orb.Point{20, 55}}) || info.MinZoom != 7 || info.MaxZoom != 19 {
		t.Errorf("Info() = %+v", info)
	}
	if want := `<a href="https://survey.example/" rel="noopener nofollow">Survey &lt;b&gt;&lt;script&gt;x&lt;/script&gt;</a>`; info.Attribution != want {
		t.Errorf("attribution %s, want %s", info.Attribution, want)
	}
}

func TestConformance(t *testing.T) {
	for _, gutter := range []int{-1, 16} {
		t.Run(fmt.Sprint("gutter ", gutter), func(t *testing.T) {
			s := serve13(t, `<CRS>EPSG:3857</CRS>`, func(w http.ResponseWriter, r *http.Request) {
				size, _ := strconv.Atoi(upstreamtest.Query(r, "WIDTH"))
				w.Write(sourcetest.Paint(maptile.Tile{}, size))
			})
			src, err := open(t, s, func(s *source.Spec) { s.Layer, s.Gutter = "photo", gutter })
			if err != nil {
				t.Fatal(err)
			}
			sourcetest.Run(t, src, maptile.At(orb.Point{11, 48}, 12), maptile.At(orb.Point{40, 48}, 12))
		})
	}
}
