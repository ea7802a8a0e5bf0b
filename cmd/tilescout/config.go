package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) configCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Check the config file and print what it comes to",
		Example: `  tilescout config --config city.yaml
  tilescout config check`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			return cfg.Print(a.stdout)
		},
	}
	c.AddCommand(&cobra.Command{
		Use:   "check",
		Short: "Say whether the config file is valid",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "valid: %d layers, %d searches\n", len(cfg.Layers), len(cfg.Searches))
			return nil
		},
	})
	return c
}
