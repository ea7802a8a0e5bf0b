package export

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/paulmach/orb/encoding/wkb"
)

// rowsPerGroup bounds what the writer holds before it packs it.
const rowsPerGroup = 64 << 10

// crs84 is longitude and latitude on WGS 84 in PROJJSON. It is what GeoParquet assumes where nothing is said; readers
// that do not know that find it here.
const crs84 = `{"$schema":"https://proj.org/schemas/v0.7/projjson.schema.json","type":"GeographicCRS","name":"WGS 84 (CRS84)",` +
	`"datum":{"type":"GeodeticReferenceFrame","name":"World Geodetic System 1984","ellipsoid":{"name":"WGS 84","semi_major_axis":6378137,"inverse_flattening":298.257223563}},` +
	`"coordinate_system":{"subtype":"ellipsoidal","axis":[{"name":"Geodetic longitude","abbreviation":"Lon","direction":"east","unit":"degree"},` +
	`{"name":"Geodetic latitude","abbreviation":"Lat","direction":"north","unit":"degree"}]},"id":{"authority":"OGC","code":"CRS84"}}`

// corners of the covering, which lets a reader skip row groups by their statistics (GeoParquet 1.1, "covering").
var corners = []string{"xmin", "ymin", "xmax", "ymax"}

// writeGeoParquet writes one table.
func writeGeoParquet(w io.Writer, t *table) error {
	double := func() parquet.Node { return parquet.Leaf(parquet.DoubleType) }
	group := parquet.Group{"geometry": parquet.Leaf(parquet.ByteArrayType), "bbox": parquet.Group{}}
	for _, c := range corners {
		group["bbox"].(parquet.Group)[c] = double()
	}
	for _, c := range t.columns {
		switch c.kind {
		case integers:
			group[c.name] = parquet.Optional(parquet.Leaf(parquet.Int64Type))
		case reals:
			group[c.name] = parquet.Optional(double())
		case texts:
			group[c.name] = parquet.Optional(parquet.String())
		}
	}
	schema := parquet.NewSchema("matches", group)
	about, err := describeParquet(t)
	if err != nil {
		return err
	}
	options := []parquet.WriterOption{schema, parquet.Compression(&parquet.Zstd), parquet.MaxRowsPerRowGroup(rowsPerGroup), parquet.KeyValueMetadata("geo", about)}
	if t.properties != "" {
		options = append(options, parquet.KeyValueMetadata("tilescout", t.properties))
	}
	out := parquet.NewWriter(w, options...)
	leaves := schema.Columns() // in the order of the file
	for _, r := range t.rows {
		values, err := parquetRow(t, r, leaves)
		if err != nil {
			return err
		}
		if _, err := out.WriteRows([]parquet.Row{values}); err != nil {
			return fmt.Errorf("write a row: %w", err)
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("write the end: %w", err)
	}
	return nil
}

func parquetRow(t *table, r row, leaves [][]string) (parquet.Row, error) {
	b := r.geometry.Bound()
	out := make(parquet.Row, 0, len(leaves))
	for i, path := range leaves {
		var v parquet.Value
		defined := 0
		switch path[0] {
		case "geometry":
			data, err := wkb.Marshal(r.geometry, binary.LittleEndian)
			if err != nil {
				return nil, fmt.Errorf("encode a geometry: %w", err)
			}
			v = parquet.ByteArrayValue(data)
		case "bbox":
			v = parquet.DoubleValue([]float64{b.Min.X(), b.Min.Y(), b.Max.X(), b.Max.Y()}[slices.Index(corners, path[1])])
		default:
			k := slices.IndexFunc(t.columns, func(c column) bool { return c.name == path[0] })
			if held := r.values[k]; held != nil {
				v, defined = parquet.ValueOf(held), 1
			}
		}
		out = append(out, v.Level(0, defined, i))
	}
	return out, nil
}

// describeParquet is the file's "geo" metadata.
func describeParquet(t *table) (string, error) {
	types := []string{} // empty: unknown
	if t.geometry != "Geometry" {
		types = append(types, t.geometry)
	}
	covering := map[string][]string{}
	for _, c := range corners {
		covering[c] = []string{"bbox", c}
	}
	geometry := map[string]any{
		"encoding": "WKB", "geometry_types": types, "crs": json.RawMessage(crs84), "edges": "planar", "orientation": "counterclockwise",
		"covering": map[string]any{"bbox": covering},
	}
	if len(t.rows) > 0 {
		geometry["bbox"] = []float64{t.bound.Min.X(), t.bound.Min.Y(), t.bound.Max.X(), t.bound.Max.Y()}
	}
	text, err := json.Marshal(map[string]any{"version": "1.1.0", "primary_column": "geometry", "columns": map[string]any{"geometry": geometry}})
	if err != nil {
		return "", fmt.Errorf("encode the metadata: %w", err)
	}
	return string(text), nil
}
