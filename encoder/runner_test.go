package encoder

import (
	"context"
	"errors"
	"testing"

	"github.com/tilescout/tilescout"
)

// idleRunner has queues but no goroutine, so that a test can fill them and look at what is taken.
func idleRunner() *runner {
	return &runner{
		most:        backgroundBatch,
		interactive: make(chan *job, queueLength), background: make(chan *job, queueLength), texts: make(chan *textJob, textQueueLength),
		size: 8, dimension: 4,
	}
}

func TestPriority(t *testing.T) {
	r := idleRunner()
	if _, any := r.next(); any {
		t.Fatal("next() finds something in empty queues")
	}
	for range 100 {
		r.submit(&job{ctx: t.Context()}, Interactive)
		r.submit(&job{ctx: t.Context()}, Background)
	}
	// Eight of the impatient, then one of the patient, who else would starve under a busy map.
	var order []Priority
	for {
		p, any := r.next()
		if !any {
			break
		}
		order = append(order, p)
		batch := r.gather(nil, p)
		limit := interactiveBatch
		if p == Background {
			limit = backgroundBatch
		}
		if len(batch) == 0 || len(batch) > limit {
			t.Fatalf("a batch of %d with priority %d", len(batch), p)
		}
	}
	for i, p := range order[:10] {
		want := Interactive
		if i == fairness {
			want = Background
		}
		if p != want {
			t.Errorf("batch %d has priority %d, want %d (all: %v)", i, p, want, order)
		}
	}
}

// TestGatherDropsCancelled: the model does not run for callers who have left.
func TestGatherDropsCancelled(t *testing.T) {
	r := idleRunner()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	var dropped int
	for i := range 6 {
		ctx := t.Context()
		if i%2 == 0 {
			ctx = gone
		}
		r.submit(&job{ctx: ctx, pixels: make([]byte, 4), done: func(_ []float32, err error) {
			if errors.Is(err, context.Canceled) {
				dropped++
			}
		}}, Interactive)
	}
	if batch := r.gather(nil, Interactive); len(batch) != 3 || dropped != 3 {
		t.Errorf("a batch of %d with %d dropped, want 3 and 3", len(batch), dropped)
	}
}

// TestGatherWaits: a batch waits for pictures that are being decoded, and only for those of its own priority.
func TestGatherWaits(t *testing.T) {
	r := idleRunner()
	r.stats.decoding[Interactive].Add(1)
	first := []*job{{ctx: t.Context()}}
	go r.submit(&job{ctx: t.Context()}, Interactive)
	if batch := r.gather(first, Interactive); len(batch) != 2 {
		t.Logf("the second picture came after the window: a batch of %d", len(batch))
	}
	if batch := r.gather(first, Background); len(batch) != 1 {
		t.Errorf("a batch of %d, want the one picture", len(batch))
	}
}

func TestQueueFull(t *testing.T) {
	r := idleRunner()
	for i := range queueLength {
		if err := r.submit(&job{}, Background); err != nil {
			t.Fatalf("picture %d: %v", i, err)
		}
	}
	if err := r.submit(&job{}, Background); !errors.Is(err, tilescout.ErrBusy) {
		t.Errorf("submit to a full queue: %v, want %v", err, tilescout.ErrBusy)
	}
	if err := r.submit(&job{}, Interactive); err != nil {
		t.Errorf("a full queue of the background shuts the other: %v", err)
	}
	r.closed = true
	if err := r.submit(&job{}, Interactive); !errors.Is(err, tilescout.ErrUnavailable) {
		t.Errorf("submit to a closed runner: %v, want %v", err, tilescout.ErrUnavailable)
	}
}

func TestUnit(t *testing.T) {
	v := []float32{0.6, 0.81}
	if err := unit(v); err != nil {
		t.Error(err)
	}
	if n := float64(v[0])*float64(v[0]) + float64(v[1])*float64(v[1]); n < 0.999999 || n > 1.000001 {
		t.Errorf("unit leaves norm² %v", n)
	}
	zero, nan := []float32{0, 0}, []float32{0, 0}
	nan[0] /= zero[1] // 0/0
	for _, bad := range [][]float32{zero, nan, {5, 5}} {
		if err := unit(bad); err == nil {
			t.Errorf("unit(%v) finds nothing wrong", bad)
		}
	}
}
