package tileserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"image"
	_ "image/png"

	"github.com/gorilla/mux"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout/tileserver"
)

// gdal runs one of GDAL's programs; the test is skipped where they are not installed.
func gdal(t *testing.T, program string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed", program)
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	c := exec.CommandContext(ctx, program, args...)
	c.Dir = t.TempDir()
	// GDAL keeps WMTS tiles on disk whatever the headers say.
	c.Env = append(os.Environ(), "GDAL_ENABLE_WMS_CACHE=NO", "GDAL_DEFAULT_WMS_CACHE_PATH="+c.Dir, "no_proxy=127.0.0.1", "NO_PROXY=127.0.0.1")
	out, err := c.CombinedOutput()
	if err != nil || strings.Contains(string(out), "ERROR") {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func open(t *testing.T, file string) image.Image {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, _, err := image.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestGDALReadsWMTS(t *testing.T) {
	var asked []string
	_, base := start(t, tileserver.Options{Layers: two(), Register: []func(*mux.Router){overlays(&asked)}})
	address := "WMTS:" + base + "/wmts/1.0.0/WMTSCapabilities.xml"
	if info := gdal(t, "gdalinfo", address); !strings.Contains(info, "layer=city") || !strings.Contains(info, "layer=stadiums") {
		t.Errorf("gdalinfo lists no layers:\n%s", info)
	}
	for _, layer := range []string{"city", "stadiums"} {
		info := gdal(t, "gdalinfo", address+",layer="+layer)
		if !strings.Contains(info, `ID["EPSG",3857]`) || !strings.Contains(info, "Band 4") {
			t.Errorf("gdalinfo of %s:\n%s", layer, info)
		}
	}
	// One tile at its own resolution must be that tile, in the right place.
	b := mercator(inside)
	for name, source := range map[string]string{
		"WMTS by path": address + ",layer=city,tilematrix=12",
		"WMTS bare":    "WMTS:" + base + "/wmts,layer=city,tilematrix=12",
		"XYZ":          xyzFile(t, base+"/tiles/city/${z}/${x}/${y}.png?rev=1&amp;x=a%20b", ""),
		"TMS":          xyzFile(t, base+"/tiles/city/${z}/${x}/${y}.png?scheme=tms", "bottom"),
	} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "o.png")
			gdal(t, "gdal_translate", "-q", "-of", "PNG", "-projwin", b[0], b[3], b[2], b[1], source, out)
			img := open(t, out)
			if img.Bounds().Dx() != 256 || img.Bounds().Dy() != 256 {
				t.Fatalf("size = %v, want 256×256", img.Bounds())
			}
			for i := range 4 {
				if !near(img, 64+i%2*128, 64+i/2*128, colorOf(inside, i%2, i/2)) {
					t.Errorf("quarter %d is %v, want %v", i, img.At(64+i%2*128, 64+i/2*128), colorOf(inside, i%2, i/2))
				}
			}
		})
	}
	t.Run("around the layer", func(t *testing.T) { // holes and outside must not fail a read
		out := filepath.Join(t.TempDir(), "o.png")
		gdal(t, "gdal_translate", "-q", "-of", "PNG", "-outsize", "512", "512", xyzFile(t, base+"/tiles/city/${z}/${x}/${y}.png", ""), out, "-projwin", "470000", "6800000", "520000", "6750000")
		gdal(t, "gdal_translate", "-q", "-of", "PNG", "-outsize", "300", "0", address+",layer=city", out)
	})
	t.Run("matches of a prompt", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "o.png")
		gdal(t, "gdal_translate", "-q", "-of", "PNG", "-outsize", "200", "0", "WMTS:"+base+"/wmts?q=tennis%20court&not=sea,layer=city.matches", out)
		if len(asked) == 0 || !strings.Contains(asked[0], "q=tennis+court") || !strings.Contains(asked[0], "not=sea") {
			t.Errorf("the overlay was asked for %q", asked)
		}
	})
}

// mercator is a tile's bound in metres: west, south, east, north.
func mercator(t maptile.Tile) [4]string {
	const half = 20037508.342789244
	side := 2 * half / float64(uint(1)<<t.Z)
	w, n := -half+float64(t.X)*side, half-float64(t.Y)*side
	return [4]string{fmt.Sprintf("%.9f", w), fmt.Sprintf("%.9f", n-side), fmt.Sprintf("%.9f", w+side), fmt.Sprintf("%.9f", n)}
}

// xyzFile writes what GDAL reads an XYZ layer from.
func xyzFile(t *testing.T, url, origin string) string {
	t.Helper()
	if origin == "" {
		origin = "top"
	}
	file := filepath.Join(t.TempDir(), "xyz.xml")
	text := `<GDAL_WMS><Service name="TMS"><ServerUrl>` + url + `</ServerUrl></Service><DataWindow><UpperLeftX>-20037508.342789244</UpperLeftX><UpperLeftY>20037508.342789244</UpperLeftY><LowerRightX>20037508.342789244</LowerRightX><LowerRightY>-20037508.342789244</LowerRightY><TileLevel>12</TileLevel><TileCountX>1</TileCountX><TileCountY>1</TileCountY><YOrigin>` + origin + `</YOrigin></DataWindow><Projection>EPSG:3857</Projection><BlockSizeX>256</BlockSizeX><BlockSizeY>256</BlockSizeY><BandsCount>4</BandsCount><ZeroBlockHttpCodes>204,404</ZeroBlockHttpCodes></GDAL_WMS>`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// owslib reads the capabilities as OWSLib does and fetches one tile through it.
const owslib = `
import json, sys
from owslib.wmts import WebMapTileService
w = WebMapTileService(sys.argv[1])
l = w["city"]
png = w.gettile(layer="city", tilematrixset="WebMercatorQuad", tilematrix="12", row=int(sys.argv[2]), column=int(sys.argv[3]), format="image/png").read()
print(json.dumps({"title": l.title, "box": l.boundingBoxWGS84, "formats": l.formats, "styles": list(l.styles),
  "sets": list(l.tilematrixsetlinks), "resources": len(l.resourceURLs), "operations": [o.name for o in w.operations],
  "layers": list(w.contents), "matrices": len(w.tilematrixsets["WebMercatorQuad"].tilematrix), "png": len(png), "magic": png[1:4].decode()}))
`

func TestOWSLibReadsWMTS(t *testing.T) {
	python := ""
	for _, p := range []string{os.Getenv("TILESCOUT_PYTHON"), "python3", "/usr/bin/python3"} {
		if p != "" && exec.Command(p, "-c", "import owslib").Run() == nil {
			python = p
			break
		}
	}
	if python == "" {
		t.Skip("no Python with OWSLib; TILESCOUT_PYTHON can name one")
	}
	_, base := start(t, tileserver.Options{Layers: two()})
	c := exec.Command(python, "-c", owslib, base+"/wmts", fmt.Sprint(inside.Y), fmt.Sprint(inside.X))
	c.Env = append(os.Environ(), "no_proxy=127.0.0.1", "NO_PROXY=127.0.0.1")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("OWSLib: %v\n%s", err, out)
	}
	var got struct {
		Title                             string
		Box                               []float64
		Formats, Styles, Sets, Operations []string
		Layers                            []string
		Resources, Matrices, PNG          int
		Magic                             string
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got.Title != "City & harbour" || len(got.Box) != 4 || got.Box[0] != 4.3 || got.Formats[0] != "image/jpeg" || got.Styles[0] != "default" ||
		got.Sets[0] != "WebMercatorQuad" || got.Resources != 6 || len(got.Operations) != 3 || len(got.Layers) != 2 || got.Matrices != 17 || got.Magic != "PNG" {
		t.Errorf("OWSLib read %+v", got)
	}
}
