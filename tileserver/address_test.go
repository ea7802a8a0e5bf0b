package tileserver_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver"
)

func TestAddress(t *testing.T) {
	const loopback = "127.0.0.0/8"
	forwarded := []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "maps.example", "X-Forwarded-For", "203.0.113.9"}
	tests := map[string]struct {
		public, basePath string
		trusted          []string
		path             string // that arrives, before /tiles/city.json
		header           []string
		want             string // root of the URLs; BASE is the listener's
	}{
		"bare":                         {want: "BASE"},
		"host of the request":          {header: []string{"Host", "map.local:8080"}, want: "http://map.local:8080"},
		"strange host":                 {header: []string{"Host", `a"b`}, want: "BASE"},
		"public URL":                   {public: "https://maps.example/scout/", want: "https://maps.example/scout"},
		"public URL beats forwarded":   {public: "https://a.example", trusted: []string{loopback}, header: forwarded, want: "https://a.example"},
		"public URL, prefix kept":      {public: "https://maps.example/scout", basePath: "/scout", path: "/scout", want: "https://maps.example/scout"},
		"forwarded, nobody trusted":    {header: forwarded, want: "BASE"},
		"forwarded, another trusted":   {trusted: []string{"10.0.0.0/8"}, header: forwarded, want: "BASE"},
		"https at the edge":            {trusted: []string{loopback}, header: forwarded, want: "https://maps.example"},
		"prefix stripped":              {trusted: []string{"127.0.0.1"}, header: append([]string{"X-Forwarded-Prefix", "/scout/"}, forwarded...), want: "https://maps.example/scout"},
		"prefix kept":                  {basePath: "/scout", path: "/scout", want: "BASE/scout"},
		"prefix kept and told":         {basePath: "/scout/", trusted: []string{loopback}, path: "/scout", header: append([]string{"X-Forwarded-Prefix", "/scout"}, forwarded...), want: "https://maps.example/scout"},
		"port":                         {trusted: []string{loopback}, header: append([]string{"X-Forwarded-Port", "8443"}, forwarded...), want: "https://maps.example:8443"},
		"standard port":                {trusted: []string{loopback}, header: append([]string{"X-Forwarded-Port", "443"}, forwarded...), want: "https://maps.example"},
		"RFC 7239":                     {trusted: []string{loopback}, header: []string{"Forwarded", `for=203.0.113.9;proto=https;host="maps.example:8443"`}, want: "https://maps.example:8443"},
		"RFC 7239, spoofed by client":  {trusted: []string{loopback}, header: []string{"Forwarded", `for=1.1.1.1;host=evil.example, for=203.0.113.9;proto=https;host=maps.example`}, want: "https://maps.example"},
		"two trusted proxies":          {trusted: []string{loopback, "10.0.0.0/8"}, header: []string{"Forwarded", `for=203.0.113.9;proto=https;host=maps.example, for=10.0.0.1;proto=http;host=inner`}, want: "https://maps.example"},
		"list, spoofed by client":      {trusted: []string{loopback}, header: []string{"X-Forwarded-For", "1.1.1.1, 203.0.113.9", "X-Forwarded-Host", "evil.example, maps.example"}, want: "http://maps.example"},
		"forwarded host with markup":   {trusted: []string{loopback}, header: []string{"X-Forwarded-Host", `a"><script>`}, want: "BASE"},
		"forwarded scheme of no kind":  {trusted: []string{loopback}, header: []string{"X-Forwarded-Proto", "javascript"}, want: "BASE"},
		"forwarded prefix with markup": {trusted: []string{loopback}, header: []string{"X-Forwarded-Prefix", `/a"b`}, want: "BASE"},
		"forwarded prefix with dots":   {trusted: []string{loopback}, header: []string{"X-Forwarded-Prefix", `/../a`}, want: "BASE"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, base := start(t, tileserver.Options{Layers: two(), PublicURL: tc.public, BasePath: tc.basePath, TrustedProxies: tc.trusted})
			root := strings.Replace(tc.want, "BASE", base, 1)
			doc := ask(t, "GET", base+tc.path+"/tiles/city.json", tc.header...).json(t)
			tiles := fmt.Sprint(doc["tiles"].([]any)[0])
			if want := root + "/tiles/city/{z}/{x}/{y}.jpg?rev="; !strings.HasPrefix(tiles, want) {
				t.Errorf("tiles = %q, want %q…", tiles, want)
			}
			for _, p := range []string{"/wmts", "/layers", "/qgis/city.qlr"} {
				body := string(ask(t, "GET", base+tc.path+p, tc.header...).body)
				if !strings.Contains(body, root+"/") || strings.Contains(body, "evil") || strings.Contains(body, "<script") {
					t.Errorf("%s has no URL below %s", p, root)
				}
			}
		})
	}
	t.Run("outside the base path", func(t *testing.T) {
		_, base := start(t, tileserver.Options{BasePath: "/scout"})
		for path, want := range map[string]int{"/layers": 404, "/scoutx/layers": 404, "/scout/layers": 200, "/scout": 301, "/scout/": 200, "/healthz": 200, "/readyz": 200} {
			if got := ask(t, "GET", base+path).StatusCode; got != want {
				t.Errorf("%s: status %d, want %d", path, got, want)
			}
		}
	})
}

func TestNewRefuses(t *testing.T) {
	id := func(id string) tileserver.Layer { m := city(); m.info.ID = id; return tileserver.Layer{Tiles: m} }
	zooms := city()
	zooms.info.MinZoom = 17
	for name, o := range map[string]tileserver.Options{
		"public URL without scheme": {PublicURL: "maps.example"},
		"public URL with query":     {PublicURL: "https://maps.example?a=b"},
		"public URL with a comma":   {PublicURL: "https://maps.example/a,b"},
		"public URL with a user":    {PublicURL: "https://me:pw@maps.example"},
		"base path":                 {BasePath: "scout"},
		"base path with dots":       {BasePath: "/../x"},
		"proxy":                     {TrustedProxies: []string{"proxy.local"}},
		"layer id":                  {Layers: []tileserver.Layer{id("City")}},
		"layer id with a dot":       {Layers: []tileserver.Layer{id("city.matches")}},
		"long layer id":             {Layers: []tileserver.Layer{id(strings.Repeat("a", 64))}},
		"same id twice":             {Layers: []tileserver.Layer{id("a"), id("a")}},
		"no tiles":                  {Layers: []tileserver.Layer{{}}},
		"zooms":                     {Layers: []tileserver.Layer{{Tiles: zooms}}},
	} {
		if _, err := tileserver.New(o); !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("%s: New = %v, want ErrBadInput", name, err)
		}
	}
}
