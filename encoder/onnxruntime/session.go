//go:build cgo

package onnxruntime

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	ort "github.com/yalue/onnxruntime_go"
	"golang.org/x/sys/cpu"

	"github.com/tilescout/tilescout"
)

// Session is one model made ready to run. Run may be called by several goroutines; Close must come after the last Run.
type Session struct {
	Device  string // the execution provider in use: cpu, cuda, …
	session *ort.DynamicAdvancedSession
}

// NewSession makes a model ready. The bytes are copied by the library. A device named explicitly that is not there is an
// error; "auto" falls back to the CPU and reports why to o.Notice.
func (rt *Runtime) NewSession(model []byte, o SessionOptions) (*Session, error) {
	environment.Lock()
	defer environment.Unlock()
	devices, err := candidates(o.Device)
	if err == nil {
		err = checkOptions(o)
	}
	if err != nil {
		return nil, err
	}
	for _, device := range devices {
		s, err := rt.newSession(model, device, o)
		if err == nil {
			return &Session{Device: device, session: s}, nil
		}
		if device == devices[len(devices)-1] {
			return nil, err
		}
		if o.Notice != nil {
			o.Notice(err.Error() + " Falling back.")
		}
	}
	panic("unreachable: candidates returns at least one device")
}

func (rt *Runtime) newSession(model []byte, device string, o SessionOptions) (*ort.DynamicAdvancedSession, error) {
	so, err := ort.NewSessionOptions()
	if err != nil {
		return nil, fmt.Errorf("onnxruntime: session options: %w", err)
	}
	defer so.Destroy()
	err = errors.Join(
		so.SetIntraOpNumThreads(o.Threads),
		so.SetInterOpNumThreads(1),
		so.SetExecutionMode(ort.ExecutionModeSequential),
		// Spinning threads take the cores from decoding and from the other tower's session.
		so.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"),
	)
	// Without VNNI the U8S8 kernels saturate at int16 and give wrong embeddings; with it the slower U8U8 kernels that
	// this key selects would halve the speed.
	if cpu.X86.HasAVX2 && !cpu.X86.HasAVX512VNNI && !cpu.X86.HasAVXVNNI {
		err = errors.Join(err, so.AddSessionConfigEntry("session.x64quantprecision", "1"))
	}
	if o.Folder != "" {
		err = errors.Join(err, so.AddSessionConfigEntry("session.model_external_initializers_file_folder_path", o.Folder))
	}
	if err != nil {
		return nil, fmt.Errorf("onnxruntime: session options: %w", err)
	}
	if err := rt.appendProvider(so, device, o); err != nil {
		return nil, err
	}
	s, err := ort.NewDynamicAdvancedSessionWithONNXData(model, []string{o.Input}, o.Outputs, so)
	if err != nil && device != "cpu" {
		return nil, rt.errProvider(device, err)
	}
	if err != nil {
		return nil, fmt.Errorf("onnxruntime: load model: %s: %w", oneLine(err), tilescout.ErrBadInput)
	}
	return s, nil
}

// Close frees the model.
func (s *Session) Close() error { return s.session.Destroy() }

// Output is where Run writes one output: Data has the length that Shape says.
type Output struct {
	Shape []int64
	Data  []float32
}

// Run runs the model once on one input of the given shape and fills the outputs, in the order that the session was made
// with. It does not stop when a caller leaves, but ends with tilescout.ErrUnavailable after limit, or when ctx, the
// life of the program, ends.
func Run[T uint8 | int64 | float32](ctx context.Context, s *Session, input []T, shape []int64, outputs []Output, limit time.Duration) error {
	in, err := ort.NewTensor(ort.NewShape(shape...), input)
	if err != nil {
		return fmt.Errorf("onnxruntime: input: %w", err)
	}
	defer in.Destroy()
	values := make([]ort.Value, len(outputs))
	for i, out := range outputs {
		t, err := ort.NewTensor(ort.NewShape(out.Shape...), out.Data)
		if err != nil {
			return fmt.Errorf("onnxruntime: output %d: %w", i, err)
		}
		defer t.Destroy()
		values[i] = t
	}
	opts, err := ort.NewRunOptions()
	if err != nil {
		return fmt.Errorf("onnxruntime: run options: %w", err)
	}
	stop := watch(ctx, opts, limit)
	err = s.session.RunWithOptions([]ort.Value{in}, values, opts)
	late := stop()
	opts.Destroy()
	switch {
	case err != nil && late:
		return fmt.Errorf("onnxruntime: a run was stopped after %v: %w", limit, tilescout.ErrUnavailable)
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("onnxruntime: run: %w", ctx.Err())
	case err != nil:
		return fmt.Errorf("onnxruntime: run: %s", oneLine(err))
	}
	return nil
}

// watch terminates the run that uses opts after limit or with ctx. The returned function ends the watch, waits until
// nothing touches opts any more and says whether the limit had passed.
func watch(ctx context.Context, opts *ort.RunOptions, limit time.Duration) (stop func() (late bool)) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errLate)
	var wg sync.WaitGroup
	wg.Add(1)
	detach := context.AfterFunc(ctx, func() {
		defer wg.Done()
		opts.Terminate()
	})
	return func() bool {
		if detach() {
			wg.Done()
		}
		wg.Wait()
		late := context.Cause(ctx) == errLate
		cancel()
		return late
	}
}

var errLate = errors.New("the run took too long")

// oneLine joins the lines of the library's messages, which go to a terminal or into a JSON answer as one, and cuts
// what is no message any more: names out of a model may be anything.
func oneLine(err error) string {
	const most = 600
	line := strings.ToValidUTF8(strings.Join(strings.Fields(err.Error()), " "), "\ufffd")
	if len(line) > most {
		line = strings.ToValidUTF8(line[:most], "") + " …"
	}
	return line
}
