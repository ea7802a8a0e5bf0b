package tileserver

import (
	"fmt"
	"net/http"
	"sync"

	"github.com/gorilla/mux"

	"github.com/tilescout/tilescout"
)

// site is what a server serves between two reloads: one valid config, whole. Nothing in it changes.
type site struct {
	core
	options Options
	address *Address
	layers  map[string]*layer
	order   []*layer // as in Options
	access  *access
	limiter *limiter // nil if clients are not limited
	origins map[string]bool
	router  *mux.Router
	handler http.Handler

	mu      sync.Mutex
	users   int    // guarded by mu: requests under way
	retired bool   // guarded by mu: no more enter
	last    func() // guarded by mu: what the last of them runs
}

// newSite checks options with their defaults set. old is the site it follows, or nil.
func newSite(c core, o Options, old *site) (*site, error) {
	address, err := NewAddress(o.PublicURL, o.BasePath, o.TrustedProxies)
	if err != nil {
		return nil, fmt.Errorf("tileserver: %w", err)
	}
	s := &site{core: c, options: o, address: address, layers: map[string]*layer{}, origins: map[string]bool{}}
	for _, l := range o.Layers {
		checked, err := newLayer(l)
		if err != nil {
			return nil, fmt.Errorf("tileserver: %w", err)
		}
		if _, twice := s.layers[checked.info.ID]; twice {
			return nil, fmt.Errorf("tileserver: two layers are called %q: %w", checked.info.ID, tilescout.ErrBadInput)
		}
		s.layers[checked.info.ID] = checked
		s.order = append(s.order, checked)
	}
	if s.access, err = newAccess(o.Keys); err != nil {
		return nil, fmt.Errorf("tileserver: %w", err)
	}
	for _, origin := range o.Origins {
		s.origins[origin] = true
	}
	if old != nil && old.options.Requests.Rate == o.Requests.Rate {
		s.limiter = old.limiter // clients keep what they have used up
	} else {
		s.limiter = newLimiter(o.Requests.Rate)
	}
	if s.router, err = s.routes(); err != nil {
		return nil, fmt.Errorf("tileserver: %w", err)
	}
	s.handler = s.middleware(s.stripBasePath(s.router))
	return s, nil
}

// enter counts a request in; false if the site is over.
func (s *site) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired {
		return false
	}
	s.users++
	return true
}

func (s *site) leave() {
	s.mu.Lock()
	s.users--
	done := s.retired && s.users == 0
	last := s.last
	s.mu.Unlock()
	if done && last != nil {
		last()
	}
}

// retire lets nobody enter; last runs once nobody is inside.
func (s *site) retire(last func()) {
	s.mu.Lock()
	s.retired, s.last = true, last
	done := s.users == 0
	s.mu.Unlock()
	if done && last != nil {
		last()
	}
}

// URL returns the absolute URL of a path as the client of r reaches it; see Address.URL.
func (s *site) URL(r *http.Request, path string) string { return s.address.URL(r, path) }
