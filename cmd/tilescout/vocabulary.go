package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/kept"
	"github.com/tilescout/tilescout/plugin/search"
	"github.com/tilescout/tilescout/tileserver/config"
)

// keptTexts is an encoder whose vocabulary is looked up in the data folder.
type keptTexts struct {
	search.Encoder
	texts *kept.Texts
	warn  func(error)
}

// keepTexts wraps an encoder for the start of an engine, which asks for the whole vocabulary.
func (a *app) keepTexts(cfg config.Config, e *encoder.Encoder) (*keptTexts, error) {
	dir, err := a.dataDir(cfg.Data)
	if err != nil {
		return nil, err
	}
	return &keptTexts{
		Encoder: e, texts: kept.Open(e, filepath.Join(dir, "vocabulary")),
		warn: func(err error) { fmt.Fprintf(a.stderr, "tilescout: %s\n", oneLine(err)) },
	}, nil
}

// Texts implements search.Encoder.
func (k *keptTexts) Texts(ctx context.Context, prompts []string) ([]encoder.Text, error) {
	return k.texts.Texts(ctx, prompts)
}

// save keeps what was asked so far. A folder that cannot be written costs time at the next start, no more.
func (k *keptTexts) save() {
	if err := k.texts.Save(); err != nil {
		k.warn(err)
	}
}
