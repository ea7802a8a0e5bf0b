package tileserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"
	"github.com/paulmach/orb/maptile"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/netutil"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache"
)

// Options are the settings of a server. The zero value of each field works.
type Options struct {
	Layers []Layer // what is served, in the order of lists; ids differ

	PublicURL      string   // where clients reach the server; "" finds out from each request
	BasePath       string   // path prefix that requests carry when they arrive, not stripped by a proxy
	TrustedProxies []string // addresses or networks whose forwarded headers count

	Title   string // of the service, in WMTS; "" means Tilescout
	Version string // of the program, in metrics and logs

	Web        fs.FS  // the built web map with index.html at its root
	WebMissing []byte // HTML for "/" where Web is nil or has no index.html; nil means a short page of our own
	OpenAPI    []byte // served at /openapi.yaml; nil is 404

	// Register mounts further routes, which get the same middleware. A route's template is its name in metrics.
	Register []func(*mux.Router)
	// Revision returns what prompt answers over a layer depend on (layer version, model, index generation, style);
	// it is the rev in the prompt URLs that the server hands out. nil means the layer's own revision.
	Revision func(layer string) string
	// State returns a value that stands as "index" in /layers, marshalled as JSON; nil leaves it out.
	State func(layer string) any
	// FeatureInfo returns what is known of a pixel (column i, row j of 256) of a tile, as the properties that
	// WMTS GetFeatureInfo answers; nil or ErrUnavailable means layer, tile and position only.
	FeatureInfo func(ctx context.Context, layer string, t maptile.Tile, i, j int) (map[string]any, error)
	// Ready tells what the program still waits for and what is degraded; nil means all is well.
	Ready func() Readiness

	CacheBytes     int64         // bound of tiles kept in memory; 0 means 64 MiB, negative none
	MaxConnections int           // open at once; 0 means 4096
	DrainDelay     time.Duration // between "not ready" and closing; 0 closes at once
	Log            *slog.Logger  // nil discards
	Registry       *prometheus.Registry
}

func (o *Options) setDefaults() {
	o.Title = cmp.Or(o.Title, "Tilescout")
	o.CacheBytes = cmp.Or(o.CacheBytes, 64<<20)
	o.MaxConnections = cmp.Or(o.MaxConnections, 4096)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Server serves layers of tiles. Safe for concurrent use.
type Server struct {
	options Options
	address *Address
	layers  map[string]*layer
	order   []*layer // as in Options
	empties empties
	log     *slog.Logger
	metrics *metrics
	router  *mux.Router
	handler http.Handler

	tiles      *cache.Cache[tileKey, answer]
	forgetting sync.Mutex // one at a time drops a stale tile
	render     *gate
	fetch      *gate
	draining   atomic.Bool
}

// New checks the options and builds the routes. Errors are ErrBadInput.
func New(o Options) (*Server, error) {
	o.setDefaults()
	address, err := NewAddress(o.PublicURL, o.BasePath, o.TrustedProxies)
	if err != nil {
		return nil, fmt.Errorf("tileserver: %w", err)
	}
	s := &Server{
		options: o, address: address, layers: map[string]*layer{}, log: o.Log,
		metrics: newMetrics(o.Registry, o.Version),
		tiles:   cache.New(o.CacheBytes, func(k tileKey, a answer) int { return a.weight(k, 0) }),
	}
	s.tiles.LoadTimeout = loadLimit
	s.render, s.fetch = newGates(s.metrics)
	s.metrics.watchCache("tile", s.tiles.Stats)
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
	if s.router, err = s.routes(); err != nil {
		return nil, fmt.Errorf("tileserver: %w", err)
	}
	s.handler = s.middleware(s.stripBasePath(s.router))
	return s, nil
}

// Handler returns all routes with their middleware.
func (s *Server) Handler() http.Handler { return s.handler }

// Router returns the bare routes, to be walked by tests of the contract. Do not serve it: it has no middleware.
func (s *Server) Router() *mux.Router { return s.router }

// URL returns the absolute URL of a path as the client of r reaches it; see Address.URL.
func (s *Server) URL(r *http.Request, path string) string { return s.address.URL(r, path) }

// layer returns the layer of that id, or ErrNotFound.
func (s *Server) layer(id string) (*layer, error) {
	if l, ok := s.layers[id]; ok {
		return l, nil
	}
	if len(id) > 63 {
		id = id[:63] + "…"
	}
	return nil, fmt.Errorf("no layer is called %q; /layers lists them: %w", id, tilescout.ErrNotFound)
}

// Serve answers on l until ctx is done, then says so at /readyz, waits DrainDelay for load balancers to notice,
// lets open requests finish for up to 25 s and returns nil. It closes l. It returns an error only if serving failed.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		IdleTimeout:       75 * time.Second,
		// No WriteTimeout: one value does not fit a tile and a stream; the middleware sets a deadline per request.
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		BaseContext:    func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(netutil.LimitListener(l, s.options.MaxConnections)) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	s.draining.Store(true)
	time.Sleep(s.options.DrainDelay)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 25*time.Second)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		_ = server.Close() // what is still open had its time
		s.log.Warn("some requests did not finish", "error", err)
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}
