package eval

import (
	"context"
	"errors"
	"fmt"

	"github.com/paulmach/orb/geojson"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/plugin/search"
	"github.com/tilescout/tilescout/tileserver/source/demo"
)

// demoZoom is where a tile of the demo scene shows about one thing.
const demoZoom = maptile.Zoom(17)

// DemoSet takes scenes out of the drawn demo scene, so that there is something to measure without any data: its tiles
// that show one class and no part of another.
func DemoSet(ctx context.Context, tiles search.Tiles, truth *geojson.FeatureCollection) (*Set, error) {
	s := &Set{Name: "demo scene"}
	a := archive{}
	for t := range geo.Cover(tiles.Info().Bound, demoZoom) {
		shown := demo.Labels(truth, t)
		if len(shown) != 1 || shown[0].Answer != demo.Positive {
			continue
		}
		pic, err := tiles.Tile(ctx, t)
		if errors.Is(err, tilescout.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("tile %v of the demo scene: %w", t, err)
		}
		name := fmt.Sprintf("%d/%d/%d", t.Z, t.X, t.Y)
		a[name] = pic.Data
		s.Scenes = append(s.Scenes, Scene{File: name, Class: shown[0].Class, Where: "tile " + name})
	}
	s.store = a
	if len(s.Scenes) == 0 {
		return nil, fmt.Errorf("demo scene: no tile shows one class alone: %w", ErrEmpty)
	}
	return s, nil
}
