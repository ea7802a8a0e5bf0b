package tileserver

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tilescout/tilescout"
)

// gate admits a bounded number at a time and lets a bounded number more wait for a bounded time, in order.
// Map clients do not retry (GIS reference §1), so on tile paths the queue comes first and ErrBusy is the end of it.
type gate struct {
	class   string // in messages and metrics
	slots   chan struct{}
	queue   int64
	wait    time.Duration
	waiting atomic.Int64

	rejected *prometheus.CounterVec // class, reason
	waited   prometheus.Observer    // seconds
}

// Classes of SEC reference §3: B reads, renders or converts on our processors; C waits for a network.
func newGates(m *metrics) (render, fetch *gate) {
	n := 2 * runtime.GOMAXPROCS(0)
	return newGate("B", n, 8*n, 2*time.Second, m), newGate("C", 64, 256, 10*time.Second, m)
}

func newGate(class string, slots, queue int, wait time.Duration, m *metrics) *gate {
	g := &gate{class: class, slots: make(chan struct{}, slots), queue: int64(queue), wait: wait,
		rejected: m.rejected, waited: m.queueWait.WithLabelValues(class)}
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tilescout_admission_queue_depth", Help: "Requests that wait to be admitted.",
		ConstLabels: prometheus.Labels{"class": class},
	}, func() float64 { return float64(g.waiting.Load()) }))
	return g
}

// enter waits for a slot; the caller calls leave when it is done. ErrBusy if the queue is full or the wait too long.
func (g *gate) enter(ctx context.Context) error {
	select {
	case g.slots <- struct{}{}:
		return nil
	default:
	}
	if g.waiting.Add(1) > g.queue {
		g.waiting.Add(-1)
		g.rejected.WithLabelValues(g.class, "queue full").Inc()
		return fmt.Errorf("too many tiles asked for at once: %w", tilescout.ErrBusy)
	}
	defer g.waiting.Add(-1)
	began := time.Now()
	timer := time.NewTimer(g.wait)
	defer timer.Stop()
	select {
	case g.slots <- struct{}{}:
		g.waited.Observe(time.Since(began).Seconds())
		return nil
	case <-timer.C:
		g.rejected.WithLabelValues(g.class, "wait").Inc()
		return fmt.Errorf("waited %v for a free place: %w", g.wait, tilescout.ErrBusy)
	case <-ctx.Done():
		return fmt.Errorf("wait for a free place: %w", ctx.Err())
	}
}

func (g *gate) leave() { <-g.slots }
