package index

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tilescout/tilescout"
)

// ledger is what a client of a set may rely on.
type ledger struct {
	acked map[uint64]int   // version that the last Put which returned nil gave a tile
	tried map[uint64][]int // versions of Puts since then that failed: they may have been stored all the same
	gen   uint64           // that was seen last
}

const (
	crashDimension = 9
	crashCodes     = 30
)

func newLedger() *ledger { return &ledger{acked: map[uint64]int{}, tried: map[uint64][]int{}} }

func (l *ledger) put(set *Set, version int, codes ...uint64) error {
	var rows []Row
	for i, c := range codes {
		v := version
		if i == 3 { // the fourth of a batch is blank
			v = -1
		}
		if v < 0 {
			rows = append(rows, Row{Code: c, Blank: true})
		} else {
			rows = append(rows, rowsOf(crashDimension, v, c)...)
		}
		l.tried[c] = append(l.tried[c], v)
	}
	err := set.Put(ctx, rows)
	if err == nil {
		for i, r := range rows {
			l.acked[r.Code] = version
			if i == 3 {
				l.acked[r.Code] = -1
			}
			l.tried[r.Code] = nil
		}
		l.gen = set.Generation()
	}
	return err
}

// check holds a set against the ledger: all that was acknowledged is there, and nothing that was never put.
func (l *ledger) check(set *Set) error {
	if g := set.Generation(); g < l.gen {
		return fmt.Errorf("generation went back from %d to %d", l.gen, g)
	}
	snap := set.Snapshot()
	defer snap.Release()
	for code := range uint64(crashCodes) {
		e, ok, err := set.Embedding(code)
		if err != nil {
			return err
		}
		if _, listed := snap.Index(code); listed != ok {
			return fmt.Errorf("code %d: embedding %v, in the snapshot %v", code, ok, listed)
		}
		acked, known := l.acked[code]
		if !known {
			acked = -2
		}
		possible := append([]int{acked}, l.tried[code]...)
		if !slices.ContainsFunc(possible, func(v int) bool {
			switch v {
			case -2:
				return !set.Has(code)
			case -1:
				return set.Blank(code) && !ok
			}
			return ok && slices.Equal(e, halved(unit(crashDimension, code, v)))
		}) {
			return fmt.Errorf("code %d is none of the versions %v: has %v, blank %v", code, possible, set.Has(code), set.Blank(code))
		}
	}
	return nil
}

var crashOptions = Options{FlushRows: 6, MinFree: 1}

// work puts, replaces, flushes, compacts, and opens again. It goes on after errors, as a server would, and stops
// where goOn says so.
func work(files *memFS, l *ledger, r *rand.Rand, goOn func() bool) {
	o := crashOptions
	o.fs = files
	for session := range 4 {
		s, err := Open("/index", o)
		if err != nil {
			return
		}
		set, err := s.Set(ctx, key(crashDimension))
		for n := 1 + r.IntN(12); n > 0 && err == nil && goOn(); n-- {
			var codes []uint64
			for _, c := range r.Perm(crashCodes)[:1+r.IntN(6)] {
				codes = append(codes, uint64(c))
			}
			_ = l.put(set, session*100+n, codes...)
			switch r.IntN(10) {
			case 0, 1, 2:
				_ = set.Flush(ctx)
			case 3:
				_ = set.Compact(ctx)
			}
		}
		s.Close()
		if !goOn() {
			return
		}
	}
}

// reopen opens what a crash left, checks it, and uses it.
func reopen(files *memFS, l *ledger, holes bool) error {
	o := crashOptions
	o.fs = files
	for round := range 2 {
		s, err := Open("/index", o)
		if err != nil {
			return err
		}
		set, err := s.Set(ctx, key(crashDimension))
		if err != nil {
			return err
		}
		if err := l.check(set); err != nil {
			return err
		}
		// Opening swept away what no manifest names.
		set.tasks.Wait()
		names, err := files.List(set.dir)
		if want := 4 + len(segmentFiles)*set.Stats().Segments; err != nil || len(names) > want && !holes {
			return fmt.Errorf("%d files, want %d at most: %v", len(names), want, names)
		}
		// A hole in the part that was not synced looks like damage, and must be said to be; else there is none.
		if st := set.Stats(); st.Corrupt > 0 && !holes {
			return fmt.Errorf("%d corrupt", st.Corrupt)
		}
		if report, err := s.Verify(ctx); err != nil || len(report.Problems) > 0 && !holes {
			return fmt.Errorf("verify: %v, %v", err, report.Problems)
		}
		if err := l.put(set, 1000+round, 1, 2, 3, 4, 5); err != nil {
			return err
		}
		if err := errors.Join(l.check(set), s.Close()); err != nil {
			return err
		}
	}
	return nil
}

// The machine goes off at every single change of the disk in turn.
func TestCrashEverywhere(t *testing.T) {
	files := newMemFS()
	l := newLedger()
	work(files, l, rand.New(rand.NewPCG(1, 1)), func() bool { return true })
	if len(l.acked) == 0 || files.ops < 150 {
		t.Fatalf("the work is %d changes for %d tiles: too little to show anything", files.ops, len(l.acked))
	}
	for at := 1; at <= 300; at++ {
		for _, seed := range []uint64{uint64(at % 3), 3 + uint64(at%3)} {
			files, l := newMemFS(), newLedger()
			off := false
			files.fault = func(n int, _, _ string) error {
				if n >= at {
					off = true
					return errCrashed
				}
				return nil
			}
			r := rand.New(rand.NewPCG(uint64(at), seed))
			work(files, l, r, func() bool { files.mu.Lock(); defer files.mu.Unlock(); return !off })
			holes := seed == 5
			if err := reopen(files.crash(r, holes), l, holes); err != nil {
				t.Fatalf("crash at change %d, seed %d: %v\nlast changes: %s", at, seed, err, strings.Join(files.log[max(0, len(files.log)-30):], ", "))
			}
		}
	}
}

// Every single change of the disk fails in turn, once or from then on for a while; the store goes on, and the machine
// goes off at the end.
func TestFaultEverywhere(t *testing.T) {
	const total = 300 // changes of most runs
	for _, tc := range []struct {
		name   string
		err    error
		length int // changes that fail
		step   int
	}{{"once", syscall.EIO, 1, 1}, {"full once", syscall.ENOSPC, 1, 2}, {"full", syscall.ENOSPC, 30, 3}} {
		t.Run(tc.name, func(t *testing.T) {
			for at := 1; at <= total; at += tc.step {
				files, l := newMemFS(), newLedger()
				files.fault = func(n int, op, _ string) error {
					if n >= at && n < at+tc.length && !(tc.err == syscall.ENOSPC && op == "remove") {
						return tc.err
					}
					return nil
				}
				r := rand.New(rand.NewPCG(uint64(at), 7))
				work(files, l, r, func() bool { return true })
				files.fault = nil
				last := func() string { return strings.Join(files.log[max(0, at-10):min(len(files.log), at+20)], ", ") }
				// First without a crash, then with one.
				for range 2 {
					o := crashOptions
					o.fs = files
					s, err := Open("/index", o)
					if err != nil {
						t.Fatal(err)
					}
					set, err := s.Set(ctx, key(crashDimension))
					if err == nil {
						err = errors.Join(l.check(set), l.put(set, 500, 7, 8), l.check(set))
					}
					if err != nil {
						t.Fatalf("fault at change %d: %v\nchanges around it: %s", at, err, last())
					}
					s.Close()
					files = files.crash(r, false)
				}
				if err := reopen(files, l, false); err != nil {
					t.Fatalf("fault at change %d: %v\nchanges around it: %s", at, err, last())
				}
			}
		})
	}
}

// The last step of a publish fails: the next opening may find the new log or the old one. What is put then must be
// where it is found either way.
func TestHalfPublished(t *testing.T) {
	for _, op := range []string{"rename", "syncdir"} {
		for seed := range uint64(8) {
			files, l := newMemFS(), newLedger()
			o := Options{FlushRows: 100, fs: files}
			s := mustOpen(t, "/index", o)
			set := mustSet(t, s, key(crashDimension))
			if err := l.put(set, 1, 1, 2); err != nil {
				t.Fatal(err)
			}
			renamed := false
			files.fault = func(_ int, did, name string) error {
				renamed = renamed || did == "rename"
				if did == op && renamed {
					return syscall.EIO
				}
				return nil
			}
			if err := set.Flush(ctx); !errors.Is(err, tilescout.ErrUnavailable) {
				t.Fatalf("Flush = %v, want ErrUnavailable", err)
			}
			files.fault = nil
			if err := l.put(set, 2, 2, 3); err != nil {
				t.Fatal(err)
			}
			s.Close()
			if seed > 0 {
				files = files.crash(rand.New(rand.NewPCG(seed, 0)), false)
			}
			if err := reopen(files, l, false); err != nil {
				t.Fatalf("after a failed %s: %v", op, err)
			}
		}
	}
}

// A full disk: Put says so, reading goes on, and writing does again once there is room.
func TestDiskFull(t *testing.T) {
	files := newMemFS()
	o := Options{FlushRows: 4, fs: files}
	s := mustOpen(t, "/index", o)
	set := mustSet(t, s, key(16))
	mustPut(t, set, rowsOf(16, 1, 1, 2, 3)...)
	full := func(when string) {
		t.Helper()
		err := set.Put(ctx, rowsOf(16, 2, 3, 4))
		if !errors.Is(err, tilescout.ErrUnavailable) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: Put = %v, want one line of ErrUnavailable", when, err)
		}
		if set.Stats().Err == nil {
			t.Errorf("%s: Stats say nothing of it", when)
		}
		wantRow(t, set, 3, 1)
		wantRow(t, set, 4, -2)
		checkScan(t, set, map[uint64]int{1: 1, 2: 1, 3: 1})
	}
	files.free = 100 << 20
	full("below what is to stay free")
	files.free = 1 << 40
	files.fault = func(_ int, op, _ string) error {
		if op == "write" || op == "create" {
			return fmt.Errorf("write: %w", syscall.ENOSPC)
		}
		return nil
	}
	full("nothing left")
	full("still nothing left")
	files.fault = nil
	mustPut(t, set, rowsOf(16, 2, 3, 4)...)
	wantRow(t, set, 3, 2)
	wantRow(t, set, 4, 2)
	if set.Stats().Err != nil {
		t.Errorf("Stats().Err = %v after it went well again", set.Stats().Err)
	}
	s.Close()
	s = mustOpen(t, "/index", o)
	set = mustSet(t, s, key(16))
	checkScan(t, set, map[uint64]int{1: 1, 2: 1, 3: 2, 4: 2})
	wantClean(t, s)
}
