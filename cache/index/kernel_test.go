package index

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"unsafe"
)

// fill gives values of −127…127, with many at the ends.
func fill(r *rand.Rand, rows []int8) {
	for i := range rows {
		switch v := r.IntN(300); {
		case v < 255:
			rows[i] = int8(v - 127)
		case v < 278:
			rows[i] = 127
		default:
			rows[i] = -127
		}
	}
}

func checkKernel(t *testing.T, rows []int8, query []int16) {
	t.Helper()
	n := len(rows) / len(query)
	got, want, plain := make([]int32, n), make([]int32, n), make([]int32, n)
	dotRows(got, rows, query)
	dotRowsGo(plain, rows, query)
	for i := range want {
		var sum int64
		for j, q := range query {
			sum += int64(rows[i*len(query)+j]) * int64(q)
		}
		if sum != int64(int32(sum)) {
			t.Fatalf("row %d: %d leaves int32", i, sum)
		}
		want[i] = int32(sum)
		if got[i] != want[i] || plain[i] != want[i] {
			t.Fatalf("stride %d row %d: kernel %d, plain %d, want %d", len(query), i, got[i], plain[i], want[i])
		}
	}
}

func TestKernel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for stride := lane; stride <= 4096; stride += lane * (1 + r.IntN(5)) {
		for _, n := range []int{1, 2, 7} {
			rows, query := make([]int8, n*stride), make([]int16, stride)
			fill(r, rows)
			top := maxQuery(stride)
			for i := range query {
				query[i] = int16(r.IntN(2*top+1) - top)
			}
			checkKernel(t, rows, query)
			// The worst case: everything at its end, all of one sign.
			for i := range query {
				query[i] = int16(top)
			}
			for i := range rows {
				rows[i] = -127
			}
			checkKernel(t, rows, query)
		}
	}
}

func FuzzKernel(f *testing.F) {
	f.Add(uint64(1), uint8(1), uint8(1))
	f.Add(uint64(2), uint8(16), uint8(33))
	f.Fuzz(func(t *testing.T, seed uint64, lanes, n uint8) {
		r := rand.New(rand.NewPCG(seed, 0))
		stride := (int(lanes)%32 + 1) * lane
		rows, query := make([]int8, int(n)*stride), make([]int16, stride)
		fill(r, rows)
		top := maxQuery(stride)
		for i := range query {
			query[i] = int16(r.IntN(2*top+1) - top)
		}
		checkKernel(t, rows, query)
	})
}

// readAll touches every byte at the speed of memory: the standard library's AVX2 search for a byte that is not there.
func readAll(rows []int8) {
	if bytes.IndexByte(unsafe.Slice((*byte)(unsafe.Pointer(&rows[0])), len(rows)), 0x80) >= 0 {
		panic("−128 is never stored")
	}
}

func parallel(workers int, rows []int8, stride int, f func(part []int8)) {
	var wg sync.WaitGroup
	n := len(rows) / stride
	for w := range workers {
		wg.Go(func() { f(rows[n*w/workers*stride : n*(w+1)/workers*stride]) })
	}
	wg.Wait()
}

// BenchmarkKernel is target P5: the scan of 1 M rows against a plain read of the same memory in the same run.
func BenchmarkKernel(b *testing.B) {
	const n = 1_000_000
	for _, stride := range []int{256, 512} {
		rows, query := make([]int8, n*stride), make([]int16, stride)
		r := rand.New(rand.NewPCG(1, 2))
		fill(r, rows[:1<<20])
		for i := 1 << 20; i < len(rows); i += 1 << 20 {
			copy(rows[i:], rows[:1<<20])
		}
		for i := range query {
			query[i] = int16(r.IntN(30000) - 15000)
		}
		out := make([]int32, n)
		for _, workers := range []int{1, 2} {
			name := fmt.Sprintf("1Mx%d/goroutines=%d", stride, workers)
			scan := func() {
				parallel(workers, rows, stride, func(part []int8) {
					at := int(uintptr(unsafe.Pointer(&part[0]))-uintptr(unsafe.Pointer(&rows[0]))) / stride
					dotRows(out[at:at+len(part)/stride], part, query)
				})
			}
			read := func() { parallel(workers, rows, stride, readAll) }
			b.Run(name, func(b *testing.B) { benchAgainst(b, scan, read, n, len(rows)) })
		}
	}
}
