package index

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/tilescout/tilescout"
)

var ctx = context.Background()

func key(dimension int) Key {
	return Key{Layer: "city", Version: "v1", Model: "m1", Preprocessing: "p1", Zoom: 17, Dimension: dimension}
}

// unit gives the embedding that a tile has in its n-th version: another for each, the same every time.
func unit(dimension int, code uint64, version int) []float32 {
	r := rand.New(rand.NewPCG(code, uint64(version)))
	e := make([]float32, dimension)
	var sum float64
	for i := range e {
		e[i] = float32(r.NormFloat64())
		sum += float64(e[i]) * float64(e[i])
	}
	for i := range e {
		e[i] /= float32(math.Sqrt(sum))
	}
	return e
}

// halved is an embedding as it comes back.
func halved(e []float32) []float32 {
	out := make([]float32, len(e))
	for i, x := range e {
		out[i] = fromHalf(toHalf(x))
	}
	return out
}

func rowsOf(dimension, version int, codes ...uint64) (rows []Row) {
	for _, c := range codes {
		rows = append(rows, Row{Code: c, Embedding: unit(dimension, c, version)})
	}
	return rows
}

func mustOpen(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func mustSet(t testing.TB, s *Store, k Key) *Set {
	t.Helper()
	set, err := s.Set(ctx, k)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func mustPut(t testing.TB, s *Set, rows ...Row) {
	t.Helper()
	if err := s.Put(ctx, rows); err != nil {
		t.Fatal(err)
	}
}

// wantRow checks what a set says of a tile: version −1 means blank, −2 unknown.
func wantRow(t testing.TB, s *Set, code uint64, version int) {
	t.Helper()
	e, ok, err := s.Embedding(code)
	if err != nil {
		t.Fatal(err)
	}
	if s.Has(code) != (version > -2) || s.Blank(code) != (version == -1) || ok != (version >= 0) {
		t.Fatalf("code %d: Has %v, Blank %v, Embedding %v; want version %d", code, s.Has(code), s.Blank(code), ok, version)
	}
	if ok && !slices.Equal(e, halved(unit(s.key.Dimension, code, version))) {
		t.Fatalf("code %d is not version %d", code, version)
	}
}

// wantClean runs the independent checker.
func wantClean(t testing.TB, s *Store) Report {
	t.Helper()
	r, err := s.Verify(ctx)
	if err != nil || len(r.Problems) > 0 {
		t.Fatalf("Verify: %v, %v", err, r.Problems)
	}
	return r
}

func TestPutAndReopen(t *testing.T) {
	for _, dimension := range []int{1, 31, 32, 33, 512} {
		t.Run(fmt.Sprint(dimension), func(t *testing.T) {
			dir := t.TempDir()
			o := Options{FlushRows: 50, MinFree: -1}
			if dimension != 33 { // each Put waits for the disk: one of them is enough
				o.fs = newMemFS()
			}
			s := mustOpen(t, dir, o)
			set := mustSet(t, s, key(dimension))
			if set.Len() != 0 || set.Has(3) || set.Snapshot().Len() != 0 {
				t.Fatal("a new set is not empty")
			}
			gens := map[uint64]bool{set.Generation(): true}
			want := map[uint64]int{}
			r := rand.New(rand.NewPCG(1, 1))
			for n := range 40 {
				var rows []Row
				for range 1 + r.IntN(20) {
					code := uint64(r.IntN(300))
					rows = append(rows, Row{Code: code, Embedding: unit(dimension, code, n)})
					want[code] = n
				}
				blank := uint64(r.IntN(300))
				rows = append(rows, Row{Code: blank, Blank: true})
				want[blank] = -1
				mustPut(t, set, rows...)
				if gens[set.Generation()] {
					t.Fatal("Put did not change the generation")
				}
				gens[set.Generation()] = true
			}
			check := func(set *Set) {
				t.Helper()
				var codes []uint64
				for code := range uint64(300) {
					version, known := want[code]
					if !known {
						version = -2
					}
					wantRow(t, set, code, version)
					if version >= 0 {
						codes = append(codes, code)
					}
				}
				snap := set.Snapshot()
				defer snap.Release()
				if diff := cmp.Diff(codes, snap.Codes()); diff != "" {
					t.Fatal(diff)
				}
				st := set.Stats()
				if st.Rows != len(codes) || st.Rows+st.Blanks != len(want) || set.Len() != len(want) || st.Corrupt != 0 || st.Err != nil {
					t.Fatalf("%+v, want %d rows of %d tiles", st, len(codes), len(want))
				}
				checkScan(t, set, want)
			}
			check(set)
			gen := set.Generation()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := set.Put(ctx, rowsOf(dimension, 1, 1)); !errors.Is(err, tilescout.ErrUnavailable) {
				t.Errorf("Put after Close = %v, want ErrUnavailable", err)
			}
			s = mustOpen(t, dir, o)
			set = mustSet(t, s, key(dimension))
			if set.Generation() != gen {
				t.Errorf("generation %d after opening again, want %d", set.Generation(), gen)
			}
			check(set)
			if err := set.Compact(ctx); err != nil {
				t.Fatal(err)
			}
			check(set)
			if st := set.Stats(); st.Segments != 1 || st.WALBytes != headerSize || set.Generation() != gen {
				t.Errorf("after Compact: %+v, generation %d, want one segment, an empty log and %d", st, set.Generation(), gen)
			}
			if r := wantClean(t, s); r.Sets != 1 || r.Rows != set.Stats().Rows {
				t.Errorf("Verify = %+v, want one set of %d rows", r, set.Stats().Rows)
			}
			names, _ := set.fs.List(set.dir)
			if len(names) != 6 { // CURRENT, manifest, log, three files of the segment
				t.Errorf("files left over: %v", names)
			}
			if keys, err := s.Sets(); err != nil || !slices.Equal(keys, []Key{key(dimension)}) {
				t.Errorf("Sets() = %v, %v", keys, err)
			}
		})
	}
}

// checkScan holds similarities of the whole set, and of ranges of it, against products of the embeddings.
func checkScan(t testing.TB, set *Set, want map[uint64]int) {
	t.Helper()
	dimension := set.key.Dimension
	snap := set.Snapshot()
	defer snap.Release()
	var queries []Query
	var embeddings [][]float32
	for v := range 3 {
		e := unit(dimension, 999, v)
		q, err := snap.Quantize(e)
		if err != nil {
			t.Fatal(err)
		}
		queries, embeddings = append(queries, q), append(embeddings, e)
	}
	whole := [][]float32{make([]float32, snap.Len()), make([]float32, snap.Len()), make([]float32, snap.Len())}
	if err := snap.ScanMany(ctx, queries, 0, snap.Len(), whole); err != nil {
		t.Fatal(err)
	}
	for i, code := range snap.Codes() {
		if at, ok := snap.Index(code); !ok || at != i {
			t.Fatalf("Index(%d) = %d, %v, want %d", code, at, ok, i)
		}
		for k, e := range embeddings {
			exact := dot(unit(dimension, code, want[code]), e)
			if math.Abs(float64(whole[k][i]-exact)) > 0.02 {
				t.Fatalf("code %d query %d: similarity %v, want %v", code, k, whole[k][i], exact)
			}
		}
	}
	lo, hi := snap.Range(100, 200)
	for i, code := range snap.Codes() {
		if (i >= lo && i < hi) != (code >= 100 && code < 200) {
			t.Fatalf("Range(100, 200) = %d, %d: row %d is of code %d", lo, hi, i, code)
		}
	}
	for _, r := range [][2]int{{lo, hi}, {0, 1}, {snap.Len() - 1, snap.Len()}, {snap.Len(), snap.Len()}} {
		part := make([]float32, r[1]-r[0])
		if err := snap.Scan(ctx, queries[1], r[0], r[1], part); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(part, whole[1][r[0]:r[1]]) {
			t.Fatalf("a scan of %v differs from the scan of all", r)
		}
	}
}

func TestBadInput(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{MinFree: -1})
	set := mustSet(t, s, key(4))
	good := []float32{1, 0, 0, 0}
	nan := float32(math.NaN())
	for name, tc := range map[string]struct {
		row  Row
		want error
	}{
		"short":            {Row{Embedding: good[:3]}, tilescout.ErrBadInput},
		"none":             {Row{}, tilescout.ErrBadInput},
		"not unit":         {Row{Embedding: []float32{1, 1, 0, 0}}, tilescout.ErrBadInput},
		"zero":             {Row{Embedding: make([]float32, 4)}, tilescout.ErrBadInput},
		"nan":              {Row{Embedding: []float32{nan, 0, 0, 0}}, tilescout.ErrBadInput},
		"infinite":         {Row{Embedding: []float32{float32(math.Inf(1)), 0, 0, 0}}, tilescout.ErrBadInput},
		"blank with one":   {Row{Embedding: good, Blank: true}, tilescout.ErrBadInput},
		"outside the zoom": {Row{Embedding: good, Code: 1 << 34}, tilescout.ErrOutOfRange},
	} {
		err := set.Put(ctx, []Row{{Code: 7, Embedding: good}, tc.row})
		if !errors.Is(err, tc.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: Put = %v, want one line of %v", name, err, tc.want)
		}
	}
	if set.Len() != 0 {
		t.Errorf("%d rows stored by calls that failed", set.Len())
	}
	for name, k := range map[string]Key{
		"empty": {}, "zoom": {Layer: "a", Model: "m", Zoom: 31, Dimension: 4}, "dimension": {Layer: "a", Model: "m", Dimension: 4097},
		"long": {Layer: strings.Repeat("a", 5000), Model: "m", Dimension: 4}, "no dimension": {Layer: "a", Model: "m"},
	} {
		if _, err := s.Set(ctx, k); !errors.Is(err, tilescout.ErrBadInput) && !errors.Is(err, tilescout.ErrOutOfRange) {
			t.Errorf("%s: Set = %v, want ErrBadInput or ErrOutOfRange", name, err)
		}
	}
	mustPut(t, set, Row{Code: 1, Embedding: good})
	snap, other := set.Snapshot(), mustSet(t, s, key(5)).Snapshot()
	defer snap.Release()
	defer other.Release()
	for name, e := range map[string][]float32{"short": good[:2], "nan": {nan, 0, 0, 0}} {
		if _, err := snap.Quantize(e); !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("%s: Quantize = %v, want ErrBadInput", name, err)
		}
	}
	q, _ := snap.Quantize(good)
	for name, err := range map[string]error{
		"range":    snap.Scan(ctx, q, 0, 2, make([]float32, 2)),
		"negative": snap.Scan(ctx, q, -1, 0, make([]float32, 1)),
		"backward": snap.Scan(ctx, q, 1, 0, nil),
		"short":    snap.Scan(ctx, q, 0, 1, nil),
		"foreign":  other.Scan(ctx, q, 0, 0, nil),
	} {
		if !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("%s: Scan = %v, want ErrBadInput", name, err)
		}
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := snap.Scan(gone, q, 0, 1, make([]float32, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("Scan with a cancelled context = %v", err)
	}
	if err := set.Put(gone, rowsOf(4, 1, 9)); !errors.Is(err, context.Canceled) || set.Has(9) {
		t.Errorf("Put with a cancelled context = %v", err)
	}
}

// A dimension that is nearly always zero keeps the few values it has.
func TestSparse(t *testing.T) {
	set := mustSet(t, mustOpen(t, t.TempDir(), Options{MinFree: -1}), key(64))
	var rows []Row
	for i := range 6000 {
		e := make([]float32, 64)
		e[0] = 1
		if i < 64 {
			e[0], e[i] = 0, -1
		}
		rows = append(rows, Row{Code: uint64(i), Embedding: e})
	}
	mustPut(t, set, rows...)
	if err := set.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	snap := set.Snapshot()
	defer snap.Release()
	for i := range 64 {
		q, err := snap.Quantize(rows[i].Embedding)
		if err != nil {
			t.Fatal(err)
		}
		out := make([]float32, 1)
		if err := snap.Scan(ctx, q, i, i+1, out); err != nil || math.Abs(float64(out[0]-1)) > 0.01 {
			t.Errorf("row %d with itself: %v, %v, want 1", i, out[0], err)
		}
	}
}

// The error that eight bits make, as a share of the spread of the similarities, is what ranks can be off by.
func TestPrecision(t *testing.T) {
	const dimension, n = 256, 8000
	r := rand.New(rand.NewPCG(5, 6))
	for _, tc := range []struct {
		name string
		tail float64 // spread of dimensions: 0 all alike, 3 two of them much larger
		want float64
	}{{"alike", 0, 0.011}, {"two large dimensions", 3, 0.012}} {
		mem, spread := map[uint64][]float32{}, make([]float64, dimension)
		for d := range spread {
			spread[d] = 1
			if d < 2 {
				spread[d] += tc.tail
			}
		}
		embedding := func() []float32 {
			e, sum := make([]float32, dimension), 0.0
			for d := range e {
				x := r.NormFloat64() * spread[d]
				e[d] = float32(x)
				sum += x * x
			}
			for d := range e {
				e[d] /= float32(math.Sqrt(sum))
			}
			return halved(e)
		}
		for c := range uint64(n) {
			mem[c] = embedding()
		}
		files := newMemFS()
		k := key(dimension)
		if err := writeSegment(ctx, files, "/", header{fingerprint: k.fingerprint(), number: 1, dimension: dimension}, memSource(mem)); err != nil {
			t.Fatal(err)
		}
		seg, err := openSegment(files, "/", k.fingerprint(), dimension, segmentInfo{1, n, 0})
		if err != nil {
			t.Fatal(err)
		}
		query := embedding()
		q, sum := quantizeQuery(query, seg.scale), make([]int32, 1)
		var wrong, all float64
		for c := range uint64(n) {
			row := seg.vec.body[int(c)*seg.stride():][:seg.stride()]
			dotRows(sum, unsafe.Slice((*int8)(unsafe.Pointer(&row[0])), len(row)), q.values)
			exact := float64(dot(mem[c], query))
			wrong += math.Pow(float64(sum[0])*float64(q.factor)-exact, 2)
			all += exact * exact
		}
		if got := math.Sqrt(wrong / all); got > tc.want {
			t.Errorf("%s: the error is %.4f of the spread, want at most %v", tc.name, got, tc.want)
		} else {
			t.Logf("%s: %.4f", tc.name, got)
		}
	}
}

func TestOneWriter(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{MinFree: -1})
	_, err := Open(dir, Options{})
	if !errors.Is(err, tilescout.ErrUnavailable) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
		t.Errorf("second Open = %v, want ErrUnavailable with process %d", err, os.Getpid())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, dir, Options{})
	if _, err := Open(filepath.Join(dir, "LOCK", "x"), Options{}); !errors.Is(err, tilescout.ErrUnavailable) {
		t.Errorf("Open below a file = %v, want ErrUnavailable", err)
	}
}

func TestReadOnlyFollows(t *testing.T) {
	dir := t.TempDir()
	reader := mustOpen(t, filepath.Join(dir, "index"), Options{ReadOnly: true, Follow: time.Nanosecond})
	follower := mustSet(t, reader, key(33))
	if follower.Len() != 0 {
		t.Fatal("rows in a store that is not there")
	}
	writer := mustOpen(t, filepath.Join(dir, "index"), Options{FlushRows: 10, MinFree: -1})
	set := mustSet(t, writer, key(33))
	for n := range 40 {
		mustPut(t, set, rowsOf(33, n, uint64(n), uint64(n+1))...)
		if n%13 == 0 {
			if err := set.Compact(ctx); err != nil {
				t.Fatal(err)
			}
		}
		wantRow(t, follower, uint64(n), n)
		wantRow(t, follower, uint64(n+1), n)
		if follower.Generation() != set.Generation() || follower.Len() != set.Len() {
			t.Fatalf("after %d: generation %d of %d rows, the writer has %d of %d", n, follower.Generation(), follower.Len(), set.Generation(), set.Len())
		}
	}
	for name, err := range map[string]error{
		"Put": follower.Put(ctx, rowsOf(33, 0, 1)), "Flush": follower.Flush(ctx), "Compact": follower.Compact(ctx), "Remove": reader.Remove(key(33)),
	} {
		if !errors.Is(err, tilescout.ErrUnavailable) {
			t.Errorf("%s read-only = %v, want ErrUnavailable", name, err)
		}
	}
}

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{FlushRows: 4, MinFree: -1})
	set := mustSet(t, s, key(8))
	other := key(8)
	other.Zoom = 16
	mustPut(t, mustSet(t, s, other), rowsOf(8, 2, 1)...)
	mustPut(t, set, rowsOf(8, 1, 1, 2, 3, 4, 5)...)
	mustPut(t, set, rowsOf(8, 1, 6)...)
	snap := set.Snapshot()
	gen := set.Generation()
	if err := s.Remove(key(8)); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(Key{Layer: "never", Model: "seen", Dimension: 1}); err != nil {
		t.Errorf("Remove of what is not there = %v", err)
	}
	if _, err := os.Stat(set.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
	q, err := snap.Quantize(unit(8, 1, 1))
	out := make([]float32, 6)
	if err = errors.Join(err, snap.Scan(ctx, q, 0, 6, out)); err != nil || out[0] < 0.98 {
		t.Errorf("scan of a snapshot after Remove: %v, %v", out, err)
	}
	snap.Release()
	again := mustSet(t, s, key(8))
	if again.Len() != 0 || again.Generation() == gen {
		t.Errorf("made anew it has %d rows and generation %d", again.Len(), again.Generation())
	}
	mustPut(t, again, rowsOf(8, 3, 1)...)
	wantRow(t, again, 1, 3)
	wantRow(t, mustSet(t, s, other), 1, 2)
	if keys, err := s.Sets(); err != nil || len(keys) != 2 {
		t.Errorf("Sets() = %v, %v, want 2", keys, err)
	}
}

// Writers and readers at once, with flushes and merges between them: each reader sees whole rows of its moment.
func TestParallel(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{FlushRows: 30, MinFree: -1})
	set := mustSet(t, s, key(48))
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	for w := range 4 {
		writers.Go(func() {
			for n := range 50 {
				if err := set.Put(ctx, rowsOf(48, 0, uint64(w*1000+n), uint64(w*1000+n+1), uint64(w*1000+n+2))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				snap := set.Snapshot()
				q, err := snap.Quantize(unit(48, 5, 0))
				out := make([]float32, snap.Len())
				if err = errors.Join(err, snap.Scan(ctx, q, 0, snap.Len(), out)); err != nil {
					t.Error(err)
				}
				if best := TopK(out, 1); len(best) == 1 && snap.Len() > 0 {
					if _, ok := snap.Index(5); ok && snap.Codes()[best[0]] != 5 {
						t.Errorf("nearest to tile 5 is %d", snap.Codes()[best[0]])
					}
				}
				snap.Release()
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	if set.Len() != 208 {
		t.Errorf("%d rows, want 208", set.Len())
	}
	wantClean(t, s)
}

func TestTopK(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for n := range 60 {
		scores := make([]float32, n)
		for i := range scores {
			scores[i] = float32(r.IntN(20))
			if r.IntN(8) == 0 {
				scores[i] = float32(math.NaN())
			}
		}
		var want []int
		for i, x := range scores {
			if x == x {
				want = append(want, i)
			}
		}
		slices.SortStableFunc(want, func(a, b int) int {
			switch {
			case scores[a] > scores[b]:
				return -1
			case scores[a] < scores[b]:
				return 1
			}
			return 0
		})
		for k := -1; k < n+2; k++ {
			got := TopK(scores, k)
			if !slices.Equal(got, want[:max(0, min(k, len(want)))]) {
				t.Fatalf("TopK(%v, %d) = %v, want %v", scores, k, got, want)
			}
		}
	}
}

func TestHalf(t *testing.T) {
	for h := range uint16(0x7c00) {
		for _, h := range []uint16{h, h | 0x8000} {
			if got := toHalf(fromHalf(h)); got != h {
				t.Fatalf("half %04x comes back as %04x", h, got)
			}
		}
	}
	for _, tc := range []struct {
		in   float32
		want uint16
	}{{1, 0x3c00}, {-2, 0xc000}, {0.5, 0x3800}, {1 + 1.0/2048, 0x3c00}, {1 + 3.0/2048, 0x3c02}, {0x1p-24, 1}, {0x1p-25, 0}, {0x1.8p-24, 2}, {0x1p-14, 0x0400}, {0.333251953125, 0x3555}} {
		if got := toHalf(tc.in); got != tc.want {
			t.Errorf("toHalf(%v) = %04x, want %04x", tc.in, got, tc.want)
		}
	}
}
