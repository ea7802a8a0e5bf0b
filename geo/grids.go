package geo

import (
	"math"
	"strconv"

	helmert "github.com/wroge/wgs84"
)

// figures of the earth besides those of WGS 84 and GRS 80, by EPSG code.
var (
	airy              = ellipsoid{6377563.396, 1 / 299.3249646} // 7001
	airyModified      = ellipsoid{6377340.189, 1 / 299.3249646} // 7002
	bessel            = ellipsoid{6377397.155, 1 / 299.1528128} // 7004
	international1924 = ellipsoid{6378388, 1 / 297.0}           // 7022
)

// datum is a figure of the earth and how it lies to that of WGS 84: a position vector transformation in metres, arc
// seconds and parts per million (EPSG method 9606). All zero means that the difference is below about two metres.
type datum struct {
	ellipsoid
	tx, ty, tz, rx, ry, rz, ds float64
}

var (
	etrs89     = datum{ellipsoid: grs80}                                                                  // and NAD83, SIRGAS 2000, JGD2011, …
	osgb36     = datum{airy, 446.448, -125.157, 542.06, 0.15, 0.247, 0.842, -20.489}                      // EPSG:1314
	tm65       = datum{airyModified, 482.5, -130.6, 564.6, -1.042, -0.214, -0.631, 8.15}                  // EPSG:1641
	mgi        = datum{bessel, 577.326, 90.129, 463.919, 5.137, 1.474, 5.297, 2.4232}                     // EPSG:1618
	dhdn       = datum{bessel, 598.1, 73.7, 418.2, 0.202, 0.045, -2.455, 6.7}                             // EPSG:1777
	belge72    = datum{international1924, -106.8686, 52.2978, -103.7239, 0.3366, -0.457, 1.8422, -1.2747} // EPSG:15929
	amersfoort = datum{bessel, 565.4171, 50.3319, 465.5524, -0.398957, 0.343988, -1.8774, 4.0725}         // EPSG:15934
	ch1903     = datum{bessel, 674.374, 15.056, 405.346, 0, 0, 0, 0}                                      // EPSG:1676
)

func (d datum) shifted() bool { return d.tx != 0 || d.ty != 0 || d.tz != 0 }

// system is the datum as the library has it.
func (d datum) system() helmert.Datum {
	return helmert.Helmert(d.a, 1/d.f, d.tx, d.ty, d.tz, d.rx, d.ry, d.rz, d.ds)
}

// onDatum lets a projection of a datum take and give positions of WGS 84.
type onDatum struct {
	projection
	to, from helmert.Func
}

// shift returns p as a projection of WGS 84 positions. The heights that the library computes on the way are left out.
func (d datum) shift(p projection) projection {
	if !d.shifted() {
		return p
	}
	local := d.system().LonLat()
	return onDatum{p, helmert.LonLat().To(local), local.To(helmert.LonLat())}
}

func (p onDatum) forward(lon, lat float64) (x, y float64) {
	lon, lat, _ = p.to(lon, lat, 0)
	return p.projection.forward(lon, lat)
}

func (p onDatum) inverse(x, y float64) (lon, lat float64) {
	lon, lat = p.projection.inverse(x, y)
	lon, lat, _ = p.from(lon, lat, 0)
	return lon, lat
}

// library is a projection of github.com/wroge/
type library struct {
	p interface {
		FromLonLat(lon, lat float64, s helmert.Spheroid) (east, north float64)
		ToLonLat(east, north float64, s helmert.Spheroid) (lon, lat float64)
	}
	s helmert.Spheroid
}

func (l library) forward(lon, lat float64) (x, y float64) {
	x, y = l.p.FromLonLat(lon, lat, l.s)
	return finite(x, y)
}

func (l library) inverse(x, y float64) (lon, lat float64) {
	lon, lat = l.p.ToLonLat(x, y, l.s)
	return finite(wrapLon(lon), lat)
}

func finite(a, b float64) (float64, float64) {
	if math.IsInf(a, 0) || math.IsInf(b, 0) || math.IsNaN(a+b) {
		return math.NaN(), math.NaN()
	}
	return a, b
}

// conic is a Lambert conformal conic projection with two standard parallels (EPSG method 9802).
func (d datum) conic(lon0, lat0, lat1, lat2, x0, y0 float64) projection {
	s := d.system()
	return d.shift(library{s.LambertConformalConic2SP(lon0, lat0, lat1, lat2, x0, y0).Projection, s.Spheroid})
}

// albers is an equal-area conic projection (EPSG method 9822).
func (d datum) albers(lon0, lat0, lat1, lat2, x0, y0 float64) projection {
	s := d.system()
	return d.shift(library{s.AlbersEqualAreaConic(lon0, lat0, lat1, lat2, x0, y0).Projection, s.Spheroid})
}

// transverse is a transverse Mercator projection (EPSG method 9807), ours.
func (d datum) transverse(lon0, lat0, k0, x0, y0 float64) projection {
	p := newTransverseMercator(d.ellipsoid, lon0, k0, x0, 0)
	if lat0 != 0 {
		_, y := p.forward(lon0, lat0)
		y0 -= y
	}
	p.y0 = y0
	return d.shift(p)
}

// nationalGrid returns the projected systems of countries and continents besides UTM; false for a code that it does
// not know.
func nationalGrid(code int) (CRS, bool) {
	crs := func(name string, p projection) (CRS, bool) { return CRS{EPSG: code, Name: name, projection: p}, true }
	switch code {
	case 27700:
		return crs("OSGB36 / British National Grid", osgb36.transverse(-2, 49, 0.9996012717, 400000, -100000))
	case 29902, 29903:
		return crs("TM65 / Irish Grid", tm65.transverse(-8, 53.5, 1.000035, 200000, 250000))
	case 2157:
		return crs("IRENET95 / Irish Transverse Mercator", etrs89.transverse(-8, 53.5, 0.99982, 600000, 750000))
	case 2154:
		return crs("RGF93 / Lambert-93", etrs89.conic(3, 46.5, 49, 44, 700000, 6600000))
	case 3942, 3943, 3944, 3945, 3946, 3947, 3948, 3949, 3950:
		lat := float64(code - 3900)
		return crs("RGF93 / CC"+strconv.Itoa(code-3900), etrs89.conic(3, lat, lat-0.75, lat+0.75, 1700000, 1200000+(lat-42)*1000000))
	case 3812:
		return crs("ETRS89 / Belgian Lambert 2008", etrs89.conic(4.359215833333333, 50.797815, 49.83333333333334, 51.16666666666666, 649328, 665262))
	case 31370:
		return crs("BD72 / Belgian Lambert 72", belge72.conic(4.367486666666666, 90, 51.16666723333333, 49.8333339, 150000.013, 5400088.438))
	case 28992:
		return crs("Amersfoort / RD New", amersfoort.shift(newObliqueStereographic(bessel, 5.38763888888889, 52.15616055555555, 0.9999079, 155000, 463000)))
	case 2056:
		return crs("CH1903+ / LV95", ch1903.shift(newSwissOblique(bessel, 7.439583333333333, 46.95240555555556, 2600000, 1200000)))
	case 21781:
		return crs("CH1903 / LV03", ch1903.shift(newSwissOblique(bessel, 7.439583333333333, 46.95240555555556, 600000, 200000)))
	case 31466, 31467, 31468, 31469:
		zone := float64(code - 31464)
		return crs("DHDN / 3-degree Gauss-Kruger zone "+strconv.Itoa(code-31464), dhdn.transverse(3*zone, 0, 1, zone*1e6+500000, 0))
	case 31257, 31258, 31259:
		i := float64(code - 31257)
		return crs("MGI / Austria GK M"+strconv.Itoa(28+3*(code-31257)), mgi.transverse(10+1.0/3+3*i, 0, 1, 150000+300000*i, -5000000))
	case 31287:
		return crs("MGI / Austria Lambert", mgi.conic(13+1.0/3, 47.5, 49, 46, 400000, 400000))
	case 3416:
		return crs("ETRS89 / Austria Lambert", etrs89.conic(13+1.0/3, 47.5, 49, 46, 400000, 400000))
	case 2180:
		return crs("ETRF2000-PL / CS92", etrs89.transverse(19, 0, 0.9993, 500000, -5300000))
	case 3006:
		return crs("SWEREF99 TM", etrs89.transverse(15, 0, 0.9996, 500000, 0))
	case 3067:
		return crs("ETRS89 / TM35FIN", etrs89.transverse(27, 0, 0.9996, 500000, 0))
	case 3763:
		return crs("ETRS89 / Portugal TM06", etrs89.transverse(-8.133108333333334, 39.66825833333333, 1, 0, 0))
	case 3765:
		return crs("HTRS96 / Croatia TM", etrs89.transverse(16.5, 0, 0.9999, 500000, 0))
	case 3794:
		return crs("Slovenia 1996 / Slovene National Grid", etrs89.transverse(15, 0, 0.9999, 500000, -5000000))
	case 3059:
		return crs("LKS-92 / Latvia TM", etrs89.transverse(24, 0, 0.9996, 500000, -6000000))
	case 3346:
		return crs("LKS94 / Lithuania TM", etrs89.transverse(24, 0, 0.9998, 500000, 0))
	case 3301:
		return crs("Estonian Coordinate System of 1997", etrs89.conic(24, 57.51755393055556, 59.33333333333334, 58, 500000, 6375000))
	case 3057:
		return crs("ISN93 / Lambert 1993", etrs89.conic(-19, 65, 64.25, 65.75, 500000, 500000))
	case 3034:
		return crs("ETRS89-extended / LCC Europe", etrs89.conic(10, 52, 35, 65, 4000000, 2800000))
	case 5070, 6350:
		return crs("NAD83 / Conus Albers", etrs89.albers(-96, 23, 29.5, 45.5, 0, 0))
	case 3005:
		return crs("NAD83 / BC Albers", etrs89.albers(-126, 45, 50, 58.5, 1000000, 0))
	case 3347:
		return crs("NAD83 / Statistics Canada Lambert", etrs89.conic(-91.86666666666666, 63.390675, 49, 77, 6200000, 3000000))
	case 3978, 3979:
		return crs("NAD83 / Canada Atlas Lambert", etrs89.conic(-95, 49, 49, 77, 0, 0))
	case 3577:
		return crs("GDA94 / Australian Albers", etrs89.albers(132, 0, -18, -36, 0, 0))
	case 5179:
		return crs("KGD2002 / Unified CS", etrs89.transverse(127.5, 38, 0.9996, 1000000, 2000000))
	case 5185, 5186, 5187, 5188:
		return crs("KGD2002 / Belt 2010", etrs89.transverse(125+2*float64(code-5185), 38, 1, 200000, 600000))
	}
	return CRS{}, false
}
