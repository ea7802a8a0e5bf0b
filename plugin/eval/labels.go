package eval

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/plugin/search"
)

// Bounds on labels.
const (
	maxLabels = 2000
	maxLabel  = 512 // bytes of a class or a phrase
)

// Label is one class and what is asked for it.
type Label struct {
	Class  string
	Phrase string // put in place of {} in the templates
	given  bool   // the user wrote the phrase; else it is made from the class
	where  string
}

// ParseLabels reads labels from a file, one `class` or `class<TAB>phrase` a line, or from a list separated by
// commas, whose words are classes and phrases at once. Blank lines and lines that begin with # are skipped.
func ParseLabels(arg string) ([]Label, error) {
	if info, err := os.Stat(arg); err == nil && !info.IsDir() {
		f, err := os.Open(arg)
		if err != nil {
			return nil, fmt.Errorf("read labels: %v: %w", err, tilescout.ErrBadInput)
		}
		defer f.Close()
		return ReadLabels(f, arg)
	}
	if !strings.Contains(arg, ",") && (strings.ContainsAny(arg, "/\\") || strings.Contains(arg, ".")) {
		return nil, fmt.Errorf("labels %s: no such file: %w", arg, tilescout.ErrBadInput)
	}
	var list []Label
	for i, word := range strings.Split(arg, ",") {
		if word = strings.TrimSpace(word); word != "" {
			list = append(list, Label{Class: word, where: fmt.Sprintf("label %d", i+1)})
		}
	}
	return checkLabels(list, "labels")
}

// ReadLabels reads a labels file; name is for messages.
func ReadLabels(r io.Reader, name string) ([]Label, error) {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 4<<10), 64<<10)
	var list []Label
	n := 0
	for in.Scan() {
		n++
		line := strings.TrimRight(in.Text(), "\r\n")
		if n == 1 {
			line = strings.TrimPrefix(line, "\ufeff")
		}
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		class, phrase, given := strings.Cut(line, "\t")
		l := Label{Class: strings.TrimSpace(class), Phrase: strings.TrimSpace(phrase), where: fmt.Sprintf("line %d", n)}
		l.given = given && l.Phrase != ""
		if strings.Contains(l.Phrase, "\t") {
			return nil, fmt.Errorf("%s line %d: more than one tab: want class, a tab and a phrase: %w", name, n, ErrLabels)
		}
		if list = append(list, l); len(list) > maxLabels {
			return nil, fmt.Errorf("%s line %d: more than %d labels: %w", name, n, maxLabels, ErrTooLarge)
		}
	}
	if err := in.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("%s line %d: far too long: %w", name, n+1, ErrTooLarge)
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return checkLabels(list, name)
}

// checkLabels refuses what cannot be told apart or asked.
func checkLabels(list []Label, name string) ([]Label, error) {
	seen, asked := map[string]string{}, map[string]string{}
	for i := range list {
		l := &list[i]
		where := name + " " + l.where
		if l.Phrase == "" {
			l.Phrase = search.Normalize(l.Class)
		}
		for _, s := range []string{l.Class, l.Phrase} {
			switch {
			case len(s) > maxLabel:
				return nil, fmt.Errorf("%s: longer than %d bytes: %w", where, maxLabel, ErrTooLarge)
			case !utf8.ValidString(s):
				return nil, fmt.Errorf("%s: not UTF-8: %w", where, ErrLabels)
			case strings.IndexFunc(s, unicode.IsControl) >= 0:
				return nil, fmt.Errorf("%s: a control character in %q: %w", where, s, ErrLabels)
			case fold(s) == "":
				return nil, fmt.Errorf("%s: no letter or digit in %q: %w", where, s, ErrLabels)
			}
		}
		if first, twice := seen[fold(l.Class)]; twice {
			return nil, fmt.Errorf("%s: the class %q is %s too: %w", where, l.Class, first, ErrTwice)
		}
		if first, twice := asked[search.Normalize(l.Phrase)]; twice {
			return nil, fmt.Errorf("%s: the phrase %q is asked by %s too, nothing could tell the two apart: %w", where, l.Phrase, first, ErrTwice)
		}
		seen[fold(l.Class)], asked[search.Normalize(l.Phrase)] = l.where, l.where
	}
	if len(list) < 2 {
		return nil, fmt.Errorf("%s: %d labels, want at least two to choose between: %w", name, len(list), ErrLabels)
	}
	return list, nil
}

// fold is a class as it is compared: letters and digits in lower case, so that "baseball field" names "baseballfield".
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

// labelsOf are the classes of a set as labels, in order of their names. Classes that only unnamed scenes have are left out.
func labelsOf(s *Set) ([]Label, error) {
	list := []Label{}
	for _, class := range classesOf(s) {
		list = append(list, Label{Class: class, where: fmt.Sprintf("class %q", class)})
	}
	return checkLabels(list, s.Name)
}

// splitGlued cuts a word that the model does not know into words that it knows, fewest and longest first:
// "storagetanks" → "storage tanks". Class ids of data sets are often glued.
func splitGlued(word string, known map[string]bool) (string, bool) {
	const shortest = 3
	type cut struct {
		words int
		at    int
	}
	if len(word) > maxLabel {
		return "", false
	}
	best := make([]cut, len(word)+1) // best[i]: fewest words that make up word[:i]
	for i := 1; i <= len(word); i++ {
		for j := 0; j+shortest <= i; j++ {
			if (j == 0 || best[j].words > 0) && known[word[j:i]] {
				if n := best[j].words + 1; best[i].words == 0 || n < best[i].words {
					best[i] = cut{n, j}
				}
			}
		}
	}
	if best[len(word)].words == 0 {
		return "", false
	}
	var parts []string
	for i := len(word); i > 0; i = best[i].at {
		parts = append([]string{word[best[i].at:i]}, parts...)
	}
	return strings.Join(parts, " "), true
}
