package xyz

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/upstream"
)

// Template makes the URL of a tile. Placeholders:
//
//	{z} {x} {y}      zoom, column, row from the north (from the south in the tms scheme)
//	{-y}             row from the south
//	{q}              quadkey, base 4, as Bing counts
//	{s}              one of the subdomains, by tile; the only one, with {switch:…}, that may stand in the host
//	{switch:a,b,c}   one of a, b, c, by tile
//	{r}              @2x for 512 px tiles, else nothing
//
// ${NAME} is replaced once, when the template is parsed.
type Template struct {
	text       string // as written
	parts      []part
	tms        bool
	subdomains []string
	retina     string
	host       string // with * where a placeholder stands; names the upstream in limits and messages
	secrets    []string
	scheme     string
	identity   string // the template as written, without secrets
}

// part is a run of text, or one placeholder.
type part struct {
	text    string // literal; masked where it is a secret, in the list for display
	shown   string // literal as it may be shown
	kind    string // z, x, y, -y, q, s, r or switch; "" for a literal
	choices []string
}

var (
	hostLiteral = regexp.MustCompile(`^[A-Za-z0-9.\-:\[\]_]*$`)
	// identityName leaves out too little rather than too much: who changes ?id= wants other tiles.
	identityName = regexp.MustCompile(`(?i)^(.*[-_])?(api|access|subscription|auth)?[-_]?(key|token|secret|password|signature|sig)$`)
)

const maxTemplate = 4096 // bytes, after expansion

// ParseTemplate reads the template of spec. lookup gives the value of an environment variable; nil means that none is
// set. All errors are ErrBadInput and hold no value of a variable.
func ParseTemplate(spec source.Spec, lookup func(string) (string, bool)) (*Template, error) {
	t, err := parseTemplate(spec, lookup)
	if err != nil {
		return nil, fmt.Errorf("URL template: %w: %w", err, tilescout.ErrBadInput)
	}
	return t, nil
}

func parseTemplate(spec source.Spec, lookup func(string) (string, bool)) (*Template, error) {
	t := &Template{text: spec.Source, tms: spec.Scheme == "tms", subdomains: spec.Subdomains}
	if len(t.subdomains) == 0 {
		t.subdomains = []string{"a", "b", "c"}
	}
	for _, s := range t.subdomains {
		if s == "" || !hostLiteral.MatchString(s) {
			return nil, fmt.Errorf("subdomain %q is not letters, digits, dots and hyphens", s)
		}
	}
	if spec.TileSize == 512 {
		t.retina = "@2x"
	}
	if err := t.split(spec.Source, lookup); err != nil {
		return nil, err
	}
	// The parts before the first / or ? after the scheme are the host. The whole URL must parse with them filled in.
	sample, err := url.Parse(t.URL(maptile.Tile{}))
	if err != nil {
		return nil, fmt.Errorf("not a URL") // its own error would quote it, secrets and all
	}
	t.scheme = sample.Scheme
	switch {
	case sample.Scheme != "http" && sample.Scheme != "https":
		return nil, fmt.Errorf("scheme %q is neither http nor https", sample.Scheme)
	case sample.Hostname() == "":
		return nil, fmt.Errorf("no host")
	case sample.User != nil:
		return nil, fmt.Errorf("user and password in the URL: put them into headers as Authorization instead")
	case sample.Fragment != "":
		return nil, fmt.Errorf("a fragment (#…) is never sent")
	}
	if err := t.checkPlaces(); err != nil {
		return nil, err
	}
	h := sha256.Sum256([]byte(t.shownTemplate() + "\n" + spec.Scheme + "\n" + strings.Join(spec.Subdomains, ",") + "\n" + t.retina))
	t.identity = hex.EncodeToString(h[:])
	return t, nil
}

// split cuts the text into literals and placeholders and fills in ${NAME}.
func (t *Template) split(text string, lookup func(string) (string, bool)) error {
	if len(text) > maxTemplate {
		return fmt.Errorf("longer than %d bytes", maxTemplate)
	}
	for i := 0; i < len(text); {
		rest := text[i:]
		switch {
		case strings.HasPrefix(rest, "${"):
			name, _, ok := strings.Cut(rest[2:], "}")
			if !ok {
				return fmt.Errorf("${ without }")
			}
			value, err := upstream.Variable(name, lookup)
			if err != nil {
				return err
			}
			if strings.ContainsAny(value, "{}# \t\r\n") {
				return fmt.Errorf("the value of ${%s} holds a brace, # or white space", name)
			}
			t.addLiteral(value, upstream.Mask)
			t.secrets = append(t.secrets, value)
			i += len("${}") + len(name)
		case rest[0] == '{':
			name, _, ok := strings.Cut(rest[1:], "}")
			if !ok {
				return fmt.Errorf("{ without }")
			}
			p, err := placeholder(name)
			if err != nil {
				return err
			}
			t.parts = append(t.parts, p)
			i += len("{}") + len(name)
		case rest[0] == '}':
			return fmt.Errorf("} without {")
		default:
			n := strings.IndexAny(rest, "{}$")
			if n == 0 { // a lone $
				n = 1
			}
			if n < 0 {
				n = len(rest)
			}
			t.addLiteral(rest[:n], rest[:n])
			i += n
		}
	}
	size := 0
	for _, p := range t.parts {
		size += len(p.text)
		for _, r := range p.text {
			if r <= ' ' || r == 0x7f {
				return fmt.Errorf("white space or a control character in the URL")
			}
		}
	}
	if size > maxTemplate {
		return fmt.Errorf("longer than %d bytes with its variables filled in", maxTemplate)
	}
	return nil
}

func (t *Template) addLiteral(text, shown string) {
	t.parts = append(t.parts, part{text: text, shown: shown})
}

func placeholder(name string) (part, error) {
	switch name {
	case "z", "x", "y", "-y", "q", "s", "r":
		return part{kind: name}, nil
	}
	if list, ok := strings.CutPrefix(name, "switch:"); ok {
		choices := strings.Split(list, ",")
		for _, c := range choices {
			if c == "" || !hostLiteral.MatchString(c) {
				return part{}, fmt.Errorf("{%s}: choices are letters, digits, dots and hyphens between commas", name)
			}
		}
		return part{kind: "switch", choices: choices}, nil
	}
	return part{}, fmt.Errorf("unknown placeholder {%s}: known are {z} {x} {y} {-y} {q} {s} {r} {switch:a,b} and ${NAME}", name)
}

// checkPlaces sees to it that what changes from tile to tile cannot change the host, and that every tile has its URL.
func (t *Template) checkPlaces() error {
	seen := map[string]bool{}
	inHost, host := true, strings.Builder{}
	at := 0 // bytes of the URL so far, without placeholders
	prefix := len(t.scheme) + len("://")
	for _, p := range t.parts {
		seen[p.kind] = true
		if !inHost {
			continue
		}
		if p.kind != "" {
			if p.kind != "s" && p.kind != "switch" || at < prefix {
				return fmt.Errorf("{%s} stands in the host or before it; only {s} and {switch:…} may", p.kind)
			}
			host.WriteByte('*')
			continue
		}
		text := p.text
		if at < prefix {
			skip := min(prefix-at, len(text))
			at += skip
			text = text[skip:]
		}
		if end := strings.IndexAny(text, "/?#"); end >= 0 {
			text, inHost = text[:end], false
		}
		if !hostLiteral.MatchString(text) {
			return fmt.Errorf("the host holds characters that no host name has")
		}
		host.WriteString(text)
		at += len(text)
	}
	t.host = strings.ToLower(host.String())
	if seen["q"] || (seen["z"] && seen["x"] && (seen["y"] || seen["-y"])) {
		return nil
	}
	return fmt.Errorf("needs {z}, {x} and {y} (or {-y}), or {q}; it would be one URL for many tiles")
}

// URL returns the address of tile.
func (t *Template) URL(tile maptile.Tile) string { return t.build(tile, false) }

// Shown returns the address of tile as people may see it: variables and values of query parameters that look like
// keys are masked.
func (t *Template) Shown(tile maptile.Tile) string { return upstream.RedactURL(t.build(tile, true)) }

// Host returns the host of the template, with * where a placeholder stands.
func (t *Template) Host() string { return t.host }

// Hosts returns every host that a URL of the template may have.
func (t *Template) Hosts() []string {
	var hosts []string
	for x := range uint32(256) { // more than any list of subdomains
		u, err := url.Parse(t.URL(maptile.Tile{X: x}))
		if err == nil && !slices.Contains(hosts, u.Host) {
			hosts = append(hosts, u.Host)
		}
		if !strings.Contains(t.host, "*") {
			break
		}
	}
	return hosts
}

func (t *Template) build(tile maptile.Tile, shown bool) string {
	var b strings.Builder
	pick := int((uint64(tile.X) + uint64(tile.Y)) & 0xffff) // the same tile always comes from the same host
	number := func(n uint32) { b.WriteString(strconv.FormatUint(uint64(n), 10)) }
	for _, p := range t.parts {
		switch p.kind {
		case "":
			if shown {
				b.WriteString(p.shown)
			} else {
				b.WriteString(p.text)
			}
		case "z":
			number(uint32(tile.Z))
		case "x":
			number(tile.X)
		case "y":
			if t.tms {
				number(source.TMSRow(tile))
			} else {
				number(tile.Y)
			}
		case "-y":
			number(source.TMSRow(tile))
		case "q":
			b.WriteString(quadkey(tile))
		case "s":
			b.WriteString(t.subdomains[pick%len(t.subdomains)])
		case "switch":
			b.WriteString(p.choices[pick%len(p.choices)])
		case "r":
			b.WriteString(t.retina)
		}
	}
	return b.String()
}

// shownTemplate is the template itself, without keys: a new key does not make the tiles others.
func (t *Template) shownTemplate() string {
	var b strings.Builder
	for _, p := range t.parts {
		switch p.kind {
		case "":
			b.WriteString(p.shown)
		case "switch":
			b.WriteString("{switch:" + strings.Join(p.choices, ",") + "}")
		default:
			b.WriteString("{" + p.kind + "}")
		}
	}
	return upstream.MaskQuery(b.String(), identityName)
}

// quadkey returns Bing's name of a tile: one base-4 digit per zoom, bit of the column first in value, row second.
func quadkey(t maptile.Tile) string {
	digits := make([]byte, t.Z)
	for i := range digits {
		shift := uint(t.Z) - 1 - uint(i)
		digits[i] = '0' + byte(t.X>>shift&1) + 2*byte(t.Y>>shift&1)
	}
	return string(digits)
}
