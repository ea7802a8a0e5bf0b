package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/plugin"
	"github.com/tilescout/tilescout/plugin/search"
)

func (a *app) searchCommand() *cobra.Command {
	q := plugin.Question{}
	var o answerOptions
	c := &cobra.Command{
		Use:   "search PROMPT...",
		Short: "Find where a prompt is",
		Long: `Rank the tiles of a layer by how well they match a prompt. Several prompts mean any of them;
inside one, AND, OR, -word and "quotes" are understood. Missing tiles are embedded first.`,
		Example: `  tilescout search stadium -s ortho.tif
  tilescout search "storage tanks" --not "parking lot" -s ortho.tif -o geojson > tanks.geojson
  tilescout search harbor --geometry area --threshold 0.5 --config city.yaml --layer city`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			q.Prompts = args
			return a.answer(c, o, func(p *parts, layer string) (*search.Answer, error) {
				if err := search.Check(q.Prompts, q.Not); err != nil {
					return nil, err
				}
				if a.format(answerFormats...) == "geojson" {
					q.Box, q.Limit, q.Threshold, q.Geometry, q.Opacity = o.bound, o.limit, o.threshold, o.geometry, 1
					fc, err := p.plugin.Features(c.Context(), layer, q)
					if err != nil {
						return nil, err
					}
					return nil, a.writeFeatures(fc, o)
				}
				ans, err := p.engine.Search(c.Context(), search.Query{
					Layer: layer, Prompts: q.Prompts, Not: q.Not, Threshold: o.threshold, Box: o.bound, Limit: o.limit,
				})
				return &ans, err
			})
		},
	}
	c.Flags().StringArrayVar(&q.Not, "not", nil, "what the tiles must not show; repeat for several")
	o.flags(a, c)
	return c
}

// answerOptions are the flags of the commands that rank tiles.
type answerOptions struct {
	layer, box, geometry string
	bound                *geo.BBox
	limit                int
	threshold            float64
	noIndex, exitStatus  bool
}

var answerFormats = []string{"table", "json", "geojson", "csv"}

func (o *answerOptions) flags(a *app, c *cobra.Command) {
	a.sourceFlag(c)
	a.outputFlag(c, answerFormats...)
	f := c.Flags()
	f.StringVar(&o.layer, "layer", "", "layer id (default: the only one)")
	f.StringVar(&o.box, "bbox", "", "west,south,east,north in degrees: only this part")
	f.StringVar(&o.geometry, "geometry", "tile", "geometry of geojson: tile, point or area")
	f.IntVarP(&o.limit, "limit", "n", 20, "at most so many matches")
	f.Float64Var(&o.threshold, "threshold", 0, "score from 0 to 1 (default: the model's floor)")
	f.BoolVar(&o.noIndex, "no-index", false, "search what is embedded, embed nothing")
	f.BoolVar(&o.exitStatus, "exit-status", false, "exit with status 3 if nothing matched")
}

// answer opens the layer, embeds what is missing, asks and prints.
func (a *app) answer(c *cobra.Command, o answerOptions, ask func(*parts, string) (*search.Answer, error)) error {
	switch o.geometry {
	case "tile", "point", "area":
	default:
		return fmt.Errorf("--geometry %q: tile, point or area: %w", o.geometry, errUsage)
	}
	if err := a.checkFormat(answerFormats...); err != nil {
		return err
	}
	if o.box != "" {
		b, err := geo.ParseBBox(o.box)
		if err != nil {
			return err
		}
		o.bound = &b
	}
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	p, err := a.open(c.Context(), cfg, forReading)
	if err != nil {
		return err
	}
	defer p.close()
	layer, err := onlyLayer(p, o.layer)
	if err != nil {
		return err
	}
	if !o.noIndex {
		if err := a.embedMissing(c.Context(), p, layer, o.bound); err != nil {
			return err
		}
	}
	ans, err := ask(p, layer)
	if err != nil || ans == nil {
		return err
	}
	if err := a.writeAnswer(p, layer, *ans, o); err != nil {
		return err
	}
	if o.exitStatus && ans.Verdict == search.VerdictNone {
		return errNothing
	}
	return nil
}

func onlyLayer(p *parts, id string) (string, error) {
	layers := p.engine.Layers()
	if id == "" && len(layers) == 1 {
		return layers[0], nil
	}
	for _, l := range layers {
		if l == id {
			return l, nil
		}
	}
	if id == "" {
		return "", fmt.Errorf("several layers: choose with --layer one of %s: %w", strings.Join(layers, ", "), errUsage)
	}
	return "", fmt.Errorf("layer %q is not there; there are %s: %w", id, strings.Join(layers, ", "), tilescout.ErrBadInput)
}
