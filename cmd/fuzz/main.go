// Command fuzz runs every native fuzz target of the module, several at once with one worker each, and prints a table:
//
//	go run ./cmd/fuzz -time 10s                      # all, as make test does
//	go run ./cmd/fuzz -time 10m -keep bin/fuzz       # all, as make fuzz does; started again it goes on where it stopped
//	go run ./cmd/fuzz -run 'IFD|LZW' ./geo/...       # some
//
// A test binary is built once for each package: go test -fuzz takes one target and links anew for each. With -keep the
// inputs that reached new code, and the time each target had, stay in a folder; a target whose code changed starts anew.
// It fails if a target does, with the command that shows the failure again.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"
)

// options are the flags.
type options struct {
	each     time.Duration // for one target
	jobs     int           // targets at once
	keep     string        // folder of the corpus and the state; empty: a temporary one
	only     *regexp.Regexp
	minimize string // -test.fuzzminimizetime: unbounded, it eats the time of targets with large inputs
	packages []string
}

func main() {
	var o options
	var only string
	flag.DurationVar(&o.each, "time", 10*time.Second, "for each target")
	flag.IntVar(&o.jobs, "jobs", runtime.NumCPU(), "targets at once, one worker each")
	flag.StringVar(&o.keep, "keep", "", "folder for inputs found and time spent, to go on from; nothing is kept if empty")
	flag.StringVar(&only, "run", "", "regular expression of package and target; all if empty")
	flag.StringVar(&o.minimize, "minimize", "5x", "runs to make one new input smaller")
	flag.Parse()
	if o.packages = flag.Args(); len(o.packages) == 0 {
		o.packages = []string{"./..."}
	}
	var err error
	if o.only, err = regexp.Compile(only); err != nil || o.each <= 0 || o.jobs < 1 {
		fmt.Fprintln(os.Stderr, "fuzz: -time and -jobs are above 0, -run is a regular expression")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	failed, err := run(ctx, o, os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
	}
	if err != nil || failed > 0 {
		os.Exit(1)
	}
}

// run fuzzes all targets and prints the table; progress goes to log.
func run(ctx context.Context, o options, w, log io.Writer) (failed int, err error) {
	targets, err := find(ctx, o.packages, o.only)
	if err != nil {
		return 0, err
	}
	if len(targets) == 0 {
		return 0, fmt.Errorf("no fuzz target matches %q in %q", o.only, o.packages)
	}
	if o.keep == "" {
		if o.keep, err = os.MkdirTemp("", "tilescout-fuzz-"); err != nil {
			return 0, err
		}
		defer os.RemoveAll(o.keep)
	} else if o.keep, err = filepath.Abs(o.keep); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := build(ctx, targets, o, log); err != nil {
		return 0, err
	}
	fmt.Fprintf(log, "fuzz: %d targets, built in %.0f s, %s each, %d at once\n", len(targets), time.Since(start).Seconds(), o.each, o.jobs)
	kept, err := openState(filepath.Join(o.keep, "state.json"))
	if err != nil {
		return 0, err
	}

	outcomes := make([]outcome, len(targets))
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(o.jobs, len(targets)) {
		wg.Go(func() {
			for i := range next {
				outcomes[i] = kept.resume(ctx, targets[i], o)
				fmt.Fprintf(log, "%s\t%s\n", targets[i], outcomes[i].Result)
			}
		})
	}
	for i := range targets {
		next <- i
	}
	close(next)
	wg.Wait()
	failed = print(w, targets, outcomes, time.Since(start))
	return failed, ctx.Err()
}

func print(w io.Writer, targets []target, outcomes []outcome, took time.Duration) (failed int) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "target\ttime\texecutions\tnew inputs\tresult")
	var all outcome
	for i, o := range outcomes {
		fmt.Fprintf(t, "%s\t%.0f s\t%d\t%d\t%s\n", targets[i], o.Seconds, o.Executions, o.New, o.Result)
		all.Executions += o.Executions
		all.New += o.New
		all.Seconds += o.Seconds
		if o.failed() {
			failed++
		}
	}
	fmt.Fprintf(t, "%d targets\t%.0f s\t%d\t%d\t%d failed\n", len(targets), all.Seconds, all.Executions, all.New, failed)
	t.Flush()
	fmt.Fprintf(w, "in %s\n", took.Round(time.Second))
	for i, o := range outcomes {
		if o.failed() {
			fmt.Fprintf(w, "\n%s\n%s\nagain: %s\n", targets[i], o.Output, o.Again)
		}
	}
	return failed
}
