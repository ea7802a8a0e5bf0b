package bpe

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// pieces cleans a text and cuts it: special names, contractions, runs of letters, single digits, runs of anything else but
// white space. Either function returns false to stop.
func (t *Tokenizer) pieces(text string, piece func(string) bool, special func(id int) bool) {
	text = strings.ToValidUTF8(text, "\uFFFD")
	names := [2]string{startName, endName}
	if t.cleaning == OpenCLIP {
		text = clean(text)
		names = [2]string{startOpen, endOpen}
	}
	for text != "" {
		at, which := len(text), -1
		for i, name := range names {
			if found := strings.Index(text, name); found >= 0 && found < at {
				at, which = found, i
			}
		}
		part := text[:at]
		if t.cleaning == HF {
			part = lower(norm.NFC.String(part))
		}
		if !split(part, piece) {
			return
		}
		if which < 0 {
			return
		}
		if !special([2]int{t.start, t.end}[which]) {
			return
		}
		text = text[at+len(names[which]):]
	}
}

// lower maps rune by rune, as the tokenizers library does: no final sigma, and the dotted capital I becomes two.
func lower(s string) string {
	return strings.ReplaceAll(strings.Map(func(r rune) rune {
		if r == 'İ' {
			return r
		}
		return unicode.ToLower(r)
	}, s), "İ", "i\u0307")
}

var contractions = []string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}

// split calls piece for each piece of a cleaned text.
func split(s string, piece func(string) bool) bool {
	for s != "" {
		n := match(s)
		if n < 0 {
			_, size := utf8.DecodeRuneInString(s)
			s = s[size:]
			continue
		}
		if !piece(s[:n]) {
			return false
		}
		s = s[n:]
	}
	return true
}

// match returns the length of the piece at the start of s; -1 for white space.
func match(s string) int {
	for _, c := range contractions {
		if strings.HasPrefix(s, c) {
			return len(c)
		}
	}
	r, size := utf8.DecodeRuneInString(s)
	switch {
	case unicode.IsSpace(r):
		return -1
	case unicode.IsNumber(r):
		return size
	case unicode.IsLetter(r):
		return run(s, unicode.IsLetter)
	}
	return run(s, func(r rune) bool { return !unicode.IsSpace(r) && !unicode.IsNumber(r) && !unicode.IsLetter(r) })
}

func run(s string, in func(rune) bool) int {
	for i, r := range s {
		if !in(r) {
			return i
		}
	}
	return len(s)
}
