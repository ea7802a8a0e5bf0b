package export_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/paulmach/orb"
	"github.com/paulmach/orb/encoding/wkb"
	"github.com/paulmach/orb/geojson"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/plugin/export"
)

// box is a polygon wound as RFC 7946 wants.
func box(w, s, e, n float64) orb.Polygon {
	return orb.Polygon{{{w, s}, {e, s}, {e, n}, {w, n}, {w, s}}}
}

// found is what a search answers: a polygon, a polygon in two parts, and properties of every kind.
func found() *geojson.FeatureCollection {
	fc := geojson.NewFeatureCollection()
	for i, g := range []orb.Geometry{box(11.5, 48.1, 11.6, 48.2), orb.MultiPolygon{box(12, 48, 12.1, 48.1), box(12.1, 48.1, 12.2, 48.2)}} {
		f := geojson.NewFeature(g)
		f.ID = []string{"17/69742/45439", `17/1/"2"`}[i]
		f.Properties = geojson.Properties{
			"rank": i + 1, "score": []float64{0.9731, 1}[i], "tile": "ä" + strings.Repeat("x", i), "center": orb.Point{11.5, 48},
			"thumbnail": "tiles/city/17/1/2.jpg", "imagery": "https://maps.example.org/1.jpg", "geom": "taken",
		}
		if i == 0 {
			f.Properties[`odd "name"; --`] = 7
		}
		fc.Append(f)
	}
	fc.ExtraMembers = geojson.Properties{"verdict": "match", "model": "test"}
	return fc
}

func points() *geojson.FeatureCollection {
	fc := geojson.NewFeatureCollection()
	f := geojson.NewFeature(orb.Point{-179.5, -12})
	f.ID, f.Properties = "5/0/17", geojson.Properties{"rank": 1, "score": .5}
	return fc.Append(f)
}

func write(t *testing.T, name string, fc *geojson.FeatureCollection) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	n, err := export.Features(t.Context(), path, "stadiums in town", fc, false)
	if err != nil {
		t.Fatal(err)
	}
	if stat, err := os.Stat(path); err != nil || stat.Size() != n || n == 0 {
		t.Fatalf("%s has %v bytes, %v, want the %d told", name, stat, err, n)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("beside the file: %v", left)
	}
	return path
}

// run gives a script of Python what it asks for in args, or skips.
func run(t *testing.T, python, needs, script string, args ...string) string {
	t.Helper()
	if exec.Command(python, "-c", "import "+needs).Run() != nil {
		t.Skip(python + " has no " + needs)
	}
	out, err := exec.Command(python, append([]string{"-c", script}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestGeoPackageInGDAL reads what was written with the reader that most programs use.
func TestGeoPackageInGDAL(t *testing.T) {
	script := `
import json, sys
from osgeo import gdal, ogr
gdal.UseExceptions()
d = gdal.OpenEx(sys.argv[1], gdal.OF_VECTOR, allowed_drivers=["GPKG"])
assert d.GetLayerCount() == 1
l = d.GetLayer(0)
srs = l.GetSpatialRef()
defn = l.GetLayerDefn()
print(json.dumps({"name": l.GetName(), "count": l.GetFeatureCount(), "type": ogr.GeometryTypeToName(l.GetGeomType()), "extent": l.GetExtent(),
  "srs": srs.GetAuthorityCode(None), "fields": [(defn.GetFieldDefn(i).GetName(), defn.GetFieldDefn(i).GetTypeName()) for i in range(defn.GetFieldCount())],
  "features": [[f.GetFID(), f.GetGeometryRef().ExportToWkt(), f.GetGeometryRef().IsValid(), [f.GetField(i) for i in range(f.GetFieldCount())]] for f in l]}, ensure_ascii=False))
l.SetSpatialFilterRect(11, 48.15, 11.9, 49)
assert l.GetFeatureCount() == (1 if len(sys.argv) < 3 else 0)
`
	got := run(t, "/usr/bin/python3", "osgeo", script, write(t, "m.gpkg", found()))
	for _, want := range []string{
		`"name": "stadiums in town", "count": 2, "type": "Multi Polygon", "extent": [11.5, 12.2, 48.0, 48.2], "srs": "4326"`,
		`["id", "String"], ["rank", "Integer64"], ["score", "Real"], ["center", "String"], ["imagery", "String"], ["odd \"name\"; --", "Integer64"], ["tile", "String"]`,
		`[1, "MULTIPOLYGON (((11.5 48.1,11.6 48.1,11.6 48.2,11.5 48.2,11.5 48.1)))", true, ["17/69742/45439", 1, 0.9731, "[11.5,48]", "https://maps.example.org/1.jpg", 7, "ä"]]`,
		`["17/1/\"2\"", 2, 1.0, "[11.5,48]", "https://maps.example.org/1.jpg", null, "äx"]`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("GDAL reads\n%s\nwant in it\n%s", got, want)
		}
	}
	got = run(t, "/usr/bin/python3", "osgeo", script, write(t, "p.gpkg", points()), "points")
	if want := `"type": "Point", "extent": [-179.5, -179.5, -12.0, -12.0]`; !strings.Contains(got, want) {
		t.Errorf("GDAL reads\n%s\nwant in it\n%s", got, want)
	}
	run(t, "/usr/bin/python3", "osgeo", script, write(t, "none.gpkg", geojson.NewFeatureCollection()), "empty")
}

// TestGeoParquetReadsBack opens the file without our own schema.
func TestGeoParquetReadsBack(t *testing.T) {
	path := write(t, "m.parquet", found())
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	stat, _ := f.Stat()
	p, err := parquet.OpenFile(f, stat.Size())
	if err != nil {
		t.Fatal(err)
	}
	text, _ := p.Lookup("geo")
	var about struct {
		Version, Primary_column string
		Columns                 map[string]struct {
			Encoding       string
			Geometry_types []string
			CRS            struct {
				ID struct{ Authority, Code string }
			}
			BBox     []float64
			Covering struct{ BBox map[string][]string }
		}
	}
	if err := json.Unmarshal([]byte(text), &about); err != nil {
		t.Fatalf("geo metadata %q: %v", text, err)
	}
	g := about.Columns["geometry"]
	if about.Version != "1.1.0" || about.Primary_column != "geometry" || g.Encoding != "WKB" || !slices.Equal(g.Geometry_types, []string{"MultiPolygon"}) ||
		g.CRS.ID.Code != "CRS84" || !slices.Equal(g.BBox, []float64{11.5, 48, 12.2, 48.2}) || !slices.Equal(g.Covering.BBox["ymax"], []string{"bbox", "ymax"}) {
		t.Errorf("geo metadata = %s", text)
	}
	if said, _ := p.Lookup("tilescout"); !strings.Contains(said, `"verdict":"match"`) {
		t.Errorf("tilescout metadata = %q", said)
	}
	type line struct {
		ID       string  `parquet:"id,optional"`
		Rank     int64   `parquet:"rank,optional"`
		Score    float64 `parquet:"score,optional"`
		Geometry []byte  `parquet:"geometry"`
		BBox     struct {
			XMin float64 `parquet:"xmin"`
			YMax float64 `parquet:"ymax"`
		} `parquet:"bbox"`
	}
	rows, err := parquet.Read[line](f, stat.Size())
	if err != nil || len(rows) != 2 {
		t.Fatalf("%d rows, %v, want 2", len(rows), err)
	}
	r := rows[1]
	if r.ID != `17/1/"2"` || r.Rank != 2 || r.Score != 1 || r.BBox.XMin != 12 || r.BBox.YMax != 48.2 {
		t.Errorf("second row = %+v", r)
	}
	if got, err := wkb.Unmarshal(r.Geometry); err != nil || !orb.Equal(got, found().Features[1].Geometry) || r.Geometry[0] != 1 {
		t.Errorf("geometry = %v, %v (%v), want what was put in", got, err, binary.LittleEndian)
	}
}

// TestGeoParquetInArrow reads it with the other implementation; TILESCOUT_ARROW_PYTHON is a Python that has pyarrow.
func TestGeoParquetInArrow(t *testing.T) {
	python := os.Getenv("TILESCOUT_ARROW_PYTHON")
	if python == "" {
		python = "python3"
	}
	for name, fc := range map[string]*geojson.FeatureCollection{"areas": found(), "points": points(), "none": geojson.NewFeatureCollection()} {
		got := run(t, python, "pyarrow", `
import json, sys
import pyarrow.parquet as pq
t = pq.read_table(sys.argv[1])
geo = json.loads(t.schema.metadata[b"geo"])
assert geo["version"] == "1.1.0" and geo["columns"]["geometry"]["crs"]["id"]["code"] == "CRS84", geo
assert pq.ParquetFile(sys.argv[1]).metadata.num_rows == t.num_rows
rows = t.to_pylist()
for r in rows: r["geometry"] = len(r["geometry"])
print(json.dumps(rows, ensure_ascii=False))`, write(t, "m.parquet", fc))
		want := map[string]string{
			"areas":  `"score": 0.9731, "tile": "ä"`,
			"points": `[{"bbox": {"xmax": -179.5, "xmin": -179.5, "ymax": -12.0, "ymin": -12.0}, "geometry": 21, "id": "5/0/17", "rank": 1, "score": 0.5}]`,
			"none":   `[]`,
		}[name]
		if !strings.Contains(got, want) {
			t.Errorf("%s: pyarrow reads %s, want in it %s", name, got, want)
		}
	}
}

func TestFeaturesLeaveNothingBehind(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	bare := geojson.NewFeatureCollection().Append(&geojson.Feature{ID: "1"})
	for _, c := range []struct {
		ctx  context.Context
		file string
		fc   *geojson.FeatureCollection
		want error
	}{
		{t.Context(), "m.shp", found(), tilescout.ErrBadInput},
		{t.Context(), "no folder/m.gpkg", found(), tilescout.ErrBadInput},
		{t.Context(), "bare.gpkg", bare, tilescout.ErrBadInput},
		{t.Context(), "bare.parquet", bare, tilescout.ErrBadInput},
		{cancelled, "m.gpkg", found(), context.Canceled},
		{cancelled, "m.parquet", found(), context.Canceled},
	} {
		dir := t.TempDir()
		if _, err := export.Features(c.ctx, filepath.Join(dir, c.file), "m", c.fc, false); !errors.Is(err, c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %v", c.file, err, c.want)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: left %v behind", c.file, left)
		}
	}
	path := write(t, "m.gpkg", found())
	if _, err := export.Features(t.Context(), path, "m", found(), false); !errors.Is(err, tilescout.ErrBadInput) {
		t.Errorf("over a file: %v, want ErrBadInput", err)
	}
	if _, err := export.Features(t.Context(), path, "m", points(), true); err != nil {
		t.Errorf("with force: %v", err)
	}
}
