package graph

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/encoder/onnxruntime"
)

// tap is the input of a product that may become int8.
type tap struct {
	name     string
	channels int
	out      int // outputs of each part
	parts    []part
	side     int // of a plane of a ResNet, which is [batch, channels, side, side]; 0 for the input of a product
}

func (t tap) output() string { return "tap." + t.name }

// tokens that the product sees: of the last block only the class token's outputs are computed.
func (t tap) tokens(a checkpoint.Architecture, cells int) int {
	layer, what, _ := strings.Cut(t.name, ".")
	switch {
	case what == "dense":
		return cells
	case layer == fmt.Sprint(a.Layers-1) && what != "qkv":
		return 1
	}
	return 1 + cells
}

// values of one picture.
func (t tap) values(a checkpoint.Architecture, cells int) int {
	if t.side > 0 {
		return t.channels * t.side * t.side
	}
	return t.channels * t.tokens(a, cells)
}

// addTap makes the input of a product an output of the graph, once.
func (b *builder) addTap(taps *[]tap, t tap, value string) {
	for _, known := range *taps {
		if known.name == t.name {
			return
		}
	}
	*taps = append(*taps, t)
	b.rename(value, t.output())
	if t.side > 0 {
		b.output(t.output(), "batch", t.channels, t.side, t.side)
		return
	}
	b.output(t.output(), "batch", "tokens."+t.name, t.channels)
}

// sampler looks at the values of a tap for n pictures at a time.
type sampler interface{ add(values []float32, n int) }

// Calibration says how Calibrate runs.
type Calibration struct {
	Runtime  *onnxruntime.Runtime
	Dir      string // folder for the float tower's weights, which are removed in the end
	Threads  int
	Progress func(done, total int) // may be nil
}

// Bounds of a run of Calibrate: what its outputs may hold, and how long it may take.
const (
	tapBytes     = 192 << 20
	tapTimeLimit = 5 * time.Minute
)

// Calibrate runs the float tower on pictures, each uint8 size × size × 3 as the tower takes it, and finds for the input
// of every product the range, and where a norm lies before it the smoothing, with which its int8 form errs least.
// It also returns the float embeddings of the pictures. Of a ResNet the outputs of convolutions and sums are measured.
func Calibrate(ctx context.Context, w Weights, a checkpoint.Architecture, o ImageOptions, pictures [][]byte, c Calibration) (Ranges, [][]float32, error) {
	o.setDefaults(a)
	var taps []tap
	o.Precision, o.Weights, o.taps = Float32, "calibrate.weights", &taps
	path := filepath.Join(c.Dir, o.Weights)
	defer os.Remove(path)
	model, err := writeTower(path, func(file *os.File) ([]byte, error) { return Image(ctx, w, a, o, file) })
	if err != nil {
		return Ranges{}, nil, err
	}
	run := tapRun{a: a, size: o.Size, cells: (o.Size / a.PatchSize) * (o.Size / a.PatchSize), taps: taps}
	outputs, values := []string{"embedding"}, a.Dimension
	seen := make([]sampler, len(taps))
	for i, t := range taps {
		outputs = append(outputs, t.output())
		values += t.values(a, run.cells)
		if seen[i] = newSamples(t.channels); t.side > 0 {
			seen[i] = newPlaneSamples(t.channels)
		}
	}
	run.session, err = c.Runtime.NewSession(model, onnxruntime.SessionOptions{Input: "pixels", Outputs: outputs, Threads: c.Threads, Folder: c.Dir})
	if err != nil {
		return Ranges{}, nil, fmt.Errorf("graph: calibrate: %w", err)
	}
	embeddings, err := run.all(ctx, pictures, min(8, max(1, tapBytes/(4*values))), seen, c.Progress)
	if closeErr := run.session.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return Ranges{}, nil, fmt.Errorf("graph: calibrate: %w", err)
	}
	if a.Kind == checkpoint.ResNet {
		ranges, err := planeRanges(ctx, w, a, taps, seen)
		return ranges, embeddings, err
	}
	ranges, err := chooseRanges(ctx, w, taps, seen)
	if err != nil {
		return ranges, embeddings, err
	}
	b := &builder{file: newFile(nil, ""), ctx: ctx, w: w}
	matrix, _ := b.patchEmbedding(a, o)
	ranges.Inputs[patchProduct] = patchRange(matrix, a.Width, samplePatches(pictures, o.Size, a.PatchSize), o.Mean)
	return ranges, embeddings, b.err
}

// writeTower writes weights to a new file and returns the graph.
func writeTower(path string, write func(*os.File) ([]byte, error)) ([]byte, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("graph: %w", err)
	}
	model, err := write(file)
	if closeErr := file.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("graph: %w", closeErr)
	}
	return model, err
}

// tapRun runs a graph with taps.
type tapRun struct {
	session *onnxruntime.Session
	a       checkpoint.Architecture
	size    int
	cells   int
	taps    []tap
}

func (r tapRun) all(ctx context.Context, pictures [][]byte, batch int, seen []sampler, progress func(done, total int)) ([][]float32, error) {
	var embeddings [][]float32
	buffers := make([][]float32, len(r.taps))
	for i := 0; i < len(pictures); i += batch {
		n := min(batch, len(pictures)-i)
		pixels := make([]byte, 0, n*3*r.size*r.size)
		for _, p := range pictures[i : i+n] {
			if len(p) != 3*r.size*r.size {
				return nil, fmt.Errorf("a picture has %d bytes, want 3 × %d × %d: %w", len(p), r.size, r.size, ErrShape)
			}
			pixels = append(pixels, p...)
		}
		rows := make([]float32, n*r.a.Dimension)
		outputs := []onnxruntime.Output{{Shape: []int64{int64(n), int64(r.a.Dimension)}, Data: rows}}
		for j, t := range r.taps {
			values := t.values(r.a, r.cells)
			if buffers[j] == nil {
				buffers[j] = make([]float32, batch*values)
			}
			shape := []int64{int64(n), int64(values / t.channels), int64(t.channels)}
			if t.side > 0 {
				shape = []int64{int64(n), int64(t.channels), int64(t.side), int64(t.side)}
			}
			outputs = append(outputs, onnxruntime.Output{Shape: shape, Data: buffers[j][:n*values]})
		}
		if err := onnxruntime.Run(ctx, r.session, pixels, []int64{int64(n), int64(r.size), int64(r.size), 3}, outputs, tapTimeLimit); err != nil {
			return nil, err
		}
		for j, s := range seen {
			s.add(outputs[1+j].Data, n)
		}
		for k := range n {
			embeddings = append(embeddings, rows[k*r.a.Dimension:(k+1)*r.a.Dimension])
		}
		if progress != nil {
			progress(i+n, len(pictures))
		}
	}
	return embeddings, nil
}
