package budget_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/budget"
)

func TestNeverMoreThanThereIs(t *testing.T) {
	b := budget.New(100)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			release, err := b.Acquire(t.Context(), int64(1+i%60))
			if err != nil {
				t.Error(err)
				return
			}
			if now, _, total := b.Usage(); now > total {
				t.Errorf("%d bytes of %d in flight", now, total)
			}
			release()
			release()
		})
	}
	wg.Wait()
	if now, peak, _ := b.Usage(); now != 0 || peak == 0 || peak > 100 {
		t.Errorf("at the end %d in flight, at most %d", now, peak)
	}
}

func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget.New(100)
		if _, err := b.Acquire(t.Context(), 101); !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("more than all: %v, want ErrBadInput", err)
		}
		release, err := b.Acquire(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.Acquire(ctx, 1); !errors.Is(err, tilescout.ErrBusy) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("none free: %v, want ErrBusy with the deadline", err)
		}
		release()
		if _, err := b.Acquire(t.Context(), 1); err != nil {
			t.Error(err)
		}
	})
	var none *budget.Budget
	if release, err := none.Acquire(t.Context(), 1<<60); err != nil {
		t.Error(err)
	} else {
		release()
	}
	if got := budget.Default(400 << 20); got != 100<<20 {
		t.Errorf("Default(400 MiB) = %d", got)
	}
}

func TestShareTakesAllThereIs(t *testing.T) {
	b := budget.New(100)
	release, err := b.Share(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	if now, _, _ := b.Usage(); now != 100 {
		t.Errorf("%d bytes in flight, want all 100", now)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Share(ctx, 1); !errors.Is(err, tilescout.ErrBusy) {
		t.Errorf("while nothing is free: %v, want ErrBusy", err)
	}
	release()
	if now, _, _ := b.Usage(); now != 0 {
		t.Errorf("%d bytes in flight after release", now)
	}
	if release, err := (*budget.Budget)(nil).Share(t.Context(), 1<<40); err != nil {
		t.Error(err)
	} else {
		release()
	}
}
