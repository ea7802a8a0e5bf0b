package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tilescout/tilescout/cache/index"
)

// intoSegments moves what is in the logs of an index into mapped files, where that of a large layer is.
func intoSegments(t testing.TB, data string) {
	t.Helper()
	store, err := index.Open(filepath.Join(data, "index"), index.Options{MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	keys, err := store.Sets()
	if err != nil || len(keys) == 0 {
		t.Fatalf("%d sets, %v", len(keys), err)
	}
	for _, k := range keys {
		set, err := store.Set(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		if err := set.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestVerifyAndRepair damages each file of an index in turn: verify names it, the next index run sets it aside and
// embeds what is missing, and verify is content again.
func TestVerifyAndRepair(t *testing.T) {
	data, tiles := t.TempDir(), smallMosaic(t)
	if _, stderr, status := call(t, "index", tiles, "--data", data); status != 0 {
		t.Skipf("no model here: %s", stderr)
	}
	intoSegments(t, data)
	damaged := 0
	for _, kind := range []string{"*.vec", "*.key"} {
		files, err := filepath.Glob(filepath.Join(data, "index", "*", kind))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			whole, err := os.ReadFile(file)
			if err != nil || len(whole) < 64 {
				continue
			}
			bad := append([]byte{}, whole...)
			for i := len(bad) / 2; i < len(bad)/2+16; i++ {
				bad[i] ^= 0x5a
			}
			if err := os.WriteFile(file, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			damaged++
			name := filepath.Base(file)
			stdout, stderr, status := call(t, "index", "verify", "--data", data)
			number, _, _ := strings.Cut(name, ".") // vec and key are one
			if status != 1 || !strings.Contains(stdout, number) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("%s: verify = %d, %s%s, want 1 and its name", name, status, stdout, stderr)
			}
			if stdout, stderr, status := call(t, "index", tiles, "--data", data); status != 0 {
				t.Errorf("%s: index = %d, %s%s", name, status, stdout, stderr)
			}
			if stdout, stderr, status := call(t, "index", "verify", "--data", data); status != 0 {
				t.Errorf("%s: verify after another run = %d, %s%s", name, status, stdout, stderr)
			}
			break // one of each kind says it
		}
	}
	if damaged == 0 {
		t.Error("no file was damaged")
	}
	if stdout, stderr, status := call(t, "search", "forest", "-s", tiles, "--data", data, "-o", "json"); status != 0 {
		t.Errorf("search = %d, %s%s", status, stdout, stderr)
	}
}
