package mbtiles

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
)

const (
	applicationID = 0x4d504258 // "MPBX": what file(1) knows MBTiles by
	perCommit     = 4096       // tiles in one transaction
	maxStored     = 4 << 20    // bytes of a tile that our own reader takes
)

// schema keeps each content once: many tiles of a map are equal (sea, blank). The view is what readers see.
const schema = `
CREATE TABLE metadata (name TEXT NOT NULL PRIMARY KEY, value TEXT);
CREATE TABLE images (tile_id INTEGER PRIMARY KEY, tile_data BLOB NOT NULL);
CREATE TABLE map (zoom_level INTEGER NOT NULL, tile_column INTEGER NOT NULL, tile_row INTEGER NOT NULL, tile_id INTEGER NOT NULL,
	PRIMARY KEY (zoom_level, tile_column, tile_row)) WITHOUT ROWID;
CREATE VIEW tiles AS SELECT map.zoom_level AS zoom_level, map.tile_column AS tile_column, map.tile_row AS tile_row, images.tile_data AS tile_data
	FROM map JOIN images ON images.tile_id = map.tile_id;`

// WriterOptions of a file; the zero value works.
type WriterOptions struct {
	Overlay bool // the tiles are meant to lie over others
}

// Writer writes an MBTiles 1.3 file. Equal tiles are stored once. It is not safe for concurrent use.
type Writer struct {
	options WriterOptions
	db      *sql.DB
	conn    *sql.Conn
	image   *sql.Stmt
	place   *sql.Stmt

	stored  map[[16]byte]int64 // content → tile_id
	types   map[string]int     // number of contents by media type
	pending int                // tiles of the open transaction
	tiles   int
	least   maptile.Zoom
	most    maptile.Zoom
}

// NewWriter begins a file at path, which is missing or empty. Close it after Finish, or to give up; it is the caller
// who then removes the file. ctx bounds the opening only.
func NewWriter(ctx context.Context, path string, o WriterOptions) (*Writer, error) {
	w := &Writer{options: o, stored: map[[16]byte]int64{}, types: map[string]int{}, least: source.MaxZoom}
	if err := w.open(ctx, path); err != nil {
		w.Close()
		return nil, fmt.Errorf("mbtiles: write %s: %w", filepath.Base(path), err)
	}
	return w, nil
}

func (w *Writer) open(ctx context.Context, path string) error {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	slashed := filepath.ToSlash(absolute)
	if slashed[0] != '/' { // C:/…
		slashed = "/" + slashed
	}
	// The file is worth nothing until it is whole, so it needs neither journal nor flushes.
	dsn := url.URL{Scheme: "file", Path: slashed, OmitHost: true, RawQuery: "_pragma=journal_mode(OFF)&_pragma=synchronous(OFF)&_pragma=locking_mode(EXCLUSIVE)"}
	if w.db, err = sql.Open("sqlite", dsn.String()); err != nil {
		return err
	}
	if w.conn, err = w.db.Conn(ctx); err != nil {
		return err
	}
	for _, query := range []string{"PRAGMA application_id = " + strconv.Itoa(applicationID), schema, "BEGIN"} {
		if _, err := w.conn.ExecContext(ctx, query); err != nil {
			return err
		}
	}
	if w.image, err = w.conn.PrepareContext(ctx, "INSERT INTO images VALUES (?, ?)"); err != nil {
		return err
	}
	w.place, err = w.conn.PrepareContext(ctx, "INSERT INTO map VALUES (?, ?, ?, ?)")
	return err
}

// Put stores the picture of t. One that was stored before is ErrBadInput.
func (w *Writer) Put(t maptile.Tile, data []byte) error {
	switch {
	case !source.InGrid(t, 0, source.MaxZoom):
		return fmt.Errorf("mbtiles: tile %d/%d/%d is not in the grid: %w", t.Z, t.X, t.Y, tilescout.ErrOutOfRange)
	case len(data) == 0 || len(data) > maxStored:
		return fmt.Errorf("mbtiles: tile %d/%d/%d of %d bytes, 1 to %d may be: %w", t.Z, t.X, t.Y, len(data), maxStored, tilescout.ErrBadInput)
	}
	if err := w.put(t, data); err != nil {
		if strings.Contains(err.Error(), "UNIQUE constraint") {
			err = tilescout.ErrBadInput
			return fmt.Errorf("mbtiles: tile %d/%d/%d was stored before: %w", t.Z, t.X, t.Y, err)
		}
		return fmt.Errorf("mbtiles: write tile %d/%d/%d: %w", t.Z, t.X, t.Y, err)
	}
	w.tiles++
	w.least, w.most = min(w.least, t.Z), max(w.most, t.Z)
	return nil
}

func (w *Writer) put(t maptile.Tile, data []byte) error {
	sum := sha256.Sum256(data)
	key := [16]byte(sum[:16])
	id, ok := w.stored[key]
	if !ok {
		id = int64(len(w.stored) + 1)
		if _, err := w.image.Exec(id, data); err != nil {
			return err
		}
		w.stored[key] = id
		w.types[source.Sniff(data)]++
	}
	if _, err := w.place.Exec(t.Z, t.X, source.TMSRow(t), id); err != nil {
		return err
	}
	w.pending++
	if w.pending < perCommit {
		return nil
	}
	w.pending = 0
	_, err := w.conn.ExecContext(context.Background(), "COMMIT; BEGIN")
	return err
}

// Finish writes the metadata. info gives the texts and the bound; zooms and format are those of the tiles. A file
// without tiles is ErrNotFound.
func (w *Writer) Finish(info tilescout.LayerInfo) error {
	if w.tiles == 0 {
		return fmt.Errorf("mbtiles: there are no tiles to write: %w", tilescout.ErrNotFound)
	}
	if err := w.finish(info); err != nil {
		return fmt.Errorf("mbtiles: write the metadata: %w", err)
	}
	return nil
}

func (w *Writer) finish(info tilescout.LayerInfo) error {
	kind := "baselayer"
	if w.options.Overlay {
		kind = "overlay"
	}
	degrees := func(v float64) string { return strconv.FormatFloat(v, 'f', 7, 64) }
	b, c := info.Bound, info.Bound.Center()
	for _, row := range [][2]string{
		{"name", cmp.Or(info.Title, info.ID)}, {"format", w.format()}, {"type", kind}, {"version", "1"},
		{"description", info.Description}, {"attribution", info.Attribution},
		{"minzoom", strconv.Itoa(int(w.least))}, {"maxzoom", strconv.Itoa(int(w.most))},
		{"bounds", strings.Join([]string{degrees(b.Min.X()), degrees(b.Min.Y()), degrees(b.Max.X()), degrees(b.Max.Y())}, ",")},
		{"center", strings.Join([]string{degrees(c.X()), degrees(c.Y()), strconv.Itoa(int(w.least + (w.most-w.least)/2))}, ",")},
	} {
		if row[1] == "" {
			continue
		}
		if _, err := w.conn.ExecContext(context.Background(), "INSERT INTO metadata VALUES (?, ?)", row[0], row[1]); err != nil {
			return err
		}
	}
	_, err := w.conn.ExecContext(context.Background(), "COMMIT; ANALYZE")
	return err
}

// format names the media type of most contents as the specification does.
func (w *Writer) format() string {
	best, most := "png", 0
	for _, f := range [][2]string{{"png", tilescout.PNG}, {"jpg", tilescout.JPEG}, {"webp", tilescout.WebP}} {
		if n := w.types[f[1]]; n > most {
			best, most = f[0], n
		}
	}
	return best
}

// Close closes the file. A second Close does nothing.
func (w *Writer) Close() error {
	if w.db == nil {
		return nil
	}
	for _, s := range []*sql.Stmt{w.image, w.place} {
		if s != nil {
			s.Close()
		}
	}
	if w.conn != nil {
		w.conn.Close()
	}
	err := w.db.Close()
	w.db = nil
	return err
}
