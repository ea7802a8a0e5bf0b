package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/plugin"
	"github.com/tilescout/tilescout/plugin/export"
	"github.com/tilescout/tilescout/tileserver/source"
)

// exportFormats are the endings of the files that an export writes, with whether they hold matches.
var exportFormats = map[string]bool{".mbtiles": false, ".pmtiles": false, ".tif": false, ".tiff": false, ".geojson": true, ".gpkg": true, ".parquet": true}

func (a *app) export(ctx context.Context, o exportFlags) error {
	kind := strings.ToLower(filepath.Ext(o.out))
	matches, known := exportFormats[kind]
	switch {
	case o.out == "":
		return fmt.Errorf("name the file to write with --out: %w", errUsage)
	case !known:
		return fmt.Errorf("--out %s: a file ending in .mbtiles, .pmtiles, .tif, .geojson, .gpkg or .parquet: %w", o.out, errUsage)
	case matches && len(o.q.Prompts) == 0:
		return fmt.Errorf("--out %s holds matches: say what to look for with --q: %w", o.out, errUsage)
	}
	var err error
	if o.bound, err = optionalBox(o.box); err != nil {
		return err
	}
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	p := &parts{}
	if len(o.q.Prompts) > 0 {
		p, err = a.open(ctx, cfg, forReading)
	} else {
		err = a.openSources(ctx, cfg, p) // imagery needs no model
	}
	if err != nil {
		p.close()
		return err
	}
	defer p.close()
	src, err := onlySource(p, o.layer)
	if err != nil {
		return err
	}
	if err := source.Bulk(src); err != nil {
		return err
	}
	info := src.Info()
	options := export.Options{Bounds: []orb.Bound{info.Bound}, Least: info.MinZoom, Most: info.MaxZoom, Force: o.force}
	if o.bound != nil {
		options.Bounds = o.bound.Bounds()
	}
	tile := src.Tile
	if len(o.q.Prompts) > 0 {
		if err := a.embedMissing(ctx, p, info.ID, o.bound); err != nil {
			return err
		}
		o.q.Style, o.q.Opacity, o.q.Box = plugin.Style(o.style), 1, o.bound
		if matches {
			return a.exportMatches(ctx, p, info.ID, o)
		}
		state, err := p.engine.State(info.ID, nil)
		if err != nil {
			return err
		}
		options.Overlay, options.Least, options.Most = true, 0, state.Zooms[0]+1
		info.Title += ": " + strings.Join(o.q.Prompts, " or ")
		tile = func(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
			return p.plugin.OverlayTile(ctx, info.ID, t, o.q)
		}
	}
	if options.Least, options.Most, err = parseZooms(o.zooms, options.Least, options.Most); err != nil {
		return err
	}
	bar := a.progress("Writing " + filepath.Base(o.out))
	options.Progress = bar.count
	write := export.Archive
	if kind == ".tif" || kind == ".tiff" {
		write = export.Picture
	}
	report, err := write(ctx, o.out, info, tile, options)
	bar.done()
	if err != nil {
		return err
	}
	return json.NewEncoder(a.stdout).Encode(report)
}

// exportMatches writes what GET /search answers.
func (a *app) exportMatches(ctx context.Context, p *parts, layer string, o exportFlags) error {
	if _, err := os.Lstat(o.out); err == nil && !o.force {
		return fmt.Errorf("%s is there already; --force replaces it: %w", o.out, tilescout.ErrBadInput)
	}
	fc, err := p.plugin.Features(ctx, layer, o.q)
	if err != nil {
		return err
	}
	size, err := export.Features(ctx, o.out, layer, fc, o.force)
	if err != nil {
		return err
	}
	return json.NewEncoder(a.stdout).Encode(map[string]int64{"matches": int64(len(fc.Features)), "bytes": size})
}

func optionalBox(text string) (*geo.BBox, error) {
	if text == "" {
		return nil, nil
	}
	b, err := geo.ParseBBox(text)
	return &b, err
}

func onlySource(p *parts, id string) (source.Source, error) {
	var names []string
	for _, s := range p.sources {
		if name := s.Info().ID; name == id || id == "" && len(p.sources) == 1 {
			return s, nil
		}
		names = append(names, s.Info().ID)
	}
	return nil, fmt.Errorf("choose one layer of %s with --layer: %w", strings.Join(names, ", "), errUsage)
}

// parseZooms reads "17" or "12-18"; nothing means the usual ones.
func parseZooms(text string, least, most maptile.Zoom) (maptile.Zoom, maptile.Zoom, error) {
	if text == "" {
		return least, most, nil
	}
	from, to, both := strings.Cut(text, "-")
	if !both {
		to = from
	}
	a, errA := strconv.ParseUint(from, 10, 5)
	b, errB := strconv.ParseUint(to, 10, 5)
	if errors.Join(errA, errB) != nil || a > b || b > 24 {
		return 0, 0, fmt.Errorf("--zoom %s: a zoom or a range from 0 to 24, as 12-18: %w", text, errUsage)
	}
	return maptile.Zoom(a), maptile.Zoom(b), nil
}
