package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/encoder/convert"
	"github.com/tilescout/tilescout/encoder/ready"
)

// convertReady makes a model folder of graphs that somebody else exported.
func (a *app) convertReady(ctx context.Context, src string, o convertFlags) error {
	if o.activation != "" || o.calibrate != "" {
		return fmt.Errorf("--activation and --calibrate are for checkpoints; %s holds ready ONNX graphs: %w", src, errUsage)
	}
	m, err := ready.Open(src)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "%s: ready ONNX graphs as %s has them, %d pixels, %d dimensions, %s\n", src, m.Layout, m.Size, m.Dimension, m.Image.Precision)
	finish := a.stages(&o.Options)
	if !o.unverified {
		o.Check = a.checkConverted
	}
	report, err := convert.Ready(ctx, m, o.out, o.Options)
	finish()
	if err != nil {
		return err
	}
	a.converted(report, o.out)
	return nil
}

// printReady says what ready graphs are.
func (a *app) printReady(path string) error {
	m, err := ready.Open(path)
	if err != nil {
		return err
	}
	if a.format("table", "json") == "json" {
		return json.NewEncoder(a.stdout).Encode(m)
	}
	p, vocabulary := m.Preprocessing, "none beside the graphs: CLIP's own is taken, or what --vocabulary names"
	if m.Tokenizer.Folder != "" {
		vocabulary = strings.Join(m.Tokenizer.Files, " and ") + ", cleaned as " + m.Tokenizer.Cleaning
	}
	fmt.Fprintf(a.stdout, "%s: ready ONNX graphs as %s has them\n", path, m.Layout)
	fmt.Fprintf(a.stdout, "image tower    %d × %d pixels, %s, input %q, output %q\n", m.Size, m.Size, m.Image.Precision, m.Image.Input, m.Image.Output)
	fmt.Fprintf(a.stdout, "text tower     %d tokens, %s, input %q, output %q\n", m.Context, m.Text.Precision, m.Text.Input, m.Text.Output)
	fmt.Fprintf(a.stdout, "embedding      %d\npreprocessing  %s, %s, mean %.4g, std %.4g (%s)\nvocabulary     %s\n", m.Dimension, p.Resize, p.Filter, p.Mean, p.Std, p.From, vocabulary)
	return nil
}

// readyFolder is where a model's ready ONNX graphs are kept as a model folder; "" for a model that is one, or is none.
func readyFolder(model, dataDir string) string {
	if _, err := os.Stat(filepath.Join(model, "model.json")); model == "" || model == "bundled" || !errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	files, err := checkpoint.FindONNX(model)
	if err != nil {
		return "" // the encoder says what is amiss
	}
	key, err := fingerprint(files.Image, files.Text)
	if err != nil {
		return ""
	}
	return filepath.Join(dataDir, "models", "ready", key)
}

// makeReady makes a model folder of ready ONNX graphs in the data folder, the first time and when they have changed.
func (a *app) makeReady(ctx context.Context, model, dataDir string) error {
	out := readyFolder(model, dataDir)
	if out == "" || isFolder(out) {
		return nil
	}
	m, err := ready.Open(model)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "tilescout: %s holds ready ONNX graphs: made into a model folder once\n", model)
	report, err := convert.Ready(ctx, m, out, convert.Options{ID: filepath.Base(filepath.Clean(model))})
	for _, n := range report.Notes {
		fmt.Fprintf(a.stderr, "tilescout: %s\n", n)
	}
	if err != nil && isFolder(out) { // another process was quicker
		return nil
	}
	return err
}

// fingerprint of files: where they are, their sizes and times.
func fingerprint(files ...string) (string, error) {
	h := sha256.New()
	for _, f := range files {
		path, err := filepath.Abs(f)
		if err != nil {
			return "", err
		}
		info, err := os.Stat(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d %d\n", path, info.Size(), info.ModTime().UnixNano())
	}
	return hex.EncodeToString(h.Sum(nil)[:12]), nil
}
