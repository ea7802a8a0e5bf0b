package geotiff

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/reject"
)

const maxFolders = 16 // one inside the other

// IsList tells whether text names several files rather than one: a folder, a pattern, or paths with commas between.
func IsList(text string) bool {
	info, err := os.Stat(text)
	if err == nil {
		return info.IsDir()
	}
	return strings.ContainsAny(text, ",*?[")
}

// ErrTooManyFiles refuses a folder or a list that is longer than allowed.
var ErrTooManyFiles = reject.New("tiff", "ErrTooManyFiles", "too many files; put a part of them into each of several layers")

// list returns the GeoTIFFs that text names, sorted, each once: of a folder those that end in .tif or .tiff, at any
// depth, without hidden ones and without following links to folders. None, or more than most, is ErrBadInput.
func list(ctx context.Context, text string, most int) ([]string, error) {
	var out []string
	for _, part := range strings.Split(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		info, err := os.Stat(part)
		switch {
		case err == nil && info.IsDir():
			if out, err = walk(ctx, part, out, most); err != nil {
				return nil, err
			}
		case err == nil:
			out = append(out, part)
		case strings.ContainsAny(part, "*?["):
			found, err := filepath.Glob(part)
			if err != nil {
				return nil, fmt.Errorf("source %s: %w: %w", part, err, tilescout.ErrBadInput)
			}
			for _, path := range found {
				if isTIFF(path) {
					out = append(out, path)
				}
			}
		default:
			return nil, fmt.Errorf("source %s: %w: %w", part, pathError(err), tilescout.ErrBadInput)
		}
		if len(out) > most {
			return nil, fmt.Errorf("source %s: more than %d: %w", text, most, ErrTooManyFiles)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if len(out) == 0 {
		return nil, fmt.Errorf("source %s: no GeoTIFF (.tif, .tiff) there: %w", text, tilescout.ErrBadInput)
	}
	return out, nil
}

func walk(ctx context.Context, folder string, out []string, most int) ([]string, error) {
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch hidden := path != folder && strings.HasPrefix(entry.Name(), "."); {
		case err != nil && path == folder:
			return err
		case err != nil: // a folder that may not be read does not hide the others
			return fs.SkipDir
		case entry.IsDir() && (hidden || strings.Count(path[len(folder):], string(filepath.Separator)) > maxFolders):
			return fs.SkipDir
		case entry.IsDir() || hidden || !isTIFF(path):
		default:
			out = append(out, path)
			if len(out) > most {
				return fs.SkipAll
			}
		}
		return nil
	})
	if err != nil {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return nil, err
		}
		return nil, fmt.Errorf("source %s: %w: %w", folder, pathError(err), tilescout.ErrBadInput)
	}
	return out, nil
}

func isTIFF(path string) bool {
	ext := strings.ToLower(filepath.Ext(path))
	return ext == ".tif" || ext == ".tiff"
}
