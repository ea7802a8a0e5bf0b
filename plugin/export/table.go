package export

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/geojson"

	"github.com/tilescout/tilescout"
)

// columnType is what a column of a table holds.
type columnType int

const (
	integers columnType = iota
	reals
	texts
)

type column struct {
	name string
	kind columnType
}

// table is a feature collection with one type of geometry and columns of one type each, as GeoPackage and GeoParquet
// want it and GeoJSON does not.
type table struct {
	columns    []column
	rows       []row
	geometry   string // as geojson.Geometry.Type says it
	bound      orb.Bound
	properties string // what is said of the whole collection, as JSON
}

type row struct {
	geometry orb.Geometry
	values   []any // int64, float64, string or nil, by column
}

// fixed are names that a table has of its own.
var fixed = []string{"fid", "geom", "geometry", "bbox"}

// tableOf lays a collection out in columns: those that all features know by name. Links that lead nowhere outside of the
// server are left out.
func tableOf(fc *geojson.FeatureCollection) (*table, error) {
	t := &table{bound: orb.Bound{Min: orb.Point{math.Inf(1), math.Inf(1)}, Max: orb.Point{math.Inf(-1), math.Inf(-1)}}}
	kinds := map[string]columnType{"id": texts}
	types := map[string]bool{}
	for _, f := range fc.Features {
		if f.Geometry == nil {
			return nil, fmt.Errorf("feature %v has no geometry: %w", f.ID, tilescout.ErrBadInput)
		}
		types[f.Geometry.GeoJSONType()] = true
		t.bound = t.bound.Union(f.Geometry.Bound())
		for name, v := range f.Properties {
			if link(name, v) || slices.Contains(fixed, strings.ToLower(name)) {
				continue
			}
			_, kind := valueOf(v)
			kinds[name] = max(kind, kinds[name])
		}
	}
	for name, kind := range kinds {
		t.columns = append(t.columns, column{name, kind})
	}
	// What people look at first comes first.
	first := []string{"id", "rank", "score"}
	at := func(name string) int {
		if i := slices.Index(first, name); i >= 0 {
			return i
		}
		return len(first)
	}
	slices.SortFunc(t.columns, func(a, b column) int { return cmp.Or(at(a.name)-at(b.name), cmp.Compare(a.name, b.name)) })
	names := slices.Sorted(maps.Keys(types))
	many := len(names) > 1 && slices.Equal(names, []string{"MultiPolygon", "Polygon"})
	switch {
	case many:
		t.geometry = "MultiPolygon"
	case len(names) == 1:
		t.geometry = names[0]
	default:
		t.geometry = "Geometry"
	}
	for _, f := range fc.Features {
		g := f.Geometry
		if p, ok := g.(orb.Polygon); ok && many {
			g = orb.MultiPolygon{p}
		}
		r := row{geometry: g, values: make([]any, len(t.columns))}
		for i, c := range t.columns {
			v := f.Properties[c.name]
			if c.name == "id" {
				v = f.ID
			}
			r.values[i] = c.kind.of(v)
		}
		t.rows = append(t.rows, r)
	}
	if len(fc.ExtraMembers) > 0 {
		text, err := json.Marshal(fc.ExtraMembers)
		if err != nil {
			return nil, fmt.Errorf("encode what is said of the matches: %w", err)
		}
		t.properties = string(text)
	}
	return t, nil
}

// link says whether a property is an address below the server, which a file elsewhere cannot follow.
func link(name string, v any) bool {
	s, ok := v.(string)
	return ok && (name == "thumbnail" || name == "imagery") && !strings.Contains(s, "://")
}

// valueOf is a property as a column holds it; what is neither number nor text becomes JSON.
func valueOf(v any) (any, columnType) {
	switch v := v.(type) {
	case nil:
		return nil, integers
	case int:
		return int64(v), integers
	case int64:
		return v, integers
	case float64:
		return v, reals
	case float32:
		return float64(v), reals
	case string:
		return v, texts
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v), texts
	}
	return string(text), texts
}

// of is a property as this column holds it.
func (k columnType) of(v any) any {
	out, kind := valueOf(v)
	switch {
	case out == nil:
		return nil
	case k == reals && kind == integers:
		return float64(out.(int64))
	case k == texts && kind != texts:
		return fmt.Sprint(out)
	}
	return out
}
