// Package archtest holds the house to its floors: a package imports only packages on lower floors.
package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/tilescout/tilescout"

// floors by longest path prefix, as in docs/architecture.md.
var floors = map[string]int{
	"":                   0,
	"/internal":          0,
	"/web":               0,
	"/geo":               1,
	"/cache":             1,
	"/encoder":           1,
	"/plugin/search":     2,
	"/tileserver/source": 2,
	"/plugin":            3,
	"/tileserver":        4,
	"/cmd":               5,
	"/examples":          5,
	"/training":          5,
}

// forbidden pairs besides the floors.
var forbidden = []struct{ from, to, why string }{
	{"/tileserver", "/encoder", "a tile is served though no model loads"},
	{"/tileserver", "/cache/index", "a tile is served though no index opens"},
	{"/tileserver", "/plugin", "the semantic part is mounted by the command"},
	{"/encoder", "/geo", "the encoder knows no tiles"},
	{"/encoder", "/cache", "the encoder knows no cache"},
	{"/cache", "/geo", "a cache knows no tiles"},
	{"/cache", "/encoder", "a cache knows no models"},
	{"/plugin/search", "/tileserver", "the engine works over anybody's tiles"},
	{"/tileserver/source", "/plugin", "sources know no prompts"},
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestFloors(t *testing.T) {
	for _, p := range list(t) {
		from, ok := strings.CutPrefix(p.ImportPath, module)
		if !ok {
			continue
		}
		for _, imported := range p.Imports {
			if imported == "plugin" {
				t.Errorf("%s imports the standard library's plugin", p.ImportPath)
			}
			to, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			if a, b := floor(from), floor(to); b > a {
				t.Errorf("%s (floor %d) imports %s (floor %d)", from, a, to, b)
			}
			for _, f := range forbidden {
				if under(from, f.from) && under(to, f.to) {
					t.Errorf("%s imports %s: %s", from, to, f.why)
				}
			}
		}
	}
}

// The root package holds nouns only: it imports orb and the standard library.
func TestRootImportsOrbOnly(t *testing.T) {
	for _, p := range list(t) {
		if p.ImportPath != module {
			continue
		}
		for _, imported := range p.Imports {
			if strings.Contains(imported, ".") && !strings.HasPrefix(imported, "github.com/paulmach/orb") {
				t.Errorf("the root package imports %s", imported)
			}
		}
	}
}

func under(path, prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }

func floor(path string) int {
	best, length := 0, -1
	for prefix, f := range floors {
		if (prefix == "" || under(path, prefix)) && len(prefix) > length {
			best, length = f, len(prefix)
		}
	}
	return best
}

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("only %d packages listed", len(all))
	}
	return all
}
