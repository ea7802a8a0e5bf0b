// Command hostile opens hundreds of files that mean harm, and every truncation of small good ones, each kind in a child
// process with a limit of memory, and prints what came of them:
//
//	go run ./cmd/hostile                # all
//	go run ./cmd/hostile -only tiff,onnx
//
// It fails if a file crashed the child, hung, took too much memory or was refused without a typed error.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

const (
	addressSpace = 4 << 30 // of the child: libraries, stacks and the runtime's own reserve included
	mostMemory   = 512     // MB that opening one file may take: SEC's budget for decoding, and what Go adds
	hangAfter    = 10 * time.Second
)

// tally is what came of the files of one format.
type tally struct {
	files, served, refused int
	bad                    []string
	kinds                  map[string]int
	slowest, largest       float64
	slowestFile            string
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "-child" {
		if err := child(addressSpace); err != nil {
			fmt.Fprintln(os.Stderr, "hostile:", err)
			os.Exit(1)
		}
		return
	}
	only := flag.String("only", "", "formats, separated by commas; all if empty")
	keep := flag.String("keep", "", "folder to write the files to and keep them in")
	shared := flag.String("shared", "../shared/data", "folder with real data, used where it is there")
	verbose := flag.Bool("v", false, "print each file's outcome")
	flag.Parse()
	bad, err := run(*only, *keep, *shared, *verbose, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		os.Exit(1)
	}
	if bad > 0 {
		os.Exit(1)
	}
}

func run(only, keep, shared string, verbose bool, w io.Writer) (bad int, err error) {
	dir := keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "tilescout-hostile-"); err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir)
	}
	files, err := write(dir, shared, func(format string) bool {
		return only == "" || slices.Contains(strings.Split(only, ","), format)
	})
	if err != nil {
		return 0, err
	}
	table := map[string]*tally{}
	for _, format := range slices.Sorted(maps.Keys(files)) {
		t, err := judge(format, files[format], verbose, w)
		if err != nil {
			return 0, err
		}
		table[format] = t
		bad += len(t.bad)
	}
	print(w, table)
	return bad, nil
}

// judge runs the files of a format through children; a file that ends one is counted and the rest go to the next.
func judge(format string, files []string, verbose bool, w io.Writer) (*tally, error) {
	t := &tally{files: len(files), kinds: map[string]int{}}
	for len(files) > 0 {
		done, why, err := feed(format, files, func(r result) {
			t.add(r)
			if verbose {
				fmt.Fprintf(w, "%s\t%s\t%.1f ms\t%.0f MB\t%s\n", r.Path, r.Outcome, r.Millis, r.MB, r.Error)
			}
		})
		if err != nil {
			return nil, err
		}
		if done < len(files) {
			t.bad = append(t.bad, fmt.Sprintf("%s: %s", files[done], why))
			done++
		}
		files = files[done:]
	}
	return t, nil
}

func (t *tally) add(r result) {
	switch r.Outcome {
	case "served":
		t.served++
	case "refused":
		t.refused++
		t.kinds[r.Kind]++
	default:
		t.bad = append(t.bad, fmt.Sprintf("%s: no typed line: %.300q", r.Path, r.Error))
	}
	if r.MB > mostMemory {
		t.bad = append(t.bad, fmt.Sprintf("%s: took %.0f MB", r.Path, r.MB))
	}
	if r.Millis > t.slowest {
		t.slowest, t.slowestFile = r.Millis, r.Path
	}
	t.largest = max(t.largest, r.MB)
}

// feed starts a child and gives it files until all are done or it dies; it returns how many were answered, and what
// ended it.
func feed(format string, files []string, answer func(result)) (done int, why string, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, "", err
	}
	cmd := exec.Command(self, "-child")
	var log tailBuffer
	cmd.Stderr = &log
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, "", err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, "", err
	}
	if err := cmd.Start(); err != nil {
		return 0, "", fmt.Errorf("start the child: %w", err)
	}
	go func() {
		defer in.Close()
		for _, f := range files {
			if _, err := fmt.Fprintf(in, "%s\t%s\n", format, f); err != nil {
				return // the child is gone; feed sees it on the other side
			}
		}
	}()
	answers := make(chan result)
	go func() {
		defer close(answers)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var r result
			if json.Unmarshal(lines.Bytes(), &r) == nil {
				answers <- r
			}
		}
	}()
	for {
		select {
		case r, ok := <-answers:
			if !ok {
				if err := cmd.Wait(); err != nil {
					return done, "ended the process: " + err.Error() + ": " + log.line(), nil
				}
				if done < len(files) {
					return done, "", errors.New("the child stopped early without saying why")
				}
				return done, "", nil
			}
			answer(r)
			done++
		case <-time.After(hangAfter):
			_ = cmd.Process.Kill()
			for range answers { // until the pipe is closed
			}
			_ = cmd.Wait()
			return done, fmt.Sprintf("no answer in %s", hangAfter), nil
		}
	}
}

// tailBuffer keeps the first line of what a dying process says, which names the reason.
type tailBuffer struct{ b []byte }

func (t *tailBuffer) Write(p []byte) (int, error) {
	if len(t.b) < 4096 {
		t.b = append(t.b, p[:min(len(p), 4096-len(t.b))]...)
	}
	return len(p), nil
}

func (t *tailBuffer) line() string {
	line, _, _ := strings.Cut(string(t.b), "\n")
	return line
}

func print(w io.Writer, table map[string]*tally) {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "format\tfiles\tserved\trefused\tkinds\tbad\tslowest ms\tmost MB\t")
	var sum tally
	for _, format := range slices.Sorted(maps.Keys(table)) {
		t := table[format]
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%d\t%d\t%.0f\t%.0f\t\n", format, t.files, t.served, t.refused, len(t.kinds), len(t.bad), t.slowest, t.largest)
		sum.files, sum.served, sum.refused = sum.files+t.files, sum.served+t.served, sum.refused+t.refused
		sum.bad = append(sum.bad, t.bad...)
		sum.slowest, sum.largest = max(sum.slowest, t.slowest), max(sum.largest, t.largest)
	}
	fmt.Fprintf(tw, "all\t%d\t%d\t%d\t\t%d\t%.0f\t%.0f\t\n", sum.files, sum.served, sum.refused, len(sum.bad), sum.slowest, sum.largest)
	_ = tw.Flush()
	for _, b := range sum.bad {
		fmt.Fprintln(w, "BAD", b)
	}
}
