package source_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
)

func TestSpecFromYAML(t *testing.T) {
	const text = `
id: city
source: https://{s}.h.example/{z}/{x}/{y}.jpg
headers: {Authorization: "Bearer ${CITY_TOKEN}"}
subdomains: [t0, t1]
minZoom: 3
maxZoom: 18
bounds: [11.5, 48.1, 11.6, 48.2]
tileSize: 512
bands: [4, 3, 2]
stretch: [0, 3000.5]
cacheTTL: 36h
maxRPS: 2.5
maxConcurrency: 4
allowBulk: true
termsURL: https://h.example/terms
`
	var s source.Spec
	if err := yaml.UnmarshalWithOptions([]byte(text), &s, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	want := orb.Bound{Min: orb.Point{11.5, 48.1}, Max: orb.Point{11.6, 48.2}}
	info := s.Info()
	if len(s.Bands) != 3 || s.Bands[0] != 4 || len(s.Stretch) != 2 || s.Stretch[1] != 3000.5 {
		t.Errorf("bands %v, stretch %v", s.Bands, s.Stretch)
	}
	if s.CacheTTL != 36*time.Hour || s.MaxRPS != 2.5 || !s.AllowBulk || s.TermsURL == "" || info.Bound != want || info.MinZoom != 3 || info.MaxZoom != 18 || info.TileSize != 512 {
		t.Errorf("spec %+v, info %+v", s, info)
	}
	if err := yaml.UnmarshalWithOptions([]byte("id: a\nmaxzoom: 3\n"), &s, yaml.Strict()); err == nil {
		t.Error("an unknown key passed")
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		change func(*source.Spec)
		text   string // "" is valid
	}{
		{func(*source.Spec) {}, ""},
		{func(s *source.Spec) { s.ID = "" }, "id"},
		{func(s *source.Spec) { s.ID = "-a" }, "id"},
		{func(s *source.Spec) { s.ID = "City" }, "id"},
		{func(s *source.Spec) { s.ID = "a\n" }, "id"},
		{func(s *source.Spec) { s.ID = strings.Repeat("a", 64) }, "id"},
		{func(s *source.Spec) { s.ID = strings.Repeat("a", 63) }, ""},
		{func(s *source.Spec) { s.Source = "" }, "source is empty"},
		{func(s *source.Spec) { s.Scheme = "zxy" }, "scheme"},
		{func(s *source.Spec) { s.TileSize = 300 }, "tileSize"},
		{func(s *source.Spec) { s.MaxZoom = 31 }, "maxZoom"},
		{func(s *source.Spec) { s.MinZoom = -1 }, "minZoom"},
		{func(s *source.Spec) { s.MinZoom, s.MaxZoom = 5, 4 }, "above"},
		{func(s *source.Spec) { s.MaxConcurrency = -1 }, "maxConcurrency"},
		{func(s *source.Spec) { s.MaxRPS = math.NaN() }, "maxRPS"},
		{func(s *source.Spec) { s.CacheTTL = -1 }, "cacheTTL"},
		{func(s *source.Spec) { s.Bounds = []float64{1, 2, 3} }, "3 numbers"},
		{func(s *source.Spec) { s.Bands = []int{4, 3, 2} }, ""},
		{func(s *source.Spec) { s.Bands = []int{1, 2} }, "one band"},
		{func(s *source.Spec) { s.Bands = []int{0} }, "counted from 1"},
		{func(s *source.Spec) { s.Stretch = []float64{0, 3000} }, ""},
		{func(s *source.Spec) { s.Stretch = []float64{0, 1, 0, 2, 0, 3} }, ""},
		{func(s *source.Spec) { s.Stretch = []float64{1} }, "1 numbers"},
		{func(s *source.Spec) { s.Stretch = []float64{5, 5} }, "smaller"},
		{func(s *source.Spec) { s.Stretch = []float64{0, math.NaN()} }, "smaller"},
		{func(s *source.Spec) { s.Bounds = []float64{0, 0, 181, 1} }, "181"},
		{func(s *source.Spec) { s.Bounds = []float64{0, 0, math.NaN(), 1} }, "degrees"},
		{func(s *source.Spec) { s.Bounds = []float64{0, 5, 1, 5} }, "empty"},
		{func(s *source.Spec) { s.Bounds = []float64{-180, -90, 180, 90} }, ""},
		{func(s *source.Spec) { s.Bounds = []float64{170, 0, -170, 1} }, ""},
	} {
		s := source.Spec{ID: "a", Source: "a.tif"}
		c.change(&s)
		err := s.Validate()
		if (c.text == "") != (err == nil) || err != nil && (!errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), c.text)) {
			t.Errorf("Validate(%+v) = %v, want %q", s, err, c.text)
		}
	}
}

func TestBoundList(t *testing.T) {
	s := source.Spec{ID: "a", Source: "a", Bounds: []float64{170, -1, -160, 1}}
	got := s.BoundList()
	want := []orb.Bound{{Min: orb.Point{170, -1}, Max: orb.Point{180, 1}}, {Min: orb.Point{-180, -1}, Max: orb.Point{-160, 1}}}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("BoundList() = %v, want %v", got, want)
	}
	if b := s.Info().Bound; b.Left() != -180 || b.Right() != 180 {
		t.Errorf("Info().Bound = %v, want all longitudes", b)
	}
}

func TestGrid(t *testing.T) {
	for _, c := range []struct {
		t    maptile.Tile
		want bool
	}{
		{maptile.New(0, 0, 0), false}, {maptile.New(1, 1, 1), true}, {maptile.New(2, 0, 1), false}, {maptile.New(0, 2, 1), false},
		{maptile.New(1<<30-1, 0, 30), true}, {maptile.New(0, 0, 31), false}, {maptile.New(0, 0, 255), false},
	} {
		if got := source.InGrid(c.t, 1, 30); got != c.want {
			t.Errorf("InGrid(%v, 1, 30) = %v, want %v", c.t, got, c.want)
		}
	}
	for _, c := range []struct {
		t    maptile.Tile
		want uint32
	}{{maptile.New(0, 0, 0), 0}, {maptile.New(0, 1, 3), 6}, {maptile.New(0, 0, 30), 1<<30 - 1}} {
		if got := source.TMSRow(c.t); got != c.want {
			t.Errorf("TMSRow(%v) = %d, want %d", c.t, got, c.want)
		}
	}
}
