package tileserver_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

// aged answers pictures of an hour ago whose time was over half an hour ago.
type aged struct{ stale bool }

func (aged) Info() tilescout.LayerInfo {
	return tilescout.LayerInfo{ID: "old", Title: "Old", Bound: source.World, MaxZoom: 5, TileSize: 256, Version: "1"}
}

func (a aged) Tile(_ context.Context, t maptile.Tile) (tilescout.Picture, error) {
	p := tilescout.Picture{Data: sourcetest.Paint(t, 256), MediaType: tilescout.PNG, MaxAge: time.Minute}
	if a.stale {
		p.Stale = tilescout.Stale{Stored: time.Now().Add(-time.Hour), Expired: time.Now().Add(-30 * time.Minute)}
	}
	return p, nil
}

// TestStaleTilesSaySo: what is kept past its time says since when, to clients and caches; a converted tile and one put
// together from its children say it too.
func TestStaleTilesSaySo(t *testing.T) {
	for _, stale := range []bool{true, false} {
		s, err := tileserver.New(tileserver.Options{Layers: []tileserver.Layer{{Tiles: aged{stale}, Remote: true}}})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/tiles/old/2/1/1.png", "/tiles/old/2/1/1.png", "/tiles/old/2/1/1.jpg", "/tiles/old/2/1/1@2x.png"} {
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			h := w.Header()
			status, age, control := h.Get("Cache-Status"), h.Get("Age"), h.Get("Cache-Control")
			if w.Code != 200 || stale != (status != "") || stale != (age != "") {
				t.Fatalf("%s, stale %v: %d, Cache-Status %q, Age %q", path, stale, w.Code, status, age)
			}
			if !stale {
				continue
			}
			var over, old, left int
			if _, err := fmt.Sscanf(status+" "+age+" "+control, "tilescout; hit; ttl=-%d; detail=upstream-failed %d public, max-age=%d", &over, &old, &left); err != nil ||
				over < 1800 || old < 3600 || left != old+60 {
				t.Errorf("%s: Cache-Status %q, Age %q, Cache-Control %q, want half an hour over, an hour old, a minute left", path, status, age, control)
			}
			if !strings.Contains(h.Get("Access-Control-Expose-Headers"), "Cache-Status") {
				t.Errorf("%s: pages of other origins do not see Cache-Status", path)
			}
		}
	}
}
