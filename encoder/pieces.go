package encoder

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder/bpe"
)

// pieces is the tokenizer "bpe": CLIP's byte pairs. It reads any text, so it knows no unknown words, and its prompts
// are only as long as they need to be.
type pieces struct {
	*bpe.Tokenizer
	context int
}

// newPieces reads the files that model.json names: ids and merges, merges alone, or tokenizer.json.
func newPieces(m TextManifest, read func(file string) ([]byte, error)) (tokenizer, error) {
	o := bpe.Options{Cleaning: m.Clean}
	var vocabulary, merges []byte
	var err error
	if m.Vocabulary != "" {
		if vocabulary, err = read(m.Vocabulary); err != nil {
			return nil, err
		}
	}
	if m.Merges != "" {
		if merges, err = read(m.Merges); err != nil {
			return nil, err
		}
	}
	var t *bpe.Tokenizer
	if m.Merges == "" {
		t, err = bpe.OpenJSON(bytes.NewReader(vocabulary), o)
	} else {
		var ids io.Reader
		if vocabulary != nil {
			ids = bytes.NewReader(vocabulary)
		}
		t, err = bpe.Open(ids, bytes.NewReader(merges), o)
	}
	if err != nil {
		return nil, fmt.Errorf("vocabulary: %w", kindOr(err, tilescout.ErrBadInput))
	}
	return pieces{t, m.Context}, nil
}

func (p pieces) tokenize(prompt string) (tokens, error) {
	if err := checkPrompt(prompt); err != nil {
		return tokens{}, err
	}
	if strings.TrimSpace(prompt) == "" {
		return tokens{}, fmt.Errorf("prompt %q is empty: %w", prompt, tilescout.ErrBadInput)
	}
	ids, truncated := p.Encode(prompt, p.context)
	if len(ids) <= 2 {
		return tokens{}, fmt.Errorf("prompt %.40q has nothing to read in it: %w", prompt, tilescout.ErrBadInput)
	}
	t := tokens{ids: make([]int64, len(ids)), truncated: truncated}
	for i, id := range ids {
		t.ids[i] = int64(id)
	}
	return t, nil
}

// padding is the end token, whatever padded prompts in training: behind the first one nothing counts.
func (p pieces) padding() int64 { return int64(p.End()) }

// probe ends with the largest id: a table of too few rows shows.
func (p pieces) probe() []int64 {
	return []int64{int64(p.Start()), int64(p.Vocabulary() - 1), int64(p.End())}
}

func (p pieces) known() []string { return nil }
