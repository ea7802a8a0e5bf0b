package kinds_test

import (
	"archive/zip"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/reject"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/geotiff"
	"github.com/tilescout/tilescout/tileserver/source/kinds"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

var update = flag.Bool("update", false, "rewrite golden files")

// geoTable is where the table goes that this test makes.
var geoTable = filepath.Join("..", "..", "..", "docs", "geo-files.md")

// specs are what a document or a tree of tiles needs besides its address; the others open by themselves.
var specs = map[string]source.Spec{
	"capabilities/wmts_basemap_at.xml":         {Source: "wmts+", Layer: "geolandbasemap"},
	"capabilities/wmts_nasa_gibs.xml":          {Source: "wmts+", Layer: "MODIS_Terra_CorrectedReflectance_TrueColor"},
	"capabilities/wmts_eox_s2maps.xml":         {Source: "wmts+", Layer: "s2cloudless_3857"},
	"capabilities/wmts_arcgis.xml":             {Source: "wmts+"},
	"capabilities/wmts_matrixset_limits.xml":   {Source: "wmts+"},
	"capabilities/wms_1.1.1_jpl_onearth.xml":   {Source: "wms+", Layer: "global_mosaic"},
	"capabilities/wms_1.3.0_nationalatlas.xml": {Source: "wms+", Layer: "one_million"},
	"xyz/kampala_houses_xyz_z19-20.zip":        {Source: "{z}/{x}/{y}.png", MinZoom: 19, MaxZoom: 20, Bounds: []float64{32.5941, .3502, 32.596, .3515}},
	"xyz/natural_earth_tms_geodetic.zip":       {Source: "{z}/{x}/{y}.jpg", Scheme: "tms", MaxZoom: 2},
	"xyz/world_satellite_xyz_z0-3.zip":         {Source: "{z}/{x}/{y}.jpg", MaxZoom: 3},
}

// TestGeoTable opens every file of the shared data as a layer and asks it for a tile: each is served, or refused with a
// typed error in one line. The table in docs is the result; -v prints it, -update rewrites it.
func TestGeoTable(t *testing.T) {
	root := filepath.Dir(sourcetest.Shared(t, "geo", "cog"))
	var files []string
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if name, _ := filepath.Rel(root, path); err == nil && e.Type().IsRegular() && name != "README.md" {
			files = append(files, filepath.ToSlash(name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	documents := httptest.NewServer(http.FileServer(http.Dir(root)))
	defer documents.Close()
	var b strings.Builder
	b.WriteString("# What is served of the test files\n\nMade by `make geo-table`; do not edit. One row for each file of `../shared/data/geo`:\n" +
		"what it was opened as, the zooms of the layer, and a tile of it (its size as it came), or the reason for which it was refused. Of a\ncapabilities document no tile is asked for: the services are elsewhere.\n\n" +
		"| file | opened as | zooms | a tile |\n|---|---|---|---|\n")
	served := 0
	for _, name := range files {
		row := geoRow(t, root, documents.URL, name)
		if !strings.Contains(row, "refused") {
			served++
		}
		fmt.Fprintf(&b, "| %s | %s |\n", name, row)
	}
	fmt.Fprintf(&b, "\n%d files: %d served, %d refused.\n", len(files), served, len(files)-served)
	t.Logf("\n%s", b.String())
	if *update {
		if err := os.WriteFile(geoTable, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(geoTable); err != nil || string(want) != b.String() {
		t.Errorf("docs/geo-files.md is not what comes out (%v): look at the table with -v, and rewrite it with -update if it is right", err)
	}
}

// geoRow is what follows a file's name in the table.
func geoRow(t *testing.T, root, documents, name string) string {
	path := filepath.Join(root, filepath.FromSlash(name))
	spec := specs[name]
	kind := "address"
	switch {
	case name == "broken/tiff_fuzz_60.zip":
		return fuzzed(t, path)
	case strings.HasSuffix(name, ".ovr"), strings.HasSuffix(name, ".msk"):
		return "part of the file it is named after | – | with that"
	case strings.HasPrefix(name, "capabilities/"):
		if p := strings.TrimSuffix(spec.Source, "+"); p != "" {
			kind = strings.ToUpper(p)
		} else if strings.HasSuffix(name, ".json") {
			kind = "TileJSON"
		}
		spec.Source += documents + "/" + name
	case strings.HasPrefix(name, "xyz/"):
		z, err := zip.OpenReader(path)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		tiles := httptest.NewServer(http.FileServerFS(z))
		defer tiles.Close()
		kind, spec.Source = "XYZ", tiles.URL+"/"+spec.Source
		if spec.Scheme == "tms" {
			kind = "TMS, its tiles taken for web maps' (they are in degrees)"
		}
	default:
		spec.Source = path
		detected, _ := kinds.Detect(path) // the error comes again below
		kind = cmp.Or(string(detected), "file")
	}
	spec.ID = "test"
	// No clock of ours is to decide on a busy machine.
	o := kinds.Options{GeoTIFF: geotiff.Options{Deadline: time.Minute}}
	o.MBTiles.Deadline, o.MBTiles.OpenTime = time.Minute, time.Minute
	src, err := kinds.Open(t.Context(), spec, o)
	if err != nil {
		return kind + " | – | " + refusal(t, name, err)
	}
	defer src.Close()
	in := src.Info()
	zooms := fmt.Sprintf("%d–%d", in.MinZoom, in.MaxZoom)
	if strings.HasPrefix(name, "capabilities/") {
		return fmt.Sprintf("%s | %s | –", kind, zooms)
	}
	tile, pic, err := anyTile(t.Context(), src)
	if err != nil {
		return fmt.Sprintf("%s | %s | %s", kind, zooms, refusal(t, name, err))
	}
	shape, err := source.Header(pic.Data)
	if err != nil {
		t.Errorf("%s: tile %v: %v", name, tile, err)
	}
	return fmt.Sprintf("%s | %s | %d/%d/%d: %s, %d px", kind, zooms, tile.Z, tile.X, tile.Y, strings.TrimPrefix(pic.MediaType, "image/"), shape.Width)
}

// anyTile is the first tile with content, from the finest zoom up, at places spread over the layer.
func anyTile(ctx context.Context, src source.Source) (maptile.Tile, tilescout.Picture, error) {
	in := src.Info()
	var last error
	for z := int(in.MaxZoom); z >= int(in.MinZoom); z-- {
		for k := range 49 {
			k = (k + 24) % 49 // the middle first
			x, y := (float64(k%7)+.5)/7, (float64(k/7)+.5)/7
			t := maptile.At(orb.Point{in.Bound.Min[0] + x*(in.Bound.Max[0]-in.Bound.Min[0]), max(-85, min(85, in.Bound.Min[1]+y*(in.Bound.Max[1]-in.Bound.Min[1])))}, maptile.Zoom(z))
			pic, err := src.Tile(ctx, t)
			if err == nil {
				return t, pic, nil
			}
			if !errors.Is(err, tilescout.ErrNotFound) {
				return t, pic, err
			}
			last = err
		}
	}
	return maptile.Tile{}, tilescout.Picture{}, last
}

// refusal is how the table says why a file is not served, and holds the error to one line with a kind.
func refusal(t *testing.T, name string, err error) string {
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: more than one line: %v", name, err)
	}
	if kind, ok := reject.Of(err); ok {
		return "refused: " + kind.Name + ", " + kind.Text
	}
	switch {
	case errors.Is(err, tilescout.ErrNotFound):
		return "nothing but nodata: empty tiles"
	case errors.Is(err, tilescout.ErrBadInput):
		return "refused: no imagery, or none with a place"
	}
	t.Errorf("%s: %v, want an error of a kind", name, err)
	return "refused"
}

// fuzzed opens each of the TIFFs that a fuzzer made.
func fuzzed(t *testing.T, path string) string {
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	opened, refused, dir := 0, 0, t.TempDir()
	for i, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(io.LimitReader(r, 16<<20))
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		one := filepath.Join(dir, fmt.Sprintf("%d.tif", i))
		if err := os.WriteFile(one, data, 0o600); err != nil {
			t.Fatal(err)
		}
		src, err := kinds.Open(t.Context(), source.Spec{ID: "test", Source: one}, kinds.Options{})
		if err == nil {
			opened++
			src.Close()
			continue
		}
		refused++
		if !errors.Is(err, tilescout.ErrBadInput) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line of ErrBadInput", f.Name, err)
		}
	}
	return fmt.Sprintf("%d TIFFs | – | refused: %d, opened: %d", opened+refused, refused, opened)
}
