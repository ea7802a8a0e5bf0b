package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/paulmach/orb/maptile"
)

// call runs the binary and returns what it printed and its exit status.
func call(t testing.TB, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t), args...)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if e := cmd.Run(); e != nil {
		var exit *exec.ExitError
		if !errors.As(e, &exit) {
			t.Fatal(e)
		}
		status = exit.ExitCode()
	}
	return out.String(), err.String(), status
}

// smallMosaic is an MBTiles file of nine one-coloured pictures: enough to serve and to embed.
func smallMosaic(t testing.TB) string {
	t.Helper()
	m := mosaic{side: 3}
	for i := range 9 {
		m.scenes = append(m.scenes, scene{"", plain(uint8(25 * i))})
	}
	path := filepath.Join(t.TempDir(), "small.mbtiles")
	m.write(t, path)
	return path
}

func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestBadInputIsOneLine gives the program what it cannot use: one line that says what is wrong, and the right status.
func TestBadInputIsOneLine(t *testing.T) {
	data := t.TempDir()
	tiles := smallMosaic(t)
	for _, c := range []struct {
		name   string
		args   []string
		status int
		says   string // must be in the message
	}{
		{"unknown command", []string{"serch"}, 2, "serch"},
		{"unknown flag", []string{"serve", "--prot", "1"}, 2, "--prot"},
		{"no prompt", []string{"search"}, 2, "arg"},
		{"empty prompt", []string{"search", " ", "-s", tiles}, 2, "empty"},
		{"10 kB prompt", []string{"search", strings.Repeat("a", 10<<10), "-s", tiles}, 2, "512"},
		{"no such file", []string{"search", "x", "-s", "nowhere.tif"}, 2, "nowhere.tif"},
		{"not an image", []string{"search", "x", "-s", write(t, "a.tif", "hello, this is text")}, 2, "a.tif"},
		{"not MBTiles", []string{"search", "x", "-s", write(t, "a.mbtiles", "SQLite format 3\x00 and then nothing")}, 2, "a.mbtiles"},
		{"bad bbox", []string{"search", "x", "-s", tiles, "--bbox", "1,2,3"}, 2, "1,2,3"},
		{"bad output", []string{"search", "x", "-s", tiles, "-o", "xml"}, 2, "xml"},
		{"unknown key", []string{"config", "--config", write(t, "c.yaml", "listen: localhost:1\nlayrs: []\n")}, 2, "layers"},
		{"wrong type", []string{"config", "--config", write(t, "c.yaml", "layers: 7\n")}, 2, "layers"},
		{"no config", []string{"config", "--config", "nowhere.yaml"}, 2, "nowhere.yaml"},
		{"missing variable", []string{"config", "--config", write(t, "c.yaml", "layers: [{id: a, source: 'https://x.example/{z}/{x}/{y}.png', headers: {A: '${TILESCOUT_TEST_UNSET}'}}]\n")}, 2, "TILESCOUT_TEST_UNSET"},
		{"missing runtime", []string{"model", "--onnxruntime", "nowhere.so"}, 1, "nowhere.so"},
		{"runtime of another kind", []string{"model", "--onnxruntime", write(t, "libonnxruntime.so", "not a library")}, 1, "libonnxruntime.so"},
		{"no model folder", []string{"model", "--model", "nowhere"}, 1, "nowhere"},
		{"a model that is none", []string{"model", "--model", filepath.Dir(write(t, "model.json", "{}"))}, 2, "model.json"},
		{"picture that is none", []string{"classify", write(t, "p.jpg", "text"), "--labels", "a,b"}, 2, "p.jpg"},
		{"one label", []string{"classify", write(t, "p.png", string(pngOf(plain(90)))), "--labels", "a"}, 2, "label"},
		{"bulk from OSM", []string{"index", "https://tile.openstreetmap.org/{z}/{x}/{y}.png"}, 2, "openstreetmap"},
	} {
		t.Run(c.name, func(t *testing.T) {
			stdout, stderr, status := call(t, append(c.args, "--data", data)...)
			if c.name == "unknown command" || c.name == "unknown flag" {
				stdout, stderr, status = call(t, c.args...)
			}
			if status != c.status || !strings.Contains(stderr, c.says) {
				t.Errorf("status %d, %q; want %d and a word about %q", status, stderr, c.status, c.says)
			}
			lines := strings.Split(strings.TrimSpace(stderr), "\n")
			if last := lines[len(lines)-1]; len(lines) > 2 || !strings.HasPrefix(last, "tilescout: ") || strings.Contains(stderr, "panic") {
				t.Errorf("want one line, got %d:\n%s", len(lines), stderr)
			}
			if stdout != "" {
				t.Errorf("stdout %q, want nothing", stdout)
			}
		})
	}
}

// running is a server of the program.
type running struct {
	url string
	cmd *exec.Cmd
	log *bytes.Buffer // to be read after stop

	done chan struct{}
}

// stop ends the server and waits for it; a second call does nothing.
func (s *running) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.done
	_ = s.cmd.Wait()
}

var urlPattern = regexp.MustCompile(`http://\S+`)

// start runs a serving command on a free port and waits until it says where.
func start(t testing.TB, args ...string) *running {
	t.Helper()
	return startProgram(t, binary(t), args...)
}

// startProgram is start for another program that ends up as ours.
func startProgram(t testing.TB, program string, args ...string) *running {
	t.Helper()
	cmd := exec.Command(program, append(args, "--listen", "localhost:0")...)
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	s := &running{cmd: cmd, log: &bytes.Buffer{}, done: done}
	found := make(chan string, 1)
	go func() {
		defer close(done)
		for r := bufio.NewScanner(pipe); r.Scan(); {
			fmt.Fprintln(s.log, r.Text())
			if u := urlPattern.FindString(r.Text()); u != "" && strings.Contains(r.Text(), "Tilescout") {
				found <- u
			}
		}
	}()
	t.Cleanup(s.stop)
	select {
	case s.url = <-found:
	case <-done:
		t.Fatalf("the server ended:\n%s", s.log)
	case <-time.After(2 * time.Minute):
		t.Fatalf("the server did not start")
	}
	return s
}

func getJSON(t testing.TB, url string, v any) int {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if v != nil {
		if err := json.Unmarshal(body, v); err != nil {
			t.Fatalf("%s: %v: %.200s", url, err, body)
		}
	}
	return res.StatusCode
}

// TestServeWithoutModel: tiles are served though no model loads, and a search is told why there is none.
func TestServeWithoutModel(t *testing.T) {
	s := start(t, "serve", smallMosaic(t), "--data", t.TempDir(), "--onnxruntime", write(t, "libonnxruntime.so", "not a library"))
	if code := getJSON(t, fmt.Sprintf("%s/tiles/small/%d/%d/%d.jpg", s.url, mosaicZoom, mosaicX, mosaicY), nil); code != 200 {
		t.Errorf("a tile = %d, want 200", code)
	}
	var problem struct{ Detail string }
	if code := getJSON(t, s.url+"/search/small?q=stadium", &problem); code != 503 || !strings.Contains(problem.Detail, "onnxruntime") {
		t.Errorf("a search = %d, %q, want 503 and the reason", code, problem.Detail)
	}
	var ready struct{ Status string }
	if code := getJSON(t, s.url+"/readyz", &ready); code != 200 || ready.Status != "degraded" {
		t.Errorf("readyz = %d %s, want 200 degraded", code, ready.Status)
	}
}

// TestServeWithBrokenModel: the same with a model folder that holds no model.
func TestServeWithBrokenModel(t *testing.T) {
	s := start(t, "serve", smallMosaic(t), "--data", t.TempDir(), "--model", filepath.Dir(write(t, "model.json", "{}")))
	if code := getJSON(t, fmt.Sprintf("%s/tiles/small/%d/%d/%d.jpg", s.url, mosaicZoom, mosaicX, mosaicY), nil); code != 200 {
		t.Errorf("a tile = %d, want 200", code)
	}
}

// TestSecondProcess: one writer per data folder; a second that would write is refused, one that reads follows.
func TestSecondProcess(t *testing.T) {
	data, tiles := t.TempDir(), smallMosaic(t)
	if _, stderr, status := call(t, "index", tiles, "--data", data); status != 0 {
		t.Skipf("no model here: %s", stderr)
	}
	s := start(t, "serve", tiles, "--data", data)
	_, stderr, status := call(t, "index", tiles, "--data", data)
	if status != 1 || !strings.Contains(stderr, fmt.Sprint(s.cmd.Process.Pid)) {
		t.Errorf("a second writer: status %d, %q, want 1 and the holder's process id", status, stderr)
	}
	stdout, stderr, status := call(t, "search", "forest", "-s", tiles, "--data", data, "-o", "json")
	if status != 0 || !strings.Contains(stdout, "matches") {
		t.Errorf("a reader beside the server: status %d, %s %s", status, stdout, stderr)
	}
}

// TestCommandAndServerAgree: -o geojson and GET /search answer the same bytes.
func TestCommandAndServerAgree(t *testing.T) {
	data, tiles := t.TempDir(), smallMosaic(t)
	if _, stderr, status := call(t, "index", tiles, "--data", data); status != 0 {
		t.Skipf("no model here: %s", stderr)
	}
	stdout, _, _ := call(t, "search", "desert", "-s", tiles, "--data", data, "-o", "geojson", "-n", "5")
	s := start(t, "serve", tiles, "--data", data)
	res, err := http.Get(s.url + "/search/small?q=desert&limit=5")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if string(body) != stdout {
		t.Errorf("the command printed\n%s\nthe server answered\n%s", stdout, body)
	}
}

func TestExitStatusOfNoMatch(t *testing.T) {
	data, tiles := t.TempDir(), smallMosaic(t)
	_, stderr, status := call(t, "search", "qwertyuiop", "-s", tiles, "--data", data, "--exit-status")
	if strings.Contains(stderr, "onnxruntime") {
		t.Skip("no model here")
	}
	if status != 3 {
		t.Errorf("a word that nobody knows: status %d, %s, want 3", status, stderr)
	}
}

// TestSavedSearchIsALayer: a search in the config is a layer of tiles and of WMTS.
func TestSavedSearchIsALayer(t *testing.T) {
	tiles := smallMosaic(t)
	cfg := write(t, "tilescout.yaml", fmt.Sprintf("layers:\n  - {id: city, source: %q, title: City}\nsearches:\n  - {id: woods, layer: city, q: forest}\n", tiles))
	data := t.TempDir()
	s := start(t, "serve", "--config", cfg, "--data", data)
	var layers struct {
		Layers []struct{ ID, Over string }
	}
	getJSON(t, s.url+"/layers", &layers)
	if strings.Contains(s.log.String(), "search is not") {
		t.Skip("no model here")
	}
	if len(layers.Layers) != 2 || layers.Layers[1].ID != "woods" || layers.Layers[1].Over != "city" {
		t.Fatalf("layers = %+v, want city and woods over it", layers)
	}
	tile := maptile.New(mosaicX, mosaicY, mosaicZoom)
	res, err := http.Get(fmt.Sprintf("%s/wmts/1.0.0/woods/default/WebMercatorQuad/%d/%d/%d.png", s.url, tile.Z, tile.Y, tile.X))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("a tile of the saved search = %d, Cache-Control %q, want 200, no-store", res.StatusCode, res.Header.Get("Cache-Control"))
	}
}

func getBytes(t testing.TB, url string) []byte {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%s = %d, %v: %.200s", url, res.StatusCode, err, body)
	}
	return body
}
