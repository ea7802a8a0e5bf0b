package upstream

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
)

// Address is the source of a layer that is a service and no template: wmts+https://host/path?map=a#layer=city.
type Address struct {
	URL     *url.URL          // to ask, with secrets; without the prefix, the settings and the fragment
	Options map[string]string // settings by lower-case name
	Secrets []string          // values of ${NAME} in it
	Written string            // without secrets, for fingerprints
}

// ParseAddress reads the source of spec. Settings stand in the fragment (#layer=city&time=2024), and those that names
// lists in the query as well; they are taken out of it. All other parameters are kept: they are the server's. ${NAME} is
// replaced by the variable. All errors are ErrBadInput and hold no value of a variable.
func ParseAddress(spec source.Spec, lookup func(string) (string, bool), names ...string) (Address, error) {
	a, err := parseAddress(spec.Source, lookup, names)
	if err != nil {
		return Address{}, fmt.Errorf("layer %s: source: %w: %w", spec.ID, err, tilescout.ErrBadInput)
	}
	return a, nil
}

func parseAddress(text string, lookup func(string) (string, bool), names []string) (Address, error) {
	if len(text) > 4096 {
		return Address{}, fmt.Errorf("longer than 4096 bytes")
	}
	if kind, rest, ok := strings.Cut(text, "+"); ok && !strings.ContainsAny(kind, ":/") {
		text = rest
	}
	a := Address{Options: map[string]string{}}
	full, err := Expand(text, func(name string) (string, bool) {
		if lookup == nil {
			return "", false
		}
		value, ok := lookup(name)
		if ok && value != "" {
			a.Secrets = append(a.Secrets, value)
		}
		return value, ok
	})
	if err != nil {
		return Address{}, err
	}
	u, err := url.Parse(full)
	if err != nil {
		return Address{}, fmt.Errorf("not a URL") // its own error would quote it, secrets and all
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return Address{}, fmt.Errorf("scheme %.20q is neither http nor https", u.Scheme)
	case u.Hostname() == "":
		return Address{}, fmt.Errorf("no host")
	case u.User != nil:
		return Address{}, fmt.Errorf("user and password in the URL: put them into headers as Authorization instead")
	}
	settings, err := url.ParseQuery(u.Fragment)
	if err != nil {
		return Address{}, fmt.Errorf("the settings behind # are not name=value with & between")
	}
	for name, values := range settings {
		a.Options[strings.ToLower(name)] = values[0]
	}
	u.Fragment, u.RawFragment = "", ""
	var kept []string
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, _ = url.QueryUnescape(name)
		name = strings.ToLower(name)
		if !slices.Contains(names, name) {
			if pair != "" {
				kept = append(kept, pair)
			}
			continue
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return Address{}, fmt.Errorf("the value of %s is not encoded as a URL asks", name)
		}
		if _, given := a.Options[name]; !given && value != "" {
			a.Options[name] = value
		}
	}
	u.RawQuery = strings.Join(kept, "&")
	a.URL = u
	path, query, _ := strings.Cut(text, "?")
	query, _, _ = strings.Cut(query, "#")
	a.Written = MaskQuery(path+"?"+query, secretName)
	return a, nil
}

// With returns the address as text with parameters added or, whatever the case of their names, replaced. pairs are
// names and values in turn.
func With(u *url.URL, pairs ...string) string {
	var b strings.Builder
	var query []string
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		name, _, _ := strings.Cut(pair, "=")
		name, _ = url.QueryUnescape(name)
		given := false
		for i := 0; i+1 < len(pairs); i += 2 {
			given = given || strings.EqualFold(pairs[i], name)
		}
		if pair != "" && !given {
			query = append(query, pair)
		}
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		query = append(query, url.QueryEscape(pairs[i])+"="+escapeValue(pairs[i+1]))
	}
	base := *u
	base.RawQuery, base.Fragment, base.RawFragment, base.ForceQuery = "", "", "", false
	b.WriteString(base.String())
	if len(query) > 0 {
		b.WriteString("?" + strings.Join(query, "&"))
	}
	return b.String()
}

// escapeValue leaves commas, slashes and colons as they are: old servers do not unescape a BBOX.
func escapeValue(s string) string {
	s = url.QueryEscape(s)
	s = strings.ReplaceAll(s, "+", "%20")
	for _, c := range [][2]string{{"%2C", ","}, {"%2F", "/"}, {"%3A", ":"}} {
		s = strings.ReplaceAll(s, c[0], c[1])
	}
	return s
}

// Choices lists what there is to choose from, for messages: at most a dozen names, each short.
func Choices(names []string) string {
	const most = 12
	var b strings.Builder
	for i, n := range names {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(names)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(oneLine(n, 60))
	}
	if len(names) == 0 {
		return "none"
	}
	return b.String()
}

// Text makes a stranger's text fit to be shown: valid UTF-8, white space folded, at most so many bytes.
func Text(s string, most int) string { return oneLine(s, most) }

// Resolve returns the address that a document names, whole: relative ones are taken from base, and http on base's own
// host becomes https where base is https, since servers do not know of the TLS in front of them. Placeholders in braces
// stay as they are. An address longer than 4096 bytes, or that is none, is ErrBadInput.
func Resolve(base *url.URL, text string) (string, error) {
	text = strings.TrimSpace(text)
	if len(text) > 4096 || text == "" {
		return "", fmt.Errorf("an address of %d bytes: %w", len(text), ErrAddress)
	}
	if !strings.Contains(text, "://") {
		braces := strings.NewReplacer("{", "%7B", "}", "%7D")
		u, err := base.Parse(braces.Replace(text))
		if err != nil {
			return "", fmt.Errorf("it is no URL: %w", ErrAddress)
		}
		text = strings.NewReplacer("%7B", "{", "%7D", "}").Replace(u.String())
	}
	scheme, rest, _ := strings.Cut(text, "://")
	host, _, _ := strings.Cut(rest, "/")
	host, _, _ = strings.Cut(host, "?")
	if strings.EqualFold(scheme, "http") && base.Scheme == "https" && strings.EqualFold(host, base.Host) {
		text = "https://" + rest
	}
	return text, nil
}

// Own returns the parameters that the operator wrote behind ? in his source and that address has not: keys, map=. They
// are his host's business alone, so for another host there are none.
func (a Address) Own(address string) []string {
	u, err := url.Parse(strings.NewReplacer("{", "%7B", "}", "%7D").Replace(address))
	if err != nil || !strings.EqualFold(u.Host, a.URL.Host) {
		return nil
	}
	var out []string
	for pair := range strings.SplitSeq(a.URL.RawQuery, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if pair != "" && !strings.Contains("&"+strings.ToLower(u.RawQuery), "&"+strings.ToLower(name)+"=") {
			out = append(out, pair)
		}
	}
	return out
}

// Append returns an address with pairs (name=value, escaped already) behind its query.
func Append(address string, pairs []string) string {
	if len(pairs) == 0 {
		return address
	}
	separator := "?"
	switch {
	case strings.HasSuffix(address, "?"), strings.HasSuffix(address, "&"):
		separator = ""
	case strings.Contains(address, "?"):
		separator = "&"
	}
	return address + separator + strings.Join(pairs, "&")
}
