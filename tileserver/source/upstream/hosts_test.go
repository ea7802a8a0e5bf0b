package upstream

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
)

// TestBreakerHalfOpen walks the circuit through its states on a clock of its own.
func TestBreakerHalfOpen(t *testing.T) {
	h := NewHosts().get("h.example", 0)
	now := time.Unix(1e9, 0)
	ask := func(want bool) {
		t.Helper()
		if _, err := h.ready(now); (err == nil) != want || err != nil && !errors.Is(err, tilescout.ErrUpstream) {
			t.Errorf("ready: %v, want success %v", err, want)
		}
	}
	for range breakAfter {
		ask(true)
		h.done(now, failed)
		now = now.Add(time.Second)
	}
	ask(false)
	now = now.Add(breakFor)
	ask(true)  // one may try
	ask(false) // and only one
	h.done(now, failed)
	ask(false)
	now = now.Add(breakFor)
	ask(true)
	h.done(now, unknown) // its caller left: no verdict, the next may try
	ask(true)
	h.done(now, fine)
	ask(true)
	ask(true)
}

func TestBreakerForgetsOldFailures(t *testing.T) {
	h := NewHosts().get("h.example", 0)
	now := time.Unix(1e9, 0)
	for range 3 * breakAfter {
		if _, err := h.ready(now); err != nil {
			t.Fatalf("open after failures that lie apart: %v", err)
		}
		h.done(now, failed)
		now = now.Add(breakWithin)
	}
}

func TestRequestsPerHost(t *testing.T) {
	for _, c := range []struct {
		host  string
		given int
		want  int64
	}{
		{"h.example", 0, 8}, {"h.example", 3, 3},
		{"*.tile.openstreetmap.org", 0, 2}, {"tile.openstreetmap.org:443", 9, 2}, {"notopenstreetmap.org", 0, 8},
		{"*.tile.opentopomap.org", 0, 2}, {"*.tile.opentopomap.org", 5, 5},
	} {
		h := NewHosts().get(c.host, c.given)
		if !h.slots.TryAcquire(c.want) || h.slots.TryAcquire(1) {
			t.Errorf("%s with maxConcurrency %d: not exactly %d requests", c.host, c.given, c.want)
		}
	}
	hosts := NewHosts()
	if hosts.get("*.tile.openstreetmap.org", 0) != hosts.get("tile.openstreetmap.org", 0) {
		t.Error("two names of OSM's tiles have limits of their own")
	}
}

// TestOSMIsKeptSevenDays: what its tile policy asks where no header says how long.
func TestOSMIsKeptSevenDays(t *testing.T) {
	for template, want := range map[string]time.Duration{
		"https://tile.openstreetmap.org/{z}/{x}/{y}.png": 7 * 24 * time.Hour,
		"https://h.example/{z}/{x}/{y}.png":              24 * time.Hour,
	} {
		c, err := NewClient(source.Spec{ID: "t"}, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		u, _ := url.Parse(template)
		s, err := c.NewFetcher(source.Spec{ID: "t"}, u.Host, "1")
		if err != nil {
			t.Fatal(err)
		}
		if got := freshnessOf(http.Header{}, time.Now(), s.fallback); got.lifetime != want || got.stated || !got.store || got.noStale {
			t.Errorf("%s: %+v, want %v, not stated", template, got, want)
		}
	}
}
