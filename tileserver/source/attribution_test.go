package source_test

import (
	"html"
	"strings"
	"testing"

	xhtml "golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/tilescout/tilescout/tileserver/source"
)

func TestSafeAttribution(t *testing.T) {
	for in, want := range map[string]string{
		"":                 "",
		"© A & B":          "© A &amp; B",
		"&copy; A &amp; B": "© A &amp; B",
		`<a href="https://a.example/x?b=1&amp;c=2">A</a>`:                   `<a href="https://a.example/x?b=1&amp;c=2" rel="noopener nofollow">A</a>`,
		`<A HREF='http://a.example' onclick="x()" target=_top>A`:            `<a href="http://a.example" rel="noopener nofollow">A</a>`,
		`<a href="javascript:alert(1)">x</a>`:                               "x",
		`<a href=" JaVaScRiPt:alert(1)">x</a>`:                              "x",
		`<a href="java&#10;script:alert(1)">x</a>`:                          "x",
		`<a href="//evil.example">x</a>`:                                    "x",
		`<a href="data:text/html,<script>1</script>">x</a>`:                 "x",
		`<a href="https://u:p@a.example">x</a>`:                             "x",
		`<a href="https://a.example/&quot;onmouseover=alert(1)">x</a>`:      `<a href="https://a.example/%22onmouseover=alert%281%29" rel="noopener nofollow">x</a>`,
		`<a href="https://a.example"><a href="https://b.example">x</a></a>`: `<a href="https://a.example" rel="noopener nofollow">x</a>`,
		`A<script>alert("<b>")</script>B`:                                   "AB",
		`A<style>*{}</style><noscript>x</noscript>B`:                        "AB",
		`A<img src=x onerror=alert(1)>B`:                                    "AB",
		`<svg><a xlink:href="javascript:x">A</a></svg>`:                     "A",
		`A<br>B<br/>C`:                      "A B C",
		`&lt;script&gt;`:                    "&lt;script&gt;",
		`<scr<script>ipt>alert(1)</script>`: "ipt&gt;alert(1)",
		"A\x00\x1b\u202eB\u0085\nC":         "AB C",
		"\xffA":                             "A",
		`<!-- x -->A<!doctype html>`:        "A",
		`<a href="https://a.example`:        "",
	} {
		if got := source.SafeAttribution(in); got != want {
			t.Errorf("SafeAttribution(%q) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{`© <a href="https://a.example">A &amp; B</a>, C<script>x</script>`: "© A & B, C", "": "", "&lt;b&gt;": "<b>"} {
		if got := source.PlainAttribution(in); got != want {
			t.Errorf("PlainAttribution(%q) = %q, want %q", in, got, want)
		}
	}
	for _, long := range []string{strings.Repeat("<a href='https://a.example'>é", 1000), strings.Repeat("&", 5000), strings.Repeat("<", 5000), strings.Repeat("é", 600)} {
		if got := source.SafeAttribution(long); len(got) > 1024 || len(got) < 512 {
			t.Errorf("SafeAttribution of %d bytes has %d", len(long), len(got))
		}
	}
}

// FuzzAttribution: what comes out parses as text and web links, whatever goes in, and once more changes nothing.
func FuzzAttribution(f *testing.F) {
	f.Add(`<a href="https://a.example/?x=1&y">A</a><script>1</script>`)
	f.Add(`<svg><script>alert(1)</script></svg><a href=javascript:x>`)
	f.Add(`</a><textarea><a href="https://x" title="</textarea><img src=x onerror=1>">`)
	f.Fuzz(func(t *testing.T, text string) {
		safe := source.SafeAttribution(text)
		if len(safe) > 1024 {
			t.Fatalf("%d bytes", len(safe))
		}
		nodes, err := xhtml.ParseFragment(strings.NewReader(safe), &xhtml.Node{Type: xhtml.ElementNode, Data: "div", DataAtom: atom.Div})
		if err != nil {
			t.Fatal(err)
		}
		var walk func(n *xhtml.Node)
		walk = func(n *xhtml.Node) {
			if n.Type == xhtml.ElementNode {
				if n.Data != "a" || len(n.Attr) != 2 {
					t.Fatalf("SafeAttribution(%q) = %q holds <%s> with %v", text, safe, n.Data, n.Attr)
				}
				if to := html.UnescapeString(n.Attr[0].Val); !strings.HasPrefix(to, "http://") && !strings.HasPrefix(to, "https://") {
					t.Fatalf("SafeAttribution(%q) links to %q", text, to)
				}
			} else if n.Type != xhtml.TextNode {
				t.Fatalf("SafeAttribution(%q) = %q holds a node of type %d", text, safe, n.Type)
			}
			for c := n.FirstChild; c != nil; c = c.NextSibling {
				walk(c)
			}
		}
		for _, n := range nodes {
			walk(n)
		}
		if again := source.SafeAttribution(safe); again != safe {
			t.Fatalf("%q becomes %q", safe, again)
		}
	})
}
