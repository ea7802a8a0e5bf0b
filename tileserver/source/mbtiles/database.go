package mbtiles

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/paulmach/orb/maptile"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
)

// settings of every connection: reading only, no functions with side effects in views, cells checked against their
// page, no memory map (a file cut short under a map is a SIGBUS, which nothing catches).
const settings = "mode=ro&_defensive=1&_pragma=query_only(1)&_pragma=trusted_schema(0)&_pragma=cell_size_check(1)&_pragma=mmap_size(0)"

// limits of every connection. No SQL comes from a request, but views come with the file: the length caps a value that a
// view makes up (Options.ValueBytes), ATTACHED keeps the process from creating files (query_only does not).
var limits = []limit{
	{sqlite3.SQLITE_LIMIT_ATTACHED, 0},
	{sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 100},
	{sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 10},
	{sqlite3.SQLITE_LIMIT_VDBE_OP, 25000},
	{sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 0},
}

type limit struct{ id, value int }

const tileQuery = "SELECT tile_data FROM tiles WHERE zoom_level = ? AND tile_column = ? AND tile_row = ?"

// reader is one connection with its prepared query. Whoever took it from database.free has it alone.
type reader struct {
	conn *sql.Conn
	tile driver.Stmt
	args [3]driver.NamedValue
	row  [1]driver.Value
}

// database is a fixed set of readers. The pool of database/sql is not used for tiles: limits belong to a connection,
// and it may open one without them at any time.
type database struct {
	db   *sql.DB
	free chan *reader
	all  []*reader

	closing chan struct{}
	once    sync.Once
	err     error // of closing
}

func openDatabase(ctx context.Context, path string, o Options) (*database, error) {
	dsn, err := dataSource(path)
	if err != nil {
		return nil, err
	}
	connector, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", err, tilescout.ErrBadInput)
	}
	d := &database{db: sql.OpenDB(connector), free: make(chan *reader, o.Connections), closing: make(chan struct{})}
	d.db.SetMaxOpenConns(o.Connections)
	for range o.Connections {
		r, err := d.newReader(ctx, o.ValueBytes)
		if err != nil {
			d.close()
			return nil, kindOf(err)
		}
		d.all = append(d.all, r)
		d.free <- r
	}
	return d, nil
}

// dataSource returns the URI of path. immutable makes SQLite take no locks and look for no journal, so a file beside
// which a journal lies is opened without it.
func dataSource(path string) (string, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("%v: %w", err, tilescout.ErrBadInput)
	}
	slashed := filepath.ToSlash(absolute)
	if slashed[0] != '/' { // C:/…
		slashed = "/" + slashed
	}
	query := settings
	if !hasJournal(path) {
		query += "&immutable=1"
	}
	return (&url.URL{Scheme: "file", Path: slashed, OmitHost: true}).String() + "?" + query, nil
}

func hasJournal(path string) bool {
	for _, suffix := range []string{"-wal", "-journal"} {
		if info, err := os.Stat(path + suffix); err == nil && info.Size() > 0 {
			return true
		}
	}
	return false
}

func (d *database) newReader(ctx context.Context, valueBytes int) (*reader, error) {
	conn, err := d.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	r := &reader{conn: conn}
	for _, l := range append(limits[:len(limits):len(limits)], limit{sqlite3.SQLITE_LIMIT_LENGTH, valueBytes}) {
		if _, err := sqlite.Limit(conn, l.id, l.value); err != nil {
			conn.Close()
			return nil, err
		}
	}
	err = conn.Raw(func(dc any) error {
		var err error
		r.tile, err = dc.(driver.ConnPrepareContext).PrepareContext(ctx, tileQuery)
		return err
	})
	if err != nil {
		conn.Close()
		return nil, schemaError(err)
	}
	return r, nil
}

// schemaError tells a file that lacks the table from one that cannot be read at all.
func schemaError(err error) error {
	if err := kindOf(err); errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrNotDatabase) {
		return err
	}
	var failed *sqlite.Error
	if errors.As(err, &failed) && failed.Code()&0xff != sqlite3.SQLITE_ERROR { // SQLITE_ERROR: no such table, no such column
		return kindOf(err)
	}
	return fmt.Errorf("not an MBTiles file: %v: %w", err, ErrSchema)
}

var errClosed = fmt.Errorf("the source is closed: %w", tilescout.ErrUnavailable)

// take waits for a free reader; give it back with free <- r.
func (d *database) take(ctx context.Context) (*reader, error) {
	select {
	case <-d.closing: // the select below picks at random
		return nil, errClosed
	default:
	}
	select {
	case r := <-d.free:
		return r, nil
	case <-d.closing:
		return nil, errClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// tile returns the stored bytes of t: ErrNotFound where there is none, ErrBadInput where it is no blob, ErrBusy where
// it takes longer to find than the deadline.
func (d *database) tile(ctx context.Context, deadline time.Duration, t maptile.Tile) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r, err := d.take(ctx)
	if err != nil {
		return nil, err
	}
	var value driver.Value
	err = twice(ctx, deadline, func(ctx context.Context) error {
		var err error
		value, err = r.lookup(ctx, t)
		return err
	})
	d.free <- r
	switch {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("no such tile: %w", tilescout.ErrNotFound)
	case errors.Is(err, ErrSlow):
		return nil, fmt.Errorf("%v: %w", err, tilescout.ErrBusy) // a slow file and a busy machine look the same
	case err != nil:
		return nil, kindOf(err)
	}
	switch data := value.(type) {
	case []byte:
		if len(data) == 0 {
			return nil, fmt.Errorf("the stored tile is empty: %w", tilescout.ErrNotFound)
		}
		return data, nil
	case nil:
		return nil, fmt.Errorf("the stored tile is NULL: %w", tilescout.ErrNotFound)
	}
	return nil, ErrTileType
}

// lookup runs the query on the driver itself: one copy of the blob less, and no pool in between.
func (r *reader) lookup(ctx context.Context, t maptile.Tile) (value driver.Value, err error) {
	err = r.conn.Raw(func(any) error {
		for i, v := range []int64{int64(t.Z), int64(t.X), int64(source.TMSRow(t))} {
			r.args[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
		}
		rows, err := r.tile.(driver.StmtQueryContext).QueryContext(ctx, r.args[:])
		if err != nil {
			return err
		}
		defer rows.Close()
		err = rows.Next(r.row[:])
		value, r.row[0] = r.row[0], nil
		return err
	})
	return value, err
}

// close waits for the readers that are in use, which their deadlines bound.
func (d *database) close() error {
	d.once.Do(func() {
		close(d.closing)
		for range d.all {
			r := <-d.free
			d.err = errors.Join(d.err, r.conn.Raw(func(any) error { return r.tile.Close() }), r.conn.Close())
		}
		d.err = errors.Join(d.err, d.db.Close())
	})
	return d.err
}
