// Package diskcache keeps upstream tiles in a folder, bounded by bytes, the least recently used going first.
//
//	c, err := diskcache.Open(dir, diskcache.Options{})
//	defer c.Close()
//	c.Put("city 1/0/0", diskcache.Entry{MediaType: "image/png", Data: png, Expires: tomorrow})
//	e, ok := c.Get("city 1/0/0")
//
// It is a cache and nothing more: a damaged file is a miss, a full disk means that nothing is kept. Neither is an error.
package diskcache

import (
	"cmp"
	"container/list"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/tilescout/tilescout"
)

// Options of a cache; the zero value works.
type Options struct {
	MaxBytes int64         // on disk, in whole 4 KiB blocks; 0 means 2 GiB
	Warn     func(error)   // told once when writing starts to fail, and again after it has worked; nil means nobody
	Pause    time.Duration // no writing for so long after a failure; 0 means 1 min
}

// Stats are counters since Open, and the present size.
type Stats struct {
	Hits, Misses, Damaged, Evictions, WriteErrors int64
	Entries                                       int
	Bytes                                         int64
}

// Cache is a folder of entries. Safe for concurrent use; one process at a time.
type Cache struct {
	dir   string
	o     Options
	write func(name string, data []byte) error // replaced in tests

	// files guards the files whose names begin with its index, together with their place in the books: whoever writes or
	// removes one holds it until byName says the same. Taken before mu.
	files [64]sync.Mutex

	mu      sync.Mutex // guards all below
	byName  map[name]*list.Element
	recent  *list.List // of *item, most recently used first
	stats   Stats
	noWrite time.Time // until then
	warned  bool
	closed  bool
	temp    int64 // number of the next temporary file
}

type name [16]byte

// nameOf returns the file name of a key: a hash, so that no text from a request or a config reaches the file system.
func nameOf(key string) name {
	sum := sha256.Sum256([]byte(key))
	return name(sum[:16])
}

type item struct {
	name name
	size int64 // in whole blocks
	used time.Time
}

const (
	suffix    = ".tile"
	tempDir   = "tmp"
	blockSize = 4096
	// touchAfter: the order of use survives a restart through file times, which need not be exact.
	touchAfter = 10 * time.Minute
)

// Open makes dir if need be and takes stock of what is in it.
func Open(dir string, o Options) (*Cache, error) {
	o.MaxBytes = cmp.Or(max(o.MaxBytes, 0), 2<<30)
	o.Pause = cmp.Or(o.Pause, time.Minute)
	if o.Warn == nil {
		o.Warn = func(error) {}
	}
	// What a crash left half-written is in here, and nothing else is.
	os.RemoveAll(filepath.Join(dir, tempDir))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("tile cache %s: %w: %w", dir, err, tilescout.ErrUnavailable)
	}
	c := &Cache{dir: dir, o: o, byName: map[name]*list.Element{}, recent: list.New()}
	c.write = c.writeFile
	items, err := c.scan()
	if err != nil {
		return nil, fmt.Errorf("tile cache %s: %w: %w", dir, err, tilescout.ErrUnavailable)
	}
	slices.SortFunc(items, func(a, b *item) int { return b.used.Compare(a.used) })
	for _, it := range items {
		c.byName[it.name] = c.recent.PushBack(it)
		c.stats.Bytes += it.size
	}
	c.remove(c.overflow())
	return c, nil
}

// scan lists the files of the cache; anything else in the folder is left alone.
func (c *Cache) scan() ([]*item, error) {
	var items []*item
	shards, err := os.ReadDir(c.dir)
	if err != nil {
		return nil, err
	}
	for _, shard := range shards {
		if !shard.IsDir() || len(shard.Name()) != 2 {
			continue
		}
		files, err := os.ReadDir(filepath.Join(c.dir, shard.Name()))
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			var n name
			text, ok := cutSuffix(f.Name())
			if _, err := hex.Decode(n[:], text); !ok || err != nil || !f.Type().IsRegular() {
				continue
			}
			info, err := f.Info()
			if err != nil {
				continue // gone since
			}
			items = append(items, &item{name: n, size: blocks(info.Size()), used: info.ModTime()})
		}
	}
	return items, nil
}

func cutSuffix(file string) (hexName []byte, ok bool) {
	const want = 2*len(name{}) + len(suffix)
	if len(file) != want || file[want-len(suffix):] != suffix {
		return nil, false
	}
	return []byte(file[:want-len(suffix)]), true
}

func blocks(size int64) int64 { return (size + blockSize - 1) / blockSize * blockSize }

func (c *Cache) file(n name) *sync.Mutex { return &c.files[int(n[0])%len(c.files)] }

func (c *Cache) path(n name) string {
	h := hex.EncodeToString(n[:])
	return filepath.Join(c.dir, h[:2], h+suffix)
}

// Get returns the entry of key, expired or not. A damaged file is removed and is a miss.
// The entry's Data belongs to the caller.
func (c *Cache) Get(key string) (Entry, bool) {
	n := nameOf(key)
	if !c.use(n) {
		return Entry{}, false
	}
	file, err := readFile(c.path(n))
	var e Entry
	if err == nil {
		e, err = decode(key, file)
	}
	if err == nil {
		c.mu.Lock()
		c.stats.Hits++
		c.mu.Unlock()
		return e, true
	}
	c.mu.Lock()
	c.stats.Misses++
	if errors.Is(err, errDamaged) {
		c.stats.Damaged++
	}
	c.mu.Unlock()
	c.forget(n)
	return Entry{}, false
}

// forget takes n out of the books and off the disk.
func (c *Cache) forget(n name) {
	file := c.file(n)
	file.Lock()
	defer file.Unlock()
	c.mu.Lock()
	if el := c.byName[n]; el != nil {
		c.drop(el)
	}
	c.mu.Unlock()
	os.Remove(c.path(n)) // what cannot be removed now is found again at the next Open
}

// readFile reads a whole file, refusing before allocation what no entry can be.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > int64(headerSize+maxMeta+maxData+sumSize) {
		return nil, errDamaged
	}
	file := make([]byte, info.Size())
	if _, err := f.ReadAt(file, 0); err != nil {
		return nil, errDamaged
	}
	return file, nil
}

// use marks n as used now and tells whether it is in the cache.
func (c *Cache) use(n name) bool {
	c.mu.Lock()
	el := c.byName[n]
	if el == nil || c.closed {
		c.stats.Misses++
		c.mu.Unlock()
		return false
	}
	c.recent.MoveToFront(el)
	now := time.Now()
	it := el.Value.(*item)
	touch := now.Sub(it.used) > touchAfter
	if touch {
		it.used = now
	}
	c.mu.Unlock()
	if touch {
		os.Chtimes(c.path(n), now, now) // only the order of eviction after a restart hangs on it
	}
	return true
}

// Put keeps e under key, in place of what was there. When it cannot be written, it is not kept.
func (c *Cache) Put(key string, e Entry) {
	c.mu.Lock()
	skip := c.closed || time.Now().Before(c.noWrite)
	c.mu.Unlock()
	if skip {
		return
	}
	file, err := encode(key, e)
	if err != nil || blocks(int64(len(file))) > c.o.MaxBytes {
		return // too large to keep: says nothing about the disk
	}
	n := nameOf(key)
	lock := c.file(n)
	lock.Lock()
	err = c.write(c.path(n), file)
	evicted, warn := c.written(n, blocks(int64(len(file))), err)
	lock.Unlock()
	if warn {
		c.o.Warn(fmt.Errorf("tile cache %s: upstream tiles are not kept for now: %w", c.dir, err))
	}
	c.remove(evicted)
}

// written puts n into the books, or what failed. It returns what must go, and whether a warning is due.
func (c *Cache) written(n name, size int64, err error) (evicted []name, warn bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.stats.WriteErrors++
		c.noWrite = time.Now().Add(c.o.Pause)
		warn = !c.warned
		c.warned = true
		return nil, warn
	}
	c.warned = false
	if el := c.byName[n]; el != nil {
		c.drop(el)
	}
	it := &item{name: n, size: size, used: time.Now()}
	c.byName[n] = c.recent.PushFront(it)
	c.stats.Bytes += it.size
	return c.overflow(), false
}

// Delete forgets key.
func (c *Cache) Delete(key string) {
	n := nameOf(key)
	c.mu.Lock()
	known := c.byName[n] != nil
	c.mu.Unlock()
	if known {
		c.forget(n)
	}
}

// drop takes el out of the books. The caller holds mu.
func (c *Cache) drop(el *list.Element) {
	it := c.recent.Remove(el).(*item)
	delete(c.byName, it.name)
	c.stats.Bytes -= it.size
}

// overflow drops the least recently used entries until 95 % of the bound are used and returns their names.
// The caller holds mu, or is alone.
func (c *Cache) overflow() []name {
	if c.stats.Bytes <= c.o.MaxBytes {
		return nil
	}
	var names []name
	for goal := c.o.MaxBytes - c.o.MaxBytes/20; c.stats.Bytes > goal && c.recent.Len() > 1; {
		el := c.recent.Back()
		names = append(names, el.Value.(*item).name)
		c.drop(el)
		c.stats.Evictions++
	}
	return names
}

// remove deletes files, except those that came back in the meantime.
func (c *Cache) remove(names []name) {
	for _, n := range names {
		file := c.file(n)
		file.Lock()
		c.mu.Lock()
		back := c.byName[n] != nil
		c.mu.Unlock()
		if !back {
			os.Remove(c.path(n))
		}
		file.Unlock()
	}
}

// writeFile puts data at path as a whole or not at all. There is no fsync: after a power cut the checksum finds
// what is damaged, and a cache that waits for the disk is slower than the upstream.
func (c *Cache) writeFile(path string, data []byte) error {
	c.mu.Lock()
	temp := filepath.Join(c.dir, tempDir, fmt.Sprint(c.temp))
	c.temp++
	c.mu.Unlock()
	err := inFolder(temp, func() error { return os.WriteFile(temp, data, 0o644) })
	if err == nil {
		err = inFolder(path, func() error { return os.Rename(temp, path) })
	}
	if err != nil {
		os.Remove(temp)
	}
	return err
}

// inFolder does what writes path, making its folder where it is missing.
func inFolder(path string, do func() error) error {
	err := do()
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return do()
}

// Stats returns the counters.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Entries = len(c.byName)
	return s
}

// Close ends writing; the entries stay. Get and Put after Close find and keep nothing.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return nil
}
