package main

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// These tests are make load: they take time and print figures, which are ratios taken side by side in one run. On a
// machine that does other work they only orient, so the tests assert little.

func needLoad(t *testing.T) {
	t.Helper()
	if os.Getenv("TILESCOUT_LOAD") == "" {
		t.Skip("takes time: make load")
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
