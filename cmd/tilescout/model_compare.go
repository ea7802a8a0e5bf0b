package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/plugin"
	"github.com/tilescout/tilescout/plugin/compare"
	"github.com/tilescout/tilescout/plugin/search"
)

// comparing are the flags of model compare.
type comparing struct {
	prompts    []string
	layer, box string
	bound      *geo.BBox
	out        string
	noIndex    bool
}

// maxCompared bounds the prompts of one comparison: the page has an overlay for each.
const maxCompared = 20

func (a *app) modelCompareCommand() *cobra.Command {
	var o comparing
	c := &cobra.Command{
		Use:   "compare MODEL MODEL",
		Short: "Show two models' answers to the same prompts side by side",
		Long: `Ask two models the same prompts about the same layer: verdicts, best tiles, how many of the best 20 they share, and how
alike they rank all tiles. --out writes a page that needs no server, with both overlays on a map. Missing tiles are embedded
first, each model's beside the other's. Without --prompt, prompts are taken that the models expect on the layer.`,
		Example: `  tilescout model compare bundled models/clip-rsicd -s ortho.tif
  tilescout model compare bundled models/clip-rsicd -s ortho.tif --prompt stadium --prompt "storage tanks" --out compare.html
  tilescout model compare models/a models/b --config city.yaml --layer city -o csv > answers.csv`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.checkFormat("table", "json", "csv"); err != nil {
				return err
			}
			if len(o.prompts) > maxCompared {
				return fmt.Errorf("%d prompts, at most %d: %w", len(o.prompts), maxCompared, errUsage)
			}
			for _, p := range o.prompts {
				if err := search.Check([]string{p}, nil); err != nil {
					return err
				}
			}
			if o.box != "" {
				b, err := geo.ParseBBox(o.box)
				if err != nil {
					return err
				}
				o.bound = &b
			}
			return a.compareModels(c.Context(), args[0], args[1], o)
		},
	}
	a.sourceFlag(c)
	a.outputFlag(c, "table", "json", "csv")
	f := c.Flags()
	f.StringArrayVar(&o.prompts, "prompt", nil, "what to ask; repeat for several")
	f.StringVar(&o.layer, "layer", "", "layer id (default: the only one)")
	f.StringVar(&o.box, "bbox", "", "west,south,east,north in degrees: only this part")
	f.StringVar(&o.out, "out", "", "write a page with both overlays on a map to this file")
	f.BoolVar(&o.noIndex, "no-index", false, "compare what is embedded, embed nothing")
	return c
}

func (a *app) compareModels(ctx context.Context, one, other string, o comparing) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	cfg.Model = one
	p, err := a.open(ctx, cfg, forReading)
	if err != nil {
		return err
	}
	defer p.close()
	layer, err := onlyLayer(p, o.layer)
	if err != nil {
		return err
	}
	second := *p // the same sources and index under another model
	otherConfig := cfg
	otherConfig.Model = other
	enc, err := a.openEncoder(ctx, otherConfig)
	if err != nil {
		return err
	}
	if enc.Model().Digest == p.digest() {
		return errors.Join(fmt.Errorf("%s and %s are the same model (digest %.12s): %w", one, other, p.digest(), tilescout.ErrBadInput), enc.Close())
	}
	if second.brain, err = a.newBrain(ctx, otherConfig, enc, p, forReading); err != nil {
		return err
	}
	defer second.brain.close()
	for i, s := range p.sources {
		if err := second.engine.Add(ctx, s, layerOptions(cfg.Layers[i].Index)); err != nil {
			return err
		}
	}
	if second.plugin, err = newPlugin(ctx, cfg, second.engine); err != nil {
		return err
	}
	if !p.readOnly {
		if err := a.remember(otherConfig, second.engine.Model()); err != nil {
			fmt.Fprintf(a.stderr, "tilescout: the model is not noted down: %s\n", oneLine(err))
		}
	}
	if !o.noIndex {
		for _, side := range []*parts{p, &second} {
			if err := a.embedMissing(ctx, side, layer, o.bound); err != nil {
				return err
			}
		}
	}
	if len(o.prompts) == 0 {
		if o.prompts = compare.Prompts(ctx, p.engine, second.engine, layer, 6); len(o.prompts) == 0 {
			return fmt.Errorf("the models suggest nothing to ask: give --prompt: %w", errUsage)
		}
	}
	report, err := compare.Run(ctx, p.engine, second.engine, layer, o.prompts, o.bound)
	if err != nil {
		return err
	}
	if o.out != "" {
		if err := a.writeComparison(ctx, report, p, &second, layer, o); err != nil {
			return err
		}
	}
	switch a.format("table", "json", "csv") {
	case "json":
		return report.JSON(a.stdout)
	case "csv":
		return report.CSV(a.stdout)
	}
	return report.Text(a.stdout)
}

func (a *app) writeComparison(ctx context.Context, r compare.Report, one, other *parts, layer string, o comparing) error {
	m := compare.Map{Box: o.bound}
	for _, s := range one.sources {
		if s.Info().ID == layer {
			m.Imagery = s
		}
	}
	overlay := func(p *plugin.Plugin) func(string) compare.Overlay {
		return func(prompt string) compare.Overlay {
			return p.SavedLayer(plugin.Saved{ID: "compare", Layer: layer, Prompts: []string{prompt}, Style: plugin.Heat})
		}
	}
	m.A, m.B = overlay(one.plugin), overlay(other.plugin)
	return writeAtomically(o.out, func(w io.Writer) error { return r.HTML(ctx, w, m) })
}
