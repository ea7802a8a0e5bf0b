package main

import (
	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/plugin"
)

// exportFlags are what an export is asked for.
type exportFlags struct {
	out, zooms, box, layer string
	bound                  *geo.BBox
	force                  bool
	q                      plugin.Question
	style                  string
}

func (a *app) exportCommand() *cobra.Command {
	o := exportFlags{}
	c := &cobra.Command{
		Use:   "export SOURCE... --out FILE",
		Short: "Write imagery, an overlay or matches to a file",
		Long: `Write a layer's tiles to MBTiles, PMTiles or one Cloud-Optimized GeoTIFF; with --q its overlay instead. With --q and
--out FILE.geojson, .gpkg or .parquet write the matches. Either the whole file is there in the end, or nothing.
Hosts that forbid bulk fetching are refused.`,
		Example: `  tilescout export ortho.tif --out ortho.pmtiles --zoom 14-19
  tilescout export ortho.tif --q stadium --out stadiums.mbtiles
  tilescout export 'https://tiles.example.org/{z}/{x}/{y}.jpg' --bbox 11.5,48.1,11.6,48.2 --zoom 18 --out city.tif
  tilescout export ortho.tif --q stadium --geometry area --out stadiums.gpkg`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			a.sources = append(a.sources, args...)
			return a.export(c.Context(), o)
		},
	}
	a.sourceFlag(c)
	f := c.Flags()
	f.StringVar(&o.out, "out", "", "file to write (required): .mbtiles, .pmtiles, .tif, .geojson, .gpkg or .parquet")
	f.StringVar(&o.zooms, "zoom", "", "zooms, as 17 or 12-18 (default: the layer's; of an overlay, up to one above the index). A .tif has the finest")
	f.StringVar(&o.box, "bbox", "", "west,south,east,north in degrees: only this part")
	f.StringVar(&o.layer, "layer", "", "layer id (default: the only one)")
	f.BoolVar(&o.force, "force", false, "replace a file that is there")
	f.StringArrayVar(&o.q.Prompts, "q", nil, "prompt: write what matches it, not the imagery; repeat for any of several")
	f.StringArrayVar(&o.q.Not, "not", nil, "what matches must not show")
	f.Float64Var(&o.q.Threshold, "threshold", 0, "score from 0 to 1 (default: the model's floor)")
	f.StringVar(&o.style, "style", "heat", "of an overlay: heat, grid or outline")
	f.BoolVar(&o.q.Detail, "detail", false, "look into tiles: overlay and areas follow what is seen in them")
	f.StringVar(&o.q.Geometry, "geometry", "tile", "of matches: tile, point or area")
	f.IntVarP(&o.q.Limit, "limit", "n", 10_000, "of matches: at most so many")
	return c
}
