package plugin

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/mux"
	"github.com/tilescout/tilescout/internal/problem"
	"github.com/tilescout/tilescout/plugin/search"
)

// Plugin answers the semantic routes of an engine.
type Plugin struct {
	engine   *search.Engine
	imagery  string
	base     func(*http.Request) string
	carry    func(*http.Request) url.Values
	wait     time.Duration
	searches []Saved
	life     context.Context
	refuse   error // why there is no engine; nil if there is one

	mu   sync.Mutex // guards jobs
	jobs map[string]context.CancelFunc
}

// Option changes a Plugin's defaults.
type Option func(*Plugin)

// WithImagery gives the URL template of a layer's own tiles, for links to thumbnails:
// {layer}, {z}, {x} and {y} are filled in. "" (the default) leaves such links out.
func WithImagery(template string) Option { return func(p *Plugin) { p.imagery = template } }

// WithBase says under which absolute URL, without a closing slash, a client sees the router.
// The default is taken from the request's Host.
func WithBase(base func(*http.Request) string) Option { return func(p *Plugin) { p.base = base } }

// WithCarry says which parameters of a request the URLs within its answer must carry on, a key for example.
func WithCarry(carry func(*http.Request) url.Values) Option {
	return func(p *Plugin) { p.carry = carry }
}

// WithWait bounds how long an overlay tile waits for tiles beneath it to be embedded; default 150 ms.
func WithWait(d time.Duration) Option { return func(p *Plugin) { p.wait = d } }

// WithSearches lists saved searches, for suggestions.
func WithSearches(s []Saved) Option { return func(p *Plugin) { p.searches = s } }

// WithContext bounds the life of filling jobs that a request started; they outlive the request.
func WithContext(ctx context.Context) Option { return func(p *Plugin) { p.life = ctx } }

// Saved is a search that appears as a layer of its own.
type Saved struct {
	ID, Title, Layer string
	Prompts, Not     []string
	Threshold        float64
	Style            Style
}

// New returns a plugin over an engine.
func New(engine *search.Engine, options ...Option) *Plugin {
	p := &Plugin{
		engine: engine, wait: 150 * time.Millisecond, life: context.Background(),
		base: requestBase, carry: func(*http.Request) url.Values { return nil }, jobs: map[string]context.CancelFunc{},
	}
	for _, o := range options {
		o(p)
	}
	return p
}

// requestBase trusts the Host header, which a client may choose; servers that know their public
// address pass WithBase.
func requestBase(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// Patterns of path variables, so that what cannot match is 404 before a handler runs.
const (
	layerVar = "{layer:[a-z0-9][a-z0-9_-]{0,62}}"
	tileVars = "{z:[0-9]+}/{x:[0-9]+}/{y:[0-9]+}"
)

// Register mounts the routes. Each has a name, for URLs and for the contract's test.
func (p *Plugin) Register(router *mux.Router) {
	for _, route := range []struct {
		name, path string
		methods    []string
		handler    func(http.ResponseWriter, *http.Request) error
	}{
		{"search", "/search/" + layerVar, get, p.search},
		{"search.tile", "/search/" + layerVar + "/tile/" + tileVars, get, p.searchTile},
		{"overlay.tilejson", "/overlay/" + layerVar + ".json", get, p.overlayTileJSON},
		{"overlay.png", "/overlay/" + layerVar + "/" + tileVars + ".png", get, p.overlayPNG},
		{"overlay.mvt", "/overlay/" + layerVar + "/" + tileVars + ".{format:mvt|pbf}", get, p.overlayMVT},
		{"similar", "/similar/" + layerVar, get, p.similar},
		{"similar.picture", "/similar/" + layerVar, post, p.similarPicture},
		{"classify.tile", "/classify/" + layerVar + "/" + tileVars, get, p.classifyTile},
		{"classify.picture", "/classify", post, p.classifyPicture},
		{"index", "/index/" + layerVar, get, p.indexState},
		{"index.fill", "/index/" + layerVar, post, p.indexFill},
		{"suggest", "/suggest", get, p.suggest},
		{"model", "/model", get, p.model},
	} {
		router.Handle(route.path, problem.Handler(p.guarded(route.handler))).Methods(route.methods...).Name(route.name)
	}
}

var (
	get  = []string{http.MethodGet, http.MethodHead}
	post = []string{http.MethodPost}
)

// imageryURL is the site-relative URL of a layer's own tile; "" without WithImagery.
func (p *Plugin) imageryURL(layer, z, x, y string) string {
	if p.imagery == "" {
		return ""
	}
	return strings.NewReplacer("{layer}", url.PathEscape(layer), "{z}", z, "{x}", x, "{y}", y).Replace(p.imagery)
}

// overlayTemplate is the URL of an overlay's tiles with {z}, {x} and {y} to fill in and the revision in it.
// base "" makes it relative to the server's root.
func (p *Plugin) overlayTemplate(base, layer, format string, q Question) string {
	v := q.values()
	maps.Copy(v, q.carried)
	if rev := p.engine.Revision(layer); rev != "" {
		v.Set("rev", rev)
	}
	if base != "" {
		base += "/"
	}
	return fmt.Sprintf("%soverlay/%s/{z}/{x}/{y}.%s?%s", base, url.PathEscape(layer), format, v.Encode())
}
