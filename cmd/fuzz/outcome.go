package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// outcome is what came of a target.
type outcome struct {
	Digest     string  // of the binary that ran
	Seconds    float64 // of fuzzing so far
	Executions int64
	New        int64
	Result     string // ok, failed, hung, interrupted
	Output     string `json:",omitempty"` // of a target that failed: its last lines
	Again      string `json:",omitempty"` // the command that shows the failure
}

func (o outcome) failed() bool { return o.Result == "failed" || o.Result == "hung" }

// grace is what a target may take beside its fuzzing: to run its seeds, to minimise, to end.
const grace = 90 * time.Second

// state remembers outcomes between runs.
type state struct {
	path string
	mu   sync.Mutex
	done map[string]outcome // guarded by mu
}

func openState(path string) (*state, error) {
	s := &state{path: path, done: map[string]outcome{}}
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &s.done)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w; remove it to begin anew", path, err)
	}
	return s, nil
}

// resume gives a target the time that it has not had yet. One that failed begins anew.
func (s *state) resume(ctx context.Context, t target, o options) outcome {
	s.mu.Lock()
	had := s.done[t.String()]
	s.mu.Unlock()
	if had.Digest != t.Digest || had.failed() {
		had = outcome{Digest: t.Digest}
	}
	left := o.each - time.Duration(had.Seconds*float64(time.Second))
	if left < time.Second && had.Executions > 0 {
		return had
	}
	if ctx.Err() != nil {
		had.Result = "interrupted"
		return had
	}
	got := fuzz(ctx, t, max(left, time.Second), o)
	got.Digest = t.Digest
	got.Seconds += had.Seconds
	got.Executions += had.Executions
	got.New += had.New

	s.mu.Lock()
	defer s.mu.Unlock()
	s.done[t.String()] = got
	if raw, err := json.MarshalIndent(s.done, "", " "); err == nil {
		_ = os.WriteFile(s.path, raw, 0o644) // without it the next run only begins anew
	}
	return got
}

// fuzz runs one target in its package's folder, where go test runs it, so that a failing input lands in its testdata.
func fuzz(ctx context.Context, t target, each time.Duration, o options) outcome {
	limited, cancel := context.WithTimeout(ctx, each+grace)
	defer cancel()
	cmd := exec.CommandContext(limited, t.Binary, "-test.run", "^$", "-test.fuzz", "^"+t.Name+"$", "-test.parallel", "1",
		"-test.fuzztime", each.String(), "-test.fuzzminimizetime", o.minimize,
		"-test.fuzzcachedir", filepath.Join(o.keep, "corpus", filepath.FromSlash(t.Short)))
	cmd.Dir = t.Dir
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // the fuzzer ends its workers itself
	cmd.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	err := cmd.Run()
	r := read(out.String(), err)
	r.Seconds = min(time.Since(start), each).Seconds()
	switch {
	case ctx.Err() != nil && !strings.Contains(r.Output, "Failing input"):
		r = outcome{Seconds: r.Seconds, Executions: r.Executions, New: r.New, Result: "interrupted"}
	case limited.Err() != nil:
		r.Result = "hung"
	}
	if r.failed() {
		r.Again = again(t, r.Output)
	}
	return r
}

var (
	figures = regexp.MustCompile(`execs: (\d+) \(.*?\)(?:, new interesting: (\d+))?`)
	written = regexp.MustCompile(`(?:Failing input written to testdata/fuzz/|failure while testing seed corpus entry: )(\S+)`)
)

// read takes the figures from the fuzzer's output, which prints the sums so far every few seconds.
func read(output string, err error) outcome {
	r := outcome{Result: "ok"}
	if all := figures.FindAllStringSubmatch(output, -1); all != nil {
		last := all[len(all)-1]
		r.Executions, _ = strconv.ParseInt(last[1], 10, 64)
		r.New, _ = strconv.ParseInt(last[2], 10, 64)
	}
	if err == nil || onlyLate(output) {
		if r.Executions == 0 {
			r.Result = "ok, seeds only" // the machine was too busy for more
		}
		return r
	}
	r.Result, r.Output = "failed", tail(output)
	return r
}

// onlyLate: on a busy machine the fuzzer reports its own deadline as a failure of the target when a worker is in the
// middle of an input as time ends. No input was found then.
func onlyLate(output string) bool {
	return strings.Contains(output, "context deadline exceeded") && !written.MatchString(output) && !strings.Contains(output, "panic")
}

// tail leaves out the progress and keeps what is needed to see the failure.
func tail(output string) string {
	var lines []string
	for line := range strings.Lines(output) {
		if !strings.HasPrefix(line, "fuzz: elapsed") && strings.TrimSpace(line) != "" {
			lines = append(lines, strings.TrimRight(line, "\n"))
		}
	}
	const most = 40
	if len(lines) > most {
		lines = append(lines[:most/2], append([]string{"…"}, lines[len(lines)-most/2:]...)...)
	}
	return strings.Join(lines, "\n")
}

// again is the command that runs the input that failed, or the fuzzer where it left none.
func again(t target, output string) string {
	if m := written.FindStringSubmatch(output); m != nil {
		return fmt.Sprintf("go test -run '^%s$' %s", strings.ReplaceAll(m[1], "/", "$/^"), t.Short)
	}
	return fmt.Sprintf("go test -run '^$' -fuzz '^%s$' -fuzztime 60s %s", t.Name, t.Short)
}
