package search

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/tilescout/tilescout"
)

// Searchable is one layer as Replace takes it.
type Searchable struct {
	Tiles   Tiles
	Options LayerOptions
}

// Replace makes exactly these layers searchable, in this order, or changes nothing and returns the error. A layer that
// is there with the very same Tiles keeps its index, its caches and its running jobs, whatever Options says; questions
// under way end on the layers they began with. Searches, Add and Replace may run at the same time.
func (e *Engine) Replace(ctx context.Context, layers []Searchable) error {
	e.mu.RLock()
	old := maps.Clone(e.layers)
	e.mu.RUnlock()
	next := map[string]*layer{}
	var order []string
	for _, s := range layers {
		id := s.Tiles.Info().ID
		if _, twice := next[id]; twice {
			return fmt.Errorf("search: layer %q is there twice: %w", id, tilescout.ErrBadInput)
		}
		l, ok := old[id]
		if !ok || l.tiles != s.Tiles {
			var err error
			if l, err = e.openLayer(ctx, s.Tiles, s.Options); err != nil {
				return err
			}
		}
		next[id] = l
		order = append(order, id)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.layers, e.order = next, slices.Clip(order)
	return nil
}
