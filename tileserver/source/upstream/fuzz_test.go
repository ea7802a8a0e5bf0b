package upstream

import (
	"net/http"
	"testing"
	"time"
)

// FuzzFreshness: no header makes a picture live for ever or less than no time, and what says no-store is not stored.
func FuzzFreshness(f *testing.F) {
	f.Add("max-age=3600", "5", "Tue, 24 Nov 2026 00:00:00 GMT", "Mon, 23 Nov 2026 00:00:00 GMT", "120", "")
	f.Add("s-maxage=99999999999999999999, MAX-AGE=\"1\"", "-1", "0", "", "Mon, 23 Nov 2026 00:00:00 GMT", "a=b")
	f.Add("no-store,no-cache, private=\"x,y", "18446744073709551615", "Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 0001 00:00:00 GMT", "1e9", "")
	now := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, control, age, expires, date, retry, cookie string) {
		h := http.Header{}
		for name, value := range map[string]string{"Cache-Control": control, "Age": age, "Expires": expires, "Date": date, "Retry-After": retry, "Set-Cookie": cookie} {
			if value != "" {
				h.Set(name, value)
			}
		}
		got := freshnessOf(h, now, time.Hour)
		if got.lifetime < 0 || got.lifetime > maxLifetime {
			t.Errorf("%v: lifetime %v", h, got.lifetime)
		}
		if got.store && cookie != "" {
			t.Errorf("%v: an answer to somebody's cookie is stored", h)
		}
		if wait := retryAfter(h, now); wait < 0 {
			t.Errorf("%v: wait %v", h, wait)
		}
	})
}
