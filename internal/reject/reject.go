// Package reject names the reasons for which input from strangers is refused, so that one counter can tell how often
// each of them happened (tilescout_input_rejected_total) whatever package found it.
package reject

import (
	"errors"

	"github.com/tilescout/tilescout"
)

// Kind is one reason to refuse input of one format. It is a tilescout.ErrBadInput; packages declare theirs as
// variables and wrap them with what was being read.
type Kind struct {
	Format string // tiff, pmtiles, mbtiles, picture, capabilities, onnx, checkpoint, …
	Name   string // as in the limits contract: ErrTooManyIFDs
	Text   string // for the error message
}

// New returns a reason; packages call it for their package-level variables.
func New(format, name, text string) *Kind { return &Kind{Format: format, Name: name, Text: text} }

// Error implements error.
func (k *Kind) Error() string { return k.Text }

// Unwrap makes every reason a tilescout.ErrBadInput.
func (k *Kind) Unwrap() error { return tilescout.ErrBadInput }

// Of returns the reason within err, if it holds one.
func Of(err error) (*Kind, bool) {
	var k *Kind
	ok := errors.As(err, &k)
	return k, ok
}
