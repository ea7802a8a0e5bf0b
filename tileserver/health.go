package tileserver

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/tilescout/tilescout"
)

// Readiness is what /readyz tells. With anything in Waiting the answer is 503: no traffic yet, please.
// Degraded parts (an index that cannot be written, a model that did not load while tiles are served) leave it 200.
type Readiness struct {
	Waiting  []string `json:"waiting,omitempty"`
	Degraded []string `json:"degraded,omitempty"`
}

// getHealth answers /healthz: the process is alive, whatever else is.
func (s *site) getHealth(w http.ResponseWriter, _ *http.Request) {
	sendStatus(w, http.StatusOK, map[string]string{"status": "alive"})
}

// getReady answers /readyz. An upstream that fails does not change it: restarting us would not help.
func (s *site) getReady(w http.ResponseWriter, _ *http.Request) {
	var ready Readiness
	if s.options.Ready != nil {
		ready = s.options.Ready()
	}
	status, code := "ready", http.StatusOK
	switch {
	case s.draining.Load():
		status, code = "draining", http.StatusServiceUnavailable
	case len(ready.Waiting) > 0:
		status, code = "waiting", http.StatusServiceUnavailable
	case len(ready.Degraded) > 0:
		status = "degraded"
	}
	sendStatus(w, code, struct {
		Status string `json:"status"`
		Layers int    `json:"layers"`
		Readiness
	}{status, len(s.order), ready})
}

func sendStatus(w http.ResponseWriter, code int, doc any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	if code == http.StatusServiceUnavailable {
		h.Set("Retry-After", "2")
	}
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(doc) // a client that left needs no answer
}

// getOpenAPI answers /openapi.yaml.
func (s *site) getOpenAPI(w http.ResponseWriter, r *http.Request) error {
	if len(s.options.OpenAPI) == 0 {
		return fmt.Errorf("this build has no openapi.yaml: %w", tilescout.ErrNotFound)
	}
	sendDocument(w, r, "application/yaml", s.options.OpenAPI)
	return nil
}
