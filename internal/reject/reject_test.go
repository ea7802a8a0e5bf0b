package reject_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/reject"
)

func TestOf(t *testing.T) {
	loop := reject.New("tiff", "ErrIFDLoop", "image directories form a loop")
	err := fmt.Errorf("open city.tif: %w", loop)
	if !errors.Is(err, loop) || !errors.Is(err, tilescout.ErrBadInput) {
		t.Errorf("%v is neither its kind nor ErrBadInput", err)
	}
	if got, ok := reject.Of(err); !ok || got != loop {
		t.Errorf("Of = %v, %v", got, ok)
	}
	if got, ok := reject.Of(tilescout.ErrBadInput); ok {
		t.Errorf("Of(ErrBadInput) = %v, want none", got)
	}
	if want := "open city.tif: image directories form a loop"; err.Error() != want {
		t.Errorf("Error() = %q, want %q", err, want)
	}
}
