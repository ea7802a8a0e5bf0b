package geo_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
)

// The wanted coordinates are what GDAL 3.6.2 with PROJ prints for
// echo "LON LAT" | gdaltransform -s_srs OGC:CRS84 -t_srs EPSG:CODE
func TestCRSForward(t *testing.T) {
	for _, c := range []struct {
		epsg     int
		lon, lat float64
		x, y     float64
	}{
		{32632, 9, 53.5, 500000, 5927893.75404279},
		{32632, 9.5052069, 53.5133618, 533500.9776679, 5929499.02094966},
		{32632, -12, 0, -1891310.53971433, 0},
		{32632, 3, 0.0001, -168881.688526453, 11.1143014011976},
		{32632, 8.9, -45, 492118.470357266, -4982955.26366148},
		{32632, 15, 84, 569895.476536011, 9331736.90331143},
		{32632, 6, -80, 441867.784867201, -8883084.9559483},
		{32632, 21.5, 60, 1194424.83604344, 6717405.63775387},
		{32632, 9, 90, 500000, 9997964.943021},
		{32632, 9, -90, 500000, -9997964.943021},
		{32732, 8.9, -45, 492118.470357266, 5017044.73633852},
		{25832, 9.5052069, 53.5133618, 533500.977668256, 5929499.02082554},
		{2193, 172, -40, 1514639.53815665, 5571763.93548079},
		{28355, 146.2, -38.123, 429879.066359389, 5780235.50416762},
		{7855, 146.2, -38.123, 429879.066359389, 5780235.50416762},
		{26913, -104.7749964, 38.9536061, 519496.184022135, 4311652.28983287},
		{6342, -104.7749964, 38.9536061, 519496.184022135, 4311652.28983287},
		{32760, 179.9, -16.5, 809603.831011209, 8173529.42073779},
		{32760, -179.9, -16.5, 830972.854464651, 8173211.34548443},
		{3857, 4.3480628, 51.889886, 484024.136833175, 6780239.86656471},
		{4326, 4.3480628, 51.889886, 4.3480628, 51.889886},
		{3035, 14.3054936, 48.2791393, 4640499.99688123, 2805500.00384769},
		{3035, -30, 70, 2878136.25667704, 5645704.72353933},
		{3035, 9.5052069, 53.5133618, 4288172.81262126, 3378514.09934308},
	} {
		crs, err := geo.CRSByEPSG(c.epsg)
		if err != nil {
			t.Fatal(err)
		}
		x, y := crs.Forward(c.lon, c.lat)
		if math.Abs(x-c.x) > 1e-6 || math.Abs(y-c.y) > 1e-6 {
			t.Errorf("EPSG:%d Forward(%v, %v) = %.9f, %.9f, want %.9f, %.9f", c.epsg, c.lon, c.lat, x, y, c.x, c.y)
		}
		lon, lat := crs.Inverse(c.x, c.y)
		if math.Abs(lon-c.lon) > 1e-10 && math.Abs(c.lat) != 90 || math.Abs(lat-c.lat) > 1e-10 {
			t.Errorf("EPSG:%d Inverse(%v, %v) = %.12f, %.12f, want %v, %v", c.epsg, c.x, c.y, lon, lat, c.lon, c.lat)
		}
	}
}

func TestCRSRoundTrip(t *testing.T) {
	for _, c := range []struct {
		code   int
		centre float64 // longitude in the middle of where it is used
	}{
		{3857, 0}, {4326, 0}, {4258, 0}, {4269, 0}, {32601, -177}, {32660, 177}, {32701, -177}, {32760, 177}, {25828, -15}, {25838, 45},
		{26901, -177}, {26923, -45}, {6330, -177}, {6348, -69}, {28348, 105}, {7859, 171}, {2193, 173}, {3035, 10},
	} {
		crs, err := geo.CRSByEPSG(c.code)
		if err != nil {
			t.Fatal(err)
		}
		for lon := c.centre - 20; lon <= c.centre+20; lon += 4 {
			for lat := -80.0; lat <= 80; lat += 7.3 {
				gotLon, gotLat := crs.Inverse(crs.Forward(lon, lat))
				if d := math.Remainder(gotLon-lon, 360); math.Abs(d) > 1e-9 || math.Abs(gotLat-lat) > 1e-9 {
					t.Fatalf("EPSG:%d: %v, %v comes back as %v, %v", c.code, lon, lat, gotLon, gotLat)
				}
			}
		}
		if x, _ := crs.Forward(c.centre, 40); strings.Contains(crs.Name, "UTM") && math.Abs(x-500000) > 1e-6 {
			t.Errorf("EPSG:%d (%s): easting of the central meridian is %v", c.code, crs.Name, x)
		}
	}
}

func TestCRSFarAway(t *testing.T) {
	crs, err := geo.CRSByEPSG(32632)
	if err != nil {
		t.Fatal(err)
	}
	if x, y := crs.Forward(99, 0); !math.IsNaN(x) || !math.IsNaN(y) {
		t.Errorf("Forward 90° off the central meridian = %v, %v, want NaN", x, y)
	}
	if lon, lat := crs.Inverse(1e9, 1e9); !math.IsNaN(lon) || !math.IsNaN(lat) {
		t.Errorf("Inverse of a place off the earth = %v, %v, want NaN", lon, lat)
	}
	if lon, lat := crs.Inverse(math.NaN(), math.Inf(1)); !math.IsNaN(lon) || !math.IsNaN(lat) {
		t.Errorf("Inverse(NaN, Inf) = %v, %v, want NaN", lon, lat)
	}
}

func TestCRSByEPSGRefuses(t *testing.T) {
	for _, code := range []int{0, -1, 32600, 32661, 32767, 5514, 25827, 25839, 26924, math.MaxInt, math.MinInt} {
		if _, err := geo.CRSByEPSG(code); !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("CRSByEPSG(%d): error %v, want ErrBadInput", code, err)
		}
	}
}

func BenchmarkTransverseMercator(b *testing.B) {
	crs, err := geo.CRSByEPSG(32632)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		crs.Forward(9.5, 53.5)
	}
}
