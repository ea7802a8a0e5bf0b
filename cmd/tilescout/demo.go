package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout/tileserver/source/demo"
)

func (a *app) demoCommand() *cobra.Command {
	var o serveOptions
	var seed uint64
	var drawOnly bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show a map of a drawn scene, or of your own imagery, ready to search",
		Long: `Draw an aerial scene (once), embed it and open a map to search in. Nothing is downloaded.
With --source the same is shown on your own imagery.`,
		Example: `  tilescout demo
  tilescout demo --source ortho.tif
  tilescout demo --source 'https://tiles.example.org/{z}/{x}/{y}.jpg'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.index = true
			prompt := "stadium"
			if len(a.sources) == 0 {
				if err := a.paintDemo(c, seed); err != nil {
					return err
				}
			}
			if drawOnly {
				fmt.Fprintln(a.stdout, a.sources[0])
				return nil
			}
			o.greet = func(url string) {
				fmt.Fprintf(a.stderr, "\n  Open %s and type %q. Ctrl-C ends.\n\n", url, prompt)
			}
			return a.serve(c.Context(), o)
		},
	}
	a.sourceFlag(c)
	o.flags(c)
	c.Flags().Uint64Var(&seed, "seed", demo.Seed, "another seed draws another place")
	c.Flags().BoolVar(&drawOnly, "draw-only", false, "draw the scene, print the path of its GeoTIFF, serve nothing")
	return c
}

// paintDemo draws the scene, or finds it drawn, and makes it the only layer.
func (a *app) paintDemo(c *cobra.Command, seed uint64) error {
	dir, err := a.dataDir("")
	if err != nil {
		return err
	}
	bar := a.progress("Drawing the scene")
	scene, err := demo.Ensure(c.Context(), filepath.Join(dir, "demo"), demo.Options{Seed: seed}, bar.count)
	bar.done()
	if err != nil {
		return fmt.Errorf("draw the demo scene: %w", err)
	}
	a.sources = []string{scene.Image}
	a.titles = map[string]layerText{scene.Image: {
		id: "demo", title: scene.Title, attribution: strings.TrimSpace(scene.Attribution),
	}}
	return nil
}
