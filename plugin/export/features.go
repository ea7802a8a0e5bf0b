package export

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/paulmach/orb/geojson"

	"github.com/tilescout/tilescout"
)

// FeatureFormats are the endings of the files that Features writes.
var FeatureFormats = []string{".geojson", ".gpkg", ".parquet"}

// Features writes a collection in degrees as GeoJSON (RFC 7946), GeoPackage 1.3 or GeoParquet 1.1, by the ending of path,
// and returns the length of the file. The file is there whole or not at all. name is that of the table in a GeoPackage.
func Features(ctx context.Context, path, name string, fc *geojson.FeatureCollection, force bool) (int64, error) {
	kind := strings.ToLower(filepath.Ext(path))
	var write func(*os.File) error
	switch kind {
	case ".geojson":
		write = func(f *os.File) error { return json.NewEncoder(f).Encode(fc) }
	case ".gpkg", ".parquet":
		t, err := tableOf(fc)
		if err != nil {
			return 0, fmt.Errorf("export to %s: %w", path, err)
		}
		write = func(f *os.File) error { return writeGeoPackage(ctx, f.Name(), name, t) }
		if kind == ".parquet" {
			write = func(f *os.File) error { return writeGeoParquet(f, t) }
		}
	default:
		return 0, fmt.Errorf("export to %s: a file ending in %s: %w", path, strings.Join(FeatureFormats, ", "), tilescout.ErrBadInput)
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	part, err := begin(path, force)
	if err != nil {
		return 0, err
	}
	defer os.Remove(part.Name())
	defer part.Close()
	if err := write(part); err != nil {
		return 0, fmt.Errorf("export to %s: %w", path, err)
	}
	return publish(part, path)
}
