package wmts

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/paulmach/orb"

	"github.com/tilescout/tilescout/tileserver/source/upstream"
)

// capabilities is what is read of a WMTS 1.0.0 document (OGC 07-057r7). Prefixes play no part. Numbers are text here:
// one that is odd makes its matrix unusable, not the document.
type capabilities struct {
	Title      []string    `xml:"ServiceIdentification>Title"`
	Provider   string      `xml:"ServiceProvider>ProviderName"`
	Operations []operation `xml:"OperationsMetadata>Operation"`
	Layers     []layer     `xml:"Contents>Layer"`
	Sets       []matrixSet `xml:"Contents>TileMatrixSet"`
}

type operation struct {
	Name string `xml:"name,attr"`
	Gets []struct {
		Href        string `xml:"href,attr"`
		Constraints []struct {
			Name   string   `xml:"name,attr"`
			Values []string `xml:"AllowedValues>Value"`
		} `xml:"Constraint"`
	} `xml:"DCP>HTTP>Get"`
}

type layer struct {
	Title      []string    `xml:"Title"`
	Abstract   []string    `xml:"Abstract"`
	ID         string      `xml:"Identifier"`
	Boxes      []box       `xml:"WGS84BoundingBox"`
	Styles     []style     `xml:"Style"`
	Formats    []string    `xml:"Format"`
	Dimensions []dimension `xml:"Dimension"`
	Links      []link      `xml:"TileMatrixSetLink"`
	Resources  []resource  `xml:"ResourceURL"`
}

type box struct {
	Lower string `xml:"LowerCorner"` // lon lat
	Upper string `xml:"UpperCorner"`
}

type style struct {
	Default string   `xml:"isDefault,attr"`
	ID      string   `xml:"Identifier"`
	Title   []string `xml:"Title"`
}

type dimension struct {
	ID      string   `xml:"Identifier"`
	Default string   `xml:"Default"`
	Values  []string `xml:"Value"`
}

type link struct {
	Set    string  `xml:"TileMatrixSet"`
	Limits []limit `xml:"TileMatrixSetLimits>TileMatrixLimits"`
}

type limit struct {
	Matrix string `xml:"TileMatrix"`
	MinRow string `xml:"MinTileRow"`
	MaxRow string `xml:"MaxTileRow"`
	MinCol string `xml:"MinTileCol"`
	MaxCol string `xml:"MaxTileCol"`
}

type resource struct {
	Format   string `xml:"format,attr"`
	Type     string `xml:"resourceType,attr"`
	Template string `xml:"template,attr"`
}

type matrixSet struct {
	ID       string   `xml:"Identifier"`
	CRS      string   `xml:"SupportedCRS"`
	Matrices []matrix `xml:"TileMatrix"`
}

type matrix struct {
	ID      string `xml:"Identifier"`
	Scale   string `xml:"ScaleDenominator"`
	TopLeft string `xml:"TopLeftCorner"`
	TileW   string `xml:"TileWidth"`
	TileH   string `xml:"TileHeight"`
	Width   string `xml:"MatrixWidth"`
	Height  string `xml:"MatrixHeight"`
}

// parse reads a capabilities document. All errors are ErrBadInput.
func parse(data []byte, limits upstream.DocumentLimits) (*capabilities, error) {
	root, err := upstream.RootElement(data)
	if err != nil {
		return nil, err
	}
	switch root {
	case "Capabilities":
	case "WMS_Capabilities", "WMT_MS_Capabilities":
		return nil, fmt.Errorf("this is a WMS: write wms+https://… instead of wmts+https://…: %w", upstream.ErrCapabilities)
	case "ExceptionReport", "ServiceExceptionReport":
		return nil, fmt.Errorf("the server answers with an exception: %s: %w", upstream.ExceptionText(data), upstream.ErrCapabilities)
	default:
		return nil, fmt.Errorf("the document is <%.40s>, not WMTS capabilities: %w", root, upstream.ErrCapabilities)
	}
	c := &capabilities{}
	if err := upstream.UnmarshalXML(data, c, limits); err != nil {
		return nil, err
	}
	if len(c.Layers) == 0 {
		return nil, fmt.Errorf("the capabilities list no layer: %w", upstream.ErrCapabilities)
	}
	return c, nil
}

func first(texts []string) string {
	for _, t := range texts {
		if t = strings.TrimSpace(t); t != "" {
			return t
		}
	}
	return ""
}

// number reads a whole number, also one written 256.0.
func number(text string) (int64, bool) {
	text = strings.TrimSpace(text)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<52 {
		return 0, false
	}
	return int64(f), true
}

// pair reads two numbers with white space or a comma between.
func pair(text string) (a, b float64, ok bool) {
	parts := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == '\n' || r == '\t' || r == '\r' })
	if len(parts) != 2 {
		return 0, 0, false
	}
	a, errA := strconv.ParseFloat(parts[0], 64)
	b, errB := strconv.ParseFloat(parts[1], 64)
	ok = errA == nil && errB == nil && !math.IsNaN(a+b) && !math.IsInf(a+b, 0)
	return a, b, ok
}

// bounds returns where the layer is, in degrees: two boxes where it crosses 180°, none where the document does not say
// so or says nonsense.
func (l layer) bounds() []orb.Bound {
	var out []orb.Bound
	for _, b := range l.Boxes {
		west, south, ok := pair(b.Lower)
		east, north, ok2 := pair(b.Upper)
		if !ok || !ok2 || south >= north || west == east || math.Abs(south) > 90.01 || math.Abs(north) > 90.01 || math.Abs(west) > 360 || math.Abs(east) > 360 {
			return nil
		}
		west, east = max(west, -180), min(east, 180)
		if west < east {
			out = append(out, orb.Bound{Min: orb.Point{west, south}, Max: orb.Point{east, north}})
			continue
		}
		out = append(out, orb.Bound{Min: orb.Point{west, south}, Max: orb.Point{180, north}}, orb.Bound{Min: orb.Point{-180, south}, Max: orb.Point{east, north}})
	}
	return out
}
