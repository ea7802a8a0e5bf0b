package search

import (
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/tilescout/tilescout"
)

// FuzzExpression: a question is refused with a kind or read; what was read is read the same again, and its phrases are
// ones that a model can be asked.
func FuzzExpression(f *testing.F) {
	for _, seed := range [][2]string{
		{"stadium", ""}, {`harbour AND "two boats" -forest^2`, "cloud"}, {"a OR b OR", "-"}, {"tile:10/524/338^0.5", "tile:1/2/3"},
		{`-"open`, ""}, {"^^2", "x^"}, {"\ufdfa\u200d", "CamelCase_under-score"}, {"AND", "OR"}, {"x^NaN", "x^1e400"}, {"\xff", "\x00"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, prompt, not string) {
		var negatives []string
		if not != "" {
			negatives = []string{not}
		}
		x, err := parse([]string{prompt}, negatives)
		if err != nil {
			if !errors.Is(err, tilescout.ErrBadInput) && !errors.Is(err, tilescout.ErrOutOfRange) { // a tile of no map
				t.Fatalf("error without a kind: %v", err)
			}
			return
		}
		if len(x.any) == 0 {
			t.Error("read as a question for nothing")
		}
		again, err := parse([]string{prompt}, negatives)
		if err != nil || again.key() != x.key() {
			t.Errorf("read twice: %q, then %q, %v", x.key(), again.key(), err)
		}
		for _, p := range x.phrases() {
			if p == "" || !utf8.ValidString(p) || len(p) > 4*maxPromptBytes {
				t.Errorf("phrase %q", p)
			}
			if twice := Normalize(p); twice != p {
				t.Errorf("Normalize(%q) = %q, want it to change nothing more", p, twice)
			}
		}
	})
}
