package eval

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tilescout/tilescout"
)

// maxListed is how many choices a line of a score file holds: 22 columns, as clip-rsicd's evaluation writes them.
const maxListed = 10

// OpenScores reads a score file. labels may be nil: the labels are then all classes that occur in it.
func OpenScores(file string, labels []Label) (*Predictions, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("scores %s: no such file: %w", file, tilescout.ErrBadInput)
	}
	defer f.Close()
	p, err := ReadScores(f, filepath.Base(file), labels)
	if err != nil {
		return nil, err
	}
	p.set = &Set{Name: strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))}
	return p, nil
}

// ReadScores reads tab separated lines without a header: picture, its class, then up to ten times a class and its
// probability, best first; name is for messages. What the lines do not list has no probability.
func ReadScores(r io.Reader, name string, labels []Label) (*Predictions, error) {
	type row struct {
		file, class string
		classes     []string
		p           []float64
	}
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 4<<10), 64<<10)
	var rows []row
	lineOf, at := map[string]int{}, map[string]int{}
	var found []string
	note := func(class string) {
		if _, ok := at[fold(class)]; !ok {
			at[fold(class)] = 0
			found = append(found, class)
		}
	}
	n := 0
	for in.Scan() {
		n++
		line := strings.TrimRight(in.Text(), "\r")
		if line == "" {
			continue
		}
		bad := func(format string, args ...any) error {
			return fmt.Errorf("%s line %d: %s: %w", name, n, fmt.Sprintf(format, args...), ErrScores)
		}
		if !utf8.ValidString(line) {
			return nil, bad("not UTF-8")
		}
		cells := strings.Split(line, "\t")
		if len(cells) < 4 || len(cells)%2 != 0 || len(cells) > 2+2*maxListed {
			return nil, bad("%d columns; want picture, class, then 1 to %d times a class and its probability", len(cells), maxListed)
		}
		w := row{file: cells[0], class: cells[1]}
		if first, twice := lineOf[w.file]; twice {
			return nil, bad("%q is on line %d too", w.file, first)
		}
		lineOf[w.file] = n
		for i := 2; i < len(cells); i += 2 {
			v, err := strconv.ParseFloat(cells[i+1], 64)
			if err != nil || !(v >= 0 && v <= 1) {
				return nil, bad("probability %.40q, want a number from 0 to 1", cells[i+1])
			}
			if k := len(w.p); k > 0 && v > w.p[k-1] {
				return nil, bad("probability %g comes after %g, want the best first", v, w.p[k-1])
			}
			w.classes, w.p = append(w.classes, cells[i]), append(w.p, v)
		}
		seen := map[string]bool{}
		for _, c := range append([]string{w.class}, w.classes...) {
			if fold(c) == "" {
				return nil, bad("a class without a letter or digit: %.40q", c)
			}
			note(c)
		}
		for _, c := range w.classes {
			if seen[fold(c)] {
				return nil, bad("the class %q is listed twice", c)
			}
			seen[fold(c)] = true
		}
		if rows = append(rows, w); len(rows) > maxScenes || len(found) > maxLabels {
			return nil, fmt.Errorf("%s line %d: more than %d pictures or %d classes: %w", name, n, maxScenes, maxLabels, ErrTooLarge)
		}
	}
	switch err := in.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("%s line %d: far too long: %w", name, n+1, ErrTooLarge)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case len(rows) == 0:
		return nil, fmt.Errorf("%s: not one line: %w", name, ErrEmpty)
	}
	if labels == nil {
		slices.Sort(found)
		for _, c := range found {
			labels = append(labels, Label{Class: c, where: fmt.Sprintf("class %q", c)})
		}
		var err error
		if labels, err = checkLabels(labels, name); err != nil {
			return nil, err
		}
	}
	p := &Predictions{Labels: labels, Templates: []string{}}
	clear(at)
	for i, l := range labels {
		at[fold(l.Class)] = i
	}
	for _, w := range rows {
		truth, ok := at[fold(w.class)]
		if !ok {
			return nil, fmt.Errorf("%s line %d: class %q: %w", name, lineOf[w.file], w.class, ErrUnlabelled)
		}
		pr := Prediction{File: w.file, Truth: truth, scene: -1}
		for i, c := range w.classes {
			k, ok := at[fold(c)]
			if !ok {
				return nil, fmt.Errorf("%s line %d: class %q: %w", name, lineOf[w.file], c, ErrUnlabelled)
			}
			pr.Choices = append(pr.Choices, Choice{k, w.p[i]})
		}
		p.List = append(p.List, pr)
	}
	return p, nil
}

// WriteScores writes the predictions in the form that ReadScores reads, probabilities with five decimals.
func (p *Predictions) WriteScores(w io.Writer) error {
	out := bufio.NewWriter(w)
	for _, pr := range p.List {
		for _, s := range []string{pr.File, p.Labels[pr.Truth].Class} {
			if strings.ContainsAny(s, "\t\n\r") {
				return fmt.Errorf("scores: %q has a tab or line break in it: %w", s, tilescout.ErrBadInput)
			}
		}
		fmt.Fprintf(out, "%s\t%s", pr.File, p.Labels[pr.Truth].Class)
		for _, c := range pr.Choices[:min(maxListed, len(pr.Choices))] {
			fmt.Fprintf(out, "\t%s\t%.5f", p.Labels[c.Label].Class, math.Abs(c.P))
		}
		fmt.Fprintln(out)
	}
	return out.Flush()
}
