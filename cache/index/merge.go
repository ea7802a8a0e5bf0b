package index

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tilescout/tilescout"
)

const (
	mergeWidth   = 4         // neighbours of about one size become one
	segmentBytes = 256 << 20 // of int8 rows: what would be larger is not merged any more
)

// mergeable returns the first and the last but one of neighbouring segments to be merged, newest first; ok is false
// where there are none. Only neighbours: then newer stays newer.
func mergeable(rows []int, flushRows, maxRows int) (from, to int, ok bool) {
	tier := func(n int) (t int) {
		for ; n >= flushRows*mergeWidth; n /= mergeWidth {
			t++
		}
		return t
	}
	for to = len(rows); to >= mergeWidth; to-- {
		from, total := to-mergeWidth, 0
		same := true
		for _, n := range rows[from:to] {
			total += n
			same = same && tier(n) == tier(rows[from])
		}
		if same && total <= maxRows {
			return from, to, true
		}
	}
	return 0, 0, false
}

// merge starts merging in the background if there is something to merge. The caller holds wmu.
func (s *Set) merge() {
	if s.merging || s.closed || s.ctx.Err() != nil {
		return
	}
	if _, _, ok := s.choose(mergeable); !ok {
		return
	}
	s.merging = true
	s.tasks.Go(func() {
		err := s.mergeWhile(s.ctx, mergeable)
		s.wmu.Lock()
		defer s.wmu.Unlock()
		s.merging = false
		if err != nil && s.ctx.Err() == nil && !s.closed {
			s.lastErr = err
		}
	})
}

type choice func(rows []int, flushRows, maxRows int) (from, to int, ok bool)

// choose applies a choice to the segments. The caller holds wmu.
func (s *Set) choose(c choice) (from, to int, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var rows []int
	for _, seg := range s.segs {
		rows = append(rows, len(seg.codes)+len(seg.blanks))
	}
	stride := s.header(0)
	return c(rows, s.o.FlushRows, segmentBytes/stride.stride())
}

// mergeWhile merges what is chosen until nothing is.
func (s *Set) mergeWhile(ctx context.Context, c choice) error {
	s.mmu.Lock()
	defer s.mmu.Unlock()
	for ctx.Err() == nil {
		s.wmu.Lock()
		from, to, ok := s.choose(c)
		if !ok || s.closed {
			s.wmu.Unlock()
			return nil
		}
		if err := s.room(); err != nil {
			s.wmu.Unlock()
			return err
		}
		s.mu.RLock()
		var run []*segment
		for _, seg := range s.segs[from:to] {
			run = append(run, seg.retain())
		}
		s.mu.RUnlock()
		number := s.number()
		s.wmu.Unlock()

		err := s.mergeRun(ctx, run, number)
		for _, seg := range run {
			seg.release()
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// mergeRun writes the rows of a run of neighbours as one segment and puts it in their place. Nobody waits for it:
// wmu is held for the exchange only.
func (s *Set) mergeRun(ctx context.Context, run []*segment, number uint64) error {
	src, damaged := mergeSource(run)
	err := guarded(func() error {
		return writeSegment(ctx, s.fs, s.dir, s.header(number), src)
	})
	if errors.Is(err, errCorrupt) {
		return s.quarantine(damaged(), err)
	}
	if err != nil {
		return fmt.Errorf("merge %d segments: %w", len(run), err)
	}
	s.wmu.Lock()
	defer s.wmu.Unlock()
	merged, err := s.openNew(number)
	if err != nil {
		return fmt.Errorf("merge: %w", err)
	}
	s.mu.RLock()
	at := slices.Index(s.segs, run[0])
	still := at >= 0 && len(s.segs) >= at+len(run) && slices.Equal(s.segs[at:at+len(run)], run)
	segs := slices.Clone(s.segs)
	s.mu.RUnlock()
	if !still || s.closed { // one of them was put aside meanwhile, and what we wrote has its rows
		merged.discard(true)
		return nil
	}
	segs = slices.Replace(segs, at, at+len(run), merged)
	old := s.manName
	if attempted, err := s.publish(segs, s.man.WAL, s.man.Seq); err != nil {
		merged.discard(!attempted)
		return err
	}
	s.mu.Lock()
	s.segs = segs
	if s.snap != nil {
		s.snap.Release() // same content, other parts
		s.snap = nil
	}
	s.mu.Unlock()
	for _, seg := range run {
		seg.discard(true)
	}
	s.forget(s.man.WAL, old)
	return nil
}

// mergeSource gives the rows of a run, the newest of each code; damaged tells which segment was read last.
func mergeSource(run []*segment) (src rowSource, damaged func() *segment) {
	var lists []list
	for _, seg := range run {
		lists = append(lists, list{codes: seg.codes}, list{codes: seg.blanks, blank: true})
	}
	src.codes, src.blanks = mergeLists(lists)
	type place struct {
		seg uint32
		row uint32
	}
	places := make([]place, len(src.codes))
	for i := range run {
		for row, pos := range lists[2*i].pos {
			if pos >= 0 {
				places[pos] = place{uint32(i), uint32(row)}
			}
		}
	}
	last := run[0]
	src.row = func(i int) ([]byte, error) {
		last = run[places[i].seg]
		return last.halfRow(int(places[i].row))
	}
	return src, func() *segment { return last }
}

// Compact flushes, and merges all that can be one segment: scans are fastest then.
func (s *Set) Compact(ctx context.Context) error {
	if err := s.Flush(ctx); err != nil {
		return err
	}
	err := s.mergeWhile(ctx, func(rows []int, _, maxRows int) (int, int, bool) {
		for from := range rows {
			to, total := from, 0
			for to < len(rows) && total+rows[to] <= maxRows {
				total += rows[to]
				to++
			}
			if to-from >= 2 {
				return from, to, true
			}
		}
		return 0, 0, false
	})
	if err != nil && !errors.Is(err, ctx.Err()) {
		return fmt.Errorf("index: compact the set of %s at zoom %d: %w: %w", s.key.Layer, s.key.Zoom, tilescout.ErrUnavailable, err)
	}
	return err
}
