// Package upstreamtest holds loopback servers that stand in for services of the documents that strangers publish, and a
// picture of the world of which every pixel says where it is.
package upstreamtest

import (
	"bytes"
	"image"
	_ "image/jpeg" // tiles come as JPEG or PNG
	"image/png"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
)

// World is a picture of the earth: red follows the longitude, green the latitude, each in waves of Period degrees. A
// displacement by one hundredth of a wave changes a colour by 6.
type World struct{ Period float64 }

// At returns the colour of a place.
func (w World) At(lon, lat float64) (r, g, b float64) {
	k := 2 * math.Pi / w.Period
	return 128 + 100*math.Sin(k*lon), 128 + 100*math.Sin(k*lat), 60
}

// Draw returns a PNG of width × height pixels, the upper left corner at x, y of a CRS, dx and dy units each.
func (w World) Draw(crs geo.CRS, x, y, dx, dy float64, width, height int) []byte {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for j := range height {
		for i := range width {
			lon, lat := crs.Inverse(x+(float64(i)+0.5)*dx, y-(float64(j)+0.5)*dy)
			if math.IsNaN(lon + lat) {
				continue
			}
			r, g, b := w.At(lon, lat)
			copy(img.Pix[img.PixOffset(i, j):], []byte{byte(r + 0.5), byte(g + 0.5), byte(b + 0.5), 255})
		}
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&out, img); err != nil {
		panic(err) // writing to memory
	}
	return out.Bytes()
}

// Check compares a tile with the world, pixel by pixel, and tells the largest difference and how many pixels are opaque.
// Pixels that are not opaque are left out, and a margin of so many pixels.
func (w World) Check(t *testing.T, pic tilescout.Picture, tile maptile.Tile, tolerance float64) (opaque int) {
	t.Helper()
	img, _, err := image.Decode(bytes.NewReader(pic.Data))
	if err != nil {
		t.Fatalf("tile %v: %v", tile, err)
	}
	size := img.Bounds().Dx()
	side := math.Ldexp(2*geo.Half, -int(tile.Z)) / float64(size)
	worst, at := 0.0, image.Point{}
	crs, err := geo.CRSByEPSG(3857)
	if err != nil {
		t.Fatal(err)
	}
	for j := range size {
		for i := range size {
			r, g, _, a := img.At(i, j).RGBA()
			if a != 0xffff {
				continue
			}
			opaque++
			lon, lat := crs.Inverse(-geo.Half+(float64(int(tile.X)*size+i)+0.5)*side, geo.Half-(float64(int(tile.Y)*size+j)+0.5)*side)
			wr, wg, _ := w.At(lon, lat)
			if d := max(math.Abs(float64(r>>8)-wr), math.Abs(float64(g>>8)-wg)); d > worst {
				worst, at = d, image.Pt(i, j)
			}
		}
	}
	if worst > tolerance {
		t.Errorf("tile %d/%d/%d is off by %.0f at %v, want at most %.0f", tile.Z, tile.X, tile.Y, worst, at, tolerance)
	}
	return opaque
}

// Service is a loopback server that gives out a document in which all addresses are its own, and answers all else by
// Handler.
type Service struct {
	*httptest.Server
	Handler http.HandlerFunc // requests that are not for the document

	mu    sync.Mutex
	asked []string
}

var foreign = regexp.MustCompile(`https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._/{}%-]*(tile|basemap|wmts|wms|rest|TILE|v3)|/wmts|/wms)`)

// Serve starts a service. Of the document's addresses only those are made its own that look like a service's.
func Serve(t testing.TB, document []byte, handler http.HandlerFunc) *Service {
	t.Helper()
	s := &Service{Handler: handler}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/capabilities.xml" || document != nil && strings.EqualFold(query(r, "REQUEST"), "GetCapabilities") || r.URL.Path == "/document.json" {
			w.Write(foreign.ReplaceAllFunc(document, func(m []byte) []byte {
				_, rest, _ := strings.Cut(string(m), "://")
				_, path, _ := strings.Cut(rest, "/")
				return []byte(s.URL + "/" + path)
			}))
			return
		}
		s.mu.Lock()
		s.asked = append(s.asked, r.URL.RequestURI())
		s.mu.Unlock()
		s.Handler(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// Asked returns what has been asked for so far, the document left out.
func (s *Service) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

// query returns a parameter whatever the case of its name.
func query(r *http.Request, name string) string {
	for k, v := range r.URL.Query() {
		if strings.EqualFold(k, name) {
			return v[0]
		}
	}
	return ""
}

// Query returns a parameter of a request whatever the case of its name.
func Query(r *http.Request, name string) string { return query(r, name) }
