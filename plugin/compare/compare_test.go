package compare_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"image"
	"image/color"
	"image/png"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache/index"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/plugin"
	"github.com/tilescout/tilescout/plugin/compare"
	"github.com/tilescout/tilescout/plugin/search"
)

const zoom = 10

// board is 4 × 4 tiles in a row of colours.
type board struct{ title string }

func at(x, y uint32) maptile.Tile { return maptile.New(512+x, 340+y, zoom) }

func (b board) Info() tilescout.LayerInfo {
	bound := geo.Bound(at(0, 0)).Union(geo.Bound(at(3, 3)))
	// A hair inside, so that the neighbours are not touched.
	bound.Min[0], bound.Min[1], bound.Max[0], bound.Max[1] = bound.Min[0]+1e-9, bound.Min[1]+1e-9, bound.Max[0]-1e-9, bound.Max[1]-1e-9
	return tilescout.LayerInfo{ID: "board", Title: b.title, Version: "1", TileSize: 256, MinZoom: zoom - 1, MaxZoom: zoom, Bound: bound}
}

func (b board) Tile(_ context.Context, t maptile.Tile) (tilescout.Picture, error) {
	if t.Z != zoom || t.X < 512 || t.X > 515 || t.Y < 340 || t.Y > 343 {
		return tilescout.Picture{}, tilescout.ErrNotFound
	}
	img := image.NewNRGBA(image.Rect(0, 0, 4, 4))
	c := color.NRGBA{uint8(80 * (t.X - 512)), uint8(60 * (t.Y - 340)), 40, 255}
	for i := range 16 {
		img.SetNRGBA(i%4, i/4, c)
	}
	var out bytes.Buffer
	err := png.Encode(&out, img)
	return tilescout.Picture{Data: out.Bytes(), MediaType: tilescout.PNG}, err
}

// named gives the fake a name and a digest.
type named struct {
	encodertest.Fake
	id string
}

func (n named) Model() encoder.Model {
	m := n.Fake.Model()
	m.ID, m.Digest = n.id, strings.Repeat(n.id[:1], 64)
	return m
}

func engine(t *testing.T, dim int, id string, b board) *search.Engine {
	t.Helper()
	store, err := index.Open(t.TempDir(), index.Options{MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	e, err := search.New(t.Context(), named{encodertest.Fake{Dim: dim, Unknown: []string{"zorp"}}, id}, store, search.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(); store.Close() })
	if err := e.Add(t.Context(), b, search.LayerOptions{Zooms: []maptile.Zoom{zoom}}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Index(t.Context(), "board", search.IndexOptions{}); err != nil {
		t.Fatal(err)
	}
	return e
}

// TestRun: a model agrees with itself in everything, and with another one in part.
func TestRun(t *testing.T) {
	b := board{"Board"}
	one, same, other := engine(t, 16, "one", b), engine(t, 16, "same", b), engine(t, 48, "other", b)
	prompts := []string{"red", "green", "zorp"}
	r, err := compare.Run(t.Context(), one, same, "board", prompts, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Tiles != 16 || len(r.Prompts) != 3 || r.Shared != 1 || r.Correlation == nil || *r.Correlation != 1 {
		t.Errorf("a model and itself: %+v", r)
	}
	for _, p := range r.Prompts[:2] {
		if p.Shared != p.Of || p.Of == 0 || p.A.Max != p.B.Max || p.Correlation == nil || *p.Correlation != 1 {
			t.Errorf("%s: %+v", p.Prompt, p)
		}
	}
	if p := r.Prompts[2]; p.Of != 0 || p.Correlation != nil || len(p.A.Unknown) != 1 {
		t.Errorf("an unknown word: %+v", p)
	}
	if r, err = compare.Run(t.Context(), one, other, "board", prompts[:1], nil); err != nil || r.Correlation == nil || *r.Correlation == 1 || math.Abs(*r.Correlation) > 1 {
		t.Errorf("two models: %+v, %v", r, err)
	}
	cell := geo.Bound(at(2, 2))
	box := &geo.BBox{West: cell.Min[0] + 1e-9, South: cell.Min[1] + 1e-9, East: cell.Max[0] - 1e-9, North: cell.Max[1] - 1e-9}
	if r, err = compare.Run(t.Context(), one, other, "board", prompts[:1], box); err != nil || r.Tiles != 1 || len(r.Prompts[0].A.Best) != 1 || r.Prompts[0].A.Best[0].At != at(2, 2) {
		t.Errorf("in a box of one tile: %+v, %v", r, err)
	}
	for name, prompts := range map[string][]string{"none": nil, "empty": {" "}} {
		if _, err := compare.Run(t.Context(), one, other, "board", prompts, nil); !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("%s: %v, want ErrBadInput", name, err)
		}
	}
	if _, err := compare.Run(t.Context(), one, other, "nowhere", []string{"red"}, nil); !errors.Is(err, tilescout.ErrNotFound) {
		t.Errorf("no such layer: %v", err)
	}
	if got := compare.Prompts(t.Context(), one, other, "board", 5); len(got) == 0 || len(got) > 5 {
		t.Errorf("suggested prompts: %q", got)
	}
}

func TestSpearman(t *testing.T) {
	for _, c := range []struct {
		name string
		x, y []float64
		want float64
	}{
		{"same order", []float64{1, 2, 9}, []float64{.1, .2, .3}, 1},
		{"reversed", []float64{1, 2, 3}, []float64{3, 2, 1}, -1},
		{"ties", []float64{1, 1, 2, 3}, []float64{1, 2, 3, 4}, .9486832980505138},
		{"one is all the same", []float64{1, 1, 1}, []float64{1, 2, 3}, math.NaN()},
		{"nothing", nil, nil, math.NaN()},
	} {
		if got := compare.Spearman(c.x, c.y); math.Abs(got-c.want) > 1e-12 || math.IsNaN(got) != math.IsNaN(c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestWrite: each form says the same, and the page loads nothing and takes no name for markup.
func TestWrite(t *testing.T) {
	b := board{`<script>alert("board")</script>`}
	one, other := engine(t, 16, "one", b), engine(t, 48, `o<img src=x onerror=alert(1)>`, b)
	r, err := compare.Run(t.Context(), one, other, "board", []string{"red", "zorp"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var text, doc, table, page bytes.Buffer
	if err := errors.Join(r.Text(&text), r.JSON(&doc), r.CSV(&table)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"red", "16 tiles of board", "unknown word"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, &text)
		}
	}
	var back compare.Report
	if err := json.Unmarshal(doc.Bytes(), &back); err != nil || len(back.Prompts) != 2 || back.Prompts[0].Shared != r.Prompts[0].Shared {
		t.Errorf("JSON: %+v, %v", back, err)
	}
	lines, err := csv.NewReader(&table).ReadAll()
	if want := 1 + len(r.Prompts[0].A.Best) + len(r.Prompts[0].B.Best) + 2; err != nil || len(lines) != want {
		t.Errorf("CSV has %d lines, want %d, %v", len(lines), want, err)
	}
	overlay := func(e *search.Engine) func(string) compare.Overlay {
		p := plugin.New(e)
		return func(prompt string) compare.Overlay {
			return p.SavedLayer(plugin.Saved{ID: "x", Layer: "board", Prompts: []string{prompt}, Style: plugin.Heat})
		}
	}
	if err := r.HTML(t.Context(), &page, compare.Map{Imagery: b, A: overlay(one), B: overlay(other)}); err != nil {
		t.Fatal(err)
	}
	html := page.String()
	if n := strings.Count(html, "data:image/png;base64,"); n != 16*(1+2*2) {
		t.Errorf("%d pictures, want imagery and four overlays of 16", n)
	}
	if strings.Contains(html, "<script>alert") || strings.Contains(html, "<img src=x") {
		t.Error("a name became markup")
	}
	if m := regexp.MustCompile(`(?:src|href)="([^"]{0,40})`).FindAllStringSubmatch(html, -1); true {
		for _, a := range m {
			if !strings.HasPrefix(a[1], "data:") {
				t.Errorf("the page loads %q", a[1])
			}
		}
	}
}
