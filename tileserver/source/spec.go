package source

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"time"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
)

// Spec is what an operator writes about one source, in tilescout.yaml or on the command line. Only Source is needed;
// a zero field means what its comment says. Settings of remote origins are ignored for files.
type Spec struct {
	ID          string `yaml:"id"`
	Title       string `yaml:"title"`       // "" means the file's own name or the host
	Description string `yaml:"description"` //
	Attribution string `yaml:"attribution"` // shown on every map; required by most public services
	Source      string `yaml:"source"`      // path, or URL template: https://host/{z}/{x}/{y}.png

	Layer      string            `yaml:"layer"`      // of a WMTS or WMS; several of a WMS with commas between
	Style      string            `yaml:"style"`      // of a WMTS or WMS, by name; "" means its default
	MatrixSet  string            `yaml:"matrixSet"`  // of a WMTS; "" means the best one for web maps
	Dimensions map[string]string `yaml:"dimensions"` // of a WMTS or WMS, by name: time, elevation; one that is not named has its default
	Format     string            `yaml:"format"`     // of a WMTS or WMS: png, jpeg, webp or a media type; "" means the best one for imagery
	CRS        string            `yaml:"crs"`        // asked of a WMS: EPSG:25832; "" means EPSG:3857 if there is one
	Gutter     int               `yaml:"gutter"`     // of a WMS: pixels asked for round each tile and cut off, so that labels are whole; 0 means none for JPEG, else 16; -1 means none

	Headers    map[string]string `yaml:"headers"`    // sent to the host of Source only; ${NAME} is expanded
	Scheme     string            `yaml:"scheme"`     // xyz (default) or tms: rows counted from the south
	Subdomains []string          `yaml:"subdomains"` // what {s} stands for; none means a, b, c
	MinZoom    int               `yaml:"minZoom"`    // of a URL template
	MaxZoom    int               `yaml:"maxZoom"`    // of a URL template; 0 means 19
	Bounds     []float64         `yaml:"bounds"`     // west, south, east, north in degrees; west > east crosses 180°; none means everywhere
	TileSize   int               `yaml:"tileSize"`   // 256 (default) or 512 pixels a side
	Bands      []int             `yaml:"bands"`      // of a GeoTIFF, counted from 1: one as grey, three as red, green, blue
	Stretch    []float64         `yaml:"stretch"`    // of a GeoTIFF: min, max of its samples for all bands or for each; none means percentiles 2 and 98

	UserAgent      string        `yaml:"userAgent"`      // "" means Tilescout's own, with its version and address
	Referer        string        `yaml:"referer"`        //
	MaxConcurrency int           `yaml:"maxConcurrency"` // requests in flight; 0 means 8, or 2 for public volunteer-run hosts
	MaxRPS         float64       `yaml:"maxRPS"`         // requests started per second; 0 means no limit
	CacheTTL       time.Duration `yaml:"cacheTTL"`       // a tile is kept at least so long, whatever its headers say; 0 means as they say
	AllowPrivate   bool          `yaml:"allowPrivate"`   // the host of Source is a name in a private network; an address written as such needs no leave
	AllowPorts     []int         `yaml:"allowPorts"`     // further ports of the host of Source that its documents and redirects may lead to
	AllowBulk      bool          `yaml:"allowBulk"`      // the terms of the origin allow fetching whole areas, as indexing does
	Permission     string        `yaml:"permission"`     // who permitted that in writing and when; openstreetmap.org needs it beside AllowBulk
	TermsURL       string        `yaml:"termsURL"`       // the origin's terms of use, quoted in messages
	Version        string        `yaml:"version"`        // change it when the origin's imagery changes: caches and index start anew
}

var idPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// Validate tells the first thing that is wrong with what every kind reads. All errors are ErrBadInput.
func (s Spec) Validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("layer %q: "+format+": %w", append(append([]any{s.ID}, args...), tilescout.ErrBadInput)...)
	}
	switch {
	case !idPattern.MatchString(s.ID):
		return bad("id must be 1 to 63 of a-z, 0-9, _ and -, the first a letter or digit")
	case s.Source == "":
		return bad("source is empty: give a file or a URL template")
	case s.Scheme != "" && s.Scheme != "xyz" && s.Scheme != "tms":
		return bad("scheme %q is neither xyz nor tms", s.Scheme)
	case s.TileSize != 0 && s.TileSize != 256 && s.TileSize != 512:
		return bad("tileSize %d is neither 256 nor 512", s.TileSize)
	case s.MinZoom < 0 || s.MaxZoom < 0 || s.MinZoom > int(MaxZoom) || s.MaxZoom > int(MaxZoom):
		return bad("minZoom and maxZoom must lie in 0 to %d", MaxZoom)
	case s.MaxZoom != 0 && s.MinZoom > s.MaxZoom:
		return bad("minZoom %d is above maxZoom %d", s.MinZoom, s.MaxZoom)
	case s.MaxConcurrency < 0 || s.MaxConcurrency > 256:
		return bad("maxConcurrency %d is not in 0 to 256", s.MaxConcurrency)
	case s.MaxRPS < 0 || math.IsNaN(s.MaxRPS) || math.IsInf(s.MaxRPS, 0):
		return bad("maxRPS %v is not a rate", s.MaxRPS)
	case s.Gutter < -1 || s.Gutter > 256:
		return bad("gutter %d is not in 0 to 256, nor -1 for none", s.Gutter)
	case slices.ContainsFunc(s.AllowPorts, func(p int) bool { return p < 1 || p > 65535 }):
		return bad("allowPorts %v: want 1 to 65535", s.AllowPorts)
	case s.CacheTTL < 0:
		return bad("cacheTTL %v is negative", s.CacheTTL)
	}
	if _, err := s.bounds(); err != nil {
		return bad("%v", err)
	}
	if err := s.raster(); err != nil {
		return bad("%v", err)
	}
	return nil
}

// raster tells what is wrong with Bands and Stretch as far as it shows without the file.
func (s Spec) raster() error {
	if n := len(s.Bands); n != 0 && n != 1 && n != 3 {
		return fmt.Errorf("bands %v: give one band, shown as grey, or three, shown as red, green and blue", s.Bands)
	}
	for _, b := range s.Bands {
		if b < 1 {
			return fmt.Errorf("bands %v: bands are counted from 1", s.Bands)
		}
	}
	if n := len(s.Stretch); n%2 != 0 || n > 8 {
		return fmt.Errorf("stretch has %d numbers: give min, max for all bands, or a pair for each", n)
	}
	for i := 0; i+1 < len(s.Stretch); i += 2 {
		if lo, hi := s.Stretch[i], s.Stretch[i+1]; !(lo < hi) || math.IsInf(hi-lo, 0) {
			return fmt.Errorf("stretch from %v to %v: the first must be smaller", lo, hi)
		}
	}
	return nil
}

// BoundList returns Bounds as one bound, two where it crosses 180°, none where no bounds are given.
// Call it on a valid Spec.
func (s Spec) BoundList() []orb.Bound {
	list, _ := s.bounds()
	return list
}

func (s Spec) bounds() ([]orb.Bound, error) {
	if len(s.Bounds) == 0 {
		return nil, nil
	}
	if len(s.Bounds) != 4 {
		return nil, fmt.Errorf("bounds has %d numbers, not west, south, east, north", len(s.Bounds))
	}
	west, south, east, north := s.Bounds[0], s.Bounds[1], s.Bounds[2], s.Bounds[3]
	for i, most := range []float64{180, 90, 180, 90} {
		if math.IsNaN(s.Bounds[i]) || math.Abs(s.Bounds[i]) > most {
			return nil, fmt.Errorf("bounds %v: %v is not in ±%v degrees", s.Bounds, s.Bounds[i], most)
		}
	}
	if south >= north || west == east {
		return nil, fmt.Errorf("bounds %v are empty: the order is west, south, east, north", s.Bounds)
	}
	box := func(w, e float64) orb.Bound { return orb.Bound{Min: orb.Point{w, south}, Max: orb.Point{e, north}} }
	if west < east {
		return []orb.Bound{box(west, east)}, nil
	}
	return []orb.Bound{box(west, 180), box(-180, east)}, nil
}

// World is the bound of the WebMercatorQuad grid in degrees.
var World = maptile.New(0, 0, 0).Bound()

// Info returns what s itself says of the layer; a kind fills in the rest.
func (s Spec) Info() tilescout.LayerInfo {
	info := tilescout.LayerInfo{
		ID: s.ID, Title: s.Title, Description: s.Description, Attribution: s.Attribution,
		MinZoom: maptile.Zoom(s.MinZoom), MaxZoom: maptile.Zoom(s.MaxZoom), TileSize: s.TileSize,
	}
	for i, b := range s.BoundList() {
		if i == 0 {
			info.Bound = b
		} else {
			info.Bound = info.Bound.Union(b)
		}
	}
	return info
}
