package upstream

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/reject"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/diskcache"
)

// maxTries is one request and two retries.
const maxTries = 3

// answer is what the upstream said to one request that worked.
type answer struct {
	header    http.Header
	data      []byte // nil if unchanged
	mediaType string
	unchanged bool // 304
}

// failure is why a request did not work. It wraps an error kind.
type failure struct {
	err   error
	retry bool          // the same request may work soon
	after time.Duration // the upstream named that time
	asked bool          // a request went out
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// fetch asks the upstream for r, with the validators of known if that is not nil, and again where that may help.
func (s *Fetcher) fetch(ctx context.Context, r Request, known *diskcache.Entry) (answer, error) {
	backoff := s.o.Backoff
	for try := 1; ; try++ {
		a, f := s.attempt(ctx, r, known)
		if f == nil {
			return a, nil
		}
		if !f.retry || try == maxTries {
			return answer{}, f
		}
		// Half to one and a half times, so that many tiles that failed together do not come back together.
		wait := max(backoff/2+rand.N(backoff), f.after)
		backoff *= 2
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
			return answer{}, f
		}
		if sleep(ctx, wait) != nil {
			return answer{}, f
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// attempt makes one request, once host, rate and circuit allow it.
func (s *Fetcher) attempt(ctx context.Context, r Request, known *diskcache.Entry) (answer, *failure) {
	if err := s.blocked(); err != nil {
		return answer{}, &failure{err: err}
	}
	leave, err := s.host.enter(ctx, s.o.QueueTimeout)
	if err != nil {
		return answer{}, &failure{err: s.kind(ctx, err)}
	}
	defer leave()
	if err := s.rate.Wait(ctx); err != nil {
		return answer{}, &failure{err: fmt.Errorf("maxRPS of %s leaves no room in time: %w", s.host.name, tilescout.ErrBusy)}
	}
	for {
		wait, err := s.host.ready(time.Now())
		if err != nil {
			return answer{}, &failure{err: err}
		}
		if wait == 0 {
			break
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
			return answer{}, &failure{err: fmt.Errorf("%s asks not to be asked for %v: %w", s.host.name, wait.Round(time.Second), tilescout.ErrUpstream)}
		}
		if err := sleep(ctx, wait); err != nil {
			return answer{}, &failure{err: s.kind(ctx, err)}
		}
	}
	result := unknown
	defer func() { s.host.done(time.Now(), result) }()
	a, f := s.request(ctx, r, known)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
	case f != nil && f.retry && f.after == 0:
		result = failed
	default:
		result = fine
	}
	return a, f
}

// kind makes an end of the flight's own time an upstream failure: no caller set that limit.
func (s *Fetcher) kind(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v: %w", s.o.TotalTimeout, tilescout.ErrUpstream)
	}
	return err
}

func (s *Fetcher) request(ctx context.Context, r Request, known *diskcache.Entry) (answer, *failure) {
	fail := func(retry bool, format string, args ...any) (answer, *failure) {
		err := fmt.Errorf(format+": %w", append(args, tilescout.ErrUpstream)...)
		return answer{}, &failure{err: err, retry: retry, asked: true}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL(), nil)
	if err != nil {
		return fail(false, "there is no URL for this tile")
	}
	req.Header = s.client.header(req.URL.Host, acceptPictures)
	if known != nil {
		if known.ETag != "" {
			req.Header.Set("If-None-Match", known.ETag)
		}
		if known.LastModified != "" {
			req.Header.Set("If-Modified-Since", known.LastModified)
		}
	}
	s.requests.Add(1)
	s.host.asked.Add(1)
	resp, err := s.client.http.Do(req)
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return answer{}, &failure{err: ctx.Err(), asked: true}
		}
		_, refused := reject.Of(err)
		return fail(!refused && !errors.Is(err, errRedirect), "%s", plain(err, s.o))
	}
	defer resp.Body.Close()

	switch code := resp.StatusCode; {
	case code == http.StatusOK:
	case code == http.StatusNotModified && known != nil:
		return answer{header: resp.Header, unchanged: true}, nil
	case code == http.StatusNotFound, code == http.StatusNoContent, code == http.StatusGone:
		return answer{}, &failure{err: fmt.Errorf("upstream answered %d: %w", code, tilescout.ErrNotFound), asked: true}
	case code == http.StatusForbidden && s.worked.Load() && objectMissing(resp):
		return answer{}, &failure{err: fmt.Errorf("upstream has no such object: %w", tilescout.ErrNotFound), asked: true}
	case code == http.StatusUnauthorized, code == http.StatusPaymentRequired, code == http.StatusForbidden, code == http.StatusTeapot:
		return answer{}, &failure{err: s.block(code), asked: true}
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "":
		after := retryAfter(resp.Header, time.Now())
		if after == 0 {
			after = time.Second
		}
		s.host.holdOff(time.Now().Add(min(after, s.o.BlockTime)))
		_, f := fail(true, "upstream answered %d, it asks to wait %v", code, after)
		f.after = after
		return answer{}, f
	case code >= 500, code == http.StatusRequestTimeout:
		return fail(true, "upstream answered %d", code)
	default:
		return fail(false, "upstream answered %d", code)
	}
	data, err := readBody(resp, int64(cmp.Or(max(s.o.Limits.MaxBytes, 0), maxTile)))
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return answer{}, &failure{err: ctx.Err(), asked: true}
	case errors.Is(err, errTooLarge):
		return fail(false, "%v", err)
	case err != nil:
		return fail(true, "the answer breaks off: %s", plain(err, s.o))
	}
	shape, err := source.Check(data, s.o.Limits)
	if err != nil {
		if text := ExceptionText(data); text != "" {
			return fail(false, "upstream says: %s", s.client.clean(text))
		}
		// Of the wrong kind for us here: it is the upstream that failed, not the caller's input.
		return fail(false, "%s", strings.TrimSuffix(err.Error(), ": "+tilescout.ErrBadInput.Error()))
	}
	s.worked.Store(true)
	return answer{header: resp.Header, data: data, mediaType: shape.MediaType}, nil
}

var errTooLarge = errors.New("the answer is too large")

const maxTile = 8 << 20 // bytes of a picture

// readBody returns the body, up to most bytes, unpacked if it is gzip although nobody asked for that.
func readBody(resp *http.Response, most int64) ([]byte, error) {
	if resp.ContentLength > most {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", errTooLarge, resp.ContentLength, most)
	}
	var body io.Reader = resp.Body
	switch encoding := strings.ToLower(resp.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(io.LimitReader(body, most+1))
		if err != nil {
			return nil, err
		}
		body = z
	default:
		return nil, fmt.Errorf("%w to read: its encoding is %s", errTooLarge, strconv.Quote(encoding[:min(len(encoding), 40)]))
	}
	var b bytes.Buffer
	// What the upstream promises is believed only up to here; more must come first.
	b.Grow(int(min(max(resp.ContentLength, 0), 128<<10)) + bytes.MinRead)
	if _, err := b.ReadFrom(io.LimitReader(body, most+1)); err != nil {
		return nil, err
	}
	if int64(b.Len()) > most {
		return nil, fmt.Errorf("%w: more than %d bytes", errTooLarge, most)
	}
	return b.Bytes(), nil
}

// objectMissing tells the 403 that object stores (S3 and its likes) answer for a name that is not there, to those who
// may not list the bucket, from one that means us.
func objectMissing(resp *http.Response) bool {
	if !strings.Contains(resp.Header.Get("Content-Type"), "xml") {
		return false
	}
	head, _ := io.ReadAll(io.LimitReader(resp.Body, 2048))
	return bytes.Contains(head, []byte("<Code>AccessDenied</Code>"))
}
