package main

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tilescout/tilescout/tileserver/config"
)

const (
	hotEvery = 2 * time.Second // between two looks at the folder
	maxHot   = 200             // layers of the folder; with those of the config at most 256
)

// hotFolder knows which files lie in the folder of layers. The zero value knows none. A file is taken once it looked
// the same twice, so that a copy under way is not.
type hotFolder struct {
	dir     string
	seen    map[string]string // path → how it looked last time
	steady  map[string]string // path → how it looks, of those that have come to rest
	refused map[string]string // path → how it looked when it was refused
}

// look reads the folder, "" for none, and says whether layers come, go or change.
func (h *hotFolder) look(dir string) (changed bool) {
	if dir != h.dir {
		*h = hotFolder{dir: dir}
		changed = true
	}
	now := map[string]string{}
	if dir != "" {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return changed // gone for a moment, a mount say: what was there goes on
		}
		for _, e := range entries {
			name := e.Name()
			if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || len(now) == maxHot {
				continue
			}
			switch strings.ToLower(filepath.Ext(name)) {
			case ".tif", ".tiff", ".gtiff", ".mbtiles", ".pmtiles":
				path := filepath.Join(dir, name)
				now[path] = stampOf(path)
			}
		}
	}
	first := h.seen == nil
	steady := map[string]string{}
	for path, stamp := range now {
		switch {
		case first || h.seen[path] == stamp:
			steady[path] = stamp
		case h.steady[path] != "": // being replaced: the old one goes on until the new one is whole
			steady[path] = h.steady[path]
		}
	}
	changed = changed || !maps.Equal(steady, h.steady)
	h.seen, h.steady = now, steady
	for path, stamp := range h.refused {
		if now[path] != stamp {
			delete(h.refused, path)
		}
	}
	return changed
}

// layers are those of the folder, by name. Ids that are taken get a number behind.
func (h *hotFolder) layers(taken map[string]bool) []config.Layer {
	var out []config.Layer
	for _, path := range slices.Sorted(maps.Keys(h.steady)) {
		if h.refused[path] == h.steady[path] && h.refused[path] != "" {
			continue // said so once
		}
		l := config.FromArgument(path, func(id string) bool { return taken[id] })
		taken[l.ID] = true
		out = append(out, l)
	}
	return out
}

// refuse leaves a file out until it changes, with one line in the log.
func (h *hotFolder) refuse(path string, log *slog.Logger, err error) {
	if h.refused == nil {
		h.refused = map[string]string{}
	}
	h.refused[path] = h.steady[path]
	log.Warn("a file in the folder of layers is left out", "file", path, "error", oneLine(err))
}
