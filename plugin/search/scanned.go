package search

import "time"

// Scan is one pass over rows of a layer's index, for metrics.
type Scan struct {
	Layer string
	Path  string // which rows: "scan" all of them for a prompt, "similar" all for a picture
	Rows  int
	Took  time.Duration
}

// scanned begins a pass over frames; what it returns ends it and tells Options.Scanned.
func (e *Engine) scanned(l *layer, path string, frames ...*frame) (done func()) {
	tell := e.options.Scanned
	if tell == nil {
		return func() {}
	}
	began, rows := time.Now(), 0
	for _, f := range frames {
		rows += len(f.codes)
	}
	return func() { tell(Scan{l.info.ID, path, rows, time.Since(began)}) }
}
