package geotiff_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/paulmach/orb"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/geo/geotiff"
	"github.com/tilescout/tilescout/internal/budget"
)

func openPicture(t testing.TB, p picture) *geotiff.File {
	t.Helper()
	f, err := openBytes(p.write(t))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestEveryForm writes one picture in each form of container, layout and compression and reads it back.
func TestEveryForm(t *testing.T) {
	for _, order := range []byteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, big := range []bool{false, true} {
			for _, compression := range []int{1, 5, 7, 8, 32946, 32773, 50000} {
				for _, tile := range []int{0, 16} {
					for _, planar := range []bool{false, true} {
						for _, samples := range []int{1, 3, 4} {
							for _, predictor := range []bool{false, true} {
								lossy := compression == 7
								if predictor && (compression == 1 || compression == 7 || compression == 32773) || lossy && samples == 4 && !planar {
									continue
								}
								p := picture{width: 37, height: 29, samples: samples, order: order, big: big,
									compression: compression, tile: tile, planar: planar, predictor: predictor}
								name := fmt.Sprintf("%v big=%v compression=%d tile=%d planar=%v samples=%d predictor=%v", order, big, compression, tile, planar, samples, predictor)
								checkPixels(t, name, p, lossy)
							}
						}
					}
				}
			}
		}
	}
}

func checkPixels(t *testing.T, name string, p picture, lossy bool) {
	t.Helper()
	f := openPicture(t, p)
	img, err := f.Pixels(context.Background(), 0, image.Rect(0, 0, p.width, p.height))
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	tolerance := 0
	if lossy {
		tolerance = 6
	}
	for y := range p.height {
		for x := range p.width {
			got := img.NRGBAAt(x, y)
			want := [4]byte{p.at(x, y, 0), p.at(x, y, 0), p.at(x, y, 0), 255}
			if p.samples >= 3 {
				want[1], want[2] = p.at(x, y, 1), p.at(x, y, 2)
			}
			if p.samples == 4 {
				want[3] = p.at(x, y, 3)
			}
			for s, g := range [4]byte{got.R, got.G, got.B, got.A} {
				if d := int(g) - int(want[s]); d < -tolerance || d > tolerance {
					t.Errorf("%s: pixel %d,%d = %v, want %v", name, x, y, got, want)
					return
				}
			}
		}
	}
}

func TestPaletteMaskNoDataOverview(t *testing.T) {
	ctx := context.Background()
	f := openPicture(t, picture{width: 32, height: 16, samples: 1, palette: true})
	img, err := f.Pixels(ctx, 0, image.Rect(3, 2, 4, 3))
	if err != nil {
		t.Fatal(err)
	}
	v := picture{width: 32, height: 16}.at(3, 2, 0)
	if got := img.NRGBAAt(3, 2); got.R != v || got.G != 255-v || got.B != 7 || got.A != 255 {
		t.Errorf("palette entry %d = %v", v, got)
	}

	for _, tile := range []int{0, 16} {
		p := picture{width: 40, height: 40, samples: 3, mask: true, overview: true, compression: 8, tile: tile}
		f = openPicture(t, p)
		if in := f.Info(); !in.Mask || in.Overviews != 1 {
			t.Errorf("Info() = %+v, want a mask and an overview", in)
		}
		for level, reduce := range []int{1, 2} {
			img, err := f.Pixels(ctx, level, image.Rect(0, 0, 40/reduce, 40/reduce))
			if err != nil {
				t.Fatal(err)
			}
			for y := range 40 / reduce {
				for x := range 40 / reduce {
					got := img.NRGBAAt(x, y)
					if (got.A == 0) != p.masked(x*reduce, y*reduce) || got.R != p.at(x*reduce, y*reduce, 0) {
						t.Fatalf("level %d, pixel %d,%d = %v, masked %v", level, x, y, got, p.masked(x*reduce, y*reduce))
					}
				}
			}
		}
	}

	for _, big := range []bool{false, true} {
		f = openPicture(t, picture{width: 40, height: 40, samples: 3, subIFDs: true, big: big})
		if n := f.Info().Overviews; n != 1 {
			t.Fatalf("%d overviews, want the one in the SubIFD", n)
		}
		img, err := f.Pixels(ctx, 1, image.Rect(0, 0, 20, 20))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := img.NRGBAAt(7, 5).R, (picture{width: 40, height: 40}).at(14, 10, 0); got != want {
			t.Errorf("overview in a SubIFD shows %d, want %d", got, want)
		}
	}

	f = openPicture(t, picture{width: 32, height: 16, samples: 1, nodata: "20"})
	img, err = f.Pixels(ctx, 0, image.Rect(0, 0, 32, 16))
	if err != nil {
		t.Fatal(err)
	}
	if img.NRGBAAt(0, 0).A != 0 || img.NRGBAAt(5, 0).A != 255 {
		t.Errorf("nodata 20: alpha %d where the value is 20, %d where not", img.NRGBAAt(0, 0).A, img.NRGBAAt(5, 0).A)
	}
}

// TestRenderPlaces renders pictures of known colours by position and looks for the colours there.
func TestRenderPlaces(t *testing.T) {
	for _, c := range []struct {
		name string
		p    picture
	}{
		{"EPSG:3857", picture{epsg: 3857, origin: [2]float64{100000, 6000000}}},
		{"EPSG:4326", picture{epsg: 4326, origin: [2]float64{9, 50}, scale: [2]float64{0.002, 0.001}}},
		{"EPSG:4326 from 0 to 360", picture{epsg: 4326, origin: [2]float64{269, 50}, scale: [2]float64{0.002, 0.001}}},
		{"UTM", picture{epsg: 32632}},
		{"UTM, point", picture{epsg: 32632, point: true}},
		{"UTM, south up", picture{epsg: 32632, southUp: true}},
		{"EPSG:3857, south up", picture{epsg: 3857, southUp: true}},
		{"across 180°", picture{epsg: 32660, origin: [2]float64{829000, 8200000}, scale: [2]float64{40, 40}}},
		{"across 180°, degrees", picture{epsg: 4326, origin: [2]float64{179.9, -10}, scale: [2]float64{0.002, 0.001}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := c.p
			p.width, p.height, p.samples, p.compression, p.tile, p.overview = 100, 80, 3, 8, 32, true
			f := openPicture(t, p)
			if err := f.Georeference(); err != nil {
				t.Fatal(err)
			}
			in := f.Info()
			for _, r := range []geotiff.Resampling{geotiff.Nearest, geotiff.Bilinear} {
				for _, col := range []float64{10, 50, 90} {
					for _, row := range []float64{8, 40, 72} {
						lon, lat := in.CRS.Inverse(in.Transform.Apply(col, row))
						x, y := webMercator(t).Forward(lon, lat)
						x -= 2 * geo.Half * math.Round(x/(2*geo.Half)) // maps are asked in −180…180
						h := 3 * in.MetersPerPixel
						img, err := f.Render(context.Background(), orb.Bound{Min: orb.Point{x - h, y - h}, Max: orb.Point{x + h, y + h}}, 9, 9, r)
						if err != nil {
							t.Fatal(err)
						}
						got := img.NRGBAAt(4, 4)
						sx, sy := int(col), int(row)
						for s, g := range [3]byte{got.R, got.G, got.B} {
							if d := int(g) - int(p.at(sx, sy, s)); d < -4 || d > 4 || got.A != 255 {
								t.Fatalf("pixel %d,%d shows as %v, want %d %d %d", sx, sy, got, p.at(sx, sy, 0), p.at(sx, sy, 1), p.at(sx, sy, 2))
							}
						}
					}
				}
			}
			if w := in.Bound.Max[0] - in.Bound.Min[0]; w > 1 || w <= 0 || in.Bound.Min[0] < -180 || in.Bound.Min[0] >= 180 {
				t.Errorf("Bound = %v", in.Bound)
			}
		})
	}
}

func webMercator(t testing.TB) geo.CRS {
	t.Helper()
	crs, err := geo.CRSByEPSG(3857)
	if err != nil {
		t.Fatal(err)
	}
	return crs
}

// TestBordersDoNotDarken: next to masked pixels only the valid ones are mixed.
func TestBordersDoNotDarken(t *testing.T) {
	p := picture{width: 64, height: 64, samples: 3, mask: true, epsg: 3857}
	f := openPicture(t, p)
	in := f.Info()
	img, err := f.Render(context.Background(), in.Mercator, 50, 50, geotiff.Bilinear)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for y := range 50 {
		for x := range 50 {
			c := img.NRGBAAt(x, y)
			if c.A == 0 {
				continue
			}
			seen++
			if c.A != 255 || c.R < 19 || c.G < p.at(0, 15, 1) || c.B < 39 {
				t.Fatalf("pixel %d,%d = %v is darker than any of the picture", x, y, c)
			}
		}
	}
	if seen < 50*36 || seen > 50*39 {
		t.Errorf("%d of 2500 pixels are visible, want three quarters", seen)
	}
}

func TestSidecars(t *testing.T) {
	p := picture{width: 64, height: 64, samples: 3, epsg: 3857}
	main := p.write(t)
	small := picture{width: 32, height: 32, samples: 3}.write(t)
	f, err := geotiff.Open(bytes.NewReader(main), int64(len(main)), geotiff.Options{
		Overviews: &geotiff.Sidecar{Reader: bytes.NewReader(small), Size: int64(len(small))},
		Mask:      &geotiff.Sidecar{Reader: bytes.NewReader(small), Size: int64(len(small))}, // not its size: ignored
	})
	if err != nil {
		t.Fatal(err)
	}
	if in := f.Info(); in.Overviews != 1 || in.Mask {
		t.Errorf("Info() = %+v, want one overview and no mask", in)
	}
	if _, err := geotiff.Open(bytes.NewReader(main), int64(len(main)), geotiff.Options{
		Mask: &geotiff.Sidecar{Reader: strings.NewReader("nonsense"), Size: 8},
	}); !errors.Is(err, geotiff.ErrNotTIFF) {
		t.Errorf("a mask that is none: error %v, want ErrNotTIFF", err)
	}
}

func TestRenderRefuses(t *testing.T) {
	f := openPicture(t, picture{width: 16, height: 16, samples: 3, epsg: 3857})
	b := f.Info().Mercator
	for _, c := range []struct {
		bound orb.Bound
		w, h  int
	}{{b, 0, 5}, {b, 5, -1}, {b, 1 << 30, 1 << 30}, {orb.Bound{Min: b.Max, Max: b.Min}, 5, 5}, {orb.Bound{Min: orb.Point{math.NaN(), 0}, Max: orb.Point{1, 1}}, 5, 5}} {
		if _, err := f.Render(context.Background(), c.bound, c.w, c.h, geotiff.Bilinear); !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("Render(%v, %d, %d): error %v, want ErrBadInput", c.bound, c.w, c.h, err)
		}
	}
	far := orb.Bound{Min: orb.Point{-1e7, -1e7}, Max: orb.Point{-0.9e7, -0.9e7}}
	if img, err := f.Render(context.Background(), far, 8, 8, geotiff.Bilinear); err != nil || img.NRGBAAt(4, 4).A != 0 {
		t.Errorf("Render beside the file: error %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.Render(ctx, b, 8, 8, geotiff.Bilinear); !errors.Is(err, context.Canceled) {
		t.Errorf("Render with a cancelled context: error %v", err)
	}
	f = openPicture(t, picture{width: 16, height: 16, samples: 3})
	if _, err := f.Render(context.Background(), b, 8, 8, geotiff.Bilinear); !errors.Is(err, geotiff.ErrNoCRS) {
		t.Errorf("Render without CRS: error %v, want ErrNoCRS", err)
	}
	f = openPicture(t, picture{width: 16, height: 16, samples: 3, epsg: 5514})
	if _, err := f.Render(context.Background(), b, 8, 8, geotiff.Bilinear); !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), "EPSG:5514") {
		t.Errorf("Render in EPSG:5514: error %v", err)
	}
}

func TestConcurrentRenders(t *testing.T) {
	b := picture{width: 300, height: 300, samples: 3, epsg: 32632, compression: 8, tile: 64}.write(t)
	f, err := geotiff.Open(bytes.NewReader(b), int64(len(b)), geotiff.Options{CacheBytes: 100 << 10, Memory: budget.New(1 << 20)})
	if err != nil {
		t.Fatal(err)
	}
	want, err := f.Render(context.Background(), f.Info().Mercator, 200, 200, geotiff.Bilinear)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if i%3 == 0 {
				cancel()
			}
			img, err := f.Render(ctx, f.Info().Mercator, 200, 200, geotiff.Bilinear)
			if i%3 == 0 {
				return // may fail, must not spoil the others
			}
			if err != nil || !bytes.Equal(img.Pix, want.Pix) {
				t.Errorf("render beside others: error %v, same %v", err, err == nil && bytes.Equal(img.Pix, want.Pix))
			}
		})
	}
	wg.Wait()
}

// TestFarSmallerThanTheFile: without overviews only some pixels are looked at, and the picture is still right.
func TestFarSmallerThanTheFile(t *testing.T) {
	for _, p := range []picture{
		{width: 1500, height: 900, samples: 3, epsg: 3857, compression: 8, tile: 64},
		{width: 900, height: 1500, samples: 3, epsg: 32632, compression: 8, rows: 3},
	} {
		f := openPicture(t, p)
		img, err := f.Render(context.Background(), f.Info().Mercator, 20, 20, geotiff.Bilinear)
		if err != nil {
			t.Fatal(err)
		}
		for y := 2; y < 18; y++ {
			for x := 2; x < 18; x++ {
				got := img.NRGBAAt(x, y)
				sx, sy := (2*x+1)*p.width/40, (2*y+1)*p.height/40
				for s, g := range [3]byte{got.R, got.G, got.B} {
					if d := int(g) - int(p.at(sx, sy, s)); d < -8 || d > 8 || got.A != 255 {
						t.Fatalf("%d × %d: pixel %d,%d = %v, want %d %d %d", p.width, p.height, x, y, got, p.at(sx, sy, 0), p.at(sx, sy, 1), p.at(sx, sy, 2))
					}
				}
			}
		}
	}
}

// BenchmarkRender draws a 256-pixel tile from decoded blocks.
func BenchmarkRender(b *testing.B) {
	for _, c := range []struct {
		name string
		epsg int
		size int // pixels of the file a side, shown as 256
	}{{"Mercator", 3857, 256}, {"MercatorReduced", 3857, 460}, {"UTM", 32632, 256}, {"UTMReduced", 32632, 460}} {
		b.Run(c.name, func(b *testing.B) {
			f := openPicture(b, picture{width: c.size, height: c.size, samples: 3, epsg: c.epsg, compression: 8, tile: 256})
			for b.Loop() {
				if _, err := f.Render(context.Background(), f.Info().Mercator, 256, 256, geotiff.Bilinear); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tiles/s")
		})
	}
}

// TestLargeWithoutOverviews: a small picture of all of a large file is refused at once, and Coarsest says which is not.
func TestLargeWithoutOverviews(t *testing.T) {
	b := picture{width: 640, height: 640, samples: 3, epsg: 3857, compression: 8, tile: 16}.write(t)
	open := func(render int64) *geotiff.File {
		f, err := geotiff.Open(bytes.NewReader(b), int64(len(b)), geotiff.Options{Limits: geotiff.Limits{Render: render}})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if c := open(0).Coarsest(64); !math.IsInf(c, 1) {
		t.Errorf("Coarsest = %v, want +Inf: the file is small", c)
	}
	f := open(2 << 20) // about 120 blocks of 1600
	if _, err := f.Render(context.Background(), f.Info().Mercator, 64, 64, geotiff.Bilinear); !errors.Is(err, geotiff.ErrNoOverviews) || !strings.Contains(err.Error(), "gdaladdo") {
		t.Errorf("Render of the whole file: error %v, want ErrNoOverviews", err)
	}
	c := f.Coarsest(64)
	if !(c >= f.Info().MetersPerPixel && c < 100*f.Info().MetersPerPixel) {
		t.Fatalf("Coarsest = %v, a pixel has %v m", c, f.Info().MetersPerPixel)
	}
	m := f.Info().Mercator
	for i := range 8 {
		x, y := m.Min[0]+(m.Max[0]-m.Min[0])*float64(i)/8, m.Min[1]+(m.Max[1]-m.Min[1])*float64(i)/8
		if _, err := f.Render(context.Background(), orb.Bound{Min: orb.Point{x, y}, Max: orb.Point{x + 64*c, y + 64*c}}, 64, 64, geotiff.Bilinear); err != nil {
			t.Errorf("Render with pixels of %v m: %v", c, err)
		}
	}
}
