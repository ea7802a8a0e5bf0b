// Package config reads tilescout.yaml, strictly: what the file says is checked key by key, and what is wrong comes
// back as one line with its place and, for a misspelt key, the nearest one that exists.
//
//	c, err := config.Load("tilescout.yaml", os.LookupEnv)
//	if err != nil {
//		return err
//	}
//	for _, l := range c.Layers {
//		fmt.Println(l.ID, l.Source)
//	}
package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
)

// MaxBytes bounds the size of a config file.
const MaxBytes = 1 << 20

// Config is all that an operator can say. Default fills what a file leaves out.
type Config struct {
	Listen         string   `yaml:"listen"`         // host:port
	Data           string   `yaml:"data"`           // data folder; "" means the user's cache folder
	Model          string   `yaml:"model"`          // bundled, a model folder, or owner/name from the hub
	Device         string   `yaml:"device"`         // auto, cpu, cuda, coreml, directml, …
	PublicURL      string   `yaml:"publicURL"`      // where clients reach the server; "" finds out from each request
	BasePath       string   `yaml:"basePath"`       // path prefix that requests carry when they arrive
	TrustedProxies []string `yaml:"trustedProxies"` // addresses or networks whose forwarded headers count
	LogLevel       string   `yaml:"logLevel"`       // debug, info (each request), warn or error
	CORS           []string `yaml:"cors"`           // web origins whose pages may read answers; none means any
	Keys           []Key    `yaml:"keys"`           // who may see what; what no key covers is open to all
	Admin          Admin    `yaml:"admin"`          // a listener for operators
	LayersDir      string   `yaml:"layersDir"`      // folder whose files are layers as long as they lie there
	Layers         []Layer  `yaml:"layers"`
	Searches       []Search `yaml:"searches"`
	Limits         Limits   `yaml:"limits"`
}

// Admin is a second listener with metrics, health and reload, which asks for no key: only operators may reach it.
type Admin struct {
	Listen string `yaml:"listen"` // host:port; "" leaves metrics on the main listener
	Pprof  bool   `yaml:"pprof"`  // profiles under /debug/pprof/
}

// Layer is one source under the name that clients use, and what of it is indexed. ${NAME} in source and headers
// stands for an environment variable; that it is set is checked here, the source fills it in.
type Layer struct {
	source.Spec `yaml:",inline"`
	Index       Index `yaml:"index"`
}

// Index says what of a layer is embedded ahead of being looked at.
type Index struct {
	Zooms  []int     `yaml:"zooms"`  // none means what suits the layer's resolution
	Bounds []float64 `yaml:"bounds"` // west, south, east, north in degrees; none means the layer's

	// Overlap is 1 for tiles only, 2 for windows half a tile off too; 0 means 2 for small layers.
	Overlap int `yaml:"overlap"`
}

// Search is a saved search: a layer of its own for clients that cannot pass a prompt.
type Search struct {
	ID        string  `yaml:"id"`
	Title     string  `yaml:"title"` // "" means the prompts
	Layer     string  `yaml:"layer"` // id of the layer searched
	Q         Texts   `yaml:"q"`     // prompts, any of them
	Not       Texts   `yaml:"not"`   // negative prompts
	Threshold float64 `yaml:"threshold"`
	Style     string  `yaml:"style"` // heat, grid or outline; "" means heat
}

// Texts is one text or a list of them.
type Texts []string

// Default returns the config of an empty file.
func Default() Config {
	return Config{
		Listen: "localhost:8080", Model: "bundled", Device: "cpu", LogLevel: "warn",
		Limits: Limits{Connections: 4096, CacheMB: 64},
	}
}

// Load reads the file, then what the environment overrides (TILESCOUT_LISTEN and so on, see Override), and checks
// it all. path "" reads no file. lookup is os.LookupEnv, or nil for no environment. Errors are ErrBadInput.
func Load(path string, lookup func(string) (string, bool)) (Config, error) {
	var data []byte
	dir := ""
	if path != "" {
		var err error
		if data, err = read(path); err != nil {
			return Config{}, err
		}
		dir = filepath.Dir(path)
	}
	return Parse(data, path, dir, lookup)
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("config %s: there is no such file: %w", path, tilescout.ErrBadInput)
	}
	if err != nil {
		return nil, fmt.Errorf("config: %w: %w", tilescout.ErrBadInput, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("config %s: %w: %w", path, tilescout.ErrBadInput, err)
	}
	return data, nil
}

// Parse is Load for text that is already here. name stands in messages, relative paths are below dir.
func Parse(data []byte, name, dir string, lookup func(string) (string, bool)) (Config, error) {
	if lookup == nil {
		lookup = func(string) (string, bool) { return "", false }
	}
	c := Default()
	d := &decoder{name: name, places: map[string]place{}}
	if err := d.decode(data, &c); err != nil {
		return Config{}, err
	}
	if err := override(&c, d, lookup); err != nil {
		return Config{}, err
	}
	if err := c.resolve(d, dir, lookup); err != nil {
		return Config{}, err
	}
	if err := c.validate(d); err != nil {
		return Config{}, err
	}
	for i, k := range c.Keys {
		if _, err := k.Open(lookup); err != nil {
			return Config{}, d.errorf(fmt.Sprintf("keys[%d]", i), "key %q: %v", k.ID, err)
		}
	}
	return c, nil
}

// Validate checks a config that was changed after Load, by flags for example.
func (c Config) Validate() error { return c.validate(&decoder{name: "config"}) }

// resolve makes paths absolute or relative to the working folder, and checks that variables are set.
func (c *Config) resolve(d *decoder, dir string, lookup func(string) (string, bool)) error {
	below := func(path string) string {
		if path == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(dir, path)
	}
	c.Data, c.LayersDir = below(c.Data), below(c.LayersDir)
	for i := range c.Keys {
		c.Keys[i].below(dir)
	}
	if strings.HasPrefix(c.Model, "./") || strings.HasPrefix(c.Model, "../") {
		c.Model = below(c.Model)
	} else if c.Model != "bundled" && dir != "" {
		// owner/name may be a folder here or a name on the hub: what is here wins.
		if s, err := os.Stat(below(c.Model)); err == nil && s.IsDir() {
			c.Model = below(c.Model)
		}
	}
	for i := range c.Layers {
		l, at := &c.Layers[i], fmt.Sprintf("layers[%d]", i)
		expanded, err := expand(l.Source, lookup)
		if err != nil {
			return d.errorf(at+".source", "%v", err)
		}
		if !IsURL(l.Source) {
			kind, path := "", expanded
			if rest, ok := strings.CutPrefix(expanded, "picture:"); ok {
				kind, path = "picture:", rest
			}
			l.Source = kind + below(path)
		}
		for name, value := range l.Headers {
			if _, err := expand(value, lookup); err != nil {
				return d.errorf(at+".headers."+name, "header %s: %v", name, err)
			}
		}
	}
	return nil
}

// IsURL says whether a source is remote: a URL or a URL template, and not a path.
func IsURL(source string) bool { return strings.Contains(source, "://") }

// expand replaces ${NAME}.
func expand(s string, lookup func(string) (string, bool)) (string, error) {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(s, "${")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed || name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return "", errors.New("${ without the name of an environment variable and a }")
		}
		value, ok := lookup(name)
		if !ok {
			return "", fmt.Errorf("the environment variable %s is not set", name)
		}
		out.WriteString(value)
		s = after
	}
}
