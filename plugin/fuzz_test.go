package plugin

import (
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/tilescout/tilescout"
)

// FuzzQuestion: the parameters of a question are refused with a kind or read, and an overlay URL made of what was read
// asks the same.
func FuzzQuestion(f *testing.F) {
	for _, seed := range []string{
		"q=stadium", "q=a&q=b&not=c&threshold=0.25&limit=20&geometry=area", "q=x&bbox=170,-10,-170,10&style=grid&color=%23d01c8b&opacity=.3",
		"q=x&limit=1e9", "threshold=NaN", "opacity=-0", "color=zz", "bbox=1,2,3", "detail=patch&veil=1&rev=abc", "q=%zz", "limit=2.5", "a;b", "threshold=0x1p-2",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		read := func(query string) (Question, error) {
			q, err := parseQuestion(&http.Request{URL: &url.URL{RawQuery: query}})
			if err != nil && !errors.Is(err, tilescout.ErrBadInput) {
				t.Fatalf("%q: error without a kind: %v", query, err)
			}
			return q, err
		}
		q, err := read(query)
		if err != nil {
			return
		}
		if !(q.Threshold >= 0 && q.Threshold <= 1 && q.Opacity >= 0 && q.Opacity <= 1) || q.Limit < 1 || q.Limit > 10_000 {
			t.Errorf("%q was read as %+v", query, q)
		}
		first := q.values().Encode()
		again, err := read(first)
		if err != nil {
			t.Fatalf("%q became %q, which is refused: %v", query, first, err)
		}
		if second := again.values().Encode(); second != first {
			t.Errorf("%q became %q, then %q", query, first, second)
		}
	})
}
