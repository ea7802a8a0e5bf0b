package tileserver

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"
	"golang.org/x/time/rate"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/problem"
)

// policy is the Content-Security-Policy of all that is not the page: data, shown by a browser or not, runs nothing.
const policy = "default-src 'none'; frame-ancestors 'none'"

// entry is what one request becomes in the log and the metrics. Handlers add to it through the context.
type entry struct {
	route string // template
	layer string
	tile  string // "z/x/y"
	cache string // "hit" or "miss" on tile routes
	err   error

	key    *Key   // that the request presented; nil if none
	secret string // the key itself, if it came in the URL, to be carried on; never logged
}

type entryKey struct{}

// entryOf returns the log entry of the request; one that nobody reads if there is none.
func entryOf(r *http.Request) *entry {
	if e, ok := r.Context().Value(entryKey{}).(*entry); ok {
		return e
	}
	return &entry{}
}

// recorder sees what goes out.
type recorder struct {
	http.ResponseWriter
	entry *entry
	// allowed is the Access-Control-Allow-Origin of an answer that pages may read; "" for none, "*" for any.
	allowed string
	code    int // 0 until the header is written
	bytes   int64
}

func (w *recorder) WriteHeader(code int) {
	if w.code == 0 && code >= 200 {
		w.code = code
		w.settle()
	}
	w.ResponseWriter.WriteHeader(code)
}

// settle corrects headers that a handler set without knowing who asked.
func (w *recorder) settle() {
	h := w.Header()
	if w.entry.key != nil {
		h.Set("Cache-Control", strings.Replace(h.Get("Cache-Control"), "public", "private", 1))
		h.Set("Referrer-Policy", "no-referrer")
	}
	if w.code == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="tilescout"`)
	}
	switch {
	case w.allowed == "*" || h.Get("Access-Control-Allow-Origin") == "":
	case w.allowed == "":
		h.Del("Access-Control-Allow-Origin")
	default:
		h.Set("Access-Control-Allow-Origin", w.allowed)
	}
	if w.allowed != "*" {
		h.Add("Vary", "Origin")
	}
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.code == 0 {
		w.code = http.StatusOK
		w.settle()
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
func (w *recorder) NoteError(err error)         { w.entry.err = err }

// middleware is around every route, found or not: identity, limits, headers, log, metrics, panics.
func (s *site) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		began := time.Now()
		e := &entry{route: "none"}
		w := &recorder{ResponseWriter: out, entry: e}
		id := s.requestID(r)
		h := w.Header()
		h.Set("X-Request-Id", id)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "strict-origin-when-cross-origin")
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
		h.Set("Content-Security-Policy", policy)
		h.Set("Access-Control-Allow-Origin", "*")
		w.allowed = s.allowedOrigin(r)
		if len(s.access.keys) > 0 {
			h.Set("Vary", "Authorization, X-API-Key")
		}
		h.Set("Access-Control-Expose-Headers", "ETag, Link, Content-Crs, Retry-After, X-Request-Id, Tilescout-Pending, Age, Cache-Status")
		// A recorder in a test has no deadline to set; the error says just that.
		_ = http.NewResponseController(out).SetWriteDeadline(began.Add(s.options.Requests.AnswerTimeout))

		s.metrics.inFlight.Inc()
		defer func() {
			s.metrics.inFlight.Dec()
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				s.metrics.panics.Inc()
				s.log.Error("handler panicked", "req_id", id, "route", e.route, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				if w.code == 0 {
					problem.Write(w, r, errors.New("panic"))
				}
			}
			if w.code == 0 {
				w.code = http.StatusOK
				w.settle()
			}
			took := time.Since(began)
			if e.tile == "" { // what was wrong with a tile was counted when it was made
				s.metrics.refused(e.err)
			}
			s.metrics.answered(e.route, r.Method, w.code, w.bytes, took)
			// Refusals under load come by the thousand, and each must cost next to nothing.
			refused := errors.Is(e.err, tilescout.ErrBusy)
			wrong := w.code >= 400 && w.code != http.StatusNotFound && !refused
			if wrong || !refused && e.tile == "" || s.sampler.take() {
				s.logRequest(r, w, id, took)
			}
		}()

		if err := s.atDoor(w, r, e); err != nil {
			problem.Write(w, r, err)
			return
		}
		if r.Method == http.MethodOptions {
			preflight(w, r)
			return
		}
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = http.MaxBytesReader(w, r.Body, s.options.Requests.BodyBytes)
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), entryKey{}, e)))
	})
}

// atDoor is what every request passes, whatever it asks for: the form of its URL, its client's budget, its key.
func (s *site) atDoor(w http.ResponseWriter, r *http.Request, e *entry) error {
	if err := s.checkURL(r); err != nil {
		return err
	}
	if r.Method == http.MethodConnect { // its path is a host, which the router would redirect to
		w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		return problem.WithStatus(http.StatusMethodNotAllowed, errors.New("this is no proxy"))
	}
	if r.Method == http.MethodOptions || r.URL.Path == "/healthz" || r.URL.Path == "/readyz" {
		return nil
	}
	if err := s.charge(w, r, costAtHand); err != nil {
		return err
	}
	var err error
	if e.key, e.secret, err = s.access.identify(r); err != nil {
		if limited := s.charge(w, r, costKey); limited != nil {
			return limited
		}
		return err
	}
	return nil
}

// allowedOrigin is who may read the answer to r: everybody, or, where the operator lists origins, the one that asks.
func (s *site) allowedOrigin(r *http.Request) string {
	if len(s.origins) == 0 {
		return "*"
	}
	if origin := r.Header.Get("Origin"); s.origins[origin] {
		return origin
	}
	return ""
}

// sampler lets every line through at a quiet time and one tile in a hundred under load.
type sampler struct {
	limit *rate.Limiter
	count atomic.Uint64
}

func (s *sampler) take() bool { return s.limit.Allow() || s.count.Add(1)%100 == 0 }

func (s *site) logRequest(r *http.Request, w *recorder, id string, took time.Duration) {
	e := w.entry
	level := slog.LevelInfo
	if e.err != nil && w.code >= 500 {
		level = slog.LevelError
		if errors.Is(e.err, tilescout.ErrBusy) {
			level = slog.LevelWarn // meant to be so; tilescout_admission_rejected_total counts all of them
		}
	}
	if !s.log.Enabled(r.Context(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("req_id", id), slog.String("method", r.Method), slog.String("route", e.route),
		slog.Int("code", w.code), slog.Int64("bytes", w.bytes),
		slog.Float64("dur_ms", float64(took.Microseconds())/1000),
		slog.String("client_prefix", truncate(s.address.client(r))),
	}
	for _, a := range []struct{ name, value string }{{"layer", e.layer}, {"tile", e.tile}, {"cache", e.cache}} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.name, a.value))
		}
	}
	if e.err != nil {
		attrs = append(attrs, slog.String("error", redact(e.err)))
	}
	s.log.LogAttrs(r.Context(), level, "request", attrs...)
}

// query finds what follows a "?" of a URL inside a message: it may hold keys.
var query = regexp.MustCompile(`\?[^\s"']*`)

func redact(err error) string {
	var u *url.Error
	text := err.Error()
	if errors.As(err, &u) { // prints its URL whole, with user and key
		text = strings.ReplaceAll(text, u.URL, "[url]")
	}
	return query.ReplaceAllString(text, "?…")
}

// truncate returns the network of an address, /24 or /48: enough to see who hammers, not who it is.
func truncate(ip netip.Addr) string {
	bits := 24
	if ip.Is6() {
		bits = 48
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}

var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9-]{8,64}$`)

func (s *site) requestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); id != "" && requestIDPattern.MatchString(id) && s.address.fromTrusted(r) {
		return id
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

func (s *site) checkURL(r *http.Request) error {
	if most := s.options.Requests.URLBytes; len(r.RequestURI) > most {
		return problem.WithStatus(http.StatusRequestURITooLong, fmt.Errorf("the URL is longer than %d bytes: %w", most, tilescout.ErrBadInput))
	}
	if most := s.options.Requests.Parameters; strings.Count(r.URL.RawQuery, "&") >= most {
		return fmt.Errorf("more than %d query parameters: %w", most, tilescout.ErrBadInput)
	}
	return nil
}

// preflight answers OPTIONS; which origins may is settled with every answer.
func preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-None-Match, X-API-Key, X-Requested-With")
	h.Set("Access-Control-Max-Age", "86400")
	h.Set("Allow", "GET, HEAD, POST, OPTIONS")
	w.WriteHeader(http.StatusNoContent)
}

// noteRoute runs on matched routes only and writes the template into the log entry.
func noteRoute(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if route := mux.CurrentRoute(r); route != nil {
			if t, err := route.GetPathTemplate(); err == nil {
				entryOf(r).route = t
			}
		}
		next.ServeHTTP(w, r)
	})
}

// methodNotAllowed answers 405 with the methods that the path has.
func methodNotAllowed(router *mux.Router) http.Handler {
	return problem.Handler(func(w http.ResponseWriter, r *http.Request) error {
		var allowed []string
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			try := r.Clone(r.Context())
			try.Method = method
			var m mux.RouteMatch
			if router.Match(try, &m) && m.MatchErr == nil {
				allowed = append(allowed, method)
			}
		}
		allowed = slices.Compact(append(allowed, http.MethodOptions))
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return problem.WithStatus(http.StatusMethodNotAllowed,
			fmt.Errorf("%s is not for this path, which has %s", r.Method, strings.Join(allowed, ", ")))
	})
}
