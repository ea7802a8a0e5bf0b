package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/plugin/eval"
)

func (a *app) evalSearchCommand() *cobra.Command {
	var o evalOptions
	var overlap int
	c := &cobra.Command{
		Use:   "search [FILE.jsonl|DIR]",
		Short: "Search on a mosaic of labelled scenes",
		Long: `Lay the scenes on a tile grid, aligned with it and shifted by half a tile, index both mosaics with the real engine
and ask for every label and for synonyms. Prints average precision with fifty distractors for each right scene, precision at
ten, whether the verdict tells presence from absence, and where in a tile the dense output points.
Without scenes, those tiles of the demo scene are taken that show one thing each.`,
		Example: `  tilescout eval search scenes.jsonl --labels labels.tsv
  tilescout eval search scenes.jsonl --labels labels.tsv -o html > search.html`,
		Args: cobra.MaximumNArgs(1),
		PreRunE: func(*cobra.Command, []string) error {
			if overlap < 0 || overlap > 2 {
				return fmt.Errorf("--overlap %d: want 1 or 2: %w", overlap, tilescout.ErrBadInput)
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			return a.evalWith(c, &o, strings.Join(args, ""), "Embedding tiles", func(ctx context.Context, enc *encoder.Encoder, set *eval.Set, labels []eval.Label) (eval.Result, error) {
				so := eval.SearchOptions{Options: o.Options, Overlap: overlap}
				dense, err := a.openDense(ctx)
				switch {
				case err == nil:
					defer dense.Close()
					so.Dense = dense
				case !errors.Is(err, tilescout.ErrUnavailable): // a model without a dense output plays no pointing game
					return nil, err
				}
				return eval.Search(ctx, enc, set, labels, so)
			})
		},
	}
	c.Flags().IntVar(&overlap, "overlap", 0, "1: tiles only; 2: windows half a tile off too (default: as a layer of that size has)")
	o.setFlags(a, c)
	o.labelFlags(c)
	return c
}

// openDense opens the model's dense output as openEncoder opens the model.
func (a *app) openDense(ctx context.Context) (*encoder.Dense, error) {
	cfg, err := a.loadConfig()
	if err != nil {
		return nil, err
	}
	dir, err := a.dataDir(cfg.Data)
	if err != nil {
		return nil, err
	}
	return encoder.OpenDense(ctx, a.encoderOptions(cfg, dir))
}
