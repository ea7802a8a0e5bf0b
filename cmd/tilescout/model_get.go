package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/encoder/hub"
)

func (a *app) modelGetCommand() *cobra.Command {
	o := hub.Options{}
	c := &cobra.Command{
		Use:   "get OWNER/NAME[@REVISION]",
		Short: "Get a checkpoint from the Hugging Face hub",
		Long: `Get the files of a model that are needed, nothing else: the weights in one format, config, vocabulary and
preprocessing. A download that broke is gone on with, every file is checked against the hub's checksum, and what
models share is kept once. The folder is printed.

HF_TOKEN (or HF_TOKEN_PATH, a file) opens private models and those with terms to accept; it is sent to the hub
alone. HF_ENDPOINT or --endpoint name a mirror.`,
		Example: `  tilescout model get flax-community/clip-rsicd-v2
  tilescout model get owner/RemoteCLIP --file RemoteCLIP-ViT-B-32.pt
  tilescout model convert "$(tilescout model get flax-community/clip-rsicd-v2)" --out models/clip-rsicd`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.getModel(c, args[0], o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Endpoint, "endpoint", "", "address of the hub or a mirror (default HF_ENDPOINT, else "+hub.DefaultEndpoint+")")
	f.StringVar(&o.File, "file", "", "weight file to get, where the model has several")
	f.BoolVar(&o.Force, "force", false, "get the files again though they are there")
	return c
}

// modelsDir is where models are kept.
func (a *app) modelsDir() (string, error) {
	dir, err := a.dataDir("")
	return filepath.Join(dir, "models"), err
}

func (a *app) getModel(c *cobra.Command, name string, o hub.Options) error {
	var err error
	if o.Dir, err = a.modelsDir(); err != nil {
		return err
	}
	o.Endpoint = cmp.Or(o.Endpoint, os.Getenv("HF_ENDPOINT"))
	if o.Token, err = token(); err != nil {
		return err
	}
	var shown *bar
	file := ""
	m, err := hub.Get(c.Context(), name, o, func(path string, done, total int64) {
		if path != file {
			if shown != nil {
				shown.done()
			}
			file, shown = path, a.progress(path)
		}
		shown.count(int(done>>10), int(total>>10))
	})
	if shown != nil {
		shown.done()
	}
	if err != nil {
		return err
	}
	k, err := checkpoint.Open(c.Context(), m.Folder, checkpoint.Options{})
	if err == nil {
		fmt.Fprintf(a.stderr, "%s: %s, %s, %d MB\n", m.Name(), k.Architecture().Name(), k.Format(), m.Size()>>20)
		_ = k.Close()
	} else if _, graphs := checkpoint.FindONNX(m.Folder); graphs != nil {
		return fmt.Errorf("%s is here, but cannot be used: %w", m.Name(), err)
	}
	fmt.Fprintln(a.stdout, m.Folder)
	return nil
}

// token reads the hub's token from the environment, from where the hub's own tools have it.
func token() (string, error) {
	if t := cmp.Or(os.Getenv("HF_TOKEN"), os.Getenv("HUGGING_FACE_HUB_TOKEN")); t != "" {
		return t, nil
	}
	path := os.Getenv("HF_TOKEN_PATH")
	if path == "" {
		return "", nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("HF_TOKEN_PATH: %w", err)
	}
	return firstLine(raw), nil
}

func firstLine(raw []byte) string {
	for i, b := range raw {
		if b <= ' ' {
			return string(raw[:i])
		}
	}
	return string(raw)
}
