package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// target is one fuzz function.
type target struct {
	Package string // import path
	Short   string // relative to the module: what go test takes
	Dir     string
	Name    string
	Binary  string // the package's test binary
	Digest  string // its SHA-256: the code that was fuzzed
}

func (t target) String() string { return t.Short + " " + t.Name }

var declaration = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(\w+ \*testing\.F\)`)

// find lists the fuzz functions of the packages from their test files: nothing has to be built to know them.
func find(ctx context.Context, packages []string, only *regexp.Regexp) ([]target, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list", "-json=ImportPath,Dir,Module,TestGoFiles,XTestGoFiles"}, packages...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var targets []target
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath, Dir           string
			Module                    struct{ Path string }
			TestGoFiles, XTestGoFiles []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return targets, nil
		} else if err != nil {
			return nil, err
		}
		short := "." + strings.TrimPrefix(p.ImportPath, p.Module.Path)
		for _, file := range append(p.TestGoFiles, p.XTestGoFiles...) {
			source, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil {
				return nil, err
			}
			for _, m := range declaration.FindAllSubmatch(source, -1) {
				t := target{Package: p.ImportPath, Short: short, Dir: p.Dir, Name: string(m[1])}
				if only.MatchString(t.String()) {
					targets = append(targets, t)
				}
			}
		}
	}
}

// build makes the test binary of every package that has a target, with the fuzzer's instrumentation.
func build(ctx context.Context, targets []target, o options, log io.Writer) error {
	dir := filepath.Join(o.keep, "tests")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	type made struct {
		binary, digest string
		err            error
	}
	done := map[string]*made{}
	var wg sync.WaitGroup
	places := make(chan struct{}, 2) // the compiler uses all cores by itself; a linker does not
	for _, t := range targets {
		if done[t.Package] != nil {
			continue
		}
		m := &made{binary: filepath.Join(dir, strings.ReplaceAll(strings.TrimPrefix(t.Short, "./"), "/", "-")+".test")}
		done[t.Package] = m
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			cmd := exec.CommandContext(ctx, "go", "test", "-c", "-trimpath", "-fuzz", ".", "-o", m.binary, t.Package)
			if out, err := cmd.CombinedOutput(); err != nil {
				m.err = fmt.Errorf("go test -c %s: %w: %s", t.Short, err, out)
			} else {
				m.digest, m.err = digest(m.binary)
			}
		})
	}
	wg.Wait()
	for i := range targets {
		m := done[targets[i].Package]
		if m.err != nil {
			return m.err
		}
		targets[i].Binary, targets[i].Digest = m.binary, m.digest
	}
	return nil
}

func digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
