package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver"
)

// These tests are make load: they take time and print figures, which are ratios taken side by side in one run. On a
// machine that does other work they only orient, so the tests assert little.

func needLoad(t *testing.T) {
	t.Helper()
	if os.Getenv("TILESCOUT_LOAD") == "" {
		t.Skip("takes time: make load")
	}
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
	if os.Getenv("TILESCOUT_LOAD_SERVER") == "" {
		t.Skip("runs inside TestLoadOverload")
	}
	data := speckled()
	work := func(d time.Duration, busy bool) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for end := time.Now().Add(d); time.Now().Before(end); {
				if !busy {
					time.Sleep(d)
				}
			}
			_, _ = w.Write([]byte("{}"))
		}
	}
	s, err := tileserver.New(tileserver.Options{
		Layers:   []tileserver.Layer{{Tiles: flat{"render", data, 0}}, {Tiles: flat{"fetch", data, 800 * time.Millisecond}, Remote: true}},
		Requests: tileserver.RequestLimits{Rate: tileserver.Rate{PerSecond: -1}},
		Classes:  map[string]tileserver.Class{"embed": tileserver.Embed, "scan": tileserver.Scan},
		Register: []func(*mux.Router){func(r *mux.Router) {
			r.HandleFunc("/embed/{n}", work(800*time.Millisecond, false)).Methods(http.MethodGet).Name("embed")
			r.HandleFunc("/scan/{n}", work(20*time.Millisecond, true)).Methods(http.MethodGet).Name("scan")
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(os.Stderr, "Tilescout http://%s\n", l.Addr())
	ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGTERM)
	defer stop()
	if err := s.Serve(ctx, l); err != nil {
		t.Error(err)
	}
}

// outcome is what a run of requests saw.
type outcome struct {
	mu         sync.Mutex
	good, busy []time.Duration // of 200 and of 503
	other      int
	took       time.Duration
}

func (o *outcome) add(code int, d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch code {
	case 200:
		o.good = append(o.good, d)
	case 503:
		o.busy = append(o.busy, d)
	default:
		o.other++
	}
}

func (o *outcome) rate() float64 { return float64(len(o.good)) / o.took.Seconds() }

// percentile of durations in milliseconds.
func percentile(d []time.Duration, p float64) float64 {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return float64(d[min(len(d)-1, int(p*float64(len(d))))].Microseconds()) / 1000
}

var loadClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2048, DisableCompression: true}, Timeout: 30 * time.Second}

func once(url string) (code int, took time.Duration) {
	began := time.Now()
	res, err := loadClient.Get(url)
	if err != nil {
		return 0, time.Since(began)
	}
	_, err = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if err != nil {
		return 0, time.Since(began)
	}
	return res.StatusCode, time.Since(began)
}

// closedLoop asks again as soon as it has an answer, n at a time.
func closedLoop(n int, d time.Duration, url func(i int) string) *outcome {
	o, began := &outcome{}, time.Now()
	var wg sync.WaitGroup
	for w := range n {
		wg.Go(func() {
			for i := w; time.Since(began) < d; i += n {
				o.add(once(url(i)))
			}
		})
	}
	wg.Wait()
	o.took = time.Since(began)
	return o
}

// openLoop asks at a rate, whatever the answers do; at most 2,000 questions are open.
func openLoop(perSecond float64, d time.Duration, url func(i int) string) *outcome {
	o, began := &outcome{}, time.Now()
	free := make(chan struct{}, 2000)
	var wg sync.WaitGroup
	for i := 0; time.Since(began) < d; {
		for due := int(time.Since(began).Seconds() * perSecond); i < due; i++ {
			ask := url(i)
			select {
			case free <- struct{}{}:
				wg.Go(func() { o.add(once(ask)); <-free })
			default: // a client that gives up before it asks
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
	o.took = time.Since(began) // answers after the end count as of the run: they were asked in it
	wg.Wait()
	return o
}

// spawn runs a program until the test ends and returns the address that it prints after the word.
func spawn(t *testing.T, word string, cmd *exec.Cmd) (address string, pid int) {
	t.Helper()
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() })
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if u := urlPattern.FindString(lines.Text()); u != "" && strings.Contains(lines.Text(), word) {
			go func() { _, _ = io.Copy(io.Discard, out) }() // it must not stop at a full pipe
			return u, cmd.Process.Pid
		}
	}
	t.Fatal("the program ended")
	return "", 0
}

// quickShare is how many of the refusals the server made within 5 ms, not counting those that waited first.
func quickShare(t *testing.T, base string, waited int) string {
	quick, all := 0, 0
	for line := range strings.Lines(string(getBytes(t, base+"/metrics"))) {
		n := 0
		if name, value, _ := strings.Cut(strings.TrimSpace(line), "} "); strings.Contains(name, `code="5xx"`) {
			fmt.Sscan(value, &n)
			switch {
			case strings.HasPrefix(name, "tilescout_http_request_duration_seconds_bucket") && strings.Contains(name, `le="0.005"`):
				quick += n
			case strings.HasPrefix(name, "tilescout_http_request_duration_seconds_count"):
				all += n
			}
		}
	}
	return fmt.Sprintf("%.0f %%", 100*float64(quick)/float64(max(1, all-waited)))
}

// TestLoadOverload (R3): each class gets ten times what it can do, while a client asks for a tile that is at hand.
func TestLoadOverload(t *testing.T) {
	needLoad(t)
	out := newTable(t, "class", "peak/s", "offered/s", "goodput/s", "goodput/peak", "refused", "refused at once p50, p99 ms", "of them ≤ 5 ms by the server's clock", "cached p99 idle, loaded ms", "loaded/idle", "RSS MB")
	for _, c := range []struct {
		name, path string
		workers    int
	}{
		{"B render", "/tiles/render/20/%d/7.png", 8}, {"C fetch", "/tiles/fetch/20/%d/7.jpg", 128},
		{"E embed", "/embed/%d", 128}, {"F search", "/scan/%d", 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run", "^TestLoadServer$")
			cmd.Env = append(os.Environ(), "TILESCOUT_LOAD_SERVER=1")
			base, pid := spawn(t, "Tilescout", cmd)
			cached := base + "/tiles/render/3/1/1.jpg"
			from := 0
			url := func(i int) string { return base + fmt.Sprintf(c.path, from+i) }
			closedLoop(1, 300*time.Millisecond, url) // connections, caches
			idle := closedLoop(1, 2*time.Second, func(int) string { time.Sleep(4 * time.Millisecond); return cached })
			from += 1 << 16
			peak := closedLoop(c.workers, 3*time.Second, url)
			from += 1 << 16
			offered := 10 * peak.rate()
			var loaded *outcome
			var beside sync.WaitGroup
			beside.Go(func() {
				loaded = closedLoop(1, 4*time.Second, func(int) string { time.Sleep(4 * time.Millisecond); return cached })
			})
			over := openLoop(offered, 4*time.Second, url)
			beside.Wait()
			quick := slices.DeleteFunc(slices.Clone(over.busy), func(d time.Duration) bool { return d > time.Second })
			was, is := percentile(idle.good, .99), percentile(loaded.good, .99)
			out.row(c.name, fmt.Sprintf("%.0f", peak.rate()), fmt.Sprintf("%.0f", offered), fmt.Sprintf("%.0f", over.rate()),
				fmt.Sprintf("%.2f", over.rate()/peak.rate()), fmt.Sprintf("%d (%d after waiting)", len(over.busy), len(over.busy)-len(quick)),
				fmt.Sprintf("%.1f, %.1f", percentile(quick, .5), percentile(quick, .99)), quickShare(t, base, len(over.busy)-len(quick)), fmt.Sprintf("%.1f, %.1f", was, is),
				fmt.Sprintf("%.1f", is/was), (&running{cmd: &exec.Cmd{Process: &os.Process{Pid: pid}}}).rss())
			if over.other > 0 {
				t.Errorf("%s: %d answers that are neither 200 nor 503", c.name, over.other)
			}
			if len(over.good) == 0 || len(over.busy) == 0 {
				t.Errorf("%s: %d good and %d refused, want some of both", c.name, len(over.good), len(over.busy))
			}
		})
	}
}
