package problem_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/problem"
)

func TestWrite(t *testing.T) {
	secret := "/srv/private/key=SECRET"
	tests := map[string]struct {
		err    error
		status int
		code   string
		detail string
		cache  string
	}{
		"bad input":    {fmt.Errorf("threshold %q: %w", "x", tilescout.ErrBadInput), 400, "InvalidParameterValue", `threshold "x"`, "no-store"},
		"not found":    {fmt.Errorf("layer %q: %w", "moon", tilescout.ErrNotFound), 404, "NotFound", `layer "moon"`, "no-store"},
		"out of range": {fmt.Errorf("tile 1/2/0: %w", tilescout.ErrOutOfRange), 404, "TileOutOfRange", "tile 1/2/0", "public, max-age=60"},
		"forbidden":    {fmt.Errorf("bulk: %w", tilescout.ErrForbidden), 403, "Forbidden", "bulk", "no-store"},
		"busy":         {fmt.Errorf("render queue: %w", tilescout.ErrBusy), 503, "ServerBusy", "render queue", "no-store"},
		"unavailable":  {fmt.Errorf("no model: %w", tilescout.ErrUnavailable), 503, "NoApplicableCode", "no model", "no-store"},
		"upstream":     {fmt.Errorf("get %s: %w", secret, tilescout.ErrUpstream), 502, "NoApplicableCode", "the source of this layer failed; the server's log says how", "no-store"},
		"slow source":  {fmt.Errorf("%w: %w", tilescout.ErrUpstream, context.DeadlineExceeded), 504, "NoApplicableCode", "the answer took too long; try again", "no-store"},
		"ours":         {errors.New(secret), 500, "NoApplicableCode", "the server failed; its log says how", "no-store"},
		"body":         {&http.MaxBytesError{Limit: 9}, 413, "InvalidParameterValue", "the body is larger than 9 bytes", "no-store"},
		"own status":   {problem.WithStatus(415, fmt.Errorf("send png: %w", tilescout.ErrBadInput)), 415, "InvalidParameterValue", "send png: bad input", "no-store"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			w.Header().Set("ETag", `"of the tile"`)
			problem.Write(w, httptest.NewRequest("GET", "/", nil), tc.err)
			res := w.Result()
			body, _ := io.ReadAll(res.Body)
			var doc problem.Document
			if err := json.Unmarshal(body, &doc); err != nil {
				t.Fatalf("body %q: %v", body, err)
			}
			if res.StatusCode != tc.status || doc.Status != tc.status || problem.Status(tc.err) != tc.status {
				t.Errorf("status = %d, in body %d, want %d", res.StatusCode, doc.Status, tc.status)
			}
			if doc.Code != tc.code || doc.Detail != tc.detail || doc.Description != tc.detail {
				t.Errorf("document = %+v, want code %s and detail %q", doc, tc.code, tc.detail)
			}
			if got := res.Header.Get("Cache-Control"); got != tc.cache {
				t.Errorf("Cache-Control = %q, want %q", got, tc.cache)
			}
			if got := res.Header.Get("Content-Type"); got != problem.MediaType {
				t.Errorf("Content-Type = %q", got)
			}
			if res.Header.Get("ETag") != "" {
				t.Error("the ETag of the answer that failed is still there")
			}
			if retry := res.Header.Get("Retry-After"); (retry != "") != (tc.status == 503) {
				t.Errorf("Retry-After = %q with status %d", retry, tc.status)
			}
			if strings.Contains(string(body), "SECRET") {
				t.Errorf("the body tells a secret: %s", body)
			}
		})
	}
}

type noting struct {
	http.ResponseWriter
	err error
}

func (n *noting) NoteError(err error) { n.err = err }

type wrapping struct{ http.ResponseWriter }

func (w wrapping) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestHandlerTellsTheLog(t *testing.T) {
	want := errors.New("the real reason")
	n := &noting{ResponseWriter: httptest.NewRecorder()}
	problem.Handler(func(http.ResponseWriter, *http.Request) error { return want }).
		ServeHTTP(wrapping{n}, httptest.NewRequest("HEAD", "/", nil))
	if n.err != want {
		t.Errorf("NoteError got %v, want %v", n.err, want)
	}
	if body := n.ResponseWriter.(*httptest.ResponseRecorder).Body.String(); body != "" {
		t.Errorf("HEAD has body %q", body)
	}
}
