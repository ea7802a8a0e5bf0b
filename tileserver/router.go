package tileserver

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/gorilla/mux"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/problem"
)

// Names of the routes that URLs are built for.
const (
	routeTile        = "tile"
	routeTileJSON    = "tilejson"
	routeWMTS        = "wmts"
	routeWMTSDoc     = "wmts-capabilities"
	routeWMTSTile    = "wmts-tile"
	routeWMTSFeature = "wmts-featureinfo"
	routeQLR         = "qgis"
)

// routes builds the router. Path variables are wide on purpose: a handler that sees a wrong value can say what is wrong.
func (s *site) routes() (*mux.Router, error) {
	router := mux.NewRouter()
	router.Use(noteRoute)
	page, err := newPage(s.options.Web, s.options.WebMissing)
	if err != nil {
		return nil, err
	}
	// The page's files come last and not as a route: in mux 1.8.1 a later route with a wide path hides a 405.
	router.NotFoundHandler = problem.Handler(func(w http.ResponseWriter, r *http.Request) error {
		if page.has(r) {
			entryOf(r).route = "/{file}"
			page.ServeHTTP(w, r)
			return nil
		}
		return fmt.Errorf("nothing at this path; /openapi.yaml lists what there is: %w", tilescout.ErrNotFound)
	})
	router.MethodNotAllowedHandler = methodNotAllowed(router)

	get := func(name, path string, h http.Handler) {
		router.Handle(path, h).Methods(http.MethodGet, http.MethodHead).Name(name)
	}
	get("layers", "/layers", problem.Handler(s.getLayers))
	get(routeTileJSON, "/tiles/{layer}.json", problem.Handler(s.getTileJSON))
	get(routeTile, "/tiles/{layer}/{z}/{x}/{y}.{ext}", problem.Handler(s.getTile))
	get(routeWMTS, "/wmts", http.HandlerFunc(s.getWMTS))
	get(routeWMTSDoc, "/wmts/1.0.0/WMTSCapabilities.xml", wmtsHandler(s.getCapabilities))
	get(routeWMTSTile, "/wmts/1.0.0/{layer}/{style}/{tms}/{z}/{y}/{x}.{ext}", wmtsHandler(s.getWMTSTile))
	get(routeWMTSFeature, "/wmts/1.0.0/{layer}/{style}/{tms}/{z}/{y}/{x}/{j}/{i}.{ext}", wmtsHandler(s.getWMTSFeatureInfo))
	get(routeQLR, "/qgis/{layer}.qlr", problem.Handler(s.getQLR))
	get("health", "/healthz", http.HandlerFunc(s.getHealth))
	get("ready", "/readyz", http.HandlerFunc(s.getReady))
	if !s.fixed.elsewhere {
		get("metrics", "/metrics", s.adminOnly(s.metrics.handler()))
		router.Handle("/admin/reload", s.adminOnly(s.crossOrigin(problem.Handler(s.postReload)))).Methods(http.MethodPost).Name("reload")
	}
	get("openapi", "/openapi.yaml", problem.Handler(s.getOpenAPI))
	own := map[string]bool{"page": true}
	_ = router.Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		own[route.GetName()] = true
		return nil
	})
	router.Use(s.guardMounted(own), s.admit)
	for _, register := range s.options.Register {
		register(router)
	}
	get("page", "/", page)
	return router, nil
}

// path returns the path of a named route. Values are escaped except for template variables like "{z}".
func (s *site) path(name string, pairs ...string) string {
	u, err := s.router.Get(name).URLPath(pairs...)
	if err != nil {
		panic(err) // a wrong name or number of values in this package
	}
	return strings.NewReplacer("%7B", "{", "%7D", "}").Replace(u.EscapedPath())
}

// withRev appends the revision, and further parameters that are not empty, to a URL without query.
func withRev(u, rev string, more ...string) string {
	u += "?rev=" + url.QueryEscape(rev)
	for i := 0; i+1 < len(more); i += 2 {
		if more[i+1] != "" {
			u += "&" + more[i] + "=" + url.QueryEscape(more[i+1])
		}
	}
	return u
}

// stripBasePath takes the base path off. Health and metrics answer without it too: who asks them is on this side of the proxy.
func (s *site) stripBasePath(next http.Handler) http.Handler {
	base := s.address.basePath
	if base == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/healthz" || r.URL.Path == "/readyz" || r.URL.Path == "/metrics" || r.URL.Path == "/admin/reload":
			next.ServeHTTP(w, r)
		case r.URL.Path == base: // relative links of the page need the slash
			http.Redirect(w, r, base+"/", http.StatusMovedPermanently)
		case strings.HasPrefix(r.URL.Path, base+"/"):
			http.StripPrefix(base, next).ServeHTTP(w, r)
		default:
			problem.Write(w, r, fmt.Errorf("everything here is under %s/: %w", base, tilescout.ErrNotFound))
		}
	})
}
