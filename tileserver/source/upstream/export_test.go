package upstream

import "net/http"

// CheckRedirect asks whether a redirect from one address to another is followed.
func CheckRedirect(c *Client, to, from string) error {
	first, err := http.NewRequest(http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	next, err := http.NewRequest(http.MethodGet, to, nil)
	if err != nil {
		return err
	}
	return c.checkRedirect(next, []*http.Request{first})
}

// CloseCircuits lets half a minute pass for every host.
func CloseCircuits(h *Hosts) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, one := range h.byName {
		one.mu.Lock()
		if !one.open.IsZero() {
			one.open = one.open.Add(-breakFor)
		}
		one.mu.Unlock()
	}
}

// AllowAllPorts opens all ports of the hosts that the operator named.
func AllowAllPorts(c *Client) {
	for host := range c.guard.operator {
		c.guard.operator[host] = nil
	}
}
