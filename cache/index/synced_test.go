package index

import (
	"maps"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestSynced: each Put that waited for the disk is told, with its layer, and so are flushes.
func TestSynced(t *testing.T) {
	var mu sync.Mutex
	told := map[string]int{}
	s := mustOpen(t, t.TempDir(), Options{FlushRows: 4, MinFree: -1, fs: newMemFS(), Synced: func(layer string, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		if took >= 0 {
			told[layer]++
		}
	}})
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return told[key(8).Layer]
	}
	set := mustSet(t, s, key(8))
	mustPut(t, set, rowsOf(8, 1, 1, 2)...)
	before := count()
	mustPut(t, set, rowsOf(8, 1, 3)...)
	if got := count() - before; got != 1 {
		t.Errorf("%d syncs told for one Put, want 1", got)
	}
	before = count()
	if err := set.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if got := count() - before; got < 3 { // two files of the segment, its manifest
		t.Errorf("%d syncs told for a flush, want all", got)
	}
	if got := slices.Collect(maps.Keys(told)); !slices.Equal(got, []string{key(8).Layer}) {
		t.Errorf("layers %v", got)
	}
}
