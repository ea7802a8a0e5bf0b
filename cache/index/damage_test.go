package index

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tilescout/tilescout"
)

// filled makes a set on the disk with two segments, tiles 0–1999 and 1000–2999, and tiles 3000–3009 in the log.
func filled(t testing.TB, dir string) (*Store, *Set, map[uint64]int) {
	t.Helper()
	s := mustOpen(t, dir, Options{FlushRows: 1 << 20, MinFree: -1})
	set := mustSet(t, s, key(300))
	want := map[uint64]int{}
	for version, r := range [][2]uint64{{0, 2000}, {1000, 3000}, {3000, 3010}} {
		if version > 0 {
			if err := set.Flush(ctx); err != nil {
				t.Fatal(err)
			}
		}
		var rows []Row
		for c := r[0]; c < r[1]; c++ {
			rows = append(rows, rowsOf(300, version, c)...)
			want[c] = version
		}
		mustPut(t, set, rows...)
	}
	return s, set, want
}

// flip changes one bit of a file.
func flip(t testing.TB, name string, at int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if at < 0 {
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		at += info.Size()
	}
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

func segmentFile(t testing.TB, set *Set, i int, ext string) string {
	t.Helper()
	set.mu.RLock()
	defer set.mu.RUnlock()
	return filepath.Join(set.dir, segmentName(set.segs[i].number, ext))
}

// notWrong checks that every tile has its right embedding, one that it had before, or none; and returns how many have
// the right one.
func notWrong(t testing.TB, set *Set, want map[uint64]int) int {
	t.Helper()
	snap := set.Snapshot()
	defer snap.Release()
	right := 0
	for code, version := range want {
		e, ok, err := set.Embedding(code)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			if _, listed := snap.Index(code); listed || set.Has(code) {
				t.Fatalf("code %d has no embedding and is listed", code)
			}
			continue
		}
		if v := rowVersion(e, code); v < 0 {
			t.Fatalf("code %d has a wrong embedding", code)
		} else if v == version {
			right++
		}
	}
	return right
}

func rowVersion(e []float32, code uint64) int {
	for v := range 3 {
		if halved(unit(len(e), code, v))[0] == e[0] && halved(unit(len(e), code, v))[1] == e[1] {
			return v
		}
	}
	return -1
}

// One bit of each kind of file is wrong when the set is opened, or while it is open.
func TestDamage(t *testing.T) {
	for name, tc := range map[string]struct {
		file string
		at   int64
		live bool // damaged under an open set
		warm bool // met by Warm
		want int  // tiles that still have their newest embedding
	}{
		"codes":           {"key", 128 + 800, false, false, 1010},
		"header":          {"vec", 20, false, false, 1010},
		"footer":          {"vec", -9, false, false, 1010},
		"rows":            {"vec", 128 + 5000, false, false, 1010},
		"half floats":     {"f16", 128 + 5000, false, false, 1010},
		"rows, live":      {"vec", 128 + 5000, true, false, 1010},
		"rows, warm":      {"vec", 128 + 5000, false, true, 1010},
		"embedding, live": {"f16", -100000, true, false, 1010},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, set, want := filled(t, dir)
			file := segmentFile(t, set, 1, tc.file) // the newer one: 1000–2999
			if !tc.live {
				s.Close()
				flip(t, file, tc.at)
				s = mustOpen(t, dir, Options{FlushRows: 1 << 20, MinFree: -1})
				set = mustSet(t, s, key(300))
			} else {
				flip(t, file, tc.at)
			}
			gen := set.Generation()
			// A reader meets the damage: an error once, and then the tiles are missing.
			meet := func() error {
				if tc.warm {
					return set.Warm(ctx)
				}
				snap := set.Snapshot()
				defer snap.Release()
				q, err := snap.Quantize(unit(300, 1, 1))
				if err != nil {
					t.Fatal(err)
				}
				err = snap.Scan(ctx, q, 0, snap.Len(), make([]float32, snap.Len()))
				for code := range want {
					_, _, e := set.Embedding(code)
					err = errors.Join(err, e)
				}
				return err
			}
			if err := meet(); err != nil && !errors.Is(err, tilescout.ErrUnavailable) {
				t.Fatalf("%v, want ErrUnavailable", err)
			} else if err != nil && set.Generation() == gen {
				t.Error("tiles went and the generation is the same")
			}
			if err := meet(); err != nil {
				t.Fatalf("the second reader met it again: %v", err)
			}
			if st := set.Stats(); st.Corrupt == 0 {
				t.Error("Stats do not tell of the damage")
			}
			if n := notWrong(t, set, want); n != tc.want {
				t.Errorf("%d tiles have their newest embedding, want %d", n, tc.want)
			}
			if bad, _ := filepath.Glob(filepath.Join(set.dir, "*.bad")); len(bad) == 0 {
				t.Error("the damaged files were not kept aside")
			}
			mustPut(t, set, rowsOf(300, 1, 1500, 2500)...) // embedded again
			wantRow(t, set, 2500, 1)
			if r, err := s.Verify(ctx); err != nil || len(r.Problems) > 0 {
				t.Errorf("Verify = %v, %v", r.Problems, err)
			}
			s.Close()
			s = mustOpen(t, dir, Options{MinFree: -1})
			set = mustSet(t, s, key(300))
			if set.Stats().Corrupt != 0 {
				t.Error("still damaged after opening again")
			}
			notWrong(t, set, want)
		})
	}
}

// The independent checker sees every flipped bit of every file, wherever it is.
func TestVerifySeesDamage(t *testing.T) {
	dir := t.TempDir()
	s, set, _ := filled(t, dir)
	s.Close()
	r := mustOpen(t, dir, Options{ReadOnly: true})
	wantClean(t, r)
	names, err := filepath.Glob(filepath.Join(set.dir, "*"))
	if err != nil || len(names) < 9 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range int64(5) {
			at := i * (info.Size() - 1) / 4
			if strings.HasSuffix(name, ".log") && at > info.Size()-600 {
				continue // the last record: as after a crash in the middle of it
			}
			flip(t, name, at)
			if report, err := r.Verify(ctx); err != nil || len(report.Problems) == 0 {
				t.Errorf("%s: byte %d of %d is wrong and nobody says so: %v", filepath.Base(name), at, info.Size(), err)
			}
			flip(t, name, at)
		}
	}
	wantClean(t, r)
}

// A mapped file that somebody truncates is SIGBUS; it must be an error, and other sets and tiles go on.
func TestTruncatedWhileMapped(t *testing.T) {
	for _, ext := range []string{"vec", "f16"} {
		t.Run(ext, func(t *testing.T) {
			_, set, want := filled(t, t.TempDir())
			if err := os.Truncate(segmentFile(t, set, 0, ext), 4096); err != nil {
				t.Fatal(err)
			}
			var met error
			for try := range 2 {
				snap := set.Snapshot()
				q, err := snap.Quantize(unit(300, 1, 1))
				if err != nil {
					t.Fatal(err)
				}
				err = snap.Scan(ctx, q, 0, snap.Len(), make([]float32, snap.Len()))
				_, _, e := set.Embedding(900)
				met = errors.Join(met, err, e)
				if try == 1 && (err != nil || e != nil) {
					t.Errorf("met again: %v, %v", err, e)
				}
				snap.Release()
			}
			if !errors.Is(met, tilescout.ErrUnavailable) {
				t.Fatalf("%v, want ErrUnavailable", met)
			}
			if n := notWrong(t, set, want); n != 2010 {
				t.Errorf("%d tiles left, want 2010", n)
			}
			mustPut(t, set, rowsOf(300, 0, 900)...)
			wantRow(t, set, 900, 0)
		})
	}
}

// A set that cannot be read at all says what to do; one of a later format is left alone.
func TestCannotOpen(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"no manifest": func(dir string) error {
			names, err := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
			return errors.Join(err, os.Remove(names[0]))
		},
		"current is nonsense": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "CURRENT"), []byte("../../etc/passwd\n"), 0o644)
		},
		"manifest is nonsense": func(dir string) error {
			names, err := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
			return errors.Join(err, os.WriteFile(names[0], []byte("{}"), 0o644))
		},
		"another set": func(dir string) error {
			other := key(300)
			other.Version = "v2"
			m := manifest{Format: 1, Key: other, Next: 100}
			return errors.Join(os.WriteFile(filepath.Join(dir, "MANIFEST-99"), m.bytes(), 0o644), os.WriteFile(filepath.Join(dir, "CURRENT"), []byte("MANIFEST-99\n"), 0o644))
		},
		"later format": func(dir string) error {
			m := manifest{Format: 2, Key: key(300), Next: 100}
			return errors.Join(os.WriteFile(filepath.Join(dir, "MANIFEST-99"), m.bytes(), 0o644), os.WriteFile(filepath.Join(dir, "CURRENT"), []byte("MANIFEST-99\n"), 0o644))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, set, _ := filled(t, dir)
			s.Close()
			before, _ := os.ReadDir(set.dir)
			if err := spoil(set.dir); err != nil {
				t.Fatal(err)
			}
			s = mustOpen(t, dir, Options{})
			_, err := s.Set(ctx, key(300))
			if !errors.Is(err, tilescout.ErrUnavailable) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), set.dir) {
				t.Errorf("Set = %v, want one line of ErrUnavailable that names the folder", err)
			}
			if after, _ := os.ReadDir(set.dir); len(after) < len(before)-1 {
				t.Error("files of a set that cannot be read were removed")
			}
			if report, err := s.Verify(ctx); err != nil || len(report.Problems) == 0 {
				t.Errorf("Verify = %+v, %v, want a problem", report, err)
			}
			if err := s.Remove(key(300)); err != nil {
				t.Fatal(err)
			}
			mustPut(t, mustSet(t, s, key(300)), rowsOf(300, 1, 1)...)
		})
	}
}

// A log with a hole in the middle: what lies behind it is found, and the damage is told.
func TestHoleInLog(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{MinFree: -1})
	set := mustSet(t, s, key(64))
	for c := range uint64(20) {
		mustPut(t, set, rowsOf(64, 0, c)...)
	}
	s.Close()
	logs, err := filepath.Glob(filepath.Join(set.dir, "wal-*"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("%v, %v", logs, err)
	}
	record := int64(recordHead + 8 + 2*64)
	flip(t, logs[0], headerSize+7*record+40)
	info, err := os.Stat(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(logs[0], info.Size()-3); err != nil { // and a torn end, which is no damage
		t.Fatal(err)
	}
	set = mustSet(t, mustOpen(t, dir, Options{MinFree: -1}), key(64))
	for c := range uint64(20) {
		version := 0
		if c == 7 || c == 19 {
			version = -2
		}
		wantRow(t, set, c, version)
	}
	if n := set.Stats().Corrupt; n != 1 {
		t.Errorf("%d stretches are damaged, want 1", n)
	}
}

func TestMergeable(t *testing.T) {
	for _, tc := range []struct {
		rows []int
		want string
	}{
		{nil, "none"},
		{[]int{10, 10, 10}, "none"},
		{[]int{10, 10, 10, 10}, "0-4"},
		{[]int{160, 10, 10, 10, 39}, "1-5"},
		{[]int{160, 10, 10, 10}, "none"},
		{[]int{160, 160, 160, 160, 10, 10, 10}, "0-4"},
		{[]int{10, 10, 160, 10, 10}, "none"},
		{[]int{400, 400, 400, 400}, "none"}, // more than a segment may hold
	} {
		got := "none"
		if from, to, ok := mergeable(tc.rows, 10, 1000); ok {
			got = fmt.Sprintf("%d-%d", from, to)
		}
		if got != tc.want {
			t.Errorf("mergeable(%v) = %s, want %s", tc.rows, got, tc.want)
		}
	}
}
