package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tilescout/tilescout/tileserver/source"
)

// maxTold bounds the lines about files that were left out of one layer: a folder may hold thousands of them.
const maxTold = 10

// tellLeftOut calls say for the first files that s had to leave out, and once for the others.
func tellLeftOut(s source.Source, say func(reason string)) {
	p, ok := s.(source.Patchwork)
	if !ok {
		return
	}
	skipped := p.Skipped()
	for i, err := range skipped {
		if i == maxTold {
			say(fmt.Sprintf("and %d more files", len(skipped)-maxTold))
			return
		}
		say(oneLine(err))
	}
}

// told says which files of a layer were left out, on stderr.
func (a *app) told(s source.Source) source.Source {
	tellLeftOut(s, func(reason string) { fmt.Fprintf(a.stderr, "tilescout: layer %s: left out: %s\n", s.Info().ID, reason) })
	return s
}

// countLeftOut counts the files that the layers had to leave out among the refused input.
func (l *live) countLeftOut(sources ...source.Source) {
	for _, s := range sources {
		if p, ok := s.(source.Patchwork); ok {
			for _, err := range p.Skipped() {
				l.server.Rejected(err)
			}
		}
	}
}

// renewal is when a layer whose file was replaced may be opened anew: at once, and after each failure less often.
type renewal struct {
	next time.Time
	wait time.Duration
}

// due tells whether one of the layers is to be opened anew now.
func (r *renewal) due(now time.Time, layers []openLayer) bool {
	if now.Before(r.next) {
		return false
	}
	for _, o := range layers {
		if source.Outdated(o.source) {
			return true
		}
	}
	return false
}

func (r *renewal) failed(now time.Time) {
	r.wait = min(max(2*r.wait, hotEvery), time.Minute)
	r.next = now.Add(r.wait)
}

// renewed opens a layer anew whose file was replaced under it. What does not open leaves the old one to go on: its server
// may be in the middle of writing the file.
func (l *live) renewed(ctx context.Context, old openLayer) (openLayer, bool) {
	now := time.Now()
	if !source.Outdated(old.source) || now.Before(l.renewal.next) {
		return old, false
	}
	src, err := l.parts.openSource(ctx, old.layer)
	if err != nil {
		l.renewal.failed(now)
		l.server.Rejected(err)
		l.log.Warn("the file of a layer has changed and does not open anew", "layer", old.layer.ID, "error", oneLine(err))
		return old, false
	}
	l.renewal = renewal{}
	l.log.Warn("the file of a layer has changed and was opened anew", "layer", old.layer.ID)
	return openLayer{old.layer, old.stamp, src}, true
}
