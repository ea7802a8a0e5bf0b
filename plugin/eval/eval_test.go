package eval

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

// colours is a set of n pictures a class, in a folder.
func colours(t testing.TB, n int, classes ...string) *Set {
	t.Helper()
	dir := t.TempDir()
	for _, c := range classes {
		for i := range n {
			put(t, filepath.Join(dir, fmt.Sprintf("%s_%d.png", c, i)), coloured(c, uint64(i)))
		}
	}
	s, err := OpenSet(t.Context(), dir, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func labels(t testing.TB, arg string) []Label {
	t.Helper()
	l, err := ParseLabels(arg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestZeroShot(t *testing.T) {
	s := colours(t, 4, "red", "green", "blue")
	for _, tta := range []int{0, 4, 8} {
		p, err := ZeroShot(t.Context(), encodertest.Fake{}, s, labels(t, "red,green,blue"), Options{TTA: tta, Templates: []string{"{}", "a {} field"}})
		if err != nil {
			t.Fatal(err)
		}
		r := p.Report()
		if r.N != 12 || r.TopK.At1 != 1 || r.MAP != 1 || len(r.Mistakes) != 0 || r.Confusion.Rows[0][0] != 4 {
			t.Errorf("tta %d: n %d, top-1 %v, mAP %v, mistakes %v", tta, r.N, r.TopK.At1, r.MAP, r.Mistakes)
		}
		if r.Model == nil || r.Model.ID != "fake" || len(r.Templates) != 2 || len(r.Calibration.Bins) == 0 || r.Calibration.Vocabulary == nil || r.Calibration.Vocabulary.Top1 != 1 {
			t.Errorf("tta %d: report lacks model, templates or calibration: %+v", tta, r)
		}
	}
	// Swapped phrases: everything of the two is wrong, and said so.
	p, err := ZeroShot(t.Context(), encodertest.Fake{}, s, []Label{{Class: "red", Phrase: "blue"}, {Class: "blue", Phrase: "red"}, {Class: "green", Phrase: "green"}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := p.Report()
	if r.TopK.At1 != 1./3 || len(r.Mistakes) != 8 || r.Classes[0].Confused != "blue" || r.Classes[0].ConfusedN != 4 {
		t.Errorf("swapped phrases: top-1 %v, mistakes %d, %+v", r.TopK.At1, len(r.Mistakes), r.Classes[0])
	}
	p.Illustrate(r)
	if len(r.Mistakes[0].Thumbnail) == 0 {
		t.Error("no picture of a mistake")
	}
	for _, format := range Formats() {
		var b bytes.Buffer
		if err := Write(&b, format, r); err != nil {
			t.Fatal(err)
		}
		checkForm(t, format, b.Bytes(), 4)
	}
	if err := Write(&bytes.Buffer{}, "xml", r); !errors.Is(err, tilescout.ErrBadInput) {
		t.Errorf("xml: %v", err)
	}
}

// checkForm reads what was written as what it is said to be.
func checkForm(t *testing.T, format string, out []byte, rows int) {
	t.Helper()
	switch format {
	case "json":
		var v map[string]any
		if err := json.Unmarshal(out, &v); err != nil || len(v) < 4 {
			t.Errorf("json: %v in %s", err, out)
		}
	case "csv":
		list, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
		if err != nil || len(list) != rows || len(list[0]) < 4 {
			t.Errorf("csv: %v, %d rows, want %d", err, len(list), rows)
		}
	case "html":
		page := string(out)
		for _, bad := range []string{"http://", "https://", "<script", "src=\"/", "ZgotmplZ"} {
			if strings.Contains(page, bad) {
				t.Errorf("the page has %q in it: it must load nothing", bad)
			}
		}
		if !strings.Contains(page, "prefers-color-scheme") || !strings.HasSuffix(strings.TrimSpace(page), "</html>") {
			t.Error("the page is cut off or has one colour scheme")
		}
	case "table":
		if bytes.Count(out, []byte("\n")) < rows {
			t.Errorf("table of %d lines", bytes.Count(out, []byte("\n")))
		}
	}
}

// TestPageEscapes: a class is a stranger's text.
func TestPageEscapes(t *testing.T) {
	p, err := ReadScores(strings.NewReader("<img src=x onerror=alert(1)>a\tb<script>\tc\"'&\t1\n"), "s", nil)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Write(&b, "html", p.Report()); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<img src=x", "<script", "onerror=alert(1)>a</"} {
		if strings.Contains(b.String(), bad) {
			t.Errorf("the page has %q in it", bad)
		}
	}
}

// TestJSON pins the keys that programs rely on.
func TestJSON(t *testing.T) {
	p, err := ReadScores(strings.NewReader("a\tred\tred\t.9\tblue\t.1\nb\tblue\tred\t.6\tblue\t.4\n"), "s", nil)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Write(&b, "json", p.Report()); err != nil {
		t.Fatal(err)
	}
	var v struct {
		N           int
		TopK        map[string]float64
		Classes     []map[string]any
		Confusion   struct{ Labels []string }
		Calibration map[string]any
		Model       any
		Templates   []string
	}
	if err := json.Unmarshal(b.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	if v.N != 2 || len(v.TopK) != 4 || v.TopK["1"] != .5 || v.TopK["3"] != 1 || v.TopK["5"] != 1 || v.TopK["10"] != 1 || len(v.Classes) != 2 || v.Calibration["ece"] == nil || v.Model != nil {
		t.Errorf("json: %+v", v)
	}
}

func TestBadMeasurements(t *testing.T) {
	s := colours(t, 2, "red", "green", "blue")
	dir := t.TempDir()
	put(t, filepath.Join(dir, "red_1.png"), coloured("red", 1))
	bad := put(t, filepath.Join(dir, "blue_1.png"), []byte("this is no picture"))
	broken, err := OpenSet(t.Context(), dir, "")
	if err != nil {
		t.Fatal(err)
	}
	defer broken.Close()
	one := colours(t, 2, "red")
	for _, c := range []struct {
		name   string
		set    *Set
		labels string
		o      Options
		kind   error
		says   string
	}{
		{"a class without a label", s, "red,green", Options{}, ErrUnlabelled, "blue"},
		{"a label never seen", s, "red,green,blue,stadium", Options{}, ErrUnseenLabel, "stadium"},
		{"a picture that is none", broken, "red,blue", Options{}, ErrPicture, filepath.Base(bad)},
		{"a picture that is none, turned", broken, "red,blue", Options{TTA: 8}, ErrPicture, filepath.Base(bad)},
		{"no label fits", s, "stadium,forest", Options{SkipUnlabelled: true}, ErrEmpty, "label"},
		{"data of one class", one, "", Options{}, ErrLabels, "two"},
		{"a template without a place", s, "red,green,blue", Options{Templates: []string{"a photo"}}, tilescout.ErrBadInput, "a photo"},
		{"a template with two places", s, "red,green,blue", Options{Templates: []string{"{} {}"}}, tilescout.ErrBadInput, "{} {}"},
		{"three orientations", s, "red,green,blue", Options{TTA: 3}, tilescout.ErrBadInput, "3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var l []Label
			if c.labels != "" {
				l = labels(t, c.labels)
			}
			_, err := ZeroShot(t.Context(), encodertest.Fake{}, c.set, l, c.o)
			if !errors.Is(err, c.kind) || !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v; want %v and a word about %q", err, c.kind, c.says)
			}
		})
	}
	if p, err := ZeroShot(t.Context(), encodertest.Fake{}, s, labels(t, "red,green"), Options{SkipUnlabelled: true}); err != nil || p.Report().N != 4 || p.Report().Skipped != 2 {
		t.Errorf("skipping the unlabelled: %v", err)
	}
	if p, err := ZeroShot(t.Context(), encodertest.Fake{}, s, labels(t, "red,green,blue,white"), Options{KeepUnseen: true}); err != nil || p.Report().N != 6 {
		t.Errorf("keeping an unseen label: %v", err)
	}
	if _, err := Retrieve(t.Context(), encodertest.Fake{}, s, Options{}); !errors.Is(err, ErrEmpty) {
		t.Errorf("retrieval without captions: %v, want %v", err, ErrEmpty)
	}
	if _, err := Robust(t.Context(), encodertest.Fake{}, s, nil, RobustOptions{Curve: "time"}); !errors.Is(err, tilescout.ErrBadInput) {
		t.Errorf("an unknown curve: %v", err)
	}
}

// TestUnnamed: scenes marked so count only where a label names their class.
func TestUnnamed(t *testing.T) {
	dir := t.TempDir()
	var text string
	for i, c := range []string{"red", "blue", "grey", "red", "blue", "grey"} {
		file := fmt.Sprintf("%d.png", i)
		put(t, filepath.Join(dir, "set", file), coloured(c, uint64(i)))
		text += fmt.Sprintf(`{"file":%q,"class":%q,"named":%v}`+"\n", file, c, c != "grey")
	}
	s, err := OpenSet(t.Context(), put(t, filepath.Join(dir, "set.jsonl"), []byte(text)), "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, c := range []struct {
		labels     []Label
		n, skipped int
	}{{nil, 4, 2}, {labels(t, "red,blue"), 4, 2}, {labels(t, "red,blue,grey"), 6, 0}} {
		p, err := ZeroShot(t.Context(), encodertest.Fake{}, s, c.labels, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if r := p.Report(); r.N != c.n || r.Skipped != c.skipped {
			t.Errorf("%d labels: n %d, skipped %d; want %d and %d", len(c.labels), r.N, r.Skipped, c.n, c.skipped)
		}
	}
}

func TestRetrieve(t *testing.T) {
	s, err := OpenSet(t.Context(), small(t, t.TempDir()), "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := Retrieve(t.Context(), encodertest.Fake{}, s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Images != 8 || r.Captions != 16 || r.ImageToText.At1 != 1 || r.TextToImage.At5 != 1 || r.MR <= 0 || r.MR > 100 {
		t.Errorf("%+v", r)
	}
	for _, format := range Formats() {
		var b bytes.Buffer
		if err := Write(&b, format, r); err != nil {
			t.Fatal(err)
		}
		checkForm(t, format, b.Bytes(), 3)
	}
}

// TestRobust runs every disturbance; a fake that sees mean colours stands JPEG and rotation, not greyscale.
func TestRobust(t *testing.T) {
	s := colours(t, 1, "red", "blue")
	r, err := Robust(t.Context(), encodertest.Fake{}, s, labels(t, "red,blue"), RobustOptions{})
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]DisturbanceRow{}
	for _, row := range r.Rows {
		byName[row.Name] = row
		if row.N != 2 || !(row.Top1 <= row.Top3) || row.Cosine > 1.001 {
			t.Errorf("%+v", row)
		}
	}
	for _, name := range []string{"none, as 256 px tile", "JPEG quality 20", "turned 90°", "turned 45°", "mirrored", "map labels", "25 % transparent", "blur"} {
		if row, ok := byName[name]; !ok || row.Top1 != 1 {
			t.Errorf("%s: %+v, want top-1 of 1", name, row)
		}
	}
	if row := byName["greyscale"]; row.Top1 > .5 || row.Difference >= 0 {
		t.Errorf("greyscale: %+v, want a loss", row)
	}
	curve, err := Robust(t.Context(), encodertest.Fake{}, s, nil, RobustOptions{Curve: "gsd"})
	if err != nil || len(curve.Rows) < 10 || curve.Rows[0].Factor >= curve.Rows[1].Factor {
		t.Errorf("curve: %v, %+v", err, curve)
	}
	for _, format := range Formats() {
		var b bytes.Buffer
		if err := Write(&b, format, r); err != nil {
			t.Fatal(err)
		}
		checkForm(t, format, b.Bytes(), len(r.Rows)+1)
	}
}

// bundledModel opens the model inside the program, or skips.
func bundledModel(t testing.TB) *encoder.Encoder {
	t.Helper()
	e, err := encoder.Open(t.Context(), encoder.Options{Library: encodertest.Library(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// TestBundledOnValid measures the bundled model on a sixth of RSICD's validation scenes; training/README.md has the
// figures of all of them. The classes are asked by their glued ids, which have to be split.
func TestBundledOnValid(t *testing.T) {
	if testing.Short() {
		t.Skip("embeds 180 pictures")
	}
	e := bundledModel(t)
	s, err := OpenSet(t.Context(), sourcetest.Shared(t, "scenes", "rsicd_valid.jsonl"), "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	j, err := join(s, must(labelsOf(s)), false, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(j.labels) != 30 || len(j.scenes) != 1016 {
		t.Fatalf("%d classes, %d pictures; want 30 and 1016", len(j.labels), len(j.scenes))
	}
	j.thin(180)
	few := &Set{Name: s.Name, store: s.store}
	for _, i := range j.scenes {
		few.Scenes = append(few.Scenes, s.Scenes[i])
	}
	p, err := ZeroShot(t.Context(), e, few, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := p.Report()
	t.Logf("top-1/3/5/10 %.3f/%.3f/%.3f/%.3f of %d", r.TopK.At1, r.TopK.At3, r.TopK.At5, r.TopK.At10, r.N)
	if r.TopK.At1 < .75 || r.TopK.At5 < .93 {
		t.Errorf("top-1 %.3f, top-5 %.3f: the model or its way in is broken", r.TopK.At1, r.TopK.At5)
	}
	for _, c := range r.Classes {
		if len(c.Unknown) > 0 {
			t.Errorf("%s asked as %q, of which the model does not know %q", c.Class, c.Phrase, c.Unknown)
		}
	}
	if r.Presence == nil || r.Presence.AUROC < .8 || r.Calibration.ECE > .15 || math.IsNaN(r.Calibration.Best.F1) {
		t.Errorf("presence %+v, calibration %+v", r.Presence, r.Calibration)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestThin(t *testing.T) {
	j := joined{labels: make([]Label, 3)}
	for i := range 100 {
		j.scenes, j.truth = append(j.scenes, i), append(j.truth, min(2, i/10))
	}
	j.thin(20)
	count := [3]int{}
	for _, l := range j.truth {
		count[l]++
	}
	if len(j.scenes) != 20 || count != [3]int{2, 2, 16} {
		t.Errorf("%d scenes, %v of each class; want 20 and 2, 2, 16", len(j.scenes), count)
	}
}
