//go:build linux || darwin

package index

import (
	"math"
	"os"

	"golang.org/x/sys/unix"
)

func freeBytes(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(min(s.Bavail*uint64(s.Bsize), math.MaxInt64)), nil
}

func syncDir(d *os.File) error { return d.Sync() }
