package main

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/plugin/eval"
)

func (a *app) evalRobustCommand() *cobra.Command {
	var o evalOptions
	var curve string
	var limit int
	c := &cobra.Command{
		Use:   "robust DIR|FILE.jsonl",
		Short: "Classify labelled pictures under the disturbances that map tiles bring",
		Long: `Print zero-shot accuracy under JPEG compression, colour casts, haze, blur, coarser pixels, nearer and wider views,
transparent and blank parts, map labels and rotations. Random choices depend on a picture's name only.`,
		Example: `  tilescout eval robust scenes.jsonl --labels labels.tsv
  tilescout eval robust scenes.jsonl --labels labels.tsv --limit 300 -o csv
  tilescout eval robust scenes.jsonl --labels labels.tsv --curve gsd`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.evalWith(c, &o, args[0], "Embedding pictures", func(ctx context.Context, enc *encoder.Encoder, set *eval.Set, labels []eval.Label) (eval.Result, error) {
				return eval.Robust(ctx, enc, set, labels, eval.RobustOptions{Options: o.Options, Curve: curve, Limit: limit})
			})
		},
	}
	o.setFlags(a, c)
	o.labelFlags(c)
	c.Flags().StringArrayVar(&o.Templates, "template", nil, `sentence around each label, with one {}; repeat for several (default: the model's own)`)
	c.Flags().StringVar(&curve, "curve", "", "gsd: the curve over ground resolution instead of the table")
	c.Flags().IntVar(&limit, "limit", 0, "at most so many pictures, the same share of each class (default: all)")
	return c
}
