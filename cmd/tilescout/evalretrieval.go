package main

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/plugin/eval"
)

func (a *app) evalRetrievalCommand() *cobra.Command {
	var o evalOptions
	c := &cobra.Command{
		Use:   "retrieval FILE.jsonl",
		Short: "Find captions by pictures and pictures by captions",
		Long: `Print recall at 1, 5 and 10 both ways, and their mean mR. The captions are those of the lines of the file;
any of a picture's own captions counts.`,
		Example: `  tilescout eval retrieval scenes.jsonl
  tilescout eval retrieval captions.jsonl --images pictures.tar.gz -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.evalWith(c, &o, args[0], "Embedding pictures", func(ctx context.Context, enc *encoder.Encoder, set *eval.Set, _ []eval.Label) (eval.Result, error) {
				return eval.Retrieve(ctx, enc, set, o.Options)
			})
		},
	}
	o.setFlags(a, c)
	c.Flags().IntVar(&o.TTA, "tta", 1, "orientations of a picture whose embeddings are averaged: 1, 4 or 8")
	return c
}
