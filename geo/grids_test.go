package geo_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"strings"
	"testing"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
)

// grid is a national grid with the area that it is for, in degrees.
type grid struct {
	epsg                     int
	west, south, east, north float64
	metres                   float64 // how far from GDAL the answer may be; in Austria GDAL chooses a datum shift by place
}

// places are 25 in the area, corners included.
func (g grid) places() [][2]float64 {
	var out [][2]float64
	for i := range 5 {
		for j := range 5 {
			out = append(out, [2]float64{g.west + (g.east-g.west)*float64(i)/4, g.south + (g.north-g.south)*float64(j)/4})
		}
	}
	return out
}

var grids = []grid{
	{27700, -7, 50, 1.7, 60, 0.05}, {29902, -10, 51.5, -6, 55, 0.05}, {2157, -10, 51.5, -6, 55, 0.001},
	{2154, -4.5, 42, 8, 51, 0.001}, {3942, 2, 41.5, 9, 43, 0.001}, {3946, -1, 45, 7, 47, 0.001}, {3950, 1, 49, 5, 51, 0.001},
	{3812, 2.6, 49.6, 6.3, 51.4, 0.001}, {31370, 2.6, 49.6, 6.3, 51.4, 0.05}, {28992, 3.4, 50.8, 7.2, 53.5, 0.05},
	{2056, 6, 45.9, 10.4, 47.7, 0.05}, {21781, 6, 45.9, 10.4, 47.7, 0.05},
	{31466, 5.9, 47.5, 7.5, 53.5, 0.05}, {31467, 7.5, 47.5, 10.5, 55, 0.05}, {31468, 10.5, 47.5, 13.5, 55, 0.05}, {31469, 13.5, 51, 15, 54, 0.05},
	{31257, 9.6, 46.8, 11.8, 47.6, 0.05}, {31258, 11.8, 46.5, 14.8, 48.7, 1}, {31259, 14.8, 46.6, 17.1, 49, 1},
	{31287, 9.6, 46.5, 17.1, 49, 1}, {3416, 9.6, 46.5, 17.1, 49, 0.001},
	{2180, 14.2, 49, 24.1, 54.8, 0.001}, {3006, 11, 55.3, 24, 69, 0.001}, {3067, 19.5, 59.8, 31.5, 70, 0.001},
	{3763, -9.5, 37, -6.2, 42.1, 0.001}, {3765, 13.5, 42.4, 19.4, 46.5, 0.001}, {3794, 13.4, 45.4, 16.6, 46.9, 0.001},
	{3059, 21, 55.7, 28.2, 58, 0.001}, {3346, 21, 53.9, 26.8, 56.4, 0.001}, {3301, 21.8, 57.6, 28.1, 59.7, 0.001},
	{3057, -24.5, 63.4, -13.5, 66.5, 0.001}, {3034, -10, 35, 30, 70, 0.001}, {3035, -10, 35, 30, 70, 0.001},
	{5070, -124, 25, -67, 49, 0.001}, {3005, -139, 48.3, -114, 60, 0.001}, {3347, -140, 42, -53, 80, 0.001}, {3978, -140, 42, -53, 80, 0.001},
	{3577, 113, -43, 153, -10, 0.001}, {5179, 125, 33, 131, 38.6, 0.001}, {5186, 126, 33, 128, 38.3, 0.001}, {5188, 130, 37, 131, 38, 0.001},
	{2193, 167, -47, 178, -34.5, 0.001}, {25832, 6, 47, 12, 55, 0.001}, {25833, 12, 47, 18, 55, 0.001}, {3857, -179, -84, 179, 84, 0.001},
	{31983, -48, -30, -42, -5, 0.001}, {6690, 138, 33, 144, 45, 0.001}, {3156, -132, 49, -126, 60, 2}, {32733, 12, -79, 18, 0, 0.001},
}

// transform is gdaltransform for many systems in one process: it reads "system<tab>lon<tab>lat" and prints x and y.
const transform = `
import sys
from osgeo import osr
osr.UseExceptions()
made = {}
def system(text):
    s = osr.SpatialReference()
    s.SetFromUserInput(text)
    s.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    return s
for line in sys.stdin:
    text, lon, lat = line.rstrip("\n").split("\t")
    if text not in made:
        made[text] = osr.CoordinateTransformation(system("EPSG:4326" if text.startswith("EPSG") else "+proj=longlat +datum=WGS84"), system(text))
    x, y, _ = made[text].TransformPoint(float(lon), float(lat))
    print(repr(x), repr(y))
`

// TestGridsAgainstGDAL measures every grid at 25 places of its area against GDAL, which knows no datum grid files
// here either: accuracy of the computation, not of the datum.
func TestGridsAgainstGDAL(t *testing.T) {
	python := ""
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(name, "-c", "from osgeo import osr").Run() == nil {
			python = name
			break
		}
	}
	if python == "" {
		t.Skip("no Python with GDAL's bindings (osgeo) to compare with")
	}
	var in bytes.Buffer
	for _, g := range grids {
		text, ok := towgs84[g.epsg]
		if !ok {
			text = fmt.Sprintf("EPSG:%d", g.epsg)
		}
		for _, p := range g.places() {
			fmt.Fprintf(&in, "%s\t%v\t%v\n", text, p[0], p[1])
		}
	}
	cmd := exec.Command(python, "-c", transform)
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("transform: %v", err)
	}
	answers := bytes.NewReader(out)
	for _, g := range grids {
		crs, err := geo.CRSByEPSG(g.epsg)
		if err != nil {
			t.Fatal(err)
		}
		worst, back := 0.0, 0.0
		for _, p := range g.places() {
			var x, y float64
			if _, err := fmt.Fscan(answers, &x, &y); err != nil {
				t.Fatalf("EPSG:%d: %v", g.epsg, err)
			}
			gx, gy := crs.Forward(p[0], p[1])
			worst = math.Max(worst, math.Hypot(gx-x, gy-y))
			lon, lat := crs.Inverse(gx, gy)
			back = math.Max(back, 111320*math.Hypot((lon-p[0])*math.Cos(lat*math.Pi/180), lat-p[1]))
		}
		if testing.Verbose() {
			t.Logf("EPSG:%-6d %-45s %9.6f m from GDAL, %9.6f m there and back", g.epsg, crs.Name, worst, back)
		}
		if !(worst <= g.metres) {
			t.Errorf("EPSG:%d %s: %.4f m from GDAL, want at most %v", g.epsg, crs.Name, worst, g.metres)
		}
		if !(back <= 0.01) {
			t.Errorf("EPSG:%d %s: %.4f m there and back", g.epsg, crs.Name, back)
		}
	}
}

// towgs84 are the grids on datums of their own, with the seven parameters that the package has for them.
var towgs84 = map[int]string{
	27700: "+proj=tmerc +lat_0=49 +lon_0=-2 +k=0.9996012717 +x_0=400000 +y_0=-100000 +ellps=airy +towgs84=446.448,-125.157,542.06,0.15,0.247,0.842,-20.489 +units=m +no_defs",
	31370: "+proj=lcc +lat_0=90 +lon_0=4.36748666666667 +lat_1=51.1666672333333 +lat_2=49.8333339 +x_0=150000.013 +y_0=5400088.438 +ellps=intl +towgs84=-106.8686,52.2978,-103.7239,0.3366,-0.457,1.8422,-1.2747 +units=m +no_defs",
	28992: "+proj=sterea +lat_0=52.1561605555556 +lon_0=5.38763888888889 +k=0.9999079 +x_0=155000 +y_0=463000 +ellps=bessel +towgs84=565.4171,50.3319,465.5524,-0.398957,0.343988,-1.8774,4.0725 +units=m +no_defs",
	31466: "+proj=tmerc +lat_0=0 +lon_0=6 +k=1 +x_0=2500000 +y_0=0 +ellps=bessel +towgs84=598.1,73.7,418.2,0.202,0.045,-2.455,6.7 +units=m +no_defs",
	31467: "+proj=tmerc +lat_0=0 +lon_0=9 +k=1 +x_0=3500000 +y_0=0 +ellps=bessel +towgs84=598.1,73.7,418.2,0.202,0.045,-2.455,6.7 +units=m +no_defs",
	31468: "+proj=tmerc +lat_0=0 +lon_0=12 +k=1 +x_0=4500000 +y_0=0 +ellps=bessel +towgs84=598.1,73.7,418.2,0.202,0.045,-2.455,6.7 +units=m +no_defs",
	31469: "+proj=tmerc +lat_0=0 +lon_0=15 +k=1 +x_0=5500000 +y_0=0 +ellps=bessel +towgs84=598.1,73.7,418.2,0.202,0.045,-2.455,6.7 +units=m +no_defs",
}

func TestUnknownGrids(t *testing.T) {
	for _, code := range []int{0, -1, 1, 5514, 27572, 2039, 104905, 32661, 1 << 40} {
		if _, err := geo.CRSByEPSG(code); !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), "gdalwarp") {
			t.Errorf("CRSByEPSG(%d): error %v, want ErrBadInput that names gdalwarp", code, err)
		}
	}
}

// TestBeyondThePole: northings that a conic continues past its pole have no position.
func TestBeyondThePole(t *testing.T) {
	crs, err := geo.CRSByEPSG(3005)
	if err != nil {
		t.Fatal(err)
	}
	if lon, lat := crs.Inverse(476182.5, 6997455.6); !math.IsNaN(lon) || !math.IsNaN(lat) {
		t.Errorf("Inverse beyond the pole = %v, %v, want NaN", lon, lat)
	}
}

// FuzzCRS: no coordinates make a projection panic or hang, and what comes out is a number or NaN.
func FuzzCRS(f *testing.F) {
	f.Add(0, 1e6, 2e6)
	f.Add(5, -1e300, math.Inf(1))
	f.Add(9, math.NaN(), 0.0)
	f.Add(10, 180.0, 90.0)
	f.Add(11, -180.0, -90.0)
	f.Fuzz(func(t *testing.T, which int, a, b float64) {
		crs, err := geo.CRSByEPSG(grids[uint(which)%uint(len(grids))].epsg)
		if err != nil {
			t.Fatal(err)
		}
		crs.Forward(a, b)
		lon, lat := crs.Inverse(a, b)
		if !math.IsNaN(lat) && math.Abs(lat) > 90.000001 && crs.EPSG != 3857 {
			t.Errorf("EPSG:%d Inverse(%v, %v) = %v, %v", crs.EPSG, a, b, lon, lat)
		}
	})
}
