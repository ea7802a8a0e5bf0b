package demo

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/clip"
	"github.com/paulmach/orb/geojson"
	"github.com/paulmach/orb/maptile"
	"github.com/paulmach/orb/planar"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source/demo/land"
)

// Truth is the ground truth of a world as polygons in degrees with the property "class".
func Truth(w *land.World) *geojson.FeatureCollection {
	at := placeOf(w.Width, w.Height)
	fc := geojson.NewFeatureCollection()
	for i, f := range w.Features {
		ring := make(orb.Ring, 0, len(f.Ring)+1)
		for _, p := range f.Ring {
			ring = append(ring, at.lonLat(float64(p.X)/land.GSD, float64(p.Y)/land.GSD))
		}
		ring = append(ring, ring[0])
		if ring.Orientation() == orb.CW { // RFC 7946: outer rings counter-clockwise
			ring.Reverse()
		}
		feature := geojson.NewFeature(orb.Polygon{ring})
		feature.ID = i + 1
		feature.Properties["class"] = f.Class
		fc.Append(feature)
	}
	return fc
}

// Window is the bound in degrees of a window of a world's picture, given in pixels.
func Window(w *land.World, x0, y0, x1, y1 float64) orb.Bound {
	at := placeOf(w.Width, w.Height)
	return orb.Bound{Min: at.lonLat(x0, y1), Max: at.lonLat(x1, y0)}
}

// TilePixels is the side in pixels of the picture of a tile at a zoom.
func TilePixels(z maptile.Zoom) float64 {
	return 2 * math.Pi * orb.EarthRadius / float64(uint64(1)<<z) / pixelSize
}

// ReadTruth reads the GeoJSON that Ensure wrote.
func ReadTruth(path string) (*geojson.FeatureCollection, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("demo: read the truth: %w", err)
	}
	fc, err := geojson.UnmarshalFeatureCollection(data)
	if err != nil {
		return nil, fmt.Errorf("demo: parse the truth %s: %v: %w", path, err, tilescout.ErrBadInput)
	}
	if i := slices.Index(fc.Features, nil); i >= 0 { // orb reads a null among the features as one
		return nil, fmt.Errorf("demo: parse the truth %s: feature %d is null: %w", path, i, tilescout.ErrBadInput)
	}
	return fc, nil
}

// Answer is what the truth says of a class on a tile.
type Answer int

// The answers. Ignore is for tiles at the edge of an object, which may be called either way.
const (
	Negative Answer = iota
	Ignore
	Positive
)

// Label is one class that a tile shows.
type Label struct {
	Class       string
	TileShare   float64 // 0…1 of the tile that objects of the class cover
	ObjectShare float64 // 0…1 of the object that lies in the tile, the greatest of the class
	Answer      Answer  // Positive or Ignore
}

// rule says when a class is shown. A tile is positive if objects of the class cover at least `fill` of it, or if
// at least `whole` of one object lies in it and covers at least `visible` of it. Otherwise it is negative if no more
// than `trace` of it is covered and no more than twice `trace`+.04 of any object lies in it; else it is ignored.
type rule struct{ fill, whole, visible, trace float64 }

var (
	objectRule = rule{fill: .30, whole: .55, visible: .08, trace: .015}
	areaRule   = rule{fill: .50, whole: 2, visible: 1, trace: .04} // an area shows by what it fills alone
	thinRule   = rule{fill: .07, whole: .45, visible: .03, trace: .004}
)

func ruleOf(class string) rule {
	switch class {
	case "bridge", "runway", "tennis court":
		return thinRule
	case "stadium", "baseball field", "storage tanks", "parking lot", "playground", "railway station", "viaduct", "pond":
		return objectRule
	case "airport", "harbor":
		return rule{fill: .35, whole: 2, visible: 1, trace: .02}
	case "river", "beach":
		return rule{fill: .22, whole: 2, visible: 1, trace: .02}
	}
	return areaRule
}

// Labels says which classes a tile shows, by class name; a class that is not listed is negative.
func Labels(truth *geojson.FeatureCollection, t maptile.Tile) []Label {
	return LabelsWithin(truth, t.Bound())
}

// LabelsWithin is Labels for any window of a tile's size.
func LabelsWithin(truth *geojson.FeatureCollection, b orb.Bound) []Label {
	whole := (b.Max[0] - b.Min[0]) * (b.Max[1] - b.Min[1])
	byClass := map[string]*Label{}
	for _, f := range truth.Features {
		p, ok := f.Geometry.(orb.Polygon)
		if !ok || len(p) == 0 || !p.Bound().Intersects(b) {
			continue
		}
		// Degrees stand in for metres: within one tile the two are proportional to 1 in 10⁴.
		own := planar.Area(p)
		cut := clip.Polygon(b, p.Clone())
		if own <= 0 || len(cut) == 0 {
			continue
		}
		in := planar.Area(cut)
		class := f.Properties.MustString("class", "")
		l := byClass[class]
		if l == nil {
			l = &Label{Class: class}
			byClass[class] = l
		}
		l.TileShare = min(l.TileShare+in/whole, 1)
		l.ObjectShare = max(l.ObjectShare, min(in/own, 1))
	}
	var out []Label
	for class, l := range byClass {
		if l.Answer = ruleOf(class).answer(l.TileShare, l.ObjectShare); l.Answer != Negative {
			out = append(out, *l)
		}
	}
	slices.SortFunc(out, func(a, b Label) int { return strings.Compare(a.Class, b.Class) })
	return out
}

func (r rule) answer(tile, object float64) Answer {
	switch {
	case tile >= r.fill, object >= r.whole && tile >= r.visible:
		return Positive
	case tile <= r.trace && object <= 2*r.trace+.04:
		return Negative
	}
	return Ignore
}

// AnswerOf picks a class out of a tile's labels.
func AnswerOf(labels []Label, class string) Answer {
	for _, l := range labels {
		if l.Class == class {
			return l.Answer
		}
	}
	return Negative
}
