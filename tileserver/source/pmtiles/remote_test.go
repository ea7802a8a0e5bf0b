package pmtiles_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/pmtiles"
	"github.com/tilescout/tilescout/tileserver/source/pmtiles/hostile"
	"github.com/tilescout/tilescout/tileserver/source/remote"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

func openRemote(t *testing.T, url string) (*pmtiles.Source, error) {
	t.Helper()
	f, err := remote.Open(t.Context(), url, remote.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return pmtiles.OpenObject(t.Context(), source.Spec{ID: "remote", Source: url + "?key=secret"}, f, pmtiles.Options{})
}

// TestRemote serves an archive by HTTP ranges: the tiles are those of the file, and only parts of it were fetched.
func TestRemote(t *testing.T) {
	var tiles []tile
	for z := range maptile.Zoom(7) {
		for x := range pmtiles.Order([]orb.Bound{source.World}, z) {
			tiles = append(tiles, tile{x, sourcetest.Paint(x, 64)})
		}
	}
	path := write(t, tilescout.LayerInfo{Title: "Remote", Bound: source.World}, tiles...)
	var sent atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(counting{w, &sent}, r, path)
	}))
	defer server.Close()
	src, err := openRemote(t, server.URL+"/world.pmtiles")
	if err != nil {
		t.Fatal(err)
	}
	local := open(t, path)
	for _, x := range []maptile.Tile{tiles[0].t, tiles[100].t, tiles[len(tiles)-1].t} {
		pic, err := src.Tile(t.Context(), x)
		want, _ := local.Tile(t.Context(), x)
		if err != nil || !bytes.Equal(pic.Data, want.Data) {
			t.Errorf("Tile(%v) = %d bytes, %v, want %d", x, len(pic.Data), err, len(want.Data))
		}
	}
	if info := src.Info(); info.Title != "Remote" || info.MaxZoom != 6 {
		t.Errorf("Info() = %+v", info)
	}
	if n, all := sent.Load(), local.Info(); n > 1<<20 {
		t.Errorf("%d bytes were fetched for three tiles of %v", n, all)
	}
	if err := src.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := src.Tile(t.Context(), tiles[0].t); !errors.Is(err, tilescout.ErrUnavailable) {
		t.Errorf("Tile after Close: %v, want ErrUnavailable", err)
	}
}

type counting struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c counting) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return c.ResponseWriter.Write(b)
}

func TestRemoteHostile(t *testing.T) {
	for name, data := range hostile.Files() {
		if len(data) == 0 || len(data) > 1<<20 {
			continue
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, name, modified, bytes.NewReader(data))
		}))
		src, err := openRemote(t, server.URL+"/"+name)
		if err == nil {
			src.Close()
		} else if !errors.Is(err, tilescout.ErrBadInput) || bytes.Contains([]byte(err.Error()), []byte("secret")) {
			t.Errorf("%s: %v, want ErrBadInput without the key", name, err)
		}
		server.Close()
	}
}
