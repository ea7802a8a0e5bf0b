// Command paint writes labelled tiles of painted scenes for training: what a tile server would send of scenes with
// other seeds than the one that the demo shows.
//
//	go run ./training/paint --out training/runs/painted --seeds 1001-1040
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"

	"github.com/tilescout/tilescout/tileserver/source/demo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "paint:", err)
		}
		os.Exit(2)
	}
}

// options of a run.
type options struct {
	out           string
	seeds         []uint64
	size          int // pixels a side of a written tile
	zooms         []int
	perScene      int
	width, height int // pixels of a scene
	quality       int // JPEG; 0 writes PNG
	workers       int
}

func run(ctx context.Context, args []string, stderr io.Writer) error {
	f := flag.NewFlagSet("paint", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprint(stderr, "Writes labelled tiles of painted scenes: DIR/README, DIR/tiles.jsonl and DIR/<seed>/*.jpg.\n"+
			"A line of tiles.jsonl: {\"file\",\"labels\",\"partly\",\"main\",\"zoom\",\"seed\"}. \"labels\" are the classes that the tile\n"+
			"shows, \"main\" the one that it was chosen for, \"partly\" those that it shows too little of to count either way.\n\n"+
			"  paint --out runs/painted --seeds 1001-1040\n  paint --out /tmp/look --seeds 5 --per-scene 60 --zooms 17\n\n")
		f.PrintDefaults()
	}
	var o options
	var seeds, zooms string
	f.StringVar(&o.out, "out", "", "folder to write to (made if missing)")
	f.StringVar(&seeds, "seeds", "1001-1020", "seeds of the scenes: 5,7,1001-1040")
	f.IntVar(&o.size, "size", 168, "pixels a side of a tile as written")
	f.StringVar(&zooms, "zooms", "15,16,17,18", "zooms to cut at")
	f.IntVar(&o.perScene, "per-scene", 320, "tiles of a scene, shared out evenly over the classes")
	f.IntVar(&o.width, "width", 6144, "pixels of a scene")
	f.IntVar(&o.height, "height", 5120, "pixels of a scene")
	f.IntVar(&o.quality, "quality", 90, "of the JPEG; 0 writes PNG")
	f.IntVar(&o.workers, "workers", runtime.GOMAXPROCS(0), "goroutines that paint")
	if err := f.Parse(args); err != nil {
		return err
	}
	var err error
	if o.seeds, err = parseSeeds(seeds); err != nil {
		return err
	}
	for _, s := range strings.Split(zooms, ",") {
		z, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || z < 13 || z > 20 {
			return fmt.Errorf("--zooms %s: want numbers of 13 to 20 with commas", zooms)
		}
		o.zooms = append(o.zooms, z)
	}
	switch {
	case o.out == "":
		return errors.New("--out is missing: say which folder to write to")
	case f.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.size < 16 || o.size > 1024:
		return fmt.Errorf("--size %d: want 16 to 1024", o.size)
	case o.perScene < 1 || o.perScene > 100_000:
		return fmt.Errorf("--per-scene %d: want 1 to 100000", o.perScene)
	case o.width < 1024 || o.height < 1024 || o.width > 16384 || o.height > 16384:
		return fmt.Errorf("--width %d --height %d: want 1024 to 16384", o.width, o.height)
	case o.quality < 0 || o.quality > 100:
		return fmt.Errorf("--quality %d: want 0 to 100", o.quality)
	}
	return write(ctx, o, stderr)
}

// parseSeeds reads numbers and ranges with commas. The demo's own seed is refused: it is what one tests on.
func parseSeeds(s string) ([]uint64, error) {
	var out []uint64
	for _, part := range strings.Split(s, ",") {
		lo, hi, isRange := strings.Cut(strings.TrimSpace(part), "-")
		a, err := strconv.ParseUint(lo, 10, 32)
		b := a
		if err == nil && isRange {
			b, err = strconv.ParseUint(hi, 10, 32)
		}
		if err != nil || a == 0 || b < a || b-a > 10_000 {
			return nil, fmt.Errorf("--seeds %s: want numbers from 1 on and ranges like 1001-1040", s)
		}
		for k := a; k <= b; k++ {
			if k == demo.Seed {
				return nil, fmt.Errorf("--seeds %s: %d is the demo's own scene, which is for testing", s, k)
			}
			out = append(out, k)
		}
	}
	return out, nil
}
