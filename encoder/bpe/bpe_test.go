package bpe_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/tilescout/tilescout/encoder/bpe"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

// clip is the embedded vocabulary.
func clip(t testing.TB, o bpe.Options) *bpe.Tokenizer {
	t.Helper()
	tok, err := bpe.CLIP(o)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// The embedded list is merges.txt of openai/clip-vit-base-patch32, byte by byte.
func TestEmbedded(t *testing.T) {
	merges, err := bpe.CLIPMerges()
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(merges); hex.EncodeToString(sum[:]) != "9fd691f7c8039210e0fced15865466c65820d09b63988b0174bfe25de299051a" {
		t.Errorf("SHA-256 %x", sum)
	}
}

type golden struct {
	Class    string `json:"c"`
	Text     string `json:"t"`
	OpenCLIP []int  `json:"openclip"`
	HF       []int  `json:"hf"`
}

func readGolden(t *testing.T) []golden {
	t.Helper()
	raw, err := os.ReadFile(sourcetest.Shared(t, "clip", "clip_tokens.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cases []golden `json:"cases"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	for i := range file.Cases {
		if c := &file.Cases[i]; c.HF == nil {
			c.HF = c.OpenCLIP
		}
	}
	return file.Cases
}

// All texts have the ids that transformers gives them.
func TestGolden(t *testing.T) {
	cases := readGolden(t)
	tok := clip(t, bpe.Options{})
	if tok.Vocabulary() != 49408 || tok.Start() != 49406 || tok.End() != 49407 {
		t.Fatalf("vocabulary of %d, start %d, end %d", tok.Vocabulary(), tok.Start(), tok.End())
	}
	if len(cases) != 394 {
		t.Errorf("%d texts, want 394", len(cases))
	}
	for _, c := range cases {
		ids, truncated := tok.Encode(c.Text, 4096)
		if got := ids[1 : len(ids)-1]; !slices.Equal(got, c.HF) || truncated || ids[0] != 49406 || ids[len(ids)-1] != 49407 {
			t.Errorf("%s: Encode(%q) = %v, want %v", c.Class, c.Text, got, c.HF)
		}
	}
}

// open_clip repairs text with ftfy, of which clean has what can be said in a few rules. The one text that differs lost a
// byte when it was decoded wrongly, and ftfy guesses the letter.
func TestGoldenOpenCLIP(t *testing.T) {
	cases := readGolden(t)
	tok := clip(t, bpe.Options{Cleaning: bpe.OpenCLIP})
	for _, c := range cases {
		ids, _ := tok.Encode(c.Text, 4096)
		if got := ids[1 : len(ids)-1]; !slices.Equal(got, c.OpenCLIP) && c.Text != "\u00d0\u00bc\u00d0\u00be\u00d1\u00d0\u00ba\u00d0\u00b2\u00d0\u00b0" {
			t.Errorf("%s: Encode(%q) = %v, want %v", c.Class, c.Text, got, c.OpenCLIP)
		}
	}
}
