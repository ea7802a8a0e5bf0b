package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout/encoder/onnxruntime"
)

func (a *app) runtimeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "runtime",
		Short: "Install or check the ONNX Runtime library that runs the model",
	}
	c.AddCommand(a.runtimeInstallCommand(), a.runtimeCheckCommand())
	return c
}

func (a *app) runtimeInstallCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "install",
		Short:   "Download the official ONNX Runtime library into the data folder",
		Example: "  tilescout runtime install\n  HTTPS_PROXY=http://proxy:3128 tilescout runtime install",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := a.dataDir("")
			if err != nil {
				return err
			}
			bar := a.progress("ONNX Runtime " + onnxruntime.Version)
			path, err := onnxruntime.Install(c.Context(), onnxruntime.Options{Dir: dir}, func(done, total int64) {
				bar.count(int(done>>10), int(total>>10))
			})
			bar.done()
			if err != nil {
				return err
			}
			fmt.Fprintln(a.stdout, path)
			return nil
		},
	}
}

func (a *app) runtimeCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Say which ONNX Runtime library is used and whether it loads",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			dir, err := a.dataDir("")
			if err != nil {
				return err
			}
			path, err := onnxruntime.Find(onnxruntime.Search{Flag: a.runtime, DataDir: dir})
			if err != nil {
				return err
			}
			rt, err := onnxruntime.Load(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "ONNX Runtime %s: %s\n", rt.Version, path)
			return nil
		},
	}
}
