package geotiff_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/tileserver/source/geotiff"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

// plain is an uncompressed RGB GeoTIFF of one colour, size pixels a side, with its upper left corner at x, y.
func plain(size int, c color.NRGBA, epsg uint16, x, y, pixel float64) []byte {
	le := binary.LittleEndian
	data := bytes.Repeat([]byte{c.R, c.G, c.B}, size*size)
	type tag struct {
		id, typ uint16
		count   int
		value   []byte
	}
	short := func(id uint16, v ...uint16) tag {
		b := []byte{}
		for _, s := range v {
			b = le.AppendUint16(b, s)
		}
		return tag{id, 3, len(v), b}
	}
	long := func(id uint16, v uint32) tag { return tag{id, 4, 1, le.AppendUint32(nil, v)} }
	double := func(id uint16, v ...float64) tag {
		b := []byte{}
		for _, f := range v {
			b = le.AppendUint64(b, math.Float64bits(f))
		}
		return tag{id, 12, len(v), b}
	}
	model, key := uint16(1), uint16(3072)
	if epsg == 4326 {
		model, key = 2, 2048
	}
	tags := []tag{
		long(256, uint32(size)), long(257, uint32(size)), short(258, 8, 8, 8), short(259, 1), short(262, 2), long(273, 8),
		short(277, 3), long(278, uint32(size)), long(279, uint32(len(data))),
		double(33550, pixel, pixel, 0), double(33922, 0, 0, 0, x, y, 0), short(34735, 1, 1, 0, 2, 1024, 0, 1, model, key, 0, 1, epsg),
	}
	ifd := 8 + len(data)
	out := append(le.AppendUint32([]byte("II*\x00"), uint32(ifd)), data...)
	out = le.AppendUint16(out, uint16(len(tags)))
	more := []byte{}
	for _, t := range tags {
		out = le.AppendUint16(le.AppendUint16(out, t.id), t.typ)
		out = le.AppendUint32(out, uint32(t.count))
		if len(t.value) <= 4 {
			out = append(out, append(t.value, 0, 0, 0, 0)[:4]...)
		} else {
			out = le.AppendUint32(out, uint32(ifd+2+12*len(tags)+4+len(more)))
			more = append(more, t.value...)
		}
	}
	return append(append(out, 0, 0, 0, 0), more...)
}

var (
	red   = color.NRGBA{200, 0, 0, 255}
	green = color.NRGBA{0, 200, 0, 255}
	blue  = color.NRGBA{0, 0, 200, 255}
)

var noon = time.Date(2024, 6, 1, 12, 0, 0, 0, time.UTC)

func put(t testing.TB, dir, name string, data []byte, modified time.Time) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, modified, modified); err != nil {
		t.Fatal(err)
	}
	return path
}

func openMosaic(t testing.TB, sources string) *geotiff.Mosaic {
	t.Helper()
	m, err := geotiff.OpenMosaic(context.Background(), sources, tilescout.LayerInfo{ID: "mosaic"}, geotiff.Options{PNG: true, Deadline: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func colourAt(t testing.TB, s interface {
	Tile(context.Context, maptile.Tile) (tilescout.Picture, error)
}, tile maptile.Tile, x, y int) color.NRGBA {
	t.Helper()
	pic, err := s.Tile(context.Background(), tile)
	if errors.Is(err, tilescout.ErrNotFound) {
		return color.NRGBA{}
	}
	if err != nil {
		t.Fatal(err)
	}
	img, _, err := image.Decode(bytes.NewReader(pic.Data))
	if err != nil {
		t.Fatal(err)
	}
	return color.NRGBAModel.Convert(img.At(x, y)).(color.NRGBA)
}

// TestMosaic lays three files over each other: one below, one newer on its right half, one of the same time and a later
// name on a quarter, in another reference system.
func TestMosaic(t *testing.T) {
	dir := t.TempDir()
	tile := maptile.New(8500, 5500, 14)
	side := 2 * geo.Half / math.Exp2(14)
	x, y := -geo.Half+8500*side, geo.Half-5500*side
	put(t, dir, "a/old.tif", plain(256, red, 3857, x, y, side/256), noon)
	put(t, dir, "new.TIFF", plain(128, green, 3857, x+side/2, y, side/256), noon.Add(time.Hour))
	bound := tile.Bound()
	put(t, dir, "newer.tif", plain(64, blue, 4326, bound.Center()[0], bound.Max[1], (bound.Max[0]-bound.Min[0])/2/64), noon.Add(time.Hour))
	put(t, dir, "notes.txt", []byte("no picture"), noon)
	put(t, dir, ".hidden.tif", []byte("no picture"), noon)
	put(t, dir, "broken.tif", []byte("II*\x00\xff\xff\xff\xff"), noon)
	put(t, dir, "page.tif", []byte("<html>"), noon)

	m := openMosaic(t, dir)
	if m.Files() != 3 || len(m.Skipped()) != 2 || !strings.Contains(m.Skipped()[0].Error(), "broken.tif") || !errors.Is(m.Skipped()[1], tilescout.ErrBadInput) {
		t.Fatalf("%d files, skipped %v; want 3, and broken.tif and page.tif", m.Files(), m.Skipped())
	}
	info := m.Info()
	if info.MaxZoom != 14 || info.MinZoom != 0 || info.Title != filepath.Base(dir) || info.Version == "" {
		t.Errorf("Info() = %+v", info)
	}
	for _, c := range []struct {
		x, y int
		want color.NRGBA
	}{{10, 10, red}, {10, 250, red}, {140, 10, blue}, {250, 60, blue}, {250, 250, red}} {
		if got := colourAt(t, m, tile, c.x, c.y); got != c.want {
			t.Errorf("pixel %d,%d = %v, want %v", c.x, c.y, got, c.want)
		}
	}
	sourcetest.Run(t, openMosaic(t, dir), tile, maptile.New(0, 0, 14)) // closes it

	// The same by a pattern and by a list; a list names no hidden ones either.
	for sources, files := range map[string]int{
		filepath.Join(dir, "*.tif"): 1, filepath.Join(dir, "new.TIFF") + "," + filepath.Join(dir, "a/old.tif"): 2,
		filepath.Join(dir, "a") + ", " + filepath.Join(dir, "new*"): 3,
	} {
		if m := openMosaic(t, sources); m.Files() != files {
			t.Errorf("%s: %d files, want %d", sources, m.Files(), files)
		}
	}

	// A file that comes later shows after the layer is opened anew, with another version.
	put(t, dir, "zz/latest.tif", plain(256, green, 3857, x, y, side/256), noon.Add(2*time.Hour))
	if got := colourAt(t, m, tile, 10, 10); got != red {
		t.Errorf("a file added shows at once: %v", got)
	}
	again := openMosaic(t, dir)
	if got := colourAt(t, again, tile, 10, 10); got != green || again.Info().Version == info.Version {
		t.Errorf("after reload %v, version %s after %s", got, again.Info().Version, info.Version)
	}
}

// TestMosaicSurvivesItsFiles: a file that goes or changes under the layer leaves a hole, and is counted.
func TestMosaicSurvivesItsFiles(t *testing.T) {
	dir := t.TempDir()
	tile := maptile.New(8500, 5500, 14)
	side := 2 * geo.Half / math.Exp2(14)
	x, y := -geo.Half+8500*side, geo.Half-5500*side
	put(t, dir, "below.tif", plain(256, red, 3857, x, y, side/256), noon)
	gone := put(t, dir, "gone.tif", plain(256, green, 3857, x, y, side/256), noon.Add(time.Hour))
	changed := put(t, dir, "changed.tif", plain(256, blue, 3857, x, y, side/256), noon.Add(time.Hour))
	m := openMosaic(t, dir)
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	put(t, dir, filepath.Base(changed), plain(256, green, 3857, x, y, side/256), noon.Add(5*time.Hour))
	if got := colourAt(t, m, tile, 100, 100); got != red {
		t.Errorf("pixel = %v, want the file below, %v", got, red)
	}
	if !m.Outdated() {
		t.Error("Outdated() = false though a file was replaced")
	}
	if m.Failed() != 2 {
		t.Errorf("Failed() = %d, want 2", m.Failed())
	}
	if got := colourAt(t, m, tile, 100, 100); got != red || m.Failed() != 2 {
		t.Errorf("the second time %v, Failed() = %d: a failed file is not tried for every tile", got, m.Failed())
	}
	if err := os.Remove(filepath.Join(dir, "below.tif")); err != nil {
		t.Fatal(err)
	}
	only := openMosaic(t, dir)
	if err := os.Remove(changed); err != nil {
		t.Fatal(err)
	}
	if _, err := only.Tile(context.Background(), tile); !errors.Is(err, tilescout.ErrBadInput) || strings.Contains(err.Error(), "\n") {
		t.Errorf("a tile of files that all failed: error %v, want one line", err)
	}
}

func TestMosaicOpensFewFiles(t *testing.T) {
	dir := t.TempDir()
	const z, side = 16, 20 // 400 files of a tile each
	size := 2 * geo.Half / math.Exp2(z)
	x0, y0 := -geo.Half+34000*size, geo.Half-22000*size
	for i := range side {
		for j := range side {
			c := color.NRGBA{byte(i * 10), byte(j * 10), 50, 255}
			put(t, dir, fmt.Sprintf("%d_%d.tif", i, j), plain(16, c, 3857, x0+float64(i)*size, y0-float64(j)*size, size/16), noon)
		}
	}
	m := openMosaic(t, dir)
	if info := m.Info(); info.MinZoom == 0 || info.MinZoom > 14 || info.MaxZoom != 12 {
		t.Errorf("zooms %d to %d, want those of which no tile needs more than 64 files", info.MinZoom, info.MaxZoom)
	}
	before := openDescriptors(t)
	zoom := m.Info().MaxZoom
	nw, se, _ := geo.CoverCorners(m.Info().Bound, zoom)
	var wg sync.WaitGroup
	for x := nw.X; x <= se.X; x++ {
		for y := nw.Y; y <= se.Y; y++ {
			wg.Go(func() {
				_, err := m.Tile(context.Background(), maptile.New(x, y, zoom))
				if err != nil && !errors.Is(err, tilescout.ErrNotFound) {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if n := openDescriptors(t) - before; n > 64 {
		t.Errorf("%d files stay open, want at most 64", n)
	}
	m.Close()
	if n := openDescriptors(t) - before; n > 0 {
		t.Errorf("%d files are open after Close", n)
	}
	if _, err := m.Tile(context.Background(), maptile.New(nw.X, nw.Y, zoom)); !errors.Is(err, tilescout.ErrUnavailable) {
		t.Errorf("Tile after Close: %v", err)
	}
}

// openDescriptors counts the open files of the process; the test is skipped where nobody tells.
func openDescriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc to count open files")
	}
	return len(entries)
}

func TestMosaicRefuses(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "x/broken.tif", []byte("no"), noon)
	if err := os.MkdirAll(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	for sources, text := range map[string]string{
		filepath.Join(dir, "empty"): "no GeoTIFF", filepath.Join(dir, "x"): "none of 1 files", filepath.Join(dir, "*.tif"): "no GeoTIFF",
		filepath.Join(dir, "a.tif,b.tif"): "no such file", filepath.Join(dir, "[a-"): "syntax error", ",": "no GeoTIFF",
	} {
		_, err := geotiff.OpenMosaic(context.Background(), sources, tilescout.LayerInfo{ID: "m"}, geotiff.Options{})
		if !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
			t.Errorf("OpenMosaic(%s): error %v, want ErrBadInput with %q", sources, err, text)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := geotiff.OpenMosaic(ctx, dir, tilescout.LayerInfo{ID: "m"}, geotiff.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("OpenMosaic with a cancelled context: %v", err)
	}
}

// TestRealMosaic shows real files of four reference systems as one layer.
func TestRealMosaic(t *testing.T) {
	m := openMosaic(t, sourcetest.Shared(t, "geo", "cog"))
	if m.Files() != 10 || len(m.Skipped()) != 1 { // no_crs_zstd.tif has no place
		t.Errorf("%d files, skipped %v; want 10 and no_crs_zstd.tif", m.Files(), m.Skipped())
	}
	for _, tile := range []maptile.Tile{
		maptile.New(224758, 101422, 18), maptile.New(34498, 21192, 16), maptile.New(131, 84, 8), maptile.At(orb.Point{179.9, 51.7}, 8),
	} {
		if _, err := m.Tile(context.Background(), tile); err != nil {
			t.Errorf("%v", err)
		}
	}
}
