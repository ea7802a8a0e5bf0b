package upstream_test

import (
	"encoding/binary"
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/reject"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/upstream"
)

func utf16le(s string) string {
	b := []byte("\xff\xfe")
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

func TestUnmarshalXML(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want string // Title
		err  *reject.Kind
	}{
		"plain":               {`<Capabilities><Title>Köln</Title></Capabilities>`, "Köln", nil},
		"prefixes":            {`<w:Capabilities xmlns:w="a" xmlns:o="b"><o:Title>A &amp; B</o:Title></w:Capabilities>`, "A & B", nil},
		"latin 1":             {"<?xml version='1.0' encoding='ISO-8859-1'?><a><Title>K\xf6ln</Title></a>", "Köln", nil},
		"windows-1252":        {"<?xml version='1.0' encoding='windows-1252'?><a><Title>\x80</Title></a>", "€", nil},
		"utf-8 with bom":      {"\ufeff<?xml version='1.0' encoding='UTF-8'?><a><Title>x</Title></a>", "x", nil},
		"utf-16":              {utf16le(`<?xml version="1.0" encoding="UTF-16"?><a><Title>Köln</Title></a>`), "Köln", nil},
		"harmless doctype":    {`<!DOCTYPE a SYSTEM "http://127.0.0.1/x.dtd" [ <!ELEMENT a EMPTY> ]><a><Title>x</Title></a>`, "x", nil},
		"named character":     {`<a><Title>a&nbsp;b&eacute;</Title></a>`, "a\u00a0bé", nil},
		"entity":              {`<!DOCTYPE a [<!ENTITY x "y">]><a><Title>&x;</Title></a>`, "", upstream.ErrXMLEntity},
		"entity, small":       {`<!DOCTYPE a [<!entity x "y">]><a/>`, "", upstream.ErrXMLEntity},
		"entity in utf-16":    {utf16le(`<!DOCTYPE a [<!ENTITY x "y">]><a><Title>&x;</Title></a>`), "", upstream.ErrXMLEntity},
		"unknown entity":      {`<a><Title>&x;</Title></a>`, "", upstream.ErrXML},
		"64 deep":             {strings.Repeat("<a>", 64) + strings.Repeat("</a>", 64), "", nil},
		"65 deep":             {strings.Repeat("<a>", 65) + strings.Repeat("</a>", 65), "", upstream.ErrXMLDepth},
		"400000 elements":     {"<a>" + strings.Repeat("<b/>", 400_000-1) + "</a>", "", nil},
		"400001 elements":     {"<a>" + strings.Repeat("<b/>", 400_000) + "</a>", "", upstream.ErrXMLElements},
		"10000 layers":        {"<a>" + strings.Repeat("<w:Layer/>", 10_000) + "</a>", "", nil},
		"10001 layers":        {"<a>" + strings.Repeat("<Layer/>", 10_001) + "</a>", "", upstream.ErrTooManyLayers},
		"too large":           {strings.Repeat(" ", 10<<20+1), "", upstream.ErrDocumentTooLarge},
		"cut":                 {`<a><Title>x</Title>`, "", upstream.ErrXML},
		"wrong end":           {`<a><Title>x</a>`, "", upstream.ErrXML},
		"encoding of nowhere": {`<?xml version="1.0" encoding="x-nothing"?><a/>`, "", upstream.ErrXML},
		"nothing":             {"", "", upstream.ErrXML},
	} {
		var v struct {
			Title string `xml:"Title"`
		}
		err := upstream.UnmarshalXML([]byte(c.text), &v, upstream.DocumentLimits{})
		if c.err == nil && (err != nil || v.Title != c.want) {
			t.Errorf("%s: %q, %v, want %q", name, v.Title, err, c.want)
		}
		if c.err != nil && (!errors.Is(err, c.err) || !errors.Is(err, tilescout.ErrBadInput) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
	}
}

func TestParseAddress(t *testing.T) {
	lookup := func(name string) (string, bool) { return "s3cr3t&x", name == "KEY" }
	type address struct {
		url     string
		options map[string]string
		written string
	}
	for in, want := range map[string]address{
		"wmts+https://h.example/wmts?map=a&LAYER=x%20y&key=${KEY}#style=b&Time=2024": {"https://h.example/wmts?map=a&key=s3cr3t&x",
			map[string]string{"layer": "x y", "style": "b", "time": "2024"}, "https://h.example/wmts?map=a&LAYER=x%20y&key=${KEY}"},
		"http://h.example:8080/a%2Fb":                   {"http://h.example:8080/a%2Fb", map[string]string{}, "http://h.example:8080/a%2Fb?"},
		"https://h.example/a+b?layer=1&layer=2#layer=3": {"https://h.example/a+b", map[string]string{"layer": "3"}, "https://h.example/a+b?layer=1&layer=2"},
	} {
		a, err := upstream.ParseAddress(source.Spec{ID: "t", Source: in}, lookup, "layer", "style")
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if a.URL.String() != want.url || !reflect.DeepEqual(a.Options, want.options) || a.Written != want.written {
			t.Errorf("%s: %s, %v, %s, want %+v", in, a.URL, a.Options, a.Written, want)
		}
	}
	for in, text := range map[string]string{
		"wms+ftp://h.example": `scheme "ftp"`, "https:///x": "no host", "https://u:PASS@h.example/": "user and password", "https://h.example/${NOPE}": "NOPE is not set",
		"https://h.example/%zz?key=PASS": "not a URL", "https://h.example/x#a=%zz": "not a URL", "https://h.example/x#a;b": "settings", "https://h.example/?layer=%zz": "value of layer", "https://h.example/" + strings.Repeat("x", 5000): "4096",
	} {
		_, err := upstream.ParseAddress(source.Spec{ID: "t", Source: in}, lookup, "layer")
		if !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "PASS") {
			t.Errorf("%s: %v, want ErrBadInput with %q", in, err, text)
		}
	}
}

func TestWithResolveAppend(t *testing.T) {
	u, err := url.Parse("https://h.example/wms?map=/a b&service=x&Version=1#f")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := upstream.With(u, "SERVICE", "WMS", "VERSION", "1.3.0", "BBOX", "1,2,3,4", "LAYERS", "a b&c"), "https://h.example/wms?map=/a b&SERVICE=WMS&VERSION=1.3.0&BBOX=1,2,3,4&LAYERS=a%20b%26c"; got != want {
		t.Errorf("With = %s, want %s", got, want)
	}
	for in, want := range map[string]string{
		"tiles/{z}/{x}": "https://h.example/tiles/{z}/{x}", "/t/{q}": "https://h.example/t/{q}", "http://h.example/a": "https://h.example/a",
		"HTTP://H.EXAMPLE/a": "https://H.EXAMPLE/a", "http://other.example/a": "http://other.example/a", "//other.example/{z}": "https://other.example/{z}", "?a={b}": "https://h.example/wms?a={b}",
	} {
		if got, err := upstream.Resolve(u, in); got != want || err != nil {
			t.Errorf("Resolve(%s) = %s, %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", " ", strings.Repeat("a", 5000)} {
		if got, err := upstream.Resolve(u, in); !errors.Is(err, upstream.ErrAddress) {
			t.Errorf("Resolve(%.10q) = %.10s, %v, want ErrAddress", in, got, err)
		}
	}
	for in, want := range map[string]string{"https://h/a": "https://h/a?k=1", "https://h/a?": "https://h/a?k=1", "https://h/a?b=2": "https://h/a?b=2&k=1"} {
		if got := upstream.Append(in, []string{"k=1"}); got != want {
			t.Errorf("Append(%s) = %s, want %s", in, got, want)
		}
	}
}
