// Package problem turns an error into an HTTP answer: one ordered table from the kinds of error to a
// status, one writer of application/problem+json (RFC 9457). Every handler of the program answers errors with it.
package problem

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"

	"github.com/tilescout/tilescout"
)

// MediaType of every error answer on a JSON or image path.
const MediaType = "application/problem+json"

// row says how one kind of error is answered. The first row whose kind errors.Is finds wins.
type row struct {
	kind   error
	status int
	code   string // name of the OGC exception (GIS reference §7)
	public bool   // the error's text is for the client; else only the table's own text goes out
	text   string // detail where the error's own text stays inside
}

var rows = []row{
	{context.DeadlineExceeded, http.StatusGatewayTimeout, "NoApplicableCode", false, "the answer took too long; try again"},
	{context.Canceled, statusClientClosed, "NoApplicableCode", false, "the client went away"},
	{tilescout.ErrBadInput, http.StatusBadRequest, "InvalidParameterValue", true, ""},
	{tilescout.ErrOutOfRange, http.StatusNotFound, "TileOutOfRange", true, ""},
	{tilescout.ErrNotFound, http.StatusNotFound, "NotFound", true, ""},
	{tilescout.ErrForbidden, http.StatusForbidden, "Forbidden", true, ""},
	{tilescout.ErrBusy, http.StatusServiceUnavailable, "ServerBusy", true, ""},
	{tilescout.ErrUnavailable, http.StatusServiceUnavailable, "NoApplicableCode", true, ""},
	{tilescout.ErrUpstream, http.StatusBadGateway, "NoApplicableCode", false, "the source of this layer failed; the server's log says how"},
}

// statusClientClosed is what the log shows for a client that left; nobody receives it (nginx's number).
const statusClientClosed = 499

// failure is the answer to an error of no known kind: ours, so its text stays inside.
var failure = row{nil, http.StatusInternalServerError, "NoApplicableCode", false, "the server failed; its log says how"}

// statusError carries a status of its own past the table, for 405, 413, 414, 415 and the like.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// WithStatus returns err, to be answered with that status instead of the table's. Its text goes to the client below 500.
func WithStatus(status int, err error) error { return &statusError{status, err} }

func find(err error) row {
	var own *statusError
	if errors.As(err, &own) {
		r := row{nil, own.status, "InvalidParameterValue", own.status < 500, http.StatusText(own.status)}
		if own.status >= 500 {
			r.code = "NoApplicableCode"
		}
		return r
	}
	if big := (*http.MaxBytesError)(nil); errors.As(err, &big) {
		return row{nil, http.StatusRequestEntityTooLarge, "InvalidParameterValue", false,
			"the body is larger than " + strconv.FormatInt(big.Limit, 10) + " bytes"}
	}
	for _, r := range rows {
		if errors.Is(err, r.kind) {
			return r
		}
	}
	return failure
}

// Status returns the HTTP status that err is answered with.
func Status(err error) int { return find(err).status }

// Code returns the OGC exception code that err is answered with (OWS Common 1.1 table 25, WMTS 1.0.0 tables 20 and 24).
func Code(err error) string { return find(err).code }

// Detail returns the one line about err that a client may read: the error's text where the kind is the
// client's business, a fixed text where it could hold paths, addresses or keys of the operator.
func Detail(err error) string { return find(err).detail(err) }

func (r row) detail(err error) string {
	if !r.public {
		return r.text
	}
	s := err.Error()
	if r.kind != nil {
		s = strings.TrimSuffix(s, ": "+r.kind.Error())
	}
	return strings.ToValidUTF8(s, "?")
}

// Document is the body of an error answer. Code and Description repeat it under the names of OGC API.
type Document struct {
	Type        string `json:"type"`
	Title       string `json:"title"`
	Status      int    `json:"status"`
	Detail      string `json:"detail,omitempty"`
	Code        string `json:"code"`
	Description string `json:"description,omitempty"`
	Request     string `json:"requestId,omitempty"`
}

// Write answers err. It drops headers that belonged to the answer that failed, and sets Cache-Control to no-store
// (a tile out of range to max-age=60) and Retry-After on 503. Nothing may have been written before.
func Write(w http.ResponseWriter, r *http.Request, err error) {
	Note(w, err)
	kind := find(err) // once: under load, most answers are refusals
	kind.headers(w.Header())
	status := kind.status
	doc := Document{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Detail: kind.detail(err), Code: kind.code, Request: w.Header().Get("X-Request-Id"),
	}
	doc.Description = doc.Detail
	body, fail := json.Marshal(doc)
	if fail != nil { // strings and numbers always marshal
		body = []byte("{}")
	}
	w.Header().Set("Content-Type", MediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a client that left needs no answer
	}
}

// Headers sets the headers of an error answer and returns its status, for answers with a body of their own (WMTS).
func Headers(w http.ResponseWriter, err error) int {
	kind := find(err)
	kind.headers(w.Header())
	return kind.status
}

func (r row) headers(h http.Header) {
	for _, name := range []string{"ETag", "Last-Modified", "Content-Length", "Content-Encoding", "Content-Disposition", "Vary"} {
		h.Del(name)
	}
	h.Set("Cache-Control", "no-store")
	if r.kind == tilescout.ErrOutOfRange {
		h.Set("Cache-Control", "public, max-age=60")
	}
	if r.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", strconv.Itoa(1+rand.IntN(5))) // jitter: not everybody again at once
	}
}

// Note tells the access log which error an answer stands for, if the writer wants to know.
func Note(w http.ResponseWriter, err error) {
	for w != nil {
		if n, ok := w.(interface{ NoteError(error) }); ok {
			n.NoteError(err)
			return
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return
		}
		w = u.Unwrap()
	}
}

// Handler is an HTTP handler made of a function that returns its error; Write answers it.
// The function must not have written anything when it returns an error.
func Handler(f func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := f(w, r); err != nil {
			Write(w, r, err)
		}
	})
}
