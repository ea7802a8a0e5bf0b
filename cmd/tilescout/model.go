package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) modelCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "model",
		Short: "Say which model answers and what it knows",
		Example: `  tilescout model
  tilescout model -o json
  tilescout model --model path/to/folder`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			enc, err := a.openEncoder(c.Context(), cfg)
			if err != nil {
				return err
			}
			defer enc.Close()
			m := enc.Model()
			if a.format("table", "json") == "json" {
				return json.NewEncoder(a.stdout).Encode(m)
			}
			words := fmt.Sprintf("%d words", len(m.Words))
			if len(m.Words) == 0 {
				words = "any text"
			}
			fmt.Fprintf(a.stdout, "%s — %s\n", m.ID, m.Title)
			fmt.Fprintf(a.stdout, "licence    %s\ndigest     %s\ninput      %d × %d pixels\ndimension  %d\nruntime    ONNX Runtime %s, %s\nknows      %s, %d concepts:\n",
				m.Licence, m.Digest, m.InputSize, m.InputSize, m.Dimension, m.Runtime, m.Provider, words, len(m.Concepts))
			for _, k := range m.Concepts {
				if k.Suggest {
					fmt.Fprintf(a.stdout, "  %s\n", k.Phrase)
				}
			}
			return nil
		},
	}
	a.outputFlag(c, "table", "json")
	c.AddCommand(a.modelGetCommand(), a.modelListCommand(), a.modelInfoCommand(), a.modelRemoveCommand(),
		a.modelConvertCommand(), a.modelVerifyCommand(), a.modelCompareCommand())
	return c
}
