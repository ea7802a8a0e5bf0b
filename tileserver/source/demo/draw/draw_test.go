package draw

import (
	"math"
	"testing"
)

func TestCoverIsExactArea(t *testing.T) {
	c := NewCanvas(60, 50, 0.5, NewNoise(1))
	for _, tc := range []struct {
		name string
		ring []Pt
		want float64 // square metres inside the canvas of 30 × 25 m
	}{
		{"pixel-aligned square", []Pt{{2, 2}, {12, 2}, {12, 12}, {2, 12}}, 100},
		{"the other way round", []Pt{{2, 12}, {12, 12}, {12, 2}, {2, 2}}, 100},
		{"off the grid", []Pt{{2.13, 2.31}, {12.13, 2.31}, {12.13, 12.31}, {2.13, 12.31}}, 100},
		{"triangle", []Pt{{3.3, 4.1}, {20.7, 6.2}, {9.9, 21.5}}, 144.45},
		{"sliver", []Pt{{1, 1}, {28, 1.2}, {28, 1.4}, {1, 1.1}}, 4.05},
		{"over all edges", []Pt{{-50, -50}, {90, -50}, {90, 90}, {-50, 90}}, 750},
		{"over the left edge", []Pt{{-10, 5}, {10, 5}, {10, 15}, {-10, 15}}, 100},
		{"over the right edge", []Pt{{25, 5}, {45, 5}, {45, 15}, {25, 15}}, 50},
		{"outside", []Pt{{40, 40}, {50, 40}, {50, 50}}, 0},
	} {
		sum := 0.0
		c.Cover([][]Pt{tc.ring}, func(_, x int, cov []float32) {
			if x < 0 || x+len(cov) > c.W {
				t.Fatalf("%s: columns %d…%d", tc.name, x, x+len(cov))
			}
			for _, v := range cov {
				sum += float64(v)
			}
		})
		if got := sum * 0.25; math.Abs(got-tc.want) > 0.02*tc.want+0.05 {
			t.Errorf("%s: area %.3f, want %.3f", tc.name, got, tc.want)
		}
	}
}

func TestNoiseTilesAndStaysInRange(t *testing.T) {
	n := NewNoise(5)
	lo, hi := float32(9), float32(-9)
	for i := range 4000 {
		x, y := float32(i)*0.37-300, float32(i)*0.53-200
		v := n.At(x, y)
		lo, hi = min(lo, v), max(hi, v)
		if w := n.At(x+texSide, y-texSide); math.Abs(float64(v-w)) > 0.02 {
			t.Fatalf("at %g %g: %g, one period on %g", x, y, v, w)
		}
	}
	if lo < -1.2 || hi > 1.2 || hi-lo < 0.8 {
		t.Errorf("range %g…%g", lo, hi)
	}
	if NewNoise(5).At(3.3, 4.4) != n.At(3.3, 4.4) || NewNoise(6).At(3.3, 4.4) == n.At(3.3, 4.4) {
		t.Error("the seed does not decide the texture")
	}
}

func TestShadowFallsAwayFromTheSun(t *testing.T) {
	c := NewCanvas(80, 80, 0.5, NewNoise(1))
	c.Reset(0, 0, 80, 80)
	ground := Mat{C: RGB{150, 150, 150}}
	c.Blend([][]Pt{{{0, 0}, {40, 0}, {40, 40}, {0, 40}}}, &ground, -1)
	c.Blend([][]Pt{{{15, 20}, {25, 20}, {25, 30}, {15, 30}}}, &ground, 8) // 8 m high
	l := NewLight(180, 45, 0.5)
	l.Shadow, l.Gain, l.Gamma, l.Colour = RGB{.4, .4, .4}, RGB{1, 1, 1}, 1, 1
	out := make([]byte, 80*80*3)
	c.Develop(&l, 0, 0, 80, 80, out, 240)
	at := func(x, y float64) byte { return out[(int(y/0.5)*80+int(x/0.5))*3] }
	if v := at(20, 16); v > 90 {
		t.Errorf("4 m north of the block: %d, want shadow", v)
	}
	if v := at(20, 9); v < 130 {
		t.Errorf("11 m north of the block: %d, want light: at 45° the shadow is as long as the block is high", v)
	}
	if v := at(20, 33); v < 130 {
		t.Errorf("south of the block: %d, want light", v)
	}
}

func BenchmarkBlend(b *testing.B) {
	c := NewCanvas(512, 512, 0.6, NewNoise(1))
	m := Mat{C: RGB{90, 100, 60}, D: RGB{120, 110, 80}, Size: 60, Sharp: 1, Grain: .1, Mid: .1, Large: .1}
	ring := []Pt{{5, 5}, {300, 12}, {290, 300}, {9, 280}}
	for b.Loop() {
		c.Blend([][]Pt{ring}, &m, -1)
	}
	b.ReportMetric(float64(b.N)*area(ring)/0.36/b.Elapsed().Seconds()/1e6, "Mpx/s")
}

func area(p []Pt) float64 {
	s := 0.0
	for i, q := range p {
		r := p[(i+1)%len(p)]
		s += float64(q.X*r.Y - r.X*q.Y)
	}
	return math.Abs(s) / 2
}
