package config

import (
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/tileserver"
)

var idPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// MaxLayers bounds the labels of metrics and the length of capabilities (SEC reference §9).
const MaxLayers = 256

// validate returns the first thing that is wrong, with its place where d knows it.
func (c Config) validate(d *decoder) error {
	if err := checkListen(c.Listen); err != nil {
		return d.errorf("listen", "listen: %v", err)
	}
	for _, address := range []struct {
		key, publicURL, basePath string
		trusted                  []string
	}{{"publicURL", c.PublicURL, "", nil}, {"basePath", "", c.BasePath, nil}, {"trustedProxies", "", "", c.TrustedProxies}} {
		if _, err := tileserver.NewAddress(address.publicURL, address.basePath, address.trusted); err != nil {
			return d.errorf(address.key, "%s: %s", address.key, message(err))
		}
	}
	if path, err := c.Limits.check(); err != nil {
		return d.errorf(path, "%v", err)
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel) {
		return d.errorf("logLevel", "logLevel %q: want debug, info, warn or error", c.LogLevel)
	}
	if err := checkOrigins(c.CORS); err != nil {
		return d.errorf("cors", "cors: %v", err)
	}
	if c.Admin.Listen != "" {
		if err := checkListen(c.Admin.Listen); err != nil {
			return d.errorf("admin.listen", "admin.listen: %v", err)
		}
	} else if c.Admin.Pprof {
		return d.errorf("admin", "admin: pprof needs admin.listen")
	}
	if n := len(c.Layers) + len(c.Searches); n > MaxLayers {
		return d.errorf("layers", "%d layers and searches: more than %d", n, MaxLayers)
	}
	where := map[string]string{} // id → path of who has it
	for i, l := range c.Layers {
		at := fmt.Sprintf("layers[%d]", i)
		if err := l.Spec.Validate(); err != nil {
			return d.errorf(at, "%s", message(err))
		}
		if err := claim(where, l.ID, at); err != nil {
			return d.errorf(at+".id", "%v", err)
		}
		if err := l.Index.check(); err != nil {
			return d.errorf(at+".index", "layer %q: index: %v", l.ID, err)
		}
	}
	for i, s := range c.Searches {
		at := fmt.Sprintf("searches[%d]", i)
		if !idPattern.MatchString(s.ID) {
			return d.errorf(at, "search %q: id must be 1 to 63 of a-z, 0-9, _ and -, the first a letter or digit", s.ID)
		}
		if by, ok := where[s.Layer]; !ok || !strings.HasPrefix(by, "layers") {
			return d.errorf(at, "search %q: there is no layer %q", s.ID, s.Layer)
		}
		if err := claim(where, s.ID, at); err != nil {
			return d.errorf(at+".id", "%v", err)
		}
		if err := s.check(); err != nil {
			return d.errorf(at, "search %q: %v", s.ID, err)
		}
	}
	holders := map[string]string{}
	for i, k := range c.Keys {
		at := fmt.Sprintf("keys[%d]", i)
		known := where
		if c.LayersDir != "" { // a layer of that name may come
			known = maps.Clone(where)
			for _, id := range k.Layers {
				known[id] = c.LayersDir
			}
		}
		if err := k.check(known); err != nil {
			return d.errorf(at, "key %q: %v", k.ID, err)
		}
		if err := claim(holders, k.ID, at); err != nil {
			return d.errorf(at+".id", "%v", err)
		}
	}
	return nil
}

// claim gives an id to the one at a path, unless another has it.
func claim(where map[string]string, id, at string) error {
	if by, taken := where[id]; taken {
		return fmt.Errorf("the id %q is taken by %s", id, by)
	}
	where[id] = at
	return nil
}

// message is the text of an error without its kind, which is added again.
func message(err error) string { return strings.TrimSuffix(err.Error(), ": bad input") }

func checkListen(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q: want host:port", s)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q: the port is not a number from 0 to 65535", s)
	}
	return nil
}

func (ix Index) check() error {
	if len(ix.Zooms) > 8 {
		return fmt.Errorf("%d zooms: more than 8", len(ix.Zooms))
	}
	seen := map[int]bool{}
	for _, z := range ix.Zooms {
		if z < 0 || z > int(geo.MaxZoom) || seen[z] {
			return fmt.Errorf("zooms %v: want different ones from 0 to %d", ix.Zooms, geo.MaxZoom)
		}
		seen[z] = true
	}
	if ix.Overlap < 0 || ix.Overlap > 2 {
		return fmt.Errorf("overlap %d: want 1 (tiles only) or 2 (and windows half a tile off)", ix.Overlap)
	}
	if len(ix.Bounds) == 0 {
		return nil
	}
	var parts []string
	for _, f := range ix.Bounds {
		parts = append(parts, strconv.FormatFloat(f, 'f', -1, 64))
	}
	b, err := geo.ParseBBox(strings.Join(parts, ","))
	if err != nil {
		return fmt.Errorf("bounds: %s", message(err))
	}
	if b.South >= b.North || b.West == b.East {
		return fmt.Errorf("bounds %v are empty: the order is west, south, east, north", ix.Bounds)
	}
	return nil
}

func (s Search) check() error {
	if len(s.Q) == 0 {
		return fmt.Errorf("q is missing: say what to search for")
	}
	if len(s.Q)+len(s.Not) > 16 {
		return fmt.Errorf("%d prompts: more than 16", len(s.Q)+len(s.Not))
	}
	for _, q := range append(append(Texts{}, s.Q...), s.Not...) {
		if strings.TrimSpace(q) == "" || len(q) > 512 {
			return fmt.Errorf("a prompt is 1 to 512 bytes of text")
		}
	}
	if !(s.Threshold >= 0 && s.Threshold <= 1) {
		return fmt.Errorf("threshold %v: want 0 to 1", s.Threshold)
	}
	switch s.Style {
	case "", "heat", "grid", "outline":
		return nil
	}
	return fmt.Errorf("style %q: want heat, grid or outline", s.Style)
}
