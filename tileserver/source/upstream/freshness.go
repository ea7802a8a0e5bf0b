package upstream

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// freshness is what the headers of an answer say about keeping it (RFC 9111).
type freshness struct {
	lifetime time.Duration // from now on; 0 means that it must be asked for again
	stated   bool          // the origin set lifetime itself
	store    bool          // it may be written to disk
	noStale  bool          // it must not be used after its lifetime, even when the origin fails
}

const (
	dayLong     = 24 * time.Hour
	osmLifetime = 7 * dayLong  // OSM's tile policy: where no header says otherwise, at least 7 days
	maxLifetime = 90 * dayLong // longer is a mistake, or a promise that nobody will remember
)

// freshnessOf reads the headers of an answer that came at now. fallback is the lifetime where they say nothing.
// We serve many clients, so the rules are those of a shared cache.
func freshnessOf(h http.Header, now time.Time, fallback time.Duration) freshness {
	f := freshness{lifetime: fallback, store: true}
	directives := cacheControl(h)
	has := func(name string) bool { _, ok := directives[name]; return ok }
	f.noStale = has("must-revalidate") || has("proxy-revalidate") || has("no-cache")
	sent, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		sent = now
	}
	age := max(seconds(h.Get("Age")), 0)
	switch {
	case has("no-store"), has("private"), len(h.Values("Set-Cookie")) > 0:
		f.lifetime, f.stated, f.store = 0, true, false
	case has("no-cache"):
		f.lifetime, f.stated = 0, true
	case seconds(directives["s-maxage"]) >= 0:
		f.lifetime, f.stated = seconds(directives["s-maxage"])-age, true
	case seconds(directives["max-age"]) >= 0:
		f.lifetime, f.stated = seconds(directives["max-age"])-age, true
	case h.Get("Expires") != "":
		// An Expires that is no date (0, -1) means the past.
		f.lifetime, f.stated = 0, true
		if expires, err := http.ParseTime(h.Get("Expires")); err == nil {
			f.lifetime = expires.Sub(sent) - age
		}
	}
	f.lifetime = min(max(f.lifetime, 0), maxLifetime)
	return f
}

// cacheControl returns the directives in lower case; one without a value has "".
func cacheControl(h http.Header) map[string]string {
	directives := map[string]string{}
	for _, line := range h.Values("Cache-Control") {
		for d := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(d), "=")
			directives[strings.ToLower(name)] = strings.Trim(value, `"`)
		}
	}
	return directives
}

// seconds returns a delta-seconds as a duration, -1 where it is none.
func seconds(s string) time.Duration {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 64)
	if err != nil {
		return -1
	}
	return time.Duration(min(n, math.MaxInt32)) * time.Second
}

// retryAfter returns how long an answer asks to wait: seconds or a date, 0 where it says nothing.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if d := seconds(value); d >= 0 {
		return d
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
