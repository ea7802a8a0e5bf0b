// Package convert makes model folders of checkpoints: graphs, vocabulary, background concepts and a manifest, all of
// them or nothing.
//
//	c, err := checkpoint.Open(ctx, "clip-rsicd", checkpoint.Options{})
//	report, err := convert.Convert(ctx, c, "models/clip-rsicd", convert.Options{ID: "clip-rsicd"})
package convert

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/bpe"
	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/encoder/graph"
	"github.com/tilescout/tilescout/encoder/onnxruntime"
)

// Options say what kind of model is wanted. The zero value is the checkpoint as it is, in float32.
type Options struct {
	ID, Title, Licence string
	Size               int               // pixels a side of the input; 0 is that of the training
	Precision          graph.Precision   // of the image tower; "" is Float32
	Dense              graph.DenseMethod // "" is NACLIP's
	Vocabulary         string            // folder of the vocabulary where the checkpoint has none
	LogitScale         float64           // of ready graphs, which do not hold it; 0 is 100
	// Pictures are tiles as they will be embedded: int8 is calibrated on them and compared with float. 100 or more tell.
	Pictures []tilescout.Picture
	Runtime  *onnxruntime.Runtime // for int8
	Threads  int
	Progress func(stage string, done, total int) // may be nil
	// Check looks at the finished folder before it gets its name; its error ends the conversion. May be nil.
	Check func(ctx context.Context, dir string) error
}

// MinPictures is the number of pictures without which Int8Static is refused.
const MinPictures = 16

// Report is what became of a conversion.
type Report struct {
	Manifest encoder.Manifest
	Bytes    int64    // of the folder
	Notes    []string // what the user should know
}

// Convert writes the model folder out, which must not exist, beside it first and then under its name: an interrupted or
// failed conversion leaves nothing. A checkpoint that cannot be converted, a vocabulary that is not its own and an out
// that exists are tilescout.ErrBadInput.
func Convert(ctx context.Context, c *checkpoint.Checkpoint, out string, o Options) (Report, error) {
	return write(ctx, out, o.Check, func(dir string) (Report, error) {
		w := &writer{dir: dir, c: c, a: c.Architecture(), o: o}
		return w.all(ctx)
	})
}

// write makes a folder: fill writes it beside out, and it gets its name when it is whole and check, which may be nil,
// has found nothing.
func write(ctx context.Context, out string, check func(context.Context, string) error, fill func(dir string) (Report, error)) (report Report, err error) {
	out = filepath.Clean(out)
	if _, err := os.Lstat(out); err == nil {
		return Report{}, fmt.Errorf("convert: %s exists already: remove it or name another folder: %w", out, tilescout.ErrBadInput)
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return Report{}, fmt.Errorf("convert: %w", err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(out), "."+filepath.Base(out)+".part-")
	if err != nil {
		return Report{}, fmt.Errorf("convert: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if report, err = fill(dir); err != nil {
		return Report{}, fmt.Errorf("convert: %w", err)
	}
	if check != nil {
		if err := check(ctx, dir); err != nil {
			return Report{}, fmt.Errorf("convert: %w", err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return Report{}, fmt.Errorf("convert: %w", err)
	}
	if err := os.Rename(dir, out); err != nil {
		return Report{}, fmt.Errorf("convert: %w", err)
	}
	return report, nil
}

// writer writes one folder.
type writer struct {
	dir    string
	c      *checkpoint.Checkpoint
	a      checkpoint.Architecture
	o      Options
	m      encoder.Manifest
	report Report

	tokenizer *bpe.Tokenizer
}

func (w *writer) note(format string, args ...any) {
	w.report.Notes = append(w.report.Notes, fmt.Sprintf(format, args...))
}

func (w *writer) progress(stage string, done, total int) {
	if w.o.Progress != nil {
		w.o.Progress(stage, done, total)
	}
}

func (w *writer) all(ctx context.Context) (Report, error) {
	options, err := w.plan()
	if err != nil {
		return Report{}, err
	}
	if err := w.vocabulary(w.c.Tokenizer(), w.fits); err != nil {
		return Report{}, err
	}
	if err := w.image(ctx, options); err != nil {
		return Report{}, err
	}
	w.progress("text tower", 0, 1)
	text := graph.TextOptions{}
	if w.o.Precision != graph.Float32 {
		text.Precision = graph.Float16 // it runs seldom: what counts is its size
	}
	m := &w.m.Text
	if err := w.tower("text", &m.File, &m.SHA256, &m.Weights, func(f io.Writer) ([]byte, error) {
		return graph.Text(ctx, w.c, w.a, text, f)
	}); err != nil {
		return Report{}, err
	}
	w.progress("text tower", 1, 1)
	m.Input, m.Output, m.Context = "tokens", "embedding", w.a.TextContext
	if err := w.golden(ctx); err != nil {
		return Report{}, err
	}
	return w.finish()
}

// fits says whether a vocabulary is that of the checkpoint's text tower.
func (w *writer) fits(t *bpe.Tokenizer) error { return t.Fits(w.a.Vocabulary, w.a.EOS) }

// finish writes what is the same for all models, and the manifest last.
func (w *writer) finish() (Report, error) {
	if err := w.background(); err != nil {
		return Report{}, err
	}
	manifest, err := json.MarshalIndent(w.m, "", " ")
	if err != nil {
		return Report{}, err
	}
	if err := w.file("model.json", append(manifest, '\n')); err != nil {
		return Report{}, err
	}
	w.report.Manifest = w.m
	w.report.Bytes, err = size(w.dir)
	return w.report, err
}

// plan fills in the manifest as far as it is known beforehand.
func (w *writer) plan() (graph.ImageOptions, error) {
	p := w.c.Preprocessing()
	size := w.o.Size
	if size == 0 {
		size = w.a.ImageSize
	}
	if w.o.Precision == "" {
		w.o.Precision = graph.Float32
	}
	if w.a.Kind == checkpoint.ResNet && w.o.Precision == graph.Int8Dynamic {
		return graph.ImageOptions{}, fmt.Errorf("int8 in dynamic ranges is made for Vision Transformers; convert this %s with --int8: %w", w.a.Name(), tilescout.ErrBadInput)
	}
	w.m = encoder.Manifest{
		Format: 1, ID: w.o.ID, Title: w.o.Title, Licence: w.o.Licence,
		Dimension: w.a.Dimension, LogitScale: w.c.LogitScale(),
		Image: encoder.ImageManifest{Size: size, Filter: p.Filter, Input: "pixels", Output: "embedding", Dense: "dense"},
		Made: &encoder.Made{
			Architecture: w.a.Name(), Format: w.c.Format(), Activation: w.a.Activation, ActivationFrom: w.a.ActivationFrom,
			Mean: p.Mean, Std: p.Std, Precision: string(w.o.Precision),
		},
	}
	w.named("CLIP " + w.a.Name())
	if w.o.Dense == graph.DenseNone {
		w.m.Image.Dense = ""
	}
	var err error
	if w.m.Image.Resize, w.m.Image.Edge, err = resizing(p, size); err != nil {
		return graph.ImageOptions{}, err
	}
	if w.a.ActivationFrom == "guess" {
		w.note("the checkpoint does not say its activation: %s was taken. The wrong one costs accuracy silently: look it up and say --activation quick_gelu or gelu", w.a.Activation)
	}
	return graph.ImageOptions{Size: size, Mean: p.Mean, Std: p.Std, Positions: positionsOf(w.c), Dense: w.o.Dense, Precision: w.o.Precision}, nil
}

// named fills in what nobody said.
func (w *writer) named(title string) {
	w.m.Title = cmp.Or(w.m.Title, title)
	w.m.Licence = cmp.Or(w.m.Licence, "that of the checkpoint")
}

// resizing is a way of preprocessing in the words of a manifest, for an input of size pixels.
func resizing(p checkpoint.Preprocessing, size int) (resize string, edge int, err error) {
	switch p.Resize {
	case "squash":
		resize = "squash"
	case "shortest":
		resize = "shortest-crop"
		if p.Crop == "round" {
			resize = "shortest-crop-round"
		}
		if p.Edge > p.Size {
			edge = p.Edge * size / p.Size
		}
	default:
		return "", 0, fmt.Errorf("its pictures are resized by %q, which Tilescout does not do: want shortest or squash: %w", p.Resize, tilescout.ErrBadInput)
	}
	if p.Filter != "bicubic" && p.Filter != "bilinear" && p.Filter != "box" {
		return "", 0, fmt.Errorf("its pictures are resized with the filter %q: want bicubic, bilinear or box: %w", p.Filter, tilescout.ErrBadInput)
	}
	return resize, edge, nil
}

// defaultDense says whether the dense output is the one that the reference computes.
func (w *writer) defaultDense() bool {
	return w.o.Dense == "" || w.o.Dense == graph.DenseNACLIP || w.a.Kind == checkpoint.ResNet
}

// tower writes NAME.onnx and NAME.weights and notes their hashes.
func (w *writer) tower(name string, file, sum *string, weights *encoder.WeightsFile, write func(io.Writer) ([]byte, error)) error {
	*file, weights.File = name+".onnx", name+".weights"
	f, err := os.Create(filepath.Join(w.dir, weights.File))
	if err != nil {
		return err
	}
	h := sha256.New()
	model, err := write(io.MultiWriter(f, h))
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	weights.SHA256 = hex.EncodeToString(h.Sum(nil))
	digest := sha256.Sum256(model)
	*sum = hex.EncodeToString(digest[:])
	return w.file(*file, model)
}

// file writes a small file.
func (w *writer) file(name string, data []byte) error {
	f, err := os.Create(filepath.Join(w.dir, name))
	if err != nil {
		return err
	}
	_, err = io.Copy(f, bytes.NewReader(data))
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

func size(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}
