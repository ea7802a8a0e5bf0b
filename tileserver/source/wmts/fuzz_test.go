package wmts

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/pyramid"
	"github.com/tilescout/tilescout/tileserver/source/upstream"
)

const seed = `<?xml version="1.0"?><Capabilities xmlns:ows="http://www.opengis.net/ows/1.1" xmlns:xlink="http://www.w3.org/1999/xlink">
<ows:OperationsMetadata><ows:Operation name="GetTile"><ows:DCP><ows:HTTP><ows:Get xlink:href="https://h.example/kvp?"/></ows:HTTP></ows:DCP></ows:Operation></ows:OperationsMetadata>
<Contents><Layer><ows:Identifier>l</ows:Identifier><ows:WGS84BoundingBox><ows:LowerCorner>0 1</ows:LowerCorner><ows:UpperCorner>2 3</ows:UpperCorner></ows:WGS84BoundingBox>
<Style isDefault="true"><ows:Identifier>s</ows:Identifier></Style><Format>image/png</Format><Dimension><ows:Identifier>Time</ows:Identifier><Default>1</Default><Value>1</Value></Dimension>
<TileMatrixSetLink><TileMatrixSet>a</TileMatrixSet><TileMatrixSetLimits><TileMatrixLimits><TileMatrix>0</TileMatrix><MinTileRow>0</MinTileRow><MaxTileRow>1</MaxTileRow><MinTileCol>0</MinTileCol><MaxTileCol>1</MaxTileCol></TileMatrixLimits></TileMatrixSetLimits></TileMatrixSetLink>
%s</Layer><TileMatrixSet><ows:Identifier>a</ows:Identifier><ows:SupportedCRS>%s</ows:SupportedCRS><TileMatrix><ows:Identifier>0</ows:Identifier><ScaleDenominator>1000000</ScaleDenominator><TopLeftCorner>90 -180</TopLeftCorner>
<TileWidth>256</TileWidth><TileHeight>256</TileHeight><MatrixWidth>9</MatrixWidth><MatrixHeight>9</MatrixHeight></TileMatrix></TileMatrixSet></Contents></Capabilities>`

// FuzzCapabilities: whatever the document, it opens or is ErrBadInput, and no tile of it is asked for where none may be.
func FuzzCapabilities(f *testing.F) {
	for _, crs := range []string{"urn:ogc:def:crs:EPSG::4326", "EPSG:3857", "urn:ogc:def:crs:OGC:1.3:CRS84", "EPSG:25832"} {
		s := strings.Replace(seed, "%s", crs, 2)
		f.Add([]byte(strings.Replace(s, crs, "", 1)))
		f.Add([]byte(strings.Replace(s, crs, `<ResourceURL format="image/png" resourceType="tile" template="https://t.example/{Time}/{TileMatrix}/{TileRow}/{TileCol}"/>`, 1)))
	}
	f.Add([]byte(`<!DOCTYPE Capabilities SYSTEM "x"><Capabilities/>`))
	f.Add([]byte("\xff\xfe<\x00a\x00/\x00>\x00"))
	base, err := url.Parse("https://h.example/wmts")
	if err != nil {
		f.Fatal(err)
	}
	spec := source.Spec{ID: "fuzz", Source: "wmts+https://h.example/wmts?key=K"}
	f.Fuzz(func(t *testing.T, data []byte) {
		src, err := OpenDocument(spec, upstream.Document{Data: data, URL: base}, upstream.Options{})
		if err != nil {
			if !errors.Is(err, tilescout.ErrBadInput) || strings.ContainsAny(err.Error(), "\n\x00") || len(err.Error()) > 2000 {
				t.Fatalf("%q (%d bytes), want ErrBadInput in one line", err, len(err.Error()))
			}
			return
		}
		defer src.Close()
		info := src.Info()
		if info.MinZoom > info.MaxZoom || info.MaxZoom > source.MaxZoom || info.Version == "" || info.TileSize != 256 && info.TileSize != 512 {
			t.Fatalf("Info() = %+v", info)
		}
		// The address of a tile, as it would be asked for.
		c, err := parse(data, upstream.DocumentLimits{})
		if err != nil {
			t.Fatal(err)
		}
		address, client, err := upstream.Dial(spec, upstream.Options{}, settings...)
		if err != nil {
			t.Fatal(err)
		}
		l, err := choose(c, spec, address, base, client)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range l.Set.Matrices {
			u, err := url.Parse(l.URL(pyramid.Cell{Matrix: i, Col: m.MinCol, Row: m.MaxRow}))
			if err != nil || client.CheckURL(u) != nil {
				t.Fatalf("tile at %v, %v", u, err)
			}
			if u.Host != "h.example" && strings.Contains(u.RawQuery, "key=K") {
				t.Fatalf("the operator's key goes to %s", u.Host)
			}
		}
	})
}
