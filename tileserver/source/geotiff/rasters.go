package geotiff

import (
	"fmt"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/tilescout/tilescout"
)

// rasters holds open files, so many and a few more while all are in use, and closes those that were not used for longest.
type rasters struct {
	mu   sync.Mutex
	open *simplelru.LRU[string, *lent] // guarded by mu
}

// lent is an open file with the number of those who read it.
type lent struct {
	once sync.Once
	r    *raster // set by once
	err  error   // set by once

	readers int  // guarded by rasters.mu
	dropped bool // guarded by rasters.mu: to be closed by the last reader
}

func newRasters(most int) rasters {
	// Bounds are positive, which is all that NewLRU refuses.
	open, _ := simplelru.NewLRU(most, func(_ string, l *lent) { l.drop() })
	return rasters{open: open}
}

// drop closes a file that leaves the list, now or when its last reader is done. The caller holds rasters.mu.
func (l *lent) drop() {
	l.dropped = true
	if l.readers == 0 && l.r != nil {
		l.r.Close()
	}
}

// get returns the open file of a path and what gives it back. Who comes first opens it.
func (f *rasters) get(path string, open func() (*raster, error)) (*raster, func(), error) {
	f.mu.Lock()
	if f.open == nil {
		f.mu.Unlock()
		return nil, nil, fmt.Errorf("closed: %w", tilescout.ErrUnavailable)
	}
	l, ok := f.open.Get(path)
	if !ok {
		l = &lent{}
		f.open.Add(path, l)
	}
	l.readers++
	f.mu.Unlock()
	release := func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		l.readers--
		if l.readers == 0 && l.dropped && l.r != nil {
			l.r.Close()
		}
	}
	l.once.Do(func() { l.r, l.err = open() })
	if l.err != nil {
		release()
		f.mu.Lock()
		if held, ok := f.open.Peek(path); ok && held == l { // to be tried again
			f.open.Remove(path)
		}
		f.mu.Unlock()
		return nil, nil, l.err
	}
	return l.r, release, nil
}

// close closes all; nobody reads any more.
func (f *rasters) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open != nil {
		f.open.Purge()
		f.open = nil
	}
	return nil
}
