package index

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// benchAgainst times scan and read in turns, so that what else the machine does hits both, and reports the best of each.
func benchAgainst(b *testing.B, scan, read func(), rows, bytes int) {
	best := [2]time.Duration{1 << 62, 1 << 62}
	for b.Loop() {
		for i, f := range []func(){scan, read} {
			start := time.Now()
			f()
			best[i] = min(best[i], time.Since(start))
		}
	}
	b.ReportMetric(float64(rows)/best[0].Seconds(), "tiles/s")
	b.ReportMetric(float64(best[0].Microseconds())/1000, "scan-ms")
	b.ReportMetric(float64(bytes)/best[0].Seconds()/1e9, "GB/s")
	b.ReportMetric(best[1].Seconds()/best[0].Seconds(), "of-memory-read")
}

// memory returns a figure of /proc/self/status in MB, 0 where there is none.
func memory(what string) float64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var kb float64
		if rest, ok := strings.CutPrefix(lines.Text(), what+":"); ok {
			fmt.Sscan(rest, &kb)
			return kb / 1024
		}
	}
	return 0
}

// BenchmarkSet is targets P5, P9 and P10 on a set of 1 M tiles on the disk: filling it, opening it and what memory
// that takes, a scan of it as it is found (first: checksums and page faults too) and again, ranking, and what comes
// after new tiles were put.
func BenchmarkSet(b *testing.B) {
	const n = 1_000_000
	for _, dimension := range []int{256, 512} {
		b.Run(fmt.Sprintf("1Mx%d", dimension), func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "index")
			pool := make([][]float32, 4096)
			for i := range pool {
				pool[i] = unit(dimension, uint64(i), 0)
			}
			start := time.Now()
			st := benchFill(b, dir, dimension, n, pool)
			b.Logf("filled at %.0f tiles/s: %d segments, %d MB", n/time.Since(start).Seconds(), st.Segments, st.Bytes/1e6)
			benchOpen(b, dir, dimension, n)
			benchScan(b, dir, dimension, n, pool)
		})
	}
}

// benchFill puts n tiles in batches of 1,024, as an indexing run does, and waits for the merges.
func benchFill(b *testing.B, dir string, dimension, n int, pool [][]float32) Stats {
	s := mustOpen(b, dir, Options{MinFree: -1})
	defer s.Close()
	set := mustSet(b, s, key(dimension))
	r := rand.New(rand.NewPCG(1, 2))
	rows := make([]Row, 0, 1024)
	for c := range n {
		if rows = append(rows, Row{Code: 3 * uint64(c), Embedding: pool[r.IntN(len(pool))]}); len(rows) == cap(rows) || c == n-1 {
			mustPut(b, set, rows...)
			rows = rows[:0]
		}
	}
	if err := set.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	set.tasks.Wait()
	return set.Stats()
}

func benchOpen(b *testing.B, dir string, dimension, n int) {
	b.Run("open", func(b *testing.B) {
		debug.FreeOSMemory()
		anon, file := memory("RssAnon"), memory("RssFile")
		for b.Loop() {
			s := mustOpen(b, dir, Options{MinFree: -1})
			set := mustSet(b, s, key(dimension))
			snap := set.Snapshot()
			if snap.Len() != n {
				b.Fatalf("%d rows, want %d", snap.Len(), n)
			}
			b.StopTimer()
			debug.FreeOSMemory()
			b.ReportMetric(memory("RssAnon")-anon, "MB-heap")
			b.ReportMetric(memory("RssFile")-file, "MB-mapped")
			snap.Release()
			s.Close()
			b.StartTimer()
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "open-ms")
	})
}

func benchScan(b *testing.B, dir string, dimension, n int, pool [][]float32) {
	s := mustOpen(b, dir, Options{MinFree: -1})
	defer s.Close()
	set := mustSet(b, s, key(dimension))
	out := make([]float32, n)
	scan := func(b *testing.B) {
		snap := set.Snapshot()
		defer snap.Release()
		q, err := snap.Quantize(pool[7])
		if err == nil {
			err = snap.Scan(ctx, q, 0, n, out)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.Run("scan-first", func(b *testing.B) {
		for b.Loop() {
			reader := mustOpen(b, dir, Options{ReadOnly: true})
			set = mustSet(b, reader, key(dimension))
			scan(b)
			reader.Close()
		}
	})
	set = mustSet(b, s, key(dimension))
	b.Run("warm", func(b *testing.B) {
		for b.Loop() {
			reader := mustOpen(b, dir, Options{ReadOnly: true})
			if err := mustSet(b, reader, key(dimension)).Warm(ctx); err != nil {
				b.Fatal(err)
			}
			reader.Close()
		}
	})
	b.Run("scan", func(b *testing.B) {
		plain := make([]int8, n*set.header(0).stride())
		fill(rand.New(rand.NewPCG(1, 2)), plain)
		read := func() { parallel(2, plain, set.header(0).stride(), readAll) }
		benchAgainst(b, func() { scan(b) }, read, n, len(plain))
	})
	b.Run("scan-8-prompts", func(b *testing.B) {
		snap := set.Snapshot()
		defer snap.Release()
		var queries []Query
		var outs [][]float32
		for i := range 8 {
			q, err := snap.Quantize(pool[i])
			if err != nil {
				b.Fatal(err)
			}
			queries, outs = append(queries, q), append(outs, make([]float32, n))
		}
		for b.Loop() {
			if err := snap.ScanMany(ctx, queries, 0, n, outs); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)*float64(n*8)/b.Elapsed().Seconds(), "tiles/s")
	})
	b.Run("rank", func(b *testing.B) {
		for b.Loop() {
			if len(TopK(out, 100)) != 100 {
				b.Fatal("not 100")
			}
		}
	})
	b.Run("put-16-and-scan", func(b *testing.B) { // the map fills in as one looks
		code := uint64(1)
		for b.Loop() {
			var rows []Row
			for range 16 {
				rows = append(rows, Row{Code: code % (3 * uint64(n)), Embedding: pool[code%4096]})
				code += 3
			}
			mustPut(b, set, rows...)
			snap := set.Snapshot()
			q, err := snap.Quantize(pool[7])
			if err == nil {
				err = snap.Scan(ctx, q, 0, snap.Len(), make([]float32, snap.Len()))
			}
			if err != nil {
				b.Fatal(err)
			}
			snap.Release()
		}
	})
}
