package eval

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

// TestBaseline recomputes the published zero-shot figures of CLIP from its stored probabilities, exactly.
func TestBaseline(t *testing.T) {
	p, err := OpenScores(sourcetest.Shared(t, "clip", "clip_rsicd_baseline.tsv"), nil)
	if err != nil {
		t.Fatal(err)
	}
	r := p.Report()
	if r.N != 1027 || len(r.Classes) != 30 {
		t.Errorf("%d pictures, %d classes; want 1027 and 30", r.N, len(r.Classes))
	}
	hits := TopK[float64]{591, 763, 844, 956}
	r.TopK.each(func(k int, v *float64) {
		hits.each(func(k2 int, want *float64) {
			if k == k2 && *v != *want/1027 {
				t.Errorf("top-%d = %v, want %v of 1027", k, *v, *want)
			}
		})
	})
	// The data's README and docs/evaluation.md: which classes are never right, calibration, best macro-F1.
	for _, c := range r.Classes {
		if never := c.Class == "commercial" || c.Class == "playground" || c.Class == "storagetanks"; never != (c.Top1 == 0) {
			t.Errorf("%s: top-1 %.3f", c.Class, c.Top1)
		}
		if c.Class == "playground" && (c.Confused != "stadium" || c.ConfusedN != 31 || c.N != 37) {
			t.Errorf("playground: %+v, want 31 of 37 taken for stadium", c)
		}
	}
	if e := r.Calibration.ECE; math.Abs(e-.05) > .003 {
		t.Errorf("ECE %.4f, want about .050", e)
	}
	if b := r.Calibration.Best; b.At != .27 || math.Abs(b.F1-.525) > .001 {
		t.Errorf("best threshold %+v, want .27 with F1 .525", b)
	}
	var out bytes.Buffer
	if err := p.WriteScores(&out); err != nil {
		t.Fatal(err)
	}
	again, err := ReadScores(&out, "again", p.Labels)
	if err != nil {
		t.Fatal(err)
	}
	if got := again.Report().TopK; got != r.TopK {
		t.Errorf("written and read again: %v, want %v", got, r.TopK)
	}
}

func TestReadScores(t *testing.T) {
	p, err := ReadScores(strings.NewReader("a.png\tred\tred\t0.9\tblue\t0.1\nb.png\tblue\tred\t.6\tgreen\t.4\r\n\nc.png\tblue\tgreen\t1\n"), "s.tsv", nil)
	if err != nil {
		t.Fatal(err)
	}
	r := p.Report()
	// Right: a at once; b and c never, since their class is not listed, although fewer than ten are.
	if r.N != 3 || r.TopK.At1 != 1./3 || r.TopK.At10 != 1./3 {
		t.Errorf("n %d, top-k %+v; want 3 and a third", r.N, r.TopK)
	}
	if want := [][]int{{0, 1, 1}, {0, 0, 0}, {0, 0, 1}}; r.Confusion.Rows[0][2] != want[0][2] || r.Confusion.Rows[0][1] != 1 || r.Confusion.Rows[2][2] != 1 {
		t.Errorf("confusion %v of %v, want %v", r.Confusion.Rows, r.Confusion.Labels, want)
	}
	labels, _ := ReadLabels(strings.NewReader("red\nblue\n"), "l")
	if _, err := ReadScores(strings.NewReader("a.png\tred\tgreen\t.5\n"), "s.tsv", labels); !errors.Is(err, ErrUnlabelled) {
		t.Errorf("a class that no label names: %v, want %v", err, ErrUnlabelled)
	}
}

func TestBadScores(t *testing.T) {
	good := "a.png\tred\tred\t.9\tblue\t.1\n"
	for _, c := range []struct {
		name, text, says string
		kind             error
	}{
		{"nothing", "\n", "s.tsv", ErrEmpty},
		{"text", good + "hello\n", "line 2", ErrScores},
		{"a column too few", good + "b.png\tred\tred\n", "line 2", ErrScores},
		{"too many columns", good + "b.png\tred" + strings.Repeat("\tx\t0", 11) + "\n", "line 2", ErrScores},
		{"not a number", good + "b.png\tred\tred\tmuch\n", "line 2", ErrScores},
		{"NaN", good + "b.png\tred\tred\tNaN\n", "line 2", ErrScores},
		{"above one", good + "b.png\tred\tred\t1.5\n", "line 2", ErrScores},
		{"not the best first", good + "b.png\tred\tred\t.1\tblue\t.9\n", "line 2", ErrScores},
		{"a class twice", good + "b.png\tred\tred\t.5\tred\t.4\n", "line 2", ErrScores},
		{"no class", good + "b.png\t\tred\t.5\n", "line 2", ErrScores},
		{"a picture twice", good + good, "line 1", ErrScores},
		{"one class", "a.png\tred\tred\t.9\n", "two", ErrLabels},
		{"not UTF-8", good + "b\xff\tred\tred\t.5\n", "line 2", ErrScores},
		{"too long", good + strings.Repeat("x", 70<<10), "line 2", ErrTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ReadScores(strings.NewReader(c.text), "s.tsv", nil)
			if !errors.Is(err, c.kind) || !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v; want %v and a word about %q", err, c.kind, c.says)
			}
		})
	}
	if _, err := OpenScores("nowhere.tsv", nil); !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), "nowhere.tsv") {
		t.Errorf("OpenScores of no file: %v", err)
	}
}

func FuzzScores(f *testing.F) {
	f.Add("a.png\tred\tred\t0.9\tblue\t0.1\nb.png\tblue\tblue\t1\n")
	f.Add("a\tb\tc\t1e-9\n")
	f.Add("\t\t\t\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ReadScores(strings.NewReader(text), "fuzz", nil)
		if err != nil {
			if !errors.Is(err, tilescout.ErrBadInput) {
				t.Errorf("%v is no %v", err, tilescout.ErrBadInput)
			}
			return
		}
		r := p.Report()
		if r.N == 0 || !(r.TopK.At1 <= r.TopK.At3 && r.TopK.At3 <= r.TopK.At5 && r.TopK.At5 <= r.TopK.At10 && r.TopK.At10 <= 1) {
			t.Errorf("top-k %+v of %d", r.TopK, r.N)
		}
		for _, format := range Formats() {
			if err := Write(&bytes.Buffer{}, format, r); err != nil {
				t.Errorf("%s: %v", format, err)
			}
		}
	})
}
