package xyz_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source/xyz"
)

// TestHerd is R4: a thousand clients, one cold tile, one fetch.
func TestHerd(t *testing.T) {
	const clients = 1000
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(50 * time.Millisecond)
		ok(w, r)
	})
	src := open(t, u.URL+template, xyz.Options{Cache: cache(t)})
	var wg sync.WaitGroup
	var good atomic.Int64
	for i := range clients {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%10 == 0 {
				time.AfterFunc(10*time.Millisecond, cancel) // some clients leave
			}
			pic, err := src.Tile(ctx, tile)
			if err == nil && len(pic.Data) == len(picture) {
				good.Add(1)
			} else if i%10 != 0 || !errors.Is(err, context.Canceled) {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if got := u.requests.Load(); got != 1 {
		t.Errorf("%d fetches for %d clients, want 1", got, clients)
	}
	if got := good.Load(); got < clients*9/10 {
		t.Errorf("%d clients got the tile, want at least %d", got, clients*9/10)
	}
}

// TestLastOneOut: when everybody has left, the fetch ends, and a new client gets a new one.
func TestLastOneOut(t *testing.T) {
	started, ended := make(chan struct{}, 8), make(chan struct{}, 8)
	var slow atomic.Bool
	slow.Store(true)
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if !slow.Load() {
			ok(w, r)
			return
		}
		started <- struct{}{}
		<-r.Context().Done()
		ended <- struct{}{}
	})
	src := open(t, u.URL+template, xyz.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	for range 3 {
		go func() {
			_, err := src.Tile(ctx, tile)
			done <- err
		}()
	}
	<-started
	cancel()
	for range 3 {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Tile: %v, want context.Canceled", err)
		}
	}
	<-ended // or the test hangs
	slow.Store(false)
	if _, err := src.Tile(t.Context(), tile); err != nil {
		t.Errorf("Tile after all left: %v", err)
	}
}

func TestCloseEndsFetches(t *testing.T) {
	started := make(chan struct{})
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
	})
	src := open(t, u.URL+template, xyz.Options{})
	done := make(chan error)
	go func() {
		_, err := src.Tile(t.Context(), tile)
		done <- err
	}()
	<-started
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, tilescout.ErrUnavailable) {
		t.Errorf("Tile while closing: %v, want ErrUnavailable", err)
	}
}
