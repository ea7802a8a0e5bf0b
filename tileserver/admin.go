package tileserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/problem"
)

// adminOnly asks for a key of the admin scope, if there is one among the keys.
func (s *site) adminOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.access.check(entryOf(r).key, ScopeAdmin, ""); err != nil {
			problem.Write(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// crossOrigin refuses what a page of another origin sends: it must not steer a server that trusts its own machine.
func (s *site) crossOrigin(next http.Handler) http.Handler {
	var guard http.CrossOriginProtection
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		problem.Write(w, r, problem.WithStatus(http.StatusForbidden, errors.New("not from pages of other origins")))
	}))
	return guard.Handler(next)
}

// postReload answers POST /admin/reload on the main listener. Without a key of the admin scope it is not for anybody:
// behind a proxy on the same machine everybody would seem to be local.
func (s *site) postReload(w http.ResponseWriter, r *http.Request) error {
	if entryOf(r).key == nil {
		return problem.WithStatus(http.StatusUnauthorized,
			errors.New("a reload over this address needs a key with the admin scope; admin.listen and SIGHUP need none"))
	}
	return reload(s.fixed.reload, w, r)
}

func reload(do func(context.Context) error, w http.ResponseWriter, r *http.Request) error {
	if do == nil {
		return fmt.Errorf("this server cannot reload: %w", tilescout.ErrUnavailable)
	}
	if err := do(r.Context()); err != nil {
		return err
	}
	sendStatus(w, http.StatusOK, map[string]string{"status": "reloaded"})
	return nil
}

// AdminHandler answers /metrics, /healthz, /readyz, POST /admin/reload and, with profiles, /debug/pprof: what belongs
// on a listener of its own, which only operators reach. It asks for no key.
func (s *Server) AdminHandler(profiles bool) http.Handler {
	m := http.NewServeMux()
	m.Handle("GET /metrics", s.metrics.handler())
	m.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { s.site.Load().getHealth(w, r) })
	m.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { s.site.Load().getReady(w, r) })
	m.Handle("POST /admin/reload", s.site.Load().crossOrigin(problem.Handler(func(w http.ResponseWriter, r *http.Request) error {
		return reload(s.fixed.reload, w, r)
	})))
	if profiles {
		m.HandleFunc("GET /debug/pprof/", pprof.Index)
		m.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		m.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		m.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return m
}

// ServeAdmin answers AdminHandler on l until ctx is done. It closes l.
func (s *Server) ServeAdmin(ctx context.Context, l net.Listener, profiles bool) error {
	server := s.httpServer(ctx, s.AdminHandler(profiles))
	go func() {
		<-ctx.Done()
		_ = server.Close() // a scrape that is cut off comes again
	}()
	if err := server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}
