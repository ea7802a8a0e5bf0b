package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout/plugin/search"
)

func (a *app) classifyCommand() *cobra.Command {
	var labels, template, layer string
	formats := []string{"table", "json"}
	c := &cobra.Command{
		Use:   "classify PICTURE|z/x/y",
		Short: "Give the probabilities of labels for a picture or a tile",
		Example: `  tilescout classify stadium.jpg --labels "residential area,playground,stadium,forest,airport"
  tilescout classify 17/67890/43210 -s ortho.tif`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.checkFormat(formats...); err != nil {
				return err
			}
			var list []string
			for l := range strings.SplitSeq(labels, ",") {
				if l = strings.TrimSpace(l); l != "" {
					list = append(list, l)
				}
			}
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			tile, tileErr := search.ParseTileName(args[0])
			if tileErr != nil && len(cfg.Layers) > 0 {
				cfg.Layers = nil // a picture needs no layer
			}
			p, err := a.open(c.Context(), cfg, forReading)
			if err != nil {
				return err
			}
			defer p.close()
			var out []search.LabelProbability
			if tileErr == nil {
				id, err := onlyLayer(p, layer)
				if err != nil {
					return err
				}
				out, err = p.engine.ClassifyTile(c.Context(), id, tile, list, template)
				if err != nil {
					return err
				}
				return a.writeLabels(out)
			}
			picture, err := readPicture(args[0])
			if err != nil {
				return err
			}
			if out, err = p.engine.ClassifyPicture(c.Context(), picture, list, template); err != nil {
				return err
			}
			return a.writeLabels(out)
		},
	}
	a.sourceFlag(c)
	a.outputFlag(c, formats...)
	c.Flags().StringVar(&labels, "labels", "", "labels separated by commas (default: the model's own concepts)")
	c.Flags().StringVar(&template, "template", "", `sentence around each label (default "a photo of a {}")`)
	c.Flags().StringVar(&layer, "layer", "", "layer of the tile")
	return c
}

func (a *app) writeLabels(labels []search.LabelProbability) error {
	if a.format("table", "json") == "json" {
		return json.NewEncoder(a.stdout).Encode(labels)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
	for _, l := range labels[:min(10, len(labels))] {
		note := ""
		if len(l.Unknown) > 0 {
			note = "\tnot learned: " + strings.Join(l.Unknown, ", ")
		}
		fmt.Fprintf(w, "%.5f\t%s%s\n", l.Probability, l.Label, note)
	}
	return w.Flush()
}
