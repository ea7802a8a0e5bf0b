package eval

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestAveragePrecision(t *testing.T) {
	for _, c := range []struct {
		name string
		list []judged
		want float64
	}{
		{"in order", []judged{{.9, true}, {.8, false}, {.7, true}, {.1, false}}, (1 + 2./3) / 2},
		{"out of order", []judged{{.1, false}, {.7, true}, {.9, true}, {.8, false}}, (1 + 2./3) / 2},
		{"all equal: the share of right ones", []judged{{.5, true}, {.5, false}, {.5, false}, {.5, false}}, .25},
		{"perfect", []judged{{.9, true}, {.1, false}}, 1},
		{"none right", []judged{{.9, false}}, math.NaN()},
	} {
		if got := averagePrecision(c.list); math.Abs(got-c.want) > 1e-12 && !(math.IsNaN(got) && math.IsNaN(c.want)) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestAUROC(t *testing.T) {
	for _, c := range []struct {
		list []judged
		want float64
	}{
		{[]judged{{.9, true}, {.1, false}}, 1},
		{[]judged{{.1, true}, {.9, false}}, 0},
		{[]judged{{.5, true}, {.5, false}}, .5},
		{[]judged{{.9, true}, {.5, false}, {.5, true}, {.1, false}}, .875},
	} {
		if got := auroc(c.list); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("auroc(%v) = %v, want %v", c.list, got, c.want)
		}
	}
	// Against the definition, on scores with many ties.
	rng := rand.New(rand.NewPCG(1, 1))
	var list []judged
	for range 300 {
		list = append(list, judged{float64(rng.IntN(20)), rng.IntN(3) == 0})
	}
	wins, pairs := 0.0, 0.0
	for _, a := range list {
		for _, b := range list {
			if a.right && !b.right {
				pairs++
				if a.score > b.score {
					wins++
				} else if a.score == b.score {
					wins += .5
				}
			}
		}
	}
	if got := auroc(list); math.Abs(got-wins/pairs) > 1e-12 {
		t.Errorf("auroc = %v, want %v", got, wins/pairs)
	}
}

func TestCalibrationError(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	var honest, boastful []judged
	for range 30000 {
		p := rng.Float64()
		honest = append(honest, judged{p, rng.Float64() < p})
		boastful = append(boastful, judged{p, rng.Float64() < p/2})
	}
	e, bins := calibrationError(honest)
	if e > .02 || len(bins) != eceBins || bins[0].N != 2000 {
		t.Errorf("honest scores: ECE %.3f in %d bins, want about 0 in %d", e, len(bins), eceBins)
	}
	if e, _ := calibrationError(boastful); math.Abs(e-.25) > .02 {
		t.Errorf("scores twice as high as they should be: ECE %.3f, want .25", e)
	}
	if e, bins := calibrationError([]judged{{1, true}}); e != 0 || len(bins) != 1 {
		t.Errorf("one sure right answer: %v, %v", e, bins)
	}
}

func TestWilson(t *testing.T) {
	// Newcombe 1998, table I: 81 of 263, .2553 to .3662.
	if i := wilson(81./263, 263); math.Abs(i[0]-.2553) > 1e-4 || math.Abs(i[1]-.3662) > 1e-4 {
		t.Errorf("wilson(81/263) = %v, want .2553 .3662", i)
	}
	for _, i := range []Interval{wilson(0, 10), wilson(1, 10), wilson(0, 0)} {
		if !(i[0] >= 0 && i[0] <= i[1] && i[1] <= 1) {
			t.Errorf("interval %v", i)
		}
	}
}

func TestPresence(t *testing.T) {
	perfect := make([]judged, 300)
	useless := make([]judged, 300)
	rng := rand.New(rand.NewPCG(3, 3))
	for i := range perfect {
		perfect[i] = judged{.01, i < 10}
		if i < 10 {
			perfect[i].score = .95
		}
		useless[i] = judged{rng.Float64() * .5, i < 10}
	}
	v := verdict{.7, .6, .4}
	p := presence([][]judged{perfect}, v)
	if p == nil || p.AUROC != 1 || p.AUROCTop3 != 1 || p.Found != 1 || p.FalseAlarm != 0 || p.Views != viewRounds || p.Tiles != viewTiles {
		t.Errorf("perfect scores: %+v", p)
	}
	p = presence([][]judged{useless, useless, useless}, v)
	if p == nil || math.Abs(p.AUROC-.5) > .3 || p.Found != 0 {
		t.Errorf("useless scores: %+v", p)
	}
	if p := presence([][]judged{perfect[:20]}, v); p != nil {
		t.Errorf("too few pictures: %+v, want nothing", p)
	}
}

// TestRanks counts by hand: any of a picture's own captions counts, its other ones do not stand in the way.
func TestRanks(t *testing.T) {
	images := [][]float32{{1, 0}, {0, 1}, {.6, .8}}
	texts := [][]float32{{1, 0}, {.8, .6}, {0, 1}} // two of the first picture, one of the second
	own, text := ranks(images, texts, []int{0, 0, 1})
	if len(own) != 2 || own[0] != 0 || own[1] != 0 {
		t.Errorf("image to text %v, want two of rank 0", own)
	}
	// (.8,.6): .8 with its own, .96 with the third picture.
	if text[0] != 0 || text[1] != 1 || text[2] != 0 {
		t.Errorf("text to image %v, want 0 1 0", text)
	}
}
