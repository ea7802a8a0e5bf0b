package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/tilescout/tilescout/tileserver"
	"github.com/tilescout/tilescout/tileserver/config"
)

// TestLimitsAreDocumented: each limit has its row, with its default and its bound, in docs/operations.md.
func TestLimitsAreDocumented(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if cells := strings.Split(line, "|"); len(cells) > 4 {
			rows[strings.Trim(cells[1], " `")] = line
		}
	}
	n := 0
	config.EachLimit(config.Limits{}, func(key string, v reflect.Value, tag reflect.StructTag) bool {
		n++
		row, ok := rows[key]
		if !ok {
			t.Errorf("limits.%s has no row", key)
			return true
		}
		for _, want := range []string{tag.Get("default"), tag.Get("most")} {
			if want != "" && want != "-" && !strings.Contains(row, "| "+want+" |") {
				t.Errorf("limits.%s: the row does not say %s: %s", key, want, row)
			}
		}
		return true
	})
	if n < 30 {
		t.Errorf("%d limits were looked at", n)
	}
}

func TestKeySecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("a-long-secret-of-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lookup := env("GIS_KEY", "a-long-secret-of-the-environment", "SHORT", "abc")
	for secret, k := range map[string]config.Key{
		"a-long-secret-of-a-file":          {File: file},
		"a-long-secret-of-the-environment": {Env: "GIS_KEY"},
		"stadium":                          {SHA256: "63e14cf7d8f5ca53e28c75e3ba6e1b4eebbc02e5ec8d22fd1a2af4d41c9dddda"},
	} {
		got, err := k.Open(lookup)
		if k.SHA256 != "" {
			if err != nil || got.Digest == [32]byte{} {
				t.Errorf("%+v: %v", k, err)
			}
			continue
		}
		if err != nil || got.Digest != tileserver.Digest(secret) {
			t.Errorf("%+v: %v", k, err)
		}
	}
	if _, err := (config.Key{Env: "SHORT"}).Open(lookup); err == nil || strings.Contains(err.Error(), "abc") {
		t.Errorf("a secret of three bytes: %v", err)
	}
}
