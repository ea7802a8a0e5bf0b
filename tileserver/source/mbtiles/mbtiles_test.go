package mbtiles_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/mbtiles"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

// write makes a database from SQL statements; an argument follows each that has a question mark.
func write(t testing.TB, statements ...any) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test file #1?.mbtiles")
	escaped := strings.NewReplacer("#", "%23", "?", "%3f").Replace(path)
	db, err := sql.Open("sqlite", "file:"+escaped)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for i := 0; i < len(statements); i++ {
		query := statements[i].(string)
		var args []any
		for range strings.Count(query, "?") {
			i++
			args = append(args, statements[i])
		}
		if _, err := db.Exec(query, args...); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	return path
}

const (
	createTiles = `CREATE TABLE tiles (zoom_level INTEGER, tile_column INTEGER, tile_row INTEGER, tile_data BLOB);
		CREATE UNIQUE INDEX tile_index ON tiles (zoom_level, tile_column, tile_row)`
	createMetadata = `CREATE TABLE metadata (name TEXT, value TEXT)`
	insert         = `INSERT INTO tiles VALUES (?, ?, ?, ?)`
)

func open(t testing.TB, path string) *mbtiles.Source {
	t.Helper()
	src, err := mbtiles.Open(context.Background(), source.Spec{ID: "test", Source: path}, mbtiles.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

var picture = sourcetest.Paint(maptile.New(0, 0, 0), 256)

func TestConformance(t *testing.T) {
	path := write(t, createTiles, createMetadata,
		insert, 3, 1, 6, picture, // z3 x1 y1
		insert, 2, 0, 3, picture)
	sourcetest.Run(t, open(t, path), maptile.New(1, 1, 3), maptile.New(7, 7, 3))
}

func TestConformanceKampala(t *testing.T) {
	path := sourcetest.Shared(t, "geo", "mbtiles", "kampala_houses_jpg.mbtiles")
	sourcetest.Run(t, open(t, path), maptile.New(619224, 1<<20-1-525308, 20), maptile.New(0, 0, 20))
}

func TestRealFiles(t *testing.T) {
	for _, c := range []struct {
		file, mediaType, title string
		tile                   maptile.Tile
		size                   int // bytes of tile
		least, most            maptile.Zoom
		bound                  orb.Bound
	}{
		{"kampala_houses_jpg.mbtiles", tilescout.JPEG, "Kampala drone houses", maptile.New(1238448, 1<<21-1-1050616, 21), 13779, 19, 21,
			orb.Bound{Min: orb.Point{32.59368896, 0.35018703}, Max: orb.Point{32.59574890, 0.35156029}}},
		{"world_map_jpg.mbtiles", tilescout.JPEG, "Geography Class", maptile.New(0, 1, 1), 13735, 0, 1,
			orb.Bound{Min: orb.Point{-180, -85.0511}, Max: orb.Point{180, 85.0511}}},
		{"world_map_webp.mbtiles", tilescout.WebP, "Geography Class (WebP)", maptile.New(0, 1, 1), 5480, 0, 1,
			orb.Bound{Min: orb.Point{-180, -85.0511}, Max: orb.Point{180, 85.0511}}},
	} {
		t.Run(c.file, func(t *testing.T) {
			src := open(t, sourcetest.Shared(t, "geo", "mbtiles", c.file))
			info := src.Info()
			if info.MediaType != c.mediaType || info.Title != c.title || info.MinZoom != c.least || info.MaxZoom != c.most || info.Bound != c.bound || info.TileSize != 256 {
				t.Errorf("Info() = %+v, want %+v", info, c)
			}
			pic, err := src.Tile(t.Context(), c.tile)
			if err != nil || len(pic.Data) != c.size || pic.MediaType != c.mediaType {
				t.Errorf("Tile(%v) = %d bytes of %q, %v, want %d of %q", c.tile, len(pic.Data), pic.MediaType, err, c.size, c.mediaType)
			}
		})
	}
}

func zipped(data []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(data)
	z.Close()
	return b.Bytes()
}

// TestQuirks holds files that other programs write and read.
func TestQuirks(t *testing.T) {
	tile := maptile.New(5, 2, 3)
	row := source.TMSRow(tile)
	big := sourcetest.Paint(tile, 512)
	for _, c := range []struct {
		name string
		file []any
		want []byte
		size int
	}{
		{"no metadata table", []any{createTiles, insert, 3, 5, row, picture}, picture, 256},
		{"empty metadata", []any{createTiles, createMetadata, insert, 3, 5, row, picture}, picture, 256},
		{"wrong format", []any{createTiles, createMetadata, "INSERT INTO metadata VALUES ('format', 'jpg')", insert, 3, 5, row, picture}, picture, 256},
		{"wrong zooms", []any{createTiles, createMetadata, "INSERT INTO metadata VALUES ('minzoom', '9'), ('maxzoom', 'x')", insert, 3, 5, row, picture}, picture, 256},
		{"NULL in metadata", []any{createTiles, createMetadata, "INSERT INTO metadata VALUES (NULL, 'x'), ('bounds', NULL), ('name', x'00ff')", insert, 3, 5, row, picture}, picture, 256},
		{"gzip'ed tile", []any{createTiles, insert, 3, 5, row, zipped(picture)}, picture, 256},
		{"512 px", []any{createTiles, insert, 3, 5, row, big}, big, 512},
		{"no index", []any{"CREATE TABLE tiles (zoom_level, tile_column, tile_row, tile_data)", insert, 3, 5, row, picture}, picture, 256},
		{"view", []any{
			"CREATE TABLE map (zoom_level INTEGER, tile_column INTEGER, tile_row INTEGER, tile_id TEXT)",
			"CREATE TABLE images (tile_id TEXT, tile_data BLOB)",
			"CREATE VIEW tiles AS SELECT zoom_level, tile_column, tile_row, tile_data FROM map JOIN images ON map.tile_id = images.tile_id",
			"INSERT INTO map VALUES (3, 5, ?, 'a')", row, "INSERT INTO images VALUES ('a', ?)", picture}, picture, 256},
		{"first tile damaged", []any{createTiles, insert, 3, 0, 0, []byte("oops"), insert, 3, 5, row, picture}, picture, 256},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := open(t, write(t, c.file...))
			pic, err := src.Tile(t.Context(), tile)
			if err != nil || !bytes.Equal(pic.Data, c.want) {
				t.Errorf("Tile(%v) = %d bytes, %v, want %d", tile, len(pic.Data), err, len(c.want))
			}
			info := src.Info()
			if info.MinZoom != 3 || info.MaxZoom != 3 || info.TileSize != c.size || info.MediaType != tilescout.PNG || !info.Bound.Intersects(tile.Bound()) {
				t.Errorf("Info() = %+v, want zoom 3, %d px, PNG, a bound that touches %v", info, c.size, tile.Bound())
			}
		})
	}
}

// TestBadTiles holds tiles that are there and are nothing to serve.
func TestBadTiles(t *testing.T) {
	bomb := bytes.Repeat(zipped(make([]byte, 1<<20)), 17) // gzip members in a row are one stream
	for _, c := range []struct {
		name  string
		value any
		want  error
	}{
		{"NULL", nil, tilescout.ErrNotFound},
		{"empty blob", []byte{}, tilescout.ErrNotFound},
		{"text", "text", tilescout.ErrBadInput},
		{"number", 7, tilescout.ErrBadInput},
		{"html", []byte("<!DOCTYPE html><html></html>"), tilescout.ErrBadInput},
		{"cut short", picture[:len(picture)/2], tilescout.ErrBadInput},
		{"gzip cut short", zipped(picture)[:100], tilescout.ErrBadInput},
		{"gzip bomb", bomb, tilescout.ErrBadInput},
		{"5000 px", sourcetest.Paint(maptile.Tile{}, 1025), tilescout.ErrBadInput},
		{"more than 4 MiB", make([]byte, 4<<20+1), tilescout.ErrBadInput},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := open(t, write(t, createTiles, insert, 4, 1, 1, picture, insert, 3, 0, 7, c.value))
			pic, err := src.Tile(t.Context(), maptile.New(0, 0, 3))
			if !errors.Is(err, c.want) {
				t.Errorf("Tile = %d bytes, %v, want %v", len(pic.Data), err, c.want)
			}
		})
	}
}

// TestHostile holds databases that are made to hurt. Each is refused at opening or at the tile, soon.
func TestHostile(t *testing.T) {
	const endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) "
	view := func(data string) []any {
		return []any{"CREATE VIEW tiles AS SELECT 0 AS zoom_level, 0 AS tile_column, 0 AS tile_row, " + data + " AS tile_data"}
	}
	for _, c := range []struct {
		name string
		file []any
		text string
	}{
		{"no tiles table", []any{createMetadata}, "tiles(zoom_level"},
		{"empty tiles table", []any{createTiles}, "no tiles"},
		{"zooms beyond 30", []any{createTiles, insert, 99, 0, 0, picture}, "no tiles"},
		{"columns missing", []any{"CREATE TABLE tiles (z, x, y, data)"}, "tiles(zoom_level"},
		{"vector by format", []any{createTiles, createMetadata, "INSERT INTO metadata VALUES ('format', 'pbf')", insert, 0, 0, 0, []byte("\x1a\x00")}, "vector tiles"},
		{"vector by content", []any{createTiles, insert, 0, 0, 0, zipped([]byte("\x1a\x02\x0a\x00"))}, "vector tiles"},
		{"all HTML", []any{createTiles, insert, 0, 0, 0, []byte("<html>")}, "no pictures"},
		{"zeroblob", view("zeroblob(999999999)"), "too big"},
		{"printf", view("printf('%.*c', 900000000, 'x')"), ""},
		{"endless view", []any{"CREATE VIEW tiles AS " + endless + "SELECT 0 AS zoom_level, 0 AS tile_column, 0 AS tile_row, NULL AS tile_data FROM n WHERE i < 0"}, ""},
		{"endless metadata", []any{createTiles, insert, 0, 0, 0, picture, "CREATE VIEW metadata AS " + endless + "SELECT 'a' AS name, 'b' AS value FROM n WHERE i < 0"}, "within"},
		{"cross join", []any{"CREATE VIEW tiles AS " + endless + "SELECT a.i*0 AS zoom_level, 0 AS tile_column, 0 AS tile_row, x'00' AS tile_data FROM n a, n b, n c"}, ""},
		{"unsafe function", view("load_extension('x')"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, c.file...)
			src, err := mbtiles.Open(t.Context(), source.Spec{ID: "test", Source: path}, mbtiles.Options{})
			if err == nil {
				defer src.Close()
				_, err = src.Tile(t.Context(), maptile.New(0, 0, 0))
			}
			if !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want ErrBadInput with %q", err, c.text)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q has more than one line", err)
			}
		})
	}
}

// TestSlowTile: what takes too long now may not the next time; the connection stays good.
func TestSlowTile(t *testing.T) {
	path := write(t, createTiles, insert, 0, 0, 0, picture)
	src, err := mbtiles.Open(t.Context(), source.Spec{ID: "test", Source: path}, mbtiles.Options{Deadline: 1, Connections: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	for range 3 {
		if _, err := src.Tile(t.Context(), maptile.Tile{}); !errors.Is(err, tilescout.ErrBusy) {
			t.Errorf("Tile within 1 ns: %v, want ErrBusy", err)
		}
	}
}

func TestNotMBTiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ name, path, text string }{
		{"missing", filepath.Join(dir, "none.mbtiles"), "no such file"},
		{"folder", dir, "not a regular file"},
		{"empty", file("empty", nil), "an empty body"},
		{"html", file("html", []byte("<html><body>404</body></html>")), "an HTML page"},
		{"tiff", file("tiff", []byte("II*\x00\x08\x00\x00\x00")), "a TIFF"},
		{"only the magic", file("magic", []byte("SQLite format 3\x00")), "cut short"},
		{"huge page count", file("pages", append([]byte("SQLite format 3\x00\x10\x00\x01\x01\x00\x40\x20\x20\x00\x00\x00\x01\x7f\xff\xff\xff"), make([]byte, 4096)...)), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := mbtiles.Open(t.Context(), source.Spec{ID: "test", Source: c.path}, mbtiles.Options{})
			if !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("Open: %v, want ErrBadInput with %q", err, c.text)
			}
		})
	}
}

func TestCorruptFile(t *testing.T) {
	path := sourcetest.Shared(t, "geo", "broken", "corrupt_sqlite.mbtiles")
	_, err := mbtiles.Open(t.Context(), source.Spec{ID: "test", Source: path}, mbtiles.Options{})
	if !errors.Is(err, tilescout.ErrBadInput) {
		t.Errorf("Open: %v, want ErrBadInput", err)
	}
}

// TestTruncated cuts a small file at every length; none opens.
func TestTruncated(t *testing.T) {
	whole, err := os.ReadFile(filepath.Join("testdata", "tiny.mbtiles"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, filepath.Join("testdata", "tiny.mbtiles")).Tile(t.Context(), maptile.New(0, 0, 0)); err != nil {
		t.Fatalf("the whole file: %v", err)
	}
	path := filepath.Join(t.TempDir(), "cut.mbtiles")
	step := 1
	if testing.Short() {
		step = 16
	}
	for n := 0; n < len(whole); n += step {
		if err := os.WriteFile(path, whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		src, err := mbtiles.Open(t.Context(), source.Spec{ID: "cut", Source: path}, mbtiles.Options{Connections: 1})
		if !errors.Is(err, tilescout.ErrBadInput) {
			t.Fatalf("cut at %d of %d bytes: %v, %v, want ErrBadInput", n, len(whole), src, err)
		}
	}
}

func TestVersionFollowsContent(t *testing.T) {
	path := write(t, createTiles, insert, 0, 0, 0, picture)
	first := open(t, path).Info().Version
	if again := open(t, path).Info().Version; again != first {
		t.Errorf("version of the same file: %q and %q", first, again)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
	if again := open(t, path).Info().Version; again == first {
		t.Errorf("version of a changed file is still %q", again)
	}
}

// TestWrites proves that opening and reading leave no trace, not even beside the file.
func TestLeavesNoTrace(t *testing.T) {
	path := write(t, createTiles, insert, 0, 0, 0, picture)
	before, _ := os.ReadFile(path)
	src := open(t, path)
	if _, err := src.Tile(t.Context(), maptile.Tile{}); err != nil {
		t.Fatal(err)
	}
	src.Close()
	after, _ := os.ReadFile(path)
	entries, _ := os.ReadDir(filepath.Dir(path))
	if !bytes.Equal(before, after) || len(entries) != 1 {
		t.Errorf("the file changed (%v) or has %d neighbours", !bytes.Equal(before, after), len(entries)-1)
	}
}

func BenchmarkTile(b *testing.B) {
	for file, corner := range map[string]maptile.Tile{
		"kampala_houses_jpg.mbtiles": maptile.New(1238448, 1<<21-1-1050623, 21),
		"world_map_jpg.mbtiles":      maptile.New(0, 0, 1), // a view
	} {
		b.Run(strings.TrimSuffix(file, ".mbtiles"), func(b *testing.B) {
			src := open(b, sourcetest.Shared(b, "geo", "mbtiles", file))
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for i := uint32(0); pb.Next(); i++ {
					tile := maptile.New(corner.X+i%2, corner.Y+i/2%2, corner.Z)
					if _, err := src.Tile(context.Background(), tile); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tiles/s")
		})
	}
}
