package tileserver

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"regexp"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// csp allows what the page's own files need and nothing else (SEC reference §5). Leaflet sets style attributes.
const csp = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; " +
	"connect-src 'self'; worker-src 'self' blob:; child-src blob:; font-src 'self'; manifest-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'self'"

// howToBuild stands at "/" when the program was built without the web map.
const howToBuild = `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Tilescout</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body style="font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem">
<h1>Tilescout is running</h1>
<p>This build has no web map. To have it, run <code>make web build</code> in the source folder (it needs npm) and start again.</p>
<p>Tiles are served all the same: <a href="layers">layers</a>, <a href="wmts">WMTS capabilities</a>, <a href="openapi.yaml">the API</a>.</p>
</body></html>
`

// page serves the built web map from memory: a handful of files, compressed once.
type page struct{ files map[string]pageFile }

type pageFile struct {
	mediaType string
	data      []byte
	packed    []byte // gzip; nil where it does not pay
	etag      string // without quotes
	hashed    bool   // the name holds a hash of the content
}

const (
	maxPageFile  = 16 << 20
	maxPageFiles = 1000
)

// hashedName finds the hash that bundlers put into names: main-5Q7XKJ2A.js, main.0f3c9a1b.css.
var hashedName = regexp.MustCompile(`[.-](?:[A-Z2-7]{8}|[0-9a-f]{8,})\.[a-z0-9]+$`)

func newPage(files fs.FS, missing []byte) (*page, error) {
	p := &page{files: map[string]pageFile{}}
	if files != nil {
		err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasPrefix(path.Base(name), ".") {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if info.Size() > maxPageFile || len(p.files) == maxPageFiles {
				return fmt.Errorf("%s: more or larger files than a web map has", name)
			}
			data, err := fs.ReadFile(files, name)
			if err != nil {
				return err
			}
			p.files[name] = newPageFile(name, data)
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read web map: %w", err)
		}
	}
	if _, ok := p.files["index.html"]; !ok {
		if missing == nil {
			missing = []byte(howToBuild)
		}
		p.files["index.html"] = newPageFile("index.html", missing)
	}
	return p, nil
}

func newPageFile(name string, data []byte) pageFile {
	f := pageFile{data: data, etag: fmt.Sprintf("%016x", xxhash.Sum64(data)), hashed: strings.HasPrefix(name, "assets/") && hashedName.MatchString(name)}
	// Not from the system's table, which differs from machine to machine.
	f.mediaType = map[string]string{
		".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".mjs": "text/javascript; charset=utf-8",
		".css": "text/css; charset=utf-8", ".json": "application/json", ".map": "application/json", ".svg": "image/svg+xml",
		".png": "image/png", ".webp": "image/webp", ".ico": "image/x-icon", ".woff2": "font/woff2",
		".webmanifest": "application/manifest+json", ".txt": "text/plain; charset=utf-8",
	}[path.Ext(name)]
	if f.mediaType == "" {
		f.mediaType = mime.TypeByExtension(path.Ext(name))
	}
	if f.mediaType == "" {
		f.mediaType = "application/octet-stream"
	}
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	_, err := z.Write(data)
	if errors.Join(err, z.Close()) == nil && buf.Len() < len(data)*9/10 { // writing to memory does not fail
		f.packed = buf.Bytes()
	}
	return f
}

// has says whether r asks for a file that there is.
func (p *page) has(r *http.Request) bool {
	_, ok := p.files[strings.TrimPrefix(r.URL.Path, "/")]
	return ok && (r.Method == http.MethodGet || r.Method == http.MethodHead)
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	if name == "" {
		name = "index.html"
	}
	f := p.files[name]
	h := w.Header()
	h.Set("Content-Security-Policy", csp)
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "geolocation=(self)")
	h.Del("Access-Control-Allow-Origin")
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cache-Control", "no-cache")
	if f.hashed {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	etag, data := `"`+f.etag+`"`, f.data
	if f.packed != nil && acceptsGzip(r) {
		h.Set("Content-Encoding", "gzip")
		etag, data = `"`+f.etag+`-gzip"`, f.packed
	}
	send(w, r, f.mediaType, etag, data)
}

// acceptsGzip reads Accept-Encoding as far as needed: gzip or *, unless with q=0.
func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		coding, q, _ := strings.Cut(part, ";")
		coding = strings.ToLower(strings.TrimSpace(coding))
		if (coding == "gzip" || coding == "*") && strings.Trim(strings.TrimPrefix(strings.TrimSpace(q), "q="), "0.") != "" || (coding == "gzip" && q == "") {
			return true
		}
	}
	return false
}
