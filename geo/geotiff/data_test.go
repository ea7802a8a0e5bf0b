package geotiff_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/geo/geotiff"
)

// dataFile is the path of a shared test picture; the test is skipped where they are not.
func dataFile(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the package")
		}
		dir = filepath.Dir(dir)
	}
	path := filepath.Join(dir, "..", "shared", "data", "geo", filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no shared test data: %v", err)
	}
	return path
}

func openBytes(b []byte) (*geotiff.File, error) {
	return geotiff.Open(bytes.NewReader(b), int64(len(b)), geotiff.Options{})
}

// openData opens a shared test picture with the files beside it.
func openData(t testing.TB, name string) *geotiff.File {
	t.Helper()
	return openDataWith(t, name, geotiff.Options{})
}

func openDataWith(t testing.TB, name string, o geotiff.Options) *geotiff.File {
	t.Helper()
	path := dataFile(t, name)
	read := func(path string) []byte {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for ext, side := range map[string]**geotiff.Sidecar{".ovr": &o.Overviews, ".msk": &o.Mask} {
		if _, err := os.Stat(path + ext); err == nil {
			b := read(path + ext)
			*side = &geotiff.Sidecar{Reader: bytes.NewReader(b), Size: int64(len(b))}
		}
	}
	b := read(path)
	f, err := geotiff.Open(bytes.NewReader(b), int64(len(b)), o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestPixelsOfRealFiles(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		file     string
		col, row int
		want     string
		lon, lat float64
		lossy    bool
		bound    [4]float64
	}{
		{"cog/snow_road_forest_3857_jpeg_mask.tif", 512, 512, "168/195/214", 128.6581448, 37.6686012, true, [4]float64{128.65540, 37.66643, 128.66089, 37.67078}},
		{"cog/naip_strip_3857_lzw_rgba.tif", 512, 1024, "157/138/115/255", -121.3467380, 41.9676572, false, [4]float64{-121.34949, 41.96357, -121.34399, 41.97174}},
		{"cog/naip_scrub_3857_none_rgba.tif", 64, 128, "121/117/94/255", -121.3436481, 41.9686783, false, [4]float64{-121.34399, 41.96817, -121.34331, 41.96919}},
		{"cog/dop_forest_25832_deflate.tif", 256, 256, "25/32/48", 9.5052069, 53.5133618, false, [4]float64{9.49760, 53.50884, 9.51279, 53.51790}},
		{"cog/netherlands_satellite_4326_jpeg_mask.tif", 473, 376, "53/64/50", 5.3671938, 52.2656041, true, [4]float64{2.99969, 50.38310, 7.73469, 54.14810}},
		{"cog/world_relief_4326_nonsquare_pixels.tif", 500, 500, "97/151/189", 0.1800000, -0.0900000, true, [4]float64{-180, -90, 180, 90}},
		{"cog/culdesac_houses_26913_jpeg.tif", 191, 116, "137/123/123", -104.7749964, 38.9536061, true, [4]float64{-104.77533, 38.95345, -104.77466, 38.95376}},
		{"cog/sea_surface_3857_webp.tif", 256, 256, "99/137/115", -61.5646309, 16.2278556, true, [4]float64{-61.56738, 16.22522, -61.56189, 16.23050}},
		{"cog/no_crs_zstd.tif", 128, 0, "0/0/0", nan, nan, false, [4]float64{}},
		{"geotiff/rotterdam_harbour_32631_striped.tif", 100, 100, "255/255/255", 4.3480628, 51.8898860, false, [4]float64{4.34137, 51.88579, 4.35469, 51.89403}},
		{"geotiff/desert_highway_26911_rgba.tif", 133, 102, "119/127/94/255", -116.3816843, 32.9716685, false, [4]float64{-116.38255, 32.97112, -116.38083, 32.97223}}, // infrared, not alpha
		{"geotiff/pivot_fields_26913_nodata0.tif", 96, 116, "136/125/103/255", -103.0310410, 36.5312341, false, [4]float64{-103.06635, 36.49708, -102.99606, 36.56539}},
		{"geotiff/culdesac_26913_striped.tif", 191, 116, "144/131/116", -104.7749964, 38.9536061, false, [4]float64{-104.77533, 38.95345, -104.77466, 38.95376}},
		{"geotiff/culdesac_26913_extmask.tif", 191, 116, "144/131/116", -104.7749964, 38.9536061, false, [4]float64{-104.77533, 38.95345, -104.77466, 38.95376}},
		{"geotiff/culdesac_26913_alpha.tif", 191, 116, "144/131/116/255", -104.7749964, 38.9536061, false, [4]float64{-104.77533, 38.95345, -104.77466, 38.95376}},
		{"geotiff/bahamas_landsat_32618_planar_deflate.tif", 395, 359, "18/25/14", -77.7578766, 24.5602299, false, [4]float64{-78.95865, 23.56499, -76.57492, 25.55087}},
		{"geotiff/bahamas_landsat_32618_lzw_tiled.tif", 395, 359, "18/25/14", -77.7578766, 24.5602299, false, [4]float64{-78.95865, 23.56499, -76.57492, 25.55087}},
		{"geotiff/world_bluemarble_4326_lzw_pred2.tif", 654, 327, "3/8/27", 0, 0, false, [4]float64{-180, -90, 180, 90}},
		{"geotiff/southamerica_3857_rgba_aligned.tif", 128, 128, "2/5/20/255", -44.8242187, -41.1124688, false, [4]float64{-90, -66.51326, 0, 0}},
		{"geotiff/world_4326_planar_lzw.tif", 256, 128, "52/139/208", 0.3515625, -0.3515625, false, [4]float64{-180, -90, 180, 90}},
		{"geotiff/corner_only_3857_jpeg_alpha.tif", 123, 1175, "93/124/81/255", 174.9507267, -39.5366235, true, [4]float64{174.94629, -39.53794, 174.99023, -39.50404}},
		{"geotiff/capitals_3035_pixel_is_area.tif", 338, 5, "", 14.3054936, 48.2791393, false, [4]float64{9.74345, 46.51408, 16.57375, 48.41244}},
		{"geotiff/capitals_3035_pixel_is_point.tif", 338, 5, "", 14.2991518, 48.2838912, false, [4]float64{9.73668, 46.51895, 16.56763, 48.41694}},
		{"geotiff/capitals_3035_model_transformation.tif", 338, 5, "", 14.3054936, 48.2791393, false, [4]float64{9.74345, 46.51408, 16.57375, 48.41244}},
		{"geotiff/rotated_no_crs.tif", 5, 7, "75/75/75", nan, nan, false, [4]float64{}},
		{"broken/bigtiff_rgb.tif", 64, 64, "173/70/55", nan, nan, false, [4]float64{}},
		{"broken/tiled_planar_lzw.tiff", 139, 187, "169/196/233", nan, nan, false, [4]float64{}},
		{"broken/cmyk_jpeg_strips.tif", 50, 50, "1/4/4/255", nan, nan, true, [4]float64{}},
	} {
		t.Run(filepath.Base(c.file), func(t *testing.T) {
			f := openData(t, c.file)
			img, err := f.Pixels(context.Background(), 0, image.Rect(c.col, c.row, c.col+1, c.row+1))
			if err != nil {
				t.Fatal(err)
			}
			tolerance := 0
			if c.lossy {
				tolerance = 2
			}
			for i, s := range strings.Split(c.want, "/") {
				if s == "" {
					continue
				}
				want, err := strconv.Atoi(s)
				if err != nil {
					t.Fatal(err)
				}
				if got := int(img.Pix[i]); got < want-tolerance || got > want+tolerance {
					t.Errorf("pixel %d,%d = %v, want %s", c.col, c.row, img.Pix, c.want)
				}
			}
			if math.IsNaN(c.lon) {
				if !errors.Is(f.Georeference(), geotiff.ErrNoCRS) || !errors.Is(f.Georeference(), tilescout.ErrBadInput) {
					t.Errorf("Georeference() = %v, want ErrNoCRS", f.Georeference())
				}
				return
			}
			if err := f.Georeference(); err != nil {
				t.Fatal(err)
			}
			in := f.Info()
			lon, lat := in.CRS.Inverse(in.Transform.Apply(float64(c.col)+0.5, float64(c.row)+0.5))
			if math.Abs(lon-c.lon) > 2e-7 || math.Abs(lat-c.lat) > 2e-7 {
				t.Errorf("pixel %d,%d lies at %.7f, %.7f, want %.7f, %.7f", c.col, c.row, lon, lat, c.lon, c.lat)
			}
			got := [4]float64{in.Bound.Min[0], in.Bound.Min[1], in.Bound.Max[0], in.Bound.Max[1]}
			for i := range got {
				if math.Abs(got[i]-c.bound[i]) > 1e-4*math.Max(1, c.bound[2]-c.bound[0]) {
					t.Errorf("Bound = %.5f, want %.5f", got, c.bound)
					break
				}
			}
		})
	}
}

// TestValuesOfRealFiles: samples of more than 8 bits are kept whole, and placed and shown as any others.
func TestValuesOfRealFiles(t *testing.T) {
	for _, c := range []struct {
		file     string
		col, row int
		want     []float64
		lon, lat float64
		west     float64 // of the bound
		east     float64 // above 180 across that meridian
		visible  bool
	}{
		{"cog/landsat_uint16_3band_32617.tif", 127, 129, []float64{7544, 8822, 9937}, -80.0739928, 33.1740573, -81.30852, -78.81735, true},
		{"cog/dateline_32660_uint16.tif", 1162, 1177, []float64{23826}, 179.7032642, 51.6884730, 178, 181.5, true},
		{"geotiff/inverted_lat_4326.tif", 360, 180, []float64{-9999}, 0.25, 0.25, -180, 180, false},
	} {
		t.Run(filepath.Base(c.file), func(t *testing.T) {
			f := openData(t, c.file)
			in := f.Info()
			one := image.Rect(c.col, c.row, c.col+1, c.row+1)
			for b, want := range c.want {
				got, err := f.Values(context.Background(), 0, b+1, one)
				if err != nil || got[0] != want {
					t.Errorf("Values(band %d) = %v, %v; want %v", b+1, got, err, want)
				}
			}
			lon, lat := in.CRS.Inverse(in.Transform.Apply(float64(c.col)+0.5, float64(c.row)+0.5))
			if math.Abs(lon-c.lon) > 2e-7 || math.Abs(lat-c.lat) > 2e-7 {
				t.Errorf("pixel lies at %.7f, %.7f, want %.7f, %.7f", lon, lat, c.lon, c.lat)
			}
			if math.Abs(in.Bound.Min[0]-c.west) > 0.5 || math.Abs(in.Bound.Max[0]-c.east) > 0.5 {
				t.Errorf("Bound = %v, want about %v to %v east", in.Bound, c.west, c.east)
			}
			img, err := f.Pixels(context.Background(), 0, one)
			if err != nil {
				t.Fatal(err)
			}
			if p := img.NRGBAAt(c.col, c.row); (p.A == 255) != c.visible {
				t.Errorf("pixel shows %v, visible: want %v", p, c.visible)
			} else if c.visible {
				for i, v := range c.want {
					r := in.Stretch[i]
					if shown := float64([]byte{p.R, p.G, p.B}[i]); math.Abs(shown-(v-r.Min)/(r.Max-r.Min)*255) > 1 {
						t.Errorf("sample %v in %v shows %v", v, r, shown)
					}
				}
			}
			out, err := f.Render(context.Background(), in.Mercator, 64, 64, geotiff.Bilinear)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for k := 3; k < len(out.Pix); k += 4 {
				if out.Pix[k] > 0 {
					n++
				}
			}
			if (n > 500) != c.visible {
				t.Errorf("%d of 4096 pixels of the whole file are visible", n)
			}
		})
	}
}

func TestRefusedRealFiles(t *testing.T) {
	for name, want := range map[string]struct {
		kind error
		text string
	}{
		"broken/old_style_jpeg.tif":     {geotiff.ErrUnsupported, "old-style JPEG"},
		"broken/bomb_65535_samples.tif": {tilescout.ErrBadInput, ""},
		"broken/truncated.png":          {geotiff.ErrNotTIFF, "not a TIFF"},
		"mbtiles/world_map_jpg.mbtiles": {geotiff.ErrNotTIFF, "not a TIFF"},
	} {
		b, err := os.ReadFile(dataFile(t, name))
		if err != nil {
			t.Fatal(err)
		}
		_, err = openBytes(b)
		if !errors.Is(err, want.kind) || !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(fmt.Sprint(err), want.text) {
			t.Errorf("Open(%s): error %v, want %v with %q", name, err, want.kind, want.text)
		}
	}
}

// mercator is a tile's box in EPSG:3857 metres.
func mercator(tile maptile.Tile) orb.Bound {
	side := 2 * geo.Half / math.Exp2(float64(tile.Z))
	x, y := -geo.Half+float64(tile.X)*side, geo.Half-float64(tile.Y)*side
	return orb.Bound{Min: orb.Point{x, y - side}, Max: orb.Point{x + side, y}}
}

// referenceTiles are 256-px tiles that GDAL 3.10.3 warped bilinearly from full resolution.
var referenceTiles = []struct {
	file   string
	tile   maptile.Tile
	opaque float64 // percent
	mean   [3]float64
	x, y   int
	pixel  [3]int
}{
	{"cog/culdesac_houses_26913_jpeg.tif", maptile.New(219108, 400917, 20), 85.5, [3]float64{84.9, 93.8, 99.5}, 128, 128, [3]int{62, 70, 90}},
	{"cog/dop_forest_25832_deflate.tif", maptile.New(34498, 21192, 16), 100.0, [3]float64{83.2, 82.1, 82.2}, 128, 128, [3]int{107, 97, 96}},
	{"cog/naip_scrub_3857_none_rgba.tif", maptile.New(42712, 97342, 18), 8.0, [3]float64{151.6, 130.5, 104.8}, 89, 197, [3]int{164, 140, 109}},
	{"cog/naip_strip_3857_lzw_rgba.tif", maptile.New(42710, 97343, 18), 9.3, [3]float64{115.5, 110.7, 81.6}, 23, 128, [3]int{112, 105, 72}},
	{"cog/netherlands_satellite_4326_jpeg_mask.tif", maptile.New(131, 84, 8), 100.0, [3]float64{61.7, 71.4, 53.2}, 128, 128, [3]int{59, 72, 52}},
	{"cog/sea_surface_3857_webp.tif", maptile.New(43121, 59547, 17), 100.0, [3]float64{81.8, 130.6, 105.7}, 128, 128, [3]int{71, 123, 99}},
	{"cog/snow_road_forest_3857_jpeg_mask.tif", maptile.New(224758, 101422, 18), 100.0, [3]float64{59.2, 79.4, 91.7}, 128, 128, [3]int{34, 59, 64}},
	{"cog/world_relief_4326_nonsquare_pixels.tif", maptile.New(2, 2, 2), 100.0, [3]float64{113.7, 162.4, 192.6}, 128, 128, [3]int{103, 157, 195}},
	{"geotiff/bahamas_landsat_32618_lzw_tiled.tif", maptile.New(145, 219, 9), 99.9, [3]float64{56.4, 62.3, 63.5}, 128, 128, [3]int{11, 14, 19}},
	{"geotiff/bahamas_landsat_32618_planar_deflate.tif", maptile.New(145, 219, 9), 99.9, [3]float64{56.4, 62.3, 63.5}, 128, 128, [3]int{11, 14, 19}},
	{"geotiff/corner_only_3857_jpeg_alpha.tif", maptile.New(32308, 20307, 15), 24.9, [3]float64{117.1, 128.3, 96.5}, 125, 170, [3]int{119, 128, 95}},
	{"geotiff/culdesac_26913_alpha.tif", maptile.New(219108, 400917, 20), 73.2, [3]float64{87.4, 95.7, 101.5}, 128, 128, [3]int{66, 74, 84}},
	{"geotiff/culdesac_26913_extmask.tif", maptile.New(219108, 400917, 20), 85.0, [3]float64{85.4, 94.2, 99.5}, 128, 128, [3]int{66, 74, 84}},
	{"geotiff/culdesac_26913_striped.tif", maptile.New(219108, 400917, 20), 85.5, [3]float64{84.9, 93.7, 99.4}, 128, 128, [3]int{66, 74, 84}},
	{"geotiff/desert_highway_26911_rgba.tif", maptile.New(46325, 105616, 18), 59.3, [3]float64{127.6, 126.1, 109.9}, 128, 128, [3]int{164, 156, 134}},
	{"geotiff/pivot_fields_26913_nodata0.tif", maptile.New(875, 1600, 12), 34.8, [3]float64{136.9, 129.5, 106.4}, 128, 128, [3]int{160, 150, 121}},
	{"geotiff/rotterdam_harbour_32631_striped.tif", maptile.New(8389, 5420, 14), 12.8, [3]float64{107.4, 113.8, 107.3}, 149, 77, [3]int{148, 137, 131}},
	{"geotiff/southamerica_3857_rgba_aligned.tif", maptile.New(1, 2, 2), 100.0, [3]float64{17.2, 27.5, 45.0}, 128, 128, [3]int{2, 5, 20}},
	{"geotiff/world_4326_planar_lzw.tif", maptile.New(1, 1, 1), 100.0, [3]float64{123.5, 153.2, 133.2}, 128, 128, [3]int{191, 197, 185}},
	{"geotiff/world_bluemarble_4326_lzw_pred2.tif", maptile.New(2, 2, 2), 100.0, [3]float64{14.4, 23.1, 43.0}, 128, 128, [3]int{11, 30, 68}},
}

func TestReferenceTiles(t *testing.T) {
	for _, c := range referenceTiles {
		t.Run(filepath.Base(c.file), func(t *testing.T) {
			f := openData(t, c.file)
			img, err := f.Render(context.Background(), mercator(c.tile), 256, 256, geotiff.Bilinear)
			if err != nil {
				t.Fatal(err)
			}
			n, sum := 0, [3]float64{}
			for k := 0; k < len(img.Pix); k += 4 {
				if img.Pix[k+3] > 0 {
					n++
					for s := range sum {
						sum[s] += float64(img.Pix[k+s])
					}
				}
			}
			if got := float64(n) / 655.36; math.Abs(got-c.opaque) > 1 {
				t.Errorf("%v: %.1f %% opaque, want %.1f", c.tile, got, c.opaque)
			}
			p := img.Pix[img.PixOffset(c.x, c.y):]
			for s := range sum {
				if got := sum[s] / float64(n); math.Abs(got-c.mean[s]) > 2 {
					t.Errorf("%v: mean of band %d is %.1f, want %.1f", c.tile, s, got, c.mean[s])
				}
				if d := int(p[s]) - c.pixel[s]; d < -12 || d > 12 {
					t.Errorf("%v: pixel %d,%d = %v, want %v", c.tile, c.x, c.y, p[:4], c.pixel)
				}
			}
		})
	}
}
