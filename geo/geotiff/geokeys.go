package geotiff

import (
	"fmt"
	"math"
	"strings"

	"github.com/tilescout/tilescout/geo"
)

// GeoKeys (OGC 19-008r4, annex B).
const (
	keyModelType     = 1024
	keyRasterType    = 1025
	keyCitation      = 1026
	keyGeographicCRS = 2048
	keyGeoCitation   = 2049
	keySemiMajor     = 2057
	keyProjectedCRS  = 3072
	keyPCSCitation   = 3073

	modelProjected  = 1
	modelGeographic = 2
	rasterIsPoint   = 2
	userDefined     = 32767
)

// geoKeys are the keys that the package uses.
type geoKeys struct {
	model, raster         int
	geographic, projected int
	citation              string
	semiMajor             float64 // of the ellipsoid, metres; 0 if the keys do not say
}

// parseGeoKeys reads a GeoKeyDirectory (tag 34735) with its numbers (tag 34736) and its text (tag 34737), within
// limits that have their defaults.
func parseGeoKeys(dir []uint64, doubles []float64, ascii string, limits Limits) (geoKeys, error) {
	var k geoKeys
	if len(dir) < 4 {
		return k, fmt.Errorf("GeoKey directory of %d values: %w", len(dir), ErrTagValue)
	}
	if dir[0] != 1 {
		return k, fmt.Errorf("GeoKey directory version %d: %w", dir[0], ErrUnsupported)
	}
	n := dir[3]
	if n > uint64(limits.GeoKeys) || n > uint64(len(dir)-4)/4 || len(ascii) > limits.TextBytes {
		return k, fmt.Errorf("%d GeoKeys in %d values: %w", n, len(dir), ErrTagValue)
	}
	for i := range n {
		e := dir[4+4*i : 8+4*i]
		id, location, count, value := e[0], e[1], e[2], e[3]
		if location == 34737 && (id == keyCitation || id == keyPCSCitation || id == keyGeoCitation) {
			if value > uint64(len(ascii)) || count > uint64(len(ascii))-value {
				return k, fmt.Errorf("GeoKey %d is outside its text: %w", id, ErrTagValue)
			}
			k.citation += strings.TrimRight(ascii[value:value+count], "|\x00") + "\n"
		}
		if location == 34736 && id == keySemiMajor {
			if value >= uint64(len(doubles)) {
				return k, fmt.Errorf("GeoKey %d is outside its numbers: %w", id, ErrTagValue)
			}
			k.semiMajor = doubles[value]
		}
		if location != 0 {
			continue
		}
		if value > math.MaxUint16 {
			return k, fmt.Errorf("GeoKey %d is %d: %w", id, value, ErrTagValue)
		}
		switch id {
		case keyModelType:
			k.model = int(value)
		case keyRasterType:
			k.raster = int(value)
		case keyGeographicCRS:
			k.geographic = int(value)
		case keyProjectedCRS:
			k.projected = int(value)
		}
	}
	return k, nil
}

// crs finds the coordinate reference system that the keys name.
func (k geoKeys) crs() (geo.CRS, error) {
	code := k.projected
	if k.model == modelGeographic || k.model == 0 && code == 0 {
		code = k.geographic
	}
	// The ellipsoids of the earth differ by less than a kilometre; spheres that stand for it by seven.
	if a := k.semiMajor; (k.geographic == userDefined || k.projected == userDefined) && a != 0 && !(math.Abs(a-6375000) < 15000) {
		return geo.CRS{}, fmt.Errorf("its ellipsoid has a radius of %.0f m, the earth 6378137; to see it on a map of the earth, copy it with gdal_translate -a_srs EPSG:4326: %w", a, ErrOtherPlanet)
	}
	if code == userDefined || code == 0 {
		// Web Mercator had no EPSG code for years; its writers used one of these names.
		for _, name := range []string{"Pseudo-Mercator", "Web_Mercator_Auxiliary_Sphere", "Popular Visualisation"} {
			if strings.Contains(k.citation, name) {
				return geo.CRSByEPSG(3857)
			}
		}
		if code == 0 {
			return geo.CRS{}, fmt.Errorf("the file names none; give it one with gdal_edit.py -a_srs EPSG:CODE: %w", ErrNoCRS)
		}
		return geo.CRS{}, fmt.Errorf("user-defined, without EPSG code; warp it first with gdalwarp -t_srs EPSG:3857: %w", ErrNoCRS)
	}
	return geo.CRSByEPSG(code)
}

// Transform is an affine map from pixels to coordinates of the CRS, in GDAL's order: x = t[0] + col·t[1] +
// row·t[2], y = t[3] + col·t[4] + row·t[5], where col 0, row 0 is the outer corner of the first pixel.
type Transform [6]float64

// Apply returns the coordinates of a position in pixels.
func (t Transform) Apply(col, row float64) (x, y float64) {
	return t[0] + col*t[1] + row*t[2], t[3] + col*t[4] + row*t[5]
}

// invert returns the map from coordinates to pixels; false if the map is flat.
func (t Transform) invert() (Transform, bool) {
	det := t[1]*t[5] - t[2]*t[4]
	if !(math.Abs(det) > 0) || math.IsInf(det, 0) {
		return Transform{}, false
	}
	return Transform{
		(t[2]*t[3] - t[0]*t[5]) / det, t[5] / det, -t[2] / det,
		(t[0]*t[4] - t[1]*t[3]) / det, -t[4] / det, t[1] / det,
	}, true
}

// transformOf reads the georeference from ModelTransformation or from ModelPixelScale and one tie point.
func transformOf(t *tags, k geoKeys) (Transform, error) {
	var g Transform
	switch m, s, p := t.Transformation, t.PixelScale, t.TiePoints; {
	case len(m) >= 16:
		g = Transform{m[3], m[0], m[1], m[7], m[4], m[5]}
	case len(s) >= 2 && len(p) >= 6 && s[0] != 0 && s[1] != 0:
		sy := -math.Abs(s[1])
		g = Transform{p[3] - p[0]*s[0], s[0], 0, p[4] - p[1]*sy, 0, sy}
	case len(p) > 6:
		return g, fmt.Errorf("georeferenced by control points only; warp it first with gdalwarp -t_srs EPSG:3857: %w", ErrControlPoints)
	case len(t.RPC) > 0:
		return g, fmt.Errorf("georeferenced by the camera's rational polynomials only; warp it first with gdalwarp -rpc -t_srs EPSG:3857: %w", ErrControlPoints)
	default:
		return g, fmt.Errorf("the file says nothing of where it lies; tell it with gdal_translate -a_srs EPSG:CODE -a_ullr WEST NORTH EAST SOUTH: %w", ErrNoCRS)
	}
	if k.raster == rasterIsPoint {
		// The tie point is the centre of its pixel.
		g[0] -= (g[1] + g[2]) / 2
		g[3] -= (g[4] + g[5]) / 2
	}
	for _, v := range g {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return g, fmt.Errorf("georeference %v: %w", g, ErrTagValue)
		}
	}
	if _, ok := g.invert(); !ok {
		return g, fmt.Errorf("georeference %v is flat: %w", g, ErrTagValue)
	}
	return g, nil
}
