package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout/encoder/hub"
)

func (a *app) modelListCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the models that were got from a hub",
		Example: "  tilescout model list\n  tilescout model list -o json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			dir, err := a.modelsDir()
			if err != nil {
				return err
			}
			models, err := hub.List(dir)
			if err != nil {
				return err
			}
			if a.format("table", "json") == "json" {
				type row struct {
					hub.Model
					Folder string `json:"folder"`
					Bytes  int64  `json:"bytes"`
				}
				rows := make([]row, len(models))
				for i, m := range models {
					rows[i] = row{m, m.Folder, m.Size()}
				}
				return json.NewEncoder(a.stdout).Encode(rows)
			}
			if len(models) == 0 {
				fmt.Fprintln(a.stderr, "no models yet; tilescout model get OWNER/NAME fetches one")
				return nil
			}
			w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			for _, m := range models {
				fmt.Fprintf(w, "%s\t%d MB\t%s\t%.8s\t%s\n", m.Name(), m.Size()>>20, m.Got.Format("2006-01-02"), m.Commit, m.Folder)
			}
			return w.Flush()
		},
	}
	a.outputFlag(c, "table", "json")
	return c
}
