package convert

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"time"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/graph"
	"github.com/tilescout/tilescout/encoder/onnxruntime"
)

// What an int8 tower must reach on real tiles, or it stays float: the mean cosine to float, and the share of the ten
// nearest pictures that stay among the ten nearest.
const (
	leastCosine     = .995
	leastNeighbours = .95
	neighbours      = 10
)

// image writes the image tower.
func (w *writer) image(ctx context.Context, o graph.ImageOptions) error {
	if w.o.Precision == graph.Int8Static {
		ranges, ok, err := w.calibrated(ctx, o)
		if err != nil {
			return err
		}
		if o.Ranges = ranges; !ok {
			o.Precision = graph.Float32
			w.m.Made.Precision = string(graph.Float32)
		}
	}
	w.progress("image tower", 0, 1)
	err := w.imageTower(ctx, o)
	w.progress("image tower", 1, 1)
	return err
}

func (w *writer) imageTower(ctx context.Context, o graph.ImageOptions) error {
	m := &w.m.Image
	return w.tower("image", &m.File, &m.SHA256, &m.Weights, func(f io.Writer) ([]byte, error) {
		return graph.Image(ctx, w.c, w.a, o, f)
	})
}

// calibrated finds ranges with which the int8 tower passes the gate, leaving the products that err most in float, as
// many as it takes. ok is false where that would be most of them: the tower stays float then.
func (w *writer) calibrated(ctx context.Context, o graph.ImageOptions) (ranges graph.Ranges, ok bool, err error) {
	if w.o.Runtime == nil {
		return ranges, false, fmt.Errorf("int8 is calibrated by running the model, for which ONNX Runtime is needed: %w", tilescout.ErrUnavailable)
	}
	var pictures [][]byte
	for _, p := range w.o.Pictures {
		if pixels, err := encoder.Pixels(w.m.Image, p.Data); err == nil { // empty tiles and damaged files tell nothing
			pictures = append(pictures, pixels)
		}
	}
	if len(pictures) < MinPictures {
		return ranges, false, fmt.Errorf("%d usable pictures to calibrate int8 on, want %d or more, as they will be embedded: %w", len(pictures), MinPictures, tilescout.ErrBadInput)
	}
	ranges, float, err := graph.Calibrate(ctx, w.c, w.a, o, pictures, graph.Calibration{
		Runtime: w.o.Runtime, Dir: w.dir, Threads: w.o.Threads,
		Progress: func(done, total int) { w.progress("calibrate", done, total) },
	})
	if err != nil {
		return ranges, false, err
	}
	worst := make([]string, 0, len(ranges.Inputs))
	for name := range ranges.Inputs {
		worst = append(worst, name)
	}
	sort.Slice(worst, func(i, j int) bool {
		a, b := ranges.Inputs[worst[i]].Error, ranges.Inputs[worst[j]].Error
		return a > b || a == b && worst[i] < worst[j]
	})
	for kept := 0; ; kept = max(1, 2*kept) {
		for _, name := range worst[:min(kept, len(worst))] {
			r := ranges.Inputs[name]
			r.Float = true
			ranges.Inputs[name] = r
		}
		o.Ranges = ranges
		int8, err := w.embed(ctx, o, pictures)
		if err != nil {
			return ranges, false, err
		}
		q := compare(float, int8)
		q.Float = slices.Sorted(slices.Values(worst[:kept]))
		w.m.Made.Int8 = q
		if Passes(q) {
			return ranges, true, nil
		}
		if 2*max(1, kept) > len(worst)/2 {
			w.note("int8 was given up: with %d of %d layers in float the mean cosine to float is %.4f, want %.3f, and %.0f %% of neighbours stay, want %.0f: the model stays in float32",
				kept, len(worst), q.Cosine, leastCosine, 100*q.Neighbours, 100*leastNeighbours)
			return ranges, false, nil
		}
	}
}

// Passes says whether an int8 tower is near enough to float.
func Passes(q *encoder.Int8) bool {
	return q.Cosine >= leastCosine && (q.Neighbours == 0 || q.Neighbours >= leastNeighbours)
}

// embed writes the tower as it would be and runs it on pictures.
func (w *writer) embed(ctx context.Context, o graph.ImageOptions, pictures [][]byte) ([][]float32, error) {
	defer os.Remove(filepath.Join(w.dir, "image.weights"))
	defer os.Remove(filepath.Join(w.dir, "image.onnx"))
	if err := w.imageTower(ctx, o); err != nil {
		return nil, err
	}
	model, err := os.ReadFile(filepath.Join(w.dir, "image.onnx"))
	if err != nil {
		return nil, err
	}
	session, err := w.o.Runtime.NewSession(model, onnxruntime.SessionOptions{
		Input: "pixels", Outputs: []string{"embedding"}, Threads: w.o.Threads, Folder: w.dir,
	})
	if err != nil {
		return nil, err
	}
	defer session.Close()
	const batch = 8
	size, d := int64(w.m.Image.Size), w.a.Dimension
	var rows [][]float32
	for chunk := range slices.Chunk(pictures, batch) {
		n := int64(len(chunk))
		out := make([]float32, len(chunk)*d)
		err := onnxruntime.Run(ctx, session, bytes.Join(chunk, nil), []int64{n, size, size, 3},
			[]onnxruntime.Output{{Shape: []int64{n, int64(d)}, Data: out}}, 5*time.Minute)
		if err != nil {
			return nil, err
		}
		for row := range slices.Chunk(out, d) {
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// compare measures int8 embeddings of pictures against their float ones, all of unit length.
func compare(float, int8 [][]float32) *encoder.Int8 {
	q := &encoder.Int8{Pictures: len(float), Least: 1}
	for i := range float {
		c := dot(float[i], int8[i])
		q.Cosine += c / float64(len(float))
		q.Least = min(q.Least, c)
	}
	q.Cosine, q.Least = round(q.Cosine), round(q.Least)
	if len(float) < 5*neighbours { // of fewer, ten are no choice
		return q
	}
	stay := 0
	for i := range float {
		a, b := nearest(float, i), nearest(int8, i)
		for _, j := range a {
			if slices.Contains(b, j) {
				stay++
			}
		}
	}
	q.Neighbours = round(float64(stay) / float64(neighbours*len(float)))
	return q
}

// nearest are the pictures most similar to picture i.
func nearest(rows [][]float32, i int) []int {
	type pair struct {
		j int
		c float64
	}
	var all []pair
	for j := range rows {
		if j != i {
			all = append(all, pair{j, dot(rows[i], rows[j])})
		}
	}
	sort.Slice(all, func(a, b int) bool { return all[a].c > all[b].c || all[a].c == all[b].c && all[a].j < all[b].j })
	out := make([]int, 0, neighbours)
	for _, p := range all[:min(neighbours, len(all))] {
		out = append(out, p.j)
	}
	return out
}

func dot(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

func round(v float64) float64 { return math.Round(v*1e5) / 1e5 }
