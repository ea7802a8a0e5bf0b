package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/encoder/verify"
)

func (a *app) modelVerifyCommand() *cobra.Command {
	var against, activation string
	c := &cobra.Command{
		Use:   "verify DIR",
		Short: "Prove that a model folder gives what its checkpoint would",
		Long: `Run the model in a folder and hold it against embeddings that a plain, independent computation made from the
checkpoint when it was converted; look at preprocessing, tokenizer, activation and int8 besides. Status 1 if a check fails.`,
		Example: `  tilescout model verify models/clip-rsicd
  tilescout model verify models/clip-rsicd --against clip-rsicd   compute the embeddings anew`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.checkFormat("table", "json"); err != nil {
				return err
			}
			var ckpt *checkpoint.Checkpoint
			if against != "" {
				var err error
				if ckpt, err = checkpoint.Open(c.Context(), against, checkpoint.Options{Activation: activation}); err != nil {
					return err
				}
				defer ckpt.Close()
			}
			checks, err := a.verifyFolder(c.Context(), args[0], ckpt)
			if err != nil {
				return err
			}
			if a.format("table", "json") == "json" {
				err = json.NewEncoder(a.stdout).Encode(checks)
			} else {
				err = writeChecks(a.stdout, checks)
			}
			if err != nil {
				return err
			}
			if n := verify.Failed(checks); n > 0 {
				return fmt.Errorf("model %s: %d of %d checks failed", args[0], n, len(checks))
			}
			return nil
		},
	}
	a.outputFlag(c, "table", "json")
	c.Flags().StringVar(&against, "against", "", "checkpoint to compute the reference from")
	c.Flags().StringVar(&activation, "activation", "", "its activation, where it does not say")
	return c
}

func (a *app) verifyFolder(ctx context.Context, dir string, against *checkpoint.Checkpoint) ([]verify.Check, error) {
	data, err := a.dataDir("")
	if err != nil {
		return nil, err
	}
	return verify.Folder(ctx, dir, verify.Options{
		Encoder:    encoder.Options{Library: a.runtime, DataDir: data, Threads: a.threads, Device: a.device, Provider: a.deviceOptions},
		Checkpoint: against,
	})
}

func writeChecks(out io.Writer, checks []verify.Check) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "CHECK\tRESULT\tDETAIL")
	for _, c := range checks {
		fmt.Fprintf(w, "%s\t%s\t%s\n", c.Name, c.Result, c.Detail)
		if c.Do != "" {
			fmt.Fprintf(w, "\t\t→ %s\n", c.Do)
		}
	}
	return w.Flush()
}
