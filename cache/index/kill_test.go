package index

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

const (
	killDimension = 64
	killCodes     = 3000
)

var killOptions = Options{FlushRows: 150, MinFree: -1}

// TestKill is target R1: a process that indexes is killed (SIGKILL) at any moment, again and again. Whatever it
// acknowledged is there when the set is opened again, and no tile has an embedding that was never put for it.
// 50 times, or as often as TILESCOUT_KILLS says.
func TestKill(t *testing.T) {
	kills := 50
	if n, err := strconv.Atoi(os.Getenv("TILESCOUT_KILLS")); err == nil {
		kills = n
	} else if testing.Short() {
		kills = 5
	}
	dir := filepath.Join(t.TempDir(), "index")
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	acked, tried := map[uint64]int{}, map[uint64][]int{}
	total, version := 0, 0
	var opening []time.Duration
	for kill := range kills {
		n, last := runAndKill(t, dir, version, time.Duration(r.IntN(80_000))*time.Microsecond, acked, tried)
		total, version = total+n, last+1

		start := time.Now()
		s, err := Open(dir, killOptions)
		if err != nil {
			t.Fatal(err)
		}
		set := mustSet(t, s, key(killDimension))
		opening = append(opening, time.Since(start))
		if err := wantAcked(set, acked, tried); err != nil {
			t.Fatalf("after kill %d: %v", kill, err)
		}
		if c := set.Stats().Corrupt; c > 0 {
			t.Fatalf("after kill %d: %d corrupt", kill, c)
		}
		wantClean(t, s)
		// What a Put without an acknowledgement left is now settled.
		for code, versions := range tried {
			if e, ok, _ := set.Embedding(code); ok {
				for _, v := range versions {
					if slices.Equal(e, halved(unit(killDimension, code, v))) {
						acked[code] = v
					}
				}
			}
		}
		clear(tried)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if total == 0 {
		t.Fatal("nothing was ever acknowledged: the test shows nothing")
	}
	slices.Sort(opening)
	t.Logf("%d kills, %d rows acknowledged, %d tiles; opening took %v (median) to %v", kills, total, len(acked), opening[kills/2], opening[kills-1])
}

func wantAcked(set *Set, acked map[uint64]int, tried map[uint64][]int) error {
	snap := set.Snapshot()
	defer snap.Release()
	q, err := snap.Quantize(unit(killDimension, 0, 0))
	if err != nil {
		return err
	}
	out := make([]float32, snap.Len())
	if err := snap.Scan(ctx, q, 0, snap.Len(), out); err != nil {
		return err
	}
	for code := range uint64(killCodes) {
		e, ok, err := set.Embedding(code)
		if err != nil {
			return err
		}
		version, known := acked[code]
		possible := tried[code]
		if known {
			possible = append([]int{version}, possible...)
		}
		if !ok {
			if known {
				return fmt.Errorf("code %d was acknowledged in version %d and is lost", code, version)
			}
			continue
		}
		if !slices.ContainsFunc(possible, func(v int) bool { return slices.Equal(e, halved(unit(killDimension, code, v))) }) {
			return fmt.Errorf("code %d has none of its versions %v", code, possible)
		}
		i, _ := snap.Index(code)
		// A clipped component of an int8 row can cost a few hundredths; the row of another tile is off by tenths.
		if d := out[i] - dot(e, unit(killDimension, 0, 0)); d > 0.1 || d < -0.1 {
			return fmt.Errorf("code %d: the scan is %v off", code, d)
		}
	}
	return nil
}

// runAndKill lets a child write for a while. It returns the number of rows that were acknowledged and the last version.
func runAndKill(t *testing.T, dir string, version int, after time.Duration, acked map[uint64]int, tried map[uint64][]int) (rows, last int) {
	t.Helper()
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	child := exec.Command(os.Args[0], "-test.run=^TestKillChild$")
	child.Env = append(os.Environ(), "TILESCOUT_KILL_DIR="+dir, "TILESCOUT_KILL_VERSION="+strconv.Itoa(version))
	child.ExtraFiles = []*os.File{to}
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	to.Close()
	last = version
	var timer *time.Timer
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		if timer == nil { // it is open; from now on at any moment
			timer = time.AfterFunc(after, func() { child.Process.Kill() })
		}
		var what string
		var code uint64
		var v int
		if n, _ := fmt.Sscanf(lines.Text(), "%s %d %d.", &what, &code, &v); n != 3 {
			continue // "open", or a line cut off
		}
		last = max(last, v)
		switch what {
		case "try":
			tried[code] = append(tried[code], v)
		case "ack":
			acked[code] = v
			tried[code] = slices.DeleteFunc(tried[code], func(w int) bool { return w <= v })
			rows++
		}
	}
	if timer == nil {
		t.Fatal("the child ended before it opened the set")
	}
	if err := child.Wait(); err == nil || child.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child ended by itself: %v", err)
	}
	return rows, last
}

// TestKillChild is the process that is killed.
func TestKillChild(t *testing.T) {
	dir := os.Getenv("TILESCOUT_KILL_DIR")
	if dir == "" {
		t.Skip("runs as a child of TestKill only")
	}
	version, err := strconv.Atoi(os.Getenv("TILESCOUT_KILL_VERSION"))
	if err != nil {
		t.Fatal(err)
	}
	out := os.NewFile(3, "pipe")
	s := mustOpen(t, dir, killOptions)
	set := mustSet(t, s, key(killDimension))
	say := func(what string, rows []Row, v int) {
		var b []byte
		for _, r := range rows {
			b = fmt.Appendf(b, "%s %d %d.\n", what, r.Code, v)
		}
		if _, err := out.Write(b); err != nil {
			os.Exit(3)
		}
	}
	fmt.Fprintln(out, "open")
	r := rand.New(rand.NewPCG(uint64(version), 5))
	for {
		version++
		var codes []uint64
		for _, c := range r.Perm(killCodes)[:1+r.IntN(60)] {
			codes = append(codes, uint64(c))
		}
		rows := rowsOf(killDimension, version, codes...)
		say("try", rows, version)
		mustPut(t, set, rows...)
		say("ack", rows, version)
	}
}
