package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/plugin/search"
	"github.com/tilescout/tilescout/tileserver"
	"github.com/tilescout/tilescout/tileserver/config"
	"github.com/tilescout/tilescout/tileserver/source"
)

// openLayer is one layer of the config with its source, and what the file looked like when it was opened.
type openLayer struct {
	layer  config.Layer
	stamp  string
	source source.Source
}

// live is a running server that can take another config: whole and valid, or not at all.
type live struct {
	app     *app
	index   bool                          // embed whole layers
	read    func() (config.Config, error) // the config as it is now, flags included
	parts   *parts
	server  *tileserver.Server
	log     *slog.Logger
	context context.Context // of the server's life
	running sync.WaitGroup  // models that prepare themselves
	hangup  chan os.Signal  // asks for a reload

	failed prometheus.Gauge   // 1 while the last reload failed
	count  prometheus.Counter // reloads that took effect

	mu      sync.Mutex    // guards all below: one change at a time
	start   config.Config // as the process started
	config  config.Config // of the file, without hot layers
	whole   config.Config // with them
	hot     hotFolder
	renewal renewal
	layers  []openLayer
	model   string       // modelKey of what was asked for last
	next    *preparation // nil unless a new model prepares itself
}

// live puts a server over the parts that can be changed while it runs. The caller closes it before the parts.
func (a *app) live(ctx context.Context, cfg config.Config, p *parts, read func() (config.Config, error), log *slog.Logger, index bool) (*live, error) {
	l := &live{
		app: a, index: index, whole: cfg, model: modelKey(cfg),
		hangup: make(chan os.Signal, 1), read: read, parts: p, log: log, context: ctx, start: cfg, config: cfg,
		failed: prometheus.NewGauge(prometheus.GaugeOpts{Name: "tilescout_config_reload_failed", Help: "1 while the last reload failed and an older config is served."}),
		count:  prometheus.NewCounter(prometheus.CounterOpts{Name: "tilescout_config_reloads_total", Help: "Reloads that took effect."}),
	}
	for i, s := range p.sources {
		l.layers = append(l.layers, openLayer{cfg.Layers[i], stampOf(cfg.Layers[i].Source), s})
	}
	p.admit = admission(cfg.Limits.Admission)
	p.current = &atomic.Pointer[brain]{}
	first := p.with(l.layers) // the server keeps it, while ours may get another model
	for _, b := range []*brain{&p.brain, p.next} {
		if b != nil && b.text != nil {
			b.text.admit.Store(p.admit)
		}
	}
	p.current.Store(&first.brain)
	var err error
	l.server, err = first.server(ctx, cfg, func(o *tileserver.Options) {
		o.Log = log
		o.Reload = l.reload
		o.Registry.MustRegister(l.failed, l.count, a.figures)
	})
	if err != nil {
		return nil, err
	}
	l.countLeftOut(p.sources...)
	signal.Notify(l.hangup, syscall.SIGHUP) // from here on it does not end the process
	l.mu.Lock()
	if p.next != nil {
		b := *p.next
		p.next = nil
		l.prepare(b)
	} else if p.engine != nil {
		l.settle(p.brain)
	}
	l.mu.Unlock()
	l.rescan(ctx)
	return l, nil
}

// serveAdmin answers operators on a listener of their own, if there is to be one.
func (l *live) serveAdmin(ctx context.Context, admin config.Admin) error {
	if admin.Listen == "" {
		return nil
	}
	listener, err := net.Listen("tcp", admin.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s (admin.listen): %w", admin.Listen, err)
	}
	return l.server.ServeAdmin(ctx, listener, admin.Pprof)
}

// follow reloads on SIGHUP and takes up what changes in the folder of layers, until ctx is done.
func (l *live) follow(ctx context.Context, systemd notifier) error {
	defer signal.Stop(l.hangup)
	look := time.NewTicker(hotEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			systemd.say("STOPPING=1")
			return nil
		case <-l.hangup:
			systemd.say("RELOADING=1")
			_ = l.reload(ctx) // it said why, and the old config goes on
			systemd.say("READY=1")
		case <-look.C:
			l.rescan(ctx)
		}
	}
}

// reload reads the config again and serves what it says, or changes nothing and says why.
func (l *live) reload(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	cfg, err := l.read()
	var model brain
	if err == nil {
		model, err = l.openModel(ctx, cfg)
	}
	if err == nil {
		l.hot.look(cfg.LayersDir)
		if err = l.change(ctx, cfg, model.engine); err == nil {
			l.model = modelKey(cfg)
			l.adopt(model)
		} else if l.next == nil || l.next.engine != model.engine {
			_ = model.close() // it has not answered anything
			l.release(model)
		}
	}
	if err != nil {
		l.failed.Set(1)
		l.log.Error("reload failed, the old config goes on", "error", oneLine(err))
		return err
	}
	l.failed.Set(0)
	l.count.Inc()
	for _, key := range needRestart(l.start, cfg) {
		l.log.Warn("this takes effect at the next start only", "key", key)
	}
	l.log.Info("reloaded", "layers", len(l.layers))
	return nil
}

// rescan takes up what has changed in the hot folder, and files that were replaced under their layers.
func (l *live) rescan(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.hot.look(l.config.LayersDir) && !l.renewal.due(time.Now(), l.layers) {
		return
	}
	if err := l.change(ctx, l.config, nil); err != nil {
		l.log.Error("the folder of layers could not be taken up", "folder", l.config.LayersDir, "error", oneLine(err))
	}
}

// change serves cfg and the hot layers, and makes coming search them too, an engine that does not answer yet; nil for
// none. The caller holds mu. After an error all is as before.
func (l *live) change(ctx context.Context, cfg config.Config, coming *search.Engine) (err error) {
	had := map[string]openLayer{}
	for _, o := range l.layers {
		had[o.layer.ID] = o
	}
	var next []openLayer
	var fresh []source.Source
	defer func() {
		if err != nil {
			closeAll(fresh)
		}
	}()
	whole := cfg
	whole.Layers = nil
	take := func(layer config.Layer, stamp string) error {
		if old, ok := had[layer.ID]; ok && old.stamp == stamp && reflect.DeepEqual(old.layer, layer) {
			now, renewed := l.renewed(ctx, old)
			if renewed {
				fresh = append(fresh, now.source)
			}
			next, whole.Layers = append(next, now), append(whole.Layers, layer)
			return nil
		}
		src, err := l.parts.openSource(ctx, layer)
		if err != nil {
			l.server.Rejected(err)
			return err
		}
		fresh = append(fresh, src)
		next, whole.Layers = append(next, openLayer{layer, stamp, src}), append(whole.Layers, layer)
		return nil
	}
	taken := map[string]bool{}
	for _, layer := range cfg.Layers {
		taken[layer.ID] = true
		if err := take(layer, stampOf(layer.Source)); err != nil {
			return err
		}
	}
	for _, s := range cfg.Searches {
		taken[s.ID] = true
	}
	for _, layer := range l.hot.layers(taken) {
		err := error(nil)
		if len(whole.Layers)+len(cfg.Searches) == config.MaxLayers {
			err = fmt.Errorf("more than %d layers: %w", config.MaxLayers, tilescout.ErrBadInput)
		} else {
			err = take(layer, l.hot.steady[layer.Source])
		}
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			l.hot.refuse(layer.Source, l.log, err) // the others are good
		}
	}
	if err := whole.Validate(); err != nil {
		return err
	}
	options, undo, err := l.options(ctx, whole, next, coming)
	if err != nil {
		return err
	}
	gone := leftOut(l.layers, next)
	if err := l.server.Reload(options, func() { closeAll(gone) }); err != nil {
		undo()
		return err
	}
	l.countLeftOut(fresh...)
	l.config, l.whole, l.layers = cfg, whole, next
	l.parts.setSources(next)
	return nil
}

// options makes the engines search the layers and returns what the server is to serve; undo takes the first back.
func (l *live) options(ctx context.Context, whole config.Config, next []openLayer, coming *search.Engine) (o tileserver.Options, undo func(), err error) {
	p := l.parts.with(next)
	engines := map[*search.Engine]bool{p.engine: true, coming: true}
	if l.next != nil {
		engines[l.next.engine] = true
	}
	delete(engines, nil)
	undo = func() {
		for e := range engines {
			if err := e.Replace(l.context, searchables(l.layers)); err != nil { // all of it was open a moment ago
				l.log.Error("search fell behind the layers; restart", "error", oneLine(err))
			}
		}
	}
	for e := range engines {
		if err := e.Replace(ctx, searchables(next)); err != nil {
			undo()
			return o, nil, err
		}
	}
	if p.engine != nil {
		if p.plugin, err = newPlugin(p.life, whole, p.engine); err != nil {
			undo()
			return o, nil, err
		}
		p.work.Go(func() { l.warm(p.life, p.engine) }) // the first prompt does it otherwise
	}
	if o, err = p.options(whole); err != nil {
		undo()
		return o, nil, err
	}
	o.Log = l.log
	return o, undo, nil
}

func searchables(layers []openLayer) []search.Searchable {
	var out []search.Searchable
	for _, o := range layers {
		out = append(out, search.Searchable{Tiles: o.source, Options: layerOptions(o.layer.Index)})
	}
	return out
}

// leftOut are the sources of old that are not among next.
func leftOut(old, next []openLayer) []source.Source {
	kept := map[source.Source]bool{}
	for _, o := range next {
		kept[o.source] = true
	}
	var out []source.Source
	for _, o := range old {
		if !kept[o.source] {
			out = append(out, o.source)
		}
	}
	return out
}

func closeAll(sources []source.Source) {
	for _, s := range sources {
		_ = s.Close() // it was read only
	}
}

// stampOf changes when a file, or a folder of files, does; remote sources have none.
func stampOf(path string) string {
	if path = strings.TrimPrefix(path, "file://"); config.IsURL(path) {
		return ""
	}
	one := func(path string) string {
		info, err := os.Stat(path)
		if err != nil {
			return "-"
		}
		return fmt.Sprintf("%d %d", info.Size(), info.ModTime().UnixNano())
	}
	out := one(path)
	if entries, err := os.ReadDir(path); err == nil {
		for i, e := range entries {
			if i == 10_000 {
				break
			}
			out += "\n" + e.Name() + " " + one(filepath.Join(path, e.Name()))
		}
	}
	for _, beside := range []string{".ovr", ".msk", ".aux.xml"} {
		out += "\n" + one(path+beside)
	}
	return out
}

// needRestart lists the keys that differ from how the process started and that a reload does not change.
func needRestart(start, now config.Config) []string {
	var out []string
	for _, k := range []struct {
		key  string
		same bool
	}{
		{"listen", start.Listen == now.Listen}, {"admin", start.Admin == now.Admin}, {"data", start.Data == now.Data},
		{"device", start.Device == now.Device}, {"logLevel", start.LogLevel == now.LogLevel},
		{"limits.connections", start.Limits.Connections == now.Limits.Connections},
		{"limits.cacheMB", start.Limits.CacheMB == now.Limits.CacheMB},
		{"limits.drainDelay", start.Limits.DrainDelay == now.Limits.DrainDelay},
		{"limits.memoryMB", start.Limits.MemoryMB == now.Limits.MemoryMB},
		{"limits.admission", start.Limits.Admission == now.Limits.Admission},
		{"limits.raster", start.Limits.Raster == now.Limits.Raster}, {"limits.picture", start.Limits.Picture == now.Limits.Picture},
		{"limits.archive", start.Limits.Archive == now.Limits.Archive},
		{"limits.upstream", start.Limits.Upstream == now.Limits.Upstream},
		{"limits.requests", start.Limits.Requests.HeaderTimeout == now.Limits.Requests.HeaderTimeout &&
			start.Limits.Requests.BodyTimeout == now.Limits.Requests.BodyTimeout && start.Limits.Requests.HeaderKB == now.Limits.Requests.HeaderKB},
	} {
		if !k.same {
			out = append(out, k.key)
		}
	}
	return out
}

// healthy asks a server's /readyz; nil if it is ready.
func healthy(ctx context.Context, base string) error { return probe(ctx, base, "/readyz") }

// alive asks whether the server at an address of ours answers at all.
func alive(ctx context.Context, at net.Addr) error {
	_, port, err := net.SplitHostPort(at.String())
	if err != nil {
		return nil // no TCP: nothing to ask
	}
	host := at.(*net.TCPAddr).IP
	if host.IsUnspecified() {
		host = net.IPv6loopback
		if at.(*net.TCPAddr).IP.To4() != nil {
			host = net.IPv4(127, 0, 0, 1)
		}
	}
	return probe(ctx, "http://"+net.JoinHostPort(host.String(), port), "/healthz")
}

func probe(ctx context.Context, base, path string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return fmt.Errorf("address %s: %w: %w", base, tilescout.ErrBadInput, err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10)) // for the message only
	if answer.StatusCode != http.StatusOK {
		return errors.New("not ready: " + string(text))
	}
	return nil
}
