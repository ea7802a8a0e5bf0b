package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"time"

	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout/tileserver/config"
)

func (a *app) healthcheckCommand() *cobra.Command {
	var url string
	var wait time.Duration
	c := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a running server whether it is ready",
		Long: `Exit with 0 if the server of this config is ready, else with 1. It asks /readyz on admin.listen or listen.
Containers and load balancers without an HTTP client of their own can call it.`,
		Example: `  tilescout healthcheck
  tilescout healthcheck --url http://localhost:9090`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if url == "" {
				cfg, err := a.loadConfig()
				if err != nil {
					return err
				}
				url = probeURL(cfg)
			}
			ctx, cancel := context.WithTimeout(c.Context(), wait)
			defer cancel()
			if err := healthy(ctx, url); err != nil {
				return fmt.Errorf("%s: %w", url, err)
			}
			return nil
		},
	}
	c.Flags().StringVar(&url, "url", "", "address of the server (default: as the config says)")
	c.Flags().DurationVar(&wait, "timeout", 3*time.Second, "how long to wait for the answer")
	return c
}

// probeURL is where a server with this config answers on this machine.
func probeURL(cfg config.Config) string {
	host, port, err := net.SplitHostPort(cmp.Or(cfg.Admin.Listen, cfg.Listen))
	if err != nil { // the config was checked
		return "http://localhost:8080"
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}
