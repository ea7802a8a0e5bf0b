package tileserver

import (
	"context"
	"fmt"
	"html"
	"regexp"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/tileserver/source"
)

// Tiles is what the server asks of a layer's source. Tile answers ErrOutOfRange outside the grid or the zooms,
// ErrNotFound in range where there is nothing (served as an empty tile), ErrUpstream if fetching failed.
//
// A source that can draw a tile at a size of choice may also have
// TileSized(ctx, t, size) (tilescout.Picture, error) for 256 and 512 pixels.
type Tiles interface {
	Tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error)
	Info() tilescout.LayerInfo
}

// sizer is the ability to render a tile at a size of choice, in pixels a side.
type sizer interface {
	TileSized(ctx context.Context, t maptile.Tile, size int) (tilescout.Picture, error)
}

// Layer is one layer that clients can name. A saved search is a layer as well: Tiles draws its overlay.
type Layer struct {
	Tiles Tiles
	// Remote says that tiles come over a network: many may be waited for at once, where files are read and
	// rendered as many at a time as there are processors.
	Remote bool
	// Dynamic says that the same tile may look different tomorrow (an overlay, as the index grows). Without the
	// current revision in its URL such a tile is answered with no-store, and the server keeps none itself.
	// A picture whose MaxAge is negative is not finished: no-store even with the current revision.
	Dynamic bool
	// Revision returns what changes with the content; nil means Info().Version.
	Revision func() string
	// Over is the id of the layer that an overlay lies over; "" for imagery.
	Over string
}

var idPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// layer is a Layer that was checked, with what is asked for often.
type layer struct {
	Layer
	info  tilescout.LayerInfo
	bound orb.Bound // of info, clamped to the grid
	sizer sizer     // nil if the source renders one size only
	// credit is the attribution as plain text; in info it is sanitised HTML.
	credit string
}

func newLayer(l Layer) (*layer, error) {
	if l.Tiles == nil {
		return nil, fmt.Errorf("layer without tiles: %w", tilescout.ErrBadInput)
	}
	info := l.Tiles.Info()
	if !idPattern.MatchString(info.ID) {
		return nil, fmt.Errorf("layer id %q: want small letters, digits, - and _, at most 63: %w", info.ID, tilescout.ErrBadInput)
	}
	if info.MinZoom > info.MaxZoom || info.MaxZoom > geo.MaxZoom {
		return nil, fmt.Errorf("layer %s: zooms %d to %d: want 0 ≤ min ≤ max ≤ %d: %w", info.ID, info.MinZoom, info.MaxZoom, geo.MaxZoom, tilescout.ErrBadInput)
	}
	if info.TileSize == 0 {
		info.TileSize = 256
	}
	if info.Title == "" {
		info.Title = info.ID
	}
	info.Attribution = source.SafeAttribution(info.Attribution)
	out := &layer{Layer: l, info: info, bound: clamp(info.Bound), credit: html.UnescapeString(plain(info.Attribution))}
	out.sizer, _ = l.Tiles.(sizer)
	return out, nil
}

// clamp returns b inside the grid; a bound without area is the whole world.
func clamp(b orb.Bound) orb.Bound {
	b = orb.Bound{
		Min: orb.Point{max(b.Min[0], -180), max(b.Min[1], -geo.MaxLat)},
		Max: orb.Point{min(b.Max[0], 180), min(b.Max[1], geo.MaxLat)},
	}
	if !(b.Min[0] < b.Max[0] && b.Min[1] < b.Max[1]) {
		return orb.Bound{Min: orb.Point{-180, -geo.MaxLat}, Max: orb.Point{180, geo.MaxLat}}
	}
	return b
}

// rev returns the revision of the layer as it stands in URLs: short, of letters that need no escape.
func (l *layer) rev() string {
	if l.Revision != nil {
		return shorten(l.Revision())
	}
	return shorten(l.info.Version)
}

// shorten makes any text a word of 12 hexadecimal digits.
func shorten(s string) string {
	return fmt.Sprintf("%016x", xxhash.Sum64String(s))[:12]
}

// mediaType is the encoding most tiles have, which formats lists first.
func (l *layer) mediaType() string {
	if l.info.MediaType == "" {
		return tilescout.PNG
	}
	return l.info.MediaType
}

// formats returns the media types that the layer is served in, its own first.
func (l *layer) formats() []string {
	own := l.mediaType()
	out := []string{own}
	for _, m := range []string{tilescout.PNG, tilescout.JPEG, tilescout.WebP} {
		if m != own {
			out = append(out, m)
		}
	}
	return out
}

// extensions of files ↔ media types; the first extension of a media type is the one in our URLs.
var extensions = []struct{ ext, mediaType string }{
	{"png", tilescout.PNG}, {"jpg", tilescout.JPEG}, {"jpeg", tilescout.JPEG}, {"webp", tilescout.WebP},
}

func mediaTypeOf(ext string) (string, error) {
	for _, e := range extensions {
		if e.ext == ext {
			return e.mediaType, nil
		}
	}
	return "", fmt.Errorf("no tiles as .%s; there are .png, .jpg and .webp: %w", ext, tilescout.ErrNotFound)
}

func extensionOf(mediaType string) string {
	for _, e := range extensions {
		if e.mediaType == mediaType {
			return e.ext
		}
	}
	return "png"
}

// maxAgeOf is the Cache-Control of a finished tile: what the origin allows, if it said so; for ever if the URL
// carries the current revision; else a day (GIS reference §9).
func maxAgeOf(age time.Duration, current bool) string {
	switch {
	case age > 0:
		return fmt.Sprintf("public, max-age=%d", int64(min(age, 365*24*time.Hour)/time.Second))
	case current:
		return "public, max-age=31536000, immutable"
	default:
		return "public, max-age=86400, stale-while-revalidate=604800"
	}
}

// plain returns attribution, which may hold links, as text.
func plain(attribution string) string {
	var b strings.Builder
	depth := 0
	for _, r := range attribution {
		switch {
		case r == '<':
			depth++
		case r == '>' && depth > 0:
			depth--
		case depth == 0:
			b.WriteRune(r)
		}
	}
	return strings.TrimSpace(b.String())
}
