package main

import (
	"context"
	"errors"
	"sync"

	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/plugin/search"
	"github.com/tilescout/tilescout/tileserver/config"
)

// brain is a model at work: what a server has two of while it changes from one model to another.
type brain struct {
	encoder *encoder.Encoder
	text    *textGate       // nil unless serving
	engine  *search.Engine  // nil if the semantic part is not there
	life    context.Context // of what is done over it without anybody waiting
	end     context.CancelFunc
	work    *sync.WaitGroup // of that
}

// newBrain puts an engine over an encoder, which it closes if that fails. The store must be open.
func (a *app) newBrain(ctx context.Context, cfg config.Config, enc *encoder.Encoder, p *parts, why purpose) (brain, error) {
	b := brain{encoder: enc, work: &sync.WaitGroup{}}
	b.life, b.end = context.WithCancel(ctx)
	words, err := a.keepTexts(cfg, enc)
	if err != nil {
		return brain{}, errors.Join(err, b.close())
	}
	var e search.Encoder = words
	if why == forServing {
		b.text = &textGate{Encoder: words}
		b.text.admit.Store(p.admit)
		e = b.text
	}
	if b.engine, err = search.New(ctx, e, p.store, search.Options{Dense: a.denseEncoder(cfg), Scanned: a.figures.scanned}); err != nil {
		return brain{}, errors.Join(err, b.close())
	}
	words.save()
	return b, nil
}

// digest of the model; "" if there is none.
func (b brain) digest() string {
	if b.engine == nil {
		return ""
	}
	return b.engine.Model().Digest
}

// close ends what is done over the model and frees it. A brain without anything is closed already.
func (b brain) close() error {
	if b.encoder == nil {
		return nil
	}
	b.end()
	b.work.Wait()
	var err error
	if b.engine != nil {
		err = b.engine.Close()
	}
	return errors.Join(err, b.encoder.Close())
}
