// Package hostile makes documents that mean harm: capabilities, TileJSON and descriptions of services as nobody should
// write them. Each is small enough to be kept, or says what it would become.
package hostile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"unicode/utf16"
)

// Files returns the documents by name; the ending of a name is what the document pretends to be. The order is always
// the same.
func Files() iter.Seq2[string, []byte] {
	files := map[string]string{}
	xml(files)
	wmts(files)
	wms(files)
	tileJSON(files)
	arcgis(files)
	return func(yield func(string, []byte) bool) {
		for _, name := range slices.Sorted(maps.Keys(files)) {
			if !yield(name, []byte(files[name])) {
				return
			}
		}
	}
}

// xml holds what is wrong with the form of a document.
func xml(files map[string]string) {
	var laughs strings.Builder
	laughs.WriteString(`<?xml version="1.0"?><!DOCTYPE Capabilities [<!ENTITY a0 "ha">`)
	for i := range 30 {
		fmt.Fprintf(&laughs, `<!ENTITY a%d "&a%d;&a%d;">`, i+1, i, i)
	}
	laughs.WriteString(`]><Capabilities>&a30;</Capabilities>`)
	quad := `<!DOCTYPE Capabilities [<!ENTITY a "` + strings.Repeat("a", 50_000) + `">]><Capabilities>` + strings.Repeat("&a;", 50_000) + `</Capabilities>`
	for name, text := range map[string]string{
		"empty":                  "",
		"blank":                  " \n\t ",
		"bom only":               "\ufeff",
		"text":                   "hello",
		"html":                   "<!DOCTYPE html><html><head><title>Login</title></head><body onload=alert(1)></body></html>",
		"billion laughs":         laughs.String(),
		"quadratic blowup":       quad,
		"external entity":        `<!DOCTYPE Capabilities [<!ENTITY x SYSTEM "file:///etc/passwd">]><Capabilities><Contents><Layer><Identifier>&x;</Identifier></Layer></Contents></Capabilities>`,
		"external entity http":   `<!DOCTYPE Capabilities [<!ENTITY x SYSTEM "http://169.254.169.254/latest/meta-data/">]><Capabilities>&x;</Capabilities>`,
		"parameter entity":       `<!DOCTYPE Capabilities [<!ENTITY % x SYSTEM "http://127.0.0.1/x.dtd"> %x;]><Capabilities/>`,
		"external dtd":           `<!DOCTYPE Capabilities SYSTEM "http://169.254.169.254/x.dtd"><Capabilities/>`,
		"doctype without end":    `<!DOCTYPE Capabilities [<!ELEMENT a (b)` + strings.Repeat("<!ELEMENT a EMPTY>", 1000),
		"undefined entity":       `<Capabilities>&nothing;</Capabilities>`,
		"deep":                   strings.Repeat("<Layer>", 100_000),
		"deep and closed":        strings.Repeat("<a>", 100_000) + strings.Repeat("</a>", 100_000),
		"wide":                   "<Capabilities>" + strings.Repeat("<a/>", 600_000) + "</Capabilities>",
		"many layers":            "<Capabilities><Contents>" + strings.Repeat("<Layer><Identifier>a</Identifier></Layer>", 20_000) + "</Contents></Capabilities>",
		"many attributes":        "<Capabilities " + attributes(100_000) + "/>",
		"long attribute":         `<Capabilities version="` + strings.Repeat("a", 8<<20) + `"/>`,
		"long name":              "<" + strings.Repeat("a", 4<<20) + "/>",
		"long text":              "<Capabilities><ServiceIdentification><Title>" + strings.Repeat("a", 9<<20) + "</Title></ServiceIdentification></Capabilities>",
		"long comment":           "<!--" + strings.Repeat("a", 9<<20) + "--><Capabilities/>",
		"long cdata":             "<Capabilities><![CDATA[" + strings.Repeat("]", 9<<20) + "]]></Capabilities>",
		"too large":              "<Capabilities>" + strings.Repeat(" ", 10<<20) + "</Capabilities>",
		"cut in a name":          `<?xml version="1.0"?><Capabili`,
		"cut in an attribute":    `<Capabilities version="1.`,
		"cut in a comment":       `<Capabilities><!-- `,
		"cut after the root":     `<Capabilities>`,
		"wrong end":              `<Capabilities></Contents>`,
		"two roots":              `<Capabilities/><Capabilities/>`,
		"control characters":     "<Capabilities>\x00\x01\x02</Capabilities>",
		"invalid utf8":           "<Capabilities>\xff\xfe\xfd</Capabilities>",
		"unknown encoding":       `<?xml version="1.0" encoding="KLINGON-1"?><Capabilities/>`,
		"utf16 said of utf8":     `<?xml version="1.0" encoding="UTF-16"?><Capabilities/>`,
		"utf7":                   `<?xml version="1.0" encoding="UTF-7"?>+ADw-Capabilities/+AD4-`,
		"long encoding":          `<?xml version="1.0" encoding="` + strings.Repeat("x", 100_000) + `"?><Capabilities/>`,
		"half a utf16":           "\xff\xfe<\x00C\x00a",
		"prefixes without end":   "<" + strings.Repeat("a:", 100_000) + "Capabilities/>",
		"names of names":         `<Capabilities xmlns:a="a" xmlns:a="b" xmlns="` + strings.Repeat("c", 1<<20) + `"><a:b/></Capabilities>`,
		"processing instruction": "<?" + strings.Repeat("a", 1<<20) + "?><Capabilities/>",
		"exception":              `<ServiceExceptionReport><ServiceException>` + strings.Repeat("no\n", 10_000) + `</ServiceException></ServiceExceptionReport>`,
	} {
		files["xml "+name+".xml"] = text
	}
	wide := utf16.Encode([]rune(`<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a [<!ENTITY x "y">]><Capabilities>&x;</Capabilities>`))
	var b bytes.Buffer
	b.WriteString("\xff\xfe")
	for _, u := range wide {
		b.Write(binary.LittleEndian.AppendUint16(nil, u))
	}
	files["xml entity in utf16.xml"] = b.String()
}

func attributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `a%d="" `, i)
	}
	return b.String()
}

const wmtsDocument = `<?xml version="1.0"?><Capabilities xmlns:ows="http://www.opengis.net/ows/1.1" xmlns:xlink="http://www.w3.org/1999/xlink">%s
<Contents><Layer><ows:Title>%s</ows:Title><ows:Identifier>%s</ows:Identifier><Style><ows:Identifier>s</ows:Identifier></Style><Format>image/png</Format>
<TileMatrixSetLink><TileMatrixSet>set</TileMatrixSet>%s</TileMatrixSetLink>%s</Layer>
<TileMatrixSet><ows:Identifier>set</ows:Identifier><ows:SupportedCRS>%s</ows:SupportedCRS>%s</TileMatrixSet></Contents></Capabilities>`

// one is a WMTS document with one layer; what is "" stands for what is right.
type one struct{ operations, title, id, limits, resources, crs, matrices string }

func (o one) String() string {
	or := func(s, standard string) string {
		if s == "" {
			return standard
		}
		return s
	}
	return fmt.Sprintf(wmtsDocument, o.operations, o.title, or(o.id, "l"), o.limits, or(o.resources, template("/tiles/{TileMatrix}/{TileRow}/{TileCol}")),
		or(o.crs, "EPSG:3857"), or(o.matrices, matrix("559082264.0287178", "-20037508.34 20037508.34", "256", "256", "1", "1")))
}

func template(s string) string {
	return `<ResourceURL format="image/png" resourceType="tile" template="` + strings.ReplaceAll(s, "&", "&amp;") + `"/>`
}

func matrix(scale, corner, tileWidth, tileHeight, width, height string) string {
	return "<TileMatrix><ows:Identifier>0</ows:Identifier><ScaleDenominator>" + scale + "</ScaleDenominator><TopLeftCorner>" + corner + "</TopLeftCorner><TileWidth>" +
		tileWidth + "</TileWidth><TileHeight>" + tileHeight + "</TileHeight><MatrixWidth>" + width + "</MatrixWidth><MatrixHeight>" + height + "</MatrixHeight></TileMatrix>"
}

// wmts holds lies in WMTS capabilities.
func wmts(files map[string]string) {
	const corner = "-20037508.34 20037508.34"
	for name, o := range map[string]one{
		"zero scale":           {matrices: matrix("0", corner, "256", "256", "1", "1")},
		"negative scale":       {matrices: matrix("-1", corner, "256", "256", "1", "1")},
		"tiny scale":           {matrices: matrix("1e-300", corner, "256", "256", "1", "1")},
		"infinite scale":       {matrices: matrix("1e999", corner, "256", "256", "1", "1")},
		"scale is no number":   {matrices: matrix("NaN", corner, "256", "256", "1", "1")},
		"corner is no number":  {matrices: matrix("1000", "NaN NaN", "256", "256", "9", "9")},
		"corner far away":      {matrices: matrix("1000", "1e300 1e300", "256", "256", "9", "9")},
		"zero tiles":           {matrices: matrix("1000", corner, "0", "0", "9", "9")},
		"huge tiles":           {matrices: matrix("1000", corner, "2147483647", "2147483647", "9", "9")},
		"flat tiles":           {matrices: matrix("1000", corner, "4096", "16", "9", "9")},
		"negative matrix":      {matrices: matrix("1000", corner, "256", "256", "-9", "-9")},
		"huge matrix":          {matrices: matrix("1000", corner, "256", "256", "9223372036854775807", "9223372036854775807")},
		"overflow":             {matrices: matrix("1000", corner, "256", "256", "99999999999999999999", "1")},
		"fine and unbounded":   {matrices: matrix("0.001", "0 0", "256", "256", "4294967295", "4294967295")},
		"many matrices":        {matrices: strings.Repeat(matrix("1000", corner, "256", "256", "9", "9"), 5000)},
		"limits turned round":  {limits: limits("9", "0", "9", "0")},
		"limits beyond":        {limits: limits("0", "999999999999", "0", "999999999999")},
		"limits negative":      {limits: limits("-5", "-1", "-5", "-1")},
		"unknown system":       {crs: "EPSG:99999999999999999999"},
		"system of the moon":   {crs: "urn:ogc:def:crs:IAU::30100"},
		"long system":          {crs: strings.Repeat("EPSG:", 100_000)},
		"template to metadata": {resources: template("http://169.254.169.254/{TileMatrix}/{TileRow}/{TileCol}")},
		"template to loopback": {resources: template("http://[::ffff:127.0.0.1]/{TileMatrix}/{TileRow}/{TileCol}")},
		"template to a file":   {resources: template("file:///etc/{TileMatrix}/{TileRow}/{TileCol}")},
		"template in the host": {resources: template("http://{Style}.example/{TileMatrix}/{TileRow}/{TileCol}")},
		"template with a user": {resources: template("http://a:b@tiles.example/{TileMatrix}/{TileRow}/{TileCol}")},
		"template cut":         {resources: template("http://tiles.example/{TileMatrix}/{TileRow}/{TileCol")},
		"template unknown":     {resources: template("http://tiles.example/{TileMatrix}/{TileRow}/{TileCol}/{Password}")},
		"template variable":    {resources: template("/tiles/${HOME}/{TileMatrix}/{TileRow}/{TileCol}")},
		"template lines":       {resources: template("http://tiles.example/{TileMatrix}/{TileRow}/{TileCol} HTTP/1.1&#13;&#10;X: y")},
		"template without end": {resources: template("http://tiles.example/" + strings.Repeat("{TileCol}", 100_000))},
		"many templates":       {resources: strings.Repeat(template("http://169.254.169.254/{TileMatrix}/{TileRow}/{TileCol}"), 20_000)},
		"kvp to metadata":      {resources: " ", operations: `<ows:OperationsMetadata><ows:Operation name="GetTile"><ows:DCP><ows:HTTP><ows:Get xlink:href="http://169.254.169.254/"/></ows:HTTP></ows:DCP></ows:Operation></ows:OperationsMetadata>`},
		"script in the title":  {title: "&lt;script&gt;alert(1)&lt;/script&gt;", id: "&lt;img src=x onerror=alert(1)&gt;"},
		"long names":           {title: strings.Repeat("a", 1<<20), id: strings.Repeat("b", 1<<20)},
		"lines in the name":    {id: "a&#10;b&#0;c"},
		"no matrix":            {matrices: " "},
	} {
		files["wmts "+name+".xml"] = o.String()
	}
}

func limits(minRow, maxRow, minCol, maxCol string) string {
	return "<TileMatrixSetLimits><TileMatrixLimits><TileMatrix>0</TileMatrix><MinTileRow>" + minRow + "</MinTileRow><MaxTileRow>" + maxRow +
		"</MaxTileRow><MinTileCol>" + minCol + "</MinTileCol><MaxTileCol>" + maxCol + "</MaxTileCol></TileMatrixLimits></TileMatrixSetLimits>"
}

// wms holds lies in WMS capabilities.
func wms(files map[string]string) {
	document := func(href, systems, rest string) string {
		return `<WMS_Capabilities version="1.3.0" xmlns:xlink="http://www.w3.org/1999/xlink"><Service><MaxWidth>1</MaxWidth></Service><Capability><Request><GetMap><Format>image/png</Format>
<DCPType><HTTP><Get><OnlineResource xlink:href="` + href + `"/></Get></HTTP></DCPType></GetMap></Request><Layer><Name>l</Name>` + systems + rest + `</Layer></Capability></WMS_Capabilities>`
	}
	const here, mercator = "/tiles/?", "<CRS>EPSG:3857</CRS>"
	for name, text := range map[string]string{
		"one pixel at most":    document(here, mercator, ""),
		"map at metadata":      strings.Replace(document("http://169.254.169.254/?", mercator, ""), "<MaxWidth>1</MaxWidth>", "", 1),
		"map in a file":        strings.Replace(document("file:///etc/passwd?", mercator, ""), "<MaxWidth>1</MaxWidth>", "", 1),
		"no system":            document(here, "", ""),
		"a million systems":    document(here, "<CRS>"+strings.Repeat("EPSG:3857 ", 900_000)+"</CRS>", ""),
		"box is no number":     document(here, mercator, `<EX_GeographicBoundingBox><westBoundLongitude>west</westBoundLongitude></EX_GeographicBoundingBox>`),
		"box is everywhere":    document(here, mercator, `<LatLonBoundingBox minx="-1e308" miny="-1e308" maxx="1e308" maxy="1e308"/>`),
		"scales of nonsense":   document(here, mercator, `<MinScaleDenominator>1e308</MinScaleDenominator><MaxScaleDenominator>-1</MaxScaleDenominator>`),
		"layers in layers":     document(here, mercator, strings.Repeat("<Layer><Name>a</Name>", 5000)+strings.Repeat("</Layer>", 5000)),
		"nine thousand layers": document(here, mercator, strings.Repeat("<Layer><Name>a</Name></Layer>", 9000)),
		"script in the credit": document(here, mercator, `<Attribution><Title>&lt;script&gt;</Title><OnlineResource xlink:href="javascript:alert(1)"/></Attribution>`),
		"a long dimension":     document(here, mercator, `<Dimension name="time">`+strings.Repeat("2020,", 1_000_000)+`</Dimension>`),
		"no layer":             `<WMT_MS_Capabilities version="1.1.1"><Capability/></WMT_MS_Capabilities>`,
	} {
		files["wms "+name+".xml"] = text
	}
}

// tileJSON holds lies in TileJSON.
func tileJSON(files map[string]string) {
	const here = `"/tiles/{z}/{x}/{y}.png"`
	for name, text := range map[string]string{
		"null":                "null",
		"a list":              "[1, 2]",
		"no tiles":            `{"tilejson": "3.0.0"}`,
		"empty tiles":         `{"tiles": []}`,
		"tiles are numbers":   `{"tiles": [1, 2]}`,
		"tiles are a string":  `{"tiles": ` + here + `}`,
		"many tiles":          `{"tiles": [` + here + strings.Repeat(","+here, 100_000) + `]}`,
		"tiles at metadata":   `{"tiles": ["http://169.254.169.254/{z}/{x}/{y}"]}`,
		"one tile inside":     `{"tiles": ["https://tiles.example/{z}/{x}/{y}", "http://10.0.0.1/{z}/{x}/{y}"]}`,
		"switch to metadata":  `{"tiles": ["http://{switch:tiles.example,169.254.169.254}/{z}/{x}/{y}"]}`,
		"tiles in a file":     `{"tiles": ["file:///etc/{z}/{x}/{y}"]}`,
		"tiles as data":       `{"tiles": ["data:image/png;base64,{z}{x}{y}"]}`,
		"host of the tile":    `{"tiles": ["http://{x}/{z}/{y}"]}`,
		"variable":            `{"tiles": ["/tiles/${HOME}/{z}/{x}/{y}"]}`,
		"user in the address": `{"tiles": ["http://a:b@tiles.example/{z}/{x}/{y}"]}`,
		"lines":               `{"tiles": ["/tiles/{z}/{x}/{y}\r\nX: y"]}`,
		"long template":       `{"tiles": ["/tiles/` + strings.Repeat("{z}", 500_000) + `{x}{y}"]}`,
		"zoom is text":        `{"tiles": [` + here + `], "maxzoom": "deep"}`,
		"zoom is huge":        `{"tiles": [` + here + `], "maxzoom": 1e300}`,
		"zoom is negative":    `{"tiles": [` + here + `], "minzoom": -1}`,
		"zoom is a half":      `{"tiles": [` + here + `], "minzoom": 0.5}`,
		"zooms turned round":  `{"tiles": [` + here + `], "minzoom": 9, "maxzoom": 3}`,
		"bounds are huge":     `{"tiles": [` + here + `], "bounds": [-1e308, -1e308, 1e308, 1e308]}`,
		"bounds are many":     `{"tiles": [` + here + `], "bounds": [` + strings.Repeat("1,", 1_000_000) + `1]}`,
		"bounds turned round": `{"tiles": [` + here + `], "bounds": [10, 50, 5, 40]}`,
		"vector":              `{"tiles": ["/tiles/{z}/{x}/{y}.pbf"], "vector_layers": []}`,
		"script":              `{"tiles": [` + here + `], "attribution": "<script>alert(1)</script><a href='javascript:alert(1)'>x</a><svg onload=alert(1)>", "name": "<img src=x onerror=alert(1)>"}`,
		"long credit":         `{"tiles": [` + here + `], "attribution": "` + strings.Repeat("<a href='https://a.example'>", 300_000) + `"}`,
		"deep":                `{"tiles": ` + strings.Repeat("[", 9_000_000),
		"deep member":         `{"tiles": [` + here + `], "x": ` + strings.Repeat(`{"a":`, 9_999) + "1" + strings.Repeat("}", 9_999) + `}`,
		"many members":        `{` + members(200_000) + `"tiles": [` + here + `]}`,
		"same member again":   `{"tiles": [` + here + `], "tiles": ["http://169.254.169.254/{z}/{x}/{y}"]}`,
		"cut":                 `{"tiles": [` + here,
		"after the end":       `{"tiles": [` + here + `]} {"tiles": []}`,
		"invalid utf8":        "{\"tiles\": [" + here + "], \"name\": \"\xff\xfe\"}",
		"long number":         `{"tiles": [` + here + `], "maxzoom": ` + strings.Repeat("9", 1_000_000) + `}`,
	} {
		files["tilejson "+name+".json"] = text
	}
}

func members(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"m%d": {}, `, i)
	}
	return b.String()
}

// arcgis holds lies in descriptions of ArcGIS services.
func arcgis(files map[string]string) {
	document := func(levels, rest string) string {
		return `{"currentVersion": 11, "tileInfo": {"rows": 256, "cols": 256, "format": "JPEG", "origin": {"x": -20037508.34, "y": 20037508.34},
"spatialReference": {"wkid": 102100, "latestWkid": 3857}, "lods": [` + levels + `]}` + rest + `}`
	}
	const level = `{"level": 0, "resolution": 156543.03, "scale": 591657527}`
	for name, text := range map[string]string{
		"error":                `{"error": {"code": 499, "message": "Token Required\n<script>"}, "tileInfo": {}}`,
		"no levels":            document("", ""),
		"many levels":          document(level+strings.Repeat(","+level, 50_000), ""),
		"level is negative":    document(`{"level": -1, "resolution": 1, "scale": 1}`, ""),
		"resolution is zero":   document(`{"level": 1, "resolution": 0, "scale": 1}`, ""),
		"resolution is huge":   document(`{"level": 1, "resolution": 1e308, "scale": 1}`, ""),
		"extent is everywhere": document(level, `, "fullExtent": {"xmin": -1e308, "ymin": -1e308, "xmax": 1e308, "ymax": 1e308, "spatialReference": {"wkid": 3857}}`),
		"extent is text":       document(level, `, "fullExtent": {"xmin": "NaN"}`),
		"heights":              strings.Replace(document(level, ""), "JPEG", "LERC2D", 1),
		"unknown system":       strings.Replace(document(level, ""), "3857", "-7", 1),
		"tiles of no pixels":   strings.Replace(document(level, ""), `"rows": 256`, `"rows": 0`, 1),
		"tiles of many pixels": strings.Replace(document(level, ""), `"rows": 256`, `"rows": 9223372036854775807`, 1),
	} {
		files["arcgis "+name+".json"] = text
	}
}
