package plugin

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// etag is a strong validator of a body or of all that determines one.
func etag(data []byte) string {
	return `"` + strconv.FormatUint(xxhash.Sum64(data), 36) + `"`
}

// notModified answers 304 if the client holds what the validator names.
func notModified(w http.ResponseWriter, r *http.Request, tag, cacheControl string) bool {
	open(w)
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", cacheControl)
	for _, have := range strings.Split(r.Header.Get("If-None-Match"), ",") {
		have = strings.TrimPrefix(strings.TrimSpace(have), "W/")
		if have == tag || have == "*" {
			w.WriteHeader(http.StatusNotModified)
			return true
		}
	}
	return false
}

func writeBody(w http.ResponseWriter, r *http.Request, mediaType, cacheControl, tag string, body []byte) error {
	if (r.Method == http.MethodGet || r.Method == http.MethodHead) && notModified(w, r, tag, cacheControl) {
		return nil
	}
	open(w)
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Cache-Control", cacheControl)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a client that left needs no answer
	}
	return nil
}

// open lets pages of any origin read the answer: it holds nothing that depends on who asks.
func open(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "ETag, Link, Retry-After, X-Request-Id, Tilescout-Pending")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
}
