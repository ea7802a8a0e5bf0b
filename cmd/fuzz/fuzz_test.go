package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const (
	progress = "fuzz: elapsed: 0s, gathering baseline coverage: 0/3 completed\n" +
		"fuzz: elapsed: 3s, execs: 1200 (400/sec), new interesting: 2 (total: 5)\n" +
		"fuzz: elapsed: 5s, execs: 2345 (572/sec), new interesting: 7 (total: 10)\n"
	crash = progress + "--- FAIL: FuzzX (5.01s)\n    --- FAIL: FuzzX (0.00s)\n        x_test.go:9: boom\n    \n" +
		"    Failing input written to testdata/fuzz/FuzzX/e01a\n    To re-run:\n    go test -run=FuzzX/e01a\nFAIL\n"
	seed = "failure while testing seed corpus entry: FuzzX/named\nfuzz: elapsed: 0s, gathering baseline coverage: 0/3 completed\n--- FAIL: FuzzX (0.01s)\nFAIL\n"
	late = progress + "--- FAIL: FuzzX (5.10s)\n    context deadline exceeded\nFAIL\n"
	died = progress + "--- FAIL: FuzzX (5.10s)\n    fuzzing process hung or terminated unexpectedly: exit status 2\nFAIL\n"
)

func TestRead(t *testing.T) {
	failure := errors.New("exit status 1")
	at := target{Short: "./a", Name: "FuzzX"}
	for name, c := range map[string]struct {
		output          string
		err             error
		result, again   string
		executions, new int64
	}{
		"nothing found":    {progress + "PASS\n", nil, "ok", "", 2345, 7},
		"failing input":    {crash, failure, "failed", "go test -run '^FuzzX$/^e01a$' ./a", 2345, 7},
		"failing seed":     {seed, failure, "failed", "go test -run '^FuzzX$/^named$' ./a", 0, 0},
		"worker died":      {died, failure, "failed", "go test -run '^$' -fuzz '^FuzzX$' -fuzztime 60s ./a", 2345, 7},
		"no time":          {"PASS\n", nil, "ok, seeds only", "", 0, 0},
		"only late":        {late, failure, "ok", "", 2345, 7},
		"nothing was said": {"", failure, "failed", "go test -run '^$' -fuzz '^FuzzX$' -fuzztime 60s ./a", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := read(c.output, c.err)
			if got.Result != c.result || got.Executions != c.executions || got.New != c.new {
				t.Errorf("read = %+v, want %s, %d executions, %d new", got, c.result, c.executions, c.new)
			}
			if got.failed() && again(at, got.Output) != c.again {
				t.Errorf("again = %s, want %s", again(at, got.Output), c.again)
			}
			if strings.Contains(got.Output, "elapsed") {
				t.Errorf("the output holds progress: %s", got.Output)
			}
		})
	}
}

// TestFind: the module's own targets are found without building them, and -run chooses.
func TestFind(t *testing.T) {
	const module = "github.com/tilescout/tilescout/"
	all, err := find(t.Context(), []string{module + "geo", module + "cmd/fuzz"}, regexp.MustCompile(""))
	if err != nil {
		t.Fatal(err)
	}
	some, err := find(t.Context(), []string{module + "geo"}, regexp.MustCompile(`geo FuzzTilePath$`))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 3 || len(some) != 1 || some[0].String() != "./geo FuzzTilePath" {
		t.Errorf("found %v and %v, want those of geo, and FuzzTilePath alone", all, some)
	}
}

// TestResume: a target that had its time is not run again until its code changes, one that failed is.
func TestResume(t *testing.T) {
	dir := t.TempDir()
	// A stand-in for a test binary: it says what a fuzzer says and leaves a mark.
	binary, mark := filepath.Join(dir, "x.test"), filepath.Join(dir, "ran")
	script := "#!/bin/sh\necho ran >> " + mark + "\necho 'fuzz: elapsed: 1s, execs: 10 (10/sec), new interesting: 1 (total: 1)'\n"
	if err := os.WriteFile(binary, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	at := target{Short: "./a", Dir: dir, Name: "FuzzX", Binary: binary, Digest: "one"}
	o := options{each: time.Minute, keep: dir, minimize: "5x"}
	path := filepath.Join(dir, "state.json")
	try := func(what, digest string, had *outcome, runs int) {
		t.Helper()
		s, err := openState(path)
		if err != nil {
			t.Fatal(err)
		}
		if had != nil {
			s.done[at.String()] = *had
		}
		_ = os.Remove(mark)
		at.Digest = digest
		s.resume(t.Context(), at, o)
		ran, _ := os.ReadFile(mark) // no file: it was not run
		if got := bytes.Count(ran, []byte("ran")); got != runs {
			t.Errorf("%s: ran %d times, want %d", what, got, runs)
		}
	}
	try("new", "one", nil, 1)
	try("had its time", "one", &outcome{Digest: "one", Seconds: 60, Executions: 10, Result: "ok"}, 0)
	try("had half of it", "one", &outcome{Digest: "one", Seconds: 30, Executions: 10, Result: "ok"}, 1)
	try("its code changed", "two", &outcome{Digest: "one", Seconds: 60, Executions: 10, Result: "ok"}, 1)
	try("it failed", "one", &outcome{Digest: "one", Seconds: 60, Executions: 10, Result: "failed"}, 1)
	if s, err := openState(path); err != nil || s.done[at.String()].Executions != 10 {
		t.Errorf("what is kept: %+v, %v", s, err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openState(path); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("a broken state: %v", err)
	}
}
