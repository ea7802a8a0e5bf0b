package diskcache

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

func open(t testing.TB, dir string, o Options) *Cache {
	t.Helper()
	c, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func entry(size int) Entry {
	return Entry{
		MediaType: "image/png", ETag: `W/"a"`, LastModified: "Mon, 02 Jan 2006 15:04:05 GMT",
		Stored: time.Unix(1e9, 5).UTC(), Expires: time.Unix(2e9, 7).UTC(), Stated: true, NoStale: true, Data: bytes.Repeat([]byte{7}, size),
	}
}

// files lists what lies in the folder of a cache, temporary files included.
func files(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, Options{})
	for _, size := range []int{0, 1, 5000} {
		key := fmt.Sprint("../../etc/passwd ", size) // whatever a key is, it is no path
		if _, ok := c.Get(key); ok {
			t.Errorf("Get(%q) before Put found something", key)
		}
		c.Put(key, entry(size))
		got, ok := c.Get(key)
		want := entry(size)
		if !ok || !bytes.Equal(got.Data, want.Data) || got.ETag != want.ETag || got.LastModified != want.LastModified ||
			!got.Expires.Equal(want.Expires) || !got.Stored.Equal(want.Stored) || !got.Stated || !got.NoStale || got.MediaType != want.MediaType {
			t.Errorf("Get(%q) = %+v, %v, want %+v", key, got, ok, want)
		}
	}
	if all := files(t, dir); len(all) != 3 {
		t.Errorf("%d files for 3 entries: %v", len(all), all)
	}
	c.Put("x", entry(1))
	c.Put("x", entry(2))
	if got, _ := c.Get("x"); len(got.Data) != 2 {
		t.Errorf("second Put: %d bytes, want 2", len(got.Data))
	}
	c.Delete("x")
	if _, ok := c.Get("x"); ok {
		t.Error("Get after Delete found something")
	}
	if s := c.Stats(); s.Entries != 3 || s.Bytes != 4096*4 {
		t.Errorf("Stats = %+v, want 3 entries in 4 blocks", s)
	}
}

func TestSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, Options{})
	c.Put("a", entry(10))
	c.Close()
	if err := os.MkdirAll(filepath.Join(dir, tempDir), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, foreign := range []string{filepath.Join(tempDir, "9"), "README"} { // one left by a crash, one not ours
		if err := os.WriteFile(filepath.Join(dir, foreign), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c = open(t, dir, Options{})
	if got, ok := c.Get("a"); !ok || len(got.Data) != 10 {
		t.Errorf("Get after restart = %d bytes, %v", len(got.Data), ok)
	}
	if all := files(t, dir); len(all) != 2 {
		t.Errorf("files after restart: %v, want the entry and README", all)
	}
}

// TestEviction: the least recently used goes first, also when use was before a restart.
func TestEviction(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, Options{MaxBytes: 10 * blockSize})
	for i := range 10 {
		c.Put(fmt.Sprint(i), entry(100))
	}
	if _, ok := c.Get("0"); !ok {
		t.Fatal("0 is gone before the bound is reached")
	}
	c.Put("10", entry(100))
	for key, want := range map[string]bool{"0": true, "1": false, "2": false, "3": true, "10": true} {
		if _, ok := c.Get(key); ok != want {
			t.Errorf("Get(%q) after eviction: %v, want %v", key, ok, want)
		}
	}
	if s := c.Stats(); s.Bytes > 10*blockSize || s.Evictions != 2 || len(files(t, dir)) != s.Entries {
		t.Errorf("Stats = %+v with %d files", s, len(files(t, dir)))
	}
	c.Close()

	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(c.path(nameOf("10")), old, old); err != nil {
		t.Fatal(err)
	}
	c = open(t, dir, Options{MaxBytes: 8 * blockSize}) // smaller than before
	if _, ok := c.Get("10"); ok {
		t.Error("the entry unused for longest survived the restart")
	}
	if s := c.Stats(); s.Bytes > 8*blockSize {
		t.Errorf("Stats = %+v, want at most 8 blocks", s)
	}
	c.Put("large", entry(9*blockSize))
	if _, ok := c.Get("large"); ok {
		t.Error("an entry over the bound was kept")
	}
}

// TestDamage: every truncation and every flipped byte of a file is a miss, and then gone.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, Options{})
	c.Put("a", entry(50))
	path := c.path(nameOf("a"))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(name string, file []byte) {
		c.Put("a", entry(50))
		if err := os.WriteFile(path, file, 0o644); err != nil {
			t.Fatal(err)
		}
		if e, ok := c.Get("a"); ok {
			t.Fatalf("%s: Get = %+v", name, e)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("%s: the damaged file is still there", name)
		}
	}
	for n := range whole {
		check(fmt.Sprint("cut at ", n), whole[:n])
	}
	for n := range whole {
		flipped := bytes.Clone(whole)
		flipped[n] ^= 0x40
		check(fmt.Sprint("flipped byte ", n), flipped)
	}
	check("longer", append(bytes.Clone(whole), 0))
	c.Put("b", entry(50))
	other, err := os.ReadFile(c.path(nameOf("b")))
	if err != nil {
		t.Fatal(err)
	}
	check("another key's file", other)
	if _, ok := c.Get("b"); !ok {
		t.Error("its neighbour is gone too")
	}
}

func TestFileTakenAway(t *testing.T) {
	c := open(t, t.TempDir(), Options{})
	c.Put("a", entry(50))
	if err := os.Remove(c.path(nameOf("a"))); err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Get("a"); ok {
		t.Error("Get found a file that is gone")
	}
	if s := c.Stats(); s.Entries != 0 || s.Bytes != 0 {
		t.Errorf("Stats = %+v, want nothing", s)
	}
	if err := os.RemoveAll(c.dir); err != nil { // somebody cleans up below a running server
		t.Fatal(err)
	}
	c.Put("a", entry(50))
	if _, ok := c.Get("a"); !ok {
		t.Error("Put does not make the folder again")
	}
}

func TestFullDisk(t *testing.T) {
	var warnings []error
	c := open(t, t.TempDir(), Options{Warn: func(err error) { warnings = append(warnings, err) }, Pause: time.Nanosecond})
	good := c.write
	c.write = func(string, []byte) error { return syscall.ENOSPC }
	for range 3 {
		c.Put("a", entry(50))
	}
	if _, ok := c.Get("a"); ok || len(warnings) != 1 || !errors.Is(warnings[0], syscall.ENOSPC) {
		t.Errorf("on a full disk: kept %v, warnings %v, want none kept, one warning", ok, warnings)
	}
	c.write = good
	c.Put("a", entry(50))
	if _, ok := c.Get("a"); !ok {
		t.Error("not kept when there is room again")
	}
	c.write = func(string, []byte) error { return syscall.ENOSPC }
	c.Put("b", entry(50))
	if len(warnings) != 2 {
		t.Errorf("%d warnings after the disk filled a second time, want 2", len(warnings))
	}
}

func TestFullDiskPauses(t *testing.T) {
	c := open(t, t.TempDir(), Options{})
	tries := 0
	c.write = func(string, []byte) error { tries++; return syscall.ENOSPC }
	for range 5 {
		c.Put("a", entry(50))
	}
	if tries != 1 {
		t.Errorf("%d tries within the pause, want 1", tries)
	}
}

// TestUnwritable uses a real obstacle: where the shard's folder should be lies a file.
func TestUnwritable(t *testing.T) {
	dir := t.TempDir()
	var warned error
	c := open(t, dir, Options{Warn: func(err error) { warned = err }})
	if err := os.WriteFile(filepath.Dir(c.path(nameOf("a"))), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	c.Put("a", entry(50))
	if _, ok := c.Get("a"); ok || warned == nil {
		t.Errorf("kept %v, warned %v", ok, warned)
	}
	for _, path := range files(t, dir) {
		if filepath.Base(filepath.Dir(path)) == tempDir {
			t.Errorf("temporary file %s left", path)
		}
	}
}

func TestOpenOnAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}); err == nil {
		t.Error("Open took a file for a folder")
	}
}

func TestConcurrent(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, Options{MaxBytes: 20 * blockSize})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 60 {
				key := fmt.Sprint((g + i) % 30)
				switch i % 5 {
				case 0, 1, 2:
					c.Put(key, entry(100+i))
				case 3:
					if e, ok := c.Get(key); ok && len(e.Data) < 100 {
						t.Errorf("Get(%q) = %d bytes", key, len(e.Data))
					}
				case 4:
					c.Delete(key)
				}
			}
		})
	}
	wg.Wait()
	s := c.Stats()
	if s.Bytes > 20*blockSize || s.Bytes != int64(s.Entries)*blockSize || len(files(t, dir)) != s.Entries || s.Damaged != 0 {
		t.Errorf("Stats = %+v with %d files", s, len(files(t, dir)))
	}
}

func TestClosed(t *testing.T) {
	c := open(t, t.TempDir(), Options{})
	c.Put("a", entry(1))
	c.Close()
	c.Put("b", entry(1))
	if _, ok := c.Get("a"); ok || len(files(t, c.dir)) != 1 {
		t.Error("a closed cache reads or writes")
	}
}

func FuzzCacheEntry(f *testing.F) {
	for _, size := range []int{0, 1, 300} {
		file, err := encode("key", entry(size))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
		f.Add(file[:len(file)/2])
	}
	f.Add([]byte("TSC1\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, file []byte) {
		e, err := decode("key", file)
		if err != nil {
			if !errors.Is(err, errDamaged) {
				t.Fatalf("decode: %v", err)
			}
			return
		}
		again, err := encode("key", e)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decode("key", again); err != nil || !bytes.Equal(back.Data, e.Data) || back.ETag != e.ETag || !back.Expires.Equal(e.Expires) {
			t.Fatalf("round trip: %+v, %v, want %+v", back, err, e)
		}
	})
}

func BenchmarkGet(b *testing.B) {
	c := open(b, b.TempDir(), Options{})
	for i := range 256 {
		c.Put(fmt.Sprint(i), entry(14000))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, ok := c.Get(fmt.Sprint(i % 256)); !ok {
			b.Fatal("miss")
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tiles/s")
}

func BenchmarkPut(b *testing.B) {
	c := open(b, b.TempDir(), Options{MaxBytes: 100 << 20})
	e := entry(14000)
	for i := 0; b.Loop(); i++ {
		c.Put(fmt.Sprint(i), e)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tiles/s")
}
