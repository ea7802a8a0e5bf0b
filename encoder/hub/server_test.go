package hub_test

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	commit = "0123456789abcdef0123456789abcdef01234567"
	secret = "hf_do-not-tell"
)

// server speaks the part of the hub's API that Get uses. Large files are at another host, to which it redirects.
type server struct {
	*httptest.Server
	cdn *httptest.Server

	mu       sync.Mutex
	files    map[string]map[string]string // model → path → content
	lfs      map[string]bool              // paths that are in LFS
	faults   []fault                      // used up from the front, by the requests they match
	requests []string                     // method, path and range, in order
	leaks    []string                     // requests to the other host that carried the token
	private  bool                         // wants the token
	noTree   bool                         // a mirror without the tree
	noRanges bool
	pageSize int
}

// fault is what happens to the next request whose address has the part.
type fault struct {
	part   string
	status int    // answer this
	header string // with this header: "Retry-After: 1"
	body   string
	cut    int  // break the connection after so many bytes
	hang   bool // send nothing
	wrong  bool // send other bytes of the same length
}

func newServer(t *testing.T) *server {
	s := &server{files: make(map[string]map[string]string), lfs: make(map[string]bool)}
	s.Server = httptest.NewServer(http.HandlerFunc(s.hub))
	s.cdn = httptest.NewServer(http.HandlerFunc(s.store))
	t.Cleanup(s.cdn.Close)
	t.Cleanup(s.Server.Close)
	return s
}

func (s *server) add(model, path, content string, lfs bool) {
	if s.files[model] == nil {
		s.files[model] = make(map[string]string)
	}
	s.files[model][path] = content
	s.lfs[path] = s.lfs[path] || lfs
}

func sum256(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) }

func gitSum(s string) string {
	h := sha1.Sum([]byte(fmt.Sprintf("blob %d\x00%s", len(s), s)))
	return hex.EncodeToString(h[:])
}

// meet records a request and plays the fault that is meant for it.
func (s *server) meet(w http.ResponseWriter, r *http.Request) (f fault, done bool) {
	s.mu.Lock()
	s.requests = append(s.requests, strings.TrimSpace(r.URL.Path+" "+r.Header.Get("Range")))
	i := slices.IndexFunc(s.faults, func(f fault) bool { return strings.Contains(r.Host+r.URL.Path, f.part) })
	if i >= 0 {
		f = s.faults[i]
		s.faults = slices.Delete(s.faults, i, i+1)
	}
	s.mu.Unlock()
	if f.hang {
		select {
		case <-r.Context().Done():
		case <-time.After(10 * time.Second):
		}
		return f, true
	}
	if f.status == 0 {
		return f, false
	}
	if name, value, ok := strings.Cut(f.header, ": "); ok {
		w.Header().Set(name, value)
	}
	w.WriteHeader(f.status)
	_, _ = w.Write([]byte(f.body))
	return f, true
}

func (s *server) hub(w http.ResponseWriter, r *http.Request) {
	f, done := s.meet(w, r)
	if done {
		return
	}
	if s.private && r.Header.Get("Authorization") != "Bearer "+secret {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	path, api := strings.CutPrefix(r.URL.Path, "/api/models/")
	parts := strings.SplitN(strings.TrimPrefix(path, "/"), "/", 5)
	if len(parts) < 4 || s.files[parts[0]+"/"+parts[1]] == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	model := parts[0] + "/" + parts[1]
	files := s.files[model]
	switch {
	case api && parts[2] == "revision":
		if parts[3] != "main" && parts[3] != "v2" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		var siblings []map[string]string
		for path := range files {
			siblings = append(siblings, map[string]string{"rfilename": path})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"sha": commit, "siblings": siblings})
	case api && parts[2] == "tree" && !s.noTree:
		s.tree(w, r, files)
	case !api && parts[2] == "resolve" && parts[3] == commit && len(parts) == 5:
		content, ok := files[parts[4]]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("X-Repo-Commit", commit)
		if s.lfs[parts[4]] {
			w.Header().Set("X-Linked-Etag", `"`+sum256(content)+`"`)
			w.Header().Set("X-Linked-Size", strconv.Itoa(len(content)))
			http.Redirect(w, r, s.cdn.URL+"/"+model+"/"+parts[4]+"?signature=x", http.StatusFound)
			return
		}
		w.Header().Set("ETag", `"`+gitSum(content)+`"`)
		s.serve(w, r, content, f)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// tree lists files, pageSize at a time.
func (s *server) tree(w http.ResponseWriter, r *http.Request, files map[string]string) {
	var paths []string
	for path := range files {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	from, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
	to := len(paths)
	if s.pageSize > 0 && from+s.pageSize < to {
		to = from + s.pageSize
		w.Header().Set("Link", fmt.Sprintf(`<%s%s?recursive=true&cursor=%d>; rel="next"`, s.URL, r.URL.Path, to))
	}
	entries := []map[string]any{{"type": "directory", "path": "onnx"}}
	for _, path := range paths[from:to] {
		e := map[string]any{"type": "file", "path": path, "size": len(files[path]), "oid": gitSum(files[path])}
		if s.lfs[path] {
			e["oid"] = gitSum("pointer")
			e["lfs"] = map[string]any{"oid": sum256(files[path]), "size": len(files[path]), "pointerSize": 134}
		}
		entries = append(entries, e)
	}
	_ = json.NewEncoder(w).Encode(entries)
}

// store is the other host.
func (s *server) store(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" {
		s.mu.Lock()
		s.leaks = append(s.leaks, r.URL.Path)
		s.mu.Unlock()
	}
	f, done := s.meet(w, r)
	if done {
		return
	}
	parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/"), "/", 3)
	w.Header().Set("ETag", `"cdn-has-its-own"`)
	s.serve(w, r, s.files[parts[0]+"/"+parts[1]][parts[2]], f)
}

func (s *server) serve(w http.ResponseWriter, r *http.Request, content string, f fault) {
	if f.wrong {
		content = strings.Repeat("x", len(content))
	}
	if s.noRanges {
		r.Header.Del("Range")
	}
	if f.cut > 0 {
		from := 0
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(content)-from))
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = w.Write([]byte(content[from : from+f.cut]))
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
}
