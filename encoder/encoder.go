package encoder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder/bundled"
	"github.com/tilescout/tilescout/encoder/onnxruntime"
	"github.com/tilescout/tilescout/internal/cores"
)

// Options says which model to run, and how. The zero value runs the bundled model on the CPU.
type Options struct {
	Model    string            // a model folder, or "bundled", which "" means too
	Device   string            // one of onnxruntime.Devices(); "" is cpu
	Provider map[string]string // options for the execution provider, passed on as they are
	Library  string            // --onnxruntime: the ONNX Runtime library, or a folder that holds it
	Config   string            // encoder.onnxruntime of the config file: as Library, after the environment
	DataDir  string            // data folder, where "runtime install" puts the library
	Threads  int               // threads of one run; 0 means one for each core, at most 8
	Notice   func(line string) // is told what the operator should know, such as a fall-back to the CPU; may be nil
}

// Encoder embeds pictures and prompts with one model. Its methods are safe for concurrent use.
type Encoder struct {
	model     Model
	library   string
	tokenizer tokenizer
	text      TextManifest
	resizer   *resizer
	runner    *runner
	scratch   scratchPool
	decode    *semaphore.Weighted // pictures decoded at the same time, over all callers
	close     sync.Once
}

// Open reads a model, loads ONNX Runtime and makes both towers ready. Errors wrap tilescout.ErrUnavailable where the
// library, the model or the device is missing, and tilescout.ErrBadInput where a file is not what it should be; their
// text says what to do.
func Open(ctx context.Context, o Options) (*Encoder, error) {
	rt, f, err := prepare(ctx, o)
	if err != nil {
		return nil, err
	}
	return start(rt, f, o)
}

// prepare reads the model and loads ONNX Runtime.
func prepare(ctx context.Context, o Options) (*onnxruntime.Runtime, *folder, error) {
	name, dir := o.Model, o.Model
	var files fs.FS
	if name == "" || name == "bundled" {
		name, dir, files = "bundled", "", bundled.FS()
	} else {
		info, err := os.Stat(name)
		if err != nil || !info.IsDir() {
			return nil, nil, fmt.Errorf("model %s: no such folder; name a model folder, or \"bundled\": %w", name, tilescout.ErrUnavailable)
		}
		if dir, err = filepath.Abs(dir); err != nil {
			return nil, nil, err
		}
		files = os.DirFS(dir)
	}
	f, err := readFolder(ctx, files, name)
	if err != nil {
		return nil, nil, err
	}
	f.name, f.dir = name, dir
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	path, err := onnxruntime.Find(onnxruntime.Search{Flag: o.Library, Config: o.Config, DataDir: o.DataDir})
	if err != nil {
		return nil, nil, err
	}
	rt, err := onnxruntime.Load(path)
	return rt, f, err
}

// sessionOptions for the towers of a folder.
func (f *folder) sessionOptions(o Options) onnxruntime.SessionOptions {
	threads := o.Threads
	if threads <= 0 {
		threads = min(cores.N(), 8)
	}
	return onnxruntime.SessionOptions{Threads: threads, Device: o.Device, Provider: o.Provider, Notice: o.Notice, Folder: f.dir}
}

func start(rt *onnxruntime.Runtime, f *folder, o Options) (*Encoder, error) {
	so, name := f.sessionOptions(o), f.name
	so.Input, so.Outputs = f.manifest.Image.Input, []string{f.manifest.Image.Output}
	image, err := rt.NewSession(f.image, so)
	if err != nil {
		return nil, fmt.Errorf("model %s: %s: %w", name, f.manifest.Image.File, err)
	}
	// The text tower is small and runs seldom: it stays on the CPU whatever the device.
	so.Input, so.Outputs = f.manifest.Text.Input, []string{f.manifest.Text.Output}
	so.Device, so.Provider = "cpu", nil
	text, err := rt.NewSession(f.text, so)
	if err != nil {
		image.Close()
		return nil, fmt.Errorf("model %s: %s: %w", name, f.manifest.Text.File, err)
	}
	e := &Encoder{
		model: f.model, library: rt.Path, tokenizer: f.tokenizer, text: f.manifest.Text,
		resizer: newResizer(f.preprocess), decode: semaphore.NewWeighted(int64(cores.N())),
		runner: &runner{image: image, text: text, size: f.model.InputSize, dimension: f.model.Dimension, most: backgroundBatch},
	}
	if f.manifest.Image.Batch > 0 {
		e.runner.most = f.manifest.Image.Batch
	}
	e.model.Provider, e.model.Runtime = image.Device, rt.Version
	e.runner.start()
	// One run of each tower: a graph that does not give what its manifest says is found now, not at the first request.
	if err := e.warm(); err != nil {
		e.Close()
		return nil, fmt.Errorf("model %s: does not run: %w", name, kindOr(err, tilescout.ErrBadInput))
	}
	e.runner.stats = statistics{}
	return e, nil
}

func (e *Encoder) warm() error {
	ctx := context.Background()
	pixels := *e.runner.buffer.Get().(*[]byte)
	for i := range pixels {
		pixels[i] = byte(i * 97) // some texture; a black picture could meet a model without bias
	}
	began := time.Now()
	if _, err := e.encodePixels(ctx, pixels, Interactive); err != nil {
		return err
	}
	// A large model takes as many at a time as are done soon: who waits for a map waits for the whole run.
	e.runner.most = max(1, min(e.runner.most, int(runGoal/max(1, time.Since(began)))))
	_, err := e.encodeTokens(ctx, e.pad([][]int64{e.tokenizer.probe()}), 1)
	return err
}

// Close ends the encoder and frees the model. Calls under way fail with tilescout.ErrUnavailable.
func (e *Encoder) Close() error {
	var err error
	e.close.Do(func() {
		e.runner.close()
		err = errors.Join(e.runner.image.Close(), e.runner.text.Close())
	})
	return err
}

// Model returns what is known of the model. Its slices are shared: do not change them.
func (e *Encoder) Model() Model { return e.model }

// Library returns the path of the ONNX Runtime library in use.
func (e *Encoder) Library() string { return e.library }

// PictureErrors says for each picture of one Images call why it has no embedding; nil for those that have one.
type PictureErrors []error

func (e PictureErrors) Error() string {
	n, first := 0, -1
	for i, err := range e {
		if err != nil {
			if first < 0 {
				first = i
			}
			n++
		}
	}
	if len(e) == 1 {
		return "encoder: " + e[0].Error()
	}
	return fmt.Sprintf("encoder: %d of %d pictures have no embedding; picture %d: %v", n, len(e), first+1, e[first])
}

// Unwrap returns the errors of the pictures.
func (e PictureErrors) Unwrap() []error { return e }

// Images returns one unit-length embedding per picture, in order. Shape: len(pics) × Model().Dimension.
//
// Pictures that cannot be embedded have a nil row, and the error is then a PictureErrors: ErrNoData (a
// tilescout.ErrNotFound) for a fully transparent one, tilescout.ErrBadInput for one that cannot be decoded. A full queue
// is tilescout.ErrBusy. When ctx ends the call returns at once; pictures not yet in a run are dropped.
func (e *Encoder) Images(ctx context.Context, pics []tilescout.Picture, p Priority) ([][]float32, error) {
	if p != Background {
		p = Interactive
	}
	rows := make([][]float32, len(pics))
	errs := make(PictureErrors, len(pics))
	var finished sync.WaitGroup
	// A call has so many pictures under way: enough for the next batch to be ready when the last one ends, and no more,
	// so that one long list neither fills the queue nor holds much memory.
	inFlight := make(chan struct{}, 3*backgroundBatch)
	one := func(i int) {
		select {
		case inFlight <- struct{}{}:
		case <-ctx.Done():
			errs[i] = ctx.Err()
			return
		}
		finished.Add(1)
		done := func(row []float32, err error) {
			rows[i], errs[i] = row, err
			<-inFlight
			finished.Done()
		}
		pixels, err := e.pixels(ctx, pics[i].Data, p)
		if err == nil {
			err = e.runner.submit(&job{ctx: ctx, pixels: pixels, done: done}, p)
		}
		if err != nil {
			done(nil, err)
		}
	}
	all := make(chan struct{})
	if len(pics) == 1 {
		one(0)
		go func() { finished.Wait(); close(all) }()
	} else {
		var g errgroup.Group
		g.SetLimit(cores.N())
		go func() {
			for i := range pics {
				g.Go(func() error { one(i); return nil })
			}
			g.Wait()
			finished.Wait()
			close(all)
		}()
	}
	select {
	case <-all:
	case <-ctx.Done(): // rows and errs still belong to the jobs
		return nil, ctx.Err()
	}
	for _, err := range errs {
		if err != nil {
			return rows, errs
		}
	}
	return rows, nil
}

// pixels decodes and resizes one picture into a buffer of the runner.
func (e *Encoder) pixels(ctx context.Context, data []byte, p Priority) ([]byte, error) {
	e.runner.stats.decoding[p].Add(1)
	defer e.runner.stats.decoding[p].Add(-1)
	if err := e.decode.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer e.decode.Release(1)
	s := e.scratch.get()
	defer e.scratch.put(s)
	if err := s.decode(data); err != nil {
		return nil, err
	}
	pixels := *e.runner.buffer.Get().(*[]byte)
	e.resizer.resize(pixels, &s.pixels, s)
	return pixels, nil
}

// encodePixels embeds one picture that is already as the model wants it.
func (e *Encoder) encodePixels(ctx context.Context, pixels []byte, p Priority) ([]float32, error) {
	type result struct {
		row []float32
		err error
	}
	got := make(chan result, 1)
	err := e.runner.submit(&job{ctx: ctx, pixels: pixels, done: func(row []float32, err error) { got <- result{row, err} }}, p)
	if err != nil {
		return nil, err
	}
	r := <-got
	return r.row, r.err
}

// Text is an embedded prompt.
type Text struct {
	Embedding []float32 // unit length
	Unknown   []string  // words that the model does not know, as they were typed
	Truncated bool      // the prompt was longer than the model reads
	Described []Description
}

// Description is a phrase that the model never saw as a label and reads as other words, which it did see.
type Description struct {
	Phrase string `json:"phrase"` // normalised
	As     string `json:"as"`
}

// Texts returns one embedding per prompt, in order. Templates are not applied. An empty prompt, one without anything that
// the tokenizer reads (a letter or digit for whole words), one that is no UTF-8 and one above 4096 bytes are
// tilescout.ErrBadInput; a full queue is tilescout.ErrBusy.
func (e *Encoder) Texts(ctx context.Context, prompts []string) ([]Text, error) {
	texts := make([]Text, len(prompts))
	lists := make([][]int64, len(prompts))
	for i, prompt := range prompts {
		t, err := e.tokenizer.tokenize(prompt)
		if err != nil {
			return nil, fmt.Errorf("encoder: %w", err)
		}
		texts[i] = Text{Unknown: t.unknown, Truncated: t.truncated, Described: t.described}
		lists[i] = t.ids
	}
	batch := textBatch
	if e.text.Batch > 0 {
		batch = e.text.Batch
	}
	for i := 0; i < len(prompts); i += batch {
		n := min(batch, len(prompts)-i)
		rows, err := e.encodeTokens(ctx, e.pad(lists[i:i+n]), n)
		if err != nil {
			return nil, err
		}
		d := e.model.Dimension
		for j := range n {
			texts[i+j].Embedding = rows[j*d : (j+1)*d : (j+1)*d]
		}
	}
	return texts, nil
}

// pad joins prompts of different lengths: all become as long as the longest, or as the model takes them.
func (e *Encoder) pad(lists [][]int64) []int64 {
	longest := 0
	if e.text.Whole {
		longest = e.text.Context
	}
	for _, l := range lists {
		longest = max(longest, len(l))
	}
	ids := make([]int64, 0, longest*len(lists))
	for _, l := range lists {
		ids = append(ids, l...)
		for range longest - len(l) {
			ids = append(ids, e.tokenizer.padding())
		}
	}
	return ids
}

// encodeTokens embeds n prompts of equal length, at most textBatch.
func (e *Encoder) encodeTokens(ctx context.Context, ids []int64, n int) ([]float32, error) {
	t := &textJob{ctx: ctx, tokens: ids, n: n, done: make(chan textResult, 1)}
	if err := enqueue(e.runner, e.runner.texts, t); err != nil {
		return nil, err
	}
	select {
	case r := <-t.done:
		return r.rows, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// unit checks that an embedding has unit length, and gives it exactly that: int8 graphs are off by rounding. One whose
// length is far off comes from a graph that does not normalise, or from a fault.
func unit(v []float32) error {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	norm := math.Sqrt(sum)
	if !(norm > 0.9 && norm < 1.1) {
		return fmt.Errorf("embedding has length %.3g, want 1: the model's graph is damaged or does not normalise", norm)
	}
	for i := range v {
		v[i] = float32(float64(v[i]) / norm)
	}
	return nil
}

// Tokens returns the ids that a prompt becomes, as the text tower takes them. Errors are those of Texts.
func (e *Encoder) Tokens(prompt string) ([]int64, error) {
	t, err := e.tokenizer.tokenize(prompt)
	if err != nil {
		return nil, fmt.Errorf("encoder: %w", err)
	}
	return t.ids, nil
}
