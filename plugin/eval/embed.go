package eval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
)

// Options of a measurement; the zero value works.
type Options struct {
	Templates      []string              // sentences around a phrase, one {} each; none means the model's own
	TTA            int                   // orientations of a picture whose embeddings are averaged: 1, 4 or 8; 0 means 1
	SkipUnlabelled bool                  // leave pictures out whose class no label names
	KeepUnseen     bool                  // keep labels that no picture has, as distractors
	Progress       func(done, total int) // pictures; may be nil
}

// embedChunk is the number of pictures of one call: enough for full batches, little enough to show progress.
const embedChunk = 64

// pictures gives the i-th picture, several at the same time, and says where it is from.
type pictures struct {
	n       int
	picture func(i int) (tilescout.Picture, error)
	where   func(i int) string
}

// embed returns one unit-length embedding per picture.
func embed(ctx context.Context, enc Encoder, p pictures, progress func(done, total int)) ([][]float32, error) {
	rows := make([][]float32, 0, p.n)
	for from := 0; from < p.n; from += embedChunk {
		batch := make([]tilescout.Picture, min(embedChunk, p.n-from))
		errs := make([]error, len(batch))
		var g errgroup.Group
		g.SetLimit(runtime.GOMAXPROCS(0))
		for i := range batch {
			g.Go(func() error {
				batch[i], errs[i] = p.picture(from + i)
				return nil
			})
		}
		_ = g.Wait() // errs hold the errors
		for _, err := range errs {
			if err != nil {
				return nil, err // the first in order, whichever came first
			}
		}
		got, err := enc.Images(ctx, batch, encoder.Background)
		var each encoder.PictureErrors
		if errors.As(err, &each) && ctx.Err() == nil {
			for i, e := range each {
				if e != nil {
					return nil, pictureError(p.where(from+i), e)
				}
			}
		}
		if err != nil {
			return nil, fmt.Errorf("embed pictures: %w", err)
		}
		rows = append(rows, got...)
		if progress != nil {
			progress(len(rows), p.n)
		}
	}
	return rows, nil
}

// pictureError is why a picture has no embedding. One that is no picture, or has nothing to see, is bad input.
func pictureError(where string, err error) error {
	if errors.Is(err, tilescout.ErrBadInput) || errors.Is(err, tilescout.ErrNotFound) {
		text := strings.TrimSuffix(strings.TrimSuffix(err.Error(), ": "+tilescout.ErrBadInput.Error()), ": "+tilescout.ErrNotFound.Error())
		return fmt.Errorf("%s: %s: %w", where, text, ErrPicture)
	}
	return fmt.Errorf("%s: %w", where, err)
}

// scenePictures are the pictures of some scenes of a set, turned and averaged if tta says so.
func scenePictures(s *Set, scenes []int) pictures {
	return pictures{
		n:       len(scenes),
		picture: func(i int) (tilescout.Picture, error) { return s.Picture(scenes[i]) },
		where: func(i int) string {
			scene := s.Scenes[scenes[i]]
			if strings.HasSuffix(scene.Where, scene.File) {
				return scene.Where
			}
			return scene.Where + ", " + scene.File
		},
	}
}

// embedScenes embeds scenes, each in as many orientations as tta says, their mean scaled to unit length.
func embedScenes(ctx context.Context, enc Encoder, s *Set, scenes []int, tta int, progress func(done, total int)) ([][]float32, error) {
	plain := scenePictures(s, scenes)
	switch tta {
	case 0, 1:
		return embed(ctx, enc, plain, progress)
	case 4, 8:
	default:
		return nil, fmt.Errorf("orientations %d: 1, 4 or 8: %w", tta, tilescout.ErrBadInput)
	}
	turned := pictures{
		n:     tta * plain.n,
		where: func(i int) string { return plain.where(i / tta) },
		picture: func(i int) (tilescout.Picture, error) {
			pic, err := plain.picture(i / tta)
			if err != nil || i%tta == 0 {
				return pic, err
			}
			m, err := encoder.Decode(pic.Data)
			if err != nil {
				return pic, pictureError(plain.where(i/tta), err)
			}
			return encodePNG(orient(m, i%tta))
		},
	}
	rows, err := embed(ctx, enc, turned, func(done, total int) {
		if progress != nil {
			progress(done/tta, total/tta)
		}
	})
	if err != nil {
		return nil, err
	}
	out := make([][]float32, plain.n)
	for i := range out {
		if out[i], err = meanUnit(rows[i*tta : (i+1)*tta]); err != nil {
			return nil, fmt.Errorf("%s: %w", plain.where(i), err)
		}
	}
	return out, nil
}

// asked is a phrase as the model sees it.
type asked struct {
	Phrase  string
	Unknown []string // words that the model has not learned
	vector  []float32
}

// checkTemplates refuses templates without a place for the phrase; none means the model's.
func checkTemplates(templates []string, m encoder.Model) ([]string, error) {
	if len(templates) == 0 {
		templates = m.Templates
	}
	if len(templates) == 0 {
		templates = []string{"{}"}
	}
	for _, t := range templates {
		if strings.Count(t, "{}") != 1 {
			return nil, fmt.Errorf("template %q: want one {} in it, the place of the label: %w", t, tilescout.ErrBadInput)
		}
	}
	return templates, nil
}

// embedPhrases embeds phrases: the mean of the unit vectors over the templates, unit again (Radford et al. 2021, §3.1.4).
func embedPhrases(ctx context.Context, enc Encoder, phrases, templates []string) ([]asked, error) {
	if len(phrases) == 0 {
		return nil, nil
	}
	bare, err := enc.Texts(ctx, phrases)
	if err != nil {
		return nil, fmt.Errorf("embed labels: %w", err)
	}
	out := make([]asked, len(phrases))
	for i, phrase := range phrases {
		prompts := make([]string, len(templates))
		for k, t := range templates {
			prompts[k] = strings.ReplaceAll(t, "{}", phrase)
		}
		texts, err := enc.Texts(ctx, prompts)
		if err != nil {
			return nil, fmt.Errorf("embed label %q: %w", phrase, err)
		}
		rows := make([][]float32, len(texts))
		for k := range texts {
			rows[k] = texts[k].Embedding
		}
		out[i] = asked{Phrase: phrase, Unknown: bare[i].Unknown}
		if out[i].vector, err = meanUnit(rows); err != nil {
			return nil, fmt.Errorf("label %q: %w", phrase, err)
		}
	}
	return out, nil
}

// askLabels embeds labels. A phrase that was made from a class and holds words the model does not know is asked with
// those words split where that makes known ones.
func askLabels(ctx context.Context, enc Encoder, labels []Label, templates []string) ([]asked, error) {
	phrases := make([]string, len(labels))
	for i, l := range labels {
		phrases[i] = l.Phrase
	}
	out, err := embedPhrases(ctx, enc, phrases, templates)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, w := range enc.Model().Words {
		known[w] = true
	}
	for i, l := range labels {
		if l.given || len(out[i].Unknown) == 0 {
			continue
		}
		words, changed := strings.Fields(l.Phrase), false
		for k, w := range words {
			if parts, ok := splitGlued(w, known); ok && !known[w] {
				words[k], changed = parts, true
			}
		}
		if !changed {
			continue
		}
		again, err := embedPhrases(ctx, enc, []string{strings.Join(words, " ")}, templates)
		if err != nil {
			return nil, err
		}
		if len(again[0].Unknown) < len(out[i].Unknown) {
			out[i] = again[0]
		}
	}
	return out, nil
}

// meanUnit is the mean direction of unit vectors.
func meanUnit(rows [][]float32) ([]float32, error) {
	out := make([]float32, len(rows[0]))
	var norm float64
	for i := range out {
		var sum float64
		for _, r := range rows {
			sum += float64(r[i])
		}
		out[i] = float32(sum)
		norm += sum * sum
	}
	if !(norm > 1e-12) || math.IsInf(norm, 0) {
		return nil, fmt.Errorf("its embeddings cancel out: %w", tilescout.ErrUnavailable)
	}
	for i := range out {
		out[i] = float32(float64(out[i]) / math.Sqrt(norm))
	}
	return out, nil
}

func dot(a, b []float32) float64 {
	var s float64
	for i, x := range a {
		s += float64(x) * float64(b[i])
	}
	return s
}
