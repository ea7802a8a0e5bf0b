package tileserver_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver"
)

func gates(places, queue int, wait time.Duration) *tileserver.Admission {
	return tileserver.NewAdmission(map[tileserver.Class]tileserver.Gate{tileserver.Scan: {Places: places, Queue: queue, Wait: wait}})
}

// TestAdmissionQueues: places first, then the queue in order, then ErrBusy at once.
func TestAdmissionQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := gates(1, 2, time.Hour)
		leave, err := a.Enter(t.Context(), tileserver.Scan)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var order []int
		for i := range 2 {
			go func() {
				out, err := a.Enter(t.Context(), tileserver.Scan)
				if err != nil {
					t.Errorf("waiter %d: %v", i, err)
					return
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				out()
			}()
			synctest.Wait()
		}
		began := time.Now()
		if _, err := a.Enter(t.Context(), tileserver.Scan); !errors.Is(err, tilescout.ErrBusy) {
			t.Errorf("past the queue: %v, want ErrBusy", err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("refused after %v, want at once", took)
		}
		if got := scrape(t, a, `tilescout_admission_queue_depth{class="F"}`); got != "2" {
			t.Errorf("queue depth %s, want 2", got)
		}
		leave()
		leave() // twice is once
		synctest.Wait()
		if len(order) != 2 || order[0] != 0 {
			t.Errorf("admitted in the order %v, want 0 1", order)
		}
	})
}

// TestAdmissionForgetsWhoLeft: a client that leaves frees its place in the queue at once.
func TestAdmissionForgetsWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := gates(1, 1, time.Hour)
		leave, _ := a.Enter(t.Context(), tileserver.Scan)
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { _, err := a.Enter(ctx, tileserver.Scan); left <- err }()
		synctest.Wait()
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) || errors.Is(err, tilescout.ErrBusy) {
			t.Errorf("who left got %v, want Canceled", err)
		}
		next := make(chan error, 1)
		go func() {
			out, err := a.Enter(t.Context(), tileserver.Scan)
			if err == nil {
				out()
			}
			next <- err
		}()
		synctest.Wait()
		leave()
		if err := <-next; err != nil {
			t.Errorf("the next one: %v", err)
		}
	})
}

// TestAdmissionWaits: the wait is bounded, and who would wait in vain is told at once.
func TestAdmissionWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := gates(1, 100, 3*time.Second)
		// The gate learns that a place is kept for two seconds.
		for range 3 {
			leave, err := a.Enter(t.Context(), tileserver.Scan)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			leave()
		}
		hold, _ := a.Enter(t.Context(), tileserver.Scan)
		first := make(chan time.Duration, 1)
		go func() {
			began := time.Now()
			if _, err := a.Enter(t.Context(), tileserver.Scan); !errors.Is(err, tilescout.ErrBusy) {
				t.Errorf("first in the queue: %v, want ErrBusy", err)
			}
			first <- time.Since(began)
		}()
		synctest.Wait()
		began := time.Now()
		if _, err := a.Enter(t.Context(), tileserver.Scan); !errors.Is(err, tilescout.ErrBusy) || time.Since(began) != 0 {
			t.Errorf("second in the queue: %v after %v, want ErrBusy at once: it would wait 4 s of 3 s", err, time.Since(began))
		}
		if got := <-first; got != 3*time.Second {
			t.Errorf("first in the queue waited %v, want 3s", got)
		}
		hold()
		for reason, want := range map[string]string{"wait": "1", "queue too slow": "1", "queue full": "0"} {
			if got := scrape(t, a, `tilescout_admission_rejected_total{class="F",reason="`+reason+`"}`); got != want {
				t.Errorf("rejected for %q: %s, want %s", reason, got, want)
			}
		}
	})
}

// scrape returns the value of one line of a collector, like name{class="F"}.
func scrape(t testing.TB, c prometheus.Collector, line string) string {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			if f.GetName()+"{"+strings.Join(labels, ",")+"}" == line {
				return fmt.Sprint(m.GetCounter().GetValue() + m.GetGauge().GetValue())
			}
		}
	}
	return "no line " + line
}
