package upstream

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/tilescout/tilescout"
)

// Hosts bounds what all sources of a program ask of all upstreams together. Make one and give it to every source.
type Hosts struct {
	total *semaphore.Weighted

	mu     sync.Mutex // guards byName
	byName map[string]*host
}

const (
	totalRequests  = 64  // in flight, all upstreams together
	hostRequests   = 8   // in flight, one upstream
	publicRequests = 2   // in flight, one upstream that volunteers run: what OSM's tile policy asks
	hostQueue      = 256 // tiles that wait for one upstream
)

// NewHosts returns limits with nothing in flight.
func NewHosts() *Hosts {
	return &Hosts{total: semaphore.NewWeighted(totalRequests), byName: map[string]*host{}}
}

// publicHosts run on donations; each stands for its subdomains too.
var publicHosts = []string{
	osm, "openstreetmap.de", "openstreetmap.fr", "openstreetmap.bzh", "opentopomap.org", "osm.ch", "osmand.net",
	"waymarkedtrails.org", "opensnowmap.org", "openrailwaymap.org", "openseamap.org", "cyclosm.org", "memomaps.de", "wmflabs.org",
}

const osm = "openstreetmap.org"

// HostName returns the name in a host of a template: without port, without brackets.
func HostName(templateHost string) string {
	if inside, ok := strings.CutPrefix(templateHost, "["); ok {
		inside, _, _ = strings.Cut(inside, "]")
		return inside
	}
	name, _, _ := strings.Cut(templateHost, ":")
	return strings.TrimSuffix(name, ".")
}

func within(name, domain string) bool { return name == domain || strings.HasSuffix(name, "."+domain) }

// IsOSM tells whether a host serves the tiles of openstreetmap.org, whose policy asks for more than most.
func IsOSM(templateHost string) bool { return within(HostName(templateHost), osm) }

func isPublic(templateHost string) bool {
	for _, domain := range publicHosts {
		if within(HostName(templateHost), domain) {
			return true
		}
	}
	return false
}

// get returns the state of one upstream; requests is used when it is asked for the first time.
func (h *Hosts) get(templateHost string, requests int) *host {
	switch {
	case IsOSM(templateHost):
		templateHost = osm // its subdomains are one service
		requests = publicRequests
	case requests > 0:
	case isPublic(templateHost):
		requests = publicRequests
	default:
		requests = hostRequests
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	one := h.byName[templateHost]
	if one == nil {
		one = &host{name: templateHost, total: h.total, slots: semaphore.NewWeighted(int64(requests))}
		h.byName[templateHost] = one
	}
	return one
}

// HostStatus is the state of one upstream, for metrics.
type HostStatus struct {
	Host     string    // with * where a placeholder stands
	Circuit  string    // closed: asked; open: left alone; half-open: one request tries
	Until    time.Time // the circuit stays open, or the host asked for quiet; zero if neither
	InFlight int       // requests on their way
	Waiting  int       // for a free request
	Requests int64     // sent since the start
	Failed   int64     // of them without an answer, or with 5xx
	Opened   int64     // times that the circuit broke
	Stale    int64     // pictures shown from what is kept because the host failed or was slow
}

// Status returns the state of every upstream that has been asked for, by name.
func (h *Hosts) Status() []HostStatus {
	h.mu.Lock()
	var list []*host
	for _, one := range h.byName {
		list = append(list, one)
	}
	h.mu.Unlock()
	out := make([]HostStatus, 0, len(list))
	now := time.Now()
	for _, one := range list {
		out = append(out, one.status(now))
	}
	slices.SortFunc(out, func(a, b HostStatus) int { return cmp.Compare(a.Host, b.Host) })
	return out
}

func (h *host) status(now time.Time) HostStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := HostStatus{
		Host: h.name, Circuit: "closed", InFlight: h.inFlight, Waiting: h.waiting,
		Requests: h.asked.Load(), Failed: h.failed, Opened: h.opened, Stale: h.stale.Load(),
	}
	switch {
	case h.open.IsZero():
	case now.Before(h.open):
		s.Circuit, s.Until = "open", h.open
	default:
		s.Circuit = "half-open"
	}
	if now.Before(h.pause) && h.pause.After(s.Until) {
		s.Until = h.pause
	}
	return s
}

// host is one upstream: its slots, its queue, and whether it is in a state to be asked.
type host struct {
	name  string
	total *semaphore.Weighted
	slots *semaphore.Weighted
	asked atomic.Int64 // requests sent
	stale atomic.Int64 // pictures shown from what is kept because the host failed

	mu       sync.Mutex // guards all below
	waiting  int
	pause    time.Time   // it asked not to be asked before
	failures []time.Time // recent ones, oldest first
	open     time.Time   // the circuit is open until then; zero when closed
	trying   bool        // half-open: one request is on its way
	inFlight int
	failed   int64 // requests without an answer, or with 5xx
	opened   int64 // times that the circuit broke
}

// The circuit breaker: after breakAfter failures within breakWithin, nothing is asked for breakFor, then one tile.
const (
	breakAfter  = 5
	breakWithin = 10 * time.Second
	breakFor    = 30 * time.Second
)

// enter waits for a slot, at most wait. leave gives it back.
func (h *host) enter(ctx context.Context, wait time.Duration) (leave func(), err error) {
	h.mu.Lock()
	if h.waiting >= hostQueue {
		h.mu.Unlock()
		return nil, fmt.Errorf("%d tiles wait for %s already: %w", hostQueue, h.name, tilescout.ErrBusy)
	}
	h.waiting++
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		h.waiting--
		h.mu.Unlock()
	}()
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := h.slots.Acquire(limited, 1); err != nil {
		return nil, h.waited(ctx, wait)
	}
	if err := h.total.Acquire(limited, 1); err != nil {
		h.slots.Release(1)
		return nil, h.waited(ctx, wait)
	}
	h.count(1)
	return func() {
		h.count(-1)
		h.total.Release(1)
		h.slots.Release(1)
	}, nil
}

func (h *host) count(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inFlight += n
}

func (h *host) waited(ctx context.Context, wait time.Duration) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("no request to %s became free within %v: %w", h.name, wait, tilescout.ErrBusy)
}

// ready tells how long to wait before asking, or why not to ask at all. After nil the caller owes a call of done.
func (h *host) ready(now time.Time) (wait time.Duration, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Before(h.pause) {
		return h.pause.Sub(now), nil
	}
	switch {
	case h.open.IsZero():
		return 0, nil
	case now.Before(h.open):
		return 0, fmt.Errorf("%s failed %d times in a row, it is asked again in %v: %w", h.name, breakAfter, h.open.Sub(now).Round(time.Second), tilescout.ErrUpstream)
	case h.trying:
		return 0, fmt.Errorf("%s failed, one tile is trying it again now: %w", h.name, tilescout.ErrUpstream)
	}
	h.trying = true
	return 0, nil
}

// Outcomes of one request, for the circuit breaker.
type outcome int

const (
	fine    outcome = iota // it answered, be it 404
	failed                 // it did not answer, or answered 5xx
	unknown                // nobody waited for the answer
)

func (h *host) done(now time.Time, o outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	wasTrying := h.trying
	h.trying = false
	switch o {
	case fine:
		h.failures, h.open = h.failures[:0], time.Time{}
	case failed:
		h.failed++
		if wasTrying {
			h.opened++
			h.open = now.Add(breakFor)
			return
		}
		h.failures = append(h.failures, now)
		if over := len(h.failures) - breakAfter; over > 0 {
			h.failures = append(h.failures[:0], h.failures[over:]...)
		}
		if len(h.failures) == breakAfter && now.Sub(h.failures[0]) <= breakWithin {
			h.failures, h.open = h.failures[:0], now.Add(breakFor)
			h.opened++
		}
	}
}

// holdOff keeps requests back until then.
func (h *host) holdOff(until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if until.After(h.pause) {
		h.pause = until
	}
}
