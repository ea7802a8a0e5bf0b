package search

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/geo"
	"golang.org/x/text/unicode/norm"
)

// Bounds on what one question may hold.
const (
	maxPromptBytes = 512
	maxPrompts     = 16
)

// term is one phrase, or one tile, that a question asks for.
type term struct {
	phrase string       // normalised; "" if the term is a tile
	tile   maptile.Tile // "more like this", "not this"
	weight float64      // power of the score; 1 if the user gave none
}

func (t term) isTile() bool { return t.phrase == "" }

func (t term) String() string {
	s := t.phrase
	if t.isTile() {
		s = "tile:" + tileName(t.tile)
	}
	if t.weight != 1 {
		s += "^" + strconv.FormatFloat(t.weight, 'g', 4, 64)
	}
	return s
}

// expression is what a whole question means: any of the alternatives, all terms of an alternative,
// none of the negatives.
type expression struct {
	any [][]term
	not []term
}

// key is the canonical spelling: equal questions have equal keys.
func (x expression) key() string {
	var b strings.Builder
	for _, all := range x.any {
		b.WriteString("\x1f|")
		for _, t := range all {
			b.WriteString("\x1f&")
			b.WriteString(t.String())
		}
	}
	for _, t := range x.not {
		b.WriteString("\x1f-")
		b.WriteString(t.String())
	}
	return b.String()
}

// phrases are the words asked for, in order, without the negatives.
func (x expression) phrases() []string {
	var out []string
	for _, all := range x.any {
		for _, t := range all {
			if !t.isTile() {
				out = append(out, t.phrase)
			}
		}
	}
	return out
}

// parse reads repeated prompts (any of them) and negatives. Inside one prompt `a AND b`, `a OR b`, `-b`,
// "quoted words" and `a^2` (weight) are understood; the operators are upper case so that a sentence
// may hold the words. `tile:z/x/y` stands for a tile's picture.
func parse(prompts, not []string) (expression, error) {
	var x expression
	if len(prompts) == 0 {
		return x, fmt.Errorf("a prompt is missing: give q, for example q=stadium: %w", tilescout.ErrBadInput)
	}
	if len(prompts)+len(not) > maxPrompts {
		return x, fmt.Errorf("%d prompts in one question, at most %d: %w", len(prompts)+len(not), maxPrompts, tilescout.ErrBadInput)
	}
	for _, p := range prompts {
		if err := checkPrompt(p); err != nil {
			return x, err
		}
		for _, alternative := range splitOperator(p, "OR") {
			var all []term
			for _, part := range splitOperator(alternative, "AND") {
				positive, negatives := splitNegatives(part)
				for _, n := range negatives {
					t, err := parseTerm(n)
					if err != nil {
						return x, err
					}
					x.not = append(x.not, t)
				}
				if positive == "" && len(negatives) > 0 {
					continue
				}
				t, err := parseTerm(positive)
				if err != nil {
					return x, err
				}
				all = append(all, t)
			}
			if len(all) > 0 {
				x.any = append(x.any, all)
			}
		}
	}
	for _, n := range not {
		if err := checkPrompt(n); err != nil {
			return x, err
		}
		t, err := parseTerm(n)
		if err != nil {
			return x, err
		}
		x.not = append(x.not, t)
	}
	if len(x.any) == 0 {
		return x, fmt.Errorf("the prompt asks for nothing: give a word to look for beside what to leave out: %w", tilescout.ErrBadInput)
	}
	return x, nil
}

// checkPrompt refuses what no person types: nothing, too much, broken UTF-8, control characters.
func checkPrompt(p string) error {
	switch {
	case strings.TrimSpace(p) == "":
		return fmt.Errorf("the prompt is empty: type what to look for, for example stadium: %w", tilescout.ErrBadInput)
	case len(p) > maxPromptBytes:
		return fmt.Errorf("the prompt has %d bytes, at most %d: %w", len(p), maxPromptBytes, tilescout.ErrBadInput)
	case !utf8.ValidString(p):
		return fmt.Errorf("the prompt is not valid UTF-8: %w", tilescout.ErrBadInput)
	}
	for _, r := range p {
		if unicode.IsControl(r) {
			return fmt.Errorf("the prompt holds the control character %U: %w", r, tilescout.ErrBadInput)
		}
	}
	return nil
}

// splitOperator cuts at a blank-separated upper-case word that stands outside quotes.
func splitOperator(s, operator string) []string {
	var out []string
	var part []string
	quoted := false
	for word := range strings.FieldsSeq(s) {
		if !quoted && word == operator {
			out = append(out, strings.Join(part, " "))
			part = nil
			continue
		}
		if strings.Count(word, `"`)%2 == 1 {
			quoted = !quoted
		}
		part = append(part, word)
	}
	return append(out, strings.Join(part, " "))
}

// splitNegatives takes `-word` and `-"several words"` out of a phrase.
func splitNegatives(s string) (positive string, negatives []string) {
	words := strings.Fields(s)
	var keep []string
	for i := 0; i < len(words); i++ {
		word := words[i]
		if len(word) < 2 || word[0] != '-' || word[1] == '-' {
			keep = append(keep, word)
			continue
		}
		n := word[1:]
		if strings.HasPrefix(n, `"`) {
			for strings.Count(n, `"`) < 2 && i+1 < len(words) {
				i++
				n += " " + words[i]
			}
		}
		negatives = append(negatives, n)
	}
	return strings.Join(keep, " "), negatives
}

func parseTerm(s string) (term, error) {
	t := term{weight: 1}
	if head, power, ok := cutLast(s, '^'); ok {
		w, err := strconv.ParseFloat(power, 64)
		if err != nil || !(w >= .1 && w <= 10) {
			return t, fmt.Errorf("weight %q in the prompt: a number from 0.1 to 10 follows ^: %w", power, tilescout.ErrBadInput)
		}
		s, t.weight = head, w
	}
	if name, ok := strings.CutPrefix(strings.TrimSpace(s), "tile:"); ok {
		tile, err := ParseTileName(name)
		if err != nil {
			return t, err
		}
		t.tile = tile
		return t, nil
	}
	if t.phrase = Normalize(s); t.phrase == "" {
		return t, fmt.Errorf("the prompt %q holds no word: %w", s, tilescout.ErrBadInput)
	}
	if len(t.phrase) > 4*maxPromptBytes {
		return t, fmt.Errorf("the prompt is longer than %d bytes once written out: %w", 4*maxPromptBytes, tilescout.ErrBadInput)
	}
	return t, nil
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// Normalize is the phrase as the model is asked it: NFKC, without invisible characters, camelCase,
// under_scores and hy-phens split, lower case, single blanks, no leading articles, no closing stop.
func Normalize(s string) string {
	s = norm.NFKC.String(s)
	var b strings.Builder
	var last rune
	for _, r := range s {
		switch {
		case unicode.Is(unicode.Cf, r), unicode.IsControl(r), r == '"':
			continue
		case r == '_' || r == '-':
			r = ' '
		case unicode.IsUpper(r) && unicode.IsLower(last):
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
		last = r
	}
	words := strings.Fields(strings.TrimRight(b.String(), " .!?"))
	for len(words) > 1 && (words[0] == "a" || words[0] == "an" || words[0] == "the") {
		words = words[1:]
	}
	return strings.Join(words, " ")
}

// ParseTileName reads "z/x/y".
func ParseTileName(s string) (maptile.Tile, error) {
	parts := strings.Split(s, "/")
	if len(parts) != 3 {
		return maptile.Tile{}, fmt.Errorf("tile %q: want z/x/y: %w", s, tilescout.ErrBadInput)
	}
	return geo.ParseTile(parts[0], parts[1], parts[2])
}

func tileName(t maptile.Tile) string {
	return fmt.Sprintf("%d/%d/%d", t.Z, t.X, t.Y)
}

// promptVector is a prompt as the model sees it.
type promptVector struct {
	embedding []float32 // unit length; nil if no word of the prompt is known
	unknown   []string  // words that the model has not learned
	truncated bool
	described []encoder.Description
}

// prompt embeds a normalised phrase through the model's templates and keeps the result:
// t_q = unit(Σ_k unit(E(T_k(phrase)))), SQ eq. 1 in docs/search.md (Radford et al. 2021, §3.1.4).
func (e *Engine) prompt(ctx context.Context, phrase string) (promptVector, error) {
	return e.prompts.Get(ctx, phrase, func(ctx context.Context) (promptVector, error) {
		bare, err := e.encoder.Texts(ctx, []string{phrase})
		if err != nil {
			return promptVector{}, fmt.Errorf("embed prompt: %w", err)
		}
		out := promptVector{unknown: bare[0].Unknown, truncated: bare[0].Truncated, described: bare[0].Described}
		if len(out.unknown) > 0 && len(out.unknown) >= countWords(phrase) {
			return out, nil // nothing was understood: no guess
		}
		out.embedding, err = e.embedTemplates(ctx, phrase)
		return out, err
	})
}

func countWords(s string) int {
	return len(strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }))
}

// embedTemplates is the mean direction of the phrase in all the model's templates.
func (e *Engine) embedTemplates(ctx context.Context, phrase string) ([]float32, error) {
	templates := e.model.Templates
	if len(templates) == 0 {
		templates = []string{"{}"}
	}
	prompts := make([]string, len(templates))
	for i, t := range templates {
		prompts[i] = strings.ReplaceAll(t, "{}", phrase)
	}
	texts, err := e.encoder.Texts(ctx, prompts)
	if err != nil {
		return nil, fmt.Errorf("embed prompt: %w", err)
	}
	sum := make([]float32, e.model.Dimension)
	for _, t := range texts {
		for i, v := range t.Embedding {
			sum[i] += v
		}
	}
	if !normalize(sum) {
		return nil, fmt.Errorf("embed prompt %q: the model answers no direction: %w", phrase, tilescout.ErrUnavailable)
	}
	return sum, nil
}

// normalize scales v to unit length in place; false if v has no direction.
func normalize(v []float32) bool {
	var s float64
	for _, x := range v {
		s += float64(x) * float64(x)
	}
	if !(s > 1e-12) || math.IsInf(s, 0) {
		return false
	}
	f := float32(1 / math.Sqrt(s))
	for i := range v {
		v[i] *= f
	}
	return true
}

func dot(a, b []float32) float64 {
	var s float32
	for i, x := range a {
		s += x * b[i]
	}
	return float64(s)
}
