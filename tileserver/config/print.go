package config

import (
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/tilescout/tilescout/tileserver/source"
)

// Print writes the config as YAML that Load reads, with secrets masked: values of headers unless they come from the
// environment, and what looks like a key in a URL.
func (c Config) Print(w io.Writer) error {
	layers := make([]Layer, len(c.Layers))
	for i, l := range c.Layers {
		headers := map[string]string{}
		for name, value := range l.Headers {
			headers[name] = mask(value)
		}
		if len(headers) > 0 {
			l.Headers = headers
		}
		l.Source = maskURL(l.Source)
		layers[i] = l
	}
	c.Layers = layers
	data, err := yaml.MarshalWithOptions(c, yaml.OmitEmpty())
	if err != nil {
		return fmt.Errorf("print config: %w", err)
	}
	_, err = w.Write(data)
	return err
}

func mask(value string) string {
	if strings.Contains(value, "${") {
		return value
	}
	return "***"
}

var secretParameter = regexp.MustCompile(`(?i)([?&][^=&]*(?:key|token|secret|password|auth|sig)[^=&]*=)([^&]*)`)

func maskURL(s string) string {
	if !IsURL(s) {
		return s
	}
	s = secretParameter.ReplaceAllStringFunc(s, func(pair string) string {
		name, value, _ := strings.Cut(pair, "=")
		return name + "=" + mask(value)
	})
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		if user, host, ok := strings.Cut(rest, "@"); ok && !strings.ContainsAny(user, "/?") {
			s = scheme + "://" + mask(user) + "@" + host
		}
	}
	return s
}

// FromArgument returns the layer of a source that was given on the command line: its id is made from the file's name
// or the host, and differs from those that taken knows.
func FromArgument(arg string, taken func(id string) bool) Layer {
	name := strings.TrimSuffix(filepath.Base(strings.TrimPrefix(arg, "picture:")), filepath.Ext(arg))
	title := name
	if IsURL(arg) {
		name = "upstream"
		// Placeholders are no host, and a template need not parse.
		if u, err := url.Parse(strings.NewReplacer("{", "", "}", "").Replace(arg)); err == nil && u.Hostname() != "" {
			name = u.Hostname()
		}
		title = name
	}
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', (r == '_' || r == '-') && b.Len() > 0:
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	id := b.String()
	id = strings.Trim(id[:min(len(id), 56)], "-")
	if id == "" {
		id = "layer"
	}
	free := id
	for n := 2; taken != nil && taken(free); n++ {
		free = id + "-" + strconv.Itoa(n)
	}
	return Layer{Spec: source.Spec{ID: free, Title: title, Source: arg}}
}
