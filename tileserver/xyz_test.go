package tileserver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/color"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver"
)

// inside is a tile of the test layer at zoom 12 and its neighbours within the bound.
var inside = maptile.At(orb.Point{4.42, 51.92}, 12)

func path(layer string, t maptile.Tile, rest string) string {
	return fmt.Sprintf("/tiles/%s/%d/%d/%d%s", layer, t.Z, t.X, t.Y, rest)
}

func TestTile(t *testing.T) {
	source := city()
	_, base := start(t, tileserver.Options{Layers: []tileserver.Layer{{Tiles: source}}})
	native := paint(inside, tilescout.JPEG, 256).Data
	deepest := maptile.At(orb.Point{4.42, 51.92}, 16)
	tests := map[string]struct {
		path      string
		mediaType string
		size      int
		at        maptile.Tile // whose quarters are seen
		same      bool         // bytes of the source
	}{
		"native":            {path("city", inside, ".jpg"), "image/jpeg", 256, inside, true},
		"jpeg":              {path("city", inside, ".jpeg"), "image/jpeg", 256, inside, true},
		"png":               {path("city", inside, ".png"), "image/png", 256, inside, false},
		"webp":              {path("city", inside, ".webp"), "image/webp", 256, inside, false},
		"double from below": {path("city", inside, "@2x.png"), "image/png", 512, maptile.Tile{}, false},
		"double at the end": {path("city", deepest, "@2x.jpg"), "image/jpeg", 512, deepest, false},
		"tms":               {fmt.Sprintf("/tiles/city/12/%d/%d.png?scheme=tms", inside.X, 1<<12-1-inside.Y), "image/png", 256, inside, false},
		"other parameters":  {path("city", inside, ".jpg?foo=1&rev=old"), "image/jpeg", 256, inside, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r := ask(t, "GET", base+tc.path)
			if r.StatusCode != 200 || r.Header.Get("Content-Type") != tc.mediaType {
				t.Fatalf("status %d, type %s; want 200, %s", r.StatusCode, r.Header.Get("Content-Type"), tc.mediaType)
			}
			img := r.image(t)
			if depth := r.body[24]; tc.mediaType == "image/png" && depth != 8 {
				t.Errorf("PNG of %d bits a channel: GDAL shows it white", depth)
			}
			if img.Bounds().Dx() != tc.size || img.Bounds().Dy() != tc.size {
				t.Fatalf("size = %v, want %d", img.Bounds(), tc.size)
			}
			if same := bytes.Equal(r.body, native); same != tc.same {
				t.Errorf("bytes of the source = %v, want %v", same, tc.same)
			}
			for i := range 16 { // the middles of a 4×4 grid, so that children show
				x, y := i%4, i/4
				want := colorOf(tc.at, x/2, y/2)
				if tc.at == (maptile.Tile{}) {
					child := maptile.New(inside.X*2+uint32(x/2), inside.Y*2+uint32(y/2), inside.Z+1)
					want = colorOf(child, x%2, y%2)
				}
				if !near(img, (2*x+1)*tc.size/8, (2*y+1)*tc.size/8, want) {
					t.Errorf("at %d,%d of 4×4: %v, want %v", x, y, img.At((2*x+1)*tc.size/8, (2*y+1)*tc.size/8), want)
				}
			}
		})
	}
}

func TestTileBadInput(t *testing.T) {
	_, base := start(t, tileserver.Options{Layers: []tileserver.Layer{{Tiles: city()}}})
	tests := map[string]struct {
		path   string
		status int
		says   string
	}{
		"unknown layer":      {"/tiles/moon/12/0/0.png", 404, `"moon"`},
		"zoom not a number":  {"/tiles/city/abc/0/0.png", 400, "zoom"},
		"row not a number":   {"/tiles/city/12/0/1.5.png", 400, "row"},
		"negative":           {"/tiles/city/12/-1/0.png", 400, "column"},
		"signed":             {"/tiles/city/12/+1/0.png", 400, "column"},
		"leading zero":       {"/tiles/city/12/01/0.png", 400, "column"},
		"hexadecimal":        {"/tiles/city/12/0x1/0.png", 400, "column"},
		"column too large":   {"/tiles/city/12/4096/0.png", 404, "4096"},
		"row too large":      {"/tiles/city/12/0/4096.png", 404, "4096"},
		"zoom 31":            {"/tiles/city/31/0/0.png", 404, "30"},
		"zoom 999":           {"/tiles/city/999/0/0.png", 404, "30"},
		"row over 64 bits":   {"/tiles/city/12/0/99999999999999999999999.png", 404, "below 4096"},
		"below the zooms":    {"/tiles/city/2/0/0.png", 404, "zooms 3 to 16"},
		"above the zooms":    {"/tiles/city/17/0/0.png", 404, "zooms 3 to 16"},
		"unknown extension":  {"/tiles/city/12/0/0.gif", 404, ".gif"},
		"unknown density":    {"/tiles/city/12/0/0@3x.png", 400, "row"},
		"unknown scheme":     {"/tiles/city/12/0/0.png?scheme=wmts", 400, "xyz or tms"},
		"percent in the row": {"/tiles/city/12/0/%00.png", 400, "row"},
		"markup in the id":   {"/tiles/%3Cscript%3E/12/0/0.png", 404, "no layer"},
		"no extension":       {"/tiles/city/12/0/0", 404, "openapi"},
		"no such path":       {"/nowhere", 404, "openapi"},
		"tilejson of none":   {"/tiles/moon.json", 404, `"moon"`},
		"qlr of none":        {"/qgis/moon.qlr", 404, `"moon"`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r := ask(t, "GET", base+tc.path)
			if r.StatusCode != tc.status {
				t.Fatalf("status = %d, want %d: %s", r.StatusCode, tc.status, r.body)
			}
			if got := r.Header.Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("Content-Type = %q", got)
			}
			if detail := fmt.Sprint(r.json(t)["detail"]); !strings.Contains(detail, tc.says) {
				t.Errorf("detail = %q, want it to say %q", detail, tc.says)
			}
			if r.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Error("an error without CORS header")
			}
			if cache := r.Header.Get("Cache-Control"); cache != "no-store" && cache != "public, max-age=60" {
				t.Errorf("Cache-Control = %q", cache)
			}
		})
	}
	t.Run("long URL", func(t *testing.T) {
		if r := ask(t, "GET", base+"/layers?x="+strings.Repeat("a", 9<<10)); r.StatusCode != 414 {
			t.Errorf("status = %d, want 414", r.StatusCode)
		}
	})
	t.Run("many parameters", func(t *testing.T) {
		if r := ask(t, "GET", base+"/layers?x=1"+strings.Repeat("&x=1", 40)); r.StatusCode != 400 {
			t.Errorf("status = %d, want 400", r.StatusCode)
		}
	})
	t.Run("method", func(t *testing.T) {
		for _, p := range []string{"/layers", path("city", inside, ".png"), "/wmts"} {
			r := ask(t, "DELETE", base+p)
			if r.StatusCode != 405 || r.Header.Get("Allow") != "GET, HEAD, OPTIONS" {
				t.Errorf("DELETE %s: status %d, Allow %q", p, r.StatusCode, r.Header.Get("Allow"))
			}
		}
	})
}

func TestTileHeaders(t *testing.T) {
	info := city().info
	overlay := &memory{info: info}
	overlay.info.ID, overlay.info.MediaType, overlay.info.Version = "stadiums", tilescout.PNG, "generation 1"
	pending := &memory{info: overlay.info, make: func(t maptile.Tile) (tilescout.Picture, error) {
		p := paint(t, tilescout.PNG, 256)
		p.MaxAge = -1
		return p, nil
	}}
	pending.info.ID = "pending"
	upstream := &memory{info: info, make: func(t maptile.Tile) (tilescout.Picture, error) {
		p := paint(t, tilescout.JPEG, 256)
		p.MaxAge, p.Modified = time.Hour, time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
		return p, nil
	}}
	upstream.info.ID = "upstream"
	_, base := start(t, tileserver.Options{Layers: []tileserver.Layer{
		{Tiles: city()}, {Tiles: upstream, Remote: true},
		{Tiles: overlay, Dynamic: true, Over: "city"}, {Tiles: pending, Dynamic: true, Over: "city"},
	}})
	rev := func(layer string) string {
		return fmt.Sprint(ask(t, "GET", base+"/tiles/"+layer+".json").json(t)["rev"])
	}
	const forever, day = "public, max-age=31536000, immutable", "public, max-age=86400, stale-while-revalidate=604800"
	tests := map[string]struct{ path, cache string }{
		"imagery":                  {path("city", inside, ".jpg"), day},
		"imagery, current":         {path("city", inside, ".jpg?rev="+rev("city")), forever},
		"imagery, old":             {path("city", inside, ".jpg?rev=000000000000"), day},
		"converted, current":       {path("city", inside, ".png?rev="+rev("city")), forever},
		"upstream":                 {path("upstream", inside, ".jpg"), "public, max-age=3600"},
		"upstream, current":        {path("upstream", inside, ".jpg?rev="+rev("upstream")), "public, max-age=3600"},
		"overlay":                  {path("stadiums", inside, ".png"), "no-store"},
		"overlay, current":         {path("stadiums", inside, ".png?rev="+rev("stadiums")), forever},
		"overlay, old":             {path("stadiums", inside, ".png?rev=000000000000"), "no-store"},
		"overlay pending, current": {path("pending", inside, ".png?rev="+rev("pending")), "no-store"},
		"empty":                    {"/tiles/city/12/0/0.png", day},
		"capabilities":             {"/wmts", "public, max-age=60"},
		"tilejson":                 {"/tiles/city.json", "public, max-age=60"},
		"layers":                   {"/layers", "public, max-age=60"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r := ask(t, "GET", base+tc.path)
			if r.StatusCode != 200 {
				t.Fatalf("status = %d: %s", r.StatusCode, r.body)
			}
			if got := r.Header.Get("Cache-Control"); got != tc.cache {
				t.Errorf("Cache-Control = %q, want %q", got, tc.cache)
			}
			etag := r.Header.Get("ETag")
			if len(etag) < 4 || etag[0] != '"' {
				t.Fatalf("ETag = %q, want a strong one", etag)
			}
			for name, value := range map[string]string{"Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "cross-origin"} {
				if got := r.Header.Get(name); got != value {
					t.Errorf("%s = %q, want %q", name, got, value)
				}
			}
			head := ask(t, "HEAD", base+tc.path)
			if head.StatusCode != 200 || len(head.body) != 0 {
				t.Errorf("HEAD: status %d, %d bytes", head.StatusCode, len(head.body))
			}
			for _, name := range []string{"Content-Type", "Content-Length", "ETag", "Cache-Control", "Last-Modified"} {
				if head.Header.Get(name) != r.Header.Get(name) {
					t.Errorf("%s: HEAD %q, GET %q", name, head.Header.Get(name), r.Header.Get(name))
				}
			}
			for _, match := range []string{etag, "W/" + etag, `"x", ` + etag, "*"} {
				not := ask(t, "GET", base+tc.path, "If-None-Match", match)
				if not.StatusCode != 304 || len(not.body) != 0 {
					t.Errorf("If-None-Match %s: status %d, %d bytes", match, not.StatusCode, len(not.body))
				}
				if not.Header.Get("ETag") != etag || not.Header.Get("Cache-Control") != tc.cache || not.Header.Get("Access-Control-Allow-Origin") != "*" {
					t.Errorf("304 lacks headers: %v", not.Header)
				}
			}
			if again := ask(t, "GET", base+tc.path, "If-None-Match", `"other"`); again.StatusCode != 200 || !bytes.Equal(again.body, r.body) {
				t.Errorf("other ETag: status %d, same body %v", again.StatusCode, bytes.Equal(again.body, r.body))
			}
		})
	}
	if got := ask(t, "GET", base+path("upstream", inside, ".jpg")).Header.Get("Last-Modified"); got != "Wed, 01 May 2024 12:00:00 GMT" {
		t.Errorf("Last-Modified = %q", got)
	}
	if a, b := ask(t, "GET", base+path("city", inside, ".png")), ask(t, "GET", base+path("city", inside, "@2x.png")); a.Header.Get("ETag") == b.Header.Get("ETag") {
		t.Error("two representations share an ETag")
	}
}

func TestNotModifiedBeforeConversion(t *testing.T) {
	// Of this picture only the header is good: converting it fails, so a 304 shows that it was not tried.
	half := paint(inside, tilescout.JPEG, 256)
	half.Data = half.Data[:len(half.Data)*2/3]
	broken := &memory{info: city().info, make: func(maptile.Tile) (tilescout.Picture, error) { return half, nil }}
	broken.info.ID = "broken"
	_, base := start(t, tileserver.Options{Layers: []tileserver.Layer{{Tiles: city()}, {Tiles: broken}}})
	etag := func(layer, ext string) string {
		return strings.Trim(ask(t, "GET", base+path(layer, inside, ext)).Header.Get("ETag"), `"`)
	}
	// What a conversion adds to the ETag of the bytes it starts from.
	added, ok := strings.CutPrefix(etag("city", ".png"), etag("city", ".jpg"))
	if !ok || added == "" {
		t.Fatalf("ETags %s and %s", etag("city", ".png"), etag("city", ".jpg"))
	}
	if r := ask(t, "GET", base+path("broken", inside, ".png")); r.StatusCode != 502 {
		t.Fatalf("status %d: the picture was to be broken", r.StatusCode)
	}
	if r := ask(t, "GET", base+path("broken", inside, ".png"), "If-None-Match", `"`+etag("broken", ".jpg")+added+`"`); r.StatusCode != 304 {
		t.Errorf("status = %d, want 304 without a conversion", r.StatusCode)
	}
}

func TestEmptyTile(t *testing.T) {
	_, base := start(t, tileserver.Options{Layers: []tileserver.Layer{{Tiles: city()}, {Tiles: &memory{info: tilescout.LayerInfo{
		ID: "sea", MaxZoom: 4, Bound: harbour}, make: func(maptile.Tile) (tilescout.Picture, error) {
		return tilescout.Picture{}, tilescout.ErrNotFound
	}}}}})
	for _, tc := range []struct {
		ext  string
		want color.NRGBA
	}{{".png", color.NRGBA{}}, {".webp", color.NRGBA{}}, {".jpg", color.NRGBA{255, 255, 255, 255}}} {
		for suffix, size := range map[string]int{"": 256, "@2x": 512} {
			a := ask(t, "GET", base+"/tiles/city/12/0/0"+suffix+tc.ext)
			b := ask(t, "GET", base+"/tiles/sea/4/7/7"+suffix+tc.ext)
			if a.StatusCode != 200 || !bytes.Equal(a.body, b.body) || a.Header.Get("ETag") != b.Header.Get("ETag") {
				t.Errorf("%s%s: not one constant picture (status %d)", suffix, tc.ext, a.StatusCode)
			}
			img := a.image(t)
			if img.Bounds().Dx() != size || !near(img, 3, 3, tc.want) {
				t.Errorf("%s%s: %v, colour %v", suffix, tc.ext, img.Bounds(), img.At(3, 3))
			}
		}
	}
	// GDAL takes four bands from the metadata and fails on a palette: colour type 6 is the 26th byte.
	if png := ask(t, "GET", base+"/tiles/city/12/0/0.png").body; png[25] != 6 {
		t.Errorf("colour type of the empty PNG = %d, want 6 (RGBA)", png[25])
	}
}

type sized struct{ *memory }

func (s sized) TileSized(_ context.Context, t maptile.Tile, size int) (tilescout.Picture, error) {
	return paint(t, tilescout.PNG, size), nil
}

func TestTileSizes(t *testing.T) {
	info := city().info
	info.MediaType = tilescout.PNG
	large := &memory{info: info}
	large.info.ID, large.info.TileSize = "large", 512
	renders := sized{&memory{info: info}}
	renders.info.ID = "renders"
	transparent := &memory{info: info, make: func(t maptile.Tile) (tilescout.Picture, error) {
		p := paint(t, tilescout.PNG, 256)
		if (t.X+t.Y)%2 == 0 {
			return tilescout.Picture{}, tilescout.ErrNotFound
		}
		return p, nil
	}}
	transparent.info.ID = "holes"
	_, base := start(t, tileserver.Options{Layers: []tileserver.Layer{{Tiles: large}, {Tiles: renders}, {Tiles: transparent}}})

	if r := ask(t, "GET", base+path("large", inside, "@2x.png")); !bytes.Equal(r.body, paint(inside, tilescout.PNG, 512).Data) {
		t.Error("a 512 px tile asked for as @2x was touched")
	}
	if img := ask(t, "GET", base+path("large", inside, ".png")).image(t); img.Bounds().Dx() != 256 || !near(img, 200, 60, colorOf(inside, 1, 0)) {
		t.Errorf("a 512 px tile asked for at 256: %v", img.Bounds())
	}
	renders.calls.Store(0)
	if r := ask(t, "GET", base+path("renders", inside, "@2x.png")); !bytes.Equal(r.body, paint(inside, tilescout.PNG, 512).Data) || renders.calls.Load() != 0 {
		t.Errorf("@2x of a source that renders: own bytes %v, other calls %d", bytes.Equal(r.body, paint(inside, tilescout.PNG, 512).Data), renders.calls.Load())
	}
	holes := ask(t, "GET", base+path("holes", inside, "@2x.png")).image(t)
	if !near(holes, 10, 10, color.NRGBA{}) || !near(holes, 300, 10, colorOf(maptile.New(inside.X*2+1, inside.Y*2, 13), 0, 0)) {
		t.Errorf("children with holes: %v, %v", holes.At(10, 10), holes.At(300, 10))
	}
	if white := ask(t, "GET", base+path("holes", inside, "@2x.jpg")).image(t); !near(white, 10, 10, color.NRGBA{255, 255, 255, 255}) {
		t.Errorf("a hole as JPEG is %v, want white", white.At(10, 10))
	}
}

func TestSourceFailures(t *testing.T) {
	secret := "https://tiles.example/1/2/3?key=SECRET"
	tests := map[string]struct {
		make   func(maptile.Tile) (tilescout.Picture, error)
		status int
	}{
		"upstream fails": {func(maptile.Tile) (tilescout.Picture, error) {
			return tilescout.Picture{}, fmt.Errorf("get %s: %w", secret, tilescout.ErrUpstream)
		}, 502},
		"upstream is slow": {func(maptile.Tile) (tilescout.Picture, error) {
			return tilescout.Picture{}, fmt.Errorf("%w: %w", tilescout.ErrUpstream, context.DeadlineExceeded)
		}, 504},
		"source is busy": {func(maptile.Tile) (tilescout.Picture, error) { return tilescout.Picture{}, tilescout.ErrBusy }, 503},
		"bad file": {func(maptile.Tile) (tilescout.Picture, error) {
			return tilescout.Picture{}, fmt.Errorf("block: %w", tilescout.ErrBadInput)
		}, 502},
		"unknown error": {func(maptile.Tile) (tilescout.Picture, error) { return tilescout.Picture{}, errors.New(secret) }, 500},
		"out of range":  {func(maptile.Tile) (tilescout.Picture, error) { return tilescout.Picture{}, tilescout.ErrOutOfRange }, 404},
		"not a picture": {func(maptile.Tile) (tilescout.Picture, error) {
			return tilescout.Picture{Data: []byte("<html>"), MediaType: tilescout.PNG}, nil
		}, 502},
		"unknown type": {func(maptile.Tile) (tilescout.Picture, error) {
			return tilescout.Picture{Data: []byte("GIF89a"), MediaType: "image/gif"}, nil
		}, 502},
		"cut picture": {func(t maptile.Tile) (tilescout.Picture, error) {
			p := paint(t, tilescout.JPEG, 256)
			p.Data = p.Data[:len(p.Data)/2]
			return p, nil
		}, 502},
		"bomb": {func(maptile.Tile) (tilescout.Picture, error) {
			p := paint(inside, tilescout.PNG, 1)
			data := bytes.Clone(p.Data)
			copy(data[16:24], []byte{0, 1, 0, 0, 0, 1, 0, 0}) // 65536 × 65536 pixels, and a wrong checksum
			return tilescout.Picture{Data: data, MediaType: tilescout.PNG}, nil
		}, 502},
		"panic": {func(maptile.Tile) (tilescout.Picture, error) { panic("a bug") }, 500},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			for _, dynamic := range []bool{false, true} {
				m := city()
				m.make = tc.make
				_, base := start(t, tileserver.Options{Layers: []tileserver.Layer{{Tiles: m, Dynamic: dynamic}}})
				r := ask(t, "GET", base+path("city", inside, ".png"))
				if r.StatusCode != tc.status {
					t.Errorf("dynamic %v: status = %d, want %d: %s", dynamic, r.StatusCode, tc.status, r.body)
				}
				if bytes.Contains(r.body, []byte("SECRET")) {
					t.Errorf("the body tells a secret: %s", r.body)
				}
				if (r.Header.Get("Retry-After") != "") != (tc.status == 503) {
					t.Errorf("Retry-After = %q", r.Header.Get("Retry-After"))
				}
			}
		})
	}
}

func TestOneLoadForMany(t *testing.T) {
	m := city()
	m.wait = 100 * time.Millisecond
	_, base := start(t, tileserver.Options{Layers: []tileserver.Layer{{Tiles: m}}})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if r := ask(t, "GET", base+path("city", inside, ".png")); r.StatusCode != 200 {
				t.Errorf("status = %d", r.StatusCode)
			}
		})
	}
	wg.Wait()
	if n := m.calls.Load(); n != 1 {
		t.Errorf("the source was asked %d times for one tile, want 1", n)
	}
}

func TestOverload(t *testing.T) {
	m := city()
	m.wait = time.Second
	_, base := start(t, tileserver.Options{Layers: []tileserver.Layer{{Tiles: m}}})
	var mu sync.Mutex
	codes := map[int]int{}
	var wg sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 0}}
	for i := range 400 { // far more than any queue here holds
		wg.Go(func() {
			res, err := client.Get(base + fmt.Sprintf("/tiles/city/16/%d/%d.jpg", 33500+i%20, 21500+i/20))
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			mu.Lock()
			defer mu.Unlock()
			codes[res.StatusCode]++
			if res.StatusCode == 503 && res.Header.Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
		})
	}
	wg.Wait()
	if codes[200] == 0 || codes[503] == 0 || codes[200]+codes[503] != 400 {
		t.Errorf("codes = %v, want some 200 and some 503 and nothing else", codes)
	}
}
