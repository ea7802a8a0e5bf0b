package convert

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder/bpe"
	"github.com/tilescout/tilescout/encoder/checkpoint"
)

// maxVocabulary bounds the files of a vocabulary, in bytes; tokenizer.json of CLIP has 3.6 MB.
const maxVocabulary = 16 << 20

// vocabularies are the files in which a vocabulary comes, best first, as bpe.Load takes them.
var vocabularies = [][]string{{"vocab.json", "merges.txt"}, {"tokenizer.json"}, {"merges.txt"}, {openAIMerges}}

// openAIMerges is the list of merges in the packages of openai/CLIP and open_clip; the model uses its first lines only.
const (
	openAIMerges      = "bpe_simple_vocab_16e6.txt.gz"
	openAIMergesLines = 1 + 49152 - 256 - 2 // with the line of its version
)

// vocabulary copies a vocabulary, having looked whether it fits the text tower.
func (w *writer) vocabulary(t checkpoint.Tokenizer, fits func(*bpe.Tokenizer) error) error {
	dir := t.Folder
	if w.o.Vocabulary != "" {
		dir = w.o.Vocabulary
	}
	if dir == "" {
		return w.ownVocabulary(t.Cleaning, fits)
	}
	tokenizer, err := bpe.Load(dir, bpe.Options{Cleaning: t.Cleaning})
	if errors.Is(err, tilescout.ErrNotFound) {
		return fmt.Errorf("vocabulary %s: no vocab.json and merges.txt, tokenizer.json or %s in it: %w", dir, openAIMerges, tilescout.ErrBadInput)
	}
	if err != nil {
		return fmt.Errorf("vocabulary %s: %w", dir, err)
	}
	if err := fits(tokenizer); err != nil {
		return fmt.Errorf("vocabulary %s: %w", dir, err)
	}
	w.tokenizer = tokenizer
	m := &w.m.Text
	m.Tokenizer, m.Clean = "bpe", t.Cleaning
	for _, files := range vocabularies {
		found := true
		for _, name := range files {
			info, err := os.Stat(filepath.Join(dir, name))
			found = found && err == nil && info.Mode().IsRegular()
		}
		if !found {
			continue
		}
		for _, name := range files {
			data, err := readCapped(filepath.Join(dir, name))
			if err == nil && name == openAIMerges {
				data, err = unpackMerges(data)
				name = "merges.txt"
			}
			if err != nil {
				return fmt.Errorf("vocabulary: %w", err)
			}
			if name == "merges.txt" {
				m.Merges = name
			} else {
				m.Vocabulary = name
			}
			if err := w.file(name, data); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("vocabulary %s: no vocab.json and merges.txt, tokenizer.json or %s in it: %w", dir, openAIMerges, tilescout.ErrBadInput)
}

// ownVocabulary writes CLIP's own vocabulary for a checkpoint that has none beside it, if it can be the one that the text
// tower was trained with.
func (w *writer) ownVocabulary(cleaning string, fits func(*bpe.Tokenizer) error) error {
	tokenizer, err := bpe.CLIP(bpe.Options{Cleaning: cleaning})
	if err != nil {
		return err
	}
	if err := fits(tokenizer); err != nil {
		return fmt.Errorf("the checkpoint has no vocabulary (vocab.json and merges.txt, tokenizer.json or %s) beside it and CLIP's own is not its: put it there, or name a folder that has it with --vocabulary: %w", openAIMerges, err)
	}
	merges, err := bpe.CLIPMerges()
	if err != nil {
		return err
	}
	w.tokenizer = tokenizer
	m := &w.m.Text
	m.Tokenizer, m.Clean, m.Merges = "bpe", cleaning, "merges.txt"
	return w.file(m.Merges, merges)
}

func readCapped(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxVocabulary+1))
	if err == nil && len(data) > maxVocabulary {
		err = fmt.Errorf("%s has more than %d bytes: %w", filepath.Base(path), maxVocabulary, tilescout.ErrBadInput)
	}
	return data, err
}

// unpackMerges keeps the lines of OpenAI's list that the model was trained with.
func unpackMerges(data []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %v: %w", openAIMerges, err, tilescout.ErrBadInput)
	}
	lines := bufio.NewScanner(io.LimitReader(z, maxVocabulary))
	var out bytes.Buffer
	for n := 0; n < openAIMergesLines; n++ {
		if !lines.Scan() {
			return nil, fmt.Errorf("%s: %d lines (%v), want at least %d: %w", openAIMerges, n, lines.Err(), openAIMergesLines, tilescout.ErrBadInput)
		}
		out.Write(lines.Bytes())
		out.WriteByte('\n')
	}
	return out.Bytes(), nil
}
