package xyz_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/xyz"
)

func environment(name string) (string, bool) {
	value, ok := map[string]string{"KEY": "s3cr3t", "HOST": "tiles.example", "EMPTY": "", "BRACE": "{z}", "LINE": "a\nb"}[name]
	return value, ok
}

func TestTemplate(t *testing.T) {
	at := maptile.New(3, 5, 3)
	for _, c := range []struct {
		template, scheme string
		size             int
		subdomains       []string
		want, shown      string
		host             string
	}{
		{"https://h.example/{z}/{x}/{y}.png", "", 0, nil, "https://h.example/3/3/5.png", "", "h.example"},
		{"https://h.example/{z}/{x}/{y}.png", "tms", 0, nil, "https://h.example/3/3/2.png", "", "h.example"},
		{"https://h.example/{z}/{x}/{-y}.png", "", 0, nil, "https://h.example/3/3/2.png", "", "h.example"},
		{"https://h.example/{z}/{x}/{-y}.png", "tms", 0, nil, "https://h.example/3/3/2.png", "", "h.example"},
		{"http://{s}.h.example:8080/{z}/{y}/{x}", "", 0, nil, "http://c.h.example:8080/3/5/3", "", "*.h.example:8080"},
		{"http://{s}.h.example/{z}/{y}/{x}", "", 0, []string{"t0", "t1", "t2"}, "http://t2.h.example/3/5/3", "", "*.h.example"},
		{"http://t{switch:1,2,3}.h.example/{z}/{y}/{x}", "", 0, nil, "http://t3.h.example/3/5/3", "", "t*.h.example"},
		{"https://h.example/a{q}.jpeg?g=1", "", 0, nil, "https://h.example/a213.jpeg?g=1", "", "h.example"},
		{"https://h.example/{z}/{x}/{y}{r}.png", "", 512, nil, "https://h.example/3/3/5@2x.png", "", "h.example"},
		{"https://h.example/{z}/{x}/{y}{r}.png", "", 256, nil, "https://h.example/3/3/5.png", "", "h.example"},
		{"https://h.example?x={x}&y={y}&z={z}&key=${KEY}", "", 0, nil, "https://h.example?x=3&y=5&z=3&key=s3cr3t", "https://h.example?x=3&y=5&z=3&key=***", "h.example"},
		{"https://h.example/{z}/{x}/{y}?access_token=abc&style=7", "", 0, nil, "https://h.example/3/3/5?access_token=abc&style=7", "https://h.example/3/3/5?access_token=***&style=7", "h.example"},
		{"https://h.example/${KEY}/{z}/{x}/{y}", "", 0, nil, "https://h.example/s3cr3t/3/3/5", "https://h.example/***/3/3/5", "h.example"},
		{"https://${HOST}/{z}/{x}/{y}", "", 0, nil, "https://tiles.example/3/3/5", "https://***/3/3/5", "tiles.example"},
		{"https://h.example/$5/{z}/{x}/{y}", "", 0, nil, "https://h.example/$5/3/3/5", "", "h.example"},
		{"http://[::1]:8080/{z}/{x}/{y}", "", 0, nil, "http://[::1]:8080/3/3/5", "", "[::1]:8080"},
	} {
		spec := source.Spec{ID: "t", Source: c.template, Scheme: c.scheme, TileSize: c.size, Subdomains: c.subdomains}
		parsed, err := xyz.ParseTemplate(spec, environment)
		if err != nil {
			t.Errorf("ParseTemplate(%q): %v", c.template, err)
			continue
		}
		shown := c.shown
		if shown == "" {
			shown = c.want
		}
		if got := parsed.URL(at); got != c.want {
			t.Errorf("%q: URL = %q, want %q", c.template, got, c.want)
		}
		if got := parsed.Shown(at); got != shown {
			t.Errorf("%q: Shown = %q, want %q", c.template, got, shown)
		}
		if got := parsed.Host(); got != c.host {
			t.Errorf("%q: Host = %q, want %q", c.template, got, c.host)
		}
	}
}

func TestBadTemplates(t *testing.T) {
	for _, c := range []struct{ template, text string }{
		{"", "not a URL|scheme"},
		{"ftp://h.example/{z}/{x}/{y}", "neither http nor https"},
		{"h.example/{z}/{x}/{y}", "scheme"},
		{"https:///{z}/{x}/{y}", "no host"},
		{"https://h.example/tiles.png", "one URL for many tiles"},
		{"https://h.example/{z}/{x}", "one URL for many tiles"},
		{"https://h.example/{z}/{x}/{Y}", "unknown placeholder {Y}"},
		{"https://h.example/{bbox-epsg-3857}", "unknown placeholder"},
		{"https://{z}.h.example/{z}/{x}/{y}", "{z} stands in the host"},
		{"https://h.example{x}/{z}/{x}/{y}", "{x} stands in the host"},
		{"{s}://h.example/{z}/{x}/{y}", ""},
		{"https://h.example:{z}/{z}/{x}/{y}", "host|not a URL"},
		{"https://h.example/{z}/{x}/{y", "{ without }"},
		{"https://h.example/{z}/{x}/y}", "} without {"},
		{"https://h.example/{z}/{x}/{y}?k=${KEY", "${ without }"},
		{"https://h.example/{z}/{x}/{y}?k=${NOT_THERE}", "environment variable NOT_THERE is not set"},
		{"https://h.example/{z}/{x}/{y}?k=${EMPTY}", "environment variable EMPTY is not set"},
		{"https://h.example/{z}/{x}/{y}?k=${BRACE}", "the value of ${BRACE}"},
		{"https://h.example/{z}/{x}/{y}?k=${LINE}", "the value of ${LINE}"},
		{"https://h.example/{z}/{x}/{y}?k=${a b}", "not the name"},
		{"https://user:pass@h.example/{z}/{x}/{y}", "user and password"},
		{"https://h.example/{z}/{x}/{y}#f", "fragment"},
		{"https://h.example/{z}/{x}/{y} x", "white space"},
		{"https://h.example/{switch:}/{z}/{x}/{y}", "choices"},
		{"https://h.example/{switch:a,b/c}/{z}/{x}/{y}", "choices"},
		{"https://h.example/%zz/{z}/{x}/{y}", "not a URL"},
		{"https://h.example/" + strings.Repeat("a", 5000) + "{z}/{x}/{y}", "longer than"},
	} {
		_, err := xyz.ParseTemplate(source.Spec{ID: "t", Source: c.template}, environment)
		if !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("ParseTemplate(%.60q) = %v, want ErrBadInput", c.template, err)
			continue
		}
		found := false
		for text := range strings.SplitSeq(c.text, "|") {
			found = found || strings.Contains(err.Error(), text)
		}
		if !found || strings.Contains(err.Error(), "s3cr3t") || strings.Contains(err.Error(), "pass@") {
			t.Errorf("ParseTemplate(%.60q) = %v, want %q and no secret", c.template, err, c.text)
		}
	}
}

// TestVersion: what makes the tiles others makes the version another; a new key does not.
func TestVersion(t *testing.T) {
	version := func(template, key, scheme, given string) string {
		lookup := func(string) (string, bool) { return key, true }
		return open(t, template, xyz.Options{LookupEnv: lookup}, func(s *source.Spec) { s.Scheme, s.Version = scheme, given }).Info().Version
	}
	base := version("https://h.example/{z}/{x}/{y}?key=${K}", "one", "", "")
	if base == "" {
		t.Error("no version")
	}
	for _, c := range []struct {
		template, key, scheme, given string
		same                         bool
	}{
		{"https://h.example/{z}/{x}/{y}?key=${K}", "one", "", "", true},
		{"https://h.example/{z}/{x}/{y}?key=${K}", "two", "", "", true},
		{"https://h.example/{z}/{x}/{y}?key=literal", "one", "", "", true},
		{"https://h.example/{z}/{y}/{x}?key=${K}", "one", "", "", false},
		{"https://h.example/{z}/{x}/{y}?key=${K}&id=7", "one", "", "", false},
		{"https://h.example/{z}/{x}/{y}?key=${K}", "one", "tms", "", false},
		{"https://h.example/{z}/{x}/{y}?key=${K}", "one", "", "2025", false},
	} {
		if got := version(c.template, c.key, c.scheme, c.given); (got == base) != c.same {
			t.Errorf("version of %q, key %q, scheme %q, version %q: same as the first %v, want %v", c.template, c.key, c.scheme, c.given, got == base, c.same)
		}
	}
	a := version("https://h.example/{z}/{x}/{y}?id=a", "", "", "")
	b := version("https://h.example/{z}/{x}/{y}?id=b", "", "", "")
	if a == b {
		t.Error("two ids, one version")
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{
		"https://{s}.h.example/{z}/{x}/{y}.png?key=${KEY}", "http://[::1]:1/{q}", "https://h/{switch:a,b}/{z}{x}{-y}", "${HOST}", "https://${HOST}{z}/{x}{y}",
		"https://h.example@evil/{z}/{x}/{y}", "https://h\\evil/{z}/{x}/{y}", "HTTPS://H/{z}/{x}/{y}", "https://h?{z}{x}{y}", "https://h//{z}/{x}/{y}?a=b?c=d&&=",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, template string) {
		parsed, err := xyz.ParseTemplate(source.Spec{ID: "t", Source: template}, environment)
		if err != nil {
			if !errors.Is(err, tilescout.ErrBadInput) {
				t.Fatalf("%q: %v has no kind", template, err)
			}
			return
		}
		// Whatever the tile, the address is one of the hosts that the template names, and never shows the key.
		for _, at := range []maptile.Tile{{}, maptile.New(5, 3, 3), maptile.New(1<<30-1, 1<<30-1, 30)} {
			u, err := url.Parse(parsed.URL(at))
			if err != nil || u.Scheme != "http" && u.Scheme != "https" {
				t.Fatalf("%q: %v gives %q, %v", template, at, parsed.URL(at), err)
			}
			if pattern := parsed.Host(); !strings.Contains(pattern, "*") && !strings.EqualFold(u.Host, pattern) {
				t.Fatalf("%q: host %q, not %q", template, u.Host, pattern)
			}
			if strings.Contains(template, "${KEY}") && !strings.Contains(template, "s3cr3t") && strings.Contains(parsed.Shown(at), "s3cr3t") {
				t.Fatalf("%q: shows its key: %q", template, parsed.Shown(at))
			}
		}
	})
}
