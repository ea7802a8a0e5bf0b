package encoder

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder/onnxruntime"
)

// Priority says which of the waiting pictures the model sees first.
type Priority int

const (
	// Interactive: somebody looks at a map and waits.
	Interactive Priority = iota
	// Background: indexing, prefetching.
	Background
)

// Bounds of the runner. Batches beyond 8 gain little on a CPU and make the next one wait longer; on int8 ViT-B/32, 8
// images a run gave 35 % more images a second than 1, 16 gave 55 %, 32 no more than 16.
const (
	interactiveBatch = 8
	backgroundBatch  = 16
	textBatch        = 32
	queueLength      = 512                     // pictures waiting, for each priority
	textQueueLength  = 64                      // calls waiting
	batchWindow      = 2500 * time.Microsecond // how long a run waits for pictures that are being decoded
	runGoal          = 10 * time.Second        // what a run may be expected to take, by that of one picture
	runLimit         = 2 * time.Minute         // after which something is wrong
	fairness         = 8                       // interactive batches in a row after which one of the background is let in
)

var errBusy = fmt.Errorf("encoder: its queue is full, try again in a moment: %w", tilescout.ErrBusy)
var errClosed = fmt.Errorf("encoder: closed: %w", tilescout.ErrUnavailable)

// job is one picture on its way through the image tower.
type job struct {
	ctx    context.Context
	pixels []byte // size × size × 3; the runner gives it back
	done   func(embedding []float32, err error)
}

// textJob is one batch of prompts on its way through the text tower.
type textJob struct {
	ctx    context.Context
	tokens []int64 // n × length
	n      int
	done   chan textResult // holds one
}

type textResult struct {
	rows []float32 // n × dimension
	err  error
}

// runner owns the sessions. Its one goroutine runs them in turn, so that the threads of one run have the cores to
// themselves; everything else hands it jobs through bounded queues.
type runner struct {
	image, text *onnxruntime.Session
	size        int // pixels a side
	dimension   int
	most        int // pictures of a run, at most backgroundBatch

	interactive chan *job
	background  chan *job
	texts       chan *textJob

	mu     sync.RWMutex
	closed bool // guarded by mu: nothing enters a queue once it is set
	stop   context.CancelFunc
	ended  chan struct{}
	buffer sync.Pool // *[]byte of size × size × 3

	stats statistics
	input []byte // of one batch; the goroutine's own, like rows and streak
	rows  []float32
	// streak counts interactive batches since the last one of the background.
	streak int
}

func (r *runner) start() {
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	r.interactive = make(chan *job, queueLength)
	r.background = make(chan *job, queueLength)
	r.texts = make(chan *textJob, textQueueLength)
	r.ended = make(chan struct{})
	r.buffer.New = func() any { b := make([]byte, r.size*r.size*3+slack); return &b }
	r.input = make([]byte, backgroundBatch*r.size*r.size*3)
	r.rows = make([]float32, max(backgroundBatch, textBatch)*r.dimension)
	go r.loop(ctx)
}

// close ends the goroutine; jobs that still wait fail. The sessions may be closed afterwards.
func (r *runner) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.stop()
	<-r.ended
}

// submit hands over a picture, or says at once that the queue is full.
func (r *runner) submit(j *job, p Priority) error {
	if p == Background {
		return enqueue(r, r.background, j)
	}
	return enqueue(r, r.interactive, j)
}

func enqueue[T any](r *runner, queue chan T, v T) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.closed {
		return errClosed
	}
	select {
	case queue <- v:
		return nil
	default:
		return errBusy
	}
}

// loop is the goroutine.
func (r *runner) loop(ctx context.Context) {
	defer close(r.ended)
	defer r.drain()
	batch := make([]*job, 0, backgroundBatch)
	for {
		// What waits goes first, prompts before pictures: they are few and quick, and a map waits for each.
		select {
		case t := <-r.texts:
			r.runText(ctx, t)
			continue
		default:
		}
		p, any := r.next()
		if !any {
			select {
			case <-ctx.Done():
				return
			case t := <-r.texts:
				r.runText(ctx, t)
			case j := <-r.interactive:
				r.runImages(ctx, r.gather(append(batch[:0], j), Interactive))
			case j := <-r.background:
				r.runImages(ctx, r.gather(append(batch[:0], j), Background))
			}
			continue
		}
		if ctx.Err() != nil {
			return
		}
		r.runImages(ctx, r.gather(batch[:0], p))
	}
}

// next chooses the queue to serve among those that hold something.
func (r *runner) next() (p Priority, any bool) {
	background := len(r.background) > 0
	if len(r.interactive) > 0 && !(background && r.streak >= fairness) {
		r.streak++
		return Interactive, true
	}
	r.streak = 0
	return Background, background
}

// gather fills a batch from a queue. It waits, shortly, only while pictures are being decoded that could join.
func (r *runner) gather(batch []*job, p Priority) []*job {
	queue, limit := r.interactive, min(interactiveBatch, r.most)
	if p == Background {
		queue, limit = r.background, r.most
	}
	var timeout <-chan time.Time
	for len(batch) < limit {
		select {
		case j := <-queue:
			if j.ctx.Err() != nil { // its caller has left
				r.finish(j, nil, j.ctx.Err())
				continue
			}
			batch = append(batch, j)
			continue
		default:
		}
		if r.stats.decoding[p].Load() == 0 {
			return batch
		}
		if timeout == nil {
			timer := time.NewTimer(batchWindow)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case j := <-queue:
			batch = append(batch, j)
		case <-timeout:
			return batch
		}
	}
	return batch
}

// runImages runs the image tower on a batch and hands out the embeddings.
func (r *runner) runImages(ctx context.Context, batch []*job) {
	live := batch[:0]
	for _, j := range batch {
		if err := j.ctx.Err(); err != nil {
			r.finish(j, nil, err)
			continue
		}
		live = append(live, j)
	}
	if len(live) == 0 {
		return
	}
	n, bytes := len(live), r.size*r.size*3
	for i, j := range live {
		copy(r.input[i*bytes:], j.pixels[:bytes])
	}
	began := time.Now()
	out := onnxruntime.Output{Shape: []int64{int64(n), int64(r.dimension)}, Data: r.rows[:n*r.dimension]}
	shape := []int64{int64(n), int64(r.size), int64(r.size), 3}
	err := onnxruntime.Run(ctx, r.image, r.input[:n*bytes], shape, []onnxruntime.Output{out}, runLimit)
	r.stats.ran(n, time.Since(began))
	if err != nil {
		err = fmt.Errorf("encoder: image tower: %w", closedOr(ctx, err))
	}
	for i, j := range live {
		if err != nil {
			r.finish(j, nil, err)
			continue
		}
		row := make([]float32, r.dimension)
		copy(row, out.Data[i*r.dimension:])
		r.finish(j, row, unit(row))
	}
}

// finish gives a job's buffer back and its result out.
func (r *runner) finish(j *job, embedding []float32, err error) {
	if pixels := j.pixels; pixels != nil {
		j.pixels = nil
		r.buffer.Put(&pixels)
	}
	if err != nil {
		embedding = nil
	}
	j.done(embedding, err)
}

// runText runs the text tower on one batch of prompts.
func (r *runner) runText(ctx context.Context, t *textJob) {
	if err := t.ctx.Err(); err != nil {
		t.done <- textResult{err: err}
		return
	}
	began := time.Now()
	rows := make([]float32, t.n*r.dimension)
	out := onnxruntime.Output{Shape: []int64{int64(t.n), int64(r.dimension)}, Data: rows}
	err := onnxruntime.Run(ctx, r.text, t.tokens, []int64{int64(t.n), int64(len(t.tokens) / t.n)}, []onnxruntime.Output{out}, runLimit)
	r.stats.ranText(t.n, time.Since(began))
	if err != nil {
		err = fmt.Errorf("encoder: text tower: %w", closedOr(ctx, err))
	}
	for i := 0; i < t.n && err == nil; i++ {
		err = unit(rows[i*r.dimension : (i+1)*r.dimension])
	}
	t.done <- textResult{rows, err}
}

// drain fails everything that waits when the runner ends.
func (r *runner) drain() {
	for {
		select {
		case j := <-r.interactive:
			r.finish(j, nil, errClosed)
		case j := <-r.background:
			r.finish(j, nil, errClosed)
		case t := <-r.texts:
			t.done <- textResult{err: errClosed}
		default:
			return
		}
	}
}

func closedOr(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return errClosed
	}
	return err
}
