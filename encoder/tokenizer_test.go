package encoder

import (
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder/bundled"
)

const testVocabulary = `{"pad":0,"unknown":1,
	"words":["<pad>","<unk>","a","harbor","parking","lot","factory","bus","field","tank"],
	"aliases":{"harbour":"harbor","car park":"parking lot","park":"field","boats' Home":"harbor a"}}`

func testWords(t testing.TB) *words {
	t.Helper()
	w, err := parseWords([]byte(testVocabulary), 5)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestTokenize(t *testing.T) {
	w := testWords(t)
	cases := []struct {
		prompt    string
		ids       []int64
		unknown   []string
		truncated bool
	}{
		{"a harbor", []int64{2, 3, 0, 0, 0}, nil, false},
		{"A HARBOUR!", []int64{2, 3, 0, 0, 0}, nil, false},
		{"car-park", []int64{4, 5, 0, 0, 0}, nil, false},
		{"car parks", []int64{1, 1, 0, 0, 0}, []string{"car", "parks"}, false},
		{"park", []int64{8, 0, 0, 0, 0}, nil, false},
		{"boats home", []int64{3, 2, 0, 0, 0}, nil, false},
		{"boat's home", []int64{3, 2, 0, 0, 0}, nil, false},
		{"factories buses fields tanks", []int64{6, 7, 8, 9, 0}, nil, false},
		{"ﬁeld", []int64{8, 0, 0, 0, 0}, nil, false}, // NFKC
		{"a Zoo’s a ZOO zoo", []int64{2, 1, 2, 1, 1}, []string{"Zoo’s", "ZOO", "zoo"}, false},
		{"a a a a a a", []int64{2, 2, 2, 2, 2}, nil, true},
		{"storage_tanks 7", []int64{1, 9, 1, 0, 0}, []string{"storage", "7"}, false},
		{"<pad> <unk>", []int64{1, 1, 0, 0, 0}, []string{"pad", "unk"}, false},
	}
	for _, c := range cases {
		got, err := w.tokenize(c.prompt)
		if err != nil {
			t.Errorf("tokenize(%q): %v", c.prompt, err)
			continue
		}
		want := tokens{ids: c.ids, unknown: c.unknown, truncated: c.truncated}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(tokens{})); diff != "" {
			t.Errorf("tokenize(%q) (-want +got):\n%s", c.prompt, diff)
		}
	}
	for _, prompt := range []string{"", "  ", "...", "'", "\xff", strings.Repeat("a ", maxPrompt)} {
		if _, err := w.tokenize(prompt); !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("tokenize(%.10q): %v, want %v", prompt, err, tilescout.ErrBadInput)
		}
	}
}

// TestGoldenWords: the tokens are those that the bundled model was trained with.
func TestGoldenWords(t *testing.T) {
	raw, err := fs.ReadFile(bundled.FS(), "golden.json")
	if err != nil {
		t.Skip("the bundled model has not been made yet: ", err)
	}
	var golden struct {
		Words []struct {
			Text    string   `json:"text"`
			Tokens  []int64  `json:"tokens"`
			Unknown []string `json:"unknown"`
		} `json:"words"`
	}
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	f, err := readFolder(t.Context(), bundled.FS(), "bundled")
	if err != nil {
		t.Fatal(err)
	}
	if len(golden.Words) == 0 {
		t.Fatal("golden.json has no words")
	}
	list := f.tokenizer.(*words)
	for _, g := range golden.Words {
		got, err := f.tokenizer.tokenize(g.Text)
		if len(g.Tokens) == 0 {
			if !errors.Is(err, tilescout.ErrBadInput) {
				t.Errorf("tokenize(%q): %v, want %v", g.Text, err, tilescout.ErrBadInput)
			}
			continue
		}
		if err != nil {
			t.Errorf("tokenize(%q): %v", g.Text, err)
			continue
		}
		want := slices.Clone(g.Tokens)
		for len(want) < list.context {
			want = append(want, list.pad)
		}
		if !slices.Equal(got.ids, want) {
			t.Errorf("tokenize(%q) = %v, want %v", g.Text, got.ids, want)
		}
		// The golden file has the words as the model sees them, we report them as they were typed.
		var unknown []string
		for _, u := range got.unknown {
			unknown = append(unknown, split(u)[0].normal)
		}
		slices.Sort(unknown)
		unwanted := slices.Clone(g.Unknown)
		slices.Sort(unwanted)
		if !slices.Equal(slices.Compact(unknown), slices.Compact(unwanted)) {
			t.Errorf("tokenize(%q): unknown %q, want %q", g.Text, unknown, g.Unknown)
		}
	}
}

func FuzzPrompt(f *testing.F) {
	for _, s := range []string{"a harbor", "Car Park", "’", "İstanbul", "ﬁeld\x00", "ẞ", "e\u0301cole", "🏟"} {
		f.Add(s)
	}
	w := testWords(f)
	f.Fuzz(func(t *testing.T, prompt string) {
		got, err := w.tokenize(prompt)
		if err != nil {
			if !errors.Is(err, tilescout.ErrBadInput) {
				t.Fatalf("tokenize(%q): %v has no kind", prompt, err)
			}
			return
		}
		if len(got.ids) != w.context || got.ids[0] == w.pad {
			t.Errorf("tokenize(%q) = %v, want %d ids, the first a word", prompt, got.ids, w.context)
		}
		for _, u := range got.unknown {
			if u == "" || !utf8.ValidString(u) || len(split(u)) != 1 {
				t.Errorf("tokenize(%q): unknown %q is no single word", prompt, u)
			}
		}
	})
}

// TestDescriptions: what stands for a thing unseen is looked up like an alias, and told.
func TestDescriptions(t *testing.T) {
	raw := []byte(`{"pad":0,"unknown":1,"words":["<pad>","<unk>","lawn","with","sand","near","harbor"],"aliases":{"harbour":"harbor"},"descriptions":{"Golf Course":"lawn with sand"}}`)
	w, err := parseWords(raw, 8)
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.tokenize("golf course near harbour")
	if err != nil {
		t.Fatal(err)
	}
	if want := []int64{2, 3, 4, 5, 6, 0, 0, 0}; !slices.Equal(got.ids, want) || len(got.unknown) != 0 {
		t.Errorf("tokens %v, unknown %v, want %v and none", got.ids, got.unknown, want)
	}
	if want := []Description{{Phrase: "golf course", As: "lawn with sand"}}; !slices.Equal(got.described, want) {
		t.Errorf("described %v, want %v: a synonym is not told, a description is", got.described, want)
	}
	if _, err := parseWords([]byte(`{"pad":0,"unknown":1,"words":["<pad>","<unk>"],"descriptions":{"a":"!"}}`), 8); err == nil {
		t.Error("a description of no words was taken")
	}
}
