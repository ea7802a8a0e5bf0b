// Package hostile makes MBTiles files that are meant to hurt their reader: views that never end, values of a gigabyte,
// damaged pages. None of them may bring it down: each opens, or is refused as tilescout.ErrBadInput, within a second.
package hostile

import (
	"bytes"
	"compress/gzip"
	"database/sql"
	"encoding/binary"
	"fmt"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the driver
)

// Pixel is a PNG of one pixel.
var Pixel = []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\b\x00\x00\x00\x00:~\x9bU\x00\x00\x00\nIDATx\x9cc\xf8\x0f\x00\x01\x01\x01\x00\x1b\xb6\xeeV\x00\x00\x00\x00IEND\xaeB`\x82")

const (
	table    = "CREATE TABLE tiles (zoom_level INTEGER, tile_column INTEGER, tile_row INTEGER, tile_data BLOB); CREATE UNIQUE INDEX tile_index ON tiles (zoom_level, tile_column, tile_row)"
	untyped  = "CREATE TABLE tiles (zoom_level, tile_column, tile_row, tile_data)"
	metadata = "CREATE TABLE metadata (name TEXT, value TEXT)"
	insert   = "INSERT INTO tiles VALUES (?, ?, ?, ?)"
	endless  = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) "
)

// view makes tiles a view of one tile whose content is an expression.
func view(data string) []any {
	return []any{"CREATE VIEW tiles AS SELECT 0 AS zoom_level, 0 AS tile_column, 0 AS tile_row, " + data + " AS tile_data"}
}

func withTile(more ...any) []any { return append([]any{table, insert, 0, 0, 0, Pixel}, more...) }

func tile(data any) []any { return []any{table, insert, 0, 0, 0, data} }

func packed(b []byte) []byte {
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression)
	z.Write(b) // into memory
	z.Close()
	return out.Bytes()
}

// databases are SQL statements; as many arguments follow each as it has question marks.
func databases() map[string][]any {
	const row = "SELECT 0 AS zoom_level, 0 AS tile_column, 0 AS tile_row, "
	return map[string][]any{
		"no-tables":                    {"CREATE TABLE t (a)"},
		"no-tiles-table":               {metadata},
		"tiles-empty":                  {table},
		"tiles-other-columns":          {"CREATE TABLE tiles (z, x, y, data)"},
		"tiles-view-of-nothing":        {"CREATE TABLE a (zoom_level, tile_column, tile_row, tile_data)", "CREATE VIEW tiles AS SELECT * FROM a", "DROP TABLE a"},
		"tiles-view-of-itself":         {"CREATE VIEW other AS SELECT 1", "CREATE VIEW tiles AS SELECT * FROM other2", "CREATE VIEW other2 AS SELECT * FROM tiles"},
		"tiles-virtual-table":          {"CREATE VIRTUAL TABLE tiles USING fts5(zoom_level, tile_column, tile_row, tile_data)"},
		"tiles-generate-series":        {"CREATE VIEW tiles AS SELECT value AS zoom_level, 0 AS tile_column, 0 AS tile_row, x'00' AS tile_data FROM generate_series(0, 9223372036854775807)"},
		"tiles-pragma-view":            {"CREATE VIEW tiles AS SELECT cid AS zoom_level, 0 AS tile_column, 0 AS tile_row, name AS tile_data FROM pragma_table_info('sqlite_schema')"},
		"tiles-schema-view":            {"CREATE VIEW tiles AS SELECT 0 AS zoom_level, 0 AS tile_column, 0 AS tile_row, sql AS tile_data FROM sqlite_schema"},
		"zoom-99":                      {table, insert, 99, 0, 0, Pixel},
		"zoom-negative":                {table, insert, -1, 0, 0, Pixel},
		"zoom-text":                    {untyped, insert, "zero", 0, 0, Pixel},
		"zoom-real":                    {untyped, insert, 0.5, 0, 0, Pixel},
		"zoom-huge":                    {table, insert, int64(1) << 62, 0, 0, Pixel},
		"column-huge":                  {table, insert, 3, int64(1) << 40, int64(1) << 40, Pixel},
		"row-negative":                 {table, insert, 3, -1, -1, Pixel},
		"tile-null":                    tile(nil),
		"tile-empty":                   tile([]byte{}),
		"tile-text":                    tile("text"),
		"tile-integer":                 tile(7),
		"tile-html":                    tile([]byte("<!doctype html><title>404</title>")),
		"tile-vector":                  tile([]byte("\x1a\x02\x0a\x00")),
		"tile-vector-packed":           tile(packed([]byte("\x1a\x02\x0a\x00"))),
		"tile-cut-short":               tile(Pixel[:40]),
		"tile-5-mb":                    tile(append(bytes.Clone(Pixel), make([]byte, 5<<20)...)),
		"tile-gzip-bomb":               tile(packed(make([]byte, 64<<20))),
		"tile-gzip-members":            tile(bytes.Repeat(packed(make([]byte, 1<<20)), 17)),
		"tile-gzip-cut":                tile(packed(Pixel)[:20]),
		"tile-png-65535-px":            tile(claim(65535, 65535)),
		"metadata-format-pbf":          withTile(metadata, "INSERT INTO metadata VALUES ('format', 'pbf')"),
		"metadata-format-lies":         withTile(metadata, "INSERT INTO metadata VALUES ('format', '../../etc/passwd')"),
		"metadata-no-numbers":          withTile(metadata, "INSERT INTO metadata VALUES ('minzoom', 'NaN'), ('maxzoom', '-1'), ('bounds', 'NaN,-inf,1e400,0x1p9')"),
		"metadata-huge-value":          withTile(metadata, "INSERT INTO metadata VALUES ('name', ?)", strings.Repeat("a", 20<<20)),
		"metadata-100000-rows":         withTile(metadata, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 100000) INSERT INTO metadata SELECT 'k' || i, i FROM n"),
		"metadata-script":              withTile(metadata, "INSERT INTO metadata VALUES ('attribution', '<script>alert(1)</script>')"),
		"metadata-other-columns":       withTile("CREATE TABLE metadata (a, b, c)"),
		"metadata-view-endless":        withTile("CREATE VIEW metadata AS " + endless + "SELECT 'a' AS name, 'b' AS value FROM n WHERE i < 0"),
		"metadata-view-of-a-gigabyte":  withTile("CREATE VIEW metadata AS SELECT 'name' AS name, printf('%.*c', 900000000, 'x') AS value"),
		"view-zeroblob-gigabyte":       view("zeroblob(999999999)"),
		"view-printf-gigabyte":         view("printf('%.*c', 900000000, 'x')"),
		"view-randomblob-gigabyte":     view("randomblob(999999999)"),
		"view-replace-blow-up":         view("replace(hex(zeroblob(2000000)), '0', hex(zeroblob(2000000)))"),
		"view-group-concat":            {"CREATE VIEW tiles AS " + endless + row + "group_concat(i) AS tile_data FROM n"},
		"view-endless":                 {"CREATE VIEW tiles AS " + endless + row + "NULL AS tile_data FROM n WHERE i < 0"},
		"view-endless-order":           {"CREATE VIEW tiles AS " + endless + row + "x'00' AS tile_data FROM n ORDER BY i DESC"},
		"view-cross-join":              {"CREATE VIEW tiles AS " + endless + "SELECT a.i*0 AS zoom_level, 0 AS tile_column, 0 AS tile_row, x'00' AS tile_data FROM n a, n b, n c"},
		"view-load-extension":          view("load_extension('x')"),
		"view-readfile":                view("readfile('/etc/passwd')"),
		"view-writefile":               view("writefile('written', 'x')"),
		"view-like-of-megabytes":       view("(SELECT 1 WHERE hex(zeroblob(1000000)) LIKE " + quoted(strings.Repeat("%a", 20000)) + ")"),
		"view-deep-expression":         view("x'00' || " + strings.Repeat("(", 90) + "x'00'" + strings.Repeat(")", 90)),
		"view-compound-300":            {"CREATE VIEW tiles AS " + row + "x'00' AS tile_data" + strings.Repeat(" UNION ALL "+row+"x'00'", 299)},
		"trigger-on-read":              withTile("CREATE TABLE t (a)", "CREATE TRIGGER x AFTER INSERT ON t BEGIN DELETE FROM tiles; END"),
		"index-on-expression":          {untyped, insert, 0, 0, 0, Pixel, "CREATE INDEX i ON tiles (zoom_level, tile_column, tile_row, abs(zoom_level))"},
		"generated-column-of-gigabyte": {"CREATE TABLE tiles (zoom_level, tile_column, tile_row, tile_data GENERATED ALWAYS AS (zeroblob(999999999)) VIRTUAL)", "INSERT INTO tiles VALUES (0, 0, 0)"},
		"partial-index":                {untyped, insert, 0, 0, 0, Pixel, "CREATE INDEX i ON tiles (zoom_level, tile_column, tile_row) WHERE zoom_level > 5"},
	}
}

func quoted(s string) string { return "'" + s + "'" }

// claim is the pixel with another size in its header, whose checksum is then wrong.
func claim(width, height uint32) []byte {
	b := bytes.Clone(Pixel)
	binary.BigEndian.PutUint32(b[16:], width)
	binary.BigEndian.PutUint32(b[20:], height)
	return b
}

// damages change bytes of a good database of three pages of 4096 bytes or more. Offsets: sqlite.org/fileformat.html.
var damages = map[string]func([]byte) []byte{
	"file-empty":              func([]byte) []byte { return nil },
	"file-magic-only":         func(b []byte) []byte { return b[:16] },
	"file-header-cut":         func(b []byte) []byte { return b[:60] },
	"file-one-page":           func(b []byte) []byte { return b[:4096] },
	"file-last-page-missing":  func(b []byte) []byte { return b[:len(b)-4096] },
	"file-last-byte-missing":  func(b []byte) []byte { return b[:len(b)-1] },
	"file-not-a-database":     func([]byte) []byte { return []byte("<html><body>404</body></html>") },
	"header-page-size-0":      set(16, 0, 0),
	"header-page-size-7":      set(16, 0, 7),
	"header-page-size-65536":  set(16, 0, 1),
	"header-write-version-9":  set(18, 9),
	"header-read-version-9":   set(19, 9),
	"header-wal":              set(18, 2, 2),
	"header-reserved-255":     set(20, 255),
	"header-fractions":        set(21, 0, 0, 0),
	"header-pages-2-31":       set(28, 0x7f, 0xff, 0xff, 0xff),
	"header-pages-0":          set(28, 0, 0, 0, 0),
	"header-freelist-huge":    set(32, 0, 0, 0, 9, 0x7f, 0xff, 0xff, 0xff),
	"header-schema-format-9":  set(44, 0, 0, 0, 9),
	"header-encoding-9":       set(56, 0, 0, 0, 9),
	"header-utf-16":           set(56, 0, 0, 0, 2),
	"schema-page-type":        set(100, 0xff),
	"schema-page-interior":    set(100, 5),
	"schema-cells-65535":      set(103, 0xff, 0xff),
	"schema-content-start":    set(105, 0xff, 0xff),
	"schema-cell-pointer":     set(108, 0xff, 0xff),
	"second-page-zeros":       zeros(4096, 4096),
	"third-page-zeros":        zeros(8192, 4096),
	"second-page-points-at-1": set(4096, 5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1),
	"all-zeros-after-header":  zeros(100, 1<<30),
}

func set(at int, values ...byte) func([]byte) []byte {
	return func(b []byte) []byte { copy(b[min(at, len(b)):], values); return b }
}

func zeros(at, n int) func([]byte) []byte {
	return func(b []byte) []byte { clear(b[min(at, len(b)):min(at+n, len(b))]); return b }
}

// Names yields the name of each file that Write can make; they begin with what is wrong.
func Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for name := range databases() {
			if !yield(name + ".mbtiles") {
				return
			}
		}
		for name := range damages {
			if !yield(name + ".mbtiles") {
				return
			}
		}
	}
}

// Write makes all files in an existing folder and returns their paths.
func Write(dir string) ([]string, error) {
	var paths []string
	for name, statements := range databases() {
		path := filepath.Join(dir, name+".mbtiles")
		if err := Create(path, statements...); err != nil {
			return nil, fmt.Errorf("hostile: %s: %w", name, err)
		}
		paths = append(paths, path)
	}
	good := filepath.Join(dir, "good.tmp")
	if err := Create(good, withTile(insert, 1, 1, 1, Pixel)...); err != nil {
		return nil, fmt.Errorf("hostile: %w", err)
	}
	whole, err := os.ReadFile(good)
	if err != nil {
		return nil, fmt.Errorf("hostile: %w", err)
	}
	if err := os.Remove(good); err != nil {
		return nil, fmt.Errorf("hostile: %w", err)
	}
	for name, damage := range damages {
		path := filepath.Join(dir, name+".mbtiles")
		if err := os.WriteFile(path, damage(bytes.Clone(whole)), 0o644); err != nil {
			return nil, fmt.Errorf("hostile: %w", err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// Create makes a database of SQL statements; as many arguments follow each as it has question marks.
func Create(path string, statements ...any) error {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	dsn := url.URL{Scheme: "file", Path: filepath.ToSlash(absolute), OmitHost: true, RawQuery: "_pragma=journal_mode(OFF)&_pragma=synchronous(OFF)"}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return err
	}
	defer db.Close()
	for i := 0; i < len(statements); i++ {
		query := statements[i].(string)
		args := statements[i+1 : i+1+strings.Count(query, "?")]
		i += len(args)
		if _, err := db.Exec(query, args...); err != nil {
			return fmt.Errorf("%.80s: %w", query, err)
		}
	}
	return db.Close()
}
