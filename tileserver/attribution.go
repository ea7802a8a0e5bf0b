package tileserver

import (
	"html"
	"net/url"
	"strings"

	xhtml "golang.org/x/net/html"
)

// maxAttribution bounds an attribution in bytes, links included (SEC reference §5).
const maxAttribution = 1 << 10

// sanitize returns attribution as HTML that is safe to put into a page: text and links to http(s) and nothing else.
// Map libraries set it with innerHTML (Leaflet does), and it may come from a file or a server of strangers.
func sanitize(attribution string) string {
	if len(attribution) > maxAttribution {
		attribution = plain(attribution)
		if len(attribution) > maxAttribution/2 {
			attribution = strings.ToValidUTF8(attribution[:maxAttribution/2], "") + "…"
		}
	}
	var out strings.Builder
	open := false
	skip := "" // an element whose content is no text
	z := xhtml.NewTokenizer(strings.NewReader(attribution))
	for {
		switch z.Next() {
		case xhtml.ErrorToken: // the end; a tokenizer over a string has no other error
			if open {
				out.WriteString("</a>")
			}
			return strings.TrimSpace(out.String())
		case xhtml.TextToken:
			if skip == "" {
				out.WriteString(html.EscapeString(z.Token().Data))
			}
		case xhtml.StartTagToken, xhtml.SelfClosingTagToken:
			t := z.Token()
			switch {
			case t.Data == "script" || t.Data == "style" || t.Data == "title" || t.Data == "iframe" || t.Data == "noscript" || t.Data == "textarea":
				skip = t.Data
			case t.Data == "a" && !open && skip == "":
				if target := linkTarget(t.Attr); target != "" {
					out.WriteString(`<a href="` + html.EscapeString(target) + `" rel="noopener nofollow">`)
					open = true
				}
			}
		case xhtml.EndTagToken:
			switch t := z.Token(); {
			case t.Data == skip:
				skip = ""
			case t.Data == "a" && open:
				out.WriteString("</a>")
				open = false
			}
		}
	}
}

func linkTarget(attributes []xhtml.Attribute) string {
	for _, a := range attributes {
		if a.Key != "href" {
			continue
		}
		u, err := url.Parse(strings.TrimSpace(a.Val))
		if err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil {
			return u.String()
		}
	}
	return ""
}
