package index

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sync/errgroup"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/cores"
)

// Snapshot is a set as it was at one moment: the tiles that have an embedding, in Morton order. It does not change and
// keeps its files until Release. Safe for concurrent use.
type Snapshot struct {
	set    *Set
	gen    uint64
	codes  []uint64
	blanks []uint64
	parts  []part
	refs   atomic.Int64
}

// part is where some of the rows of a snapshot lie: in a segment, or in memory.
type part struct {
	seg   *segment    // nil: in memory
	rows  [][]float32 // in memory
	codes []uint64    // of its rows, sorted
	pos   []int32     // row i of the part is row pos[i] of the snapshot, −1 if a newer one counts; nil: row i is row i
}

// Snapshot returns the set as it is now. Release it when done with it.
func (s *Set) Snapshot() *Snapshot {
	s.follow()
	s.mu.RLock()
	if snap := s.snap; snap != nil {
		snap.refs.Add(1)
		s.mu.RUnlock()
		return snap
	}
	s.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	snap := s.snapshot()
	snap.refs.Add(1)
	return snap
}

// snapshot makes the snapshot of now, or returns the one that there is. The caller holds mu.
func (s *Set) snapshot() *Snapshot {
	if s.snap != nil {
		return s.snap
	}
	snap := &Snapshot{set: s, gen: s.gen}
	snap.refs.Store(1) // the set's own
	var lists []list
	for _, seg := range s.segs {
		snap.parts = append(snap.parts, part{seg: seg.retain(), codes: seg.codes})
		lists = append(lists, list{codes: seg.codes}, list{codes: seg.blanks, blank: true})
	}
	if len(s.mem) > 0 {
		p := part{}
		var blanks []uint64
		for _, code := range slices.Sorted(maps.Keys(s.mem)) {
			if row := s.mem[code]; row == nil {
				blanks = append(blanks, code)
			} else {
				p.codes, p.rows = append(p.codes, code), append(p.rows, row)
			}
		}
		snap.parts = append(snap.parts, p)
		lists = append(lists, list{codes: p.codes}, list{codes: blanks, blank: true})
	}
	snap.codes, snap.blanks = mergeLists(lists)
	for i := range snap.parts {
		snap.parts[i].pos = lists[2*i].pos
	}
	s.snap = snap
	return snap
}

// list is sorted codes on their way into one sorted list.
type list struct {
	codes []uint64
	blank bool
	pos   []int32 // out, for a list that is not blank: place of each code in the result, −1 for none; nil: its own
}

// mergeLists merges sorted lists, oldest first; where several hold a code the newest counts. Runs of one list are
// taken in one go, so that a large list with few codes of others between costs little more than a copy.
func mergeLists(lists []list) (codes, blanks []uint64) {
	total := [2]int{}
	var live []*list
	for i := range lists {
		l := &lists[i]
		if len(l.codes) == 0 {
			continue
		}
		live = append(live, l)
		if l.blank {
			total[1] += len(l.codes)
		} else {
			total[0] += len(l.codes)
		}
	}
	if len(live) == 0 {
		return nil, nil
	}
	if len(live) == 1 { // nothing to merge: the place of a code is its own
		if live[0].blank {
			return nil, live[0].codes
		}
		return live[0].codes, nil
	}
	codes, blanks = make([]uint64, 0, total[0]), make([]uint64, 0, total[1])
	for _, l := range live {
		if !l.blank {
			l.pos = make([]int32, len(l.codes))
		}
	}
	at := make([]int, len(live))
	for {
		winner := -1
		var least uint64
		for i, l := range live {
			if at[i] < len(l.codes) && (winner < 0 || l.codes[at[i]] <= least) {
				winner, least = i, l.codes[at[i]]
			}
		}
		if winner < 0 {
			return codes, blanks
		}
		limit := ^uint64(0)
		open := true // no other list has anything left
		for i, l := range live {
			if i == winner {
				continue
			}
			if at[i] < len(l.codes) && l.codes[at[i]] == least {
				if !l.blank {
					l.pos[at[i]] = -1
				}
				at[i]++
			}
			if at[i] < len(l.codes) {
				limit, open = min(limit, l.codes[at[i]]), false
			}
		}
		l := live[winner]
		from, to := at[winner], at[winner]+1
		for to < len(l.codes) && (open || l.codes[to] < limit) {
			to++
		}
		at[winner] = to
		if l.blank {
			blanks = append(blanks, l.codes[from:to]...)
			continue
		}
		for i := from; i < to; i++ {
			l.pos[i] = int32(len(codes) + i - from)
		}
		codes = append(codes, l.codes[from:to]...)
	}
}

// Release gives the snapshot back; it must not be used after.
func (s *Snapshot) Release() {
	if s.refs.Add(-1) > 0 {
		return
	}
	for _, p := range s.parts {
		if p.seg != nil {
			p.seg.release()
		}
	}
}

// Len returns the number of rows: tiles with an embedding.
func (s *Snapshot) Len() int { return len(s.codes) }

// Codes returns the Morton codes of the rows, sorted; row i is of Codes()[i]. Frozen.
func (s *Snapshot) Codes() []uint64 { return s.codes }

// Blanks returns the codes of the tiles that are known to have no content, sorted. Frozen.
func (s *Snapshot) Blanks() []uint64 { return s.blanks }

// Generation is the set's at the moment of the snapshot.
func (s *Snapshot) Generation() uint64 { return s.gen }

// Index returns the row of a code.
func (s *Snapshot) Index(code uint64) (int, bool) { return slices.BinarySearch(s.codes, code) }

// Range returns the rows [lo, hi) of the codes [from, to).
func (s *Snapshot) Range(from, to uint64) (lo, hi int) {
	lo, _ = slices.BinarySearch(s.codes, from)
	n, _ := slices.BinarySearch(s.codes[lo:], to)
	return lo, lo + n
}

// Scan writes the similarity (cosine, −1…1, to the precision of int8 rows) of a query with rows [lo, hi) to out,
// which has hi−lo values. ErrUnavailable where a row is damaged: its segment is then put aside, and the next Snapshot
// of the set does without it.
func (s *Snapshot) Scan(ctx context.Context, q Query, lo, hi int, out []float32) error {
	return s.ScanMany(ctx, []Query{q}, lo, hi, [][]float32{out})
}

const (
	scanRows = 16 << 10 // rows that one goroutine takes at a time
	turnRows = 64       // rows that stay in the nearest cache while query after query is held against them
)

// ScanMany is Scan for several queries in one pass over the rows: out[i] is of queries[i].
func (s *Snapshot) ScanMany(ctx context.Context, queries []Query, lo, hi int, out [][]float32) error {
	if lo < 0 || hi < lo || hi > len(s.codes) || len(queries) != len(out) {
		return fmt.Errorf("index: scan of rows %d to %d of %d, %d queries into %d: %w", lo, hi, len(s.codes), len(queries), len(out), tilescout.ErrBadInput)
	}
	for i, q := range queries {
		if q.snap != s || len(out[i]) != hi-lo {
			return fmt.Errorf("index: query %d is of another snapshot, or has %d places for %d rows: %w", i, len(out[i]), hi-lo, tilescout.ErrBadInput)
		}
	}
	if lo == hi || len(queries) == 0 {
		return ctx.Err()
	}
	var tasks []scanTask
	for i, p := range s.parts {
		from, _ := slices.BinarySearch(p.codes, s.codes[lo])
		to, found := slices.BinarySearch(p.codes, s.codes[hi-1])
		if found {
			to++
		}
		for ; from < to; from += scanRows {
			tasks = append(tasks, scanTask{i, from, min(to, from+scanRows)})
		}
	}
	var next atomic.Int64
	work := func(ctx context.Context) error {
		for {
			i := int(next.Add(1)) - 1
			if i >= len(tasks) {
				return nil
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := s.scan(tasks[i], queries, lo, hi, out); err != nil {
				return err
			}
		}
	}
	workers := min(cores.N(), len(tasks))
	if workers == 1 {
		return work(ctx)
	}
	g, ctx := errgroup.WithContext(ctx)
	for range workers {
		g.Go(func() error { return work(ctx) })
	}
	return g.Wait()
}

// Warm reads the rows of all segments once and holds them against their checksums, so that the first scan is as fast
// as the next ones. It is for the background after opening; what it finds damaged is put aside.
func (s *Set) Warm(ctx context.Context) error {
	snap := s.Snapshot()
	defer snap.Release()
	for _, p := range snap.parts {
		if p.seg == nil {
			continue
		}
		err := guarded(func() error {
			size := int64(len(p.seg.vec.body))
			for at := int64(0); at < size && ctx.Err() == nil; at += blockSize {
				if _, err := p.seg.vec.bytes(at, min(at+blockSize, size)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return s.quarantine(p.seg, err)
		}
	}
	return ctx.Err()
}

// scanTask is rows [from, to) of a part.
type scanTask struct{ part, from, to int }

func (s *Snapshot) scan(t scanTask, queries []Query, lo, hi int, out [][]float32) error {
	p := s.parts[t.part]
	if p.seg == nil {
		for i := t.from; i < t.to; i++ {
			if at := p.place(i); at >= lo && at < hi {
				for k, q := range queries {
					out[k][at-lo] = dot(p.rows[i], q.embedding)
				}
			}
		}
		return nil
	}
	err := guarded(func() error {
		stride := p.seg.stride()
		b, err := p.seg.vec.bytes(int64(t.from)*int64(stride), int64(t.to)*int64(stride))
		if err != nil {
			return err
		}
		rows := unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(b))), len(b))
		var sums [turnRows]int32
		for from := t.from; from < t.to; from += turnRows {
			n := min(turnRows, t.to-from)
			turn := rows[(from-t.from)*stride : (from-t.from+n)*stride]
			for k, q := range queries {
				dotRows(sums[:n], turn, q.parts[t.part].values)
				p.scatter(out[k], sums[:n], q.parts[t.part].factor, from, lo, hi)
			}
		}
		return nil
	})
	if err != nil {
		return s.set.quarantine(p.seg, err)
	}
	return nil
}

// scatter writes the sums of rows from… to their places.
func (p *part) scatter(out []float32, sums []int32, factor float32, from, lo, hi int) {
	if p.pos == nil {
		out = out[from-lo : from-lo+len(sums)]
		for i, sum := range sums {
			out[i] = float32(sum) * factor
		}
		return
	}
	for i, at := range p.pos[from : from+len(sums)] {
		if int(at) >= lo && int(at) < hi {
			out[int(at)-lo] = float32(sums[i]) * factor
		}
	}
}

func (p *part) place(i int) int {
	if p.pos == nil {
		return i
	}
	return int(p.pos[i])
}

func dot(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return s0 + s1 + s2 + s3
}
