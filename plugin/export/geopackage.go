package export

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"math"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/encoding/wkb"
	_ "modernc.org/sqlite" // the container
)

// OGC 12-128r17 (GeoPackage 1.3): what marks the file, and the tables that each one has. No library for Go without cgo
// writes it; the format is four tables in SQLite and a header before each geometry's WKB.
const (
	geoPackageID      = 0x47504B47 // "GPKG"
	geoPackageVersion = 10300
	wgs84             = 4326 // coordinates as longitude, latitude (§2.1.3: WKB is x, y whatever the authority says)
	wgs84WKT          = `GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,AUTHORITY["EPSG","7030"]],AUTHORITY["EPSG","6326"]],` +
		`PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]],AUTHORITY["EPSG","4326"]]`
)

const geoPackageSchema = `
CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL, srs_id INTEGER NOT NULL PRIMARY KEY, organization TEXT NOT NULL,
	organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);
CREATE TABLE gpkg_contents (table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE, description TEXT DEFAULT '',
	last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')), min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER,
	CONSTRAINT fk_gc_r_srs_id FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id));
CREATE TABLE gpkg_geometry_columns (table_name TEXT NOT NULL, column_name TEXT NOT NULL, geometry_type_name TEXT NOT NULL, srs_id INTEGER NOT NULL,
	z TINYINT NOT NULL, m TINYINT NOT NULL, CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name), CONSTRAINT uk_gc_table_name UNIQUE (table_name),
	CONSTRAINT fk_gc_tn FOREIGN KEY (table_name) REFERENCES gpkg_contents(table_name),
	CONSTRAINT fk_gc_srs FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys (srs_id));
INSERT INTO gpkg_spatial_ref_sys VALUES ('Undefined Cartesian SRS', -1, 'NONE', -1, 'undefined', NULL), ('Undefined geographic SRS', 0, 'NONE', 0, 'undefined', NULL);`

// writeGeoPackage fills the empty file at path with one table.
func writeGeoPackage(ctx context.Context, path, name string, t *table) error {
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
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // nothing after Commit
	if err := fillGeoPackage(ctx, tx, name, t); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return db.Close()
}

func fillGeoPackage(ctx context.Context, tx *sql.Tx, name string, t *table) error {
	exec := func(query string, args ...any) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	}
	if err := exec(fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d; %s", geoPackageID, geoPackageVersion, geoPackageSchema)); err != nil {
		return err
	}
	if err := exec("INSERT INTO gpkg_spatial_ref_sys VALUES ('WGS 84 geodetic', ?, 'EPSG', ?, ?, 'longitude/latitude coordinates in decimal degrees')", wgs84, wgs84, wgs84WKT); err != nil {
		return err
	}
	definition, places := "fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom "+strings.ToUpper(t.geometry), "?"
	for _, c := range t.columns {
		definition += ", " + quoted(c.name) + " " + map[columnType]string{integers: "INTEGER", reals: "REAL", texts: "TEXT"}[c.kind]
		places += ", ?"
	}
	if err := exec("CREATE TABLE " + quoted(name) + " (" + definition + ")"); err != nil {
		return err
	}
	box := []any{nil, nil, nil, nil} // §1.1.3: unknown where there is nothing
	if len(t.rows) > 0 {
		box = []any{t.bound.Min.X(), t.bound.Min.Y(), t.bound.Max.X(), t.bound.Max.Y()}
	}
	if err := exec("INSERT INTO gpkg_contents VALUES (?, 'features', ?, ?, ?, ?, ?, ?, ?, ?)",
		append([]any{name, name, t.properties, time.Now().UTC().Format("2006-01-02T15:04:05.000Z")}, append(box, wgs84)...)...); err != nil {
		return err
	}
	if err := exec("INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', ?, ?, 0, 0)", name, strings.ToUpper(t.geometry), wgs84); err != nil {
		return err
	}
	insert, err := tx.PrepareContext(ctx, "INSERT INTO "+quoted(name)+" VALUES (NULL, "+places+")")
	if err != nil {
		return err
	}
	defer insert.Close()
	for _, r := range t.rows {
		g, err := geoPackageGeometry(r.geometry)
		if err != nil {
			return err
		}
		if _, err := insert.ExecContext(ctx, append([]any{g}, r.values...)...); err != nil {
			return err
		}
	}
	return nil
}

// quoted is a name as SQL takes it, whatever it holds.
func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// geoPackageGeometry is a geometry as §2.1.3 wants it: header, envelope (none for a point), WKB.
func geoPackageGeometry(g orb.Geometry) ([]byte, error) {
	const version, littleEndian, envelopeXY = 0, 1, 1 << 1
	flags := byte(littleEndian)
	_, point := g.(orb.Point)
	if !point {
		flags |= envelopeXY
	}
	le := binary.LittleEndian
	out := le.AppendUint32([]byte{'G', 'P', version, flags}, wgs84)
	if b := g.Bound(); !point {
		for _, v := range []float64{b.Min.X(), b.Max.X(), b.Min.Y(), b.Max.Y()} {
			out = le.AppendUint64(out, math.Float64bits(v))
		}
	}
	data, err := wkb.Marshal(g, le)
	if err != nil {
		return nil, fmt.Errorf("encode a geometry: %w", err)
	}
	return append(out, data...), nil
}
