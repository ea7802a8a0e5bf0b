package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/plugin/search"
)

func (a *app) indexCommand() *cobra.Command {
	var dryRun bool
	var box string
	var overlap int
	c := &cobra.Command{
		Use:   "index [SOURCE...]",
		Short: "Embed whole layers, so that every prompt is answered at once",
		Long: `Embed every tile of the layers at their index zooms. It may be stopped at any time and goes on
where it was. Tiles that fail are skipped and reported. Hosts that forbid bulk fetching are refused.`,
		Example: `  tilescout index ortho.tif
  tilescout index --dry-run --config city.yaml
  tilescout index ortho.tif --bbox 11.5,48.1,11.6,48.2
  tilescout index verify`,
		RunE: func(c *cobra.Command, args []string) error {
			a.sources = append(a.sources, args...)
			return a.index(c, dryRun, box, overlap)
		},
	}
	a.sourceFlag(c)
	c.Flags().BoolVar(&dryRun, "dry-run", false, "count tiles and estimate time and disk, embed only a sample")
	c.Flags().StringVar(&box, "bbox", "", "west,south,east,north in degrees: only this part")
	c.Flags().IntVar(&overlap, "overlap", 0, "1: tiles only; 2: windows half a tile off too, for things that a border cuts (default: 2 up to 4,096 tiles)")
	a.outputFlag(c, "table", "json")
	c.AddCommand(a.indexVerifyCommand(), a.indexListCommand(), a.indexRemoveCommand())
	return c
}

func (a *app) index(c *cobra.Command, dryRun bool, box string, overlap int) error {
	ctx := c.Context()
	var bound *geo.BBox
	if box != "" {
		b, err := geo.ParseBBox(box)
		if err != nil {
			return err
		}
		bound = &b
	}
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	if c.Flags().Changed("overlap") {
		if overlap != 1 && overlap != 2 {
			return fmt.Errorf("--overlap %d: want 1 or 2: %w", overlap, tilescout.ErrBadInput)
		}
		for i := range cfg.Layers {
			cfg.Layers[i].Index.Overlap = overlap
		}
	}
	p, err := a.open(ctx, cfg, forWriting)
	if err != nil {
		return err
	}
	defer p.close()
	failed := 0
	for _, id := range p.engine.Layers() {
		if dryRun {
			est, err := p.engine.EstimateIndex(ctx, id, search.IndexOptions{Box: bound})
			if err != nil {
				return err
			}
			if err := a.printEstimate(est); err != nil {
				return err
			}
			continue
		}
		a.mend(ctx, p, id)
		bar := a.progress("Embedding " + id)
		report, err := p.engine.Index(ctx, id, search.IndexOptions{Box: bound, Progress: bar.update})
		bar.done()
		a.report(id, report)
		if err != nil {
			return err
		}
		failed += report.Failed
		if a.format("table", "json") == "json" {
			_ = json.NewEncoder(a.stdout).Encode(map[string]any{
				"layer": id, "tiles": report.Total, "new": report.New, "blank": report.Blank,
				"failed": report.Failed, "seconds": report.Took.Seconds(),
			})
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d tiles were skipped: %w", failed, tilescout.ErrUpstream)
	}
	return nil
}

// mend reads what is embedded of a layer; what is damaged is set aside, a file at a time, and is embedded again.
func (a *app) mend(ctx context.Context, p *parts, id string) {
	for range 10_000 {
		err := p.engine.Warm(ctx, id)
		if err == nil || ctx.Err() != nil {
			return
		}
		fmt.Fprintf(a.stderr, "tilescout: %s\n", oneLine(err))
	}
}

func (a *app) printEstimate(e search.Estimate) error {
	if a.format("table", "json") == "json" {
		return json.NewEncoder(a.stdout).Encode(e)
	}
	fmt.Fprintf(a.stdout, "%s: %d tiles at zooms %v, %d missing; about %s at %.0f tiles/s, %s on disk\n",
		e.Layer, e.Tiles, e.Zooms, e.Missing, (time.Duration(e.Seconds * float64(time.Second))).Round(time.Second), e.Rate, bytesText(e.Bytes))
	return nil
}

func (a *app) indexVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify",
		Short: "Check every block of the index on disk",
		Long: `Read every block of the index and say which are damaged; nothing is changed. The next tilescout index sets
them aside and embeds their tiles again; a server does so as somebody looks.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			store, err := a.openStore(cfg.Data, true)
			if err != nil {
				return err
			}
			defer store.Close()
			report, err := store.Verify(c.Context())
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "%d sets, %d files, %d tiles, %s: %d problems\n",
				report.Sets, report.Files, report.Rows, bytesText(report.Bytes), len(report.Problems))
			for _, p := range report.Problems {
				fmt.Fprintf(a.stdout, "%s zoom %d, %s: %s\n", p.Key.Layer, p.Key.Zoom, p.File, p.Text)
			}
			if len(report.Problems) > 0 {
				return fmt.Errorf("the index is damaged; what is missing is embedded again by tilescout index")
			}
			return nil
		},
	}
}

func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f kB", float64(n)/(1<<10))
}
