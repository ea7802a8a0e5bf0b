package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"

	"github.com/deepteams/webp"

	onnx "github.com/tilescout/tilescout/encoder/hostile"
	mbtiles "github.com/tilescout/tilescout/tileserver/source/mbtiles/hostile"
	pmtiles "github.com/tilescout/tilescout/tileserver/source/pmtiles/hostile"
)

// good is a small file that opens, to be cut off at every byte.
type good struct {
	format, name, ext string
	data              []byte
}

func goodFiles() ([]good, error) {
	m := image.NewNRGBA(image.Rect(0, 0, 24, 24))
	for i := range 24 * 24 {
		m.SetNRGBA(i%24, i/24, color.NRGBA{uint8(i), uint8(i / 3), uint8(7 * i), 255})
	}
	var p, j, w bytes.Buffer
	if err := png.Encode(&p, m); err != nil {
		return nil, err
	}
	if err := jpeg.Encode(&j, m, nil); err != nil {
		return nil, err
	}
	if err := webp.Encode(&w, m, nil); err != nil {
		return nil, err
	}
	db, err := goodMBTiles(p.Bytes())
	if err != nil {
		return nil, err
	}
	var graph []byte
	for name, data := range onnx.Graphs() {
		if name == "well-formed-but-no-encoder" {
			graph = data
		}
	}
	return []good{
		{"picture", "good", ".png", p.Bytes()}, {"picture", "good", ".jpg", j.Bytes()}, {"picture", "good", ".webp", w.Bytes()},
		{"tiff", "good", ".tif", goodTIFF(binary.LittleEndian)}, {"tiff", "good-big-endian", ".tif", goodTIFF(binary.BigEndian)},
		{"pmtiles", "good", ".pmtiles", pmtiles.Good().Build()}, {"mbtiles", "good", ".mbtiles", db},
		{"onnx", "good", ".onnx", graph},
		{"document", "tilejson", ".json", []byte(tileJSON)}, {"document", "capabilities", ".xml", []byte(capabilities)},
		{"config", "good", ".yaml", []byte("listen: localhost:8080\nlayers:\n  - id: city\n    source: https://h.example/{z}/{x}/{y}.png\n    attribution: the city\n    maxZoom: 18\nsearches:\n  - {id: stadiums, layer: city, q: stadium}\n")},
	}, nil
}

func goodMBTiles(tile []byte) ([]byte, error) {
	dir, err := os.MkdirTemp("", "tilescout-hostile-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "good.mbtiles")
	err = mbtiles.Create(path, "PRAGMA page_size=512",
		"CREATE TABLE metadata (name TEXT, value TEXT)", "CREATE TABLE tiles (zoom_level INTEGER, tile_column INTEGER, tile_row INTEGER, tile_data BLOB)",
		"INSERT INTO metadata VALUES ('format', 'png')", fmt.Sprintf("INSERT INTO tiles VALUES (0, 0, 0, x'%x')", tile))
	if err != nil {
		return nil, fmt.Errorf("write a good MBTiles file: %w", err)
	}
	return os.ReadFile(path)
}

// goodTIFF is a 16×16 RGB GeoTIFF, EPSG:3857, one strip, uncompressed.
func goodTIFF(order binary.AppendByteOrder) []byte {
	const side, entries = 16, 13
	type entry struct {
		tag, kind uint16
		count     uint32
		value     []byte
	}
	short := func(v ...uint16) (b []byte) {
		for _, x := range v {
			b = order.AppendUint16(b, x)
		}
		return b
	}
	long := func(v uint32) []byte { return order.AppendUint32(nil, v) }
	double := func(v ...uint64) (b []byte) {
		for _, x := range v {
			b = order.AppendUint64(b, x)
		}
		return b
	}
	const one, hundred = 0x3ff0000000000000, 0x4059000000000000 // 1.0 and 100.0
	pixels := bytes.Repeat([]byte{10, 120, 60}, side*side)
	list := []entry{
		{256, 3, 1, short(side)}, {257, 3, 1, short(side)}, {258, 3, 3, short(8, 8, 8)}, {259, 3, 1, short(1)}, {262, 3, 1, short(2)},
		{273, 4, 1, long(8)}, {277, 3, 1, short(3)}, {278, 3, 1, short(side)}, {279, 4, 1, long(uint32(len(pixels)))}, {284, 3, 1, short(1)},
		{33550, 12, 3, double(hundred, hundred, 0)}, {33922, 12, 6, double(0, 0, 0, one, one, 0)},
		{34735, 3, 12, short(1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 3857)},
	}
	ifd := uint32(8 + len(pixels))
	extra := ifd + 2 + entries*12 + 4
	head := []byte("II")
	if order.String() == "BigEndian" {
		head = []byte("MM")
	}
	out := append(order.AppendUint32(order.AppendUint16(head, 42), ifd), pixels...)
	out = order.AppendUint16(out, entries)
	var behind []byte
	for _, e := range list {
		out = order.AppendUint32(order.AppendUint16(order.AppendUint16(out, e.tag), e.kind), e.count)
		if len(e.value) <= 4 {
			out = append(append(out, e.value...), make([]byte, 4-len(e.value))...)
			continue
		}
		out = order.AppendUint32(out, extra+uint32(len(behind)))
		behind = append(behind, e.value...)
	}
	return append(order.AppendUint32(out, 0), behind...)
}

const tileJSON = `{"tilejson":"3.0.0","name":"City","tiles":["https://h.example/{z}/{x}/{y}.png"],"minzoom":3,"maxzoom":18,"bounds":[11,48,12,49],"attribution":"<a href=\"https://h.example\">the city</a>"}`

const capabilities = `<?xml version="1.0" encoding="UTF-8"?>
<Capabilities xmlns="http://www.opengis.net/wmts/1.0" xmlns:ows="http://www.opengis.net/ows/1.1" version="1.0.0"><Contents>
<Layer><ows:Identifier>city</ows:Identifier><Style isDefault="true"><ows:Identifier>default</ows:Identifier></Style><Format>image/png</Format>
<TileMatrixSetLink><TileMatrixSet>g</TileMatrixSet></TileMatrixSetLink>
<ResourceURL format="image/png" resourceType="tile" template="https://h.example/{TileMatrix}/{TileRow}/{TileCol}.png"/></Layer>
<TileMatrixSet><ows:Identifier>g</ows:Identifier><ows:SupportedCRS>urn:ogc:def:crs:EPSG::3857</ows:SupportedCRS>
<TileMatrix><ows:Identifier>0</ows:Identifier><ScaleDenominator>559082264.0287178</ScaleDenominator><TopLeftCorner>-20037508.34278925 20037508.34278925</TopLeftCorner>
<TileWidth>256</TileWidth><TileHeight>256</TileHeight><MatrixWidth>1</MatrixWidth><MatrixHeight>1</MatrixHeight></TileMatrix></TileMatrixSet></Contents></Capabilities>
`
