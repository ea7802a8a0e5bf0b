package bpe

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tilescout/tilescout"
)

// Caps on files, in bytes: tokenizer.json has 3.6 MB, the longest list of merges 3.2 MB.
const (
	maxFile = 16 << 20
	maxLine = 1 << 10
)

// standIns are the characters that stand for bytes in a vocabulary's files, in the order of their ids: printable ones for
// themselves, the others from U+0100 on (bytes_to_unicode in simple_tokenizer.py).
func standIns() (byID [256]byte, byRune map[rune]byte) {
	byRune = make(map[rune]byte, 256)
	printable := func(b int) bool { return b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae }
	id := 0
	for _, pass := range []bool{true, false} {
		next := rune(0x100)
		for b := range 256 {
			if printable(b) != pass {
				continue
			}
			r := rune(b)
			if !pass {
				r, next = next, next+1
			}
			byID[id], byRune[r] = byte(b), byte(b)
			id++
		}
	}
	return byID, byRune
}

// Load reads the vocabulary of a model folder: vocab.json with merges.txt, tokenizer.json, merges.txt alone, or OpenAI's
// bpe_simple_vocab_16e6.txt.gz. A folder without any is tilescout.ErrNotFound.
func Load(dir string, o Options) (*Tokenizer, error) {
	t, err := load(dir, o)
	if err != nil {
		return nil, fmt.Errorf("tokenizer %s: %w", dir, err)
	}
	return t, nil
}

func load(dir string, o Options) (*Tokenizer, error) {
	read := func(name string) (io.Reader, func(), error) {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return nil, nil, err
		}
		return f, func() { _ = f.Close() }, nil
	}
	if merges, done, err := read("merges.txt"); err == nil {
		defer done()
		vocab, done, err := read("vocab.json")
		if errors.Is(err, fs.ErrNotExist) {
			return Open(nil, merges, o)
		}
		if err != nil {
			return nil, err
		}
		defer done()
		return Open(vocab, merges, o)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if f, done, err := read("tokenizer.json"); err == nil {
		defer done()
		return OpenJSON(f, o)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, done, err := read("bpe_simple_vocab_16e6.txt.gz")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no vocabulary in it (merges.txt, tokenizer.json or bpe_simple_vocab_16e6.txt.gz): %w", tilescout.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	defer done()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("bpe_simple_vocab_16e6.txt.gz: %v: %w", err, ErrVocabulary)
	}
	return Open(nil, z, o)
}

// Open reads a list of merges, and the ids of vocab.json where it is not nil: they follow from the merges, and have to agree.
func Open(vocab, merges io.Reader, o Options) (*Tokenizer, error) {
	pairs, err := readMerges(merges)
	if err != nil {
		return nil, fmt.Errorf("merges: %w", err)
	}
	var ids map[string]int
	if vocab != nil {
		if err := decode(vocab, &ids); err != nil {
			return nil, fmt.Errorf("vocab.json: %w", err)
		}
	}
	return build(pairs, ids, o)
}

// OpenJSON reads tokenizer.json, as the tokenizers library writes it in its older and newer form.
func OpenJSON(r io.Reader, o Options) (*Tokenizer, error) {
	var file struct {
		Model struct {
			Type   string          `json:"type"`
			Suffix string          `json:"end_of_word_suffix"`
			Vocab  json.RawMessage `json:"vocab"` // a list in other types
			Merges json.RawMessage `json:"merges"`
		} `json:"model"`
	}
	if err := decode(r, &file); err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	if m := file.Model; m.Type != "" && m.Type != "BPE" || m.Suffix != wordEnd {
		return nil, fmt.Errorf("tokenizer.json: model %.20q with word ending %.20q, want BPE with %q (SigLIP and multilingual CLIPs have others): %w", m.Type, m.Suffix, wordEnd, ErrVocabulary)
	}
	var vocab map[string]int
	var merges []json.RawMessage
	for _, part := range []struct {
		raw  json.RawMessage
		into any
	}{{file.Model.Vocab, &vocab}, {file.Model.Merges, &merges}} {
		if part.raw == nil {
			continue
		}
		if err := json.Unmarshal(part.raw, part.into); err != nil {
			return nil, fmt.Errorf("tokenizer.json: %v: %w", err, ErrVocabulary)
		}
	}
	pairs := make([][2]string, 0, min(len(merges), maxMerges))
	for i, raw := range merges {
		if i == maxMerges {
			break
		}
		var pair [2]string
		var line string
		if json.Unmarshal(raw, &line) == nil {
			a, b, ok := strings.Cut(line, " ")
			if !ok {
				return nil, fmt.Errorf("tokenizer.json: merge %d, %.40q: %w", i, line, ErrVocabulary)
			}
			pair = [2]string{a, b}
		} else if err := json.Unmarshal(raw, &pair); err != nil {
			return nil, fmt.Errorf("tokenizer.json: merge %d: %v: %w", i, err, ErrVocabulary)
		}
		pairs = append(pairs, pair)
	}
	return build(pairs, vocab, o)
}

func decode(r io.Reader, into any) error {
	raw, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return err
	}
	if len(raw) > maxFile {
		return fmt.Errorf("larger than %d bytes: %w", maxFile, ErrVocabulary)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%v: %w", err, ErrVocabulary)
	}
	return nil
}

// readMerges reads lines of two symbols after a line with the version; empty lines end nothing.
func readMerges(r io.Reader) ([][2]string, error) {
	var pairs [][2]string
	s := bufio.NewScanner(io.LimitReader(r, maxFile))
	s.Buffer(make([]byte, 0, maxLine), maxLine)
	for line := 0; s.Scan() && len(pairs) < maxMerges; line++ {
		if line == 0 && strings.Contains(s.Text(), "#version") { // OpenAI's begins with a quote and the file's name
			continue
		}
		if line == 0 && strings.HasPrefix(strings.TrimSpace(s.Text()), "<") {
			return nil, fmt.Errorf("an HTML page in place of the file: %w", ErrVocabulary)
		}
		if strings.TrimSpace(s.Text()) == "" {
			continue
		}
		a, b, ok := strings.Cut(s.Text(), " ")
		if !ok || a == "" || b == "" || strings.Contains(b, " ") {
			return nil, fmt.Errorf("line %d, %.40q, is no pair of symbols: %w", line+1, s.Text(), ErrVocabulary)
		}
		pairs = append(pairs, [2]string{a, b})
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("%v: %w", err, ErrVocabulary)
	}
	if len(pairs) == 0 {
		return nil, fmt.Errorf("no merges: %w", ErrVocabulary)
	}
	return pairs, nil
}

// build numbers the symbols: bytes, bytes at the end of a word, merges in their order, start, end.
func build(pairs [][2]string, ids map[string]int, o Options) (*Tokenizer, error) {
	cleaning, err := checkCleaning(o.Cleaning)
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{cleaning: cleaning, merged: make(map[uint64]int32, len(pairs)), start: bytesAndEnds + len(pairs), end: bytesAndEnds + len(pairs) + 1}
	byID, byRune := standIns()
	names := make(map[string]int32, bytesAndEnds+len(pairs))
	spelling := make(map[byte]string, 256)
	for r, b := range byRune {
		spelling[b] = string(r)
	}
	for id, b := range byID {
		t.symbol[b] = int32(id)
		names[spelling[b]], names[spelling[b]+wordEnd] = int32(id), int32(id)+256
	}
	for i, p := range pairs {
		a, ok := names[p[0]]
		b, ok2 := names[p[1]]
		if !ok || !ok2 {
			return nil, fmt.Errorf("merge %d joins %.40q and %.40q, which are no symbols before it: %w", i+1, p[0], p[1], ErrVocabulary)
		}
		id := int32(bytesAndEnds + i)
		if _, twice := t.merged[key(a, b)]; twice {
			return nil, fmt.Errorf("merge %d of %.40q and %.40q is there twice: %w", i+1, p[0], p[1], ErrVocabulary)
		}
		t.merged[key(a, b)] = id
		if _, known := names[p[0]+p[1]]; !known { // two merges may come to the same symbol; the first has its name
			names[p[0]+p[1]] = id
		}
	}
	if ids == nil {
		return t, nil
	}
	names[startName], names[endName] = int32(t.start), int32(t.end)
	for name, id := range names {
		if got, ok := ids[name]; !ok || got != int(id) {
			return nil, fmt.Errorf("%.40q is %d in the vocabulary and %d by the merges: %w", name, got, id, ErrVocabulary)
		}
	}
	return t, nil
}
