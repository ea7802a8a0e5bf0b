package bpe

import (
	"html"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"
)

// repairs are the characters that ftfy replaces by plainer ones: curly quotes, ligatures.
var repairs = strings.NewReplacer(
	"‘", "'", "’", "'", "‚", "'", "‛", "'", "ʼ", "'", "“", `"`, "”", `"`, "„", `"`, "‟", `"`,
	"ﬀ", "ff", "ﬁ", "fi", "ﬂ", "fl", "ﬃ", "ffi", "ﬄ", "ffl", "ﬅ", "ſt", "ﬆ", "st", "Ĳ", "IJ", "ĳ", "ij",
	"Ǆ", "DŽ", "ǅ", "Dž", "ǆ", "dž", "Ǉ", "LJ", "ǈ", "Lj", "ǉ", "lj", "Ǌ", "NJ", "ǋ", "Nj", "ǌ", "nj", "ŉ", "'n",
)

// escapes are the terminal's colour codes.
var escapes = regexp.MustCompile("\x1b\\[[0-?]*[ -/]*[@-~]")

// clean is open_clip's: HTML entities, what ftfy repairs, one blank for white space, lower case with the final sigma.
// Of text that was decoded wrongly it repairs what is UTF-8 throughout, where ftfy weighs every part.
func clean(s string) string {
	for range 3 { // ftfy, and twice by open_clip itself
		s = html.UnescapeString(s)
	}
	s = redecode(s)
	s = escapes.ReplaceAllString(s, "")
	s = repairs.Replace(s)
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 0xff01 && r <= 0xffef:
			if folded := []rune(width.Fold.String(string(r))); len(folded) == 1 {
				return folded[0]
			}
		case r >= 0x80 && r <= 0x9f: // meant for Windows' characters
			return charmap.Windows1252.DecodeByte(byte(r))
		case r == 0x3000:
			return ' '
		case r < 0x20 && r != '\t' && r != '\n' && r != '\f' && r != '\r', r == 0x7f, r >= 0x206a && r <= 0x206f, r == 0xfeff, r >= 0xfff9 && r <= 0xfffc:
			return -1
		}
		return r
	}, s)
	s = norm.NFC.String(s)
	return lowerPython(strings.Join(strings.Fields(s), " "))
}

// redecode returns what a text was before its UTF-8 was read as Windows-1252: "cafÃ©" becomes "café". Text whose bytes
// would be no UTF-8 stays.
func redecode(s string) string {
	raw := make([]byte, 0, len(s))
	wide := false
	for _, r := range s {
		b, ok := charmap.Windows1252.EncodeRune(r)
		if !ok {
			if r > 0xff {
				return s
			}
			b = byte(r)
		}
		wide = wide || b >= 0x80
		raw = append(raw, b)
	}
	if !wide || !utf8.Valid(raw) {
		return s
	}
	return string(raw)
}

// lowerPython is str.lower: a capital sigma at the end of a word becomes the final one.
func lowerPython(s string) string {
	if !strings.ContainsRune(s, 'Σ') {
		return lower(s)
	}
	runes := []rune(s)
	for i, r := range runes {
		if r == 'Σ' && i > 0 && unicode.IsLetter(runes[i-1]) && (i+1 == len(runes) || !unicode.IsLetter(runes[i+1])) {
			runes[i] = 'ς'
		}
	}
	return lower(string(runes))
}
