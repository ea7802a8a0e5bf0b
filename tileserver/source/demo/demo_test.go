package demo

import (
	"context"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/geojson"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
)

var small = Options{Seed: 3, Width: 900, Height: 700}

func TestEnsurePaintsOnceAndReuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	var calls []int
	s, err := Ensure(context.Background(), dir, small, func(done, total int) {
		if total != 4 {
			t.Errorf("total %d, want 4 blocks", total)
		}
		calls = append(calls, done)
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(calls) != 4 || calls[3] != 4 {
		t.Errorf("progress %v", calls)
	}
	before, err := os.Stat(s.Image)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Ensure(context.Background(), dir, small, func(int, int) { t.Error("painted again") })
	if err != nil || again != s {
		t.Fatalf("second time: %+v, %v", again, err)
	}
	after, err := os.Stat(s.Image)
	if err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("the image was written again: %v", err)
	}
	// A file that is gone is made anew.
	if err := os.Remove(s.Truth); err != nil {
		t.Fatal(err)
	}
	if _, err := Ensure(context.Background(), dir, small, nil); err != nil {
		t.Fatal(err)
	}
	if ok, err := exist(s.Image, s.Truth); !ok || err != nil {
		t.Errorf("after the truth was lost: %v %v", ok, err)
	}
	if !strings.Contains(s.Attribution, "not a real place") {
		t.Errorf("attribution %q", s.Attribution)
	}
}

func TestEnsureCancelledLeavesNoHalfFile(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := Ensure(ctx, dir, Options{Seed: 3, Width: 700, Height: 1600}, func(done, _ int) {
		if done == 1 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %+v, %v", s, err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".geojson") {
			t.Errorf("left behind: %s", f.Name())
		}
	}
	if _, err := Ensure(context.Background(), dir, Options{Seed: 3, Width: 700, Height: 1600}, nil); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestEnsureRefuses(t *testing.T) {
	for _, o := range []Options{{Width: 10}, {Height: -4}, {Width: 1 << 20}, {Width: 1 << 15, Height: 1 << 15}} {
		if _, err := Ensure(context.Background(), t.TempDir(), o, nil); !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Ensure(context.Background(), file, small, nil); err == nil {
		t.Error("a file where the folder should be: no error")
	}
}

func TestTruthLiesInTheScene(t *testing.T) {
	s, err := Ensure(context.Background(), t.TempDir(), small, nil)
	if err != nil {
		t.Fatal(err)
	}
	fc, err := ReadTruth(s.Truth)
	if err != nil {
		t.Fatal(err)
	}
	if len(fc.Features) < 3 {
		t.Fatalf("%d features", len(fc.Features))
	}
	pad := s.Bound.Pad(1e-7)
	for _, f := range fc.Features {
		if f.Properties.MustString("class", "") == "" {
			t.Error("a feature without a class")
		}
		p := f.Geometry.(orb.Polygon)
		if b := p.Bound(); !pad.Contains(b.Min) || !pad.Contains(b.Max) {
			t.Errorf("%v reaches out of %v", b, s.Bound)
		}
		if !p[0].Closed() || p[0].Orientation() != orb.CCW {
			t.Errorf("%v: ring closed %v, orientation %v", f.Properties, p[0].Closed(), p[0].Orientation())
		}
	}
	if c := s.Bound.Center(); math.Abs(c[0]-middleLon) > 1e-3 || math.Abs(c[1]-middleLat) > 1e-3 {
		t.Errorf("middle %v", c)
	}
	// 900 pixels of 0.6 m.
	if w := (s.Bound.Max[0] - s.Bound.Min[0]) * 111_320 * math.Cos(middleLat*math.Pi/180); math.Abs(w-540) > 2 {
		t.Errorf("%.1f m wide, want 540", w)
	}
}

func TestGDALReadsTheScene(t *testing.T) {
	gdalinfo, err := exec.LookPath("gdalinfo")
	if err != nil {
		t.Skip("gdalinfo is not on PATH")
	}
	s, err := Ensure(context.Background(), t.TempDir(), small, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(gdalinfo, "-checksum", s.Image).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "LAYOUT=COG") || !strings.Contains(string(out), "Size is 900, 700") || strings.Contains(string(out), "ERROR") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestLabels lays objects on one tile by shares of its width and asks what it shows.
func TestLabels(t *testing.T) {
	tile := maptile.At(orb.Point{middleLon, middleLat}, 17)
	b := tile.Bound()
	at := func(x, y float64) orb.Point {
		return orb.Point{b.Min[0] + x*(b.Max[0]-b.Min[0]), b.Min[1] + y*(b.Max[1]-b.Min[1])}
	}
	rect := func(class string, x0, y0, x1, y1 float64) *geojson.Feature {
		f := geojson.NewFeature(orb.Polygon{{at(x0, y0), at(x1, y0), at(x1, y1), at(x0, y1), at(x0, y0)}})
		f.Properties["class"] = class
		return f
	}
	for _, tc := range []struct {
		name string
		f    *geojson.Feature
		want Answer
	}{
		{"stadium in the middle", rect("stadium", .2, .2, .8, .8), Positive},
		{"small, but whole", rect("stadium", .3, .3, .7, .6), Positive},
		{"half in, fills a third", rect("stadium", -.5, 0, .35, 1), Positive},
		{"a corner of it", rect("stadium", -.8, -.8, .3, .3), Ignore},
		{"a sliver of it", rect("stadium", -2, -.8, .01, .9), Negative},
		{"next door", rect("stadium", 1.1, 0, 2, 1), Negative},
		{"tiny, whole", rect("stadium", .4, .4, .6, .6), Ignore},
		{"forest all over", rect("forest", -1, -1, 2, 2), Positive},
		{"forest on two fifths", rect("forest", -1, -1, .4, 2), Ignore},
		{"a whole wood that fills little", rect("forest", .1, .1, .5, .5), Ignore},
		{"edge of a forest", rect("forest", -5, -1, .03, 2), Negative},
		{"bridge across", rect("bridge", .45, -.1, .54, 1.1), Positive},
		{"end of a bridge", rect("bridge", .45, -.9, .54, .15), Ignore},
		{"river bend", rect("river", 0, 0, 1, .3), Positive},
	} {
		fc := geojson.NewFeatureCollection()
		fc.Append(tc.f)
		class := tc.f.Properties.MustString("class")
		labels := Labels(fc, tile)
		if got := AnswerOf(labels, class); got != tc.want {
			t.Errorf("%s: %v, want %v (%+v)", tc.name, got, tc.want, labels)
		}
	}
	// Two objects of a class add up; the order is by name.
	fc := geojson.NewFeatureCollection()
	fc.Append(rect("parking lot", 0, 0, .16, 1))
	fc.Append(rect("parking lot", .8, 0, 1.6, 1))
	fc.Append(rect("bridge", .4, 0, .5, 1))
	labels := Labels(fc, tile)
	if len(labels) != 2 || labels[0].Class != "bridge" || labels[1].Class != "parking lot" {
		t.Fatalf("%+v", labels)
	}
	if l := labels[1]; math.Abs(l.TileShare-.36) > .001 || math.Abs(l.ObjectShare-1) > .001 || l.Answer != Positive {
		t.Errorf("%+v", l)
	}
}

func TestReadTruthRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "truth.geojson")
	if _, err := ReadTruth(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, []byte("<html>"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadTruth(path); !errors.Is(err, tilescout.ErrBadInput) {
		t.Errorf("no JSON: %v", err)
	}
}
