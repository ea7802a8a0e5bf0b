package main

import (
	"context"
	"fmt"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/plugin/eval"
)

func (a *app) evalZeroShotCommand() *cobra.Command {
	var o evalOptions
	var scores, save string
	c := &cobra.Command{
		Use:   "zeroshot [DIR|FILE.jsonl]",
		Short: "Classify labelled pictures by the words of their classes",
		Long: `Print how often the right label is among the first 1, 3, 5 and 10, per class, what is taken for what, how far
probabilities and verdicts can be believed, and whether the thresholds stored with the model still hold.
--scores computes the same table from a file of probabilities, without a model.`,
		Example: `  tilescout eval zeroshot scenes.jsonl --labels labels.tsv
  tilescout eval zeroshot photos/ --labels "airport,beach,forest" --template "a photo of a {}"
  tilescout eval zeroshot scenes.jsonl --labels labels.tsv -o html > report.html
  tilescout eval zeroshot --scores baseline.tsv`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case scores != "" && len(args) > 0:
				return fmt.Errorf("give scenes or --scores, not both: %w", errUsage)
			case scores != "" && (save != "" || o.images != "" || len(o.Templates) > 0 || c.Flags().Changed("tta")):
				return fmt.Errorf("--scores needs no model: --images, --template, --tta and --save-scores do not go with it: %w", errUsage)
			case scores != "":
				return a.evalScores(&o, scores)
			case len(args) == 0:
				return fmt.Errorf("name a folder or a .jsonl file of labelled pictures, or --scores FILE.tsv: %w", errUsage)
			}
			return a.evalWith(c, &o, args[0], "Embedding pictures", func(ctx context.Context, enc *encoder.Encoder, set *eval.Set, labels []eval.Label) (eval.Result, error) {
				p, err := eval.ZeroShot(ctx, enc, set, labels, o.Options)
				if err != nil {
					return nil, err
				}
				if err := saveScores(p, save); err != nil {
					return nil, err
				}
				r := p.Report()
				if a.format(eval.Formats()...) == "html" {
					p.Illustrate(r)
				}
				return r, nil
			})
		},
	}
	o.setFlags(a, c)
	o.labelFlags(c)
	o.templateFlags(c)
	c.Flags().StringVar(&scores, "scores", "", "file of probabilities instead of pictures: picture, class, then up to ten times class and probability; tab separated")
	c.Flags().StringVar(&save, "save-scores", "", "write the probabilities to this file, in the same form")
	return c
}

// evalScores prints the table of a file of probabilities.
func (a *app) evalScores(o *evalOptions, file string) error {
	if err := a.checkFormat(eval.Formats()...); err != nil {
		return err
	}
	labels, err := o.readLabels()
	if err != nil {
		return err
	}
	p, err := eval.OpenScores(file, labels)
	if err != nil {
		return err
	}
	return eval.Write(a.stdout, a.format(eval.Formats()...), p.Report())
}

// saveScores writes the file whole or not at all.
func saveScores(p *eval.Predictions, file string) error {
	if file == "" {
		return nil
	}
	f, err := renameio.NewPendingFile(file, renameio.WithPermissions(0o644))
	if err != nil {
		return fmt.Errorf("--save-scores: %w", err)
	}
	defer f.Cleanup()
	if err := p.WriteScores(f); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}
