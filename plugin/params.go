package plugin

import (
	"fmt"
	"image/color"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/gorilla/mux"
	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
)

// Question is what the common parameters of the semantic routes say.
type Question struct {
	Prompts, Not []string
	Threshold    float64 // 0: not given
	Box          *geo.BBox
	Limit        int
	Geometry     string // tile, point or area
	Style        Style
	Colour       color.NRGBA // alpha 0: the ramp
	Opacity      float64
	Veil         bool // hatch what nobody has looked at
	Detail       bool // look into tiles: detail=patch
	Rev          string

	carried url.Values // what URLs within the answer carry on; see WithCarry
}

// maxParameters bounds the parameters of one request.
const maxParameters = 64

func parseQuestion(r *http.Request) (Question, error) {
	v, err := parameters(r)
	if err != nil {
		return Question{}, err
	}
	q := Question{
		Prompts: v["q"], Not: v["not"], Rev: v.Get("rev"), Geometry: v.Get("geometry"),
		Style: Style(v.Get("style")), Opacity: 1, Limit: 100,
	}
	if q.Threshold, err = number(v, "threshold", 0, 0, 1); err != nil {
		return q, err
	}
	if q.Opacity, err = number(v, "opacity", 1, 0, 1); err != nil {
		return q, err
	}
	limit, err := number(v, "limit", 100, 1, 10_000)
	if err != nil {
		return q, err
	}
	if limit != math.Trunc(limit) {
		return q, fmt.Errorf("limit %g: a whole number from 1 to 10000: %w", limit, tilescout.ErrBadInput)
	}
	q.Limit = int(limit)
	if s := v.Get("bbox"); s != "" {
		box, err := geo.ParseBBox(s)
		if err != nil {
			return q, err
		}
		q.Box = &box
	}
	switch q.Geometry {
	case "":
		q.Geometry = "tile"
	case "tile", "point", "area":
	default:
		return q, fmt.Errorf("geometry %q: tile, point or area: %w", q.Geometry, tilescout.ErrBadInput)
	}
	switch q.Style {
	case "":
		q.Style = Heat
	case Heat, Grid, Outline:
	default:
		return q, fmt.Errorf("style %q: heat, grid or outline: %w", string(q.Style), tilescout.ErrBadInput)
	}
	if q.Colour, err = parseColour(v.Get("color")); err != nil {
		return q, err
	}
	q.Veil = v.Get("veil") == "1"
	switch v.Get("detail") {
	case "", "tile":
	case "patch":
		q.Detail = true
	default:
		return q, fmt.Errorf("detail %q: tile or patch: %w", v.Get("detail"), tilescout.ErrBadInput)
	}
	return q, nil
}

// parameters are the request's, with a bound on their number and valid escapes.
func parameters(r *http.Request) (url.Values, error) {
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("the query string is not valid: %s: %w", err, tilescout.ErrBadInput)
	}
	n := 0
	for _, values := range v {
		n += len(values)
	}
	if n > maxParameters {
		return nil, fmt.Errorf("%d parameters, at most %d: %w", n, maxParameters, tilescout.ErrBadInput)
	}
	return v, nil
}

func number(v url.Values, name string, usual, low, high float64) (float64, error) {
	s := v.Get(name)
	if s == "" {
		return usual, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= low && f <= high) {
		return 0, fmt.Errorf("%s %q: a number from %g to %g: %w", name, s, low, high, tilescout.ErrBadInput)
	}
	return f, nil
}

// parseColour reads rrggbb or #rrggbb; nothing means the ramp.
func parseColour(s string) (color.NRGBA, error) {
	if s == "" {
		return color.NRGBA{}, nil
	}
	hex := strings.TrimPrefix(s, "#")
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil || len(hex) != 6 {
		return color.NRGBA{}, fmt.Errorf("color %q: six hexadecimal digits, for example d01c8b: %w", s, tilescout.ErrBadInput)
	}
	return color.NRGBA{uint8(n >> 16), uint8(n >> 8), uint8(n), 255}, nil
}

// values are the parameters of an overlay URL that asks the same question.
func (q Question) values() url.Values {
	v := url.Values{"q": q.Prompts}
	if len(q.Not) > 0 {
		v["not"] = q.Not
	}
	if q.Threshold > 0 {
		v.Set("threshold", strconv.FormatFloat(q.Threshold, 'g', 4, 64))
	}
	if q.Style != "" && q.Style != Heat {
		v.Set("style", string(q.Style))
	}
	if q.Colour.A != 0 {
		v.Set("color", fmt.Sprintf("%02x%02x%02x", q.Colour.R, q.Colour.G, q.Colour.B))
	}
	if q.Detail {
		v.Set("detail", "patch")
	}
	if q.Opacity != 1 {
		v.Set("opacity", strconv.FormatFloat(q.Opacity, 'g', 3, 64))
	}
	return v
}

// pathTile reads the z, x and y of the route; the route's patterns let digits only pass.
func pathTile(r *http.Request) (maptile.Tile, error) {
	v := mux.Vars(r)
	return geo.ParseTile(v["z"], v["x"], v["y"])
}
