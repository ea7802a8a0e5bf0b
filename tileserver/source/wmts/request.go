package wmts

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tilescout/tilescout/tileserver/source/pyramid"
	"github.com/tilescout/tilescout/tileserver/source/upstream"
)

// maker makes the addresses of tiles: of a REST template cut into literals and placeholders, or of a KVP.
type maker struct {
	parts []part
	kvp   *url.URL
	pairs []string // of the KVP, without the tile's own
	first *url.URL // of a tile, for its host
}

type part struct {
	literal string
	tile    string // tilematrix, tilerow or tilecol; "" for a literal
}

func isTile(r resource) bool { return strings.EqualFold(strings.TrimSpace(r.Type), "tile") }

// makers returns the ways to ask for a tile: every REST template of the format, on several hosts perhaps, else the KVP.
// Each is checked: documents are a stranger's word.
func (c *capabilities) makers(p choice, set pyramid.Set, address upstream.Address, base *url.URL, client *upstream.Client) ([]maker, error) {
	var out []maker
	var why error
	for _, r := range p.layer.Resources[:min(len(p.layer.Resources), 64)] {
		if !isTile(r) || r.Format != "" && !strings.EqualFold(strings.TrimSpace(r.Format), p.format) {
			continue
		}
		m, err := restMaker(r.Template, p, set, address, base)
		if err == nil {
			err = m.check(set, client)
		}
		if err != nil {
			why = err
			continue
		}
		if out = append(out, m); len(out) == 16 {
			break
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	m, err := c.kvpMaker(p, set, address, base)
	if err == nil {
		err = m.check(set, client)
	}
	switch {
	case err == nil && (why == nil || c.hasKVP()):
		return []maker{m}, nil
	case why != nil:
		return nil, fmt.Errorf("tile address of the document: %w", why)
	}
	return nil, fmt.Errorf("tile address of the document: %w", err)
}

// check looks at the address of one tile.
func (m *maker) check(set pyramid.Set, client *upstream.Client) error {
	u, err := url.Parse(m.url(set, pyramid.Cell{Col: set.Matrices[0].MinCol, Row: set.Matrices[0].MinRow}))
	if err != nil {
		return fmt.Errorf("it gives no URL: %w", upstream.ErrCapabilities)
	}
	m.first = u
	return client.CheckURL(u)
}

func (m maker) host() string { return strings.ToLower(m.first.Host) }

func (m maker) url(set pyramid.Set, c pyramid.Cell) string {
	mx := set.Matrices[c.Matrix]
	if m.kvp != nil {
		return upstream.With(m.kvp, append(slices.Clone(m.pairs),
			"TILEMATRIX", mx.ID, "TILEROW", strconv.FormatInt(c.Row, 10), "TILECOL", strconv.FormatInt(c.Col, 10))...)
	}
	var b strings.Builder
	for _, p := range m.parts {
		switch p.tile {
		case "":
			b.WriteString(p.literal)
		case "tilematrix":
			b.WriteString(url.PathEscape(mx.ID))
		case "tilerow":
			b.WriteString(strconv.FormatInt(c.Row, 10))
		case "tilecol":
			b.WriteString(strconv.FormatInt(c.Col, 10))
		}
	}
	return b.String()
}

// restMaker cuts a template at its placeholders, whose case does not matter, and fills in what is the same for all
// tiles. A placeholder in the host is refused.
func restMaker(template string, p choice, set pyramid.Set, address upstream.Address, base *url.URL) (maker, error) {
	template, err := upstream.Resolve(base, template)
	if err != nil {
		return maker{}, err
	}
	scheme, rest, _ := strings.Cut(template, "://")
	host, _, _ := strings.Cut(rest, "/")
	if strings.ContainsAny(scheme+host, "{}") {
		return maker{}, fmt.Errorf("a placeholder stands in the host: %w", upstream.ErrCapabilities)
	}
	template = upstream.Append(template, address.Own(template))
	fixed := map[string]string{"layer": p.layer.ID, "style": p.style, "tilematrixset": set.ID, "format": p.format}
	for _, d := range p.dimensions {
		fixed[strings.ToLower(d[0])] = d[1]
	}
	var m maker
	seen := map[string]bool{}
	for template != "" {
		before, rest, found := strings.Cut(template, "{")
		m.add(before)
		if !found {
			break
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			return maker{}, fmt.Errorf("{ without }: %w", upstream.ErrCapabilities)
		}
		name = strings.ToLower(strings.TrimSpace(name))
		value, isFixed := fixed[name]
		switch {
		case name == "tilematrix" || name == "tilerow" || name == "tilecol":
			seen[name] = true
			m.parts = append(m.parts, part{tile: name})
		case isFixed:
			m.add(url.PathEscape(value))
		default:
			return maker{}, fmt.Errorf("placeholder {%.40s} is not known: %w", name, upstream.ErrCapabilities)
		}
		template = after
	}
	if len(seen) != 3 {
		return maker{}, fmt.Errorf("it lacks {TileMatrix}, {TileRow} or {TileCol}: %w", upstream.ErrCapabilities)
	}
	return m, nil
}

func (m *maker) add(text string) {
	if text != "" {
		m.parts = append(m.parts, part{literal: text})
	}
}

// kvpAddress returns the address for GetTile by KVP that the document gives.
func (c *capabilities) kvpAddress() string {
	for _, o := range c.Operations {
		if o.Name != "GetTile" {
			continue
		}
		for _, g := range o.Gets {
			kvp := true
			for _, k := range g.Constraints {
				if strings.EqualFold(k.Name, "GetEncoding") && len(k.Values) > 0 {
					kvp = slices.ContainsFunc(k.Values, func(v string) bool { return strings.EqualFold(strings.TrimSpace(v), "KVP") })
				}
			}
			if href := strings.TrimSpace(g.Href); kvp && href != "" {
				return href
			}
		}
	}
	return ""
}

func (c *capabilities) hasKVP() bool { return c.kvpAddress() != "" }

// kvpMaker asks the address of the document, or where it names none the one that the capabilities came from.
func (c *capabilities) kvpMaker(p choice, set pyramid.Set, address upstream.Address, base *url.URL) (maker, error) {
	href := c.kvpAddress()
	switch {
	case href != "":
	case strings.HasSuffix(strings.ToLower(base.Path), ".xml"):
		return maker{}, fmt.Errorf("the document names neither a template nor a KVP address: %w", upstream.ErrCapabilities)
	default:
		href = upstream.With(address.URL)
	}
	href, err := upstream.Resolve(base, href)
	if err != nil {
		return maker{}, err
	}
	u, err := url.Parse(upstream.Append(href, address.Own(href)))
	if err != nil {
		return maker{}, fmt.Errorf("it is no URL: %w", upstream.ErrCapabilities)
	}
	m := maker{kvp: u, pairs: []string{
		"SERVICE", "WMTS", "REQUEST", "GetTile", "VERSION", "1.0.0", "LAYER", p.layer.ID, "STYLE", p.style,
		"FORMAT", p.format, "TILEMATRIXSET", set.ID,
	}}
	for _, d := range p.dimensions {
		m.pairs = append(m.pairs, d[0], d[1])
	}
	return m, nil
}
