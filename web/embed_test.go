package web_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"path"
	"regexp"
	"testing"

	"github.com/tilescout/tilescout/web"
)

// budget is the most that script and style may weigh together, in gzip bytes (target E4).
const budget = 120_000

func TestMissing(t *testing.T) {
	if page := web.Missing(); !bytes.Contains(page, []byte("make web")) {
		t.Errorf("Missing() = %q, want a page that names `make web`", page)
	}
}

func TestFS(t *testing.T) {
	files := web.FS()
	if files == nil {
		t.Skip("the web map is not built: run `make web`")
	}
	page, err := fs.ReadFile(files, "index.html")
	if err != nil {
		t.Fatal(err)
	}
	// The page is served under script-src 'self': nothing inline, and behind any prefix: nothing absolute.
	for _, forbidden := range []string{`<script(?:\s[^>]*)?>[^<]`, `\sstyle=`, `<style`, `\son[a-z]+=`, `(?:src|href)="(?:/|https?:)`} {
		if found := regexp.MustCompile(forbidden).Find(page); found != nil {
			t.Errorf("index.html holds %q, which matches %s", found, forbidden)
		}
	}
	total := 0
	for _, m := range regexp.MustCompile(`(?:src|href)="(assets/[^"]+)"`).FindAllSubmatch(page, -1) {
		asset, err := fs.ReadFile(files, string(m[1]))
		if err != nil {
			t.Errorf("index.html names %s: %v", m[1], err)
			continue
		}
		if ext := path.Ext(string(m[1])); ext == ".js" || ext == ".css" {
			total += gzipSize(t, asset)
		}
	}
	if total == 0 || total > budget {
		t.Errorf("script and style weigh %d bytes in gzip, want 1 to %d", total, budget)
	}
}

func gzipSize(t *testing.T, data []byte) int {
	t.Helper()
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Len()
}
