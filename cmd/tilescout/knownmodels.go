package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/tileserver/config"
)

// knownModel is where a model was when an index was made with it: an index knows a model's digest only.
type knownModel struct {
	Model string `json:"model"` // "bundled" or an absolute folder
	ID    string `json:"id"`
}

// maxKnown bounds the models that are remembered.
const maxKnown = 200

func knownFile(dataDir string) string { return filepath.Join(dataDir, "models", "known.json") }

// knownModels are the models that this data folder has seen, by digest. What cannot be read is as if it were not there:
// it only shortens the way to a model.
func knownModels(dataDir string) map[string]knownModel {
	out := map[string]knownModel{}
	if data, err := os.ReadFile(knownFile(dataDir)); err != nil || json.Unmarshal(data, &out) != nil {
		return map[string]knownModel{}
	}
	return out
}

// remember notes where a model is, so that its index can be used once another model is asked for.
func (a *app) remember(cfg config.Config, m encoder.Model) error {
	dir, err := a.dataDir(cfg.Data)
	if err != nil {
		return err
	}
	now := knownModel{Model: cfg.Model, ID: m.ID}
	if cfg.Model == "" || cfg.Model == "bundled" {
		now.Model = "bundled"
	} else if now.Model, err = filepath.Abs(cfg.Model); err != nil {
		return err
	}
	known := knownModels(dir)
	if known[m.Digest] == now {
		return nil
	}
	for _, digest := range slices.Sorted(maps.Keys(known)) {
		if len(known) < maxKnown {
			break
		}
		delete(known, digest)
	}
	known[m.Digest] = now
	data, err := json.MarshalIndent(known, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(knownFile(dir)), 0o755); err != nil {
		return err
	}
	return renameio.WriteFile(knownFile(dir), data, 0o644)
}

// openDigest opens the model of a digest where it was last, or the bundled one; ErrNotFound if it is gone or has become
// another.
func (a *app) openDigest(ctx context.Context, cfg config.Config, digest string) (*encoder.Encoder, config.Config, error) {
	dir, err := a.dataDir(cfg.Data)
	if err != nil {
		return nil, cfg, err
	}
	known, ok := knownModels(dir)[digest]
	if !ok {
		known.Model = "bundled"
	}
	same := known.Model == "bundled" && (cfg.Model == "" || cfg.Model == "bundled")
	cfg.Model = known.Model
	gone := func(why string) error {
		return fmt.Errorf("%s %s: %w", describeModel(known, digest), why, tilescout.ErrNotFound)
	}
	if ok && known.Model != "bundled" {
		if _, err := os.Stat(known.Model); err != nil {
			return nil, cfg, gone("is no longer at " + known.Model)
		}
	}
	if !same { // the bundled one is open already, and is not it
		enc, err := a.openEncoder(ctx, cfg)
		switch {
		case ctx.Err() != nil:
			return nil, cfg, ctx.Err()
		case err != nil:
			return nil, cfg, gone("does not open: " + oneLine(err))
		case enc.Model().Digest == digest:
			return enc, cfg, nil
		}
		_ = enc.Close() // it has not run
	}
	if !ok {
		return nil, cfg, gone("is not known here")
	}
	if known.Model == "bundled" {
		return nil, cfg, gone("is that of another version of this program")
	}
	return nil, cfg, gone("has become another at " + known.Model)
}

// describeModel names a model for people.
func describeModel(k knownModel, digest string) string {
	if k.ID == "" {
		return fmt.Sprintf("the model with digest %.12s", digest)
	}
	return fmt.Sprintf("the model %s (digest %.12s)", k.ID, digest)
}
