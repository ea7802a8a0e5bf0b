package geo

import (
	"math"
	"strconv"

	"github.com/paulmach/orb/maptile"
)

// MatrixSet describes a tile matrix set in the terms of WMTS 1.0.0 and OGC Two Dimensional Tile Matrix Set 2.0.
type MatrixSet struct {
	ID                string       // "WebMercatorQuad"
	Title             string       //
	URI               string       // identifier of OGC TMS 2.0
	CRS               string       // URN, as WMTS writes it
	CRSURI            string       // URI, as OGC API writes it
	EPSG              int          //
	WellKnownScaleSet string       // URN, as WMTS writes it
	ScaleSetURI       string       // URI, as OGC API writes it
	MaxZoom           maptile.Zoom // matrices are zooms 0 to MaxZoom
}

// Matrix is one zoom of a matrix set.
type Matrix struct {
	ID               string     // the zoom as decimal
	ScaleDenominator float64    // with the pixel of 0.28 mm of OGC 07-057r7 §6.1
	CellSize         float64    // metres per pixel in the CRS (at the equator)
	TopLeft          [2]float64 // x, y in the CRS
	TileWidth        int        // pixels
	TileHeight       int
	Width, Height    uint64 // tiles
}

// Half is half the side of the Web Mercator square in metres: π · EarthRadius.
const Half = math.Pi * EarthRadius

// WebMercatorQuad returns the one matrix set that tiles are served in.
func WebMercatorQuad() MatrixSet {
	return MatrixSet{
		ID:                "WebMercatorQuad",
		Title:             "Google Maps Compatible for the World",
		URI:               "http://www.opengis.net/def/tilematrixset/OGC/1.0/WebMercatorQuad",
		CRS:               "urn:ogc:def:crs:EPSG::3857",
		CRSURI:            "http://www.opengis.net/def/crs/EPSG/0/3857",
		EPSG:              3857,
		WellKnownScaleSet: "urn:ogc:def:wkss:OGC:1.0:GoogleMapsCompatible",
		ScaleSetURI:       "http://www.opengis.net/def/wkss/OGC/1.0/GoogleMapsCompatible",
		MaxZoom:           MaxZoom,
	}
}

// Matrix returns the matrix of zoom z with tiles of size pixels a side (256, or 512 for the same tiles at
// double density). At size 256 and zoom 0 the scale denominator is 559082264.0287178.
func (s MatrixSet) Matrix(z maptile.Zoom, size int) Matrix {
	cellSize := math.Ldexp(2*Half/float64(size), -int(z))
	return Matrix{
		ID:               strconv.Itoa(int(z)),
		ScaleDenominator: cellSize / 0.00028,
		CellSize:         cellSize,
		TopLeft:          [2]float64{-Half, Half},
		TileWidth:        size,
		TileHeight:       size,
		Width:            1 << z,
		Height:           1 << z,
	}
}
