package hub

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tilescout/tilescout"
)

// answers is a hub in the process: it gives the revision, then the pages of the tree.
type answers struct {
	info, tree, link string
	pages            int
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	body, header := a.info, http.Header{}
	if strings.Contains(r.URL.Path, "/tree/") {
		body = a.tree
		if a.pages++; a.pages <= maxPages+1 && a.link != "" {
			header["Link"] = []string{a.link}
		}
	}
	return &http.Response{StatusCode: http.StatusOK, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// FuzzAnswers: whatever a hub says of a model, its files stay in the model's folder, its pages come to an end, and the
// token goes to no other host.
func FuzzAnswers(f *testing.F) {
	const info = `{"sha":"0123456789abcdef","siblings":[{"rfilename":"config.json"}]}`
	f.Add(info, `[{"type":"file","path":"config.json","oid":"aa","size":3}]`, "")
	f.Add(info, `[{"type":"file","path":"model.safetensors","size":-1,"lfs":{"oid":"sha256:../../x","size":9e18}}]`, `<https://hub.example/api/models/a/b/tree/0123456789abcdef?cursor=2>; rel="next"`)
	f.Add(info, `[{"type":"file","path":"../../etc/passwd"},{"type":"file","path":"a\\..\\b"},{"type":"file","path":"/x"}]`, `<//evil.example/>; rel=next`)
	f.Add(`{"sha":"../../main"}`, `[]`, `<:>;rel=next`)
	f.Add(`[[[[`, `{"type":[]}`, "<")
	f.Fuzz(func(t *testing.T, info, tree, link string) {
		a := &answers{info: info, tree: tree, link: link}
		o := Options{Dir: "unused", Endpoint: "https://hub.example", Client: &http.Client{Transport: a}, Tries: 1, Pause: time.Nanosecond}
		if err := o.setDefaults(); err != nil {
			t.Fatal(err)
		}
		g := &getter{o: o, client: newClient(o)}
		commit, files, err := g.list(context.Background(), "a/b", "main")
		if err != nil {
			if !errors.Is(err, tilescout.ErrUpstream) && !errors.Is(err, tilescout.ErrBadInput) && !errors.Is(err, tilescout.ErrNotFound) {
				t.Fatalf("error without a kind: %v", err)
			}
			return
		}
		if strings.ContainsAny(commit, `/\.`) {
			t.Errorf("commit %q", commit)
		}
		for _, file := range files {
			if !filepath.IsLocal(file.path) || strings.ContainsAny(file.path, "\\:\x00") {
				t.Errorf("file %q leaves its folder", file.path)
			}
			if name := filepath.Base(partPath("d", "a/b", commit, file.path)); len(name) > 255 {
				t.Errorf("file %q grows in %q, which no disk takes", file.path, name)
			}
		}
	})
}

// FuzzShards: an index of shards names files that the hub has, or is refused.
func FuzzShards(f *testing.F) {
	f.Add(`{"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}}`)
	f.Add(`{"weight_map":{"a":"../x"}}`)
	f.Add(`{"weight_map":7}`)
	dir := f.TempDir()
	has := []remote{{path: "model-1.safetensors"}, {path: "model-2.safetensors"}, {path: "x"}}
	f.Fuzz(func(t *testing.T, raw string) {
		path := filepath.Join(dir, "index.json")
		if err := os.WriteFile(path, []byte(raw), 0o600); err != nil {
			t.Fatal(err)
		}
		shards, err := shardsOf(path, has)
		if err != nil && !errors.Is(err, tilescout.ErrUpstream) {
			t.Fatalf("error without a kind: %v", err)
		}
		if err == nil && (len(shards) == 0 || len(shards) > len(has)) {
			t.Errorf("%d shards of %d files", len(shards), len(has))
		}
	})
}
