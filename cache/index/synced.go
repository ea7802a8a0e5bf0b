package index

import "time"

// timedFS tells how long the disk takes to make things durable: that is what Put waits for.
type timedFS struct {
	fileSystem
	took func(time.Duration)
}

// timed is the file system for the sets of a layer.
func (o Options) timed(layer string) fileSystem {
	if o.Synced == nil {
		return o.fs
	}
	return timedFS{o.fs, func(d time.Duration) { o.Synced(layer, d) }}
}

func (t timedFS) Create(name string) (file, error) {
	f, err := t.fileSystem.Create(name)
	if err != nil {
		return nil, err
	}
	return timedFile{f, t.took}, nil
}

func (t timedFS) SyncDir(dir string) error {
	began := time.Now()
	err := t.fileSystem.SyncDir(dir)
	t.took(time.Since(began))
	return err
}

type timedFile struct {
	file
	took func(time.Duration)
}

func (f timedFile) Sync() error {
	began := time.Now()
	err := f.file.Sync()
	f.took(time.Since(began))
	return err
}
