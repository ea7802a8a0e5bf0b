package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// noModel arguments start a server in no time: tiles need no model.
func withoutModel(t testing.TB) []string {
	return []string{"--data", t.TempDir(), "--onnxruntime", write(t, "libonnxruntime.so", "not a library")}
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// soon waits until f holds.
func soon(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Errorf("never: %s", what)
}

func layerIDs(t testing.TB, url string) []string {
	var doc struct{ Layers []struct{ ID string } }
	getJSON(t, url+"/layers", &doc)
	var out []string
	for _, l := range doc.Layers {
		out = append(out, l.ID)
	}
	return out
}

func post(t testing.TB, url string, header ...string) int {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

func metric(t testing.TB, url, line string) string {
	for l := range strings.Lines(string(getBytes(t, url+"/metrics"))) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(l), line+" "); ok {
			return v
		}
	}
	return ""
}

// TestReload changes the config under a running server: right, wrong, and right again, by signal and by request, while
// a client asks for tiles all the time and loses none.
func TestReload(t *testing.T) {
	tiles, admin := smallMosaic(t), freePort(t)
	file := filepath.Join(t.TempDir(), "tilescout.yaml")
	config := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(fmt.Sprintf("admin: {listen: %q}\nlayers:\n  - {id: one, source: %s}\n", admin, tiles)+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config("")
	s := start(t, append(withoutModel(t), "serve", "--config", file)...)
	at := "http://" + admin
	ctx, stop := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	asked := 0
	asking.Go(func() {
		for ctx.Err() == nil {
			if code := getJSON(t, fmt.Sprintf("%s/tiles/one/%d/%d/%d.jpg", s.url, mosaicZoom, mosaicX, mosaicY), nil); code != 200 {
				t.Errorf("a tile during reloads = %d", code)
				return
			}
			asked++
		}
	})
	config("  - {id: two, source: " + tiles + "}\n")
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	soon(t, "the second layer", func() bool { return slices.Equal(layerIDs(t, s.url), []string{"one", "two"}) })
	for name, bad := range map[string]string{
		"unknown key": "lisen: x\n", "no such file": "  - {id: three, source: /not/there.tif}\n", "not YAML": "[[[",
	} {
		config(bad)
		if code := post(t, at+"/admin/reload"); code != 400 {
			t.Errorf("%s: reload = %d, want 400", name, code)
		}
		if got := layerIDs(t, s.url); !slices.Equal(got, []string{"one", "two"}) {
			t.Errorf("%s: layers are now %v", name, got)
		}
		if got := metric(t, at, "tilescout_config_reload_failed"); got != "1" {
			t.Errorf("%s: tilescout_config_reload_failed %s", name, got)
		}
	}
	config("keys:\n  - {id: a, sha256: " + strings.Repeat("ab", 32) + ", layers: [one], scopes: [admin]}\n")
	if code := post(t, at+"/admin/reload"); code != 200 {
		t.Errorf("reload = %d", code)
	}
	if got := layerIDs(t, s.url); !slices.Equal(got, []string{"one"}) {
		t.Errorf("layers %v, want one", got)
	}
	if got := metric(t, at, "tilescout_config_reload_failed") + metric(t, at, "tilescout_config_reloads_total"); got != "02" {
		t.Errorf("failed and total: %s, want 0 and 2", got)
	}
	stop()
	asking.Wait()
	if asked < 10 {
		t.Errorf("%d tiles were asked for meanwhile", asked)
	}
	for url, want := range map[string]int{s.url + "/metrics": 404, s.url + "/admin/reload": 404} {
		if code := getJSON(t, url, nil); code != want {
			t.Errorf("%s = %d, want %d: it is on the admin listener", url, code, want)
		}
	}
	if code := post(t, at+"/admin/reload", "Sec-Fetch-Site", "cross-site"); code != 403 {
		t.Errorf("a page of another origin reloads: %d", code)
	}
	if _, stderr, status := call(t, "healthcheck", "--url", at); status != 0 {
		t.Errorf("healthcheck = %d: %s", status, stderr)
	}
	if _, stderr, status := call(t, "healthcheck", "--config", file); status != 0 {
		t.Errorf("healthcheck by the config = %d: %s", status, stderr)
	}
	if _, stderr, status := call(t, "healthcheck", "--url", "http://"+freePort(t)); status != 1 || strings.Count(stderr, "\n") != 1 {
		t.Errorf("healthcheck of nothing = %d: %s", status, stderr)
	}
}

// TestHotFolder: files that lie in the folder are layers, bad ones are not, gone ones are gone.
func TestHotFolder(t *testing.T) {
	dir, tiles := t.TempDir(), smallMosaic(t)
	data, err := os.ReadFile(tiles)
	if err != nil {
		t.Fatal(err)
	}
	put := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("First of all.mbtiles", data)
	put("notes.txt", []byte("not a layer"))
	file := write(t, "tilescout.yaml", "layersDir: "+dir+"\nlayers:\n  - {id: fixed, source: "+tiles+"}\n")
	s := start(t, append(withoutModel(t), "serve", "--config", file)...)
	if got := layerIDs(t, s.url); !slices.Equal(got, []string{"fixed", "first-of-all"}) {
		t.Fatalf("layers %v at the start", got)
	}
	put("fixed.mbtiles", data) // its id is taken
	put("broken.mbtiles", data[:len(data)/2])
	soon(t, "a third layer", func() bool { return slices.Equal(layerIDs(t, s.url), []string{"fixed", "first-of-all", "fixed-2"}) })
	if code := getJSON(t, fmt.Sprintf("%s/tiles/fixed-2/%d/%d/%d.jpg", s.url, mosaicZoom, mosaicX, mosaicY), nil); code != 200 {
		t.Errorf("a tile of it = %d", code)
	}
	if !bytes.Contains(getBytes(t, s.url+"/metrics"), []byte(`tilescout_input_rejected_total{error="`)) {
		t.Error("the broken file is not counted in tilescout_input_rejected_total")
	}
	if err := os.Remove(filepath.Join(dir, "First of all.mbtiles")); err != nil {
		t.Fatal(err)
	}
	put("broken.mbtiles", data) // whole now
	soon(t, "the new set", func() bool { return slices.Equal(layerIDs(t, s.url), []string{"fixed", "broken", "fixed-2"}) })
	if got := metric(t, s.url, "tilescout_config_reload_failed"); got != "0" {
		t.Errorf("tilescout_config_reload_failed %s", got)
	}
}

// TestDrain: SIGTERM turns /readyz, lets what runs end, and ends with status 0; systemd hears of both.
func TestDrain(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	listener, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Skipf("no unixgram here: %v", err)
	}
	defer listener.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "200000")
	t.Setenv("TILESCOUT_LIMITS_DRAIN_DELAY", "700ms")
	s := start(t, append(withoutModel(t), "serve", smallMosaic(t))...)
	heard := func() string {
		var b [512]byte
		_ = listener.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := listener.Read(b[:])
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	if got := heard(); got != "READY=1" {
		t.Errorf("first %q, want READY=1", got)
	}
	if got := heard(); got != "WATCHDOG=1" {
		t.Errorf("then %q, want WATCHDOG=1", got)
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	soon(t, "draining", func() bool {
		var ready struct{ Status string }
		return getJSON(t, s.url+"/readyz", &ready) == 503 && ready.Status == "draining"
	})
	if code := getJSON(t, fmt.Sprintf("%s/tiles/small/%d/%d/%d.jpg", s.url, mosaicZoom, mosaicX, mosaicY), nil); code != 200 {
		t.Errorf("a tile while draining = %d", code)
	}
	for range 20 {
		if heard() == "STOPPING=1" {
			break
		}
	}
	state, err := s.cmd.Process.Wait()
	if err != nil || state.ExitCode() != 0 {
		t.Errorf("ended with %v, %v, want 0", state, err)
	}
}

// TestLogHoldsNoSecret logs what may hold one, in every way that slog has.
func TestLogHoldsNoSecret(t *testing.T) {
	var out bytes.Buffer
	log := newLog(&out, "debug")
	const secret = "hunter2-hunter2"
	log.Info("a", "apiKey", secret, "Authorization", "Bearer "+secret, "url", "https://u:"+secret+"@h/x?a=1&key="+secret,
		slog.Group("g", "token", secret), "error", fmt.Errorf("get https://h/x?key=%s: %w", secret, io.EOF), "key", "limits.rate")
	text := out.String()
	if strings.Contains(text, secret) {
		t.Errorf("the log holds it: %s", text)
	}
	for _, want := range []string{`"key":"limits.rate"`, "https://***@h/x?…", `"error":"get https://h/x?…`, `"level":"INFO"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
}
