package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/encoder/hub"
)

// modelInfo is what model info says of a checkpoint.
type modelInfo struct {
	Path          string                   `json:"path"`
	Name          string                   `json:"name"`
	Format        string                   `json:"format"`
	Parameters    int64                    `json:"parameters"`
	LogitScale    float64                  `json:"logitScale"`
	Architecture  checkpoint.Architecture  `json:"architecture"`
	Preprocessing checkpoint.Preprocessing `json:"preprocessing"`
	Tokenizer     checkpoint.Tokenizer     `json:"tokenizer"`
	Unused        []string                 `json:"unused"` // tensors of the file that are no part of the model
}

func (a *app) modelInfoCommand() *cobra.Command {
	check := false
	c := &cobra.Command{
		Use:   "info CHECKPOINT",
		Short: "Say what a checkpoint is",
		Long: `Say what a checkpoint is: a folder, a file, or the name of a model that was got from a hub. Only headers are
read, but with --check every weight is, to find damaged ones.`,
		Example: `  tilescout model info flax-community/clip-rsicd-v2
  tilescout model info RemoteCLIP-ViT-B-32.pt --check`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := a.checkpointPath(args[0])
			if err != nil {
				return err
			}
			k, err := checkpoint.Open(c.Context(), path, checkpoint.Options{})
			if errors.Is(err, checkpoint.ErrONNX) {
				return a.printReady(path)
			}
			if err != nil {
				return err
			}
			defer k.Close()
			if check {
				if err := k.Check(c.Context()); err != nil {
					return err
				}
			}
			return a.printInfo(path, k)
		},
	}
	c.Flags().BoolVar(&check, "check", false, "read every weight and refuse what is not finite")
	a.outputFlag(c, "table", "json")
	return c
}

// checkpointPath is a path as it is, or the folder of a model that was got from a hub.
func (a *app) checkpointPath(name string) (string, error) {
	if _, err := os.Stat(name); err == nil || !hub.IsName(name) {
		return name, nil
	}
	dir, err := a.modelsDir()
	if err != nil {
		return "", err
	}
	m, err := hub.Find(dir, name)
	if errors.Is(err, tilescout.ErrNotFound) {
		return "", fmt.Errorf("%w (and no file or folder of that name)", err)
	}
	return m.Folder, err
}

func (a *app) printInfo(path string, k *checkpoint.Checkpoint) error {
	info := modelInfo{
		Path: path, Name: k.Architecture().Name(), Format: k.Format(), LogitScale: k.LogitScale(), Architecture: k.Architecture(),
		Preprocessing: k.Preprocessing(), Tokenizer: k.Tokenizer(), Unused: k.Unused(),
	}
	for _, name := range k.Names() {
		n := int64(1)
		for _, s := range k.Shape(name) {
			n *= int64(s)
		}
		info.Parameters += n
	}
	if a.format("table", "json") == "json" {
		return json.NewEncoder(a.stdout).Encode(info)
	}
	m, p := info.Architecture, info.Preprocessing
	fmt.Fprintf(a.stdout, "%s: %s\nformat         %s, %.1f million parameters\n", path, info.Name, info.Format, float64(info.Parameters)/1e6)
	fmt.Fprintf(a.stdout, "image tower    %d × %d pixels, patches of %d, %d layers of %d, %d heads\n", m.ImageSize, m.ImageSize, m.PatchSize, max(m.Layers, m.Stages[0]+m.Stages[1]+m.Stages[2]+m.Stages[3]), m.Width, m.Heads)
	fmt.Fprintf(a.stdout, "text tower     %d tokens of %d, %d layers of %d, %d heads\n", m.TextContext, m.Vocabulary, m.TextLayers, m.TextWidth, m.TextHeads)
	fmt.Fprintf(a.stdout, "embedding      %d, logit scale %.4g\n", m.Dimension, info.LogitScale)
	fmt.Fprintf(a.stdout, "activation     %s (%s)\n", m.Activation, m.ActivationFrom)
	fmt.Fprintf(a.stdout, "preprocessing  %s, %s, mean %.4g, std %.4g (%s)\n", p.Resize, p.Filter, p.Mean, p.Std, p.From)
	if info.Tokenizer.Folder == "" {
		fmt.Fprintln(a.stdout, "vocabulary     none beside the weights: CLIP's own is taken, or what --vocabulary names")
	} else {
		fmt.Fprintf(a.stdout, "vocabulary     %s, cleaned as %s\n", strings.Join(info.Tokenizer.Files, " and "), info.Tokenizer.Cleaning)
	}
	if m.ActivationFrom == "guess" {
		fmt.Fprintln(a.stderr, "tilescout: the activation is a guess; if the model's authors say otherwise, convert with --activation")
	}
	if len(info.Unused) > 0 {
		fmt.Fprintf(a.stdout, "not used       %d tensors, such as %s\n", len(info.Unused), info.Unused[0])
	}
	return nil
}
