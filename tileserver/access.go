package tileserver

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/problem"
)

// Scope is one thing that a key lets its holder do.
type Scope string

// The scopes of keys.
const (
	ScopeTiles  Scope = "tiles"  // imagery, its metadata, saved searches
	ScopeSearch Scope = "search" // prompts, overlays, embedding
	ScopeAdmin  Scope = "admin"  // metrics and reload
)

// Scopes are all of them.
var Scopes = []Scope{ScopeTiles, ScopeSearch, ScopeAdmin}

// Key opens layers. What a key covers is closed to requests without one; what no key covers stays open.
type Key struct {
	ID      string   // for the log
	Digest  [32]byte // SHA-256 of the secret; the secret itself is not kept
	Scopes  []Scope  // none means tiles and search
	Layers  []string // ids, of layers that may come with a reload too; none means every layer
	Origins []string // web origins whose pages may use it; none means any
}

// Digest returns what a Key keeps of a secret.
func Digest(secret string) [32]byte { return sha256.Sum256([]byte(secret)) }

func (k *Key) has(s Scope) bool {
	if len(k.Scopes) == 0 {
		return s != ScopeAdmin
	}
	return slices.Contains(k.Scopes, s)
}

// covers says whether the key speaks of a layer: of its id, or, for a saved search, of the layer beneath.
func (k *Key) covers(s Scope, ids ...string) bool {
	return k.has(s) && (len(k.Layers) == 0 || slices.ContainsFunc(ids, func(id string) bool {
		return id != "" && slices.Contains(k.Layers, id)
	}))
}

const (
	maxKeys   = 1024
	maxSecret = 512 // bytes of what a request may present
)

// access decides who may see what. The zero value lets everybody see everything.
type access struct{ keys []Key }

func newAccess(keys []Key) (*access, error) {
	if len(keys) > maxKeys {
		return nil, fmt.Errorf("%d keys: more than %d: %w", len(keys), maxKeys, tilescout.ErrBadInput)
	}
	seen := map[[32]byte]string{}
	for _, k := range keys {
		if k.ID == "" || k.Digest == [32]byte{} || k.Digest == Digest("") {
			return nil, fmt.Errorf("key %q: without an id or a secret: %w", k.ID, tilescout.ErrBadInput)
		}
		if by, twice := seen[k.Digest]; twice {
			return nil, fmt.Errorf("keys %q and %q are the same: %w", by, k.ID, tilescout.ErrBadInput)
		}
		seen[k.Digest] = k.ID
	}
	return &access{keys: keys}, nil
}

// errUnknownKey and errNoKey are answered with 401, errWrongKey with 403. None tells more than that.
var (
	errNoKey      = errors.New("this needs a key: Authorization: Bearer …, X-API-Key, or ?key=")
	errUnknownKey = errors.New("the key is not known here")
	errWrongKey   = errors.New("the key is not for this")
)

// identify finds the key that a request presents: by header, or in the URL for map clients, which know only that.
// It returns nil if there is none, and the secret if it came in the URL. Digests are compared in constant time, all of them.
func (a *access) identify(r *http.Request) (*Key, string, error) {
	if len(a.keys) == 0 {
		return nil, "", nil
	}
	secret, inURL := r.Header.Get("X-API-Key"), ""
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		secret = strings.TrimSpace(token)
	}
	if secret == "" && strings.Contains(r.URL.RawQuery, "key=") {
		secret = r.URL.Query().Get("key")
		inURL = secret
	}
	if secret == "" {
		return nil, "", nil
	}
	digest := Digest(secret[:min(len(secret), maxSecret)])
	var found *Key
	for i := range a.keys {
		if subtle.ConstantTimeCompare(digest[:], a.keys[i].Digest[:]) == 1 && len(secret) <= maxSecret {
			found = &a.keys[i]
		}
	}
	if found == nil {
		return nil, "", problem.WithStatus(http.StatusUnauthorized, errUnknownKey)
	}
	if origin := r.Header.Get("Origin"); origin != "" && len(found.Origins) > 0 && !slices.Contains(found.Origins, origin) {
		return nil, "", problem.WithStatus(http.StatusForbidden, errWrongKey)
	}
	return found, inURL, nil
}

// allow returns nil if the request may use a layer, else 401 or 403. l is nil for what belongs to no layer.
func (a *access) allow(r *http.Request, s Scope, l *layer) error {
	ids := []string{"", ""}
	if l != nil {
		ids = []string{l.info.ID, l.Over}
	}
	return a.check(entryOf(r).key, s, ids...)
}

func (a *access) check(have *Key, s Scope, ids ...string) error {
	if !slices.ContainsFunc(a.keys, func(k Key) bool { return k.covers(s, ids...) }) {
		return nil
	}
	switch {
	case have == nil:
		return problem.WithStatus(http.StatusUnauthorized, errNoKey)
	case !have.covers(s, ids...):
		return problem.WithStatus(http.StatusForbidden, errWrongKey)
	}
	return nil
}

// mayList says whether a layer appears in lists that answer r.
func (s *site) mayList(r *http.Request, l *layer) bool {
	return s.access.allow(r, ScopeTiles, l) == nil
}

// guardMounted asks for a key on the routes of Options.Register, which know nothing of keys.
func (s *site) guardMounted(own map[string]bool) mux.MiddlewareFunc {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if route := mux.CurrentRoute(r); len(s.access.keys) > 0 && route != nil && !own[route.GetName()] {
				id := mux.Vars(r)["layer"]
				if id == "" {
					id = r.URL.Query().Get("layer")
				}
				over := ""
				if l, ok := s.layers[id]; ok {
					over = l.Over
				}
				if err := s.access.check(entryOf(r).key, ScopeSearch, id, over); err != nil {
					problem.Write(w, r, err)
					return
				}
			}
			next.ServeHTTP(w, r)
		})
	}
}

// withKey appends the key that r carried in its own URL, so that clients which know only URLs get at what a document
// names. A key from a header is not written anywhere: who sends one can send it again.
func withKey(r *http.Request, u string) string {
	secret := entryOf(r).secret
	if secret == "" {
		return u
	}
	sep := "?"
	if strings.Contains(u, "?") {
		sep = "&"
	}
	return u + sep + "key=" + url.QueryEscape(secret)
}

// Carry returns the query that URLs within the answer to r need: the key, if r carried one in its own URL. It is for
// routes mounted by Options.Register.
func Carry(r *http.Request) url.Values {
	if secret := entryOf(r).secret; secret != "" {
		return url.Values{"key": {secret}}
	}
	return nil
}
