package bpe

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
)

// clipMerges is the list of merges that nearly every CLIP was trained with, packed: the first lines of OpenAI's list, in
// the form of merges.txt. It is OpenAI's work; its licence lies beside it, and so does what wrote the file.
//
//go:embed clip/merges.txt.gz
var clipMerges []byte

// CLIP is the tokenizer of CLIP's own vocabulary of 49,408 ids, for checkpoints that come without one.
func CLIP(o Options) (*Tokenizer, error) {
	merges, err := CLIPMerges()
	if err != nil {
		return nil, err
	}
	return Open(nil, bytes.NewReader(merges), o)
}

// CLIPMerges is the content of the merges.txt that goes with CLIP's own vocabulary.
func CLIPMerges() ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(clipMerges))
	if err != nil {
		return nil, fmt.Errorf("the embedded vocabulary: %w", err)
	}
	merges, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("the embedded vocabulary: %w", err)
	}
	return merges, nil
}
