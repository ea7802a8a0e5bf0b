package mbtiles

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
)

// identity is what tells one content of a file from another without reading it all.
type identity struct {
	size     int64
	modified time.Time
	header   [sha256.Size]byte // of the first 4 KiB: SQLite's change counter lies there
}

func (p identity) version(given string) string {
	h := sha256.New()
	fmt.Fprintf(h, "mbtiles %d %d %x %s", p.size, p.modified.UnixNano(), p.header, given)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// fingerprint looks at the file from outside and refuses what is no SQLite database.
func fingerprint(path string) (identity, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return identity{}, fmt.Errorf("no such file: %w", tilescout.ErrBadInput)
	}
	if err != nil {
		return identity{}, fmt.Errorf("%v: %w", err, tilescout.ErrBadInput)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return identity{}, fmt.Errorf("not a regular file: %w", tilescout.ErrBadInput)
	}
	head, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return identity{}, fmt.Errorf("%v: %w", err, tilescout.ErrBadInput)
	}
	if !strings.HasPrefix(string(head), "SQLite format 3\x00") {
		return identity{}, fmt.Errorf("not an MBTiles file, it is %s: %w", source.Describe(head), ErrNotDatabase)
	}
	if want := statedSize(head); info.Size() < want && !hasJournal(path) {
		return identity{}, fmt.Errorf("%d bytes of %d: %w", info.Size(), want, ErrTruncated)
	}
	return identity{size: info.Size(), modified: info.ModTime(), header: sha256.Sum256(head)}, nil
}

// statedSize returns how long the database says it is, in bytes; 0 where the header is too short to say. SQLite reads on
// without complaint until it reaches a page that is not there. Offsets: sqlite.org/fileformat.html §1.3.
func statedSize(head []byte) int64 {
	if len(head) < 100 {
		return 100
	}
	if string(head[24:28]) != string(head[92:96]) { // last written by a version that does not keep the page count
		return 0
	}
	pageSize := int64(binary.BigEndian.Uint16(head[16:]))
	if pageSize == 1 {
		pageSize = 65536
	}
	return pageSize * int64(binary.BigEndian.Uint32(head[28:]))
}

// metadata is the table of that name, as text. Long values (legends, templates) are cut, nobody here reads them.
type metadata map[string]string

const (
	maxRows  = 256
	maxValue = 8192 // characters

	// slowQuery is what one question at opening may take; with an index all of them take microseconds.
	slowQuery = 200 * time.Millisecond
)

// readMetadata returns the metadata table; a file without one has none, which is no error.
func readMetadata(ctx context.Context, conn *sql.Conn) (metadata, error) {
	const query = "SELECT CAST(name AS TEXT), substr(CAST(value AS TEXT), 1, ?) FROM metadata WHERE typeof(name) = 'text' LIMIT ?"
	m := metadata{}
	rows, err := conn.QueryContext(ctx, query, maxValue, maxRows)
	if err != nil {
		if strings.Contains(err.Error(), "no such table") {
			return m, nil
		}
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var value sql.NullString
		if err := rows.Scan(&name, &value); err != nil {
			return nil, err
		}
		m[strings.ToLower(name)] = strings.ToValidUTF8(value.String, "�")
	}
	return m, rows.Err()
}

// zoom returns a zoom that is given and makes sense.
func (m metadata) zoom(key string) (maptile.Zoom, bool) {
	z, err := strconv.ParseUint(strings.TrimSpace(m[key]), 10, 8)
	return maptile.Zoom(z), err == nil && maptile.Zoom(z) <= source.MaxZoom
}

// bound returns the bounds, where they are four finite degrees that enclose something of the Mercator world.
func (m metadata) bound() (orb.Bound, bool) {
	parts := strings.Split(m["bounds"], ",")
	if len(parts) != 4 {
		return orb.Bound{}, false
	}
	var v [4]float64
	for i, p := range parts {
		var err error
		if v[i], err = strconv.ParseFloat(strings.TrimSpace(p), 64); err != nil || math.IsNaN(v[i]) || math.IsInf(v[i], 0) {
			return orb.Bound{}, false
		}
	}
	// Writers give ±180.0001 and ±90; the pyramid ends before.
	b := orb.Bound{
		Min: orb.Point{max(v[0], source.World.Min.X()), max(v[1], source.World.Min.Y())},
		Max: orb.Point{min(v[2], source.World.Max.X()), min(v[3], source.World.Max.Y())},
	}
	return b, b.Min.X() < b.Max.X() && b.Min.Y() < b.Max.Y()
}

// describe fills in Info from the file. What the operator wrote comes first, then what the tiles show, then what the
// metadata claims: it is often left over from another export.
func (s *Source) describe(ctx context.Context, spec source.Spec) error {
	s.info = spec.Info()
	r, err := s.db.take(ctx)
	if err != nil {
		return kindOf(err)
	}
	defer func() { s.db.free <- r }()
	m, err := readMetadata(ctx, r.conn)
	if err != nil {
		return kindOf(fmt.Errorf("metadata: %w", err))
	}
	if format := strings.ToLower(strings.TrimSpace(m["format"])); format == "pbf" || format == "mvt" || strings.Contains(format, "vector-tile") {
		return ErrVectorTiles
	}
	s.info.Title = cmp.Or(s.info.Title, m["name"], strings.TrimSuffix(filepath.Base(spec.Source), filepath.Ext(spec.Source)))
	s.info.Description = cmp.Or(s.info.Description, m["description"])
	s.info.Attribution = cmp.Or(s.info.Attribution, m["attribution"])

	least, most, err := zooms(ctx, r.conn, m)
	if err != nil {
		return err
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
		b, ok := m.bound()
		if !ok {
			b = computeBound(ctx, r.conn, s.info.MinZoom, s.info.MaxZoom)
		}
		s.info.Bound = b
	}
	return s.sample(ctx, r.conn)
}

// zooms returns the least and the most zoom that has tiles; what the metadata claim only where the file is too slow
// to tell, which is one without an index.
func zooms(ctx context.Context, conn *sql.Conn, m metadata) (least, most maptile.Zoom, err error) {
	limited, cancel := context.WithTimeout(ctx, slowQuery)
	defer cancel()
	ends := [2]maptile.Zoom{}
	for i, order := range []string{"ASC", "DESC"} {
		// ORDER BY with LIMIT walks the index from its end also through a view, where min() and max() would not.
		row := conn.QueryRowContext(limited, "SELECT CAST(zoom_level AS INTEGER) FROM tiles WHERE zoom_level BETWEEN 0 AND 30 ORDER BY zoom_level "+order+" LIMIT 1")
		err := row.Scan(&ends[i])
		if errors.Is(err, sql.ErrNoRows) {
			return 0, 0, fmt.Errorf("zooms 0 to 30: %w", ErrEmpty)
		}
		if err != nil && limited.Err() != nil && ctx.Err() == nil {
			least, hasLeast := m.zoom("minzoom")
			most, hasMost := m.zoom("maxzoom")
			if hasLeast && hasMost && least <= most {
				return least, most, nil
			}
			return 0, 0, fmt.Errorf("the zooms are not found within %v: %w", slowQuery, ErrSlow)
		}
		if err != nil {
			return 0, 0, kindOf(fmt.Errorf("zooms: %w", err))
		}
	}
	return ends[0], ends[1], nil
}

// computeBound returns the bound of the tiles at the deepest zoom, or of a lesser one where that takes too long.
func computeBound(ctx context.Context, conn *sql.Conn, least, most maptile.Zoom) orb.Bound {
	const query = "SELECT min(tile_column), max(tile_column), min(tile_row), max(tile_row) FROM tiles WHERE zoom_level = ? AND tile_column >= 0 AND tile_column <= ? AND tile_row >= 0 AND tile_row <= ?"
	for _, z := range []maptile.Zoom{most, (least + most) / 2, least} {
		limited, cancel := context.WithTimeout(ctx, slowQuery/2)
		side := int64(1)<<z - 1
		var v [4]sql.NullInt64
		err := conn.QueryRowContext(limited, query, z, side, side).Scan(&v[0], &v[1], &v[2], &v[3])
		cancel()
		if err != nil || !v[0].Valid || !v[2].Valid {
			continue
		}
		south := maptile.New(uint32(v[0].Int64), uint32(side-v[2].Int64), z).Bound()
		north := maptile.New(uint32(v[1].Int64), uint32(side-v[3].Int64), z).Bound()
		return south.Union(north)
	}
	return source.World
}

// sample looks at a few tiles for their media type and size.
func (s *Source) sample(ctx context.Context, conn *sql.Conn) error {
	rows, err := conn.QueryContext(ctx, "SELECT tile_data FROM tiles WHERE zoom_level = ? AND typeof(tile_data) = 'blob' AND length(tile_data) > 0 LIMIT 8", s.info.MaxZoom)
	if err != nil {
		return kindOf(fmt.Errorf("first tiles: %w", err))
	}
	defer rows.Close()
	var wrong error
	good, mixed := 0, false
	for rows.Next() {
		var data []byte
		if err := rows.Scan(&data); err != nil {
			return kindOf(fmt.Errorf("first tiles: %w", err))
		}
		shape, err := shapeOf(data, s.o.InflatedBytes, s.o.Limits)
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
	if err := rows.Err(); err != nil {
		return kindOf(fmt.Errorf("first tiles: %w", err))
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

// shapeOf checks a stored tile; a vector tile is told apart, since its file is a good MBTiles for another program.
func shapeOf(stored []byte, most int, l source.Limits) (source.Shape, error) {
	data, err := inflate(stored, most)
	if err != nil {
		return source.Shape{}, err
	}
	if len(data) > 0 && data[0] == 0x1a && source.Sniff(data) == "" { // field 3 (layers), length-delimited
		return source.Shape{}, ErrVectorTiles
	}
	return source.Check(data, l)
}
