package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/plugin/eval"
	"github.com/tilescout/tilescout/tileserver/source/demo"
	"github.com/tilescout/tilescout/tileserver/source/geotiff"
)

func (a *app) evalCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "eval",
		Short: "Measure how well a model and its search answer, on labelled scenes",
		Long: `Measure the model that answers, any model: --model takes a folder. Scenes are a .jsonl file with the fields file, class
and captions beside an archive or a folder of pictures, or a folder with one sub-folder per class.`,
		Example: `  tilescout eval zeroshot scenes.jsonl --labels labels.tsv
  tilescout eval retrieval scenes.jsonl
  tilescout eval search scenes.jsonl --labels labels.tsv -o html > search.html
  tilescout eval robust scenes.jsonl --labels labels.tsv`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.evalZeroShotCommand(), a.evalRetrievalCommand(), a.evalSearchCommand(), a.evalRobustCommand())
	return c
}

// evalOptions are the flags that the measurements share.
type evalOptions struct {
	images, labels string
	eval.Options
}

// setFlags are those of every measurement.
func (o *evalOptions) setFlags(a *app, c *cobra.Command) {
	a.outputFlag(c, eval.Formats()...)
	c.Flags().StringVar(&o.images, "images", "", "folder or tar archive of the pictures (default: NAME.tar.gz, NAME.tar or NAME beside NAME.jsonl)")
}

// labelFlags are those of measurements by class.
func (o *evalOptions) labelFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.labels, "labels", "", "labels: a file of lines class<TAB>phrase, the phrase optional, or a list a,b,… (default: the classes of the data)")
	f.BoolVar(&o.SkipUnlabelled, "skip-unlabelled", false, "leave pictures out whose class no label names")
	f.BoolVar(&o.KeepUnseen, "keep-unseen", false, "keep labels that no picture has, as distractors")
}

// templateFlags say how labels and pictures are asked.
func (o *evalOptions) templateFlags(c *cobra.Command) {
	c.Flags().StringArrayVar(&o.Templates, "template", nil, `sentence around each label, with one {}; repeat for several (default: the model's own)`)
	c.Flags().IntVar(&o.TTA, "tta", 1, "orientations of a picture whose embeddings are averaged: 1, 4 or 8")
}

// readLabels reads --labels; nil if it is not given.
func (o *evalOptions) readLabels() ([]eval.Label, error) {
	if strings.TrimSpace(o.labels) == "" {
		return nil, nil
	}
	return eval.ParseLabels(o.labels)
}

// evalWith reads labels and scenes, those of the demo where no file is named, opens the model, measures and prints.
func (a *app) evalWith(c *cobra.Command, o *evalOptions, file, what string, measure func(context.Context, *encoder.Encoder, *eval.Set, []eval.Label) (eval.Result, error)) error {
	if err := a.checkFormat(eval.Formats()...); err != nil {
		return err
	}
	labels, err := o.readLabels()
	if err != nil {
		return err
	}
	ctx := c.Context()
	var set *eval.Set
	if file == "" {
		set, err = a.demoSet(c)
	} else {
		set, err = eval.OpenSet(ctx, file, o.images)
	}
	if err != nil {
		return err
	}
	defer set.Close()
	if c.Flags().Lookup("labels") != nil { // what is wrong with the data is said before a model is looked for
		if err := eval.CheckSet(set, labels, o.Options); err != nil {
			return err
		}
	}
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	enc, err := a.openEncoder(ctx, cfg)
	if err != nil {
		return err
	}
	defer enc.Close()
	bar := a.progress(what)
	o.Progress = bar.count
	result, err := measure(ctx, enc, set, labels)
	bar.done()
	if err != nil {
		return err
	}
	return eval.Write(a.stdout, a.format(eval.Formats()...), result)
}

// demoSet draws the demo scene, or finds it drawn, and takes labelled scenes out of it.
func (a *app) demoSet(c *cobra.Command) (*eval.Set, error) {
	if err := a.paintDemo(c, demo.Seed); err != nil {
		return nil, err
	}
	truth, err := demo.ReadTruth(strings.TrimSuffix(a.sources[0], ".tif") + ".geojson")
	if err != nil {
		return nil, err
	}
	source, err := geotiff.Open(c.Context(), a.sources[0], tilescout.LayerInfo{ID: "demo"})
	if err != nil {
		return nil, err
	}
	defer source.Close()
	return eval.DemoSet(c.Context(), source, truth)
}
