package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/paulmach/orb/maptile"
	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/demo"
)

// How many pictures int8 is fitted to, and how many tiles are asked for to get them.
const (
	samplePictures = 192
	sampleTries    = 1000
	sampleZoom     = 18 // the deepest that is of use: a tile is then some 100 m wide
)

// samplePictures takes pictures evenly from a folder or from the tiles of a source; "" is the demo scene.
func (a *app) samplePictures(c *cobra.Command, from string) ([]tilescout.Picture, error) {
	if isFolder(from) {
		return folderPictures(c.Context(), from)
	}
	if from == "" {
		if err := a.paintDemo(c, demo.Seed); err != nil {
			return nil, err
		}
	} else {
		a.sources = []string{from}
	}
	cfg, err := a.loadConfig()
	if err != nil {
		return nil, err
	}
	p := &parts{}
	defer p.close()
	if err := a.openSources(c.Context(), cfg, p); err != nil {
		return nil, err
	}
	if len(p.sources) == 0 {
		return nil, fmt.Errorf("--calibrate %s: no source of tiles: %w", from, tilescout.ErrBadInput)
	}
	return sampleTiles(c.Context(), p.sources[0])
}

// folderPictures reads pictures spread evenly over a folder's names.
func folderPictures(ctx context.Context, dir string) ([]tilescout.Picture, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("--calibrate %s: %w: %w", dir, err, tilescout.ErrBadInput)
	}
	var names []string
	for _, e := range entries {
		switch strings.ToLower(filepath.Ext(e.Name())) {
		case ".png", ".jpg", ".jpeg", ".webp":
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	var out []tilescout.Picture
	for i := range min(samplePictures, len(names)) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p, err := readPicture(names[i*len(names)/min(samplePictures, len(names))])
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// sampleTiles takes tiles on a grid over a source, from its deepest useful zoom upwards until there are enough.
func sampleTiles(ctx context.Context, s source.Source) ([]tilescout.Picture, error) {
	var out []tilescout.Picture
	info, tries := s.Info(), 0
	for z := min(info.MaxZoom, sampleZoom); ; z-- {
		for _, t := range gridTiles(info, z) {
			if tries++; tries > sampleTries || len(out) == samplePictures {
				return out, nil
			}
			p, err := s.Tile(ctx, t)
			switch {
			case err == nil:
				out = append(out, p)
			case ctx.Err() != nil:
				return nil, ctx.Err()
			case errors.Is(err, tilescout.ErrNotFound), errors.Is(err, tilescout.ErrOutOfRange):
			default:
				return nil, err
			}
		}
		if z == 0 || z <= info.MinZoom {
			return out, nil
		}
	}
}

// gridTiles are at most samplePictures tiles, spread over the source at a zoom.
func gridTiles(info tilescout.LayerInfo, z maptile.Zoom) []maptile.Tile {
	northWest, southEast, ok := geo.CoverCorners(info.Bound, z)
	if !ok {
		return nil
	}
	columns, rows := int(southEast.X-northWest.X)+1, int(southEast.Y-northWest.Y)+1
	const side = 14 // side² is about samplePictures
	var out []maptile.Tile
	for i := range min(side, rows) {
		for j := range min(side, columns) {
			out = append(out, maptile.New(northWest.X+uint32(j*columns/min(side, columns)), northWest.Y+uint32(i*rows/min(side, rows)), z))
		}
	}
	return slices.Compact(out)
}
