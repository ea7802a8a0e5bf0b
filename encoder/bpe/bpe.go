// Package bpe is CLIP's tokenizer: byte-pair encoding over bytes, as openai/CLIP clip/simple_tokenizer.py defines it and
// transformers and open_clip follow it.
//
//	t, err := bpe.Load("clip-rsicd", bpe.Options{})
//	ids, truncated := t.Encode("a photo of a stadium", 77)      // 49406 320 1125 539 320 3390 49407
//
// The vocabulary is the model's, or where it has none CLIP's own, which is embedded.
package bpe

import (
	"fmt"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/reject"
)

// The reasons to refuse a vocabulary.
var (
	ErrVocabulary = reject.New("checkpoint", "ErrVocabulary", "not a CLIP vocabulary")
	ErrMismatch   = reject.New("checkpoint", "ErrTokenizerMismatch", "the vocabulary is another model's")
)

// Rules by which text is cleaned before it is cut into pieces.
const (
	HF       = "hf"       // as the fast tokenizer of transformers: NFC, one blank for white space, lower case
	OpenCLIP = "openclip" // as open_clip: besides, HTML entities, quotes, ligatures and widths are repaired as ftfy does
)

// Sizes of CLIP's own vocabulary; a smaller one has the same form.
const (
	bytesAndEnds = 512               // 256 bytes, and the same at the end of a word
	maxMerges    = 49152 - 256 - 2   // openai/CLIP leaves the rest of its list alone
	maxText      = 61 << 10          // bytes of a text that are looked at
	maxPiece     = 1 << 10           // bytes that are merged at a time: merging takes the square of them
	wordEnd      = "</w>"            // marks a symbol that ends a word
	startName    = "<|startoftext|>" // spelling in a vocabulary and, for HF, in a text
	endName      = "<|endoftext|>"   //
	startOpen    = "<start_of_text>" // spelling of open_clip
	endOpen      = "<end_of_text>"   //
)

// Options says how text is cleaned. The zero value is HF.
type Options struct {
	Cleaning string // HF or OpenCLIP
}

// Tokenizer turns text into ids. Safe for concurrent use.
type Tokenizer struct {
	cleaning string
	symbol   [256]int32       // byte → id
	merged   map[uint64]int32 // pair of ids → id, which is 512 and the rank of the merge
	start    int
	end      int
}

// Vocabulary is the number of ids, the two special ones with them.
func (t *Tokenizer) Vocabulary() int { return t.end + 1 }

// Start is the id that begins a text, End the one that ends it.
func (t *Tokenizer) Start() int { return t.start }

// End is the id that ends a text.
func (t *Tokenizer) End() int { return t.end }

// Cleaning is the rule by which text is cleaned, HF or OpenCLIP.
func (t *Tokenizer) Cleaning() string { return t.cleaning }

// Pad is the id that fills a text up to the context length: the end token for HF, 0 for OpenCLIP. A CLIP text tower gives
// the same embedding whatever it is, since the end token sees only what comes before it.
func (t *Tokenizer) Pad() int {
	if t.cleaning == OpenCLIP {
		return 0
	}
	return t.end
}

// Fits checks that the vocabulary is that of a text tower with so many ids and such an end token.
func (t *Tokenizer) Fits(vocabulary, end int) error {
	if t.Vocabulary() > vocabulary || t.end != end {
		return fmt.Errorf("vocabulary of %d ids that ends with %d for a model of %d that ends with %d: %w", t.Vocabulary(), t.end, vocabulary, end, ErrMismatch)
	}
	return nil
}

// Encode returns the ids of a text between start and end token. More than context of them (which is at least 2) are cut
// at the end, the end token stays; truncated says so. The ids are not padded.
func (t *Tokenizer) Encode(text string, context int) (ids []int, truncated bool) {
	ids = append(make([]int, 0, min(context, 80)), t.start)
	if len(text) > maxText {
		text, truncated = text[:maxText], true
	}
	full := func() bool { return len(ids) >= context }
	t.pieces(text, func(piece string) bool {
		ids = t.merge(ids, piece)
		return !full()
	}, func(id int) bool {
		ids = append(ids, id)
		return !full()
	})
	if len(ids) > context-1 {
		ids, truncated = ids[:context-1], true
	}
	return append(ids, t.end), truncated
}

// merge appends the ids of one piece: its bytes, of which the pair that was merged first in training is merged first.
func (t *Tokenizer) merge(ids []int, piece string) []int {
	for len(piece) > maxPiece { // no word is as long; the ids beyond the context do not matter
		ids = t.mergeBytes(ids, piece[:maxPiece], false)
		piece = piece[maxPiece:]
	}
	return t.mergeBytes(ids, piece, true)
}

func (t *Tokenizer) mergeBytes(ids []int, piece string, ends bool) []int {
	if piece == "" {
		return ids
	}
	const none = int32(1<<31 - 1)
	symbols := make([]int32, len(piece))
	for i := range len(piece) {
		symbols[i] = t.symbol[piece[i]]
	}
	if ends {
		symbols[len(symbols)-1] += 256
	}
	pair := func(i int) int32 { // id of symbols i and i+1 together
		if i+1 < len(symbols) {
			if id, ok := t.merged[key(symbols[i], symbols[i+1])]; ok {
				return id
			}
		}
		return none
	}
	ranks := make([]int32, len(symbols))
	for i := range symbols {
		ranks[i] = pair(i)
	}
	for {
		best := 0
		for i, r := range ranks {
			if r < ranks[best] {
				best = i
			}
		}
		if ranks[best] == none {
			break
		}
		// One pair at a time, leftmost first, is the same as all of its kind at once: the pairs that a merge makes have
		// later ranks than the merge.
		symbols[best] = ranks[best]
		symbols = append(symbols[:best+1], symbols[best+2:]...)
		ranks = append(ranks[:best+1], ranks[best+2:]...)
		ranks[best] = pair(best)
		if best > 0 {
			ranks[best-1] = pair(best - 1)
		}
	}
	for _, s := range symbols {
		ids = append(ids, int(s))
	}
	return ids
}

func key(a, b int32) uint64 { return uint64(uint32(a))<<32 | uint64(uint32(b)) }

func checkCleaning(c string) (string, error) {
	switch c {
	case "", HF:
		return HF, nil
	case OpenCLIP:
		return c, nil
	}
	return "", fmt.Errorf("cleaning %q: want %q or %q: %w", c, HF, OpenCLIP, tilescout.ErrBadInput)
}
