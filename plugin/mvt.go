package plugin

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/encoding/mvt"
	"github.com/paulmach/orb/geojson"
	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout/geo"
)

// MVT is the media type of vector tiles.
const MVT = "application/vnd.mapbox-vector-tile"

// maxVectorFeatures bounds the features of one vector tile; the best are kept.
const maxVectorFeatures = 4000

func (p *Plugin) overlayMVT(w http.ResponseWriter, r *http.Request) error {
	return p.overlay(w, r, "mvt", MVT, p.vectorTile)
}

// vectorTile is the matches at or above the threshold as MVT 2.1: layer "matches", polygons of index tiles
// (with detail, of their parts) with score, rank and tile; feature ids are Morton codes.
func (p *Plugin) vectorTile(ctx context.Context, layer string, t maptile.Tile, q Question) ([]byte, error) {
	scores, err := p.scores(ctx, layer, t, q)
	if err != nil {
		return nil, err
	}
	cut := q.Threshold
	if cut == 0 {
		cut = p.engine.Calibration().Floor
	}
	type match struct {
		tile  maptile.Tile
		score float32
	}
	var matches []match
	if t.Z >= scores.Zoom {
		up := t
		for up.Z > scores.Zoom {
			up = up.Parent()
		}
		if s, ok := scores.At(up); ok && float64(s) >= cut {
			matches = append(matches, match{up, s})
		}
	} else {
		for tile, s := range scores.Under(t) {
			if float64(s) >= cut {
				matches = append(matches, match{tile, s})
			}
		}
	}
	if len(matches) > maxVectorFeatures {
		slices.SortStableFunc(matches, func(a, b match) int {
			switch {
			case a.score > b.score:
				return -1
			case a.score < b.score:
				return 1
			}
			return 0
		})
		matches = matches[:maxVectorFeatures]
	}
	fc := geojson.NewFeatureCollection()
	for _, m := range matches {
		f := geojson.NewFeature(geo.Bound(m.tile).ToPolygon())
		f.ID = float64(geo.Morton(m.tile))
		f.Properties = geojson.Properties{"score": round(float64(m.score), 4), "rank": scores.Rank(m.tile, cut), "tile": tileID(m.tile)}
		fc.Append(f)
	}
	l := mvt.NewLayer("matches", fc)
	l.Version = 2
	l.ProjectToTile(t)
	for _, f := range l.Features {
		clipToTile(f, l.Extent)
	}
	body, err := mvt.Marshal(mvt.Layers{l})
	if err != nil {
		return nil, fmt.Errorf("encode the vector tile: %w", err)
	}
	return body, nil
}

// clipToTile cuts an axis-parallel square to the tile with a margin, and winds it as MVT 2.1 §4.3.3.3 wants:
// exterior rings have positive area in tile coordinates, where y points down.
func clipToTile(f *geojson.Feature, extent uint32) {
	poly, ok := f.Geometry.(orb.Polygon)
	if !ok {
		return
	}
	margin := float64(extent) / 16
	low, high := -margin, float64(extent)+margin
	for _, ring := range poly {
		for i := range ring {
			for k := range ring[i] {
				ring[i][k] = min(high, max(low, ring[i][k]))
			}
		}
		if ring.Orientation() != orb.CCW { // positive area by the surveyor's formula
			ring.Reverse()
		}
	}
}
