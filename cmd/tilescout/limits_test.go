package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout/internal/reject"
	"github.com/tilescout/tilescout/tileserver/config"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/kinds"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

// TestLimitsReachTheReaders: a key of the config bounds what its row in docs/operations.md says, with the error there.
func TestLimitsReachTheReaders(t *testing.T) {
	shared := func(parts ...string) string { return sourcetest.Shared(t, append([]string{"geo"}, parts...)...) }
	cog, jpeg := shared("cog", "dop_forest_25832_deflate.tif"), shared("cog", "snow_road_forest_3857_jpeg_mask.tif")
	photo := filepath.Join(t.TempDir(), "photo.png")
	if err := os.WriteFile(photo, sourcetest.Paint(maptile.New(0, 0, 0), 256), 0o600); err != nil {
		t.Fatal(err)
	}
	services := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(shared("capabilities", "wmts_basemap_at.xml")))))
	defer services.Close()
	wmts := "wmts+" + services.URL + "/wmts_nasa_gibs.xml"
	for _, c := range []struct {
		key, source, want string
		set               func(*config.Limits)
	}{
		{"raster.ifds", cog, "ErrTooManyIFDs", func(l *config.Limits) { l.Raster.IFDs = 1 }},
		{"raster.tags", cog, "ErrTagCount", func(l *config.Limits) { l.Raster.Tags = 3 }},
		{"raster.blockSide", cog, "ErrBlockTooLarge", func(l *config.Limits) { l.Raster.BlockSide = 16 }},
		{"raster.samples", cog, "ErrUnsupported", func(l *config.Limits) { l.Raster.Samples = 1 }},
		{"raster.geoKeys", cog, "ErrTagValue", func(l *config.Limits) { l.Raster.GeoKeys = 1 }},
		{"raster.files", filepath.Dir(jpeg), "ErrTooManyFiles", func(l *config.Limits) { l.Raster.Files = 3 }},
		{"picture.side", shared("mbtiles", "kampala_houses_jpg.mbtiles"), "ErrPictureSize", func(l *config.Limits) { l.Picture.Side = 64 }},
		{"picture.filePixels", "picture:" + photo, "ErrPictureTooLarge", func(l *config.Limits) { l.Picture.FilePixels = 100 }},
		{"archive.directoryEntries", shared("pmtiles", "world_satellite_jpg.pmtiles"), "ErrDirectorySize", func(l *config.Limits) { l.Archive.DirectoryEntries = 2 }},
		{"upstream.documentDepth", wmts, "ErrXMLDepth", func(l *config.Limits) { l.Upstream.DocumentDepth = 2 }},
		{"upstream.documentElements", wmts, "ErrXMLElements", func(l *config.Limits) { l.Upstream.DocumentElements = 20 }},
		{"upstream.documentLayers", wmts, "ErrTooManyLayers", func(l *config.Limits) { l.Upstream.DocumentLayers = 1 }},
	} {
		var l config.Limits
		spec := source.Spec{ID: "test", Source: c.source}
		_, o := limitsOf(l)
		if src, err := kinds.Open(t.Context(), spec, o); err == nil {
			src.Close()
		} else if kind, _ := reject.Of(err); kind != nil && kind.Name == c.want {
			t.Errorf("%s: %v without the limit", c.key, err)
		}
		c.set(&l)
		_, o = limitsOf(l)
		src, err := kinds.Open(t.Context(), spec, o)
		if err == nil {
			src.Close()
		}
		if kind, ok := reject.Of(err); !ok || kind.Name != c.want {
			t.Errorf("%s: %v, want %s", c.key, err, c.want)
		}
	}
}

// TestOneBudget: all that decodes has the memory that limits.memoryMB says, and no other.
func TestOneBudget(t *testing.T) {
	memory, o := limitsOf(config.Limits{MemoryMB: 3})
	if _, _, total := memory.Usage(); total != 3<<20 {
		t.Errorf("the budget has %d bytes, want 3 MiB", total)
	}
	if o.XYZ.Memory != memory || o.MBTiles.Memory != memory || o.PMTiles.Memory != memory || o.Picture.Memory != memory {
		t.Error("a kind of source has another budget")
	}
	src, err := kinds.Open(t.Context(), source.Spec{ID: "test", Source: sourcetest.Shared(t, "geo", "cog", "dop_forest_25832_deflate.tif")}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if _, err := src.Tile(t.Context(), maptile.New(34498, 21192, 16)); err != nil {
		t.Fatal(err)
	}
	if now, peak, _ := memory.Usage(); now != 0 || peak == 0 {
		t.Errorf("%d bytes in flight, %d at most, want a rendered tile to have taken some and given all back", now, peak)
	}
}
