package eval

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tilescout/tilescout"
)

func TestParseLabels(t *testing.T) {
	dir := t.TempDir()
	file := put(t, filepath.Join(dir, "labels.tsv"), []byte("\ufeff# classes\nairport\tan airport\r\n\nstorageTanks\nport\t\n"))
	for _, c := range []struct {
		arg  string
		want [][3]string // class, phrase, "given" if the user wrote it
	}{
		{file, [][3]string{{"airport", "an airport", "given"}, {"storageTanks", "storage tanks", ""}, {"port", "port", ""}}},
		{"airport, baseball field ,forest,", [][3]string{{"airport", "airport", ""}, {"baseball field", "baseball field", ""}, {"forest", "forest", ""}}},
		{"Wald,Straße", [][3]string{{"Wald", "wald", ""}, {"Straße", "straße", ""}}},
	} {
		got, err := ParseLabels(c.arg)
		if err != nil {
			t.Errorf("ParseLabels(%q): %v", c.arg, err)
			continue
		}
		var list [][3]string
		for _, l := range got {
			given := ""
			if l.given {
				given = "given"
			}
			list = append(list, [3]string{l.Class, l.Phrase, given})
		}
		if diff := cmp.Diff(c.want, list); diff != "" {
			t.Errorf("ParseLabels(%q): %s", c.arg, diff)
		}
	}
}

func TestBadLabels(t *testing.T) {
	for _, c := range []struct {
		name, text string
		kind       error
		says       string
	}{
		{"none", "", ErrLabels, "two"},
		{"one", "airport\n", ErrLabels, "two"},
		{"a class twice", "airport\nforest\nAir-Port\tplanes\n", ErrTwice, "line 3"},
		{"a phrase twice", "airport\tplane\nforest\tPlane\n", ErrTwice, "line 2"},
		{"two tabs", "airport\ta\tb\nforest\n", ErrLabels, "line 1"},
		{"no letter", "airport\n---\n", ErrLabels, "line 2"},
		{"no letter in the phrase", "airport\tx\nforest\t--\n", ErrLabels, "line 2"},
		{"not UTF-8", "airport\nfor\xffest\n", ErrLabels, "line 2"},
		{"a control character", "airport\nfor\x07est\n", ErrLabels, "line 2"},
		{"too long", "airport\n" + strings.Repeat("x", maxLabel+1) + "\n", ErrTooLarge, "line 2"},
		{"far too long", "airport\n" + strings.Repeat("x", 70<<10) + "\n", ErrTooLarge, "line 2"},
		{"too many", strings.Repeat("a\n", maxLabels+1), ErrTooLarge, "more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ReadLabels(strings.NewReader(c.text), "labels.tsv")
			if !errors.Is(err, c.kind) || !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "labels.tsv") {
				t.Errorf("%v; want %v, the file and a word about %q", err, c.kind, c.says)
			}
		})
	}
	for _, arg := range []string{"one", "", ",,", "nowhere/labels.tsv", "labels.tsv"} {
		if _, err := ParseLabels(arg); !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("ParseLabels(%q): %v, want %v", arg, err, tilescout.ErrBadInput)
		}
	}
}

func TestSplitGlued(t *testing.T) {
	known := map[string]bool{"storage": true, "tanks": true, "railway": true, "rail": true, "way": true, "station": true, "base": true, "ball": true, "baseball": true, "field": true}
	for _, c := range [][2]string{
		{"storagetanks", "storage tanks"}, {"railwaystation", "railway station"}, {"baseballfield", "baseball field"},
		{"storage", "storage"}, {"stadium", ""}, {"storagetank", ""}, {"", ""},
	} {
		got, ok := splitGlued(c[0], known)
		if got != c[1] || ok != (c[1] != "") {
			t.Errorf("splitGlued(%q) = %q, %v, want %q", c[0], got, ok, c[1])
		}
	}
}

func FuzzLabels(f *testing.F) {
	f.Add("airport\tplane\nforest\n")
	f.Add("# x\n\na\r\nb\tc\td\n")
	f.Add("a\xff\nb\x00\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ReadLabels(strings.NewReader(text), "fuzz")
		if err != nil {
			if !errors.Is(err, tilescout.ErrBadInput) {
				t.Errorf("%v is no %v", err, tilescout.ErrBadInput)
			}
			return
		}
		seen := map[string]bool{}
		for _, l := range list {
			if fold(l.Class) == "" || seen[fold(l.Class)] || l.Phrase == "" || strings.ContainsAny(l.Class+l.Phrase, "\t\n\x00") {
				t.Errorf("let %+v through", l)
			}
			seen[fold(l.Class)] = true
		}
		if len(list) < 2 {
			t.Errorf("%d labels let through", len(list))
		}
	})
}
