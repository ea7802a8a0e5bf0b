package source

import (
	"html"
	"net/url"
	"strings"

	xhtml "golang.org/x/net/html"
)

// maxAttribution bounds an attribution in bytes, links included.
const maxAttribution = 1 << 10

// SafeAttribution returns a stranger's attribution as HTML that is safe to put into a page: text and links to http(s),
// nothing else, at most 1 KiB. Map libraries set it with innerHTML.
func SafeAttribution(text string) string {
	safe := sanitize(text)
	if len(safe) <= maxAttribution {
		return safe
	}
	short := PlainAttribution(safe)
	for most := maxAttribution - len("…"); ; most /= 2 {
		cut := strings.ToValidUTF8(short[:min(most, len(short))], "")
		if safe = html.EscapeString(cut) + "…"; len(safe) <= maxAttribution {
			return safe
		}
	}
}

// PlainAttribution returns an attribution without its markup.
func PlainAttribution(text string) string {
	var b strings.Builder
	z := xhtml.NewTokenizer(strings.NewReader(sanitize(text)))
	for {
		switch z.Next() {
		case xhtml.ErrorToken:
			return strings.Join(strings.Fields(b.String()), " ")
		case xhtml.TextToken:
			b.WriteString(z.Token().Data)
		}
	}
}

// TextAttribution returns plain text as an attribution.
func TextAttribution(text string) string { return html.EscapeString(text) }

// silent are the elements whose content is no text of the page.
var silent = map[string]bool{"script": true, "style": true, "template": true, "noscript": true, "iframe": true, "title": true, "textarea": true, "xmp": true, "noembed": true, "noframes": true, "plaintext": true}

// maxMarkup bounds what is read of an attribution.
const maxMarkup = 16 << 10

func sanitize(text string) string {
	text = strings.ToValidUTF8(text, "")
	if len(text) > maxMarkup {
		text = strings.ToValidUTF8(text[:maxMarkup], "")
	}
	var out strings.Builder
	open, quiet := false, ""
	z := xhtml.NewTokenizer(strings.NewReader(text))
	for {
		switch z.Next() {
		case xhtml.ErrorToken: // the end: a tokenizer over a string has no other error
			if open {
				out.WriteString("</a>")
			}
			return strings.TrimSpace(out.String())
		case xhtml.TextToken:
			if quiet == "" {
				out.WriteString(html.EscapeString(printable(z.Token().Data)))
			}
		case xhtml.StartTagToken:
			t := z.Token()
			switch {
			case quiet != "":
			case silent[t.Data]:
				quiet = t.Data
			case t.Data == "a" && !open:
				if target := webAddress(t.Attr); target != "" {
					out.WriteString(`<a href="` + html.EscapeString(target) + `" rel="noopener nofollow">`)
					open = true
				}
			case t.Data == "br" || t.Data == "p" || t.Data == "div" || t.Data == "li":
				out.WriteByte(' ')
			}
		case xhtml.SelfClosingTagToken:
			if quiet == "" {
				out.WriteByte(' ')
			}
		case xhtml.EndTagToken:
			switch t := z.Token(); {
			case t.Data == quiet:
				quiet = ""
			case t.Data == "a" && open:
				out.WriteString("</a>")
				open = false
			}
		}
	}
}

// printable drops control characters and those that turn the direction of text, which can make a link lie.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r < ' ', r == 0x7f, r >= 0x80 && r < 0xa0, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return -1
		}
		return r
	}, s)
}

func webAddress(attributes []xhtml.Attribute) string {
	for _, a := range attributes {
		if a.Key != "href" || a.Namespace != "" {
			continue
		}
		u, err := url.Parse(strings.TrimSpace(a.Val))
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || len(a.Val) > 512 {
			return ""
		}
		return u.String()
	}
	return ""
}
