package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout/encoder/hub"
)

func (a *app) modelRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "remove OWNER/NAME[@REVISION]",
		Short:   "Remove a model that was got from a hub",
		Long:    "Remove a model that was got from a hub, and the files that no other model shares. Model folders that were made\nof it, and indexes, stay.",
		Example: "  tilescout model remove flax-community/clip-rsicd-v2",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir, err := a.modelsDir()
			if err != nil {
				return err
			}
			freed, err := hub.Remove(c.Context(), dir, args[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stderr, "removed %s: %d MB freed\n", args[0], freed>>20)
			return nil
		},
	}
}
