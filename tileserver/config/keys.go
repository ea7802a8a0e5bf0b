package config

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tilescout/tilescout/tileserver"
)

// Key opens layers to those who hold it. The secret is never in the file: its SHA-256 is, or the name of an
// environment variable or of a file that holds it.
type Key struct {
	ID      string   `yaml:"id"`      // for the log
	SHA256  string   `yaml:"sha256"`  // 64 hexadecimal digits: printf %s SECRET | sha256sum
	Env     string   `yaml:"env"`     // or the environment variable with the secret
	File    string   `yaml:"file"`    // or the file with it, as systemd's credentials and container secrets are
	Scopes  []string `yaml:"scopes"`  // tiles, search, admin; none means tiles and search
	Layers  []string `yaml:"layers"`  // ids; none means all
	Origins []string `yaml:"origins"` // web origins whose pages may use it; none means any
}

const (
	leastSecret = 16 // bytes: below that a key can be guessed
	mostSecret  = 512
)

// Open reads the secret where it is kept and returns the key as the server wants it.
func (k Key) Open(lookup func(string) (string, bool)) (tileserver.Key, error) {
	out := tileserver.Key{ID: k.ID, Layers: k.Layers, Origins: k.Origins}
	for _, s := range k.Scopes {
		out.Scopes = append(out.Scopes, tileserver.Scope(s))
	}
	secret := ""
	switch {
	case k.SHA256 != "":
		sum, err := hex.DecodeString(k.SHA256)
		if err != nil || len(sum) != len(out.Digest) {
			return out, fmt.Errorf("sha256 is not 64 hexadecimal digits")
		}
		copy(out.Digest[:], sum)
		return out, nil
	case k.Env != "":
		var ok bool
		if secret, ok = lookup(k.Env); !ok {
			return out, fmt.Errorf("the environment variable %s is not set", k.Env)
		}
	default:
		data, err := os.ReadFile(k.File)
		if err != nil {
			return out, fmt.Errorf("read its file: %w", err)
		}
		secret = string(data)
	}
	secret = strings.TrimSpace(secret)
	if len(secret) < leastSecret || len(secret) > mostSecret {
		return out, fmt.Errorf("the secret has %d bytes: want %d to %d; openssl rand -hex 24 makes one", len(secret), leastSecret, mostSecret)
	}
	out.Digest = tileserver.Digest(secret)
	return out, nil
}

// check looks at what the file says of a key, not at the secret.
func (k Key) check(layers map[string]string) error {
	if !idPattern.MatchString(k.ID) {
		return fmt.Errorf("id must be 1 to 63 of a-z, 0-9, _ and -, the first a letter or digit")
	}
	given := 0
	for _, s := range []string{k.SHA256, k.Env, k.File} {
		if s != "" {
			given++
		}
	}
	if given != 1 {
		return fmt.Errorf("give one of sha256, env and file")
	}
	if sum, err := hex.DecodeString(k.SHA256); err != nil || (k.SHA256 != "" && len(sum) != 32) {
		return fmt.Errorf("sha256 is not 64 hexadecimal digits")
	}
	for _, s := range k.Scopes {
		if !slices.Contains(tileserver.Scopes, tileserver.Scope(s)) {
			return fmt.Errorf("scope %q: want tiles, search or admin", s)
		}
	}
	for _, id := range k.Layers {
		if _, ok := layers[id]; !ok {
			return fmt.Errorf("there is no layer %q", id)
		}
	}
	return checkOrigins(k.Origins)
}

func checkOrigins(origins []string) error {
	for _, o := range origins {
		u, err := url.Parse(o)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || o != u.Scheme+"://"+u.Host {
			return fmt.Errorf("origin %q: want http(s)://host[:port], without a path", o)
		}
	}
	return nil
}

// below makes the path of a key's file absolute.
func (k *Key) below(dir string) {
	if k.File != "" && !filepath.IsAbs(k.File) {
		k.File = filepath.Join(dir, k.File)
	}
}
