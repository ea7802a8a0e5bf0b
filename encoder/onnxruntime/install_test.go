package onnxruntime

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tilescout/tilescout"
)

const testLibrary = "\x7fELF the library's bytes"

func known(name string, data []byte) file {
	return file{name, int64(len(data)), fmt.Sprintf("%x", sha256.Sum256(data))}
}

func tgz(t *testing.T, stem, name, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	add := func(h *tar.Header, body string) {
		h.Size, h.Mode = int64(len(body)), 0o755
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(body))
	}
	add(&tar.Header{Name: "../../evil", Typeflag: tar.TypeReg}, "outside")
	add(&tar.Header{Name: stem + "/lib/" + name, Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, "")
	add(&tar.Header{Name: stem + "/lib/" + name, Typeflag: tar.TypeReg}, content)
	w.Close()
	z.Close()
	return b.Bytes()
}

func zipped(t *testing.T, name, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte(content))
	z.Close()
	return b.Bytes()
}

// TestInstall: against a server that speaks like the release page and the package index.
func TestInstall(t *testing.T) {
	archive := tgz(t, "ort-test", "libtest.so", testLibrary)
	wheel := zipped(t, "onnxruntime/capi/libtest.so", testLibrary)
	library := known("libtest.so", []byte(testLibrary))
	good := func(data []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { w.Write(data) }
	}
	html := good([]byte("<html>Please log in</html>"))
	cut := func(data []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			w.Write(data[:len(data)/2])
		}
	}
	changed := bytes.Clone(archive)
	changed[len(changed)-1] ^= 1
	var flaky atomic.Int32
	cases := []struct {
		name           string
		archive, wheel http.HandlerFunc
		member         file
		says           string // "" if it works
		kind           error
		tries          int32 // for the archive
	}{
		{"archive", good(archive), http.NotFound, library, "", nil, 1},
		{"wheel", http.NotFound, good(wheel), library, "", nil, 1},
		{"second try", func(w http.ResponseWriter, r *http.Request) {
			if flaky.Add(1) == 1 {
				http.Error(w, "later", http.StatusBadGateway)
				return
			}
			w.Write(archive)
		}, http.NotFound, library, "", nil, 2},
		{"neither", http.NotFound, http.NotFound, library, "404 Not Found", tilescout.ErrUpstream, 1},
		{"wrong hash", good(changed), http.NotFound, library, "checksum mismatch for ort-test.tgz", tilescout.ErrUnavailable, 1},
		{"cut off", cut(archive), http.NotFound, library, "unexpected EOF", tilescout.ErrUpstream, 3},
		{"HTML", html, html, library, "26 instead of", tilescout.ErrUpstream, 3},
		{"too long", good(append(bytes.Clone(archive), 1, 2, 3)), http.NotFound, library, "more than", tilescout.ErrUpstream, 3},
		{"wrong library", good(archive), http.NotFound, file{"libtest.so", 0, strings.Repeat("0", 64)}, "checksum mismatch for libtest.so", tilescout.ErrUnavailable, 1},
		{"no such member", good(archive), http.NotFound, file{name: "libother.so"}, "no ort-test/lib/libother.so in it", tilescout.ErrUpstream, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var tries atomic.Int32
			mux := http.NewServeMux()
			mux.HandleFunc("/dl/ort-test.tgz", func(w http.ResponseWriter, r *http.Request) { tries.Add(1); c.archive(w, r) })
			mux.HandleFunc("/wheel", c.wheel)
			server := httptest.NewServer(mux)
			defer server.Close()
			mux.HandleFunc("/index", func(w http.ResponseWriter, r *http.Request) {
				json.NewEncoder(w).Encode(map[string]any{"urls": []map[string]string{
					{"filename": "other.whl", "url": server.URL + "/none"}, {"filename": "ort-test.whl", "url": server.URL + "/wheel"}}})
			})
			o := Options{
				Dir: t.TempDir(), GOOS: "plan9", GOARCH: "pdp11", BaseURL: server.URL + "/dl", IndexURL: server.URL + "/index", Pause: time.Millisecond,
				builds: map[platform]build{{"plan9", "pdp11"}: {known("ort-test.tgz", archive), c.member, known("ort-test.whl", wheel), library}},
			}
			var done, total int64
			path, err := Install(t.Context(), o, func(d, n int64) { done, total = d, n })
			dir := InstallDir(o.Dir, "plan9", "pdp11")
			if got := tries.Load(); got != c.tries {
				t.Errorf("the archive was asked for %d times, want %d", got, c.tries)
			}
			if c.says != "" {
				if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "--onnxruntime") {
					t.Errorf("Install = %v, want kind %v with %q", err, c.kind, c.says)
				}
				if left, _ := os.ReadDir(dir); len(left) != 0 {
					t.Errorf("Install failed and left %v", left)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := os.ReadFile(path); string(got) != testLibrary || path != filepath.Join(dir, "libtest.so") {
				t.Errorf("Install = %s with %q", path, got)
			}
			if left, _ := os.ReadDir(dir); len(left) != 2 {
				t.Errorf("want the library and its hash, have %v", left)
			}
			if done == 0 || done != total {
				t.Errorf("progress ended at %d of %d", done, total)
			}
			if err := verifyInstalled(path); err != nil {
				t.Error(err)
			}
			before := tries.Load()
			if _, err := Install(t.Context(), o, nil); err != nil || tries.Load() != before {
				t.Errorf("a second Install: %v, and it asked the server again", err)
			}
			if err := os.WriteFile(path, []byte("changed"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := verifyInstalled(path); !errors.Is(err, tilescout.ErrUnavailable) || !strings.Contains(err.Error(), "file removed, nothing was loaded") {
				t.Errorf("a changed library: %v", err)
			}
			if _, err := os.Stat(path); err == nil {
				t.Error("the changed library is still there")
			}
		})
	}
	if _, err := Install(t.Context(), Options{Dir: t.TempDir(), GOOS: "darwin", GOARCH: "amd64"}, nil); !errors.Is(err, tilescout.ErrUnavailable) || !strings.Contains(err.Error(), "no official build for darwin/amd64") {
		t.Errorf("Install for darwin/amd64 = %v", err)
	}
}

// TestBuilds: the table is complete, and its hashes are hashes.
func TestBuilds(t *testing.T) {
	for p, b := range builds() {
		for _, f := range []file{b.archive, b.wheel, b.inWheel} {
			if f.name == "" || f.size == 0 || len(f.sha256) != 64 {
				t.Errorf("%v: %+v lacks name, size or hash", p, f)
			}
		}
		if b.member.name != libraryNames(p.goos)[0] || b.inWheel.name != b.member.name {
			t.Errorf("%v: library %s, want %s", p, b.member.name, libraryNames(p.goos)[0])
		}
	}
}
