// Package examples runs the example programs as a reader would.
package examples

import (
	"bufio"
	"database/sql"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout/encoder/encodertest"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
	_ "modernc.org/sqlite"
)

// TestMuxServer starts the example over a small MBTiles file and asks it.
func TestMuxServer(t *testing.T) {
	library := encodertest.Library(t)
	tiles := filepath.Join(t.TempDir(), "small.mbtiles")
	writeTiles(t, tiles)
	program := filepath.Join(t.TempDir(), "mux-server")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./mux-server").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	free, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	cmd := exec.CommandContext(t.Context(), program, tiles)
	cmd.Env = append(os.Environ(), "TILESCOUT_ONNXRUNTIME="+library, "LISTEN="+address, "TMPDIR="+t.TempDir())
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	said := make(chan string, 16)
	go func() {
		for s := bufio.NewScanner(log); s.Scan(); {
			select {
			case said <- s.Text():
			default:
			}
		}
	}()
	var answer struct {
		Features []json.RawMessage
		Model    string
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		res, err := http.Get("http://" + address + "/search/mine?q=forest")
		if err == nil {
			err = json.NewDecoder(res.Body).Decode(&answer)
			res.Body.Close()
			if err != nil || res.StatusCode != 200 {
				t.Fatalf("search = %d, %v", res.StatusCode, err)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no answer: %v; it said %v", err, <-said)
		}
	}
	if answer.Model == "" || len(answer.Features) == 0 {
		t.Errorf("answer = %+v, want features by a model", answer)
	}
}

func writeTiles(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, q := range []string{"CREATE TABLE metadata (name TEXT, value TEXT)", "CREATE TABLE tiles (zoom_level INTEGER, tile_column INTEGER, tile_row INTEGER, tile_data BLOB)"} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	for x := range uint32(4) {
		tile := maptile.New(1000+x, 700, 11)
		if _, err := db.Exec("INSERT INTO tiles VALUES (?, ?, ?, ?)", tile.Z, tile.X, 1<<tile.Z-1-tile.Y, sourcetest.Paint(tile, 256)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPagesNameRealAddresses: the addresses in the pages and in the QGIS page are ones that the server has.
func TestPagesNameRealAddresses(t *testing.T) {
	for _, page := range []string{"leaflet/index.html", "maplibre/index.html", "qgis/README.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, path := range []string{"/tiles/", "/overlay/", "/search/", "/wmts", "/qgis/"} {
			found += strings.Count(string(text), path)
		}
		if found < 2 {
			t.Errorf("%s names %d addresses of the server", page, found)
		}
	}
	source, err := os.ReadFile("mux-server/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), "\n"); n >= 40 {
		t.Error(fmt.Sprintf("mux-server has %d lines; it is to show how little is needed", n))
	}
}
