package geotiff_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source/geotiff"
	"github.com/tilescout/tilescout/tileserver/source/remote"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

// behind serves bytes by ranges and counts what it sends.
func behind(t testing.TB, data []byte, etag *atomic.Value) (url string, sent *atomic.Int64) {
	sent = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", etag.Load().(string))
		http.ServeContent(counting{w, sent}, r, "", time.Time{}, bytes.NewReader(data))
	}))
	t.Cleanup(server.Close)
	return server.URL + "/city.tif", sent
}

type counting struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (c counting) Write(p []byte) (int, error) {
	c.sent.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

func openRemote(t testing.TB, url string) *geotiff.Source {
	t.Helper()
	f, err := remote.Open(context.Background(), url, remote.Options{Backoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	s, err := geotiff.OpenObject(context.Background(), f, "city.tif", tilescout.LayerInfo{ID: "test"}, geotiff.Options{Deadline: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestRemote: a file behind a URL gives the tiles that it gives here, without being fetched whole.
func TestRemote(t *testing.T) {
	path := sourcetest.Shared(t, "geo", "cog", "dop_forest_25832_deflate.tif")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var etag atomic.Value
	etag.Store(`"v1"`)
	url, sent := behind(t, data, &etag)
	s := openRemote(t, url)
	local, err := geotiff.OpenWith(context.Background(), path, tilescout.LayerInfo{ID: "test"}, geotiff.Options{Deadline: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	if s.Info().Title != "city" || s.Info().Bound != local.Info().Bound {
		t.Errorf("Info() = %+v", s.Info())
	}
	for _, tile := range []maptile.Tile{maptile.New(8624, 5298, 14), maptile.New(34498, 21192, 16)} {
		got, err := s.Tile(context.Background(), tile)
		if err != nil {
			t.Fatal(err)
		}
		want, err := local.Tile(context.Background(), tile)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Data, want.Data) {
			t.Errorf("%v: %d bytes from afar, %d here", tile, len(got.Data), len(want.Data))
		}
		if tile.Z == 14 && sent.Load() > int64(len(data))*6/10 {
			t.Errorf("%d of %d bytes sent for a tile of the overview", sent.Load(), len(data))
		}
	}
	sourcetest.Run(t, openRemote(t, url), maptile.New(34498, 21192, 16), maptile.New(0, 0, 16))

	// Another version under the reader is no tile of a mix.
	changing := openRemote(t, url)
	etag.Store(`"v2"`)
	if _, err := changing.Tile(context.Background(), maptile.New(34498, 21192, 16)); !errors.Is(err, remote.ErrChanged) || !errors.Is(err, tilescout.ErrUpstream) {
		t.Errorf("Tile of a file that has changed: %v, want ErrChanged", err)
	}
	if !changing.Outdated() || s.Outdated() {
		t.Errorf("Outdated() = %v of the one that read on, %v of the other", changing.Outdated(), s.Outdated())
	}
	if openRemote(t, url).Info().Version == s.Info().Version {
		t.Error("another ETag, the same version of the layer")
	}
}

func TestRemoteRefusesOtherFiles(t *testing.T) {
	var etag atomic.Value
	etag.Store(`"v1"`)
	for _, data := range [][]byte{[]byte("<html>nothing"), []byte("II*\x00\x08\x00\x00\x00"), plain(4, red, 1, 0, 0, 1)} {
		url, _ := behind(t, data, &etag)
		f, err := remote.Open(context.Background(), url, remote.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := geotiff.OpenObject(context.Background(), f, "x", tilescout.LayerInfo{ID: "t"}, geotiff.Options{}); !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("%.10q: error %v, want ErrBadInput", data, err)
		}
		if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, tilescout.ErrUnavailable) {
			t.Errorf("%.10q: the object was not closed: %v", data, err)
		}
	}
}
