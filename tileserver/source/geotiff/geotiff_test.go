package geotiff_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	_ "image/jpeg"
	_ "image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo/geotiff/hostile"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/geotiff"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

func open(t testing.TB, parts ...string) *geotiff.Source {
	t.Helper()
	// The race detector on a busy machine is no reason to call a tile slow.
	s, err := geotiff.OpenWith(context.Background(), sourcetest.Shared(t, append([]string{"geo"}, parts...)...), tilescout.LayerInfo{ID: "test"}, geotiff.Options{Deadline: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	for _, c := range []struct {
		file            string
		present, absent maptile.Tile
	}{
		{"cog/culdesac_houses_26913_jpeg.tif", maptile.New(219108, 400917, 20), maptile.New(219100, 400917, 20)},
		{"cog/snow_road_forest_3857_jpeg_mask.tif", maptile.New(224758, 101422, 18), maptile.New(0, 0, 18)},
		{"cog/naip_strip_3857_lzw_rgba.tif", maptile.New(42710, 97343, 18), maptile.New(42708, 97341, 18)},
		{"geotiff/southamerica_3857_rgba_aligned.tif", maptile.New(1, 2, 2), maptile.New(2, 2, 2)},
	} {
		t.Run(filepath.Base(c.file), func(t *testing.T) {
			sourcetest.Run(t, open(t, strings.Split(c.file, "/")...), c.present, c.absent)
		})
	}
}

func TestInfo(t *testing.T) {
	for _, c := range []struct {
		file string
		max  maptile.Zoom
	}{
		{"cog/culdesac_houses_26913_jpeg.tif", 20},
		{"cog/snow_road_forest_3857_jpeg_mask.tif", 18},
		{"geotiff/southamerica_3857_rgba_aligned.tif", 2},
		{"geotiff/rotterdam_harbour_32631_striped.tif", 15},
		{"geotiff/world_4326_planar_lzw.tif", 1},
	} {
		s := open(t, strings.Split(c.file, "/")...)
		info := s.Info()
		if info.MinZoom != 0 || info.MaxZoom != c.max || info.Title != strings.TrimSuffix(filepath.Base(c.file), ".tif") {
			t.Errorf("%s: Info() = %+v, want zooms 0 to %d", c.file, info, c.max)
		}
		for z := range info.MaxZoom + 1 {
			tile := maptile.At(info.Bound.Center(), z)
			_, err := s.Tile(context.Background(), tile)
			// At low zooms a file may be less than a pixel, and then fall between two.
			small := (info.Bound.Max[0]-info.Bound.Min[0])/360*256*math.Exp2(float64(z)) < 2
			if err != nil && (!small || !errors.Is(err, tilescout.ErrNotFound)) {
				t.Errorf("%s: Tile(%v): %v", c.file, tile, err)
			}
		}
	}
}

func TestAlignedTileIsTheFile(t *testing.T) {
	s := open(t, "geotiff", "southamerica_3857_rgba_aligned.tif")
	pic, err := s.Tile(context.Background(), maptile.New(1, 2, 2))
	if err != nil {
		t.Fatal(err)
	}
	if pic.MediaType != tilescout.JPEG {
		t.Errorf("an opaque tile is %s, want JPEG", pic.MediaType)
	}
	s, err = geotiff.OpenWith(context.Background(), sourcetest.Shared(t, "geo", "geotiff", "southamerica_3857_rgba_aligned.tif"),
		tilescout.LayerInfo{ID: "test"}, geotiff.Options{PNG: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if pic, err = s.Tile(context.Background(), maptile.New(1, 2, 2)); err != nil {
		t.Fatal(err)
	}
	img, _, err := image.Decode(bytes.NewReader(pic.Data))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(sourcetest.Shared(t, "geo", "geotiff", "southamerica_3857_rgba_aligned.tif"))
	if err != nil {
		t.Fatal(err)
	}
	// The file is uncompressed and its strips follow each other.
	start := bytes.Index(raw, firstPixels(img))
	if start < 0 {
		t.Fatal("the tile's first row is not in the file")
	}
	for y := range 256 {
		for x := range 256 {
			r, g, b, _ := img.At(x, y).RGBA()
			want := raw[start+4*(256*y+x):]
			if byte(r>>8) != want[0] || byte(g>>8) != want[1] || byte(b>>8) != want[2] {
				t.Fatalf("pixel %d,%d = %d %d %d, the file has %v", x, y, r>>8, g>>8, b>>8, want[:4])
			}
		}
	}
}

// firstPixels is the first row of a picture as RGBA.
func firstPixels(img image.Image) []byte {
	var out []byte
	for x := range img.Bounds().Dx() {
		r, g, b, a := img.At(x, 0).RGBA()
		out = append(out, byte(r>>8), byte(g>>8), byte(b>>8), byte(a>>8))
	}
	return out
}

func TestVersion(t *testing.T) {
	data, err := os.ReadFile(sourcetest.Shared(t, "geo", "cog", "culdesac_houses_26913_jpeg.tif"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a.tif")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	version := func() string {
		s, err := geotiff.Open(context.Background(), path, tilescout.LayerInfo{ID: "test"})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		return s.Info().Version
	}
	first := version()
	if again := version(); again != first {
		t.Errorf("version of the same file: %s, then %s", first, again)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
	if touched := version(); touched == first {
		t.Errorf("version %s stays after the file was written to", touched)
	}
}

// TestBandsAndStretch: what the operator chooses shows, and makes another version of the layer.
func TestBandsAndStretch(t *testing.T) {
	path := sourcetest.Shared(t, "geo", "cog", "landsat_uint16_3band_32617.tif")
	versions := map[string]bool{}
	for _, c := range []struct {
		spec source.Spec
		grey bool
		text string // of the error; "" for none
	}{
		{source.Spec{}, false, ""},
		{source.Spec{Bands: []int{3, 2, 1}}, false, ""},
		{source.Spec{Bands: []int{2}}, true, ""},
		{source.Spec{Stretch: []float64{5000, 12000}}, false, ""},
		{source.Spec{Stretch: []float64{5000, 12000, 5000, 12000, 4000, 11000}}, false, ""},
		{source.Spec{Bands: []int{4, 3, 2}}, false, "band 4 of 3"},
		{source.Spec{Bands: []int{1}, Stretch: []float64{0, 1, 0, 1, 0, 1}}, false, "stretch of 3 bands where 1"},
	} {
		s, err := geotiff.OpenWith(context.Background(), path, tilescout.LayerInfo{ID: "test"}, geotiff.Options{PNG: true}.For(c.spec))
		if c.text != "" {
			if !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v %v: error %v, want ErrBadInput with %q", c.spec.Bands, c.spec.Stretch, err, c.text)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		info := s.Info()
		if versions[info.Version] {
			t.Errorf("%v %v: version %s is that of another choice", c.spec.Bands, c.spec.Stretch, info.Version)
		}
		versions[info.Version] = true
		pic, err := s.Tile(context.Background(), maptile.At(info.Bound.Center(), 7))
		if err != nil {
			t.Fatal(err)
		}
		img, _, err := image.Decode(bytes.NewReader(pic.Data))
		if err != nil {
			t.Fatal(err)
		}
		grey, values := true, map[uint32]bool{}
		for y := range 256 {
			for x := range 256 {
				r, g, b, _ := img.At(x, y).RGBA()
				grey = grey && r == g && g == b
				values[r] = true
			}
		}
		if grey != c.grey || len(values) < 50 {
			t.Errorf("%v %v: grey %v with %d shades, want grey %v and many", c.spec.Bands, c.spec.Stretch, grey, len(values), c.grey)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ path, text string }{
		{filepath.Join(dir, "missing.tif"), "no such file"},
		{dir, "not a regular file"},
		{os.DevNull, "not a regular file"},
		{write("empty.tif", ""), "not a TIFF"},
		{write("page.tif", "<!DOCTYPE html><title>404</title>"), "not a TIFF"},
		{write("short.tif", "II*\x00\x08\x00\x00\x00"), "outside the file"},
	} {
		_, err := geotiff.Open(context.Background(), c.path, tilescout.LayerInfo{ID: "test"})
		if !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Open(%s): error %q, want ErrBadInput with %q", filepath.Base(c.path), err, c.text)
		}
	}
	for _, name := range []string{"cog/no_crs_zstd.tif", "geotiff/rotated_no_crs.tif"} {
		_, err := geotiff.Open(context.Background(), sourcetest.Shared(t, "geo", name), tilescout.LayerInfo{ID: "test"})
		if !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("Open(%s): error %v, want ErrBadInput", name, err)
		}
	}
}

func TestTileSizedRefusesOtherSizes(t *testing.T) {
	s := open(t, "cog", "culdesac_houses_26913_jpeg.tif")
	for _, size := range []int{-1, 0, 255, 1024, 1 << 30} {
		if _, err := s.TileSized(context.Background(), maptile.New(219108, 400917, 20), size); !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("TileSized(…, %d): error %v, want ErrBadInput", size, err)
		}
	}
}

// BenchmarkTile renders the tiles of one zoom over a whole file, one after another.
func BenchmarkTile(b *testing.B) {
	for _, c := range []struct {
		file string
		z    maptile.Zoom
	}{
		{"cog/snow_road_forest_3857_jpeg_mask.tif", 18},
		{"cog/dop_forest_25832_deflate.tif", 16},
		{"geotiff/bahamas_landsat_32618_lzw_tiled.tif", 9},
	} {
		b.Run(filepath.Base(c.file), func(b *testing.B) {
			s := open(b, strings.Split(c.file, "/")...)
			bound := s.Info().Bound
			lo, hi := maptile.At(bound.LeftTop(), c.z), maptile.At(bound.RightBottom(), c.z)
			n := 0
			for b.Loop() {
				w, h := hi.X-lo.X+1, hi.Y-lo.Y+1
				t := maptile.New(lo.X+uint32(n)%w, lo.Y+uint32(n)/w%h, c.z)
				if _, err := s.Tile(context.Background(), t); err != nil && !errors.Is(err, tilescout.ErrNotFound) {
					b.Fatal(err)
				}
				n++
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tiles/s")
		})
	}
}

// TestHostileFiles opens the corpus of damaged and lying TIFFs as layers and asks for a tile of each zoom that is.
func TestHostileFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "hostile.tif")
	served := 0
	for name, data := range hostile.Files() {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		err := func() error {
			s, err := geotiff.Open(context.Background(), path, tilescout.LayerInfo{ID: "test"})
			if err != nil {
				return err
			}
			defer s.Close()
			info := s.Info()
			for z := info.MinZoom; z <= info.MaxZoom; z++ {
				_, err := s.Tile(context.Background(), maptile.At(info.Bound.Center(), z))
				if err != nil && !errors.Is(err, tilescout.ErrNotFound) {
					return err
				}
			}
			served++
			return nil
		}()
		if err != nil && !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("%s: %v, want a tile or ErrBadInput", name, err)
		}
		if testing.Verbose() {
			t.Logf("%-45s %7v %.110v", name, time.Since(start).Round(time.Millisecond), err)
		}
	}
	if served == 0 {
		t.Error("none was served, not even those that only look strange")
	}
}
