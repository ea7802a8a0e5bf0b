package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"github.com/gorilla/mux"
	"github.com/paulmach/orb/maptile"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver"
	"github.com/tilescout/tilescout/tileserver/config"
	"github.com/tilescout/tilescout/web"
)

// server puts the tile server over the parts. more sets what only a running program has; nil for none.
func (p *parts) server(ctx context.Context, cfg config.Config, more func(*tileserver.Options)) (*tileserver.Server, error) {
	o, err := p.options(cfg)
	if err != nil {
		return nil, err
	}
	o.Registry = prometheus.NewRegistry()
	if p.current == nil {
		p.current = &atomic.Pointer[brain]{}
		p.current.Store(&p.brain)
	}
	o.Registry.MustRegister(&engineMetrics{p.current})
	if p.kinds.XYZ.Hosts != nil {
		o.Registry.MustRegister(&upstreamMetrics{hosts: p.kinds.XYZ.Hosts, cache: p.dirCache})
	}
	if more != nil {
		more(&o)
	}
	return tileserver.New(o)
}

// classes are what the plugin's routes cost, by name. What is not here costs nothing worth holding back.
var classes = map[string]tileserver.Class{
	"search": tileserver.Scan, "similar": tileserver.Scan,
	"search.tile": tileserver.Embed, "similar.picture": tileserver.Embed,
	"overlay.png": tileserver.Embed, "overlay.mvt": tileserver.Embed,
	"classify.tile": tileserver.Embed, "classify.picture": tileserver.Embed,
	"index.fill": tileserver.Embed,
}

// options are what the tile server is to serve: layers from the sources, saved searches as layers, the plugin's routes.
func (p *parts) options(cfg config.Config) (tileserver.Options, error) {
	o := tileserver.Options{
		PublicURL: cfg.PublicURL, BasePath: cfg.BasePath, TrustedProxies: cfg.TrustedProxies, Version: version,
		Web: web.FS(), WebMissing: web.Missing(), OpenAPI: tilescout.OpenAPI,
		Register: []func(*mux.Router){p.plugin.Register}, Classes: classes,
		Origins: cfg.CORS, Requests: requestLimits(cfg.Limits),
		CacheBytes: int64(cfg.Limits.CacheMB) << 20, MaxConnections: cfg.Limits.Connections, DrainDelay: cfg.Limits.DrainDelay,
		Admission: p.admit, Budget: p.budget, MetricsElsewhere: cfg.Admin.Listen != "",
		Ready: func() tileserver.Readiness { return tileserver.Readiness{Degraded: p.degradedNow()} },
	}
	for _, k := range cfg.Keys {
		key, err := k.Open(os.LookupEnv)
		if err != nil {
			return o, fmt.Errorf("key %q: %w: %w", k.ID, tilescout.ErrBadInput, err)
		}
		o.Keys = append(o.Keys, key)
	}
	for i, s := range p.sources {
		o.Layers = append(o.Layers, tileserver.Layer{Tiles: s, Remote: config.IsURL(strings.TrimPrefix(cfg.Layers[i].Source, "file://"))})
	}
	if p.engine != nil {
		for _, saved := range savedSearches(cfg) {
			l := p.plugin.SavedLayer(saved)
			o.Layers = append(o.Layers, tileserver.Layer{Tiles: l, Dynamic: true, Revision: l.Revision, Over: saved.Layer})
		}
		o.Revision = p.engine.Revision
		o.State = func(id string) any {
			state, err := p.engine.State(id, nil)
			if err != nil {
				return nil
			}
			return state
		}
		o.FeatureInfo = p.featureInfo
	}
	return o, nil
}

// degradedNow lists what does not work at the moment though tiles are served.
func (p *parts) degradedNow() []string {
	out := append([]string{}, p.degraded...)
	if p.engine != nil {
		for _, id := range p.engine.Layers() {
			if err := p.engine.WriteError(id); err != nil {
				out = append(out, "index-write: "+id)
			}
		}
	}
	return out
}

// featureInfo answers WMTS GetFeatureInfo: what the model sees at a pixel.
func (p *parts) featureInfo(ctx context.Context, layer string, t maptile.Tile, i, j int) (map[string]any, error) {
	zooms, err := p.engine.Zooms(layer)
	if errors.Is(err, tilescout.ErrNotFound) {
		return nil, nil // a saved search: layer, tile and position only
	}
	if err != nil {
		return nil, err
	}
	for t.Z < zooms[0] {
		half := 128
		t = maptile.New(t.X*2+uint32(i/half), t.Y*2+uint32(j/half), t.Z+1)
		i, j = i%half*2, j%half*2
	}
	for t.Z > zooms[0] {
		t = t.Parent()
	}
	answer, err := p.engine.Tile(ctx, layer, t, nil, nil)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"indexTile": []uint32{uint32(t.Z), t.X, t.Y}}
	for n, l := range answer.Top {
		if n == 0 {
			out["concept"], out["probability"] = l.Label, l.Probability
		}
	}
	return out, nil
}
