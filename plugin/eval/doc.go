// Package eval measures how well a model and the search built on it answer: zero-shot classification of labelled
// scenes, retrieval by captions, search on a mosaic of scenes laid on a tile grid, and accuracy under the disturbances
// that map tiles bring. Every figure comes with what is needed to repeat it: seeds are fixed, ties are broken by order.
//
//	set, err := eval.OpenSet(ctx, "valid.jsonl", "")
//	labels, err := eval.ParseLabels("airport,beach,forest", "")
//	p, err := eval.ZeroShot(ctx, enc, set, labels, eval.Options{})
//	report := p.Report()
//	fmt.Println(report.TopK.At1)
package eval

import (
	"context"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/internal/reject"
)

// Encoder is what is measured.
type Encoder interface {
	Images(ctx context.Context, pictures []tilescout.Picture, p encoder.Priority) ([][]float32, error)
	Texts(ctx context.Context, prompts []string) ([]encoder.Text, error)
	Model() encoder.Model
}

// Reasons to refuse what is to be measured.
var (
	ErrPicture     = reject.New("scenes", "ErrPicture", "cannot be embedded")
	ErrMissing     = reject.New("scenes", "ErrMissing", "the picture is not there")
	ErrPath        = reject.New("scenes", "ErrPath", "the path leads outside")
	ErrLink        = reject.New("scenes", "ErrLink", "links are not followed")
	ErrArchive     = reject.New("scenes", "ErrArchive", "not a tar archive, or cut off")
	ErrTooLarge    = reject.New("scenes", "ErrTooLarge", "too large")
	ErrLine        = reject.New("scenes", "ErrLine", "the line cannot be read")
	ErrTwice       = reject.New("scenes", "ErrTwice", "given twice")
	ErrEmpty       = reject.New("scenes", "ErrEmpty", "nothing to measure")
	ErrLabels      = reject.New("labels", "ErrLabels", "the labels cannot be used")
	ErrUnlabelled  = reject.New("labels", "ErrUnlabelled", "no label names the class")
	ErrUnseenLabel = reject.New("labels", "ErrUnseenLabel", "no picture has the label")
	ErrScores      = reject.New("scores", "ErrScores", "the scores cannot be read")
)
