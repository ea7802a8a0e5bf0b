package tileserver_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tilescout/tilescout/tileserver"
)

// crowded is a server whose gate for tiles of files is taken and has a full queue, until the test ends.
func crowded(t testing.TB, log *slog.Logger) *tileserver.Server {
	a := tileserver.NewAdmission(map[tileserver.Class]tileserver.Gate{tileserver.Render: {Places: 1, Queue: 1, Wait: time.Hour}})
	s, err := tileserver.New(tileserver.Options{
		Layers: []tileserver.Layer{{Tiles: city()}}, Admission: a, Log: log,
		Requests: tileserver.RequestLimits{Rate: tileserver.Rate{PerSecond: -1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.ServeHTTP(httptest.NewRecorder(), tileRequest(t.Context(), 0)) // this one is at hand
	leave, err := a.Enter(t.Context(), tileserver.Render)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() { _, _ = a.Enter(ctx, tileserver.Render); close(left) }() // its error is that it left
	t.Cleanup(func() { stop(); <-left; leave() })
	for scrape(t, a, `tilescout_admission_queue_depth{class="B"}`) != "1" {
		time.Sleep(time.Millisecond)
	}
	return s
}

func tileRequest(ctx context.Context, i int) *http.Request {
	r := httptest.NewRequest(http.MethodGet, fmt.Sprintf("/tiles/city/16/%d/%d.jpg", 33000+i%64, 21000+i/64%1024), nil)
	return r.WithContext(ctx)
}

// TestRefusals: while the gate is full a tile at hand is served, any other is told to come again, and the log holds few
// of the refusals and the metric all.
func TestRefusals(t *testing.T) {
	var log bytes.Buffer
	s := crowded(t, slog.New(slog.NewJSONHandler(&log, nil)))
	log.Reset()
	const n = 2000
	for i := range n {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, tileRequest(t.Context(), i+1))
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Fatalf("tile %d = %d, Retry-After %q", i, w.Code, w.Header().Get("Retry-After"))
		}
	}
	if lines := strings.Count(log.String(), "\n"); lines == 0 || lines > n/4 || strings.Contains(log.String(), "ERROR") {
		t.Errorf("%d lines for %d refusals, want few, and none as an error: %.300s", lines, n, log.String())
	}
	w := httptest.NewRecorder()
	if s.ServeHTTP(w, tileRequest(t.Context(), 0)); w.Code != http.StatusOK {
		t.Errorf("a tile at hand = %d", w.Code)
	}
	w = httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if want := fmt.Sprintf("tilescout_admission_rejected_total{class=\"B\",reason=\"queue full\"} %d\n", n); !strings.Contains(w.Body.String(), want) {
		t.Errorf("/metrics lacks %s", want)
	}
}

// BenchmarkRefused is what a tile costs that is refused because too many are asked for (R3): it must be little beside
// what a tile costs that is made, since ten of them come for each of those.
func BenchmarkRefused(b *testing.B) {
	s := crowded(b, nil)
	b.ReportAllocs()
	i := 2
	for b.Loop() {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, tileRequest(context.Background(), i))
		if w.Code != http.StatusServiceUnavailable {
			b.Fatalf("status %d", w.Code)
		}
		i++
	}
}
