package tileserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver"
)

// memory is a working source: it paints each tile from its address, says where it has none, and counts.
type memory struct {
	info  tilescout.LayerInfo
	make  func(t maptile.Tile) (tilescout.Picture, error) // nil: picture of the info's type and size
	calls atomic.Int64
	wait  time.Duration // how long a tile takes
}

func (m *memory) Info() tilescout.LayerInfo { return m.info }

func (m *memory) Tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	m.calls.Add(1)
	select {
	case <-time.After(m.wait):
	case <-ctx.Done():
		return tilescout.Picture{}, ctx.Err()
	}
	if m.make != nil {
		return m.make(t)
	}
	if !t.Bound().Intersects(m.info.Bound) {
		return tilescout.Picture{}, fmt.Errorf("memory: %v: %w", t, tilescout.ErrNotFound)
	}
	return paint(t, m.info.MediaType, m.info.TileSize), nil
}

// paint returns a tile of four plain squares whose colour tells the tile, so that places can be checked.
func paint(t maptile.Tile, mediaType string, size int) tilescout.Picture {
	img := image.NewNRGBA(image.Rect(0, 0, size, size))
	for y := range size {
		for x := range size {
			img.SetNRGBA(x, y, colorOf(t, x*2/size, y*2/size))
		}
	}
	var b bytes.Buffer
	var err error
	if mediaType == tilescout.JPEG {
		err = jpeg.Encode(&b, img, &jpeg.Options{Quality: 95})
	} else {
		err = png.Encode(&b, img)
	}
	if err != nil {
		panic(err)
	}
	return tilescout.Picture{Data: b.Bytes(), MediaType: mediaType}
}

// colorOf is the colour of quarter (column, row) of a tile.
func colorOf(t maptile.Tile, column, row int) color.NRGBA {
	return color.NRGBA{uint8(40 + 100*column), uint8(40 + 100*row), uint8(20*t.Z) + uint8(t.X*7+t.Y*13)%100, 255}
}

var harbour = orb.Bound{Min: orb.Point{4.3, 51.85}, Max: orb.Point{4.55, 51.98}}

func city() *memory {
	return &memory{info: tilescout.LayerInfo{
		ID: "city", Title: "City & harbour", Description: "Aerial photographs", Attribution: `© <a href="https://example.org">the survey</a>`,
		Bound: harbour, MinZoom: 3, MaxZoom: 16, TileSize: 256, MediaType: tilescout.JPEG, Version: "v1",
	}}
}

// start serves until the test ends and returns the address, like http://127.0.0.1:1234.
func start(t testing.TB, o tileserver.Options) (*tileserver.Server, string) {
	t.Helper()
	s, err := tileserver.New(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s, "http://" + l.Addr().String()
}

type reply struct {
	*http.Response
	body []byte
}

// ask sends one request; header are pairs of name and value, "Host" among them.
func ask(t testing.TB, method, url string, header ...string) reply {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return reply{res, body}
}

func (r reply) json(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(r.body, &v); err != nil {
		t.Fatalf("not JSON: %v: %.200s", err, r.body)
	}
	return v
}

func (r reply) image(t testing.TB) image.Image {
	t.Helper()
	img, _, err := image.Decode(bytes.NewReader(r.body))
	if err != nil {
		t.Fatalf("not an image (%s, status %d): %v: %.80q", r.Header.Get("Content-Type"), r.StatusCode, err, r.body)
	}
	if yuv, ok := img.(*image.YCbCr); ok && r.Header.Get("Content-Type") == tilescout.WebP {
		return videoRange{yuv}
	}
	return img
}

// videoRange reads WebP's Y of 16 to 235 as such (ITU-R BT.601), where package image takes JPEG's 0 to 255.
type videoRange struct{ *image.YCbCr }

func (v videoRange) At(x, y int) color.Color {
	c := v.YCbCrAt(x, y)
	l, u, w := 255./219*(float64(c.Y)-16), float64(c.Cb)-128, float64(c.Cr)-128
	level := func(f float64) uint8 { return uint8(max(0, min(255, f+.5))) }
	return color.NRGBA{level(l + 1.596*w), level(l - .392*u - .813*w), level(l + 2.017*u), 255}
}

// near says whether a pixel has that colour, within what JPEG and WebP lose on plain squares.
func near(img image.Image, x, y int, want color.NRGBA) bool {
	got := color.NRGBAModel.Convert(img.At(img.Bounds().Min.X+x, img.Bounds().Min.Y+y)).(color.NRGBA)
	for _, d := range []int{int(got.R) - int(want.R), int(got.G) - int(want.G), int(got.B) - int(want.B), int(got.A) - int(want.A)} {
		if max(d, -d) > 12 {
			return false
		}
	}
	return true
}
