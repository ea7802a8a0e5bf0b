package demo

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout"
)

// FuzzTruth: a GeoJSON with the truth about a scene is refused with a kind, or labels whose shares are shares.
func FuzzTruth(f *testing.F) {
	f.Add(`{"type":"FeatureCollection","features":[{"type":"Feature","properties":{"class":"stadium"},"geometry":{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,1],[0,0]]]}}]}`)
	f.Add(`{"type":"FeatureCollection","features":[{"type":"Feature","properties":{"class":7},"geometry":{"type":"Polygon","coordinates":[[],[[0]]]}}]}`)
	f.Add(`{"type":"FeatureCollection","features":[{"type":"Feature","properties":null,"geometry":null}, null]}`)
	f.Add(`{"type":"FeatureCollection","features":[{"type":"Feature","geometry":{"type":"GeometryCollection","geometries":[{"type":"Point"}]}}]}`)
	f.Add(`[]`)
	path := filepath.Join(f.TempDir(), "truth.geojson")
	tile := maptile.New(512, 511, 10) // its corner is 0, 0
	f.Fuzz(func(t *testing.T, raw string) {
		if err := os.WriteFile(path, []byte(raw), 0o600); err != nil {
			t.Fatal(err)
		}
		truth, err := ReadTruth(path)
		if err != nil {
			if !errors.Is(err, tilescout.ErrBadInput) {
				t.Fatalf("error without a kind: %v", err)
			}
			return
		}
		for _, l := range Labels(truth, tile) {
			if math.IsNaN(l.TileShare) || l.TileShare < 0 || math.IsNaN(l.ObjectShare) || l.ObjectShare < 0 {
				t.Errorf("label %+v", l)
			}
		}
	})
}

// TestTruthOfNothing: a null among the features ended the program.
func TestTruthOfNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "truth.geojson")
	if err := os.WriteFile(path, []byte(`{"type":"FeatureCollection","features":[null]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadTruth(path); !errors.Is(err, tilescout.ErrBadInput) {
		t.Errorf("ReadTruth = %v, want ErrBadInput", err)
	}
}
