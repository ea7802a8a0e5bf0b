package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestLoadOverload (R3): each class gets ten times what it can do, while somebody asks for a tile that is at hand.
//
// Whoever asks runs on the same processors as the server, and the machine may do other work. So
//   - the server, the one who asks for the tile at hand, and a bare server for comparison are processes of their own;
//     the bare one says how long any small answer takes while the processors are busy;
//   - idle, peak and overload take turns in short rounds, each figure is the median over the rounds, and each ratio is
//     taken within a round: what a neighbour does for a while is in both halves or thrown out;
//   - answers a second of the server's own processor time stand beside answers a second: the first do not shrink
//     because others take the processor. What refusals cost shows in both.
func TestLoadOverload(t *testing.T) {
	needLoad(t)
	rounds := 5
	if n, err := strconv.Atoi(os.Getenv("TILESCOUT_LOAD_ROUNDS")); err == nil && n > 0 {
		rounds = n
	}
	bare, _ := spawnSelf(t, "TestLoadBare")
	work := newTable(t, "class", "peak/s", "offered/s", "goodput/s", "goodput/peak", "the same for each second of the server's processor", "refused at once", "after waiting", "RSS MB")
	beside := newTable(t, "class", "cached tile p99 ms: idle, loaded", "loaded/idle", "bare server p99 ms: idle, loaded", "loaded/idle", "refused: p50, p99 ms", "≤ 5 ms by the server's clock", "processors free while loaded")
	for _, c := range []struct {
		name, path string
		workers    int
	}{
		{"B render", "/tiles/render/20/%d/7.png", 8}, {"C fetch", "/tiles/fetch/20/%d/7.jpg", 128},
		{"E embed", "/embed/%d", 128}, {"F search", "/scan/%d", 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			base, pid := spawnSelf(t, "TestLoadServer")
			server := &running{cmd: &exec.Cmd{Process: &os.Process{Pid: pid}}}
			cached := base + "/tiles/render/3/1/1.jpg"
			from := 0
			ask := func(i int) string { return base + fmt.Sprintf(c.path, from+i) }
			closedLoop(c.workers, time.Second, ask) // connections, caches, and how long work takes
			var all []round
			for range rounds {
				var r round
				r.idle, r.bareIdle = askCalmly(t, time.Second, cached), askCalmly(t, time.Second, bare)
				from += 1 << 14
				spent := processor(pid)
				peak := closedLoop(c.workers, 2*time.Second, ask)
				r.peak, r.peakEach = peak.rate(), float64(len(peak.good))/max(processor(pid)-spent, .01)

				from += 1 << 14
				r.offered = 10 * r.peak
				var wg sync.WaitGroup
				done := make(chan struct{})
				var over *outcome
				go func() { over = openLoop(r.offered, 5*time.Second, ask); close(done) }()
				time.Sleep(time.Second) // until the queue is full
				spent, began, free := processor(pid), time.Now(), freeProcessors()
				before := goodOf(t, base)
				wg.Go(func() { r.loaded = askCalmly(t, 3*time.Second, cached) })
				wg.Go(func() { r.bareLoaded = askCalmly(t, 3*time.Second, bare) })
				wg.Wait()
				took := time.Since(began).Seconds()
				good := goodOf(t, base) - before - float64(len(r.loaded)) // less those at hand
				r.free = (freeProcessors() - free) / took
				r.good, r.goodEach = good/took, good/max(processor(pid)-spent, .01)
				<-done
				r.over = over
				all = append(all, r)
				if over.other > 0 {
					t.Errorf("%d answers that are neither 200 nor 503", over.other)
				}
				if len(over.good) == 0 || len(over.busy) == 0 {
					t.Errorf("%d good and %d refused, want some of both", len(over.good), len(over.busy))
				}
			}
			var quick []time.Duration
			waited := 0
			for _, r := range all {
				for _, d := range r.over.busy {
					if d > time.Second {
						waited++
					} else {
						quick = append(quick, d)
					}
				}
			}
			m := func(of func(round) float64) float64 { return middle(all, of) }
			work.row(c.name, f0(m(func(r round) float64 { return r.peak })), f0(m(func(r round) float64 { return r.offered })), f0(m(func(r round) float64 { return r.good })),
				spread(all, func(r round) float64 { return r.good / r.peak }), spread(all, func(r round) float64 { return r.goodEach / r.peakEach }),
				len(quick), waited, server.rss())
			p99 := func(of func(round) []time.Duration) float64 {
				return m(func(r round) float64 { return percentile(of(r), .99) })
			}
			pair := func(idle, loaded func(round) []time.Duration) (both, ratio string) {
				return fmt.Sprintf("%.2f, %.2f", p99(idle), p99(loaded)),
					spread(all, func(r round) float64 { return percentile(loaded(r), .99) / max(percentile(idle(r), .99), .001) })
			}
			own, ownRatio := pair(func(r round) []time.Duration { return r.idle }, func(r round) []time.Duration { return r.loaded })
			control, controlRatio := pair(func(r round) []time.Duration { return r.bareIdle }, func(r round) []time.Duration { return r.bareLoaded })
			beside.row(c.name, own, ownRatio, control, controlRatio, fmt.Sprintf("%.2f, %.2f", percentile(quick, .5), percentile(quick, .99)),
				quickShare(t, base, waited), fmt.Sprintf("%.1f", m(func(r round) float64 { return r.free })))
		})
	}
}

// round is one of idle, peak and overload.
type round struct {
	idle, loaded, bareIdle, bareLoaded []time.Duration // of the one who asks for what is at hand
	peak, offered, good                float64         // answers a second
	peakEach, goodEach                 float64         // answers for each second of the server's processor time
	free                               float64         // processors that nobody used under load
	over                               *outcome
}

func middle(all []round, of func(round) float64) float64 {
	var v []float64
	for _, r := range all {
		v = append(v, of(r))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// spread is the median, and the least and the most of the rounds.
func spread(all []round, of func(round) float64) string {
	var v []float64
	for _, r := range all {
		v = append(v, of(r))
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", middle(all, of), slices.Min(v), slices.Max(v))
}

func f0(v float64) string { return fmt.Sprintf("%.0f", v) }

// askCalmly has a process of its own ask for url every few milliseconds and returns how long it took each time.
func askCalmly(t *testing.T, d time.Duration, url string) (took []time.Duration) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestLoadProbe$")
	cmd.Env = append(os.Environ(), "TILESCOUT_LOAD_PROBE="+url, "TILESCOUT_LOAD_FOR="+d.String(), "GOMAXPROCS=1")
	out, err := cmd.Output()
	if err == nil {
		line, _, _ := strings.Cut(string(out), "\n")
		err = json.Unmarshal([]byte(line), &took)
	}
	if err != nil || len(took) == 0 {
		t.Errorf("ask %s: %v: %d answers", url, err, len(took))
		took = []time.Duration{0}
	}
	return took
}

// goodOf is how many requests the server has answered with 200, by its own count.
func goodOf(t *testing.T, base string) (n float64) {
	t.Helper()
	for line := range strings.Lines(string(getBytes(t, base+"/metrics"))) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "} "); ok && strings.HasPrefix(name, "tilescout_http_requests_total") && strings.Contains(name, `code="2xx"`) && !strings.Contains(name, `route="/metrics"`) {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Error(err)
			}
			n += v
		}
	}
	return n
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
	return fmt.Sprintf("%.1f %%", 100*float64(quick)/float64(max(1, all-waited)))
}

// ticks a second of the figures in /proc; 100 on every Linux that Go runs on.
const ticks = 100

// processor is the processor time in seconds that a process has used, 0 where the system does not tell.
func processor(pid int) float64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw)[strings.LastIndexByte(string(raw), ')')+1:])
	var user, system float64
	fmt.Sscan(fields[11], &user)
	fmt.Sscan(fields[12], &system)
	return (user + system) / ticks
}

// freeProcessors is the time in seconds that the machine's processors had nothing to do.
func freeProcessors() float64 {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	var idle float64
	fmt.Sscan(strings.Fields(string(raw))[4], &idle)
	return idle / ticks
}
