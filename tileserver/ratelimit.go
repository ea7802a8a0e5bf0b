package tileserver

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/tilescout/tilescout/internal/problem"
)

// RequestLimits bound one request and one client. A zero field means its default.
type RequestLimits struct {
	URLBytes      int           // of path and query; default 8 KiB, then 414
	Parameters    int           // of the query; default 32
	HeaderBytes   int           // of all request headers; default 16 KiB, then 431. Read when the server starts
	BodyBytes     int64         // of a request; default 8 MiB, then 413
	HeaderTimeout time.Duration // to send the headers; default 5 s. Read when the server starts
	BodyTimeout   time.Duration // to send the whole request; default 15 s. Read when the server starts
	AnswerTimeout time.Duration // to make and to take an answer that is no tile; default 90 s
	TileTimeout   time.Duration // to make and to take a tile; default 60 s: queue, render and a slow line
	Rate          Rate
}

// Rate bounds what one client costs: a token bucket. Costs: 1 what is at hand, 4 more a tile that has to be made,
// 2 an overlay tile, 20 a search, 20 a wrong key.
type Rate struct {
	PerSecond int  // default 2000, negative for no limit
	Burst     int  // default ten seconds of PerSecond
	Loopback  bool // limit clients on this machine too
}

func (l *RequestLimits) setDefaults() {
	l.URLBytes = cmp.Or(l.URLBytes, 8<<10)
	l.Parameters = cmp.Or(l.Parameters, 32)
	l.HeaderBytes = cmp.Or(l.HeaderBytes, 16<<10)
	l.BodyBytes = cmp.Or(l.BodyBytes, 8<<20)
	l.HeaderTimeout = cmp.Or(l.HeaderTimeout, 5*time.Second)
	l.BodyTimeout = cmp.Or(l.BodyTimeout, 15*time.Second)
	l.AnswerTimeout = cmp.Or(l.AnswerTimeout, 90*time.Second)
	l.TileTimeout = cmp.Or(l.TileTimeout, 60*time.Second)
	l.Rate.PerSecond = cmp.Or(l.Rate.PerSecond, 2000)
	l.Rate.Burst = cmp.Or(l.Rate.Burst, 10*l.Rate.PerSecond)
}

// Costs of SEC reference §3.
const (
	costAtHand = 1
	costMade   = 4 // on top of costAtHand
	costKey    = 20
)

var costOf = map[Class]int{Render: 5, Fetch: 5, Text: 20, Embed: 2, Scan: 20}

// maxClients bounds the memory of the limiter. Who falls out of it starts with a full bucket.
const maxClients = 65536

// limiter holds a bucket for each client, an address or, in IPv6, the /64 it may choose from.
type limiter struct {
	rate    Rate
	buckets *lru.Cache[netip.Prefix, *rate.Limiter]
}

func newLimiter(r Rate) *limiter {
	if r.PerSecond < 0 {
		return nil
	}
	buckets, err := lru.New[netip.Prefix, *rate.Limiter](maxClients)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &limiter{rate: r, buckets: buckets}
}

// take charges a client and returns 0, or how long they should wait. nil never limits.
func (l *limiter) take(ip netip.Addr, cost int) time.Duration {
	if l == nil || (ip.IsLoopback() && !l.rate.Loopback) {
		return 0
	}
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	client, err := ip.Prefix(bits)
	if err != nil { // a listener without addresses: all share one bucket
		client = netip.Prefix{}
	}
	bucket, ok := l.buckets.Get(client)
	if !ok {
		fresh := rate.NewLimiter(rate.Limit(l.rate.PerSecond), l.rate.Burst)
		if old, there, _ := l.buckets.PeekOrAdd(client, fresh); there {
			bucket = old
		} else {
			bucket = fresh
		}
	}
	now := time.Now()
	cost = min(cost, l.rate.Burst)
	if bucket.AllowN(now, cost) {
		return 0
	}
	missing := float64(cost) - bucket.TokensAt(now)
	return max(time.Second, time.Duration(missing/float64(l.rate.PerSecond)*float64(time.Second)))
}

var errTooMany = errors.New("too many requests from this address")

// charge takes a cost from the client of r; the error is a 429 with the headers that say when to come back.
func (s *site) charge(w http.ResponseWriter, r *http.Request, cost int) error {
	if s.limiter == nil {
		return nil
	}
	wait := s.limiter.take(s.address.client(r), cost)
	if wait == 0 {
		return nil
	}
	seconds := strconv.Itoa(int(math.Ceil(wait.Seconds())))
	h := w.Header()
	h.Set("Retry-After", seconds)
	// draft-ietf-httpapi-ratelimit-headers-10
	policy := s.limiter.rate
	h.Set("RateLimit-Policy", fmt.Sprintf(`"client";q=%d;w=%d`, policy.Burst, max(1, policy.Burst/max(1, policy.PerSecond))))
	h.Set("RateLimit", `"client";r=0;t=`+seconds)
	s.metrics.limited.Inc()
	return problem.WithStatus(http.StatusTooManyRequests, errTooMany)
}
