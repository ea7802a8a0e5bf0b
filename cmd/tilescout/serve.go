package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout/internal/cores"
	"github.com/tilescout/tilescout/plugin/search"
	"github.com/tilescout/tilescout/tileserver/config"
	"golang.org/x/sync/errgroup"
)

func (a *app) serveCommand() *cobra.Command {
	var o serveOptions
	c := &cobra.Command{
		Use:   "serve [SOURCE...]",
		Short: "Serve tiles, WMTS, overlays and search",
		Long: `Serve the layers of the config file, or the sources given here, to browsers, QGIS and other programs.
Tiles are embedded as somebody looks at them; --index embeds whole layers at the start.`,
		Example: `  tilescout serve ortho.tif
  tilescout serve --listen :8080 --public-url https://maps.example.org/scout --config city.yaml
  tilescout serve 'https://tiles.example.org/{z}/{x}/{y}.jpg'`,
		RunE: func(c *cobra.Command, args []string) error {
			a.sources = append(a.sources, args...)
			return a.serve(c.Context(), o)
		},
	}
	a.sourceFlag(c)
	o.flags(c)
	c.Flags().BoolVar(&o.index, "index", false, "embed whole layers at the start")
	return c
}

// serveOptions are the flags of the commands that serve.
type serveOptions struct {
	listen, publicURL string
	index             bool
	greet             func(url string)
}

func (o *serveOptions) flags(c *cobra.Command) {
	c.Flags().StringVar(&o.listen, "listen", "", "address to listen on (default localhost:8080)")
	c.Flags().StringVar(&o.publicURL, "public-url", "", "address under which clients reach this server, behind a proxy")
}

// serve is the whole program at a glance: sources → encoder → cache → engine → plugin → server.
func (a *app) serve(ctx context.Context, o serveOptions) error {
	read := func() (config.Config, error) {
		cfg, err := a.loadConfig()
		cfg.Listen, cfg.PublicURL = cmp.Or(o.listen, cfg.Listen), cmp.Or(o.publicURL, cfg.PublicURL)
		return cfg, err
	}
	cfg, err := read()
	if err != nil {
		return err
	}
	log := newLog(a.stderr, cfg.LogLevel)
	useMemoryLimit(log)
	cores.Spare()
	p, err := a.open(ctx, cfg, forServing)
	if err != nil {
		return err
	}
	defer p.close()
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w; another program may use the port: try --listen localhost:8081", cfg.Listen, err)
	}
	defer listener.Close()
	l, err := a.live(ctx, cfg, p, read, log, o.index)
	if err != nil {
		return err
	}
	defer l.close()
	url := browseURL(cfg, listener.Addr())
	fmt.Fprintf(a.stderr, "Tilescout %s: %s\n", version, url)
	systemd := newNotifier(os.LookupEnv)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.server.Serve(ctx, listener) })
	g.Go(func() error { return l.serveAdmin(ctx, cfg.Admin) })
	g.Go(func() error { return l.follow(ctx, systemd) })
	g.Go(func() error {
		systemd.watchdog(ctx, os.LookupEnv, func(ctx context.Context) error { return alive(ctx, listener.Addr()) })
		return nil
	})
	if o.greet != nil {
		o.greet(url)
	}
	systemd.say("READY=1")
	return g.Wait()
}

// maxUnasked bounds what is embedded ahead by commands that were not asked to: some minutes of work.
const maxUnasked = 100_000

// indexAll embeds what is missing of every layer, with progress. A layer that may not be fetched as a whole
// is named and left to be embedded as somebody looks.
func (a *app) indexAll(ctx context.Context, e *search.Engine) {
	for _, id := range e.Layers() {
		if n, err := e.JobSize(id, nil); err != nil || n > maxUnasked {
			fmt.Fprintf(a.stderr, "tilescout: layer %s has %d tiles: they are embedded as you look; tilescout index --bbox … embeds a part ahead\n", id, n)
			continue
		}
		bar := a.progress("Embedding " + id)
		report, err := e.Index(ctx, id, search.IndexOptions{Progress: bar.update})
		bar.done()
		if ctx.Err() != nil {
			return // the server is stopping; what was embedded is kept
		}
		if err != nil {
			fmt.Fprintf(a.stderr, "tilescout: %s\n", oneLine(err))
			continue
		}
		a.report(id, report)
	}
}

func (a *app) report(id string, r search.Report) {
	if a.quiet {
		return
	}
	if r.New > 0 {
		fmt.Fprintf(a.stderr, "%s: %d tiles embedded in %s (%.0f tiles/s), %d known before, %d without content\n",
			id, r.New, r.Took.Round(10*time.Millisecond), float64(r.New)/max(r.Took.Seconds(), .001), r.Done-r.New-r.Blank, r.Blank)
	}
	if r.Failed > 0 {
		fmt.Fprintf(a.stderr, "%s: %d tiles skipped; run tilescout index again to retry them\n", id, r.Failed)
		for _, f := range r.Failures {
			fmt.Fprintf(a.stderr, "  %d/%d/%d: %s\n", f.Tile.Z, f.Tile.X, f.Tile.Y, oneLine(f.Err))
		}
	}
}
