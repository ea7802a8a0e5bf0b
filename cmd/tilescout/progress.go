package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/tilescout/tilescout/plugin/search"
	"golang.org/x/term"
)

// bar is a progress bar on stderr with rate and time left; on anything but a terminal it is silent, so that
// logs stay readable.
type bar struct {
	label string
	out   io.Writer
	bar   *progressbar.ProgressBar
}

func (a *app) progress(label string) *bar {
	b := &bar{label: label, out: io.Discard}
	if !a.quiet && isTerminal(a.stderr) {
		b.out = a.stderr
	}
	return b
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// update shows the progress of an index job.
func (b *bar) update(p search.Progress) { b.count(p.Done+p.Failed, p.Total) }

// count shows done of total.
func (b *bar) count(done, total int) {
	if total <= 0 {
		return
	}
	if b.bar == nil {
		b.bar = progressbar.NewOptions(total,
			progressbar.OptionSetWriter(b.out), progressbar.OptionSetDescription(b.label),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("tiles"),
			progressbar.OptionSetPredictTime(true), progressbar.OptionFullWidth(), progressbar.OptionClearOnFinish(),
			progressbar.OptionThrottle(80*time.Millisecond), progressbar.OptionUseANSICodes(true))
	}
	_ = b.bar.Set(done)
}

func (b *bar) done() {
	if b.bar != nil {
		_ = b.bar.Finish()
	}
}
