package bpe_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder/bpe"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

// merges is a list of its own, in the form of CLIP's.
const merges = `#version: 0.2
t h
th e</w>
s t
st a
sta d
i u
iu m</w>
`

func small(t testing.TB, o bpe.Options) *bpe.Tokenizer {
	t.Helper()
	tok, err := bpe.Open(nil, strings.NewReader(merges), o)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestEncode(t *testing.T) {
	const the, stad, ium, start, end = 513, 516, 518, 519, 520
	const a, dot = 'a' - '!' + 256, '.' - '!' + 256 // at the end of a word
	for _, c := range []struct {
		name, text string
		context    int
		want       []int
		truncated  bool
	}{
		{"nothing", "", 77, []int{start, end}, false},
		{"white space only", " \t\n\u2028", 77, []int{start, end}, false},
		{"words", "The  STADIUM", 77, []int{start, the, stad, ium, end}, false},
		{"no blank needed", "the.a", 77, []int{start, the, dot, a, end}, false},
		{"exactly full", "the a", 4, []int{start, the, a, end}, false},
		{"one too many", "the a", 3, []int{start, the, end}, true},
		{"within a word", "stadium", 3, []int{start, stad, end}, true},
		{"special name", "the<|endoftext|>the", 77, []int{start, the, end, the, end}, false},
		{"special name in capitals is text", "<|ENDOFTEXT|>", 5, nil, true},
		{"no UTF-8", "a\xff", 77, nil, false},
	} {
		got, truncated := small(t, bpe.Options{}).Encode(c.text, c.context)
		if c.want != nil && !slices.Equal(got, c.want) || truncated != c.truncated {
			t.Errorf("%s: Encode(%q, %d) = %v, %v, want %v, %v", c.name, c.text, c.context, got, truncated, c.want, c.truncated)
		}
	}
	if got, _ := small(t, bpe.Options{Cleaning: bpe.OpenCLIP}).Encode("the <end_of_text>", 77); !slices.Equal(got, []int{start, the, end, end}) {
		t.Errorf("open_clip's own spelling: %v", got)
	}
}

// The three files in which a vocabulary comes say the same.
func TestForms(t *testing.T) {
	want, _ := small(t, bpe.Options{}).Encode("the stadium", 77)
	for name, file := range map[string]string{
		"pairs": `{"model":{"type":"BPE","end_of_word_suffix":"</w>","merges":[["t","h"],["th","e</w>"],["s","t"],["st","a"],["sta","d"],["i","u"],["iu","m</w>"]]}}`,
		"lines": `{"model":{"end_of_word_suffix":"</w>","merges":["t h","th e</w>","s t","st a","sta d","i u","iu m</w>"]}}`,
	} {
		tok, err := bpe.OpenJSON(strings.NewReader(file), bpe.Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, _ := tok.Encode("the stadium", 77); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestFolder(t *testing.T) {
	tok, err := bpe.Load(sourcetest.Shared(t, "clip", "tiny", "hf"), bpe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []int{528, 320, 79, 71, 78, 83, 334, 78, 325, 320, 522, 64, 67, 72, 84, 332, 529} // tiny/expected.json
	if got, _ := tok.Encode("a photo of a stadium", 77); !slices.Equal(got, want) {
		t.Errorf("Encode = %v, want %v", got, want)
	}
	if err := tok.Fits(530, 529); err != nil {
		t.Errorf("Fits(530, 529): %v", err)
	}
	if err := tok.Fits(49408, 49407); !errors.Is(err, bpe.ErrMismatch) {
		t.Errorf("Fits(49408, 49407) = %v, want %v", err, bpe.ErrMismatch)
	}
}

func TestRefused(t *testing.T) {
	for name, list := range map[string]string{
		"empty":               "",
		"version only":        "#version: 0.2\n",
		"three symbols":       "#version: 0.2\nt h e\n",
		"one symbol":          "#version: 0.2\nth\n",
		"unknown symbol":      "#version: 0.2\nth e\n",
		"twice":               "#version: 0.2\nt h\nt h\n",
		"a page":              "<!DOCTYPE html>\n<html>",
		"a line without end":  "#version: 0.2\n" + strings.Repeat("x", 1<<16),
		"bytes that are none": "#version: 0.2\n\x00 \x01\n",
	} {
		if _, err := bpe.Open(nil, strings.NewReader(list), bpe.Options{}); !errors.Is(err, bpe.ErrVocabulary) {
			t.Errorf("%s: %v, want %v", name, err, bpe.ErrVocabulary)
		}
	}
	if _, err := bpe.Open(strings.NewReader(`{"t":7}`), strings.NewReader(merges), bpe.Options{}); !errors.Is(err, bpe.ErrVocabulary) {
		t.Errorf("vocabulary of another model: %v", err)
	}
	if _, err := bpe.OpenJSON(strings.NewReader(`{"model":{"type":"Unigram"}}`), bpe.Options{}); !errors.Is(err, bpe.ErrVocabulary) {
		t.Errorf("SentencePiece: %v", err)
	}
	if _, err := bpe.Load(t.TempDir(), bpe.Options{}); !errors.Is(err, tilescout.ErrNotFound) {
		t.Errorf("empty folder: %v", err)
	}
	if _, err := bpe.Open(nil, strings.NewReader(merges), bpe.Options{Cleaning: "no"}); !errors.Is(err, tilescout.ErrBadInput) {
		t.Errorf("unknown cleaning: %v", err)
	}
}

func FuzzEncode(f *testing.F) {
	for _, s := range []string{"", "the stadium", "<|endoftext|>", "&amp;amp;", "İΣ\u2028ﬁ", "\xff\xfe", "cafÃ©", strings.Repeat("th", 50), "'s'S 12"} {
		f.Add(s, 77, true)
		f.Add(s, 2, false)
	}
	hf, open := small(f, bpe.Options{}), small(f, bpe.Options{Cleaning: bpe.OpenCLIP})
	f.Fuzz(func(t *testing.T, text string, context int, which bool) {
		if context = 2 + context&0x3ff; len(text) > 1<<14 {
			return
		}
		tok := hf
		if which {
			tok = open
		}
		ids, truncated := tok.Encode(text, context)
		if len(ids) < 2 || len(ids) > context || ids[0] != tok.Start() || ids[len(ids)-1] != tok.End() {
			t.Fatalf("Encode(%q, %d) = %v", text, context, ids)
		}
		if truncated && len(ids) != context {
			t.Fatalf("Encode(%q, %d) cut to %d ids", text, context, len(ids))
		}
		for _, id := range ids {
			if id < 0 || id >= tok.Vocabulary() {
				t.Fatalf("id %d of %d", id, tok.Vocabulary())
			}
		}
	})
}

func FuzzVocabulary(f *testing.F) {
	f.Add([]byte(merges), []byte(nil))
	f.Add([]byte(merges), []byte(`{"!":0}`))
	f.Add([]byte("\"bpe_simple_vocab_16e6.txt#version: 0.2\ni n\n"), []byte(nil))
	f.Add([]byte(`{"model":{"end_of_word_suffix":"</w>","merges":[["t","h"]]}}`), []byte(`{}`))
	f.Fuzz(func(t *testing.T, list, vocab []byte) {
		tok, err := bpe.Open(nil, strings.NewReader(string(list)), bpe.Options{})
		if err == nil {
			tok.Encode("the stadium", 77)
		} else if !errors.Is(err, tilescout.ErrBadInput) {
			t.Fatal(err)
		}
		if vocab != nil {
			_, _ = bpe.Open(strings.NewReader(string(vocab)), strings.NewReader(string(list)), bpe.Options{})
		}
		if _, err := bpe.OpenJSON(strings.NewReader(string(list)), bpe.Options{}); err != nil && !errors.Is(err, tilescout.ErrBadInput) {
			t.Fatal(err)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	tok := clip(b, bpe.Options{})
	for b.Loop() {
		tok.Encode("An aerial photograph of sparse residential area", 77)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "prompts/s")
}

// A word without end must not take the square of its length.
func BenchmarkEncodeHostile(b *testing.B) {
	tok := small(b, bpe.Options{})
	text := strings.Repeat("stadium", 9362)
	for b.Loop() {
		tok.Encode(text, 1<<20)
	}
	b.ReportMetric(float64(b.N*len(text))/1e6/b.Elapsed().Seconds(), "MB/s")
}
