package encoder

import (
	"fmt"

	"github.com/tilescout/tilescout"
)

// newPieces reads the files of a byte pair encoding.
func newPieces(m TextManifest, vocabulary, merges []byte) (tokenizer, error) {
	return nil, fmt.Errorf("tokenizer %q is not read yet: %w", m.Tokenizer, tilescout.ErrUnavailable)
}
