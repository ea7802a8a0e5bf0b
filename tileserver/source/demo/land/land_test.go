package land

import (
	"context"
	"errors"
	"hash/fnv"
	"math"
	"runtime"
	"testing"

	"github.com/tilescout/tilescout/tileserver/source/demo/draw"
)

func paint(t *testing.T, w *World, x, y, width, height int) []byte {
	t.Helper()
	buf := make([]byte, width*height*3)
	if err := w.Paint(context.Background(), x, y, width, height, 2, buf); err != nil {
		t.Fatal(err)
	}
	return buf
}

// TestSeedDecidesEverything: the same seed gives the same pixels; the layout's hash is the same everywhere, the
// pixels' hash where floating point is not fused.
func TestSeedDecidesEverything(t *testing.T) {
	a, b := New(3, 900, 700), New(3, 900, 700)
	pa, pb := paint(t, a, 0, 0, 900, 700), paint(t, b, 0, 0, 900, 700)
	ha, hb := fnv.New64a(), fnv.New64a()
	ha.Write(pa)
	hb.Write(pb)
	if ha.Sum64() != hb.Sum64() {
		t.Fatal("the same seed gave other pixels")
	}
	if c := paint(t, New(4, 900, 700), 0, 0, 900, 700); string(c) == string(pa) {
		t.Error("another seed gave the same pixels")
	}
	layout := fnv.New64a()
	for _, f := range a.Features {
		layout.Write([]byte(f.Class))
		for _, p := range f.Ring {
			layout.Write([]byte{byte(int(p.X)), byte(int(p.Y))})
		}
	}
	t.Logf("layout %#x, pixels %#x", layout.Sum64(), ha.Sum64())
	if got := layout.Sum64(); got != wantLayout {
		t.Errorf("layout %#x, want %#x: if the painter was changed on purpose, bump demo.PainterVersion and put this here", got, wantLayout)
	}
	if got := ha.Sum64(); runtime.GOARCH == "amd64" && got != wantPixels {
		t.Errorf("pixels %#x, want %#x: if the painter was changed on purpose, bump demo.PainterVersion and put this here", got, wantPixels)
	}
}

// TestWindowsAgree: a window is the same whatever else is painted with it, so there are no seams between blocks.
func TestWindowsAgree(t *testing.T) {
	w := New(5, 2400, 2000)
	whole := paint(t, w, 300, 400, 1100, 700)
	part := paint(t, w, 710, 650, 330, 290)
	far, sum := 0, 0.0
	for y := range 290 {
		for x := range 330 * 3 {
			d := int(part[y*330*3+x]) - int(whole[((y+250)*1100+410)*3+x])
			if d < 0 {
				d = -d
			}
			sum += float64(d)
			if d > 12 {
				far++
			}
		}
	}
	n := float64(290 * 330 * 3)
	if float64(far)/n > 0.001 || sum/n > 0.05 {
		t.Errorf("%d of %.0f values differ by more than 12, mean difference %.4f", far, n, sum/n)
	}
}

// TestSceneHoldsTheConcepts: what people search for first is there, several times, big enough and inside.
func TestSceneHoldsTheConcepts(t *testing.T) {
	for _, seed := range []uint64{2, 1, 7, 1001, 1002, 77} {
		w := New(seed, 6144, 5120)
		count := map[string]int{}
		for _, f := range w.Features {
			count[f.Class]++
			for _, p := range f.Ring {
				if p.X < -.01 || p.Y < -.01 || p.X > 6144*GSD+.01 || p.Y > 5120*GSD+.01 {
					t.Fatalf("seed %d: %s reaches out of the picture: %v", seed, f.Class, p)
				}
			}
		}
		for class, want := range map[string]int{"stadium": 3, "airport": 1, "harbor": 2, "storage tanks": 3, "parking lot": 5, "forest": 3,
			"bridge": 4, "baseball field": 3, "runway": 1, "beach": 1, "river": 1, "dense residential area": 3, "medium residential area": 3,
			"sparse residential area": 2, "industrial area": 3, "commercial area": 2, "farmland": 3, "desert": 1, "viaduct": 1, "playground": 3} {
			if count[class] < want {
				t.Errorf("seed %d: %d of %q, want %d", seed, count[class], class, want)
			}
		}
		for _, f := range w.Features {
			if f.Class == "runway" {
				long := 0.0
				for _, p := range f.Ring {
					for _, q := range f.Ring {
						long = max(long, math.Hypot(float64(p.X-q.X), float64(p.Y-q.Y)))
					}
				}
				if long < 1100 {
					t.Errorf("seed %d: runway of %.0f m", seed, long)
				}
			}
		}
	}
}

func TestSmallAndOddScenes(t *testing.T) {
	for _, tc := range [][2]int{{64, 64}, {100, 1500}, {1500, 100}, {513, 511}} {
		for seed := range uint64(3) {
			w := New(seed+1, tc[0], tc[1])
			buf := paint(t, w, 0, 0, tc[0], tc[1])
			var mean float64
			for _, v := range buf {
				mean += float64(v)
			}
			if mean /= float64(len(buf)); mean < 20 || mean > 235 {
				t.Errorf("%v seed %d: mean %.0f", tc, seed+1, mean)
			}
		}
	}
}

func TestPaintStopsWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w := New(1, 3000, 3000)
	if err := w.Paint(ctx, 0, 0, 3000, 3000, 1, make([]byte, 3000*3000*3)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestClip(t *testing.T) {
	b := draw.Box{X1: 10, Y1: 10}
	for _, tc := range []struct {
		ring []draw.Pt
		want float64
	}{
		{[]draw.Pt{{X: -5, Y: -5}, {X: 5, Y: -5}, {X: 5, Y: 5}, {X: -5, Y: 5}}, 25},
		{[]draw.Pt{{X: 2, Y: 2}, {X: 4, Y: 2}, {X: 4, Y: 4}}, 2},
		{[]draw.Pt{{X: 20, Y: 20}, {X: 40, Y: 20}, {X: 40, Y: 40}}, 0},
	} {
		if got := area(clip(tc.ring, b)); math.Abs(got-tc.want) > 1e-4 {
			t.Errorf("%v: area %g, want %g", tc.ring, got, tc.want)
		}
	}
}

func BenchmarkPaint(b *testing.B) {
	w := New(7, 6144, 5120)
	buf := make([]byte, 1024*1024*3)
	for b.Loop() {
		if err := w.Paint(context.Background(), 2000, 2000, 1024, 1024, 1, buf); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*1024*1024/b.Elapsed().Seconds()/1e6, "Mpx/s")
}
