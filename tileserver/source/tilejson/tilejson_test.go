package tilejson_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
	"github.com/tilescout/tilescout/tileserver/source/tilejson"
	"github.com/tilescout/tilescout/tileserver/source/upstream"
	"github.com/tilescout/tilescout/tileserver/source/upstream/upstreamtest"
	"github.com/tilescout/tilescout/tileserver/source/xyz"
)

func open(t testing.TB, s *upstreamtest.Service, change func(*source.Spec)) (*xyz.Source, error) {
	t.Helper()
	spec := source.Spec{ID: "test", Source: s.URL + "/document.json"}
	if change != nil {
		change(&spec)
	}
	src, err := tilejson.Open(t.Context(), spec, upstream.Options{LookupEnv: func(name string) (string, bool) { return "s3cr3t", name == "KEY" }})
	if err == nil {
		t.Cleanup(func() { src.Close() })
	}
	return src, err
}

func TestRealDocument(t *testing.T) {
	data, err := os.ReadFile(sourcetest.Shared(t, "geo", "capabilities", "tilejson_2.0.0_mapbox.json"))
	if err != nil {
		t.Fatal(err)
	}
	picture := sourcetest.Paint(maptile.Tile{}, 256)
	s := upstreamtest.Serve(t, data, func(w http.ResponseWriter, r *http.Request) { w.Write(picture) })
	src, err := open(t, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	info := src.Info()
	if info.Title != "Geography Class" || info.MinZoom != 0 || info.MaxZoom != 8 || info.MediaType != tilescout.PNG || info.Bound.Max[1] < 85 || !strings.HasPrefix(info.Description, "One of the example maps") {
		t.Errorf("Info() = %+v", info)
	}
	if _, err := src.Tile(t.Context(), maptile.New(5, 7, 4)); err != nil {
		t.Fatal(err)
	}
	if asked := s.Asked(); len(asked) != 1 || asked[0] != "/v3/mapbox.geography-class/4/5/7.png" {
		t.Errorf("asked for %v", asked)
	}
}

func TestConformance(t *testing.T) {
	s := upstreamtest.Serve(t, []byte(`{"tilejson": "3.0.0", "tiles": ["t/{z}/{x}/{y}"], "minzoom": 2, "maxzoom": 5, "bounds": [-180, -85, 180, 85]}`),
		func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/t/3/2/5" {
				http.NotFound(w, r)
				return
			}
			w.Write(sourcetest.Paint(maptile.Tile{}, 256))
		})
	src, err := open(t, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	sourcetest.Run(t, src, maptile.New(2, 5, 3), maptile.New(0, 0, 3))
}

// TestTemplates is what a tile is asked for by.
func TestTemplates(t *testing.T) {
	for _, c := range []struct {
		document string
		change   func(*source.Spec)
		want     string
	}{
		{`{"tiles": ["HOST/{z}/{x}/{y}.jpg"]}`, nil, "/3/2/1.jpg"},
		{`{"tiles": ["HOST/{z}/{x}/{y}.jpg"], "scheme": "tms"}`, nil, "/3/2/6.jpg"},
		{`{"tiles": ["HOST/{z}/{x}/{y}.jpg"], "scheme": "tms"}`, func(s *source.Spec) { s.Scheme = "xyz" }, "/3/2/1.jpg"},
		{`{"tiles": ["HOST/a/{z}/{x}/{y}", "HOST/b/{z}/{x}/{y}"]}`, nil, "/b/3/2/1"},
		{`{"tiles": ["/r/{z}/{x}/{y}{r}"], "tileSize": 512}`, nil, "/r/3/2/1@2x"},
		{`{"tiles": ["HOST/{z}/{x}/{y}.png?v=2"]}`, func(s *source.Spec) { s.Source += "?key=${KEY}&v=1&map=a" }, "/3/2/1.png?v=2&key=s3cr3t"},
		{"\ufeff" + ` {"tiles": ["HOST/{z}/{x}/{y}.png?key=of-the-document"], "name": 7, "bounds": "all", "minzoom": "low"}`, func(s *source.Spec) { s.Source += "?key=${KEY}" }, "/3/2/1.png?key=of-the-document"},
	} {
		picture := sourcetest.Paint(maptile.Tile{}, 256)
		var s *upstreamtest.Service
		s = upstreamtest.Serve(t, nil, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/d" {
				fmt.Fprint(w, strings.ReplaceAll(c.document, "HOST", s.URL))
				return
			}
			w.Write(picture)
		})
		src, err := open(t, s, func(spec *source.Spec) {
			spec.Source = s.URL + "/d"
			if c.change != nil {
				c.change(spec)
			}
		})
		if err != nil {
			t.Errorf("%s: %v", c.document, err)
			continue
		}
		if _, err := src.Tile(t.Context(), maptile.New(2, 1, 3)); err != nil {
			t.Error(err)
		}
		if asked := s.Asked(); asked[len(asked)-1] != c.want {
			t.Errorf("%s: asked for %s, want %s", c.document, asked[len(asked)-1], c.want)
		}
	}
}

func TestRefuses(t *testing.T) {
	for document, want := range map[string]string{
		`{"tiles": ["http://10.0.0.1/{z}/{x}/{y}"]}`:                                           "a private network",
		`{"tiles": ["https://tiles.example/{z}/{x}/{y}", "http://169.254.169.254/{z}{x}{y}"]}`: "cloud metadata",
		`{"tiles": ["http://{s}.localhost/{z}/{x}/{y}"]}`:                                      "this machine",
		`{"tiles": ["https://t.example/${HOME}/{z}/{x}/{y}"]}`:                                 "HOME is not set",
		`{"tiles": ["https://t.example/{z}/{x}"]}`:                                             "needs {z}, {x} and {y}",
		`{"tiles": ["https://{x}.example/{z}/{x}/{y}"]}`:                                       "stands in the host",
		`{"tiles": ["https://u:p@t.example/{z}/{x}/{y}"]}`:                                     "user and password",
		`{"tiles": ["https://t.example/{z}/{x}/{y}.pbf"]}`:                                     "vector tiles",
		`{"tiles": ["https://t.example/{z}/{x}/{y}"], "format": "pbf"}`:                        "vector tiles",
		`{"tiles": ["https://t.example/{z}/{x}/{y}"], "vector_layers": [{"id": "a"}]}`:         "vector tiles",
		`{"tiles": ["https://t.example/{z}/{x}/{y}"], "minzoom": 9, "maxzoom": 3}`:             "above maxzoom",
		`{"tiles": ["https://t.example/{z}/{x}/{y}"], "maxzoom": 3.5}`:                         "maxzoom is 3.5",
		`{"tiles": []}`: "no list of URL templates",
		`[]`:            "not a TileJSON",
		`{`:             "unexpected end",
	} {
		s := upstreamtest.Serve(t, []byte(document), http.NotFound)
		_, err := open(t, s, nil)
		if !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want ErrBadInput with %q", document, err, want)
		}
	}
}

func TestAttribution(t *testing.T) {
	s := upstreamtest.Serve(t, []byte(`{"tiles": ["t/{z}/{x}/{y}"], "attribution": "<a href='javascript:alert(1)'>x</a> &copy; <a href=\"https://a.example/?b&c\" onclick=x>A</a><script>1</script>", "bounds": [170, -10, -170, 10]}`), http.NotFound)
	src, err := open(t, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := src.Info().Attribution, `x © <a href="https://a.example/?b&amp;c" rel="noopener nofollow">A</a>`; got != want {
		t.Errorf("attribution %s, want %s", got, want)
	}
	if _, err := src.Tile(t.Context(), maptile.At(orb.Point{0, 0}, 8)); !errors.Is(err, tilescout.ErrNotFound) || len(s.Asked()) != 0 {
		t.Errorf("tile outside of bounds across 180°: %v, asked %v", err, s.Asked())
	}
}

// FuzzTileJSON: whatever the document, it opens or is ErrBadInput in one line.
func FuzzTileJSON(f *testing.F) {
	f.Add([]byte(`{"tilejson": "3.0.0", "tiles": ["https://a.example/{z}/{x}/{y}.png", "/b/{q}"], "minzoom": 1, "maxzoom": 3, "bounds": [1, 2, 3, 4], "scheme": "tms", "attribution": "<a href='https://x'>y</a>", "tileSize": 512}`))
	f.Add([]byte(`{"tiles": ["http://{switch:a,127.0.0.1}/{z}/{x}/{-y}"], "vector_layers": []}`))
	f.Add([]byte(`{"tiles": ["http://[::1]/{z}/{x}/{y}"]}`))
	base, err := url.Parse("https://h.example/t.json")
	if err != nil {
		f.Fatal(err)
	}
	spec := source.Spec{ID: "fuzz", Source: "https://h.example/t.json?key=K"}
	f.Fuzz(func(t *testing.T, data []byte) {
		src, err := tilejson.OpenDocument(t.Context(), spec, upstream.Document{Data: data, URL: base}, upstream.Options{})
		if err != nil {
			if !errors.Is(err, tilescout.ErrBadInput) || strings.ContainsAny(err.Error(), "\n\x00") {
				t.Fatalf("%q, want ErrBadInput in one line", err)
			}
			return
		}
		defer src.Close()
		info := src.Info()
		if info.MinZoom > info.MaxZoom || info.MaxZoom > source.MaxZoom || len(info.Attribution) > 1024 || strings.Contains(info.Attribution, "<script") {
			t.Fatalf("Info() = %+v", info)
		}
	})
}
