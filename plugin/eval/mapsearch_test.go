package eval

import (
	"bytes"
	"context"
	"math"
	"sync"
	"testing"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache/index"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/plugin/search"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

// TestSearchFake runs the whole of it through the real engine with an encoder that sees colours.
func TestSearchFake(t *testing.T) {
	s := colours(t, 8, "red", "green", "blue", "grey")
	r, err := Search(t.Context(), encodertest.Fake{}, s, labels(t, "red,green,blue,grey"), SearchOptions{Synonyms: []SynonymOf{{"yellow", []string{"blue"}}, {"red", []string{"red"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if r.N != 32 || len(r.Concepts) != 4 || r.Aligned.MAP < .95 || r.Aligned.P10 <= 0 || !(r.Shifted.MAP > 0 && r.Shifted.MAP < r.Aligned.MAP) {
		t.Errorf("n %d, aligned %+v, shifted %+v", r.N, r.Aligned, r.Shifted)
	}
	if len(r.Synonyms) != 1 || r.Synonyms[0].Phrase != "yellow" || !(r.Synonyms[0].AP < r.Synonyms[0].OwnAP) {
		t.Errorf("synonyms %+v, want yellow alone, worse than blue; red is a label", r.Synonyms)
	}
	for _, format := range Formats() {
		var b bytes.Buffer
		if err := Write(&b, format, r); err != nil {
			t.Fatal(err)
		}
		checkForm(t, format, b.Bytes(), 5)
	}
}

// TestWalk counts by hand.
func TestWalk(t *testing.T) {
	tile := func(x uint32) maptile.Tile { return maptile.New(x, 0, 4) }
	ranked := []maptile.Tile{tile(0), tile(1), tile(2), tile(3), tile(4), tile(5)}
	of := map[maptile.Tile][]int{tile(0): {7}, tile(1): {7}, tile(3): {8}, tile(4): {9}}
	// 0 finds scene 7; 1 shows it again: passed over; 2 is wrong; 3 belongs to a scene left out; 4 finds 9 on step 3.
	r := walk(ranked, of, map[int]bool{7: true, 9: true})
	if want := (1 + 2./3) / 2; math.Abs(r.ap-want) > 1e-12 {
		t.Errorf("AP %v, want %v", r.ap, want)
	}
	if r.recall != 1 || r.p10 != .5 {
		t.Errorf("recall %v, P@10 %v; want 1 and, among two, ½", r.recall, r.p10)
	}
}

// TestMosaicTiles looks at the pixels: a shifted tile shows the quarters of four scenes, a parent four scenes.
func TestMosaicTiles(t *testing.T) {
	s := colours(t, 1, "red", "green", "blue", "grey")
	j, err := join(s, labels(t, "red,green,blue,grey"), false, false)
	if err != nil {
		t.Fatal(err)
	}
	aligned, shifted, err := newMosaics(t.Context(), s, j)
	if err != nil {
		t.Fatal(err)
	}
	corner := func(m *mosaic, tile maptile.Tile) (nw, se [3]uint8) {
		t.Helper()
		pic, err := m.Tile(t.Context(), tile)
		if err != nil {
			t.Fatal(err)
		}
		img, err := encoder.Decode(pic.Data)
		if err != nil || img.Rect.Dx() != tileSide {
			t.Fatalf("%v, %v", err, img.Rect)
		}
		at := func(x, y int) [3]uint8 { p := img.RGBAAt(x, y); return [3]uint8{p.R, p.G, p.B} }
		return at(60, 60), at(200, 200)
	}
	near := func(a, b [3]uint8) bool {
		for i := range a {
			if math.Abs(float64(a[i])-float64(b[i])) > 45 {
				return false
			}
		}
		return true
	}
	var scene [4][3]uint8
	for i := range scene {
		scene[i], _ = corner(aligned, aligned.tiles(i)[0])
	}
	nw, se := corner(aligned, maptile.New(mosaicX/2, mosaicY/2, mosaicZoom-1))
	if !near(nw, scene[0]) || !near(se, scene[3]) {
		t.Errorf("parent shows %v and %v, want %v and %v", nw, se, scene[0], scene[3])
	}
	nw, se = corner(shifted, maptile.New(mosaicX+1, mosaicY+1, mosaicZoom))
	if !near(nw, scene[0]) || !near(se, scene[3]) {
		t.Errorf("the middle tile of the shifted mosaic shows %v and %v, want %v and %v", nw, se, scene[0], scene[3])
	}
	if n := len(shifted.tiles(0)); n != 4 {
		t.Errorf("a shifted scene lies in %d tiles, want 4", n)
	}
	for _, tile := range []maptile.Tile{maptile.New(mosaicX+9, mosaicY, mosaicZoom), maptile.New(0, 0, 3)} {
		if _, err := aligned.Tile(t.Context(), tile); err == nil {
			t.Errorf("tile %v outside the mosaic has a picture", tile)
		}
	}
}

// TestBackgroundIsTheEngines holds the scores that reports are computed from against those of the engine.
func TestBackgroundIsTheEngines(t *testing.T) {
	for name, enc := range map[string]Encoder{"fake": encodertest.Fake{}} {
		t.Run(name, func(t *testing.T) {
			s := colours(t, 3, "red", "green", "blue", "grey")
			j, err := join(s, labels(t, "red,green,blue,grey"), false, false)
			if err != nil {
				t.Fatal(err)
			}
			m, _, err := newMosaics(t.Context(), s, j)
			if err != nil {
				t.Fatal(err)
			}
			only := &flat{mosaic: m, drawn: map[int]tilescout.Picture{}}
			e, done, err := engineOverFlat(t, enc, only)
			if err != nil {
				t.Fatal(err)
			}
			defer done()
			b, err := newBackground(t.Context(), enc, enc.Model())
			if err != nil {
				t.Fatal(err)
			}
			rows, err := embed(t.Context(), enc, only.pictures(t), nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, phrase := range []string{"red", "green", "stadium"} {
				a, err := embedPhrases(t.Context(), enc, []string{phrase}, enc.Model().Templates)
				if err != nil {
					t.Fatal(err)
				}
				ours, _ := b.scores(rows, b.logits(rows), a[0])
				theirs, err := m.ask(t.Context(), e, phrase)
				if err != nil {
					t.Fatal(err)
				}
				if p, err := m.penalty(t.Context(), e, phrase); err != nil || p != 0 {
					t.Errorf("%s: penalty %v, %v; want none in a layer of %d tiles", phrase, p, err, len(m.images))
				}
				for i := range m.images {
					// The index rounds embeddings to eight bits.
					if got := theirs[m.tiles(i)[0]]; math.Abs(got-ours[i]) > .02 {
						t.Errorf("%s, scene %d: %.4f here, %.4f from the engine", phrase, i, ours[i], got)
					}
				}
			}
		})
	}
}

// TestPointing plays the game with the bundled model's dense output on real scenes.
func TestPointing(t *testing.T) {
	if testing.Short() {
		t.Skip("embeds 100 tiles")
	}
	e := bundledModel(t)
	s, err := OpenSet(t.Context(), sourcetest.Shared(t, "scenes", "rsicd_valid.jsonl"), "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	d, err := encoder.OpenDense(t.Context(), encoder.Options{Library: e.Library()})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	j, err := join(s, must(labelsOf(s)), false, false)
	if err != nil {
		t.Fatal(err)
	}
	j.thin(64)
	aligned, shifted, err := newMosaics(t.Context(), s, j)
	if err != nil {
		t.Fatal(err)
	}
	asked, err := askLabels(t.Context(), e, j.labels, e.Model().Templates)
	if err != nil {
		t.Fatal(err)
	}
	p, err := pointing(t.Context(), e, d, aligned, shifted, asked)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("pointing game %.3f of %d, cut scenes %.3f", p.Share, p.N, p.Shifted)
	if p.Share < .6 {
		t.Errorf("pointing game %.3f, chance is .25", p.Share)
	}
}

// flat is a mosaic of one zoom: no parent takes part in its scores. A scene that is laid several times is drawn once.
type flat struct {
	*mosaic
	mu    sync.Mutex // guards drawn
	drawn map[int]tilescout.Picture
}

func (f *flat) Tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	i := int(t.Y-mosaicY)*f.side + int(t.X-mosaicX)
	if i >= len(f.scenes) {
		return f.mosaic.Tile(ctx, t)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if p, ok := f.drawn[f.scenes[i]]; ok {
		return p, nil
	}
	p, err := f.mosaic.Tile(ctx, t)
	f.drawn[f.scenes[i]] = p
	return p, err
}

// remembering embeds each picture once.
type remembering struct {
	encodertest.Fake
	mu   sync.Mutex // guards rows
	rows map[string][]float32
}

func (r *remembering) Images(ctx context.Context, pics []tilescout.Picture, p encoder.Priority) ([][]float32, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([][]float32, len(pics))
	for i, pic := range pics {
		if r.rows[string(pic.Data)] == nil {
			row, err := r.Fake.Images(ctx, []tilescout.Picture{pic}, p)
			if err != nil {
				return nil, err
			}
			r.rows[string(pic.Data)] = row[0]
		}
		out[i] = r.rows[string(pic.Data)]
	}
	return out, nil
}

func (f *flat) pictures(t *testing.T) pictures {
	return pictures{
		n: len(f.images), where: func(int) string { return "mosaic" },
		picture: func(i int) (tilescout.Picture, error) { return f.Tile(t.Context(), f.tiles(i)[0]) },
	}
}

func engineOverFlat(t *testing.T, enc Encoder, f *flat) (*search.Engine, func(), error) {
	t.Helper()
	store, err := index.Open(t.TempDir(), index.Options{})
	if err != nil {
		return nil, nil, err
	}
	e, err := search.New(t.Context(), enc, store, search.Options{})
	if err != nil {
		return nil, nil, err
	}
	if err := e.Add(t.Context(), f, search.LayerOptions{Zooms: []maptile.Zoom{mosaicZoom}}); err != nil {
		return nil, nil, err
	}
	if _, err := e.Index(t.Context(), f.id, search.IndexOptions{}); err != nil {
		return nil, nil, err
	}
	return e, func() { e.Close(); store.Close() }, nil
}

// TestPenalty: in a layer of 500 tiles and more the engine's verdict is corrected by the prior, here as there.
func TestPenalty(t *testing.T) {
	s := colours(t, 2, "red", "green", "blue", "grey")
	j, err := join(s, labels(t, "red,green,blue,grey"), false, false)
	if err != nil {
		t.Fatal(err)
	}
	for len(j.scenes) < 520 { // most of it red
		j.scenes, j.truth = append(j.scenes, j.scenes[len(j.scenes)%2+6]), append(j.truth, j.truth[len(j.truth)%2+6])
	}
	m, _, err := newMosaics(t.Context(), s, j)
	if err != nil {
		t.Fatal(err)
	}
	enc := &remembering{rows: map[string][]float32{}}
	f := &flat{mosaic: m, drawn: map[int]tilescout.Picture{}}
	e, done, err := engineOverFlat(t, enc, f)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	b, err := newBackground(t.Context(), enc, enc.Model())
	if err != nil {
		t.Fatal(err)
	}
	rows, err := embed(t.Context(), enc, f.pictures(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	corrections := 0
	for _, phrase := range []string{"red", "green", "blue", "grey"} {
		a, err := embedPhrases(t.Context(), enc, []string{phrase}, enc.Model().Templates)
		if err != nil {
			t.Fatal(err)
		}
		_, want := b.scores(rows, b.logits(rows), a[0])
		got, err := m.penalty(t.Context(), e, phrase)
		if err != nil || math.Abs(got-want) > .05 {
			t.Errorf("%s: penalty %.3f, %v; the formula says %.3f", phrase, got, err, want)
		}
		if want > 0 {
			corrections++
		}
	}
	if corrections == 0 {
		t.Error("no phrase was corrected: the test shows nothing")
	}
}
