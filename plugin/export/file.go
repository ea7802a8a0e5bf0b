package export

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tilescout/tilescout"
)

// begin refuses to write over a file, unless told to, and opens a part beside it under a hidden name. The caller removes
// the part; after publish there is nothing left to remove.
func begin(path string, force bool) (*os.File, error) {
	if _, err := os.Lstat(path); err == nil && !force {
		return nil, fmt.Errorf("%s is there already; --force replaces it: %w", path, tilescout.ErrBadInput)
	}
	part, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.part")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("export to %s: there is no such folder: %w", path, tilescout.ErrBadInput)
	}
	if err != nil {
		return nil, fmt.Errorf("export to %s: %w", path, err)
	}
	return part, nil
}

// publish makes the finished part durable under its own name and returns its length.
func publish(part *os.File, path string) (int64, error) {
	if err := part.Sync(); err != nil {
		return 0, fmt.Errorf("export to %s: %w", path, err)
	}
	stat, err := os.Stat(part.Name())
	if err != nil {
		return 0, fmt.Errorf("export to %s: %w", path, err)
	}
	if err := os.Chmod(part.Name(), 0o644); err != nil {
		return 0, fmt.Errorf("export to %s: %w", path, err)
	}
	if err := os.Rename(part.Name(), path); err != nil {
		return 0, fmt.Errorf("export to %s: %w", path, err)
	}
	return stat.Size(), nil
}
