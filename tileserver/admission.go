package tileserver

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/cores"
	"github.com/tilescout/tilescout/internal/problem"
)

// Class is what a request costs (SEC reference §3). Each class has its own places and its own queue, so that one kind
// of load cannot take what another needs. What costs nothing (cached tiles, metadata, files) has no class.
type Class string

// The classes of cost.
const (
	Render Class = "B" // reads, draws or converts a tile: our processors
	Fetch  Class = "C" // waits for another server
	Text   Class = "D" // embeds a new prompt
	Embed  Class = "E" // may embed pictures: overlays, classification, pictures as questions
	Scan   Class = "F" // scans a whole index
)

// Gate bounds one class. A zero field means the default of its class.
type Gate struct {
	Places int           // weight at work at once
	Queue  int           // that may wait
	Wait   time.Duration // how long they wait at most
}

// DefaultGates are the bounds of SEC reference §3. Map clients do not retry (GIS reference §1), so that tiles wait
// before they are refused, and E, which overlay tiles are in, has more places: they mostly wait for the encoder.
func DefaultGates() map[Class]Gate {
	n := cores.N()
	return map[Class]Gate{
		Render: {2 * n, 16 * n, 2 * time.Second},
		Fetch:  {64, 256, 10 * time.Second},
		Text:   {1, 64, 2 * time.Second},
		Embed:  {64, 512, 5 * time.Second},
		Scan:   {max(1, n/2), 16, 3 * time.Second},
	}
}

// Admission holds the gates of all classes. It is a prometheus.Collector. Safe for concurrent use.
type Admission struct {
	gates    map[Class]*gate
	rejected *prometheus.CounterVec   // class, reason
	waited   *prometheus.HistogramVec // class; seconds
}

// NewAdmission returns gates with the given bounds, and the defaults where there are none.
func NewAdmission(bounds map[Class]Gate) *Admission {
	a := &Admission{
		gates: map[Class]*gate{},
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tilescout_admission_rejected_total",
			Help: "Requests sent away by a full or slow queue."}, []string{"class", "reason"}),
		waited: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "tilescout_admission_queue_wait_seconds",
			Help: "Time in the queue of those admitted after waiting.", Buckets: secondBuckets}, []string{"class"}),
	}
	for class, def := range DefaultGates() {
		b := bounds[class]
		places := cmp.Or(b.Places, def.Places)
		a.gates[class] = &gate{
			class: class, places: int64(places), slots: semaphore.NewWeighted(int64(places)),
			queue: int64(cmp.Or(b.Queue, def.Queue)), wait: cmp.Or(b.Wait, def.Wait),
			rejected: a.rejected, waited: a.waited.WithLabelValues(string(class)),
		}
		for _, reason := range []string{reasonFull, reasonSlow, reasonWait} {
			a.rejected.WithLabelValues(string(class), reason)
		}
	}
	return a
}

// Enter waits for a place of a class and returns what gives it back. It is ErrBusy if the queue is full or the wait
// too long, and the context's error if whoever asked has left, which frees their place in the queue at once.
func (a *Admission) Enter(ctx context.Context, class Class) (leave func(), err error) {
	g, ok := a.gates[class]
	if !ok {
		return func() {}, nil
	}
	return g.enter(ctx, 1)
}

var descDepth = prometheus.NewDesc("tilescout_admission_queue_depth", "Requests that wait to be admitted.", []string{"class"}, nil)

// Describe implements prometheus.Collector.
func (a *Admission) Describe(ch chan<- *prometheus.Desc) {
	ch <- descDepth
	a.rejected.Describe(ch)
	a.waited.Describe(ch)
}

// Collect implements prometheus.Collector.
func (a *Admission) Collect(ch chan<- prometheus.Metric) {
	for _, class := range slices.Sorted(maps.Keys(a.gates)) {
		ch <- prometheus.MustNewConstMetric(descDepth, prometheus.GaugeValue, float64(a.gates[class].waiting.Load()), string(class))
	}
	a.rejected.Collect(ch)
	a.waited.Collect(ch)
}

// Why a gate sends somebody away.
const (
	reasonFull = "queue full"
	reasonSlow = "queue too slow" // the queue moves, but not fast enough for the one who came last
	reasonWait = "wait"
)

// gate admits a bounded weight at a time and lets a bounded number more wait for a bounded time, in order.
type gate struct {
	class   Class
	places  int64
	slots   *semaphore.Weighted
	queue   int64
	wait    time.Duration
	waiting atomic.Int64
	holding atomic.Uint64 // bits of a float64: seconds that a unit of weight keeps its place, of late

	rejected *prometheus.CounterVec
	waited   prometheus.Observer
}

// enter waits for places of a weight, at most all there are.
func (g *gate) enter(ctx context.Context, weight int) (leave func(), err error) {
	n := min(int64(max(weight, 1)), g.places)
	if g.slots.TryAcquire(n) {
		return g.leaver(n), nil
	}
	queued := g.waiting.Add(1)
	defer g.waiting.Add(-1)
	switch {
	case queued > g.queue:
		return nil, g.refuse(reasonFull, "too many requests at once")
	case queued > g.places && g.expected(queued) > g.wait:
		// Waiting in vain helps nobody, and whoever is told at once can ask elsewhere. The first in the queue may
		// always wait: one slow request before them says little.
		return nil, g.refuse(reasonSlow, "too many requests at once")
	}
	began := time.Now()
	timed, cancel := context.WithTimeout(ctx, g.wait)
	defer cancel()
	if err := g.slots.Acquire(timed, n); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("wait for a free place: %w", ctx.Err())
		}
		return nil, g.refuse(reasonWait, fmt.Sprintf("waited %v for a free place", g.wait))
	}
	g.waited.Observe(time.Since(began).Seconds())
	return g.leaver(n), nil
}

// full says whether somebody who came now would be refused at once.
func (g *gate) full() bool {
	queued := g.waiting.Load() + 1
	if queued == 1 {
		return false // nobody waits: there may be places
	}
	return queued > g.queue || queued > g.places && g.expected(queued) > g.wait
}

func (g *gate) refuse(reason, text string) error {
	g.rejected.WithLabelValues(string(g.class), reason).Inc()
	return fmt.Errorf("%s: %w", text, tilescout.ErrBusy)
}

// expected is how long the one in the queue at that position will wait if the others take as long as those before.
func (g *gate) expected(position int64) time.Duration {
	held := math.Float64frombits(g.holding.Load())
	return time.Duration(held * float64(position) / float64(g.places) * float64(time.Second))
}

// leaver returns what gives a place back, once, and learns how long it was held.
func (g *gate) leaver(n int64) func() {
	began := time.Now()
	var left atomic.Bool
	return func() {
		if left.Swap(true) {
			return
		}
		took := time.Since(began).Seconds() * float64(n)
		for {
			old := g.holding.Load()
			mean := math.Float64frombits(old)
			if mean == 0 {
				mean = took
			}
			// Over the last ten or so, fewer when it gets better: an old slow spell must not refuse anybody.
			share := .1
			if took < mean {
				share = .3
			}
			if g.holding.CompareAndSwap(old, math.Float64bits(mean+(took-mean)*share)) {
				break
			}
		}
		g.slots.Release(n)
	}
}

// admit holds back the routes mounted by Options.Register by their class.
func (s *site) admit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		route := mux.CurrentRoute(r)
		if route == nil {
			next.ServeHTTP(w, r)
			return
		}
		class, ok := s.options.Classes[route.GetName()]
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		if err := s.charge(w, r, costOf[class]-costAtHand); err != nil {
			problem.Write(w, r, err)
			return
		}
		leave, err := s.admission.Enter(r.Context(), class)
		if err != nil {
			problem.Write(w, r, err)
			return
		}
		defer leave()
		next.ServeHTTP(w, r)
	})
}
