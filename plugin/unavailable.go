package plugin

import (
	"net/http"
)

// Unavailable returns a plugin whose every route answers reason: tiles are served though no model loads, and a
// client that asks for a search is told why there is none.
func Unavailable(reason error) *Plugin {
	p := New(nil)
	p.refuse = reason
	return p
}

func (p *Plugin) guarded(h func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	if p.refuse == nil {
		return h
	}
	return func(w http.ResponseWriter, _ *http.Request) error {
		open(w)
		return p.refuse
	}
}
