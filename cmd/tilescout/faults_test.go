package main

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// These tests are make faults. Each starts the program itself, does something to it from outside and looks at what
// clients see (targets R4, R5 and R6); -v prints the tables.

// table prints rows as Markdown at the end of a test.
type table struct {
	t    *testing.T
	rows [][]string
}

func newTable(t *testing.T, head ...string) *table {
	b := &table{t: t, rows: [][]string{head}}
	t.Cleanup(func() {
		var out strings.Builder
		for i, row := range b.rows {
			out.WriteString("| " + strings.Join(row, " | ") + " |\n")
			if i == 0 {
				out.WriteString(strings.Repeat("|---", len(row)) + "|\n")
			}
		}
		t.Log("\n" + out.String())
	})
	return b
}

func (b *table) row(cells ...any) {
	var row []string
	for _, c := range cells {
		row = append(row, fmt.Sprint(c))
	}
	b.rows = append(b.rows, row)
}

// upstreamAt is a tile server of ours whose behaviour can be changed while it runs.
type upstreamAt struct {
	*httptest.Server
	asked atomic.Int64
	mode  atomic.Value // string
}

var redPNG = plainPNG(color.NRGBA{255, 0, 0, 255})

func newUpstream(t testing.TB) *upstreamAt {
	u := &upstreamAt{}
	u.mode.Store("well")
	leave := make(chan struct{})
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.asked.Add(1)
		h := w.Header()
		h.Set("Content-Type", "image/png")
		switch mode := u.mode.Load().(string); mode {
		case "well":
			_, _ = w.Write(redPNG)
		case "slow well":
			time.Sleep(300 * time.Millisecond)
			_, _ = w.Write(redPNG)
		case "hang":
			select {
			case <-r.Context().Done():
			case <-leave:
			}
		case "truncation":
			h.Set("Content-Length", strconv.Itoa(len(redPNG)))
			_, _ = w.Write(redPNG[:len(redPNG)/2])
		case "short picture": // with a length that fits
			_, _ = w.Write(redPNG[:len(redPNG)/2])
		case "HTML":
			_, _ = io.WriteString(w, "<html><script>alert(1)</script>the map is closed today</html>")
		case "slow body":
			h.Set("Content-Length", strconv.Itoa(len(redPNG)))
			for i := range redPNG {
				if _, err := w.Write(redPNG[i : i+1]); err != nil || http.NewResponseController(w).Flush() != nil {
					return
				}
				select {
				case <-r.Context().Done():
					return
				case <-leave:
					return
				case <-time.After(200 * time.Millisecond):
				}
			}
		case "endless body":
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		default: // a status
			code, err := strconv.Atoi(mode)
			if err != nil {
				panic(mode)
			}
			http.Error(w, "no", code)
		}
	}))
	t.Cleanup(func() { close(leave); u.CloseClientConnections(); u.Close() })
	return u
}

// alive says whether the program still runs.
func (s *running) alive() bool { return s.cmd.Process.Signal(syscall.Signal(0)) == nil }

// rss is the resident memory of the program in MB, 0 where the system does not tell.
func (s *running) rss() int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(data, []byte("VmRSS:"))
	kb, _ := strconv.Atoi(strings.Fields(string(rest) + " 0")[0])
	return kb >> 10
}

func fetch(t testing.TB, url string) (code int, took time.Duration) {
	t.Helper()
	client := &http.Client{Timeout: 30 * time.Second}
	began := time.Now()
	res, err := client.Get(url)
	if err != nil {
		t.Errorf("%s: %v", url, err)
		return 0, time.Since(began)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body) // what counts is that it ends
	return res.StatusCode, time.Since(began)
}

// TestFaultsOfUpstreams (R5): whatever an upstream does, the program lives, what is kept goes on, and the layer is back
// when the upstream is.
func TestFaultsOfUpstreams(t *testing.T) {
	// Not 401 and 403: a host that says no is left alone for longer than a test lasts, which is right.
	modes := []string{"500", "503", "429", "truncation", "short picture", "HTML", "endless body"}
	if os.Getenv("TILESCOUT_FAULTS") != "" { // each takes its whole time limit
		modes = append(modes, "hang", "slow body")
	}
	var config strings.Builder
	config.WriteString("limits: {rate: {off: true}}\nlayers:\n")
	var ups []*upstreamAt
	for i := range modes {
		u := newUpstream(t)
		ups = append(ups, u)
		fmt.Fprintf(&config, "  - {id: up%d, source: \"%s/{z}/{x}/{y}.png\", maxZoom: 10}\n", i, u.URL)
	}
	s := start(t, append(withoutModel(t), "serve", "--config", write(t, "tilescout.yaml", config.String()))...)
	out := newTable(t, "upstream", "cold tile", "after", "kept tile", "well again", "asked", "RSS MB")
	var wg sync.WaitGroup
	var mu sync.Mutex
	for i, mode := range modes {
		wg.Go(func() {
			at := func(x int) string { return fmt.Sprintf("%s/tiles/up%d/10/%d/5.png", s.url, i, x) }
			if code, _ := fetch(t, at(0)); code != 200 {
				t.Errorf("%s: the upstream is well and the tile is %d", mode, code)
			}
			ups[i].mode.Store(mode)
			cold, took := fetch(t, at(1))
			if cold != 502 && cold != 503 && cold != 504 {
				t.Errorf("%s: cold tile = %d", mode, cold)
			}
			kept, keptTook := fetch(t, at(0))
			if kept != 200 {
				t.Errorf("%s: a tile that was kept = %d", mode, kept)
			}
			ups[i].mode.Store("well")
			began, back := time.Now(), 0
			for back != 200 && time.Since(began) < 60*time.Second {
				if back, _ = fetch(t, at(2)); back != 200 {
					time.Sleep(250 * time.Millisecond)
				}
			}
			if back != 200 {
				t.Errorf("%s: not back after a minute", mode)
			}
			mu.Lock()
			defer mu.Unlock()
			out.row(mode, cold, took.Round(time.Millisecond), fmt.Sprintf("%d in %v", kept, keptTook.Round(time.Millisecond)),
				"after "+time.Since(began).Round(100*time.Millisecond).String(), ups[i].asked.Load(), s.rss())
		})
	}
	wg.Wait()
	if !s.alive() {
		t.Error("the program ended")
	}
	if code, _ := fetch(t, s.url+"/readyz"); code != 200 {
		t.Errorf("/readyz = %d: upstreams that fail are no reason to take traffic away", code)
	}
}

// TestHerd (R4): a thousand clients ask for one cold tile at once.
func TestHerd(t *testing.T) {
	up := newUpstream(t)
	up.mode.Store("slow well")
	config := fmt.Sprintf("layers: [{id: up, source: \"%s/{z}/{x}/{y}.png\", maxZoom: 16, bounds: [0, 0, 1, 1]}]\n", up.URL)
	s := start(t, "serve", "--config", write(t, "tilescout.yaml", config), "--data", t.TempDir())
	out := newTable(t, "1,000 clients ask for", "answers", "fetches", "decoded or embedded", "slowest")
	_, searches := modelOf(t, s)
	for _, c := range []struct{ name, path, counter string }{
		{"one tile as WebP", "/tiles/up/16/32800/32700.webp", `tilescout_tile_source_duration_seconds_count{layer="up",origin="upstream"}`},
		{"what is in one tile", "/classify/up/16/32801/32700?labels=forest,sea", `tilescout_encode_items_total{kind="image"}`},
	} {
		if strings.HasPrefix(c.path, "/classify") && !searches {
			out.row(c.name, "no model here", "", "", "")
			continue
		}
		before, _ := strconv.Atoi(metric(t, s.url, c.counter))
		asked := up.asked.Load()
		codes, slowest := together(t, 1000, s.url+c.path)
		after, _ := strconv.Atoi(metric(t, s.url, c.counter))
		fetches, made := up.asked.Load()-asked, after-before
		out.row(c.name, codes, fetches, made, slowest.Round(time.Millisecond))
		if fetches != 1 || made != 1 {
			t.Errorf("%s: %d fetches, %d decoded or embedded, want one of each", c.name, fetches, made)
		}
		if codes[200] == 0 || codes[200]+codes[503] != 1000 {
			t.Errorf("%s: answers %v", c.name, codes)
		}
		if strings.HasPrefix(c.path, "/tiles") && codes[200] != 1000 {
			t.Errorf("%s: answers %v, want 200 for all: they wait for one and the same load", c.name, codes)
		}
	}
}

// modelOf says which model a server has, if any.
func modelOf(t testing.TB, s *running) (id string, ok bool) {
	var m struct{ ID string }
	code := getJSON(t, s.url+"/model", &m)
	return m.ID, code == 200
}

// together sends n requests at once, each over a connection of its own.
func together(t testing.TB, n int, url string) (codes map[int]int, slowest time.Duration) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	codes = map[int]int{}
	var wg sync.WaitGroup
	gun := make(chan struct{})
	for range n {
		wg.Go(func() {
			<-gun
			began := time.Now()
			code := 0
			if res, err := client.Get(url); err == nil {
				_, _ = io.Copy(io.Discard, res.Body) // what counts is that it ends
				res.Body.Close()
				code = res.StatusCode
			}
			mu.Lock()
			defer mu.Unlock()
			codes[code]++
			slowest = max(slowest, time.Since(began))
		})
	}
	close(gun)
	wg.Wait()
	return codes, slowest
}

// TestFaultsOfDisk (R5): writes fail past a few kilobytes, as on a full disk; tiles and searches go on.
func TestFaultsOfDisk(t *testing.T) {
	data, up := t.TempDir(), newUpstream(t)
	config := write(t, "tilescout.yaml", fmt.Sprintf(
		"layers:\n  - {id: small, source: %s}\n  - {id: up, source: \"%s/{z}/{x}/{y}.png\", maxZoom: 10}\n", smallMosaic(t), up.URL))
	limited := filepath.Join(t.TempDir(), "limited")
	script := "#!/bin/sh\nulimit -f 1\nexec " + binary(t) + " \"$@\"\n"
	if err := os.WriteFile(limited, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command(limited, "version").Run(); err != nil {
		t.Skipf("no limit on file sizes here: %v", err)
	}
	s := startProgram(t, limited, "serve", "--config", config, "--data", data)
	out := newTable(t, "with a disk that takes no more", "answer")
	for _, c := range []struct{ what, path string }{
		{"tile of a file", fmt.Sprintf("/tiles/small/%d/%d/%d.jpg", mosaicZoom, mosaicX, mosaicY)},
		{"tile of an upstream", "/tiles/up/10/1/1.png"},
		{"readiness", "/readyz"},
		{"search, embedding on the way", "/search/small?q=forest"},
		{"the same again", "/search/small?q=forest"},
	} {
		code, took := fetch(t, s.url+c.path)
		out.row(c.what, fmt.Sprintf("%d in %v", code, took.Round(time.Millisecond)))
		if code != 200 && !strings.HasPrefix(c.path, "/search") {
			t.Errorf("%s = %d", c.what, code)
		}
		if code >= 500 && code != 503 {
			t.Errorf("%s = %d, want 200 or 503", c.what, code)
		}
	}
	var ready struct{ Degraded []string }
	getJSON(t, s.url+"/readyz", &ready)
	out.row("said at /readyz", ready.Degraded)
	if _, searches := modelOf(t, s); searches && !strings.Contains(fmt.Sprint(ready.Degraded), "index-write") {
		t.Errorf("degraded: %v, want index-write", ready.Degraded)
	}
	if !s.alive() {
		t.Error("the program ended")
	}
}

// TestFaultsOfIndex (R5): a mapped file of the index is cut under the server, and another process wants to write.
func TestFaultsOfIndex(t *testing.T) {
	data, tiles := t.TempDir(), smallMosaic(t)
	if _, stderr, status := call(t, "index", tiles, "--data", data); status != 0 {
		t.Skipf("no model here: %s", stderr)
	}
	intoSegments(t, data)
	out := newTable(t, "done to the index", "seen")
	s := start(t, "serve", tiles, "--data", data)
	_, stderr, status := call(t, "index", tiles, "--data", data)
	out.row("second process writes", fmt.Sprintf("exit %d: %s", status, strings.TrimSpace(stderr)))
	if status != 1 {
		t.Errorf("a second writer: status %d", status)
	}
	cut := 0
	files, err := filepath.Glob(filepath.Join(data, "index", "*", "seg-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := os.Truncate(f, 0); err == nil {
			cut++
		}
	}
	for i, path := range []string{"/search/small?q=forest", "/search/small?q=sea", fmt.Sprintf("/tiles/small/%d/%d/%d.jpg", mosaicZoom, mosaicX, mosaicY), "/readyz"} {
		code, _ := fetch(t, s.url+path)
		out.row(fmt.Sprintf("%d mapped files cut to nothing: GET %s", cut, path), code)
		if i >= 2 && code != 200 {
			t.Errorf("%s = %d", path, code)
		}
	}
	if !s.alive() || cut == 0 {
		t.Errorf("the program lives: %v; files cut: %d", s.alive(), cut)
	}
	soon(t, "answers again", func() bool { code, _ := fetch(t, s.url+"/search/small?q=forest"); return code == 200 })
}
