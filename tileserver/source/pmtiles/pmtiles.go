// Package pmtiles reads and writes raster tiles in a PMTiles version 3 archive
// (github.com/protomaps/PMTiles, spec/v3): one file, here or behind a URL, whose directories say where each tile
// lies. The file may come from a stranger: every number in it is held against the file's size and a limit before it is used.
//
//	src, err := pmtiles.Open(ctx, source.Spec{ID: "world", Source: "world.pmtiles"}, pmtiles.Options{})
//	defer src.Close()
//	pic, err := src.Tile(ctx, maptile.New(4, 2, 3))
package pmtiles

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/budget"
	"github.com/tilescout/tilescout/tileserver/source"
)

// Options of an archive; the zero value works.
type Options struct {
	DirectoryBytes int64         // memory for leaf directories; 0 means 32 MiB
	Limits         source.Limits // on each picture

	Directories DirectoryLimits
	TileBytes   int // of a tile, packed or unpacked; 0 means 8 MiB

	Memory *budget.Budget // of directories and tiles being unpacked; nil means 96 MiB of its own
}

// Source is an open archive.
type Source struct {
	archive  *archive
	info     tilescout.LayerInfo
	limits   source.Limits
	modified time.Time
	closed   atomic.Bool
}

var (
	_ source.Source   = (*Source)(nil)
	_ source.Changing = (*Source)(nil)
)

// Open opens the file that spec names. What is no PMTiles version 3, is damaged, or holds vector tiles is ErrBadInput.
func Open(ctx context.Context, spec source.Spec, o Options) (*Source, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	f, err := openFile(spec.Source)
	if err != nil {
		return nil, fmt.Errorf("pmtiles %s: %w", spec.Source, err)
	}
	return OpenObject(ctx, spec, f, o)
}

// OpenObject opens the archive in an object, remote or not. It closes the object with the source, and where it fails.
func OpenObject(ctx context.Context, spec source.Spec, object Object, o Options) (*Source, error) {
	s, err := open(ctx, spec, object, o)
	if err != nil {
		object.Close()
		return nil, fmt.Errorf("pmtiles %s: %w", shown(spec.Source), err)
	}
	return s, nil
}

// shown is a source without the query of a URL, which may hold a key.
func shown(text string) string {
	if strings.Contains(text, "://") {
		text, _, _ = strings.Cut(text, "?")
	}
	return text
}

func open(ctx context.Context, spec source.Spec, object Object, o Options) (*Source, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	a, head, root, err := openArchive(ctx, object, o)
	if err != nil {
		return nil, err
	}
	s := &Source{archive: a, info: spec.Info(), limits: o.Limits, modified: object.Modified()}
	if err := s.describe(ctx, spec); err != nil {
		return nil, err
	}
	s.info.Version = version(object, head, root, spec.Version)
	return s, nil
}

// Info describes the layer.
func (s *Source) Info() tilescout.LayerInfo { return s.info }

// Outdated tells whether the file, behind a URL, has been replaced since it was opened.
func (s *Source) Outdated() bool {
	c, ok := s.archive.object.(interface{ Changed() bool })
	return ok && c.Changed()
}

// Close closes the file. A second Close does nothing.
func (s *Source) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	return s.archive.object.Close()
}

// Tile returns the stored picture of t, its bytes untouched (unpacked, if it is stored packed).
func (s *Source) Tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	pic, err := s.tile(ctx, t)
	if err != nil {
		return tilescout.Picture{}, fmt.Errorf("pmtiles: layer %s, tile %d/%d/%d: %w", s.info.ID, t.Z, t.X, t.Y, err)
	}
	return pic, nil
}

func (s *Source) tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	if !source.InGrid(t, s.info.MinZoom, s.info.MaxZoom) {
		return tilescout.Picture{}, fmt.Errorf("zooms are %d to %d: %w", s.info.MinZoom, s.info.MaxZoom, tilescout.ErrOutOfRange)
	}
	if s.closed.Load() {
		return tilescout.Picture{}, errClosed
	}
	if err := ctx.Err(); err != nil {
		return tilescout.Picture{}, err
	}
	e, err := s.archive.find(ctx, tileID(t))
	if err != nil {
		return tilescout.Picture{}, err
	}
	data, err := s.archive.content(ctx, e)
	if err != nil {
		return tilescout.Picture{}, err
	}
	shape, err := source.Check(data, s.limits)
	if err != nil {
		return tilescout.Picture{}, err
	}
	return tilescout.Picture{Data: data, MediaType: shape.MediaType, ETag: source.ETag(data), Modified: s.modified}, nil
}

// describe fills in Info. What the operator wrote comes first, then what the directories show, then what header and
// metadata claim.
func (s *Source) describe(ctx context.Context, spec source.Spec) error {
	m, err := s.archive.metadata(ctx)
	if err != nil {
		return err
	}
	name := filepath.Base(spec.Source)
	if strings.Contains(spec.Source, "://") {
		name = path.Base(shown(spec.Source))
	}
	s.info.Title = cmp.Or(s.info.Title, m.text("name"), strings.TrimSuffix(name, filepath.Ext(name)))
	s.info.Description = cmp.Or(s.info.Description, m.text("description"))
	s.info.Attribution = cmp.Or(s.info.Attribution, m.text("attribution"))

	first, err := s.archive.edge(ctx, false)
	if err != nil {
		return err
	}
	last, err := s.archive.edge(ctx, true)
	if err != nil {
		return err
	}
	end := last[len(last)-1]
	least, most := zoomOf(first[0].id), zoomOf(end.id+uint64(end.run)-1)
	if least > most {
		return fmt.Errorf("the first tile is at zoom %d, the last at %d: %w", least, most, ErrTileID)
	}
	s.info.MinZoom = max(least, maptile.Zoom(spec.MinZoom))
	s.info.MaxZoom = most
	if spec.MaxZoom != 0 {
		s.info.MaxZoom = min(most, maptile.Zoom(spec.MaxZoom))
	}
	if s.info.MinZoom > s.info.MaxZoom {
		return fmt.Errorf("has zooms %d to %d, none of them within minZoom %d and maxZoom %d: %w", least, most, spec.MinZoom, spec.MaxZoom, tilescout.ErrBadInput)
	}
	if len(spec.Bounds) == 0 {
		b, ok := s.archive.header.bound()
		if !ok {
			b = boundOf(first)
		}
		s.info.Bound = b
	}
	return s.sample(ctx, last)
}

// boundOf is the bound of the tiles at the least zoom of a directory that starts an archive; the world where there are
// too many to look at.
func boundOf(d directory) orb.Bound {
	const most = 1 << 14
	z, n := zoomOf(d[0].id), 0
	bound := tileOf(d[0].id).Bound()
	for _, e := range d {
		if e.run == runOfLeaf || zoomOf(e.id) != z {
			break
		}
		if n += int(e.run); n > most {
			return source.World
		}
		for i := range uint64(e.run) {
			bound = bound.Union(tileOf(e.id + i).Bound())
		}
	}
	return bound
}

// sample looks at a few of the deepest tiles for their media type and size.
func (s *Source) sample(ctx context.Context, d directory) error {
	const looks = 4
	var wrong error
	good, mixed := 0, false
	for i := range min(looks, len(d)) {
		e := d[len(d)-1-i]
		if e.run == runOfLeaf {
			break
		}
		data, err := s.archive.content(ctx, e)
		if err == nil && len(data) > 0 && data[0] == 0x1a && source.Sniff(data) == "" { // field 3 (layers) of a vector tile
			return ErrVectorTiles
		}
		var shape source.Shape
		if err == nil {
			shape, err = source.Check(data, s.limits)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			wrong = err
			continue
		}
		good++
		mixed = mixed || s.info.MediaType != "" && s.info.MediaType != shape.MediaType
		s.info.MediaType = shape.MediaType
		if s.info.TileSize == 0 {
			s.info.TileSize = 256
			if shape.Width >= 512 {
				s.info.TileSize = 512
			}
		}
	}
	if good == 0 && wrong != nil {
		return fmt.Errorf("its tiles are no pictures: %w", wrong)
	}
	if mixed {
		s.info.MediaType = ""
	}
	s.info.TileSize = cmp.Or(s.info.TileSize, 256)
	return nil
}
