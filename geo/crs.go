package geo

import (
	"fmt"
	"math"
	"strconv"

	"github.com/tilescout/tilescout"
)

// CRS is a coordinate reference system that imagery may be in. Positions of ETRS89, NAD83, NZGD2000 and
// GDA2020 are taken as WGS 84: they differ by at most about two metres.
type CRS struct {
	EPSG       int
	Name       string
	Geographic bool // x, y are degrees of longitude and latitude
	projection projection
}

// projection maps between degrees and metres; nil for geographic systems.
type projection interface {
	forward(lon, lat float64) (x, y float64)
	inverse(x, y float64) (lon, lat float64)
}

// Forward returns the coordinates in the CRS, x eastwards first, of a position in degrees; NaN where the
// projection has no answer.
func (c CRS) Forward(lon, lat float64) (x, y float64) {
	if c.projection == nil {
		return lon, lat
	}
	return c.projection.forward(lon, lat)
}

// Inverse returns the position in degrees of coordinates in the CRS; NaN where the projection has no answer.
func (c CRS) Inverse(x, y float64) (lon, lat float64) {
	if c.projection == nil {
		return x, y
	}
	lon, lat = c.projection.inverse(x, y)
	if math.Abs(lat) > 90+1e-6 { // an iteration that ended beyond the pole: a conic's northings go on, the earth does not
		return math.NaN(), math.NaN()
	}
	return lon, lat
}

// utmFamily is a run of EPSG codes, one for each zone from first to last.
type utmFamily struct {
	code        int // EPSG code of zone first
	first, last int // zones
	name        string
	ellipsoid   ellipsoid
	south       bool
}

// geographic systems that differ from WGS 84 by at most about two metres, in degrees.
var geographic = map[int]string{
	4979: "WGS 84", 4258: "ETRS89", 4269: "NAD83", 6318: "NAD83(2011)", 4617: "NAD83(CSRS)", 4171: "RGF93", 4283: "GDA94", 7844: "GDA2020",
	4167: "NZGD2000", 4490: "CGCS2000", 4612: "JGD2000", 6668: "JGD2011", 4674: "SIRGAS 2000", 4619: "SWEREF99", 4148: "Hartebeesthoek94", 4737: "KGD2002",
}

// CRSByEPSG returns the CRS of an EPSG code: 3857 (also 900913), 4326 (axis order lon, lat as rasters store it) and
// other geographic systems close to it, the UTM zones of WGS 84, ETRS89, NAD83, GDA94, GDA2020, SIRGAS 2000 and
// JGD2011, 2193 (New Zealand), 3035 (Europe) and the grids of nationalGrid. Any other code is ErrBadInput.
func CRSByEPSG(code int) (CRS, error) {
	switch code {
	case 3857, 900913, 3785, 102100, 102113:
		return CRS{EPSG: 3857, Name: "WGS 84 / Pseudo-Mercator", projection: webMercator{}}, nil
	case 4326:
		return CRS{EPSG: code, Name: "WGS 84", Geographic: true}, nil
	case 2193:
		return CRS{EPSG: code, Name: "NZGD2000 / New Zealand Transverse Mercator 2000",
			projection: newTransverseMercator(grs80, 173, 0.9996, 1600000, 10000000)}, nil
	case 3035:
		return CRS{EPSG: code, Name: "ETRS89-extended / LAEA Europe",
			projection: newLambertAzimuthal(grs80, 10, 52, 4321000, 3210000)}, nil
	}
	if name, ok := geographic[code]; ok {
		return CRS{EPSG: code, Name: name, Geographic: true}, nil
	}
	if c, ok := nationalGrid(code); ok {
		return c, nil
	}
	for _, f := range []utmFamily{
		{32601, 1, 60, "WGS 84", wgs84, false},
		{32701, 1, 60, "WGS 84", wgs84, true},
		{25828, 28, 38, "ETRS89", grs80, false},
		{26901, 1, 23, "NAD83", grs80, false},
		{6330, 1, 19, "NAD83(2011)", grs80, false},
		{28348, 48, 58, "GDA94", grs80, true},
		{7846, 46, 59, "GDA2020", grs80, true},
		{31978, 18, 25, "SIRGAS 2000", grs80, true},
		{6688, 51, 55, "JGD2011", grs80, false},
		{3154, 7, 10, "NAD83(CSRS)", grs80, false},
	} {
		zone := f.first + code - f.code
		if zone < f.first || zone > f.last {
			continue
		}
		hemisphere, falseNorthing := "N", 0.0
		if f.south {
			hemisphere, falseNorthing = "S", 10000000
		}
		return CRS{
			EPSG:       code,
			Name:       f.name + " / UTM zone " + strconv.Itoa(zone) + hemisphere,
			projection: newTransverseMercator(f.ellipsoid, float64(6*zone-183), 0.9996, 500000, falseNorthing),
		}, nil
	}
	return CRS{}, fmt.Errorf("coordinate reference system EPSG:%d is not supported; warp the file first: gdalwarp -t_srs EPSG:3857: %w",
		code, tilescout.ErrBadInput)
}

// webMercator is EPSG:3857, the sphere on WGS 84 degrees.
type webMercator struct{}

func (webMercator) forward(lon, lat float64) (x, y float64) {
	return lon * math.Pi / 180 * EarthRadius, math.Asinh(math.Tan(lat*math.Pi/180)) * EarthRadius
}

func (webMercator) inverse(x, y float64) (lon, lat float64) {
	return x / EarthRadius * 180 / math.Pi, math.Atan(math.Sinh(y/EarthRadius)) * 180 / math.Pi
}
