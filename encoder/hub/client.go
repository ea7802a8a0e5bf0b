package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tilescout/tilescout"
)

// Limits on what the hub answers.
const (
	maxAnswer    = 16 << 20 // bytes of a list of files
	maxFiles     = 20_000
	maxPages     = 40
	maxRedirects = 5
	maxWait      = 5 * time.Minute // of a Retry-After
	maxFileSize  = 64 << 30
)

// getter is one run of Get.
type getter struct {
	o        Options
	client   *http.Client
	progress Progress
}

// newClient returns a client that keeps the token to itself: a redirect to another host goes without it, one from https
// to http is refused.
func newClient(o Options) *http.Client {
	c := &http.Client{}
	if o.Client != nil {
		*c = *o.Client
	} else {
		t := http.DefaultTransport.(*http.Transport).Clone() // has ProxyFromEnvironment
		t.ResponseHeaderTimeout = 30 * time.Second
		t.MaxResponseHeaderBytes = 64 << 10
		t.DisableCompression = true // offsets of ranges are those of the file
		c.Transport = t
	}
	c.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return fmt.Errorf("more than %d redirects", maxRedirects)
		}
		if r.URL.Scheme != "https" && via[0].URL.Scheme == "https" {
			return errors.New("redirect from https to http")
		}
		if r.URL.Host != via[0].URL.Host || r.URL.Scheme != via[0].URL.Scheme {
			r.Header.Del("Authorization")
		}
		r.Header.Del("Referer") // signed addresses are nobody's business
		return nil
	}
	return c
}

// refused is an answer that another try will not change.
type refused struct{ error }

func (r refused) Unwrap() error { return r.error }

// request sends one request; the answer has status 200 or 206.
func (g *getter) request(ctx context.Context, address string, header http.Header) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, refused{fmt.Errorf("%v: %w", err, tilescout.ErrBadInput)}
	}
	for k, v := range header {
		r.Header[k] = v
	}
	r.Header.Set("User-Agent", "tilescout (https://github.com/tilescout/tilescout)")
	if g.o.Token != "" {
		r.Header.Set("Authorization", "Bearer "+g.o.Token)
	}
	answer, err := g.client.Do(r)
	if err != nil {
		var u *url.Error // its text has the address, which after a redirect is signed
		if errors.As(err, &u) {
			err = u.Err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%s: %v: %w", r.URL.Host, err, tilescout.ErrUpstream)
	}
	if answer.StatusCode == http.StatusOK || answer.StatusCode == http.StatusPartialContent {
		return answer, nil
	}
	_, _ = io.CopyN(io.Discard, answer.Body, 4<<10)
	_ = answer.Body.Close()
	return nil, g.explain(answer)
}

// explain turns a status into an error that says what to do.
func (g *getter) explain(a *http.Response) error {
	host := a.Request.URL.Host
	if origin := g.o.Endpoint[strings.Index(g.o.Endpoint, "://")+3:]; host != strings.SplitN(origin, "/", 2)[0] && a.StatusCode/100 == 4 && a.StatusCode != http.StatusRequestedRangeNotSatisfiable && a.StatusCode != http.StatusTooManyRequests {
		// Where the hub sent us: its signed addresses expire, the next try gets a new one.
		return fmt.Errorf("%s, where the hub keeps the file, answers %d: %w", host, a.StatusCode, tilescout.ErrUpstream)
	}
	switch a.StatusCode {
	case http.StatusUnauthorized:
		if g.o.Token != "" {
			return refused{fmt.Errorf("%s does not accept the token (401), or there is no such model: %w", host, tilescout.ErrForbidden)}
		}
		return refused{fmt.Errorf("%s says 401: no such model, or a private one; check the name, or set HF_TOKEN to a token that may read it: %w", host, tilescout.ErrForbidden)}
	case http.StatusForbidden:
		return refused{fmt.Errorf("%s says 403: accept the model's terms on its page, and set HF_TOKEN to a token of that account: %w", host, tilescout.ErrForbidden)}
	case http.StatusNotFound, http.StatusGone:
		return refused{fmt.Errorf("%s has no such model, revision or file (%d): %w", host, a.StatusCode, tilescout.ErrNotFound)}
	case http.StatusRequestedRangeNotSatisfiable:
		return errRange
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		err := fmt.Errorf("%s is busy (%d); try later, or set HF_TOKEN: %w", host, a.StatusCode, tilescout.ErrUpstream)
		return later{err, retryAfter(a.Header.Get("Retry-After"))}
	}
	err := fmt.Errorf("%s answers %d: %w", host, a.StatusCode, tilescout.ErrUpstream)
	if a.StatusCode >= 500 || a.StatusCode == http.StatusRequestTimeout {
		return err
	}
	return refused{err}
}

// later is an answer that says when to ask again.
type later struct {
	error
	wait time.Duration
}

func (l later) Unwrap() error { return l.error }

// retryAfter reads seconds or a date; 0 if there is neither.
func retryAfter(v string) time.Duration {
	if s, err := strconv.Atoi(v); err == nil && s > 0 {
		return time.Duration(min(s, 1<<20)) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(time.Until(t), 0)
	}
	return 0
}

// again calls try until it works, is refused, or has failed Tries times in a row without progress, which try reports.
func (g *getter) again(ctx context.Context, try func() (progress bool, err error)) error {
	for n := 1; ; n++ {
		progress, err := try()
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if r := (refused{}); errors.As(err, &r) {
			return r.error
		}
		if progress {
			n = 1
		}
		if n >= g.o.Tries {
			return err
		}
		wait := g.o.Pause << min(n-1, 6)
		wait += rand.N(wait/4 + 1) // so that many clients do not come back at once
		if l := (later{}); errors.As(err, &l) && l.wait > 0 {
			if l.wait > maxWait {
				return fmt.Errorf("asked to wait %s: %w", l.wait.Round(time.Second), err)
			}
			wait = l.wait
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// answer gets a JSON document, and the address of its next page if there is one.
func (g *getter) answer(ctx context.Context, address string, into any) (next string, err error) {
	err = g.again(ctx, func() (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, g.o.Stall)
		defer cancel()
		a, err := g.request(ctx, address, nil)
		if err != nil {
			return false, err
		}
		defer a.Body.Close()
		if isPage(a) {
			return false, refused{errPage(a)}
		}
		raw, err := io.ReadAll(io.LimitReader(a.Body, maxAnswer+1))
		if err != nil {
			return false, fmt.Errorf("%s: %v: %w", a.Request.URL.Host, err, tilescout.ErrUpstream)
		}
		if len(raw) > maxAnswer {
			return false, refused{fmt.Errorf("%s answers more than %d bytes: %w", a.Request.URL.Host, maxAnswer, tilescout.ErrUpstream)}
		}
		if err := json.Unmarshal(raw, into); err != nil {
			return false, refused{fmt.Errorf("%s does not speak the hub's API (%v): %w", a.Request.URL.Host, err, tilescout.ErrUpstream)}
		}
		next = nextPage(a)
		return false, nil
	})
	return next, err
}

func isPage(a *http.Response) bool {
	return strings.HasPrefix(a.Header.Get("Content-Type"), "text/html")
}

func errPage(a *http.Response) error {
	return fmt.Errorf("%s answers with a web page in place of the file: a proxy's login page, or a wrong --endpoint: %w", a.Request.URL.Host, tilescout.ErrUpstream)
}

var linkPattern = regexp.MustCompile(`<([^<>]+)>\s*;\s*rel="?next"?`)

// nextPage reads a Link header; an address on another host is none, for the token's sake.
func nextPage(a *http.Response) string {
	m := linkPattern.FindStringSubmatch(a.Header.Get("Link"))
	if m == nil {
		return ""
	}
	u, err := a.Request.URL.Parse(m[1])
	if err != nil || u.Host != a.Request.URL.Host || u.Scheme != a.Request.URL.Scheme {
		return ""
	}
	return u.String()
}

var commitPattern = regexp.MustCompile(`^[0-9a-f]{7,64}$`)

// list asks which commit a revision is and which files it has.
func (g *getter) list(ctx context.Context, id, revision string) (commit string, files []remote, err error) {
	base := g.o.Endpoint + "/api/models/" + id
	var info struct {
		SHA      string `json:"sha"`
		Siblings []struct {
			Path string `json:"rfilename"`
		} `json:"siblings"`
	}
	if _, err := g.answer(ctx, base+"/revision/"+url.PathEscape(revision), &info); err != nil {
		return "", nil, err
	}
	if !commitPattern.MatchString(info.SHA) {
		return "", nil, fmt.Errorf("the hub names no commit: %w", tilescout.ErrUpstream)
	}
	address := base + "/tree/" + info.SHA + "?recursive=true"
	for page := 0; address != ""; page++ {
		var entries []struct {
			Type string `json:"type"`
			Path string `json:"path"`
			OID  string `json:"oid"`
			Size int64  `json:"size"`
			LFS  *struct {
				OID  string `json:"oid"`
				Size int64  `json:"size"`
			} `json:"lfs"`
		}
		next, err := g.answer(ctx, address, &entries)
		if errors.Is(err, tilescout.ErrNotFound) && page == 0 { // a mirror without this part of the API
			for _, s := range info.Siblings {
				if cleanPath(s.Path) {
					files = append(files, remote{path: s.Path, size: -1})
				}
			}
			break
		}
		if err != nil {
			return "", nil, err
		}
		for _, e := range entries {
			if e.Type != "file" || !cleanPath(e.Path) {
				continue
			}
			f := remote{path: e.Path, size: e.Size, gitSHA: e.OID}
			if e.LFS != nil {
				f.size, f.sha256, f.gitSHA = e.LFS.Size, strings.TrimPrefix(e.LFS.OID, "sha256:"), ""
			}
			files = append(files, f)
		}
		if address = next; page == maxPages || len(files) > maxFiles {
			return "", nil, fmt.Errorf("the model has more than %d files: %w", maxFiles, tilescout.ErrBadInput)
		}
	}
	if len(files) == 0 {
		return "", nil, fmt.Errorf("the model has no files: %w", tilescout.ErrNotFound)
	}
	return info.SHA, files, nil
}

// cleanPath reports whether a path of the list stays in its folder on every system.
func cleanPath(p string) bool {
	return p != "" && len(p) < 256 && path.Clean(p) == p && !path.IsAbs(p) && p != ".." && !strings.HasPrefix(p, "../") && !strings.ContainsAny(p, "\\:\x00")
}
