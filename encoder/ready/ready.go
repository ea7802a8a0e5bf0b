// Package ready reads CLIP models that somebody else has exported to ONNX, as immich, rclip, optimum and transformers.js
// keep them, and writes their towers as the encoder runs them.
//
//	m, err := ready.Open("ViT-B-32__openai")
//	graph, err := m.Image.Write(ctx, m.Normalisation(), m.Size, weights, "image.weights")
//
// What a graph takes and gives is decided by rank and element type; names decide only where several would do. The graphs
// themselves stay as they are: a few operators before and behind them do what exporters do differently.
package ready

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder/checkpoint"
)

// Model is a ready model.
type Model struct {
	Layout        string // immich, rclip, optimum, transformers.js or files
	Image, Text   *Tower
	Size          int // pixels a side
	Context       int // tokens of a prompt
	Dimension     int
	Preprocessing checkpoint.Preprocessing
	Tokenizer     checkpoint.Tokenizer
}

// Bounds on what is believed.
const (
	maxGraph   = 2<<30 - 1 // bytes: a protobuf message can be no larger
	maxSize    = 1024
	maxContext = 1024
	usual      = 77 // of a CLIP that says none
)

// Open reads a folder. One without a pair of graphs is checkpoint.ErrFolder; graphs that are no towers of a CLIP, and side
// files that contradict them, are tilescout.ErrBadInput.
func Open(dir string) (*Model, error) {
	files, err := checkpoint.FindONNX(dir)
	if err != nil {
		return nil, err
	}
	m := &Model{Layout: files.Layout}
	if err := m.open(dir, files); err != nil {
		return nil, fmt.Errorf("%s (%s): %w", dir, files.Layout, err)
	}
	return m, nil
}

func (m *Model) open(dir string, files checkpoint.ONNXFolder) error {
	sides, err := checkpoint.ReadSides(dir)
	if err != nil {
		return err
	}
	var g *graph
	for _, t := range []struct {
		file  string
		image bool
		tower **Tower
	}{{files.Image, true, &m.Image}, {files.Text, false, &m.Text}} {
		if t.image || files.Text != files.Image {
			if g, err = read(t.file); err != nil {
				return err
			}
		}
		if *t.tower, err = findTower(t.file, g, t.image); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(t.file), err)
		}
	}
	m.Size = cmp.Or(m.Image.Size, sides.ImageSize, 224)
	m.Context = cmp.Or(m.Text.Length, sides.Context, usual)
	m.Dimension = cmp.Or(m.Image.Dimension, m.Text.Dimension, sides.Dimension)
	switch {
	case m.Size < 8 || m.Size > maxSize:
		return fmt.Errorf("pictures of %d pixels a side, want 8 to %d: %w", m.Size, maxSize, ErrTower)
	case m.Context < 3 || m.Context > maxContext:
		return fmt.Errorf("prompts of %d tokens, want 3 to %d: %w", m.Context, maxContext, ErrTower)
	case m.Dimension < 1:
		return fmt.Errorf("neither graph says how long an embedding is, and no config.json does: %w", ErrTower)
	}
	for what, got := range map[string]int{"image": m.Image.Dimension, "text": m.Text.Dimension} {
		if got != 0 && got != m.Dimension {
			return fmt.Errorf("the %s tower gives %d values, the other %d: they belong to different models, or one lacks its projection: %w", what, got, m.Dimension, ErrTower)
		}
	}
	m.Preprocessing = sides.Preprocessing(m.Size)
	m.Tokenizer = checkpoint.FindTokenizer(dir, filepath.Join(dir, "textual"), filepath.Join(dir, "tokenizer"))
	return nil
}

// Normalisation is what the image tower wants done to pixels.
func (m *Model) Normalisation() Normalisation {
	return Normalisation{m.Preprocessing.Mean, m.Preprocessing.Std}
}

func read(path string) (*graph, error) {
	info, err := os.Stat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxGraph) {
		err = fmt.Errorf("want a regular file of at most %d bytes: %w", int64(maxGraph), ErrGraph)
	}
	var raw []byte
	if err == nil {
		raw, err = os.ReadFile(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", err, tilescout.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	g, err := parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return g, nil
}
