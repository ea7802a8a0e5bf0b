package plugin

import (
	"context"
	"fmt"

	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout"
)

// SavedLayer is a saved search as a layer of tiles, for clients that cannot pass a prompt.
type SavedLayer struct {
	plugin *Plugin
	saved  Saved
}

// SavedLayer returns the overlay of a saved search as a layer.
func (p *Plugin) SavedLayer(s Saved) *SavedLayer { return &SavedLayer{p, s} }

// Info says what the layer is: the searched layer's place, all zooms.
func (l *SavedLayer) Info() tilescout.LayerInfo {
	info, err := l.plugin.engine.LayerInfo(l.saved.Layer)
	if err != nil {
		return tilescout.LayerInfo{ID: l.saved.ID}
	}
	title := l.saved.Title
	if title == "" {
		title = fmt.Sprintf("%s: %s", info.Title, Question{Prompts: l.saved.Prompts, Not: l.saved.Not}.title())
	}
	return tilescout.LayerInfo{
		ID: l.saved.ID, Title: title, Attribution: info.Attribution, Bound: info.Bound,
		Description: "Tiles of " + info.Title + " that match a saved search.",
		MinZoom:     0, MaxZoom: maxOverlayZoom, TileSize: 256, MediaType: tilescout.PNG,
		Version: l.plugin.engine.Revision(l.saved.Layer),
	}
}

// Tile draws the overlay. Tiles beneath are embedded on demand, as under any look at the map.
func (l *SavedLayer) Tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	if t.Z > maxOverlayZoom || !t.Valid() {
		return tilescout.Picture{}, fmt.Errorf("tile %s: %w", tileID(t), tilescout.ErrOutOfRange)
	}
	pending, err := l.plugin.engine.Fill(ctx, l.saved.Layer, t, l.plugin.wait)
	if err != nil {
		return tilescout.Picture{}, err
	}
	data, err := l.plugin.render(ctx, l.saved.Layer, t, Question{
		Prompts: l.saved.Prompts, Not: l.saved.Not, Threshold: l.saved.Threshold, Style: l.saved.Style, Opacity: 1,
	})
	if err != nil {
		return tilescout.Picture{}, err
	}
	picture := tilescout.Picture{Data: data, MediaType: tilescout.PNG}
	if pending.Missing > 0 {
		picture.MaxAge = -1 // not finished: nobody may keep it
	}
	return picture, nil
}

// Revision of the layer: it changes as tiles are embedded.
func (l *SavedLayer) Revision() string { return l.plugin.engine.Revision(l.saved.Layer) }

// Close has nothing to close: the engine is the caller's.
func (l *SavedLayer) Close() error { return nil }
