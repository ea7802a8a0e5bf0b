// Package mbtiles reads raster tiles from an MBTiles file (github.com/mapbox/mbtiles-spec 1.3), which is an SQLite
// database. The file may come from a stranger: it is opened read-only, with limits on what its views can make SQLite do.
//
//	src, err := mbtiles.Open(ctx, source.Spec{ID: "kampala", Source: "kampala.mbtiles"}, mbtiles.Options{})
//	defer src.Close()
//	pic, err := src.Tile(ctx, maptile.New(619224, 523264, 20))
package mbtiles

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/paulmach/orb/maptile"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/budget"
	"github.com/tilescout/tilescout/tileserver/source"
)

// Options of a file; the zero value works.
type Options struct {
	Connections int           // SQLite connections, which is also the number of tiles read at once; 0 means 4
	Deadline    time.Duration // for one look-up of a tile, of which there are at most two; 0 means 400 ms
	OpenTime    time.Duration // for all that Open asks of the file, at most twice; 0 means 400 ms
	Limits      source.Limits // on each picture

	ValueBytes    int // of anything that the file holds or makes up; 0 means 4 MiB
	InflatedBytes int // that a gzip'ed tile may grow to; 0 means 16 MiB

	Memory *budget.Budget // of tiles being unpacked; nil has no bound
}

func (o *Options) setDefaults() {
	o.Connections = cmp.Or(max(o.Connections, 0), 4)
	o.Deadline = cmp.Or(o.Deadline, 400*time.Millisecond)
	o.OpenTime = cmp.Or(o.OpenTime, 400*time.Millisecond)
	o.ValueBytes, o.InflatedBytes = cmp.Or(max(o.ValueBytes, 0), 4<<20), cmp.Or(max(o.InflatedBytes, 0), maxInflated)
}

// maxInflated is the most that one gzip'ed tile may grow to, in bytes, where nobody says otherwise.
const maxInflated = 16 << 20

// Source is an open MBTiles file. Nobody may write to the file while it is open.
type Source struct {
	db       *database
	info     tilescout.LayerInfo
	o        Options
	modified time.Time
}

var _ source.Source = (*Source)(nil)

// Open reads what the file says of itself, and computes what it does not say: zooms, bounds, tile size, media type.
// A file that is no MBTiles, is damaged, or holds vector tiles is ErrBadInput.
func Open(ctx context.Context, spec source.Spec, o Options) (*Source, error) {
	o.setDefaults()
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	s, err := open(ctx, spec, o)
	if err != nil {
		return nil, fmt.Errorf("mbtiles %s: %w", spec.Source, err)
	}
	return s, nil
}

func open(ctx context.Context, spec source.Spec, o Options) (*Source, error) {
	print, err := fingerprint(spec.Source)
	if err != nil {
		return nil, err
	}
	db, err := openDatabase(ctx, spec.Source, o)
	if err != nil {
		return nil, err
	}
	s := &Source{db: db, o: o, info: spec.Info(), modified: print.modified}
	err = twice(ctx, o.OpenTime, func(ctx context.Context) error { return s.describe(ctx, spec) })
	if err != nil {
		db.close()
		return nil, kindOf(err)
	}
	s.info.Version = print.version(spec.Version)
	return s, nil
}

// Info describes the layer.
func (s *Source) Info() tilescout.LayerInfo { return s.info }

// Close closes the file once running reads are done. A second Close does nothing.
func (s *Source) Close() error { return s.db.close() }

// Tile returns the stored picture of t, its bytes untouched (inflated, if it is stored gzip'ed).
func (s *Source) Tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	if !source.InGrid(t, s.info.MinZoom, s.info.MaxZoom) {
		return tilescout.Picture{}, s.wrap(t, fmt.Errorf("zooms are %d to %d: %w", s.info.MinZoom, s.info.MaxZoom, tilescout.ErrOutOfRange))
	}
	data, err := s.db.tile(ctx, s.o.Deadline, t)
	if err == nil {
		data, err = s.inflate(ctx, data)
	}
	if err != nil {
		return tilescout.Picture{}, s.wrap(t, err)
	}
	shape, err := source.Check(data, s.o.Limits)
	if err != nil {
		return tilescout.Picture{}, s.wrap(t, err)
	}
	return tilescout.Picture{Data: data, MediaType: shape.MediaType, ETag: source.ETag(data), Modified: s.modified}, nil
}

func (s *Source) wrap(t maptile.Tile, err error) error {
	return fmt.Errorf("mbtiles: layer %s, tile %d/%d/%d: %w", s.info.ID, t.Z, t.X, t.Y, err)
}

// twice calls ask with a deadline, and once more if that passes: a good file answers in microseconds, but a busy
// machine may stand still for longer than any deadline that stops a bad one. What fails twice is ErrSlow.
func twice(ctx context.Context, deadline time.Duration, ask func(context.Context) error) error {
	var err error
	for range 2 {
		limited, cancel := context.WithTimeout(ctx, deadline)
		err = ask(limited)
		late := err != nil && limited.Err() != nil
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case late:
			err = fmt.Errorf("no answer from the file within %v: %w", deadline, ErrSlow)
		case !errors.Is(err, ErrSlow):
			return err
		}
	}
	return err
}

func packed(data []byte) bool { return len(data) >= 2 && data[0] == 0x1f && data[1] == 0x8b }

// inflate is the function of that name, within the budget of memory.
func (s *Source) inflate(ctx context.Context, data []byte) ([]byte, error) {
	if !packed(data) {
		return data, nil
	}
	release, err := s.o.Memory.Share(ctx, min(int64(s.o.InflatedBytes), int64(len(data))*1000)) // which Deflate does not quite reach
	if err != nil {
		return nil, err
	}
	defer release()
	return inflate(data, s.o.InflatedBytes)
}

// inflate returns data, unpacked to at most so many bytes where it is gzip.
func inflate(data []byte, most int) ([]byte, error) {
	if !packed(data) {
		return data, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%v: %w", err, ErrTilePacking)
	}
	out, err := io.ReadAll(io.LimitReader(z, int64(most)+1))
	if err != nil {
		return nil, fmt.Errorf("%v: %w", err, ErrTilePacking)
	}
	if len(out) > most {
		return nil, fmt.Errorf("gzip'ed tile grows to more than %d bytes: %w", most, ErrTileSize)
	}
	return out, nil
}

// kindOf gives an error of SQLite its kind; contexts and errors that have a kind pass.
func kindOf(err error) error {
	for _, kind := range []error{
		tilescout.ErrNotFound, tilescout.ErrBadInput, tilescout.ErrBusy, tilescout.ErrUnavailable,
		context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, kind) {
			return err
		}
	}
	kind := ErrDamaged
	var failed *sqlite.Error
	if errors.As(err, &failed) {
		switch failed.Code() & 0xff { // the rest of an extended code says more of the same
		case sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_NOMEM:
			kind = ErrTileSize
		case sqlite3.SQLITE_NOTADB:
			kind = ErrNotDatabase
		}
	}
	return fmt.Errorf("%w: %w", err, kind)
}
