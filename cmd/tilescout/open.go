package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache/index"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/hub"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/internal/budget"
	"github.com/tilescout/tilescout/plugin"
	"github.com/tilescout/tilescout/plugin/search"
	"github.com/tilescout/tilescout/tileserver"
	"github.com/tilescout/tilescout/tileserver/config"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/diskcache"
	"github.com/tilescout/tilescout/tileserver/source/kinds"
	"github.com/tilescout/tilescout/tileserver/source/xyz"
)

// purpose says what a command needs of the parts.
type purpose int

const (
	forServing purpose = iota // tiles are served even if no model loads
	forWriting                // the index must be writable
	forReading                // another process may hold the index
)

// parts are the opened floors of the house, from the sources up to the plugin.
type parts struct {
	sources []source.Source
	store   *index.Store
	brain
	plugin   *plugin.Plugin
	readOnly bool
	degraded []string
	closers  []func() error

	kinds   kinds.Options // to open further sources with
	admit   *tileserver.Admission
	budget  *budget.Budget         // of decoded pictures in flight
	next    *brain                 // the model that was asked for, while another serves that knows more; serving only
	current *atomic.Pointer[brain] // the one that serves now, of a server that runs

	openCache func() (*diskcache.Cache, error)
	dirCache  *atomic.Pointer[diskcache.Cache] // once it is open
}

// with is p over other sources. It shares the rest with p and is not closed.
func (p *parts) with(layers []openLayer) *parts {
	out := *p
	out.setSources(layers)
	return &out
}

func (p *parts) setSources(layers []openLayer) {
	p.sources = nil
	for _, o := range layers {
		p.sources = append(p.sources, o.source)
	}
}

// openSource opens one more source, and the tile cache with the first that is remote. The caller closes the source.
// One call at a time.
func (p *parts) openSource(ctx context.Context, l config.Layer) (source.Source, error) {
	if config.IsURL(l.Source) && p.kinds.XYZ.Cache == nil {
		cache, err := p.openCache()
		if err != nil {
			return nil, err
		}
		p.closers = append(p.closers, cache.Close)
		p.kinds.XYZ.Cache = cache
		p.dirCache.Store(cache)
	}
	return kinds.Open(ctx, l.Spec, p.kinds)
}

// noModel is an error of the encoder: whatever it is, tiles can be served without.
type noModel struct{ error }

func (e noModel) Unwrap() error { return e.error }

func (p *parts) close() {
	for i := len(p.closers) - 1; i >= 0; i-- {
		_ = p.closers[i]() // each part is closed whatever the others say
	}
}

// layerText is what a command says of a source that carries no words of its own.
type layerText struct{ id, title, attribution string }

// loadConfig reads the config file and the environment, then the flags, which win.
func (a *app) loadConfig() (config.Config, error) {
	file := a.configFile
	if file == "" && len(a.sources) == 0 {
		if _, err := os.Stat("tilescout.yaml"); err == nil {
			file = "tilescout.yaml"
		}
	}
	cfg, err := config.Load(file, os.LookupEnv)
	if err != nil {
		return cfg, err
	}
	cfg.Data, cfg.Model, cfg.Device = cmp.Or(a.data, cfg.Data), cmp.Or(a.model, cfg.Model), cmp.Or(a.device, cfg.Device)
	if len(a.sources) > 0 {
		cfg.Layers, cfg.Searches = nil, nil
		taken := map[string]bool{}
		for _, s := range a.sources {
			l := config.FromArgument(s, func(id string) bool { return taken[id] })
			if t, ok := a.titles[s]; ok {
				l.ID, l.Title, l.Attribution = t.id, t.title, t.attribution
			}
			taken[l.ID] = true
			cfg.Layers = append(cfg.Layers, l)
		}
	}
	return cfg, cfg.Validate()
}

// dataDir is the folder that holds everything we write, made if need be.
func (a *app) dataDir(fromConfig string) (string, error) {
	dir := cmp.Or(a.data, fromConfig, os.Getenv("TILESCOUT_DATA"))
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no folder for data: %w; give --data DIR: %w", err, tilescout.ErrBadInput)
		}
		dir = filepath.Join(base, "tilescout")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("data folder: %w; give another with --data DIR: %w", err, tilescout.ErrBadInput)
	}
	return filepath.Abs(dir)
}

// open builds the floors from the ground up. The caller closes the parts.
func (a *app) open(ctx context.Context, cfg config.Config, why purpose) (*parts, error) {
	p := &parts{}
	if err := a.openSources(ctx, cfg, p); err != nil {
		p.close()
		return nil, err
	}
	err := a.openEngine(ctx, cfg, p, why)
	switch {
	case err == nil:
		if p.plugin, err = newPlugin(p.life, cfg, p.engine); err != nil {
			p.close()
			return nil, err
		}
	case why == forServing && ctx.Err() == nil && (errors.As(err, &noModel{}) || !errors.Is(err, tilescout.ErrBadInput)):
		fmt.Fprintf(a.stderr, "tilescout: %s\ntilescout: tiles are served, search is not\n", oneLine(err))
		p.degraded = append(p.degraded, "search")
		p.plugin = plugin.Unavailable(err)
	default:
		p.close()
		return nil, err
	}
	return p, nil
}

// newPlugin mounts prompts over the engine; its absolute URLs are those of the tile server.
func newPlugin(ctx context.Context, cfg config.Config, engine *search.Engine) (*plugin.Plugin, error) {
	address, err := tileserver.NewAddress(cfg.PublicURL, cfg.BasePath, cfg.TrustedProxies)
	if err != nil {
		return nil, err
	}
	return plugin.New(engine, plugin.WithImagery("tiles/{layer}/{z}/{x}/{y}.jpg"), plugin.WithSearches(savedSearches(cfg)),
		plugin.WithContext(ctx), plugin.WithBase(func(r *http.Request) string { return address.URL(r, "") }),
		plugin.WithCarry(tileserver.Carry)), nil
}

func (a *app) openSources(ctx context.Context, cfg config.Config, p *parts) error {
	dir, err := a.dataDir(cfg.Data)
	if err != nil {
		return err
	}
	p.budget, p.kinds = limitsOf(cfg.Limits)
	p.dirCache = &atomic.Pointer[diskcache.Cache]{}
	p.kinds.XYZ.ProgramVersion, p.kinds.XYZ.LookupEnv = version, os.LookupEnv
	p.kinds.XYZ.Hosts, p.kinds.XYZ.Proxy = xyz.NewHosts(), http.ProxyFromEnvironment
	p.openCache = func() (*diskcache.Cache, error) {
		return diskcache.Open(filepath.Join(dir, "tiles"), diskcache.Options{
			Warn: func(err error) { fmt.Fprintf(a.stderr, "tilescout: tile cache: %s\n", oneLine(err)) },
		})
	}
	p.closers = append(p.closers, func() error { closeAll(p.sources); return nil })
	for _, l := range cfg.Layers {
		s, err := p.openSource(ctx, l)
		if err != nil {
			return err
		}
		p.sources = append(p.sources, a.told(s))
	}
	return nil
}

func (a *app) openEncoder(ctx context.Context, cfg config.Config) (*encoder.Encoder, error) {
	dir, err := a.dataDir(cfg.Data)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(cfg.Model); err != nil && hub.IsName(cfg.Model) {
		return nil, fmt.Errorf("model %s: a checkpoint is made into a model folder first: tilescout model get %s, tilescout model convert %s --out DIR --int8, then --model DIR: %w",
			cfg.Model, cfg.Model, cfg.Model, tilescout.ErrBadInput)
	}
	if err := a.makeReady(ctx, cfg.Model, dir); err != nil {
		return nil, err
	}
	return encoder.Open(ctx, a.encoderOptions(cfg, dir))
}

func (a *app) encoderOptions(cfg config.Config, dataDir string) encoder.Options {
	return encoder.Options{
		Model: cmp.Or(readyFolder(cfg.Model, dataDir), cfg.Model), Device: cfg.Device, Provider: a.deviceOptions, Library: a.runtime, DataDir: dataDir, Threads: a.threads,
		Notice: func(line string) { fmt.Fprintf(a.stderr, "tilescout: %s\n", line) },
	}
}

// denseEncoder opens the part of the model that looks into tiles; it costs the weights' memory a second time.
func (a *app) denseEncoder(cfg config.Config) func(context.Context) (search.DenseEncoder, error) {
	return func(ctx context.Context) (search.DenseEncoder, error) {
		dir, err := a.dataDir(cfg.Data)
		if err != nil {
			return nil, err
		}
		return encoder.OpenDense(ctx, a.encoderOptions(cfg, dir))
	}
}

// openStore opens the index for writing, or, where another process writes it, for reading.
func (a *app) openStore(fromConfig string, readOnly bool) (*index.Store, error) {
	dir, err := a.dataDir(fromConfig)
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "index")
	if readOnly {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no index in the data folder yet: run tilescout index: %w", tilescout.ErrBadInput)
		}
	}
	return index.Open(dir, index.Options{ReadOnly: readOnly, Synced: a.figures.synced})
}

func (a *app) openEngine(ctx context.Context, cfg config.Config, p *parts, why purpose) error {
	enc, err := a.openEncoder(ctx, cfg)
	if err != nil {
		return noModel{err}
	}
	p.store, err = a.openStore(cfg.Data, false)
	if err != nil && why != forWriting && errors.Is(err, tilescout.ErrUnavailable) {
		fmt.Fprintf(a.stderr, "tilescout: %s; reading it only\n", oneLine(err))
		p.readOnly = true
		p.degraded = append(p.degraded, "index-write")
		p.store, err = a.openStore(cfg.Data, true)
	}
	if err != nil {
		return errors.Join(err, enc.Close())
	}
	p.closers = append(p.closers, p.store.Close)
	if p.brain, err = a.newBrain(ctx, cfg, enc, p, why); err != nil {
		return err
	}
	p.closers = append(p.closers, func() error { // of the model that serves by then
		if p.next != nil {
			return errors.Join(p.next.close(), p.brain.close())
		}
		return p.brain.close()
	})
	for i, s := range p.sources {
		if err := p.engine.Add(ctx, s, layerOptions(cfg.Layers[i].Index)); err != nil {
			return err
		}
	}
	if p.readOnly {
		return nil
	}
	if err := a.remember(cfg, p.engine.Model()); err != nil {
		fmt.Fprintf(a.stderr, "tilescout: the model is not noted down: %s\n", oneLine(err))
	}
	if why == forServing {
		return a.preferOld(ctx, cfg, p)
	}
	return nil
}

func layerOptions(i config.Index) search.LayerOptions {
	o := search.LayerOptions{Overlap: i.Overlap}
	for _, z := range i.Zooms {
		o.Zooms = append(o.Zooms, maptile.Zoom(z))
	}
	if len(i.Bounds) == 4 {
		o.Bound = &geo.BBox{West: i.Bounds[0], South: i.Bounds[1], East: i.Bounds[2], North: i.Bounds[3]}
	}
	return o
}

func savedSearches(cfg config.Config) []plugin.Saved {
	var out []plugin.Saved
	for _, s := range cfg.Searches {
		out = append(out, plugin.Saved{
			ID: s.ID, Title: s.Title, Layer: s.Layer, Prompts: s.Q, Not: s.Not,
			Threshold: s.Threshold, Style: plugin.Style(cmp.Or(s.Style, string(plugin.Heat))),
		})
	}
	return out
}

// browseURL is the address to type into a browser on this machine.
func browseURL(cfg config.Config, bound net.Addr) string {
	if cfg.PublicURL != "" {
		return cfg.PublicURL
	}
	host, port, err := net.SplitHostPort(bound.String())
	if err != nil {
		return bound.String()
	}
	if ip := net.ParseIP(host); ip != nil && (ip.IsUnspecified() || ip.IsLoopback()) {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port) + cfg.BasePath
}
