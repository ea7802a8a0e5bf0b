// Package encodertest holds a working fake encoder, a tiny real model, and the conformance suite that every encoder
// passes.
package encodertest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/draw"
	_ "image/jpeg"
	_ "image/png"
	"math"
	"math/rand/v2"
	"strings"

	_ "golang.org/x/image/webp"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
)

// Fake is an encoder that needs no model. A picture's embedding is its colours projected on fixed random axes, so that
// pictures that look alike lie close; a prompt's is a hash of its words, except that a colour word lies where pictures of
// that colour lie: "red" finds red tiles. The zero value has 16 dimensions.
type Fake struct {
	Dim     int
	Unknown []string // words that it reports as unknown
}

var _ Encoder = Fake{}

func (f Fake) dim() int {
	if f.Dim > 0 {
		return f.Dim
	}
	return 16
}

// colours are the words that it understands.
func colours() map[string][3]float64 {
	return map[string][3]float64{
		"red": {1, 0, 0}, "green": {0, 1, 0}, "blue": {0, 0, 1}, "white": {1, 1, 1}, "black": {0, 0, 0},
		"yellow": {1, 1, 0}, "cyan": {0, 1, 1}, "magenta": {1, 0, 1}, "grey": {.5, .5, .5},
	}
}

// Images implements the encoder's contract.
func (f Fake) Images(ctx context.Context, pics []tilescout.Picture, _ encoder.Priority) ([][]float32, error) {
	rows := make([][]float32, len(pics))
	errs := make(encoder.PictureErrors, len(pics))
	failed := false
	for i, p := range pics {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		m, err := decode(p)
		if errors.Is(err, encoder.ErrNoData) {
			errs[i], failed = encoder.ErrNoData, true
			continue
		}
		if err != nil {
			errs[i], failed = fmt.Errorf("picture: %v: %w", err, tilescout.ErrBadInput), true
			continue
		}
		mean, alpha := average(m)
		if alpha == 0 {
			errs[i], failed = encoder.ErrNoData, true
			continue
		}
		rows[i] = f.project(mean)
	}
	if failed {
		return rows, errs
	}
	return rows, nil
}

func decode(p tilescout.Picture) (image.Image, error) {
	if p.MediaType == encoder.PAM {
		return encoder.Decode(p.Data)
	}
	m, _, err := image.Decode(bytes.NewReader(p.Data))
	return m, err
}

// Texts implements the encoder's contract.
func (f Fake) Texts(ctx context.Context, prompts []string) ([]encoder.Text, error) {
	texts := make([]encoder.Text, len(prompts))
	for i, prompt := range prompts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		words := strings.Fields(strings.ToLower(prompt))
		if len(words) == 0 {
			return nil, fmt.Errorf("prompt is empty: %w", tilescout.ErrBadInput)
		}
		for _, word := range words {
			if c, ok := colours()[word]; ok {
				texts[i].Embedding = f.project(c)
			}
			for _, u := range f.Unknown {
				if strings.EqualFold(u, word) {
					texts[i].Unknown = append(texts[i].Unknown, u)
				}
			}
		}
		if texts[i].Embedding == nil {
			texts[i].Embedding = hashed(strings.Join(words, " "), f.dim())
		}
	}
	return texts, nil
}

// Model implements the encoder's contract.
func (f Fake) Model() encoder.Model {
	words := []string{}
	concepts := []encoder.Concept{}
	for c := range colours() {
		words = append(words, c)
		concepts = append(concepts, encoder.Concept{Phrase: c, Size: 50, Suggest: true, Group: "colour"})
	}
	sortModel(words, concepts)
	return encoder.Model{
		ID: "fake", Title: "Fake encoder for tests", Licence: "none", Digest: fmt.Sprintf("fake-%d", f.dim()),
		Preprocessing: "mean-colour", InputSize: 8, Dimension: f.dim(), LogitScale: 20, Templates: []string{"{}"},
		Concepts: concepts, Words: words, Provider: "cpu",
		Calibration: encoder.Calibration{Scale: 1, Seed: .5, Floor: .3, Match: .7, Top3: .6, Weak: .4, Synonym: .9},
	}
}

// project places a colour: its three channels and their products, centred, on fixed random axes.
func (f Fake) project(c [3]float64) []float32 {
	r, g, b := c[0]-.5, c[1]-.5, c[2]-.5
	features := []float64{.2, r, g, b, 2 * r * g, 2 * g * b, 2 * b * r}
	rng := rand.New(rand.NewPCG(1, 2))
	v := make([]float32, f.dim())
	for i := range v {
		for _, x := range features {
			v[i] += float32(x * rng.NormFloat64())
		}
	}
	return unit(v)
}

func hashed(s string, dim int) []float32 {
	sum := sha256.Sum256([]byte(s))
	rng := rand.New(rand.NewPCG(binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:])))
	v := make([]float32, dim)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return unit(v)
}

func unit(v []float32) []float32 {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	for i := range v {
		v[i] = float32(float64(v[i]) / math.Sqrt(sum))
	}
	return v
}

// average is the mean colour, 0 to 1, weighted by alpha, and the sum of alpha.
func average(m image.Image) (mean [3]float64, alpha float64) {
	b := m.Bounds()
	n := image.NewRGBA(b)
	draw.Draw(n, b, m, b.Min, draw.Src)
	for i := 0; i < len(n.Pix); i += 4 {
		for c := range mean {
			mean[c] += float64(n.Pix[i+c])
		}
		alpha += float64(n.Pix[i+3])
	}
	for c := range mean {
		mean[c] /= max(alpha, 1)
	}
	return mean, alpha
}
