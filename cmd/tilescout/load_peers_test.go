//go:build unix

package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/tileserver/source/demo"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

// peer starts a server that .ci/peers put into TILESCOUT_PEERS and waits until it answers at all.
func peer(t *testing.T, program string, args func(port string) []string, probe string) (base string) {
	t.Helper()
	dir := os.Getenv("TILESCOUT_PEERS")
	path := filepath.Join(dir, program)
	if _, err := os.Stat(path); dir == "" || err != nil {
		t.Skipf("%s is not there: make load puts it into TILESCOUT_PEERS", program)
	}
	address := freePort(t)
	_, port, _ := strings.Cut(address, ":")
	cmd := exec.Command(path, args(port)...)
	cmd.Dir = filepath.Join(dir, "titiler")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // uvicorn's workers go with it
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); _ = cmd.Wait() })
	base = "http://" + address
	soon(t, program+" answers", func() bool {
		res, err := http.Get(base + probe)
		if err == nil {
			res.Body.Close()
		}
		return err == nil && res.StatusCode < 500
	})
	return base
}

// tileURLs lists the addresses of a layer's tiles of a zoom that have content, with {z}, {x} and {y} filled in.
func tileURLs(t *testing.T, base, layer string, zoom int) (paths [][3]int) {
	t.Helper()
	var doc struct{ Bounds [4]float64 }
	getJSON(t, base+"/tiles/"+layer+".json", &doc)
	b := doc.Bounds
	for tile := range geo.Cover(orb.Bound{Min: orb.Point{b[0], b[1]}, Max: orb.Point{b[2], b[3]}}, maptile.Zoom(zoom)) {
		if paths = append(paths, [3]int{zoom, int(tile.X), int(tile.Y)}); len(paths) == 4096 {
			break
		}
	}
	if len(paths) == 0 {
		t.Fatalf("layer %s has no tiles at zoom %d", layer, zoom)
	}
	return paths
}

func fill(template string, p [3]int) string {
	return strings.NewReplacer("{z}", fmt.Sprint(p[0]), "{x}", fmt.Sprint(p[1]), "{y}", fmt.Sprint(p[2])).Replace(template)
}

// contest asks two servers in turns, three times each, and prints the ratio.
func contest(t *testing.T, out *table, name, theirName string, paths [][3]int, ours, theirs string, workers int) {
	t.Helper()
	var good []([3]int) // what both have
	for _, p := range paths {
		a, _ := once(fill(ours, p))
		b, _ := once(fill(theirs, p))
		if a == 200 && b == 200 {
			good = append(good, p)
		}
	}
	if len(good) == 0 {
		t.Fatalf("%s: no tile that both have, of %d: %s and %s", name, len(paths), fill(ours, paths[0]), fill(theirs, paths[0]))
	}
	both := map[string]*outcome{ours: {}, theirs: {}}
	for range 3 {
		for _, template := range []string{ours, theirs} {
			o := closedLoop(workers, 2*time.Second, func(i int) string { return fill(template, good[i%len(good)]) })
			both[template].good = append(both[template].good, o.good...)
			both[template].took += o.took
			both[template].other += o.other + len(o.busy)
		}
	}
	us, them := both[ours], both[theirs]
	out.row(name, len(good), fmt.Sprintf("%.0f", us.rate()), theirName, fmt.Sprintf("%.0f", them.rate()), fmt.Sprintf("%.2f", us.rate()/them.rate()),
		fmt.Sprintf("%.1f, %.1f", percentile(us.good, .99), percentile(them.good, .99)))
	if us.other > 0 {
		t.Errorf("%s: %d answers of ours were no tiles", name, us.other)
	}
}

// TestLoadPeers (P7, P8): requests a second beside other servers, on the same files, in turns.
func TestLoadPeers(t *testing.T) {
	needLoad(t)
	out := newTable(t, "tiles", "different", "Tilescout/s", "beside", "/s", "ratio", "p99 ms, ours and theirs")
	serve := func(t *testing.T, source, limits string) *running {
		file := write(t, "tilescout.yaml", "limits: {"+limits+"}\nlayers: [{id: a, source: "+source+"}]\n")
		return start(t, append(withoutModel(t), "serve", "--config", file)...)
	}
	t.Run("mbtiles", func(t *testing.T) {
		archive := sourcetest.Shared(t, "geo", "mbtiles", "kampala_houses_jpg.mbtiles")
		theirs := peer(t, "bin/mbtileserver", func(port string) []string {
			return []string{"--host", "127.0.0.1", "-p", port, "-d", filepath.Dir(archive), "--tiles-only"}
		}, "/")
		for name, limits := range map[string]string{"MBTiles, from memory": "", "MBTiles, 1 MB of memory": "cacheMB: 1"} {
			s := serve(t, archive, limits)
			contest(t, out, name, "mbtileserver 0.11.0", tileURLs(t, s.url, "a", 21), s.url+"/tiles/a/{z}/{x}/{y}.jpg",
				theirs+"/services/kampala_houses_jpg/tiles/{z}/{x}/{y}.jpg", 16)
			s.stop()
		}
	})
	t.Run("pmtiles", func(t *testing.T) {
		archive := sourcetest.Shared(t, "geo", "pmtiles", "mt_whitney_topo_webp512.pmtiles")
		theirs := peer(t, "bin/go-pmtiles", func(port string) []string {
			return []string{"serve", filepath.Dir(archive), "--interface=127.0.0.1", "--port=" + port, "-q"}
		}, "/")
		for name, limits := range map[string]string{"PMTiles, from memory": "", "PMTiles, 1 MB of memory": "cacheMB: 1"} {
			s := serve(t, archive, limits)
			contest(t, out, name, "go-pmtiles 1.30.3", append(tileURLs(t, s.url, "a", 15), tileURLs(t, s.url, "a", 14)...),
				s.url+"/tiles/a/{z}/{x}/{y}@2x.webp", theirs+"/mt_whitney_topo_webp512/{z}/{x}/{y}.webp", 16)
			s.stop()
		}
	})
	t.Run("cog", func(t *testing.T) {
		scene, err := demo.Ensure(context.Background(), t.TempDir(), demo.Options{Seed: demo.Seed}, nil)
		if err != nil {
			t.Fatal(err)
		}
		theirs := peer(t, "titiler/bin/uvicorn", func(port string) []string {
			return []string{"app:app", "--port", port, "--workers", "2", "--log-level", "warning"}
		}, "/docs")
		s := serve(t, scene.Image, "cacheMB: 1") // each tile is rendered
		var doc struct{ MaxZoom int }
		getJSON(t, s.url+"/tiles/a.json", &doc)
		paths := append(tileURLs(t, s.url, "a", doc.MaxZoom), tileURLs(t, s.url, "a", doc.MaxZoom-1)...)
		contest(t, out, "COG, rendered as JPEG", "titiler.core 2.2.1, uvicorn, 2 workers", paths[:min(len(paths), 600)],
			s.url+"/tiles/a/{z}/{x}/{y}.jpg", theirs+"/tiles/WebMercatorQuad/{z}/{x}/{y}.jpg?url="+scene.Image, 8)
	})
}
