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
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache"
	"github.com/tilescout/tilescout/internal/budget"
	"github.com/tilescout/tilescout/internal/cores"
)

// Options are the settings of a server. The zero value of each field works. Those above the line may differ in a
// later Reload; those below hold as long as the server lives.
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
	// Classes tells what the routes mounted by Register cost, by the name of the route. A route without a class is
	// not held back.
	Classes map[string]Class
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
	// Keys open layers to those who hold them; what no key covers is open to all.
	Keys []Key
	// Origins are the web origins whose pages may read answers; none means any.
	Origins []string
	// Requests bound one request and one client.
	Requests RequestLimits

	// ------------------------------------------------------------------------------------------------------

	CacheBytes     int64          // bound of tiles kept in memory; 0 means 64 MiB, negative none
	MaxConnections int            // open at once; 0 means 4096
	DrainDelay     time.Duration  // between "not ready" and closing; 0 closes at once
	Admission      *Admission     // nil means one with default limits
	Budget         *budget.Budget // of decoded pictures in flight; nil means no bound
	Log            *slog.Logger   // nil discards
	Registry       *prometheus.Registry
	// Reload is what POST /admin/reload does; nil answers 503.
	Reload func(ctx context.Context) error
	// MetricsElsewhere leaves /metrics and /admin/reload off the main listener: AdminHandler has them.
	MetricsElsewhere bool
}

func (o *Options) setDefaults() {
	o.Title = cmp.Or(o.Title, "Tilescout")
	o.CacheBytes = cmp.Or(o.CacheBytes, 64<<20)
	o.MaxConnections = cmp.Or(o.MaxConnections, 4096)
	o.Requests.setDefaults()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Server serves layers of tiles. Safe for concurrent use.
type Server struct {
	core
	site    atomic.Pointer[site]
	options Options // those below the line
}

// core is what all sites of a server share: it outlives a reload.
type core struct {
	empties    *empties
	log        *slog.Logger
	metrics    *metrics
	tiles      *cache.Cache[tileKey, answer]
	forgetting *sync.Mutex // one at a time drops a stale tile
	admission  *Admission
	budget     *budget.Budget
	computing  *semaphore.Weighted // as many as there are processors: more would keep those waiting who need none
	draining   *atomic.Bool
	sampler    *sampler
	fixed      fixed
}

// fixed are the options that a site reads and a reload does not change.
type fixed struct {
	reload    func(ctx context.Context) error
	elsewhere bool
}

// New checks the options and builds the routes. Errors are ErrBadInput.
func New(o Options) (*Server, error) {
	o.setDefaults()
	if o.Admission == nil {
		o.Admission = NewAdmission(nil)
	}
	s := &Server{options: o, core: core{
		empties: &empties{}, log: o.Log, metrics: newMetrics(o.Registry, o.Version),
		tiles:      cache.New(o.CacheBytes, func(k tileKey, a answer) int { return a.weight(k, 0) }),
		forgetting: &sync.Mutex{}, draining: &atomic.Bool{}, admission: o.Admission, budget: o.Budget,
		computing: semaphore.NewWeighted(int64(cores.N())),
		sampler:   &sampler{limit: rate.NewLimiter(20, 40)},
		fixed:     fixed{reload: o.Reload, elsewhere: o.MetricsElsewhere},
	}}
	s.tiles.LoadTimeout = loadLimit
	s.metrics.watchCache("tile", s.tiles.Stats)
	s.metrics.registry.MustRegister(o.Admission)
	s.metrics.watchBudget(o.Budget)
	first, err := newSite(s.core, o, nil)
	if err != nil {
		return nil, err
	}
	s.site.Store(first)
	s.metrics.registry.MustRegister(&patchworks{s})
	return s, nil
}

// Reload serves what o says from now on, or changes nothing and returns ErrBadInput. Requests under way end on what
// they began with; retired runs after the last of them. Settings that hold as long as the server lives are not read.
func (s *Server) Reload(o Options, retired func()) error {
	o.setDefaults()
	old := s.site.Load()
	next, err := newSite(s.core, o, old)
	if err != nil {
		return err
	}
	s.site.Store(next)
	s.metrics.forgetLayers(old.layers, next.layers)
	old.retire(retired)
	return nil
}

// ServeHTTP answers on the site of this moment.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := s.site.Load()
	for !now.enter() { // retired between the two lines
		now = s.site.Load()
	}
	defer now.leave()
	now.handler.ServeHTTP(w, r)
}

// Handler returns all routes with their middleware.
func (s *Server) Handler() http.Handler { return s }

// Router returns the bare routes of this moment, to be walked by tests of the contract. Do not serve it: it has no
// middleware.
func (s *Server) Router() *mux.Router { return s.site.Load().router }

// URL returns the absolute URL of a path as the client of r reaches it; see Address.URL.
func (s *Server) URL(r *http.Request, path string) string { return s.site.Load().URL(r, path) }

// Rejected counts input from strangers that was refused, if err holds the reason (tilescout_input_rejected_total).
func (s *Server) Rejected(err error) { s.metrics.refused(err) }

// Serve answers on l until ctx is done, then says so at /readyz, waits DrainDelay for load balancers to notice,
// lets open requests finish for up to 25 s and returns nil. It closes l. It returns an error only if serving failed.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := s.httpServer(ctx, s)
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

// httpServer has the time-outs that hold before a request reaches any of our code.
func (s *Server) httpServer(ctx context.Context, h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: s.options.Requests.HeaderTimeout,
		ReadTimeout:       s.options.Requests.BodyTimeout,
		IdleTimeout:       75 * time.Second,
		// No WriteTimeout: one value does not fit a tile and a stream; the middleware sets a deadline per request.
		MaxHeaderBytes: s.options.Requests.HeaderBytes,
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		BaseContext:    func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
}

// layer returns the layer of that id, or ErrNotFound; ErrForbidden or a 401 where a key is needed that r has not.
func (s *site) layer(r *http.Request, id string) (*layer, error) {
	if l, ok := s.layers[id]; ok {
		return l, s.access.allow(r, ScopeTiles, l)
	}
	if len(id) > 63 {
		id = id[:63] + "…"
	}
	return nil, fmt.Errorf("no layer is called %q; /layers lists them: %w", id, tilescout.ErrNotFound)
}
