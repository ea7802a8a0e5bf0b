package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"

	"github.com/gorilla/mux"
	"github.com/paulmach/orb"
	"github.com/paulmach/orb/geojson"
	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/plugin/search"
)

// GeoJSON is the media type of feature answers (RFC 7946 §12).
const GeoJSON = "application/geo+json"

func (p *Plugin) search(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuestion(r)
	if err != nil {
		return err
	}
	q.carried = p.carry(r)
	fc, err := p.Features(r.Context(), mux.Vars(r)["layer"], q)
	if err != nil {
		return err
	}
	return writeJSON(w, r, GeoJSON, "no-cache", fc)
}

// Features answers a Question as GeoJSON: tiles, their peaks as points, or areas.
func (p *Plugin) Features(ctx context.Context, layer string, q Question) (*geojson.FeatureCollection, error) {
	query := search.Query{
		Layer: layer, Prompts: q.Prompts, Not: q.Not, Threshold: q.Threshold, Box: q.Box, Limit: q.Limit, Fill: true,
		Detail: q.Detail,
	}
	var fc *geojson.FeatureCollection
	var answer search.Answer
	if q.Geometry == "area" {
		areas, a, err := p.engine.Areas(ctx, query)
		if err != nil {
			return nil, err
		}
		fc, answer = p.areas(layer, areas), a
	} else {
		a, err := p.engine.Search(ctx, query)
		if err != nil {
			return nil, err
		}
		fc, answer = p.Matches(layer, a.Matches, q.Geometry == "point"), a
	}
	p.describe(fc, layer, q, answer)
	return fc, nil
}

// describe adds what is said of the whole answer, as foreign members (RFC 7946 §6.1).
func (p *Plugin) describe(fc *geojson.FeatureCollection, layer string, q Question, a search.Answer) {
	m := p.engine.Model()
	fc.ExtraMembers = geojson.Properties{
		"verdict": a.Verdict, "max": round(a.Max, 4), "top3": round(a.Top3, 4), "threshold": a.Threshold,
		"model": m.ID, "rev": a.Revision, "embedded": a.Embedded, "total": a.Total,
		"numberMatched": a.Matched, "numberReturned": len(fc.Features),
		"unknown": orEmpty(a.Unknown), "related": orEmpty(a.Related), "phrases": orEmpty(a.Phrases),
		"query": map[string][]string{"q": orEmpty(q.Prompts), "not": orEmpty(q.Not)},
	}
	if len(a.Described) > 0 {
		fc.ExtraMembers["described"] = a.Described
	}
	if a.Partial {
		fc.ExtraMembers["partial"] = true
	}
	if len(q.Prompts) > 0 {
		fc.ExtraMembers["overlay"] = p.overlayTemplate("", layer, "png", q)
	}
}

func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// Matches are ranked tiles as GeoJSON features: polygons, or the peaks among them as points.
func (p *Plugin) Matches(layer string, matches []search.Match, points bool) *geojson.FeatureCollection {
	if points {
		matches = search.Peaks(matches)
	}
	fc := geojson.NewFeatureCollection()
	for _, m := range matches {
		bound := geo.Bound(m.Tile)
		var g orb.Geometry = rounded(bound)
		if points {
			g = roundPoint(bound.Center())
		}
		f := geojson.NewFeature(g)
		f.ID = tileID(m.Tile)
		f.Properties = p.tileProperties(layer, m.Tile)
		f.Properties["score"] = round(m.Score, 4)
		f.Properties["rank"] = m.Rank
		if !math.IsNaN(m.Similarity) {
			f.Properties["similarity"] = round(m.Similarity, 4)
		}
		fc.Append(f)
	}
	return fc
}

func (p *Plugin) tileProperties(layer string, t maptile.Tile) geojson.Properties {
	out := geojson.Properties{"tile": tileID(t), "center": roundPoint(geo.Bound(t).Center())}
	if u := p.tileImagery(layer, t); u != "" {
		out["thumbnail"], out["imagery"] = u, u
	}
	return out
}

func (p *Plugin) tileImagery(layer string, t maptile.Tile) string {
	return p.imageryURL(layer, strconv.Itoa(int(t.Z)), strconv.Itoa(int(t.X)), strconv.Itoa(int(t.Y)))
}

func (p *Plugin) areas(layer string, areas []search.Area) *geojson.FeatureCollection {
	fc := geojson.NewFeatureCollection()
	for _, a := range areas {
		var g orb.Geometry = a.Outline
		if len(a.Outline) == 1 {
			g = a.Outline[0]
		}
		f := geojson.NewFeature(g)
		f.ID = tileID(a.Best)
		f.Properties = p.tileProperties(layer, a.Within)
		f.Properties["score"] = round(a.ScoreMax, 4)
		f.Properties["scoreMean"] = round(a.ScoreMean, 4)
		f.Properties["rank"] = a.Rank
		f.Properties["tiles"] = len(a.Tiles)
		f.Properties["areaM2"] = math.Round(a.AreaM2)
		f.Properties["peak"] = roundPoint(a.Peak)
		fc.Append(f)
	}
	return fc
}

func (p *Plugin) searchTile(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuestion(r)
	if err != nil {
		return err
	}
	t, err := pathTile(r)
	if err != nil {
		return err
	}
	a, err := p.engine.Tile(r.Context(), mux.Vars(r)["layer"], t, q.Prompts, q.Not)
	if err != nil {
		return err
	}
	out := map[string]any{"tile": tileID(t), "embedded": a.Embedded, "top": labelsJSON(a.Top), "score": nil}
	if !math.IsNaN(a.Score) {
		out["score"] = round(a.Score, 4)
	}
	return writeJSON(w, r, "application/json", "no-cache", out)
}

func tileID(t maptile.Tile) string { return fmt.Sprintf("%d/%d/%d", t.Z, t.X, t.Y) }

func round(v float64, digits int) float64 {
	f := math.Pow(10, float64(digits))
	return math.Round(v*f) / f
}

// roundPoint keeps seven decimals: a centimetre.
func roundPoint(p orb.Point) orb.Point { return orb.Point{round(p[0], 7), round(p[1], 7)} }

// rounded is the bound as a polygon wound as RFC 7946 §3.1.6 wants.
func rounded(b orb.Bound) orb.Polygon {
	poly := b.ToPolygon()
	for _, ring := range poly {
		for i := range ring {
			ring[i] = roundPoint(ring[i])
		}
		if ring.Orientation() != orb.CCW {
			ring.Reverse()
		}
	}
	return poly
}

// writeJSON answers v; the validator is the hash of the body.
func writeJSON(w http.ResponseWriter, r *http.Request, mediaType, cacheControl string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return writeBody(w, r, mediaType, cacheControl, etag(body), append(body, '\n'))
}
