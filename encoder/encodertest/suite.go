package encodertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
)

// Encoder is the contract: what a user of embeddings asks for.
type Encoder interface {
	Images(ctx context.Context, pics []tilescout.Picture, p encoder.Priority) ([][]float32, error)
	Texts(ctx context.Context, prompts []string) ([]encoder.Text, error)
	Model() encoder.Model
}

// Run holds an encoder against the contract.
func Run(t *testing.T, e Encoder) {
	t.Run("model", func(t *testing.T) { testModel(t, e) })
	t.Run("images", func(t *testing.T) { testImages(t, e) })
	t.Run("bad pictures", func(t *testing.T) { testBadPictures(t, e) })
	t.Run("texts", func(t *testing.T) { testTexts(t, e) })
	t.Run("bad prompts", func(t *testing.T) { testBadPrompts(t, e) })
	t.Run("concurrent", func(t *testing.T) { testConcurrent(t, e) })
	t.Run("cancelled", func(t *testing.T) { testCancelled(t, e) })
}

func testModel(t *testing.T, e Encoder) {
	m := e.Model()
	if m.ID == "" || m.Digest == "" || m.Preprocessing == "" || m.Dimension < 1 || m.InputSize < 1 || m.LogitScale <= 0 {
		t.Errorf("Model() lacks id, digest, preprocessing, dimension, input size or logit scale: %+v", m)
	}
	if len(m.Templates) == 0 {
		t.Error("Model() has no templates")
	}
	for _, template := range m.Templates {
		if strings.Count(template, "{}") != 1 {
			t.Errorf("template %q: want one {}", template)
		}
	}
	if !slices.IsSorted(m.Words) {
		t.Error("Model().Words is not sorted")
	}
}

func testImages(t *testing.T, e Encoder) {
	red, blue := Tile(color.NRGBA{200, 40, 40, 255}, 1), Tile(color.NRGBA{40, 40, 200, 255}, 2)
	got := images(t, e, PNG(red), JPEG(red), PNG(blue), PNG(red))
	for i, row := range got {
		checkUnit(t, fmt.Sprintf("picture %d", i), row, e.Model().Dimension)
	}
	if c := cosine(got[0], got[3]); c < 0.9999 {
		t.Errorf("the same picture twice: cosine %.6f, want ≥ 0.9999", c)
	}
	if c := cosine(got[0], got[1]); c < 0.97 {
		t.Errorf("PNG and JPEG of one picture: cosine %.4f, want ≥ 0.97", c)
	}
	if same, other := cosine(got[0], got[1]), cosine(got[0], got[2]); same <= other {
		t.Errorf("a picture is closer to another one (%.4f) than to its own JPEG (%.4f)", other, same)
	}
	// Order and company in a batch must not matter.
	many := make([]tilescout.Picture, 36)
	for i := range many {
		many[i] = PNG(Tile(color.NRGBA{uint8(7 * i), uint8(255 - 7*i), 90, 255}, uint64(i)))
	}
	together := images(t, e, many...)
	for _, i := range []int{0, 1, 17, 35} {
		if c := cosine(together[i], images(t, e, many[i])[0]); c < 0.999 {
			t.Errorf("picture %d alone and among %d: cosine %.5f, want ≥ 0.999", i, len(many), c)
		}
	}
	if rows, err := e.Images(t.Context(), nil, encoder.Background); err != nil || len(rows) != 0 {
		t.Errorf("Images of none = %d rows, %v, want none", len(rows), err)
	}
}

func testBadPictures(t *testing.T, e Encoder) {
	good := PNG(Tile(color.NRGBA{90, 120, 60, 255}, 3))
	cut := tilescout.Picture{Data: good.Data[:len(good.Data)/2], MediaType: tilescout.PNG}
	cases := []struct {
		name string
		pic  tilescout.Picture
		kind error
	}{
		{"empty", tilescout.Picture{MediaType: tilescout.PNG}, tilescout.ErrBadInput},
		{"HTML", tilescout.Picture{Data: []byte("<!DOCTYPE html><title>404</title>"), MediaType: tilescout.PNG}, tilescout.ErrBadInput},
		{"cut off", cut, tilescout.ErrBadInput},
		{"transparent", PNG(image.NewNRGBA(image.Rect(0, 0, 32, 32))), tilescout.ErrNotFound},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			rows, err := e.Images(t.Context(), []tilescout.Picture{good, c.pic, good}, encoder.Interactive)
			if !errors.Is(err, c.kind) {
				t.Fatalf("Images: %v, want %v", err, c.kind)
			}
			var each encoder.PictureErrors
			if !errors.As(err, &each) || len(each) != 3 || each[0] != nil || !errors.Is(each[1], c.kind) || each[2] != nil {
				t.Errorf("Images: %#v, want PictureErrors with one error, for the second picture", err)
			}
			if len(rows) != 3 || rows[0] == nil || rows[1] != nil || rows[2] == nil {
				t.Errorf("Images: want embeddings of the two good pictures and nil for the bad one")
			}
		})
	}
}

func testTexts(t *testing.T, e Encoder) {
	phrase := "stadium"
	if words := e.Model().Words; len(words) > 0 {
		phrase = words[len(words)/2]
	}
	texts, err := e.Texts(t.Context(), []string{phrase, strings.ToUpper(phrase), phrase + " zzyzxq"})
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range texts {
		checkUnit(t, fmt.Sprintf("prompt %d", i), text.Embedding, e.Model().Dimension)
	}
	if c := cosine(texts[0].Embedding, texts[1].Embedding); c < 0.9999 {
		t.Errorf("case matters: cosine %.5f", c)
	}
	if len(texts[0].Unknown) > 0 {
		t.Errorf("%q, a word of the model, is reported as unknown: %q", phrase, texts[0].Unknown)
	}
	alone, err := e.Texts(t.Context(), []string{phrase})
	if err != nil {
		t.Fatal(err)
	}
	if c := cosine(texts[0].Embedding, alone[0].Embedding); c < 0.999 {
		t.Errorf("a prompt alone and among others: cosine %.5f, want ≥ 0.999", c)
	}
	if none, err := e.Texts(t.Context(), nil); err != nil || len(none) != 0 {
		t.Errorf("Texts of none = %v, %v, want none", none, err)
	}
}

func testBadPrompts(t *testing.T, e Encoder) {
	for _, prompt := range []string{"", "   ", "\t\n"} {
		if _, err := e.Texts(t.Context(), []string{"stadium", prompt}); !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("Texts(%q): %v, want %v", prompt, err, tilescout.ErrBadInput)
		}
	}
	for _, prompt := range []string{"停车场", "стадион", "ملعب", "🏟 stadium", "a\x00b", strings.Repeat("stadium ", 200)} {
		texts, err := e.Texts(t.Context(), []string{prompt})
		if err != nil {
			t.Errorf("Texts(%.20q): %v", prompt, err)
			continue
		}
		checkUnit(t, fmt.Sprintf("%.20q", prompt), texts[0].Embedding, e.Model().Dimension)
	}
}

func testConcurrent(t *testing.T, e Encoder) {
	pics := make([]tilescout.Picture, 16)
	for i := range pics {
		pics[i] = PNG(Tile(color.NRGBA{uint8(10 * i), 100, 200, 255}, uint64(i)))
	}
	want := images(t, e, pics...)
	var wg sync.WaitGroup
	for i, pic := range pics {
		for _, p := range []encoder.Priority{encoder.Interactive, encoder.Background} {
			wg.Go(func() {
				rows, err := e.Images(t.Context(), []tilescout.Picture{pic}, p)
				if err != nil {
					t.Errorf("picture %d: %v", i, err)
				} else if c := cosine(rows[0], want[i]); c < 0.999 {
					t.Errorf("picture %d: cosine %.5f with the embedding made alone, want ≥ 0.999", i, c)
				}
				if _, err := e.Texts(t.Context(), []string{"stadium"}); err != nil && !errors.Is(err, tilescout.ErrBusy) {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
}

func testCancelled(t *testing.T, e Encoder) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Images(ctx, []tilescout.Picture{PNG(Tile(color.NRGBA{1, 2, 3, 255}, 1))}, encoder.Interactive); !errors.Is(err, context.Canceled) {
		t.Errorf("Images with a cancelled context: %v, want %v", err, context.Canceled)
	}
	if _, err := e.Texts(ctx, []string{"stadium"}); !errors.Is(err, context.Canceled) {
		t.Errorf("Texts with a cancelled context: %v, want %v", err, context.Canceled)
	}
}

func images(t *testing.T, e Encoder, pics ...tilescout.Picture) [][]float32 {
	t.Helper()
	rows, err := e.Images(t.Context(), pics, encoder.Background)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(pics) {
		t.Fatalf("Images of %d pictures = %d rows", len(pics), len(rows))
	}
	return rows
}

func checkUnit(t *testing.T, what string, row []float32, dim int) {
	t.Helper()
	if len(row) != dim {
		t.Fatalf("%s: embedding of length %d, want %d", what, len(row), dim)
	}
	if n := math.Sqrt(cosine(row, row)); math.Abs(n-1) > 1e-4 {
		t.Errorf("%s: norm %.6f, want 1", what, n)
	}
}

func cosine(a, b []float32) float64 {
	var sum float64
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// Tile draws a 96 × 96 picture around a colour, with texture that depends on seed.
func Tile(c color.NRGBA, seed uint64) *image.NRGBA {
	const side = 96
	m := image.NewNRGBA(image.Rect(0, 0, side, side))
	state := seed*2654435761 + 12345
	for i := 0; i < len(m.Pix); i += 4 {
		state = state*6364136223846793005 + 1442695040888963407
		n := int(state>>60) - 8
		if x, y := i/4%side, i/4/side; (x/12+y/12+int(seed))%3 == 0 {
			n += 20
		}
		m.Pix[i], m.Pix[i+1], m.Pix[i+2], m.Pix[i+3] = shade(c.R, n), shade(c.G, n), shade(c.B, n), c.A
	}
	return m
}

func shade(v uint8, n int) uint8 { return uint8(min(max(int(v)+n, 0), 255)) }

// PNG encodes a picture.
func PNG(m image.Image) tilescout.Picture {
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		panic(err) // only an image without pixels fails
	}
	return tilescout.Picture{Data: b.Bytes(), MediaType: tilescout.PNG}
}

// JPEG encodes a picture with quality 90.
func JPEG(m image.Image) tilescout.Picture {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 90}); err != nil {
		panic(err)
	}
	return tilescout.Picture{Data: b.Bytes(), MediaType: tilescout.JPEG}
}
