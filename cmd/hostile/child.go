package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/encoder/hostile"
	"github.com/tilescout/tilescout/internal/reject"
	"github.com/tilescout/tilescout/tileserver/config"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/kinds"
)

// result is what the child says of one file.
type result struct {
	Path    string  `json:"path"`
	Outcome string  `json:"outcome"` // served, refused, untyped
	Kind    string  `json:"kind"`    // of the refusal, as in tilescout_input_rejected_total
	Error   string  `json:"error"`
	Millis  float64 `json:"ms"`
	MB      float64 `json:"mb"` // most memory resident while it was open, above what was before
}

// child opens the files named on stdin, one "format<TAB>path" a line, and says of each what came of it. It runs under a
// limit of address space, so that what asks for more dies here and is counted.
func child(limit uint64) error {
	if limit > 0 {
		if err := syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			return fmt.Errorf("limit the address space: %w", err)
		}
	}
	debug.SetMemoryLimit(1 << 30)
	// Documents name hosts; nobody is asked for them.
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no names are looked up here")
	}}
	out := json.NewEncoder(os.Stdout)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		format, path, _ := strings.Cut(lines.Text(), "\t")
		before := resident("VmRSS")
		_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // starts the high-water mark anew
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := open(ctx, format, path)
		cancel()
		r := result{Path: path, Millis: float64(time.Since(start).Microseconds()) / 1e3, MB: max(0, resident("VmHWM")-before)}
		r.describe(err)
		if err := out.Encode(r); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (r *result) describe(err error) {
	if err == nil {
		r.Outcome = "served"
		return
	}
	r.Error = err.Error()
	r.Outcome = "untyped"
	for _, kind := range []error{
		tilescout.ErrBadInput, tilescout.ErrNotFound, tilescout.ErrOutOfRange, tilescout.ErrUpstream, tilescout.ErrUnavailable,
	} {
		if errors.Is(err, kind) {
			r.Outcome, r.Kind = "refused", kind.Error()
		}
	}
	if k, ok := reject.Of(err); ok {
		r.Kind = k.Name
	}
	if strings.ContainsAny(r.Error, "\n\x00") || len(r.Error) > 4000 {
		r.Outcome = "untyped" // an error that is no line cannot be shown
		r.Error = fmt.Sprintf("%d bytes: %.200s", len(r.Error), r.Error)
	}
}

// resident reads a figure of /proc/self/status, in MB; 0 where there is none.
func resident(field string) float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1024
		}
	}
	return 0
}

// open does with a file what the program would: opens it and reads some of everything.
func open(ctx context.Context, format, path string) error {
	switch format {
	case "onnx":
		return openGraph(ctx, path)
	case "checkpoint":
		return openCheckpoint(ctx, path)
	case "config":
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		_, err = config.Parse(data, "tilescout.yaml", ".", func(string) (string, bool) { return "", false })
		return err
	case "document":
		return openDocument(ctx, path)
	case "self-test": // a file that does what none may
		if filepath.Base(path) == "exit" {
			os.Exit(7)
		}
		return nil
	case "picture":
		path = "picture:" + path
	}
	return openTiles(ctx, path)
}

// openTiles opens a source and asks for tiles at its ends and in its middle.
func openTiles(ctx context.Context, path string) error {
	src, err := kinds.Open(ctx, source.Spec{ID: "hostile", Source: path}, kinds.Options{})
	if err != nil {
		return err
	}
	defer src.Close()
	info := src.Info()
	var last error
	for _, z := range []maptile.Zoom{info.MinZoom, (info.MinZoom + info.MaxZoom) / 2, info.MaxZoom} {
		tile := maptile.At(info.Bound.Center(), z)
		if _, err := src.Tile(ctx, tile); err != nil && !errors.Is(err, tilescout.ErrNotFound) {
			last = err
		}
	}
	return last
}

// openDocument serves the file on loopback, as the document behind an address that somebody typed.
func openDocument(ctx context.Context, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/document" {
			_, _ = w.Write(data)
			return
		}
		http.NotFound(w, r)
	})}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	return openTiles(ctx, "http://"+listener.Addr().String()+"/document")
}

func openGraph(ctx context.Context, path string) error {
	graph, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	dir := filepath.Join(filepath.Dir(path), "model") // one folder for all: most of it is the same
	if err := hostile.Folder(dir, graph); err != nil {
		return err
	}
	enc, err := encoder.Open(ctx, encoder.Options{Model: dir, Library: os.Getenv("TILESCOUT_ONNXRUNTIME"), Threads: 1})
	if err != nil {
		return err
	}
	return enc.Close()
}

func openCheckpoint(ctx context.Context, path string) error {
	c, err := checkpoint.Open(ctx, path, checkpoint.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	var row []float32
	for _, name := range c.Names() {
		if row, err = c.Float32(name, row); err != nil {
			return err
		}
	}
	return nil
}
