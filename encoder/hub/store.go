package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"

	"github.com/tilescout/tilescout"
)

// manifestName is the file in a model's folder that says where it came from.
const manifestName = "tilescout-model.json"

// blobPath is where a file of that checksum is kept.
func blobPath(dir, sha256 string) string {
	return filepath.Join(dir, "blobs", "sha256", sha256)
}

// lock keeps other processes from changing the folder of models; it waits for them until ctx ends.
func lock(ctx context.Context, dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	l := flock.New(filepath.Join(dir, ".lock"))
	if _, err := l.TryLockContext(ctx, 200*time.Millisecond); err != nil {
		return nil, fmt.Errorf("another process has been getting a model: %w", err)
	}
	return func() { _ = l.Unlock() }, nil
}

// assemble makes a model's folder out of links to its files, beside its place first.
func assemble(dir string, m Model) error {
	owner := filepath.Dir(m.Folder)
	if err := os.MkdirAll(owner, 0o755); err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(owner, ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	for _, f := range m.Files {
		to := filepath.Join(fresh, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := link(blobPath(dir, f.SHA256), to); err != nil {
			return explainDisk(err, remote{size: f.Size})
		}
	}
	raw, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(fresh, manifestName), append(raw, '\n'), 0o644); err != nil {
		return explainDisk(err, remote{})
	}
	if err := os.Chmod(fresh, 0o755); err != nil {
		return err
	}
	old := fresh + ".old"
	if err := os.Rename(m.Folder, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(fresh, m.Folder); err != nil {
		return errors.Join(err, os.Rename(old, m.Folder))
	}
	return os.RemoveAll(old)
}

// link makes a second name for a file, or a copy where the file system has no links.
func link(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		_ = w.Close()
		return err
	}
	return w.Close()
}

// readModel reads the manifest in a folder.
func readModel(folder string) (Model, error) {
	f, err := os.Open(filepath.Join(folder, manifestName))
	if err != nil {
		return Model{}, err
	}
	defer f.Close()
	var m Model
	if err := json.NewDecoder(io.LimitReader(f, maxAnswer)).Decode(&m); err != nil {
		return Model{}, fmt.Errorf("%s: %v: %w", manifestName, err, tilescout.ErrBadInput)
	}
	m.Folder = folder
	return m, nil
}

// intact reports whether all files of a model are there in their lengths.
func intact(m Model) bool {
	return len(m.Files) > 0 && !slices.ContainsFunc(m.Files, func(f File) bool {
		info, err := os.Stat(filepath.Join(m.Folder, filepath.FromSlash(f.Path)))
		return err != nil || info.Size() != f.Size
	})
}

// Find returns a model that was got, by owner/name[@revision]; tilescout.ErrNotFound if it was not.
func Find(dir, name string) (Model, error) {
	id, revision, err := ParseName(name)
	if err != nil {
		return Model{}, err
	}
	m, err := readModel(Folder(dir, id, revision))
	if errors.Is(err, fs.ErrNotExist) {
		return Model{}, fmt.Errorf("model %s is not here; tilescout model get %s fetches it: %w", name, name, tilescout.ErrNotFound)
	}
	return m, err
}

// List returns the models that were got, by name.
func List(dir string) ([]Model, error) {
	folders, err := filepath.Glob(filepath.Join(dir, "hub", "*", "*", manifestName))
	if err != nil {
		return nil, err
	}
	var all []Model
	for _, f := range folders {
		if strings.HasPrefix(filepath.Base(filepath.Dir(f)), ".new-") {
			continue
		}
		m, err := readModel(filepath.Dir(f))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Dir(f), err)
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Model) int { return strings.Compare(a.Name(), b.Name()) })
	return all, nil
}

// Remove removes a model, and the files that no other model has; it returns their bytes.
func Remove(ctx context.Context, dir, name string) (freed int64, err error) {
	unlock, err := lock(ctx, dir)
	if err != nil {
		return 0, err
	}
	defer unlock()
	m, err := Find(dir, name)
	if err != nil {
		return 0, err
	}
	if err := os.RemoveAll(m.Folder); err != nil {
		return 0, err
	}
	_ = os.Remove(filepath.Dir(m.Folder)) // the owner's folder, if that was the last
	return sweep(dir)
}

// sweep removes the files in the store that no model has, and what is left of downloads.
func sweep(dir string) (freed int64, err error) {
	models, err := List(dir)
	if err != nil {
		return 0, err
	}
	used := make(map[string]bool)
	for _, m := range models {
		for _, f := range m.Files {
			used[f.SHA256] = true
		}
	}
	for _, pattern := range []string{"sha256/*", "*.part"} {
		files, err := filepath.Glob(filepath.Join(dir, "blobs", filepath.FromSlash(pattern)))
		if err != nil {
			return freed, err
		}
		for _, f := range files {
			if used[filepath.Base(f)] {
				continue
			}
			if info, err := os.Stat(f); err == nil {
				freed += info.Size()
			}
			if err := os.Remove(f); err != nil {
				return freed, err
			}
		}
	}
	return freed, nil
}
