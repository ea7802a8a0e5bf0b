package config_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/config"
	"github.com/tilescout/tilescout/tileserver/source"
)

// whole uses every part of the file.
const whole = `# everything
listen: 0.0.0.0:80
data: cache
model: ./models/clip
device: cpu
publicURL: https://maps.example/scout
trustedProxies: [10.0.0.0/8, "::1"]
layers:
  - id: city
    title: City, 2024 orthophoto
    source: ortho/city.tif
    attribution: © the survey
    index: {zooms: [17], bounds: [11.5, 48.1, 11.6, 48.2]}
  - id: far
    source: https://host/{z}/{x}/{y}.jpg?key=${CITY_TOKEN}
    headers: {Authorization: "Bearer ${CITY_TOKEN}", X-Plain: "secret"}
    cacheTTL: 24h
    version: 2024
    maxRPS: 2
searches:
  - {id: stadiums, layer: city, q: stadium, threshold: 0.5}
  - id: water
    layer: far
    q: [harbour, "lake"]
    not: sea
    style: outline
limits:
  connections: 100
  drainDelay: 5s
`

func env(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "tilescout.yaml")
	if err := os.WriteFile(file, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := config.Load(file, env("CITY_TOKEN", "SECRET", "TILESCOUT_DEVICE", "cuda", "TILESCOUT_LIMITS_CACHE_MB", "9"))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Config{
		Listen: "0.0.0.0:80", Data: filepath.Join(dir, "cache"), Model: filepath.Join(dir, "models/clip"), Device: "cuda", LogLevel: "warn",
		PublicURL: "https://maps.example/scout", TrustedProxies: []string{"10.0.0.0/8", "::1"},
		Layers: []config.Layer{
			{Spec: source.Spec{ID: "city", Title: "City, 2024 orthophoto", Source: filepath.Join(dir, "ortho/city.tif"), Attribution: "© the survey"},
				Index: config.Index{Zooms: []int{17}, Bounds: []float64{11.5, 48.1, 11.6, 48.2}}},
			{Spec: source.Spec{ID: "far", Source: "https://host/{z}/{x}/{y}.jpg?key=${CITY_TOKEN}", CacheTTL: 24 * time.Hour, Version: "2024", MaxRPS: 2,
				Headers: map[string]string{"Authorization": "Bearer ${CITY_TOKEN}", "X-Plain": "secret"}}},
		},
		Searches: []config.Search{
			{ID: "stadiums", Layer: "city", Q: config.Texts{"stadium"}, Threshold: .5},
			{ID: "water", Layer: "far", Q: config.Texts{"harbour", "lake"}, Not: config.Texts{"sea"}, Style: "outline"},
		},
		Limits: config.Limits{Connections: 100, CacheMB: 9, DrainDelay: 5 * time.Second},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Load (-want +got):\n%s", diff)
	}
	if err := got.Validate(); err != nil {
		t.Errorf("Validate: %v", err)
	}

	var printed bytes.Buffer
	if err := got.Print(&printed); err != nil {
		t.Fatal(err)
	}
	if text := printed.String(); strings.Contains(text, "secret") || !strings.Contains(text, "Bearer ${CITY_TOKEN}") || !strings.Contains(text, "***") {
		t.Errorf("Print masks wrongly:\n%s", text)
	}
	again, err := config.Parse(printed.Bytes(), "printed", "/", env("CITY_TOKEN", "SECRET"))
	if err != nil {
		t.Fatalf("printed config: %v\n%s", err, printed.String())
	}
	want.Layers[1].Headers["X-Plain"] = "***"
	if diff := cmp.Diff(want, again); diff != "" {
		t.Errorf("Parse of Print (-want +got):\n%s", diff)
	}
}

func TestDefaults(t *testing.T) {
	for _, text := range []string{"", "\n", "# only a comment\n", "---\n", "listen:\n", "layers: []\n"} {
		got, err := config.Parse([]byte(text), "empty.yaml", "", nil)
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
			continue
		}
		want := config.Default()
		if strings.HasPrefix(text, "layers") {
			want.Layers = []config.Layer{}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Parse(%q) (-want +got):\n%s", text, diff)
		}
	}
}

func TestEnvironment(t *testing.T) {
	got, err := config.Parse([]byte("listen: localhost:1\n"), "c.yaml", "/etc", env(
		"TILESCOUT_LISTEN", ":9", "TILESCOUT_PUBLIC_URL", "https://a.example", "TILESCOUT_BASE_PATH", "/x",
		"TILESCOUT_TRUSTED_PROXIES", "10.0.0.1, ::1", "TILESCOUT_LIMITS_DRAIN_DELAY", "1m", "TILESCOUT_DATA", "d",
		"TILESCOUT_LAYERS", `[{id: a, source: a.tif}]`, "TILESCOUT_SEARCHES", `[{id: b, layer: a, q: x}]`))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Listen, want.PublicURL, want.BasePath, want.Data = ":9", "https://a.example", "/x", "/etc/d"
	want.TrustedProxies, want.Limits.DrainDelay = []string{"10.0.0.1", "::1"}, time.Minute
	want.Layers = []config.Layer{{Spec: source.Spec{ID: "a", Source: "/etc/a.tif"}}}
	want.Searches = []config.Search{{ID: "b", Layer: "a", Q: config.Texts{"x"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestErrors(t *testing.T) {
	layer := "layers:\n  - id: city\n    source: a.tif\n"
	tests := map[string]struct{ text, want string }{
		"misspelt key":        {"lisen: localhost:80", `c.yaml:1:1: unknown key "lisen" here; did you mean listen?`},
		"unlike any key":      {"colour: red", `c.yaml:1:1: unknown key "colour" here; there are admin, basePath, cors, data, device,`},
		"key in a layer":      {layer + "    titel: x", `c.yaml:4:5: unknown key "titel" in layers[0]; did you mean title?`},
		"key of other case":   {layer + "    minzoom: 3", `c.yaml:4:5: unknown key "minzoom" in layers[0]; did you mean minZoom?`},
		"key in the index":    {layer + "    index: {zoom: [3]}", `unknown key "zoom" in layers[0].index; did you mean zooms?`},
		"list for a text":     {"listen: [a, b]", `c.yaml:1:9: listen: want a text (in quotes, if it looks like something else), not a list`},
		"boolean for a text":  {"device: true", `c.yaml:1:9: device: want a text (in quotes, if it looks like something else), not "true"`},
		"text for a list":     {"layers: city.tif", `c.yaml:1:9: layers: want a list, not "city.tif"`},
		"text for a number":   {"limits:\n  connections: many", `c.yaml:2:16: limits.connections: want a whole number, not "many"`},
		"fraction":            {"limits: {connections: 1.5}", `want a whole number, not "1.5"`},
		"number for a layer":  {"layers: [3]", `layers[0]: want keys and values, not "3"`},
		"duration":            {layer + "    cacheTTL: 7", `c.yaml:4:15: layers[0].cacheTTL: want a duration like 30s or 24h, not "7"`},
		"text for a boolean":  {layer + "    allowBulk: sure", `layers[0].allowBulk: want true or false, not "sure"`},
		"text in bounds":      {layer + "    bounds: [1, 2, 3, north]", `layers[0].bounds[3]: want a number, not "north"`},
		"infinity":            {layer + "    bounds: [1, 2, 3, .inf]", `want a number`},
		"list at the root":    {"- a\n- b", `the config: want keys and values, not a list`},
		"text at the root":    {"hello", `the config: want keys and values, not "hello"`},
		"twice":               {"listen: localhost:1\nlisten: localhost:2", `c.yaml:2:1`},
		"second document":     {"listen: localhost:1\n---\nlisten: localhost:2", `a second document`},
		"no YAML":             {"listen: [a", `c.yaml:`},
		"tab":                 {"limits:\n\tconnections: 3", `c.yaml:2`},
		"anchor":              {"data: &a x\nmodel: *a", `anchors, tags and directives`},
		"tag":                 {"data: !!binary aGk=", `anchors, tags and directives`},
		"deep":                {"data: " + strings.Repeat("[", 100) + strings.Repeat("]", 100), `nested too deep`},
		"deep in dashes":      {strings.Repeat("- ", 5000) + "x", `nested too deep`},
		"deep in spaces":      {deep(2000), `nested too deep`},
		"not text":            {"\xff\xfe", "not UTF-8"},
		"too long":            {"# " + strings.Repeat("x", config.MaxBytes), "more than 1048576 bytes"},
		"listen":              {"listen: 8080", `c.yaml:1:9: listen: "8080": want host:port`},
		"port":                {"listen: localhost:http2", `the port is not a number`},
		"public URL":          {"publicURL: maps.example", `c.yaml:1:12: publicURL: public URL "maps.example": want http(s)`},
		"base path":           {"basePath: no/slash", `c.yaml:1:11: basePath: base path "no/slash"`},
		"proxy":               {"trustedProxies: [everyone]", `trusted proxy "everyone"`},
		"layer id":            {"layers:\n  - id: City\n    source: a.tif", `c.yaml:2:`},
		"id twice":            {layer + "  - id: city\n    source: b.tif", `c.yaml:4:9: the id "city" is taken by layers[0]`},
		"no source":           {"layers:\n  - id: city", `source is empty`},
		"bounds":              {layer + "    bounds: [1, 2, 3]", `bounds`},
		"zooms":               {layer + "    minZoom: 9\n    maxZoom: 3", `minZoom 9 is above maxZoom 3`},
		"zoom 31":             {layer + "    maxZoom: 31", `0 to 30`},
		"index zooms":         {layer + "    index: {zooms: [17, 99]}", `c.yaml:4:`},
		"index bounds":        {layer + "    index: {bounds: [11, 48, 12, 47]}", `south is north of north`},
		"variable":            {layer + "  - id: far\n    source: https://h/{z}/{x}/{y}\n    headers:\n      Authorization: Bearer ${NOT_THERE}", `c.yaml:7:22: header Authorization: the environment variable NOT_THERE is not set`},
		"variable in source":  {"layers:\n  - id: far\n    source: ${HOST}/a.tif", `c.yaml:3:13: the environment variable HOST is not set`},
		"half a variable":     {"layers:\n  - id: far\n    source: a${HOST", `${ without the name`},
		"search of no layer":  {layer + "searches:\n  - {id: s, layer: sea, q: x}", `search "s": there is no layer "sea"`},
		"search takes an id":  {layer + "searches:\n  - {id: city, layer: city, q: x}", `the id "city" is taken`},
		"search of a search":  {layer + "searches:\n  - {id: s, layer: city, q: x}\n  - {id: t, layer: s, q: x}", `there is no layer "s"`},
		"search for nothing":  {layer + "searches:\n  - {id: s, layer: city}", `q is missing`},
		"search for a blank":  {layer + "searches:\n  - {id: s, layer: city, q: ' '}", `1 to 512 bytes`},
		"threshold":           {layer + "searches:\n  - {id: s, layer: city, q: x, threshold: 50}", `threshold 50: want 0 to 1`},
		"style":               {layer + "searches:\n  - {id: s, layer: city, q: x, style: dots}", `style "dots"`},
		"limit too large":     {"limits: {raster: {ifds: 5000}}", `c.yaml:1:25: limits.raster.ifds: 5000: want 0 to 4096`},
		"limit too long":      {"limits:\n  requests:\n    bodyTimeout: 2h", `c.yaml:3:18: limits.requests.bodyTimeout: 2h0m0s: want 0s to 1h`},
		"negative limit":      {"limits: {admission: {render: {wait: -1s}}}", `want 0s to 10m`},
		"key in the limits":   {"limits: {raster: {ifd: 5}}", `unknown key "ifd" in limits.raster; did you mean ifds?`},
		"log level":           {"logLevel: loud", `logLevel "loud": want debug, info, warn or error`},
		"origin":              {"cors: [https://a.example/path]", `origin "https://a.example/path"`},
		"pprof for all":       {"admin: {pprof: true}", `pprof needs admin.listen`},
		"key without secret":  {"keys: [{id: gis}]", `c.yaml:1:8: key "gis": give one of sha256, env and file`},
		"key with two":        {"keys: [{id: gis, env: A, file: b}]", `give one of sha256, env and file`},
		"key's digest":        {"keys: [{id: gis, sha256: abc}]", `sha256 is not 64 hexadecimal digits`},
		"key's variable":      {"keys: [{id: gis, env: NOT_THERE}]", `key "gis": the environment variable NOT_THERE is not set`},
		"key's file":          {"keys: [{id: gis, file: /not/there}]", `key "gis": read its file: open /not/there`},
		"key's scope":         {"keys: [{id: gis, env: A, scopes: [write]}]", `scope "write": want tiles, search or admin`},
		"key's layer":         {"keys: [{id: gis, env: A, layers: [sea]}]", `there is no layer "sea"`},
		"key twice":           {"keys: [{id: gis, env: A}, {id: gis, env: B}]", `the id "gis" is taken by keys[0]`},
		"map for search text": {layer + "searches:\n  - {id: s, layer: city, q: {a: b}}", `searches[0].q: want a text`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse([]byte(tc.text), "c.yaml", "", nil)
			if !errors.Is(err, tilescout.ErrBadInput) {
				t.Fatalf("Parse = %v, want ErrBadInput", err)
			}
			if got := err.Error(); !strings.Contains(got, tc.want) || strings.Contains(got, "\n") || len(got) > 400 {
				t.Errorf("Parse = %q, want one line with %q", got, tc.want)
			}
		})
	}
	t.Run("no file", func(t *testing.T) {
		if _, err := config.Load(filepath.Join(t.TempDir(), "none.yaml"), nil); !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), "none.yaml") {
			t.Errorf("Load = %v", err)
		}
	})
	t.Run("environment", func(t *testing.T) {
		for name, want := range map[string]string{
			"TILESCOUT_LISTEN": `listen: "x": want host:port`, "TILESCOUT_LIMITS_CONNECTIONS": "TILESCOUT_LIMITS_CONNECTIONS: want a whole number",
			"TILESCOUT_LAYERS": "TILESCOUT_LAYERS:1:1: layers: want a list", "TILESCOUT_LIMITS_DRAIN_DELAY": "want a duration",
		} {
			if _, err := config.Parse(nil, "c.yaml", "", env(name, "x")); err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(want, "TILESCOUT_LAYERS:1:1: layers: ")) {
				t.Errorf("%s=x: %v, want %q", name, err, want)
			}
		}
	})
}

// deep is a mapping in a mapping in a mapping…
func deep(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < config.MaxBytes/2 && i < n; i++ {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func TestVariable(t *testing.T) {
	for key, want := range map[string]string{"listen": "TILESCOUT_LISTEN", "publicURL": "TILESCOUT_PUBLIC_URL",
		"trustedProxies": "TILESCOUT_TRUSTED_PROXIES", "limits.cacheMB": "TILESCOUT_LIMITS_CACHE_MB"} {
		if got := config.Variable(key); got != want {
			t.Errorf("Variable(%q) = %q, want %q", key, got, want)
		}
	}
}

func TestFromArgument(t *testing.T) {
	for arg, want := range map[string]string{
		"/data/City 2024.tif": "city-2024", "a.mbtiles": "a", "Zürich (ost).tif": "z-rich-ost", "…": "layer", "_x.tif": "x",
		"https://tiles.example.org/{z}/{x}/{y}.png": "tiles-example-org", "https://{s}.host/{z}": "s-host",
		strings.Repeat("n", 99) + ".tif": strings.Repeat("n", 56),
	} {
		l := config.FromArgument(arg, nil)
		if l.ID != want || l.Source != arg {
			t.Errorf("FromArgument(%q) = id %q of %q, want %q", arg, l.ID, l.Source, want)
		}
		if err := l.Validate(); err != nil {
			t.Errorf("FromArgument(%q): %v", arg, err)
		}
	}
	if l := config.FromArgument("b/city.tif", func(id string) bool { return id == "city" || id == "city-2" }); l.ID != "city-3" {
		t.Errorf("a taken id: %q, want city-3", l.ID)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(whole))
	for _, s := range []string{"", "a", "- - - x", "{", "[[[[", "listen: [", "? a\n: b", "a: &x *x", "layers: [{id: a, source: a.tif}]", "data: |\n  x\n y", "a:\n\tb", "\"", "%YAML 1.2\n---", "<<: {a: b}", "- a: b\n c", "limits: {connections: 0x10}", ": :", "!!map {}", "a: 'b", "listen: >-\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse(data, "fuzz.yaml", "", env("CITY_TOKEN", "x"))
		if err != nil {
			if !errors.Is(err, tilescout.ErrBadInput) {
				t.Fatalf("not a kind: %v", err)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("more than one line: %q", err)
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("Parse let through what Validate does not: %v", err)
		}
	})
}
