package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/plugin/search"
	"github.com/tilescout/tilescout/tileserver/config"
)

// preferOld lets the model answer that has embedded most of the layers; the one that was asked for becomes p.next and
// prepares itself. A model that is gone is named, and nobody waits for it.
func (a *app) preferOld(ctx context.Context, cfg config.Config, p *parts) error {
	found, err := p.engine.Predecessors(ctx)
	if err != nil {
		return err
	}
	for _, old := range found {
		enc, oldConfig, err := a.openDigest(ctx, cfg, old.Digest)
		if errors.Is(err, tilescout.ErrNotFound) {
			fmt.Fprintf(a.stderr, "tilescout: %s: its index of %d tiles is not used, and %s answers at once\n", oneLine(err), old.Tiles, p.engine.Model().ID)
			continue
		}
		if err != nil {
			return err
		}
		b, err := a.newBrain(ctx, oldConfig, enc, p, forServing)
		if err != nil {
			return err
		}
		next := p.brain
		p.next, p.brain = &next, b
		for i, s := range p.sources {
			if err := p.engine.Add(ctx, s, layerOptions(cfg.Layers[i].Index)); err != nil {
				return errors.Join(err, next.close())
			}
		}
		return nil
	}
	return nil
}

// preparation is a model on its way into the place of the one that serves.
type preparation struct {
	brain
	stop context.CancelFunc
}

// modelKey changes with the model that a config asks for, and with the files of its folder.
func modelKey(cfg config.Config) string {
	if cfg.Model == "" || cfg.Model == "bundled" {
		return "bundled"
	}
	return cfg.Model + "\n" + stampOf(cfg.Model)
}

// openModel opens the model of a config that is read again, over the layers of now. It returns no brain where that model
// serves already, and the one under way where that is preparing itself. The caller holds mu.
func (l *live) openModel(ctx context.Context, cfg config.Config) (brain, error) {
	if modelKey(cfg) == l.model {
		if l.next != nil {
			return l.next.brain, nil
		}
		return brain{}, nil
	}
	enc, err := l.app.openEncoder(ctx, cfg)
	if err != nil {
		return brain{}, err
	}
	digest := enc.Model().Digest
	if l.next != nil && l.next.digest() == digest {
		return l.next.brain, enc.Close()
	}
	if l.parts.digest() == digest {
		return brain{}, enc.Close()
	}
	if l.parts.store == nil {
		if l.parts.store, err = l.app.openStore(cfg.Data, false); err != nil {
			l.parts.store = nil
			return brain{}, errors.Join(err, enc.Close())
		}
		l.parts.closers = append(l.parts.closers, l.parts.store.Close, func() error { return l.parts.brain.close() })
	}
	b, err := l.app.newBrain(l.context, cfg, enc, l.parts, forServing)
	if err != nil {
		return brain{}, err
	}
	if err := b.engine.Replace(ctx, searchables(l.layers)); err != nil {
		return brain{}, errors.Join(err, b.close())
	}
	if !l.parts.readOnly {
		if err := l.app.remember(cfg, b.engine.Model()); err != nil {
			l.log.Warn("the model is not noted down", "error", oneLine(err))
		}
	}
	return b, nil
}

// adopt makes b the next model, in place of one that was to be, if it is another. A brain without anything means that the
// model that serves is to go on. The caller holds mu.
func (l *live) adopt(b brain) {
	if l.next != nil && l.next.engine == b.engine {
		return
	}
	if l.next != nil {
		l.log.Info("the model in preparation is given up", "model", l.next.engine.Model().ID)
		l.next.stop()
		l.next = nil
	}
	if b.engine != nil {
		l.prepare(b)
	}
}

// prepare has b embed what the model that serves has, and then puts it in its place. That another model answers than was
// asked for is worth a warning, and so is that it is over. The caller holds mu.
func (l *live) prepare(b brain) {
	ctx, stop := context.WithCancel(b.life)
	n := &preparation{b, stop}
	l.next = n
	old := l.parts.engine
	l.running.Go(func() {
		defer stop()
		if old != nil && !l.parts.readOnly {
			l.log.Warn("a new model prepares itself; the old one answers until it is ready", "model", b.engine.Model().ID, "old", old.Model().ID)
			if err := b.engine.Succeed(ctx, old, search.SucceedOptions{Progress: l.progress(), Trouble: l.trouble}); err != nil {
				l.discard(b)
				return
			}
		}
		l.warm(ctx, b.engine)
		if !l.swap(n) {
			l.discard(b)
		}
	})
}

// progress says in the log how far a model is, at each tenth of a layer.
func (l *live) progress() func(string, search.Succession) {
	said := map[string]int{}
	return func(layer string, s search.Succession) {
		tenth := 10
		if s.Total > 0 {
			tenth = s.Embedded * 10 / s.Total
		}
		if last, ok := said[layer]; ok && last == tenth {
			return
		}
		said[layer] = tenth
		l.log.Info("the new model prepares itself", "model", s.Model, "layer", layer, "embedded", s.Embedded, "total", s.Total, "rate", digits(s.Rate, 1))
	}
}

func (l *live) trouble(layer string, err error) {
	l.log.Warn("the new model waits for tiles", "layer", layer, "error", oneLine(err))
}

// swap lets the model answer that has prepared itself, from one request to the next: requests under way end on the old
// one, which is then closed. False if it is no longer wanted.
func (l *live) swap(n *preparation) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next != n || n.life.Err() != nil {
		return false
	}
	old := l.parts.brain
	p := l.parts.with(l.layers)
	p.brain = n.brain
	p.degraded = slices.DeleteFunc(slices.Clone(p.degraded), func(s string) bool { return s == "search" })
	var err error
	if p.plugin, err = newPlugin(n.life, l.whole, p.engine); err == nil {
		o, problem := p.options(l.whole)
		o.Log = l.log
		if err = problem; err == nil {
			err = l.server.Reload(o, func() { go l.discard(old) })
		}
	}
	l.next = nil
	if err != nil { // the config was good for the old model a moment ago
		l.log.Error("the new model cannot take over", "error", oneLine(err))
		return false
	}
	l.parts.brain, l.parts.plugin, l.parts.degraded = p.brain, p.plugin, p.degraded
	l.parts.current.Store(&p.brain)
	l.log.Warn("the new model answers", "model", p.engine.Model().ID)
	l.settle(p.brain)
	return true
}

// discard frees a model that answers nobody any more.
func (l *live) discard(b brain) {
	_ = b.close() // it was read only, and is gone
	l.mu.Lock()
	l.release(b)
	l.mu.Unlock()
	debug.FreeOSMemory() // caches of scores and embeddings, a hundred megabytes: the next collection may be far off
}

// release gives back what of the index no other engine reads. The caller holds mu.
func (l *live) release(b brain) {
	if b.engine == nil {
		return
	}
	if b.digest() != l.parts.digest() && (l.next == nil || l.next.digest() != b.digest()) {
		b.engine.Release()
	}
}

// settle does over a model that has begun to answer what nobody waits for.
func (l *live) settle(b brain) {
	b.work.Go(func() {
		l.warm(b.life, b.engine)
		if l.index {
			l.app.indexAll(b.life, b.engine)
		}
	})
}

// warm reads the indexes, so that the first prompt need not.
func (l *live) warm(ctx context.Context, e *search.Engine) {
	for _, id := range e.Layers() {
		if err := e.Warm(ctx, id); err != nil && ctx.Err() == nil {
			l.log.Warn("a part of the index is made anew", "layer", id, "error", oneLine(err))
		}
	}
}

// close ends what runs in the background. The parts stay the caller's.
func (l *live) close() {
	l.mu.Lock()
	if l.next != nil {
		l.next.stop()
	}
	l.mu.Unlock()
	done := make(chan struct{})
	go func() { l.running.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second): // a request that never ends holds its model
	}
}
