package index

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"

	"github.com/tilescout/tilescout"
)

// Report is what Verify found.
type Report struct {
	Sets     int
	Files    int
	Rows     int   // in segments and logs; a row that was replaced counts until it is merged away
	Bytes    int64 // read and held against their checksums
	Problems []Problem
}

// Problem is a file that is not what it should be.
type Problem struct {
	Key  Key
	File string
	Text string
}

// Verify reads every byte of every set and holds it against its checksums, and what it means against what it has to
// mean: order of codes, lengths of embeddings, int8 rows against half floats. It changes nothing, and goes by the
// files alone, whatever this store has in memory. The error is for what kept it from looking.
func (s *Store) Verify(ctx context.Context) (Report, error) {
	var r Report
	names, err := s.o.fs.List(s.dir)
	if err != nil {
		return r, fmt.Errorf("index: list %s: %w: %w", s.dir, tilescout.ErrUnavailable, err)
	}
	for _, name := range names {
		dir := filepath.Join(s.dir, name)
		files, err := s.o.fs.List(dir)
		if err != nil || len(files) == 0 {
			continue // no folder
		}
		for try := 1; ; try++ { // a writer may replace files while we read
			v := verifier{ctx: ctx, fs: s.o.fs, dir: dir}
			err := v.set()
			if errors.Is(err, fs.ErrNotExist) && try < 5 {
				continue
			}
			if ctx.Err() != nil {
				return r, ctx.Err()
			}
			if err != nil {
				v.report(currentName, err)
			}
			if v.r.Sets > 0 || len(v.r.Problems) > 0 {
				r.Sets += v.r.Sets
				r.Files += v.r.Files
				r.Rows += v.r.Rows
				r.Bytes += v.r.Bytes
				r.Problems = append(r.Problems, v.r.Problems...)
			}
			break
		}
	}
	return r, nil
}

type verifier struct {
	ctx context.Context
	fs  fileSystem
	dir string
	man manifest
	r   Report
}

func (v *verifier) report(file string, err error) {
	v.r.Problems = append(v.r.Problems, Problem{v.man.Key, filepath.Join(v.dir, file), err.Error()})
}

func (v *verifier) set() error {
	man, _, err := readManifest(v.fs, v.dir)
	if errors.Is(err, fs.ErrNotExist) {
		if names, _ := v.fs.List(v.dir); !contains(names, currentName) {
			return nil // removed, or never finished
		}
	}
	if err != nil {
		return err
	}
	v.man = man
	v.r.Sets++
	v.r.Files += 2
	for _, info := range man.Segments {
		err := guarded(func() error { return v.segment(info) })
		if v.ctx.Err() != nil || errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err != nil {
			v.report(segmentName(info.Number, "*"), err)
		}
	}
	name := walName(man.WAL)
	m, err := v.fs.Map(filepath.Join(v.dir, name))
	if err != nil {
		return err
	}
	defer m.Close()
	h := header{kind: kindWAL, fingerprint: man.Key.fingerprint(), number: man.WAL, dimension: uint32(man.Key.Dimension)}
	gaps := 0
	err = guarded(func() error {
		var err error
		gaps, err = replay(m.Bytes(), h, func(_, _ uint64, _ []byte) { v.r.Rows++ })
		return err
	})
	if err == nil && gaps > 0 {
		err = fmt.Errorf("%d damaged stretches with good records after them", gaps)
	}
	if err != nil {
		v.report(name, err)
	}
	v.r.Files++
	v.r.Bytes += int64(len(m.Bytes()))
	return nil
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

func (v *verifier) segment(info segmentInfo) error {
	key := v.man.Key
	s, err := openSegment(v.fs, v.dir, key.fingerprint(), key.Dimension, info)
	if err != nil {
		return err
	}
	defer s.release()
	v.r.Files += 3
	v.r.Bytes += s.bytes()
	v.r.Rows += len(s.codes)
	blank := map[uint64]bool{}
	for _, c := range s.blanks {
		blank[c] = true
		if c>>(2*key.Zoom) != 0 {
			return fmt.Errorf("code %d is no tile of zoom %d", c, key.Zoom)
		}
	}
	stride, row := s.stride(), make([]float32, key.Dimension)
	for i, c := range s.codes {
		if i%1024 == 0 && v.ctx.Err() != nil {
			return v.ctx.Err()
		}
		if c>>(2*key.Zoom) != 0 || blank[c] {
			return fmt.Errorf("code %d is no tile of zoom %d, or blank as well", c, key.Zoom)
		}
		half, err := s.halfRow(i)
		if err != nil {
			return err
		}
		vec, err := s.vec.bytes(int64(i*stride), int64((i+1)*stride))
		if err != nil {
			return err
		}
		unpack(row, half)
		if err := sameRow(row, vec, s.scale); err != nil {
			return fmt.Errorf("code %d: %w", c, err)
		}
	}
	return nil
}

// sameRow holds an int8 row against the embedding it is made of.
func sameRow(row []float32, vec []byte, scale []float32) error {
	var sum float64
	for d, x := range row {
		sum += float64(x) * float64(x)
		want := 0.0
		if scale[d] > 0 {
			want = math.Max(-127, math.Min(127, float64(x)/float64(scale[d])))
		}
		if got := float64(int8(vec[d])); math.Abs(got-want) > 0.51 {
			return fmt.Errorf("value %d is %v in eight bits, want %.1f", d, got, want)
		}
	}
	for d := len(row); d < len(vec); d++ {
		if vec[d] != 0 {
			return fmt.Errorf("the padding holds %d", vec[d])
		}
	}
	if !(math.Abs(sum-1) < 0.05) {
		return fmt.Errorf("an embedding of length² %.3g, want 1", sum)
	}
	return nil
}
