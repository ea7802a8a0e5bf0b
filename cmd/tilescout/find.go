package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/plugin/find"
	"github.com/tilescout/tilescout/plugin/search"
	"github.com/tilescout/tilescout/tileserver/source/picture"
)

func (a *app) findCommand() *cobra.Command {
	var out string
	var threshold float64
	var not []string
	limit := 20
	c := &cobra.Command{
		Use:   "find PROMPT... PICTURE",
		Short: "Find where in a photograph something is",
		Long: `Cut a photograph (PNG, JPEG, WebP; no place on the earth needed) into patches and outline those that match.
Several prompts mean any of them. Regions are in pixels from the upper left corner, best first.`,
		Example: `  tilescout find "swimming pool" resort.jpg --out pools.jpg
  tilescout find "storage tanks" port.png -o json`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.checkFormat("table", "json"); err != nil {
				return err
			}
			mediaType, err := outlinedType(out)
			if err != nil {
				return err
			}
			prompts, path := args[:len(args)-1], args[len(args)-1]
			if err := search.Check(prompts, not); err != nil {
				return err
			}
			a.sources = []string{"picture:" + path}
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			p, err := a.open(c.Context(), cfg, forReading)
			if err != nil {
				return err
			}
			defer p.close()
			photo, ok := p.sources[0].(*picture.Source)
			if !ok {
				return fmt.Errorf("%s is no photograph: %w", path, tilescout.ErrBadInput)
			}
			layer := photo.Info().ID
			if err := a.embedMissing(c.Context(), p, layer, nil); err != nil {
				return err
			}
			areas, answer, err := p.engine.Areas(c.Context(), search.Query{
				Layer: layer, Prompts: prompts, Not: not, Threshold: threshold, Limit: limit, Detail: true,
			})
			if err != nil {
				return err
			}
			regions := find.Regions(areas, photo.Pixels)
			if out != "" {
				if err := writeAtomically(out, func(w io.Writer) error { return find.Draw(w, photo.Image(), regions, mediaType) }); err != nil {
					return err
				}
			}
			return a.writeRegions(regions, answer)
		},
	}
	a.outputFlag(c, "table", "json")
	c.Flags().StringVar(&out, "out", "", "write the photograph with the regions outlined to this .png or .jpg file")
	c.Flags().Float64Var(&threshold, "threshold", 0, "score from 0 to 1 (default: the model's)")
	c.Flags().StringArrayVar(&not, "not", nil, "what the regions must not show; repeat for several")
	c.Flags().IntVarP(&limit, "limit", "n", limit, "at most so many regions")
	return c
}

func outlinedType(out string) (string, error) {
	switch strings.ToLower(filepath.Ext(out)) {
	case "":
		if out == "" {
			return "", nil
		}
	case ".png":
		return tilescout.PNG, nil
	case ".jpg", ".jpeg":
		return tilescout.JPEG, nil
	}
	return "", fmt.Errorf("--out %s: a file ending in .png or .jpg: %w", out, errUsage)
}

// writeAtomically leaves the old file or the whole new one.
func writeAtomically(path string, write func(io.Writer) error) error {
	f, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o644))
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer f.Cleanup()
	if err := write(f); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.CloseAtomicallyReplace()
}

func (a *app) writeRegions(regions []find.Region, answer search.Answer) error {
	if a.format("table", "json") == "json" {
		return json.NewEncoder(a.stdout).Encode(map[string]any{
			"verdict": answer.Verdict, "max": digits(answer.Max, 4), "unknown": answer.Unknown, "regions": regions,
		})
	}
	w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
	if len(regions) > 0 {
		fmt.Fprintln(w, "RANK\tSCORE\tX\tY\tWIDTH\tHEIGHT")
	}
	for _, r := range regions {
		fmt.Fprintf(w, "%d\t%.3f\t%d\t%d\t%d\t%d\n", r.Rank, r.Score, r.X, r.Y, r.Width, r.Height)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(a.stdout, verdictText(answer))
	return nil
}
