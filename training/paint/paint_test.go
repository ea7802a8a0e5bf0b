package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"image/jpeg"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestParseSeeds(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want []uint64
	}{
		{"5", []uint64{5}},
		{"5,9", []uint64{5, 9}},
		{"1001-1003, 12", []uint64{1001, 1002, 1003, 12}},
		{"", nil}, {"0", nil}, {"5-", nil}, {"9-5", nil}, {"x", nil}, {"-3", nil}, {"1-999999999", nil},
		{"2", nil}, {"1-10", nil}, // the demo's own
	} {
		got, err := parseSeeds(tc.in)
		if (err != nil) != (tc.want == nil) || err == nil && !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%q: %v, %v", tc.in, got, err)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"", "--out"}, {"--out x --size 3", "--size"}, {"--out x --zooms 99", "--zooms"}, {"--out x --zooms a", "--zooms"},
		{"--out x --per-scene 0", "--per-scene"}, {"--out x --width 9", "--width"}, {"--out x y", "unexpected"}, {"--out x --quality 200", "--quality"},
	} {
		if err := run(context.Background(), strings.Fields(tc.args), io.Discard); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v", tc.args, err)
		}
	}
	var help bytes.Buffer
	if err := run(context.Background(), []string{"--help"}, &help); !errors.Is(err, flag.ErrHelp) || !strings.Contains(help.String(), "tiles.jsonl") {
		t.Errorf("--help: %v\n%s", err, help.String())
	}
}

func TestRunWritesTiles(t *testing.T) {
	dir := t.TempDir()
	args := []string{"--out", dir, "--seeds", "31", "--width", "1600", "--height", "1200", "--per-scene", "24", "--size", "64", "--zooms", "17,18"}
	if err := run(context.Background(), args, io.Discard); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "tiles.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(lines) != 24 {
		t.Fatalf("%d lines", len(lines))
	}
	mains := map[string]int{}
	for _, text := range lines {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		mains[l.Main]++
		if !strings.Contains(strings.Join(l.Labels, "|"), l.Main) || l.Seed != 31 || l.Zoom < 17 || l.Zoom > 18 {
			t.Errorf("%+v", l)
		}
		f, err := os.Open(filepath.Join(dir, l.File))
		if err != nil {
			t.Fatal(err)
		}
		m, err := jpeg.DecodeConfig(f)
		f.Close()
		if err != nil || m.Width != 64 || m.Height != 64 {
			t.Errorf("%s: %d×%d, %v", l.File, m.Width, m.Height, err)
		}
	}
	if len(mains) < 4 {
		t.Errorf("classes %v", mains)
	}
	if _, err := os.Stat(filepath.Join(dir, "README")); err != nil {
		t.Error(err)
	}
}
