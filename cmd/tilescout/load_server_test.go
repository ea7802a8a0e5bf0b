package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/cores"
	"github.com/tilescout/tilescout/tileserver"
)

// The processes of make load besides the one that offers the load. Each is a test of this binary that does nothing
// unless it is asked to by its environment.

// spawnSelf runs one of them that serves, until the test ends.
func spawnSelf(t *testing.T, test string) (base string, pid int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^"+test+"$")
	cmd.Env = append(os.Environ(), "TILESCOUT_LOAD_SERVER="+test)
	return spawn(t, "Tilescout", cmd)
}

// flat is a layer that has every tile: the same JPEG, after some time.
type flat struct {
	id   string
	data []byte
	wait time.Duration
}

func (f flat) Info() tilescout.LayerInfo {
	return tilescout.LayerInfo{ID: f.id, Bound: orb.Bound{Min: orb.Point{-180, -85}, Max: orb.Point{180, 85}}, MaxZoom: 22, TileSize: 256, MediaType: tilescout.JPEG}
}

func (f flat) Tile(ctx context.Context, _ maptile.Tile) (tilescout.Picture, error) {
	select {
	case <-time.After(f.wait):
		return tilescout.Picture{Data: f.data, MediaType: tilescout.JPEG}, nil
	case <-ctx.Done():
		return tilescout.Picture{}, ctx.Err()
	}
}

// speckled is a tile that takes work to decode and to encode.
func speckled() []byte {
	img := image.NewNRGBA(image.Rect(0, 0, 256, 256))
	for i := range 256 * 256 {
		n := uint32(i) * 2654435761
		img.SetNRGBA(i%256, i/256, color.NRGBA{uint8(n >> 24), uint8(i >> 8), uint8(i), 255})
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, nil); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// TestLoadServer is the server under test in a process of its own; not a test.
func TestLoadServer(t *testing.T) {
	if os.Getenv("TILESCOUT_LOAD_SERVER") != t.Name() {
		t.Skip("runs inside TestLoadOverload")
	}
	cores.Spare() // as serve does
	data := speckled()
	wait := func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(800 * time.Millisecond)
		_, _ = w.Write([]byte("{}"))
	}
	scan := func(w http.ResponseWriter, r *http.Request) { // the same work each time, about 20 ms of a processor
		n := uint64(1)
		for range 12_000_000 {
			n ^= n << 13
			n ^= n >> 7
			n ^= n << 17
		}
		_, _ = fmt.Fprintf(w, "{\"n\":%d}", n)
	}
	s, err := tileserver.New(tileserver.Options{
		Layers:   []tileserver.Layer{{Tiles: flat{"render", data, 0}}, {Tiles: flat{"fetch", data, 800 * time.Millisecond}, Remote: true}},
		Requests: tileserver.RequestLimits{Rate: tileserver.Rate{PerSecond: -1}},
		Classes:  map[string]tileserver.Class{"embed": tileserver.Embed, "scan": tileserver.Scan},
		Register: []func(*mux.Router){func(r *mux.Router) {
			r.HandleFunc("/embed/{n}", wait).Methods(http.MethodGet).Name("embed")
			r.HandleFunc("/scan/{n}", scan).Methods(http.MethodGet).Name("scan")
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	l := announce(t)
	ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGTERM)
	defer stop()
	if err := s.Serve(ctx, l); err != nil {
		t.Error(err)
	}
}

// announce opens a port and says on stderr which.
func announce(t *testing.T) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(os.Stderr, "Tilescout http://%s\n", l.Addr())
	return l
}

// TestLoadBare answers as many bytes as a tile has, from memory, and does nothing else; not a test.
func TestLoadBare(t *testing.T) {
	if os.Getenv("TILESCOUT_LOAD_SERVER") != t.Name() {
		t.Skip("runs inside TestLoadOverload")
	}
	data := speckled()
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) }), ReadHeaderTimeout: time.Minute}
	ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { _ = s.Close() })
	_ = s.Serve(announce(t)) // ends with an error by its nature
}

// TestLoadProbe asks for one URL again and again over one connection and prints how long that took, in nanoseconds;
// not a test.
func TestLoadProbe(t *testing.T) {
	url, d := os.Getenv("TILESCOUT_LOAD_PROBE"), os.Getenv("TILESCOUT_LOAD_FOR")
	if url == "" {
		t.Skip("runs inside TestLoadOverload")
	}
	limit, err := time.ParseDuration(d)
	if err != nil {
		t.Fatal(err)
	}
	var all []time.Duration
	once(url) // the connection
	for began := time.Now(); time.Since(began) < limit; time.Sleep(3 * time.Millisecond) {
		code, took := once(url)
		if code != http.StatusOK {
			t.Fatalf("%s = %d", url, code)
		}
		all = append(all, took)
	}
	if err := json.NewEncoder(os.Stdout).Encode(all); err != nil {
		t.Fatal(err)
	}
}
