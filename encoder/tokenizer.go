package encoder

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/tilescout/tilescout"
)

// tokenizer turns prompts into the text tower's input.
type tokenizer interface {
	tokenize(prompt string) (tokens, error)
	padding() int64  // what follows a prompt that is shorter than others of its batch
	probe() []int64  // a prompt that any text tower of this tokenizer must be able to read
	known() []string // the words it knows, sorted; nil if it reads any
}

// newTokenizer reads the vocabulary of a text tower.
func newTokenizer(m TextManifest, read func(file string) ([]byte, error)) (tokenizer, error) {
	if m.Tokenizer == "bpe" {
		return newPieces(m, read)
	}
	vocabulary, err := read(m.Vocabulary)
	if err != nil {
		return nil, err
	}
	w, err := parseWords(vocabulary, m.Context)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Vocabulary, err)
	}
	return w, nil
}

// maxPrompt bounds the work that one prompt can cause, in bytes.
const maxPrompt = 4096

// maxAliasWords is the length of the longest alias, in words.
const maxAliasWords = 3

// words is the tokenizer "words": a closed vocabulary of whole words. It knows few words, and knows which it does not
// know, which a tokenizer of word pieces cannot say.
type words struct {
	ids     map[string]int64
	aliases map[string][]string // words joined by a blank → the words in their place
	told    map[string]string   // those of the aliases that describe a thing which no picture was labelled with
	pad     int64
	unknown int64
	context int
}

// parseWords reads vocab.json.
func parseWords(raw []byte, context int) (*words, error) {
	var file struct {
		Pad     int64             `json:"pad"`
		Unknown int64             `json:"unknown"`
		Words   []string          `json:"words"`
		Aliases map[string]string `json:"aliases"`
		// Descriptions are aliases of things that the model was never shown under their name.
		Descriptions map[string]string `json:"descriptions"`
	}
	if err := decodeStrict(raw, &file); err != nil {
		return nil, err
	}
	n := int64(len(file.Words))
	if file.Pad < 0 || file.Pad >= n || file.Unknown < 0 || file.Unknown >= n || file.Pad == file.Unknown {
		return nil, fmt.Errorf("pad %d and unknown %d must be two of the %d words: %w", file.Pad, file.Unknown, n, tilescout.ErrBadInput)
	}
	w := &words{ids: make(map[string]int64, n), aliases: make(map[string][]string, len(file.Aliases)), told: map[string]string{}, pad: file.Pad, unknown: file.Unknown, context: context}
	for i, word := range file.Words {
		if int64(i) == w.pad || int64(i) == w.unknown {
			continue // not words: nobody can type them
		}
		if _, twice := w.ids[word]; twice || word == "" {
			return nil, fmt.Errorf("word %d, %q, is empty or there twice: %w", i, word, tilescout.ErrBadInput)
		}
		w.ids[word] = int64(i)
	}
	for from, to := range file.Aliases {
		if _, err := w.addAlias(from, to); err != nil {
			return nil, err
		}
	}
	for from, to := range file.Descriptions {
		key, err := w.addAlias(from, to)
		if err != nil {
			return nil, err
		}
		w.told[key] = to
	}
	return w, nil
}

// addAlias makes a phrase stand for other words, and returns the phrase as it is looked up.
func (w *words) addAlias(from, to string) (string, error) {
	key := normal(split(from))
	if len(key) == 0 || len(key) > maxAliasWords {
		return "", fmt.Errorf("alias %q: want 1 to %d words: %w", from, maxAliasWords, tilescout.ErrBadInput)
	}
	value := normal(split(to))
	if len(value) == 0 {
		return "", fmt.Errorf("alias %q stands for no word: %w", from, tilescout.ErrBadInput)
	}
	joined := strings.Join(key, " ")
	w.aliases[joined] = value
	return joined, nil
}

// known lists the vocabulary, sorted.
func (w *words) known() []string {
	list := make([]string, 0, len(w.ids))
	for word := range w.ids {
		list = append(list, word)
	}
	slices.Sort(list)
	return list
}

func (w *words) padding() int64 { return w.pad }

func (w *words) probe() []int64 { return slices.Repeat([]int64{w.unknown}, w.context) }

// tokens is a prompt as the text tower takes it.
type tokens struct {
	ids       []int64  // of whole words: context long, padded
	unknown   []string // words outside the vocabulary, as the user spelt them, each once
	truncated bool     // words were left off at the end
	described []Description
}

// tokenize turns a prompt into token ids. A prompt without any word, one that is no UTF-8 and one above 4096 bytes are
// ErrBadInput.
func (w *words) tokenize(prompt string) (tokens, error) {
	if err := checkPrompt(prompt); err != nil {
		return tokens{}, err
	}
	list := split(prompt)
	if len(list) == 0 {
		return tokens{}, fmt.Errorf("prompt %.40q has no word in it: %w", prompt, tilescout.ErrBadInput)
	}
	t := tokens{ids: make([]int64, 0, w.context)}
	emit := func(id int64) {
		if len(t.ids) == w.context {
			t.truncated = true
			return
		}
		t.ids = append(t.ids, id)
	}
	for i := 0; i < len(list); {
		replacement, n := w.alias(list[i:])
		if n > 0 {
			phrase := strings.Join(normal(list[i:i+n]), " ")
			if as, ok := w.told[phrase]; ok {
				t.described = append(t.described, Description{Phrase: phrase, As: as})
			}
			for _, word := range replacement {
				id, _ := w.id(word)
				emit(id)
			}
			i += n
			continue
		}
		id, known := w.id(list[i].normal)
		if spelling := list[i].spelling; !known && !slices.Contains(t.unknown, spelling) {
			t.unknown = append(t.unknown, spelling)
		}
		emit(id)
		i++
	}
	for len(t.ids) < w.context {
		t.ids = append(t.ids, w.pad)
	}
	return t, nil
}

func checkPrompt(prompt string) error {
	if len(prompt) > maxPrompt {
		return fmt.Errorf("prompt of %d bytes: want at most %d: %w", len(prompt), maxPrompt, tilescout.ErrBadInput)
	}
	if !utf8.ValidString(prompt) {
		return fmt.Errorf("prompt is not UTF-8: %w", tilescout.ErrBadInput)
	}
	return nil
}

// alias returns what stands for the longest alias at the start of list, and its length in words; 0 if there is none.
func (w *words) alias(list []word) ([]string, int) {
	for n := min(maxAliasWords, len(list)); n > 0; n-- {
		if to, ok := w.aliases[strings.Join(normal(list[:n]), " ")]; ok {
			return to, n
		}
	}
	return nil, 0
}

// id is the token of a word; a plural that is not in the vocabulary is taken for its singular.
func (w *words) id(word string) (id int64, known bool) {
	if id, ok := w.ids[word]; ok {
		return id, true
	}
	for _, ending := range []struct{ plural, singular string }{{"ies", "y"}, {"es", ""}, {"s", ""}} {
		if stem, ok := strings.CutSuffix(word, ending.plural); ok {
			if id, ok := w.ids[stem+ending.singular]; ok {
				return id, true
			}
		}
	}
	return w.unknown, false
}

// word is one word of a prompt.
type word struct {
	normal   string // lower case, without apostrophes
	spelling string // as it was typed, in Unicode form NFKC
}

// split finds the words of a text: runs of letters and digits, in which apostrophes are passed over.
func split(text string) []word {
	text = norm.NFKC.String(text)
	var list []word
	var normal strings.Builder
	start := -1
	flush := func(end int) {
		if start >= 0 && normal.Len() > 0 {
			spelling := strings.TrimFunc(text[start:end], isApostrophe)
			list = append(list, word{normal.String(), spelling})
		}
		normal.Reset()
		start = -1
	}
	for i, r := range text {
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			if start < 0 {
				start = i
			}
			normal.WriteString(strings.ToLower(string(r)))
		case isApostrophe(r):
		default:
			flush(i)
		}
	}
	flush(len(text))
	return list
}

func isApostrophe(r rune) bool {
	return r == '\'' || r == '’'
}

func normal(list []word) []string {
	s := make([]string, len(list))
	for i, w := range list {
		s[i] = w.normal
	}
	return s
}
