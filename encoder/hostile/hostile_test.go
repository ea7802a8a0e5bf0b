package hostile_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/hostile"
)

// TestRefused: before any library is needed, each graph is refused as bad input in one line, or is well-formed enough
// that only the library, which is missing here, can say more. What the library says is the business of cmd/hostile.
func TestRefused(t *testing.T) {
	n := 0
	for name, graph := range hostile.Graphs() {
		n++
		dir := t.TempDir()
		if err := hostile.Folder(dir, graph); err != nil {
			t.Fatal(err)
		}
		_, err := encoder.Open(t.Context(), encoder.Options{Model: dir, Library: "/nowhere"})
		if !errors.Is(err, tilescout.ErrBadInput) && !errors.Is(err, tilescout.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrBadInput, or ErrUnavailable for the library", name, err)
			continue
		}
		if strings.ContainsAny(err.Error(), "\n\x00") || len(err.Error()) > 2000 {
			t.Errorf("%s: the error is no clear line: %.200q", name, err)
		}
	}
	if n < 40 {
		t.Errorf("%d graphs, want at least 40", n)
	}
}
