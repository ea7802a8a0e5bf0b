package hub_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder/hub"
)

// Faults that a second try repairs: the file is whole in the end, and what came before the fault is not asked for again.
func TestRecovers(t *testing.T) {
	for name, c := range map[string]struct {
		faults   []fault
		noRanges bool
		ranged   bool
	}{
		"connection breaks":       {[]fault{{part: stored, cut: 300_000}, {part: stored, cut: 100_000}}, false, true},
		"breaks, no ranges":       {[]fault{{part: stored, cut: 300_000}}, true, true},
		"hangs":                   {[]fault{{part: "resolve", hang: true}}, false, false},
		"busy hub":                {[]fault{{part: "revision", status: 429, header: "Retry-After: 1"}}, false, false},
		"broken hub":              {[]fault{{part: "tree", status: 502}, {part: "resolve", status: 500}, {part: "resolve", status: 503}}, false, false},
		"signature expired":       {[]fault{{part: stored, status: 403}}, false, false},
		"wrong bytes once":        {[]fault{{part: stored, wrong: true}}, false, false},
		"range refused":           {[]fault{{part: stored, cut: 300_000}, {part: stored, status: 416}}, false, true},
		"small file, wrong bytes": {[]fault{{part: "config.json", wrong: true}}, false, false},
		"more breaks than tries":  {slices.Repeat([]fault{{part: stored, cut: 70_000}}, 7), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := published(t)
			s.faults, s.noRanges = c.faults, c.noRanges
			m := get(t, "owner/clip", options(t, s))
			check(t, s, m)
			ranged := slices.ContainsFunc(s.requests, func(r string) bool { return strings.Contains(r, "bytes=") })
			if ranged != c.ranged {
				t.Errorf("asked for a range: %v, want %v: %q", ranged, c.ranged, s.requests)
			}
		})
	}
}

// What was begun by a process that ended is gone on with by the next.
func TestResume(t *testing.T) {
	s := published(t)
	o := options(t, s)
	o.Tries = 1
	s.faults = []fault{{part: stored, cut: 300_000}}
	if _, err := hub.Get(t.Context(), "owner/clip", o, nil); !errors.Is(err, tilescout.ErrUpstream) {
		t.Fatalf("broken connection: %v", err)
	}
	clean(t, o.Dir)
	s.requests = nil
	check(t, s, get(t, "owner/clip", o))
	if !slices.ContainsFunc(s.requests, func(r string) bool { return strings.HasPrefix(r, "/owner/clip/model.safetensors bytes=") }) {
		t.Errorf("began again: %q", s.requests)
	}
}

// A mirror that lists names only: sizes and checksums come with the files.
func TestMirror(t *testing.T) {
	s := published(t)
	s.noTree = true
	check(t, s, get(t, "owner/clip", options(t, s)))
	o := options(t, s)
	s.faults = slices.Repeat([]fault{{part: stored, wrong: true}}, 2)
	if _, err := hub.Get(t.Context(), "owner/clip", o, nil); err == nil {
		t.Error("wrong bytes were taken")
	}
	clean(t, o.Dir)
}

func TestRefuses(t *testing.T) {
	always := func(f fault) []fault { return slices.Repeat([]fault{f}, 20) }
	for name, c := range map[string]struct {
		model  string
		set    func(*server, *hub.Options)
		kind   error
		advice string
	}{
		"no such model":    {"owner/none", nil, tilescout.ErrNotFound, "no such model"},
		"no such revision": {"owner/clip@v9", nil, tilescout.ErrNotFound, "revision"},
		"private":          {"", func(s *server, _ *hub.Options) { s.private = true }, tilescout.ErrForbidden, "HF_TOKEN"},
		"wrong token":      {"", func(s *server, o *hub.Options) { s.private, o.Token = true, "wrong" }, tilescout.ErrForbidden, "token"},
		"terms":            {"", func(s *server, _ *hub.Options) { s.faults = always(fault{part: "resolve", status: 403}) }, tilescout.ErrForbidden, "terms"},
		"busy":             {"", func(s *server, _ *hub.Options) { s.faults = always(fault{part: "api", status: 429}) }, tilescout.ErrUpstream, "try later"},
		"busy for an hour": {"", func(s *server, _ *hub.Options) {
			s.faults = always(fault{part: "api", status: 429, header: "Retry-After: 3600"})
		}, tilescout.ErrUpstream, "1h0m0s"},
		"broken": {"", func(s *server, _ *hub.Options) { s.faults = always(fault{part: "resolve", status: 500}) }, tilescout.ErrUpstream, "500"},
		"a page as list": {"", func(s *server, _ *hub.Options) {
			s.faults = always(fault{part: "api", status: 200, header: "Content-Type: text/html", body: "<html>"})
		}, tilescout.ErrUpstream, "web page"},
		"a page as file": {"", func(s *server, _ *hub.Options) {
			s.faults = always(fault{part: "resolve", status: 200, header: "Content-Type: text/html; charset=utf-8", body: "<html>"})
		}, tilescout.ErrUpstream, "web page"},
		"no JSON": {"", func(s *server, _ *hub.Options) { s.faults = always(fault{part: "api", status: 200, body: "hello"}) }, tilescout.ErrUpstream, "API"},
		"wrong checksum": {"", func(s *server, _ *hub.Options) {
			s.faults = always(fault{part: stored, wrong: true})
		}, tilescout.ErrUpstream, "checksum"},
		"hangs": {"", func(s *server, o *hub.Options) {
			o.Stall, o.Tries = 50*time.Millisecond, 2
			s.faults = always(fault{part: stored, hang: true})
		}, tilescout.ErrUpstream, "no data"},
		"nobody there":       {"", func(s *server, o *hub.Options) { s.Server.Close() }, tilescout.ErrUpstream, "refused"},
		"name":               {"clip", nil, tilescout.ErrBadInput, "owner/name"},
		"climbing name":      {"../clip", nil, tilescout.ErrBadInput, "owner/name"},
		"climbing revision":  {"owner/clip@../x", nil, tilescout.ErrBadInput, "revision"},
		"endpoint":           {"", func(_ *server, o *hub.Options) { o.Endpoint = "ftp://x" }, tilescout.ErrBadInput, "http"},
		"token in the clear": {"", func(_ *server, o *hub.Options) { o.Endpoint, o.Token = "http://hub.example", secret }, tilescout.ErrForbidden, "https"},
	} {
		t.Run(name, func(t *testing.T) {
			s := published(t)
			o := options(t, s)
			if c.set != nil {
				c.set(s, &o)
			}
			if c.model == "" {
				c.model = "owner/clip"
			}
			m, err := hub.Get(t.Context(), c.model, o, nil)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.advice) {
				t.Fatalf("%v: %v, want %v that says %q", m, err, c.kind, c.advice)
			}
			if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "signature") {
				t.Errorf("one line without secrets, please: %q", err)
			}
			clean(t, o.Dir)
		})
	}
}

func TestCancel(t *testing.T) {
	s := published(t)
	s.faults = []fault{{part: stored, hang: true}}
	o := options(t, s)
	o.Stall = time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := hub.Get(ctx, "owner/clip", o, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled: %v", err)
	}
	clean(t, o.Dir)
}

// Two at once come to one download.
func TestTogether(t *testing.T) {
	s := published(t)
	o := options(t, s)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if _, err := hub.Get(t.Context(), "owner/clip", o, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n := 0
	for _, r := range s.requests {
		if strings.HasPrefix(r, "/owner/clip/model.safetensors") {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d downloads of the weights, want 1", n)
	}
}

// A disk that is full: said in one line, nothing half-written.
func TestDiskFull(t *testing.T) {
	s := published(t)
	o := options(t, s)
	blobs := filepath.Join(o.Dir, "blobs")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full here")
	}
	// The part file of the weights is a link to a device that is always full.
	first := hub.PartName("owner/clip", commit, "model.safetensors")
	if err := os.Symlink("/dev/full", filepath.Join(blobs, first)); err != nil {
		t.Skip(err)
	}
	_, err := hub.Get(t.Context(), "owner/clip", o, nil)
	if err == nil || !strings.Contains(err.Error(), "disk full") || strings.Contains(err.Error(), "\n") {
		t.Errorf("disk full: %v", err)
	}
	clean(t, o.Dir)
}
